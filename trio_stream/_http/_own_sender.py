"""Sending requests over our own transport.

What belongs here: from a path and headers to the bytes of a request, and from the head of its answer to a
`Response`; keeping what is the same in every request. What does not: sockets (`_transport` and below), requests that
go through httpx (`_foreign_sender`).

No client of httpx is involved. It would add nothing (there are no hooks, no cookies, no redirects, and credentials in
the URL are in the target), but its request and response objects take as long as connecting, sending and closing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, final

import trio
from trio.lowlevel import enable_ki_protection

from trio_stream._hidden import HeaderItems
from trio_stream._limits import Limits
from trio_stream._protocol import Content
from trio_stream._response import ResponseInfo
from trio_stream._timeouts import Timeouts

from ._connection import ConnectionInfo, Origin
from ._failures import FOREIGN_FAILURES, request_failure
from ._pool import ConnectionStatistics
from ._request import RequestHead, write_head
from ._response import Response
from ._target import MOST_KEPT, Target, Targets, request_fields
from ._transport import Once, Transport


@final
class OwnSender:
    """A `Sender` over our own transport.

    Args:
      base_url: Requests go below it.
      ssl_context: The TLS settings. Default: what httpx trusts.
      max_connections: How many requests may be under way at once. None: no limit.
      limits: How large the head of an answer may be.
    """

    def __init__(
        self,
        *,
        base_url: str,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._targets = Targets(base_url)
        self._heads: dict[tuple[object, ...], RequestHead] = {}
        self._closed = False
        self._transport = Transport(ssl_context=ssl_context, max_connections=max_connections, limits=limits)

    @enable_ki_protection
    async def send(
        self,
        *,
        method: str,
        url: str,
        headers: HeaderItems,
        params: Mapping[str, Any] | None,
        content: bytes | Content,
        timeouts: Timeouts,
        on_sent: Callable[[], None],
        on_connected: Callable[[ConnectionInfo], None] | None = None,
    ) -> Response:
        """As `Sender.send`."""
        # The transport calls it once for each time the request goes out; see there about stale connections.
        note_sent = Once(on_sent)
        origin: Origin | None = None
        try:
            if self._closed:
                raise trio.ClosedResourceError("the connections are closed")
            target = self._targets.find(url, params)
            origin = target.origin
            head, body = await self._transport.exchange(
                origin,
                self._head(method, target, headers).with_content(content),
                connect_seconds=timeouts.connect,
                send_seconds=timeouts.send,
                on_sent=note_sent,
                on_connected=on_connected,
            )
        except FOREIGN_FAILURES as exc:
            raise request_failure(exc, origin=origin, timeouts=timeouts, sent=note_sent.called) from exc
        info = ResponseInfo(
            status_code=head.status_code,
            http_version=head.http_version,
            url=target.shown_url,
            raw_headers=head.headers,
        )
        return Response(info=info, body=body)

    def _head(self, method: str, target: Target, headers: HeaderItems) -> RequestHead:
        """What comes before the content. It is built once: nearly always it is that of the request before."""
        key = (method, target, *headers.items())
        head = self._heads.get(key)
        if head is None:
            fields = request_fields(target, headers)
            if all(name.lower() != b"host" for name, _ in fields):
                fields.insert(0, (b"Host", target.url.netloc))
            head = write_head(method, target.url.raw_path, fields)
            if len(self._heads) >= MOST_KEPT:
                self._heads.clear()
            self._heads[key] = head
        return head

    def show_url(self, url: str, params: Mapping[str, Any] | None) -> str | None:
        """As `Sender.show_url`."""
        return self._targets.show(url, params)

    def forget_heads(self) -> None:
        """As `Sender.forget_heads`."""
        self._heads.clear()

    def keep_connections(self, keep: bool) -> None:  # noqa: FBT001 - it says what it means at every call
        """As `Sender.keep_connections`."""
        self._transport.keep_connections(keep)

    def statistics(self) -> ConnectionStatistics:
        """As `Sender.statistics`."""
        return self._transport.statistics()

    @enable_ki_protection
    def close(self) -> None:
        """As `Sender.close`."""
        self._closed = True
        self.forget_heads()
        self._transport.close()

    @enable_ki_protection
    async def aclose(self) -> None:
        """As `Sender.aclose`."""
        self.close()
        await self._transport.aclose()
