"""Sending one request of this library, and which of the two ways it goes.

What belongs here: the face of both ways, and the choice between them. What does not: the way over our own sockets
(`_own_sender`), the way over httpx (`_foreign_sender`), what is sent (`_client`), retries and clocks (`_stream`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trio_stream._hidden import HeaderItems
from trio_stream._limits import Limits
from trio_stream._protocol import Content
from trio_stream._timeouts import Timeouts

from ._connection import ConnectionInfo
from ._foreign_sender import ForeignSender
from ._httpx import httpx
from ._own_sender import OwnSender
from ._pool import ConnectionStatistics
from ._proxies import Proxy, proxy_for
from ._response import Response
from ._target import check_base_url


class Sender(Protocol):
    """Sends requests to one base URL. Made by `open_sender`."""

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
        """Send a request and read the head of its answer.

        A checkpoint. If it is cancelled or fails, nothing of it is left: no socket, no slot. No clock runs while
        the head of the answer is awaited: that is for the caller's scope.

        Args:
          method: The HTTP method.
          url: The path below the base URL.
          headers: Sent as they are, hidden or not; they win over the headers of a caller's client.
          params: The query.
          content: The body of the request. One that is no bytes is made piece by piece while it is sent.
          timeouts: Of these, ``connect`` and ``send`` are used.
          on_sent: Called once, when the request has been sent.
          on_connected: Called when a connection is ready for the request, and again if the request has to go out a
            second time, on a new connection. Our own transport calls it; another one may
            (`trio_stream.transport.ON_CONNECTED_EXTENSION`). None costs nothing: no clock is read.

        Returns:
          The head of the answer, with the body still to be read.

        Raises:
          APIConnectionError: There was no answer. Its subclasses name the clock that ran out.
          InvalidResponseError: The answer is not HTTP, or its head is larger than a limit.
          trio.ClosedResourceError: This sender, or the caller's client, is closed.
        """
        ...

    def show_url(self, url: str, params: Mapping[str, Any] | None) -> str | None:
        """The whole address of a request, without credentials; None where the base URL is not valid."""
        ...

    def forget_heads(self) -> None:
        """Let go of what is kept of the headers of earlier requests: they hold a key that is not used any more."""
        ...

    def keep_connections(self, keep: bool) -> None:  # noqa: FBT001 - it says what it means at every call
        """Choose whether idle connections are kept from now on. A transport of the caller's decides for itself."""
        ...

    def statistics(self) -> ConnectionStatistics:
        """Count connections and waiting requests. Idle connections are known for our own transport only."""
        ...

    def close(self) -> None:
        """Close what can be closed without waiting. Later requests raise `trio.ClosedResourceError`."""
        ...

    async def aclose(self) -> None:
        """Close every connection, but never a caller's client. A checkpoint; effective even when cancelled."""
        ...


def open_sender(
    *,
    base_url: str,
    http_client: httpx.AsyncClient | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    ssl_context: ssl.SSLContext | None = None,
    max_connections: int | None = None,
    limits: Limits | None = None,
) -> Sender:
    """Choose, once, how requests to a base URL are sent. Nothing is opened before the first request.

    Args:
      base_url: Requests go below it.
      http_client: Use this client. It is never closed here.
      transport: Use this transport. The sender's `Sender.aclose` closes it. Default: our own, or httpx's where the
        environment names a proxy for ``base_url``.
      ssl_context: The TLS settings. Default: what httpx trusts.
      max_connections: How many requests may be under way at once. None sets no limit here.
      limits: How large the head of an answer may be.

    Raises:
      ValueError: The base URL is not valid.
    """
    check_base_url(base_url, any_scheme=http_client is not None or transport is not None)
    if http_client is not None:
        return ForeignSender.over_client(http_client, base_url=base_url, max_connections=max_connections)
    if transport is not None:
        return ForeignSender.over_transport(transport, base_url=base_url, max_connections=max_connections)
    proxy = _environment_proxy(base_url)
    if proxy is not None:
        return ForeignSender.over_proxy(
            proxy, base_url=base_url, ssl_context=ssl_context, max_connections=max_connections
        )
    return OwnSender(base_url=base_url, ssl_context=ssl_context, max_connections=max_connections, limits=limits)


def _environment_proxy(base_url: str) -> Proxy | None:
    return proxy_for(httpx.URL(base_url))
