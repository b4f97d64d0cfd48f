"""Sending one request of this library, by whichever transport, and the one place where foreign errors are mapped.

What belongs here: the httpx client around our transport, a caller's transport or a caller's client; keeping
what is the same in every request. What does not: what is sent (`_client`), retries and clocks (`_stream`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar
from typing import Any, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from trio_stream._errors import APIConnectionError
from trio_stream._limits import Limits
from trio_stream._response import ResponseInfo
from trio_stream._timeouts import Timeouts

from ._adapter import ContentStream, ForeignBody, HeldBody, MemoryBody, forget_request, forget_stream
from ._body import BODY_EXTENSION, ResponseBody
from ._connection import Origin
from ._failures import FOREIGN_FAILURES, request_failure
from ._httpx import httpx
from ._pool import ConnectionStatistics, Slots
from ._proxies import proxy_for
from ._request import RequestHead, write_head
from ._response import Response
from ._socket_body import SocketBody
from ._target import MOST_KEPT, Target, Targets
from ._transport import ON_BODY_EXTENSION, ON_SENT_EXTENSION, Once, Transport


@final
class Sender:
    """Sends requests to one base URL.

    Args:
      base_url: Requests go below it.
      http_client: Use this client; it is never closed here.
      transport: Use this transport; it is closed by `aclose`. Default: ours, or httpx's own where the environment
        names a proxy for ``base_url``.
      ssl_context: Trust this. Default: what httpx trusts.
      max_connections: How many requests may be under way at once. None: no limit of ours.
      limits: How large an answer's head may be.
    """

    def __init__(
        self,
        *,
        base_url: str,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._targets = Targets(base_url)
        self._heads: dict[tuple[object, ...], RequestHead] = {}
        self._ssl_context = ssl_context
        self._keep = False
        self._closed = False
        self._owns_client = http_client is None
        self._client = http_client
        self._proxy = None if http_client or transport else _environment_proxy(base_url)
        self._own: Transport | None = None
        if http_client is None and transport is None and self._proxy is None:
            self._own = transport = Transport(ssl_context=ssl_context, max_connections=max_connections, limits=limits)
        if transport is not None:
            self._client = _plain_client(transport)
        # Requests to other transports wait here, not inside httpcore: its queue is not safe to cancel
        # (encode/httpcore#1093). Our own has slots of its own.
        inside = getattr(http_client, "_transport", transport)
        self._slots = None if self._own else Slots(_foreign_limit(inside, max_connections))

    @enable_ki_protection
    async def send(
        self,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Mapping[str, Any] | None,
        content: bytes,
        timeouts: Timeouts,
        on_sent: Callable[[], None],
    ) -> Response:
        """Send a request and read the head of its answer.

        A checkpoint. When it is cancelled or fails nothing of it is left: no socket, no slot. There is no clock
        for the head of the answer: the caller's scope is.

        Args:
          method: The HTTP method.
          url: The path below the base URL.
          headers: Sent as they are, and win over those of a caller's client.
          params: The query.
          content: The body of the request.
          timeouts: ``connect`` and ``send`` are used.
          on_sent: Called once when the request has been sent.

        Raises:
          APIConnectionError: No answer (its subclasses name the clock that ran out).
          InvalidResponseError: An answer that is not HTTP, or larger than a limit.
          trio.ClosedResourceError: This sender, or the caller's client, is closed.
        """
        own = self._own
        if own is None:
            return await self._send_by_httpx(method, url, headers, params, content, timeouts, on_sent)
        # Without a client of httpx's: it would add nothing (no hooks, no cookies, no redirects, and what is in the
        # URL is in the target), but its requests and responses take as long as connecting, sending and closing.
        note_sent = Once(on_sent)
        origin: Origin | None = None
        try:
            if self._closed:
                raise trio.ClosedResourceError("the connections are closed")
            target = self._targets.find(url, params)
            origin = target.origin
            head, body = await own.exchange(
                origin,
                self._head(method, target, headers).with_content(content),
                connect_seconds=timeouts.connect,
                send_seconds=timeouts.send,
                on_sent=note_sent,
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

    def _head(self, method: str, target: Target, headers: Mapping[str, str]) -> RequestHead:
        """What comes before the content. It is built once: nearly always it is that of the request before."""
        key = (method, target, *headers.items())
        head = self._heads.get(key)
        if head is None:
            fields = _fields(target, headers)
            if all(name.lower() != b"host" for name, _ in fields):
                fields.insert(0, (b"Host", target.url.netloc))
            head = write_head(method, target.url.raw_path, fields)
            if len(self._heads) >= MOST_KEPT:
                self._heads.clear()
            self._heads[key] = head
        return head

    async def _send_by_httpx(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Mapping[str, Any] | None,
        content: bytes,
        timeouts: Timeouts,
        on_sent: Callable[[], None],
    ) -> Response:
        note_sent = Once(on_sent)
        bodies: list[ResponseBody] = []
        origin: Origin | None = None
        try:
            client = self._open_client()
            target = self._targets.find(url, params)
            origin = target.origin
            request = self._build(client, method, target, headers, content)
            request.extensions.update(
                {"timeout": timeouts.to_httpx(), ON_SENT_EXTENSION: note_sent, ON_BODY_EXTENSION: bodies.append}
            )
            return await self._send(client, request, origin, note_sent)
        except FOREIGN_FAILURES as exc:
            _close_all(bodies)
            forget_request(exc)
            raise request_failure(exc, origin=origin, timeouts=timeouts, sent=note_sent.called) from exc
        except BaseException:
            _close_all(bodies)
            raise

    async def _send(
        self, client: httpx.AsyncClient, request: httpx.Request, origin: Origin, note_sent: Callable[[], None]
    ) -> Response:
        slots = self._slots
        assert slots is not None
        await slots.acquire()
        try:
            # Not every transport waits, and a request is a checkpoint.
            await cancel_shielded_checkpoint()
            note_sent()
            answer = await self._exchange(client, request)
            body = await _body_at_hand(answer)
        except BaseException:
            slots.release()
            raise
        # From here on the slot is the body's.
        if body is None:
            return _response(request, answer, ForeignBody(answer, origin=origin, slots=slots))
        return _response(request, answer, HeldBody(body, slots))

    async def _exchange(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        # A request carries one kind of authentication: where ours is there, a client's own adds nothing.
        ours = "authorization" in request.headers or "x-api-key" in request.headers
        auth: Any = httpx.Auth() if ours else httpx.USE_CLIENT_DEFAULT
        answer = await client.send(request, stream=True, auth=auth, follow_redirects=False)
        location = answer.extensions.pop(_LOCATION_EXTENSION, None)
        if location is not None:
            answer.headers["location"] = location
        return answer

    def _build(
        self, client: httpx.AsyncClient, method: str, target: Target, headers: Mapping[str, str], content: bytes
    ) -> httpx.Request:
        fields = _fields(target, headers)
        given = {name.lower() for name in headers}
        request = client.build_request(
            method, target.plain_url, headers=fields, params=target.query or None, content=content
        )
        request.stream = ContentStream(content)
        # A caller's client may bring the other kind of authentication; the API refuses a request with two.
        if "x-api-key" in given and target.authorization is None:
            request.headers.pop("authorization", None)
        elif "authorization" in given:
            request.headers.pop("x-api-key", None)
        return request

    def _open_client(self) -> httpx.AsyncClient:
        if self._closed:
            raise trio.ClosedResourceError("the connections are closed")
        if self._client is None:
            assert self._proxy is not None
            self._client = _plain_client(self._proxy_transport(self._proxy))
        if self._client.is_closed:
            raise trio.ClosedResourceError("the http_client is closed")
        return self._client

    def _proxy_transport(self, proxy: str) -> httpx.AsyncBaseTransport:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None if self._keep else 0)
        verify = True if self._ssl_context is None else self._ssl_context
        try:
            return httpx.AsyncHTTPTransport(proxy=proxy, verify=verify, limits=limits)
        except (ValueError, httpx.InvalidURL):
            pass  # its text shows the proxy's URL, which may hold a password
        raise APIConnectionError("the proxy that the environment names cannot be used", retryable=False)

    def show_url(self, url: str, params: Mapping[str, Any] | None) -> str | None:
        """The whole address of a request, without credentials; None where the base URL is not valid."""
        try:
            return self._targets.find(url, params).shown_url
        except (httpx.InvalidURL, UnicodeError):
            return None

    def keep_connections(self, keep: bool) -> None:  # noqa: FBT001 - it says what it means at every call
        """Whether to keep idle connections from now on. A transport of the caller's keeps what it likes."""
        self._keep = keep
        if self._own is not None:
            self._own.keep_connections(keep)

    def statistics(self) -> ConnectionStatistics:
        """Count connections and waiting requests; a transport that is not ours does not tell its idle ones."""
        if self._own is not None:
            return self._own.statistics()
        assert self._slots is not None
        return ConnectionStatistics(active=self._slots.taken, idle=0, waiting=self._slots.waiting)

    @enable_ki_protection
    def close(self) -> None:
        """Close what can be closed without waiting; later requests raise `trio.ClosedResourceError`."""
        self._closed = True
        self._heads.clear()
        if self._own is not None:
            self._own.close()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Close every connection. Never a caller's client. Effective even when cancelled; a checkpoint."""
        self.close()
        if self._owns_client and self._client is not None:
            await self._client.aclose()
        await trio.lowlevel.checkpoint()


def _close_all(bodies: list[ResponseBody]) -> None:
    for body in bodies:
        body.close()


async def _body_at_hand(answer: httpx.Response) -> ResponseBody | None:
    """The body that a transport brought itself, or that is in memory; None where it is still to be read."""
    body = answer.extensions.get(BODY_EXTENSION)
    if isinstance(body, ResponseBody) and not (isinstance(body, SocketBody) and answer.is_stream_consumed):
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


def _response(request: httpx.Request, answer: httpx.Response, body: ResponseBody) -> Response:
    if not isinstance(body, ForeignBody):
        forget_stream(answer)
    info = ResponseInfo(
        status_code=answer.status_code,
        http_version=answer.http_version,
        url=str(request.url),
        raw_headers=answer.headers.raw,
    )
    return Response(info=info, body=body)


class _NoCookies(CookieJar):
    """Keeps no cookies: an answer must not add to the next request, let alone make it one that cannot be sent."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take none."""

    def add_cookie_header(self, request: object) -> None:
        """Give none."""


_LOCATION_EXTENSION = "trio_stream.location"


async def _set_location_aside(answer: httpx.Response) -> None:  # noqa: ASYNC124 - httpx awaits its hooks
    # httpx reads the target even of a redirect that it does not follow, and raises where it cannot.
    location = answer.headers.pop("location", None)
    if location is not None:
        answer.extensions[_LOCATION_EXTENSION] = location


def _plain_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client of httpx that adds nothing of its own."""
    client = httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,
        cookies=_NoCookies(),
        event_hooks={"response": [_set_location_aside]},
    )
    for name in list(client.headers):
        del client.headers[name]
    return client


def _environment_proxy(base_url: str) -> str | None:
    try:
        return proxy_for(httpx.URL(base_url))
    except httpx.InvalidURL:
        return None  # `send` says so


def _foreign_limit(transport: object, max_connections: int | None) -> int | None:
    """How many requests may enter a transport at once without queueing inside it."""
    pool = getattr(transport, "_pool", None)
    inside = getattr(pool, "_max_connections", None)
    if not isinstance(inside, int) or getattr(pool, "_http2", False):
        return max_connections
    return inside if max_connections is None else min(inside, max_connections)


def _fields(target: Target, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers as bytes, and what the target adds to them."""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        try:
            fields.append((name.encode("ascii"), value.encode("latin-1")))
        except UnicodeError:
            break  # the exception holds the value
    else:
        if target.authorization is not None and all(name.lower() != "authorization" for name in headers):
            fields.append((b"Authorization", target.authorization))
        return fields
    raise APIConnectionError("a header holds characters that cannot be sent", retryable=False)
