"""Sending requests through httpx: over a caller's client, a caller's transport, or httpx's own for a proxy.

What belongs here: the httpx client around a transport, what httpx adds and must not, and the body behind whatever
comes back. What does not: our own sockets (`_own_sender`), reading a body of httpx's (`_foreign_body`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Self, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from trio_stream._errors import APIConnectionError
from trio_stream._hidden import HeaderItems
from trio_stream._protocol import Content
from trio_stream._response import ResponseInfo
from trio_stream._timeouts import Timeouts

from ._body import BODY_EXTENSION, ResponseBody
from ._connection import ConnectionInfo, Origin
from ._failures import FOREIGN_FAILURES, proxy_failure, request_failure
from ._foreign_body import ContentStream, ForeignBody, HeldBody, MemoryBody, forget_request, forget_stream
from ._httpx import httpx
from ._plain_client import LOCATION_EXTENSION, plain_client
from ._pool import ConnectionStatistics, Slots
from ._proxies import Proxy
from ._proxy_way import ProxyClient, WayThroughProxy
from ._response import Response
from ._socket_body import SocketBody
from ._target import Target, Targets, request_fields
from ._transport import ON_BODY_EXTENSION, ON_CONNECTED_EXTENSION, ON_SENT_EXTENSION, Once


@final
class ForeignSender:
    """A `Sender` through httpx. Made by `over_client`, `over_transport` or `over_proxy`.

    Args:
      client: The client, or a function that makes it for the first request.
      base_url: Requests go below it.
      owns_client: Whether `aclose` closes the client.
      most: How many requests may be under way at once. None: no limit.
      tells_sent: Whether the transport calls what it finds under `ON_SENT_EXTENSION`.
      proxy: The proxy that the environment names, where the client is httpx's own for it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient | Callable[[], httpx.AsyncClient],
        *,
        base_url: str,
        owns_client: bool,
        most: int | None,
        tells_sent: bool = False,
        proxy: Proxy | None = None,
    ) -> None:
        self._targets = Targets(base_url)
        self._client = client
        self._owns_client = owns_client
        self._tells_sent = tells_sent or proxy is not None
        self._proxy = proxy
        self._closed = False
        # Requests wait here, not inside httpcore: its queue is not safe to cancel (encode/httpcore#1093).
        self._slots = Slots(most)

    @classmethod
    def over_client(cls, client: httpx.AsyncClient, *, base_url: str, max_connections: int | None) -> Self:
        """Use a caller's client. It is never closed here."""
        most = _most_at_once(getattr(client, "_transport", None), max_connections)
        return cls(client, base_url=base_url, owns_client=False, most=most)

    @classmethod
    def over_transport(cls, transport: httpx.AsyncBaseTransport, *, base_url: str, max_connections: int | None) -> Self:
        """Use a caller's transport, which `aclose` closes."""
        # A client of the caller's may have hooks and authentication that send requests of their own, so what a
        # transport says about sending is believed only where nothing stands between.
        return cls(
            plain_client(transport),
            base_url=base_url,
            owns_client=True,
            most=_most_at_once(transport, max_connections),
            tells_sent=getattr(transport, "calls_on_sent", False) is True,
        )

    @classmethod
    def over_proxy(
        cls, proxy: Proxy, *, base_url: str, ssl_context: ssl.SSLContext | None, max_connections: int | None
    ) -> Self:
        """Use httpx's own transport through a proxy. It is made at the first request, which fails if that fails."""
        client = ProxyClient(proxy, ssl_context)
        return cls(client, base_url=base_url, owns_client=True, most=max_connections, proxy=proxy)

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
        note_sent = Once(on_sent)
        bodies: list[ResponseBody] = []
        origin: Origin | None = None
        try:
            client = self._open_client()
            target = self._targets.find(url, params)
            origin = target.origin
            request = _build(client, method, target, headers, content)
            request.extensions.update(
                {"timeout": timeouts.to_httpx(), ON_SENT_EXTENSION: note_sent, ON_BODY_EXTENSION: bodies.append}
            )
            if on_connected is not None:
                request.extensions[ON_CONNECTED_EXTENSION] = on_connected
            return await self._send(client, request, origin, note_sent, timeouts.connect)
        except FOREIGN_FAILURES as exc:
            _close_all(bodies)
            forget_request(exc)
            if self._proxy is not None:
                raise proxy_failure(
                    exc, proxy=self._proxy, origin=origin, timeouts=timeouts, sent=note_sent.called
                ) from exc
            raise request_failure(exc, origin=origin, timeouts=timeouts, sent=note_sent.called) from exc
        except BaseException:
            _close_all(bodies)
            raise

    async def _send(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        origin: Origin,
        note_sent: Callable[[], None],
        connect_seconds: float | None,
    ) -> Response:
        slots = self._slots
        await slots.acquire()
        try:
            # Not every transport waits, and a request is a checkpoint.
            await cancel_shielded_checkpoint()
            if not self._tells_sent:
                note_sent()  # nobody else will, and the clock for the answer has to start
            if self._proxy is None:
                answer = await _exchange(client, request)
            else:
                way = WayThroughProxy(self._proxy, seconds=connect_seconds, on_sent=note_sent)
                answer = await way.exchange(_exchange, client, request)
            note_sent()  # at the latest: an answer came
            body = await _body_at_hand(answer)
        except BaseException:
            slots.release()
            raise
        # From here on the slot is the body's.
        if body is None:
            return _response(request, answer, ForeignBody(answer, origin=origin, slots=slots))
        return _response(request, answer, HeldBody(body, slots), was_read=isinstance(body, MemoryBody))

    def _open_client(self) -> httpx.AsyncClient:
        if self._closed:
            raise trio.ClosedResourceError("the connections are closed")
        client = self._client
        if not isinstance(client, httpx.AsyncClient):
            client = self._client = client()
        if client.is_closed:
            raise trio.ClosedResourceError("the http_client is closed")
        return client

    def show_url(self, url: str, params: Mapping[str, Any] | None) -> str | None:
        """As `Sender.show_url`."""
        return self._targets.show(url, params)

    def forget_heads(self) -> None:
        """As `Sender.forget_heads`: nothing of them is kept here."""

    def keep_connections(self, keep: bool) -> None:  # noqa: FBT001 - it says what it means at every call
        """As `Sender.keep_connections`: httpx's transport for a proxy is told when it is made."""
        if isinstance(self._client, ProxyClient):
            self._client.keep = keep

    def statistics(self) -> ConnectionStatistics:
        """As `Sender.statistics`."""
        return ConnectionStatistics(active=self._slots.taken, idle=0, waiting=self._slots.waiting)

    @enable_ki_protection
    def close(self) -> None:
        """As `Sender.close`. The connections of httpx are closed by `aclose`, which can wait."""
        self._closed = True

    @enable_ki_protection
    async def aclose(self) -> None:
        """As `Sender.aclose`."""
        self.close()
        if self._owns_client and isinstance(self._client, httpx.AsyncClient):
            await self._client.aclose()
        await trio.lowlevel.checkpoint()


def _build(
    client: httpx.AsyncClient, method: str, target: Target, headers: HeaderItems, content: bytes | Content
) -> httpx.Request:
    fields = request_fields(target, headers)
    given = {name.lower() for name, _ in headers.items()}
    stream = ContentStream(content)
    if isinstance(content, Content):
        # Of a stream httpx knows no length, and would send it in chunks.
        fields.append((b"Content-Length", b"%d" % len(content)))
    request = client.build_request(
        method,
        target.plain_url,
        headers=fields,
        params=target.query or None,
        content=stream if isinstance(content, Content) else content,
    )
    request.stream = stream
    # A caller's client may bring the other kind of authentication; the API refuses a request with two.
    if "x-api-key" in given and target.authorization is None:
        request.headers.pop("authorization", None)
    elif "authorization" in given:
        request.headers.pop("x-api-key", None)
    return request


async def _exchange(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    # A request carries one kind of authentication: where ours is there, a client's own adds nothing.
    ours = "authorization" in request.headers or "x-api-key" in request.headers
    auth: Any = httpx.Auth() if ours else httpx.USE_CLIENT_DEFAULT
    answer = await client.send(request, stream=True, auth=auth, follow_redirects=False)
    location = answer.extensions.pop(LOCATION_EXTENSION, None)
    if location is not None:
        answer.headers["location"] = location
    return answer


def client_authenticates(client: httpx.AsyncClient) -> bool:
    """Whether a caller's client brings authentication of its own."""
    return client.auth is not None or "authorization" in client.headers or "x-api-key" in client.headers


def _close_all(bodies: list[ResponseBody]) -> None:
    for body in bodies:
        body.close()


async def _body_at_hand(answer: httpx.Response) -> ResponseBody | None:
    """The body that a transport brought itself, or that is in memory. None if it is still to be read."""
    body = answer.extensions.get(BODY_EXTENSION)
    if isinstance(body, ResponseBody) and not _was_read(answer, body):
        return body
    if not answer.is_stream_consumed:
        return None
    # It was in memory from the start, or a hook of the caller's client has read it.
    try:
        return MemoryBody(answer.content)
    except httpx.ResponseNotRead:
        # httpcore would read on, where by now another answer may be expected.
        with trio.CancelScope(shield=True) as scope:
            scope.cancel(reason="closing the response")
            await answer.aclose()
    raise APIConnectionError("a hook of the http_client took the answer's body and did not keep it", retryable=False)


def _was_read(answer: httpx.Response, body: ResponseBody) -> bool:
    """Whether a hook of the caller's client has read the answer, and with it the body of the extension."""
    if not answer.is_stream_consumed:
        return False
    try:
        content = answer.content
    except httpx.ResponseNotRead:
        return True
    # A response that its transport made without a stream counts as read, and is empty. Ours always has one.
    return content != b"" or isinstance(body, SocketBody)


def _response(
    request: httpx.Request, answer: httpx.Response, body: ResponseBody, *, was_read: bool = False
) -> Response:
    if not isinstance(body, ForeignBody):
        forget_stream(answer)
    headers = answer.headers.raw
    if was_read and answer.headers.get("content-encoding", "").lower() in ("gzip", "deflate"):
        # httpx has decoded what it has read.
        headers = [(name, value) for name, value in headers if name.lower() != b"content-encoding"]
    info = ResponseInfo(
        status_code=answer.status_code,
        http_version=answer.http_version,
        url=str(request.url),
        raw_headers=headers,
    )
    return Response(info=info, body=body)


def _most_at_once(transport: object, max_connections: int | None) -> int | None:
    """How many requests may enter a transport at once without queueing inside it."""
    pool = getattr(transport, "_pool", None)
    inside = getattr(pool, "_max_connections", None)
    if not isinstance(inside, int) or getattr(pool, "_http2", False):
        return max_connections
    return inside if max_connections is None else min(inside, max_connections)
