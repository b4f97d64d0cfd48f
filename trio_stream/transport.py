"""What a transport of one's own is written with.

What belongs here: the names that a transport from outside of this package needs, and nothing of their own. What does
not: how our own transport works (`_http`); checking a transport (`trio_stream.testing.check_transport`).

A transport is an `httpx.AsyncBaseTransport`, given to a client as ``Client(transport=...)``. Any of them works. One
that hands over its body as a `ResponseBody` keeps all promises of this library, a cancelled read among them::

    class MyTransport(httpx.AsyncBaseTransport):
        calls_on_sent = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            ...  # connect and send
            request.extensions[ON_SENT_EXTENSION]()
            ...  # read the head
            return httpx.Response(status, headers=headers, extensions={BODY_EXTENSION: MyBody(...)})

The page "Transports" of the documentation has the contract in whole.
"""

from __future__ import annotations

from trio_stream._http import (
    BODY_EXTENSION as BODY_EXTENSION,
    ON_CONNECTED_EXTENSION as ON_CONNECTED_EXTENSION,
    ON_SENT_EXTENSION as ON_SENT_EXTENSION,
    ConnectionInfo as ConnectionInfo,
    ConnectionStatistics as ConnectionStatistics,
    ResponseBody as ResponseBody,
    Transport as Transport,
)
