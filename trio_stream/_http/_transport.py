"""Our own Trio transport: HTTP/1.1 over TCP and TLS.

What belongs here: one request from httpx's `Request` to httpx's `Response`, and the clocks of connecting. What does
not: the errors of this library (`_failures`), and proxies, HTTP/2 and unix sockets (httpx's own transports).

Whoever makes a socket owns it until it is handed on, there is no checkpoint in between, and KeyboardInterrupt waits
for the next one: so a cancellation at any step closes the socket at once and gives the slot back.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable
from typing import ClassVar, Self, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from trio_stream._limits import Limits

from ._body import BODY_EXTENSION
from ._connection import Connection, ConnectionInfo, Origin, StaleConnectionError
from ._httpx import httpx
from ._parser import ResponseHead
from ._pool import ConnectionStatistics, Lease, Pool
from ._request import WireRequest, read_request
from ._socket import begin_tcp, finish_tcp, os_reason, start_tls
from ._socket_body import BodyStream, SocketBody
from ._tls import TrustStoreError, default_context, tls_reason

ON_SENT_EXTENSION = "trio_stream.on_sent"
"""Key of `httpx.Request.extensions`: a function without arguments, to be called once the request has been sent."""

ON_CONNECTED_EXTENSION = "trio_stream.on_connected"
"""Key of `httpx.Request.extensions`: a function that takes a `ConnectionInfo`, to be called once there is a
connection for the request. Absent where nobody wants to know."""

ON_BODY_EXTENSION = "trio_stream.on_body"
"""Key of a request's extensions: a function that is given the body before anything else sees it.

Private. Hooks of a caller's client run between the transport and us; if one of them fails, nobody else would close
the body.
"""

_LAST_PORT = 65535

_DRAIN_SECONDS = 0.05
"""How many seconds a request waits for the end of an earlier answer before it takes another connection."""


@final
class Once:
    """Passes on the first call to a function, and ignores the later ones.

    Attributes:
      called: True after the first call, and always where there is no function.
    """

    __slots__ = ("_function", "called")

    def __init__(self, function: Callable[[], None] | None) -> None:
        self._function = function
        self.called = function is None

    def __call__(self) -> None:
        """Call the function, the first time."""
        if self._function is not None and not self.called:
            self.called = True
            self._function()


@final
class Stopwatch:
    """The times of a `ConnectionInfo`, taken where somebody wants to know them. Reads the clock when it is made."""

    __slots__ = ("_at", "tcp", "tls", "waited")

    def __init__(self) -> None:
        self._at = trio.current_time()
        self.waited = 0.0
        self.tcp: float | None = None
        self.tls: float | None = None

    def lap(self) -> float:
        """The seconds since the last lap, or since this was made."""
        began, self._at = self._at, trio.current_time()
        return self._at - began

    def read(self, *, reused: bool) -> ConnectionInfo:
        """What has been measured. The wait is told once: a second connection does not wait for a slot again."""
        waited, self.waited = self.waited, 0.0
        if reused:
            return ConnectionInfo(reused=True, waited=waited)
        return ConnectionInfo(reused=False, waited=waited, tcp=self.tcp, tls=self.tls)


@final
class Transport(httpx.AsyncBaseTransport):
    """An httpx transport for Trio: HTTP/1.1, no async generators, safe to cancel at every step.

    Idle connections are kept between ``__aenter__`` and `aclose` only.

    Args:
      ssl_context: Used as it is. Default: what httpx trusts, read at the first https request.
      max_connections: How many requests may be under way at once; further ones wait in turn. None: no limit.
      max_idle: How many idle connections are kept for later requests.
      idle_seconds: How many seconds an idle connection is kept.
      limits: How large the head of an answer may be.
    """

    calls_on_sent: ClassVar[bool] = True
    """The function under `ON_SENT_EXTENSION` is called."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        max_idle: int = 100,
        idle_seconds: float = 30.0,
        limits: Limits | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._limits = Limits() if limits is None else limits
        self._pool = Pool(max_connections=max_connections, max_idle=max_idle, idle_seconds=idle_seconds)

    @enable_ki_protection
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer.

        A checkpoint. When it is cancelled, the connection is closed before this returns.

        Of the ``timeout`` extension, ``connect`` bounds TCP and TLS together, ``write`` each stretch in which not one
        byte of the request can be sent, ``pool`` waiting for a connection, and ``read`` each single wait for bytes.

        Args:
          request: The request. Its extensions may hold `ON_SENT_EXTENSION` and `ON_CONNECTED_EXTENSION`.

        Returns:
          The answer. Its body is under `BODY_EXTENSION`, and may also be read as any response of httpx's.

        Raises:
          httpx.TransportError: There was no answer.
          trio.ClosedResourceError: The transport was closed.
        """
        on_sent = request.extensions.get(ON_SENT_EXTENSION)
        seconds: dict[str, float | None] = request.extensions.get("timeout") or {}
        head, body = await self.exchange(
            Origin.of(request.url),
            await read_request(request),
            connect_seconds=seconds.get("connect"),
            send_seconds=seconds.get("write"),
            read_seconds=seconds.get("read"),
            pool_seconds=seconds.get("pool"),
            on_sent=Once(on_sent),
            on_connected=request.extensions.get(ON_CONNECTED_EXTENSION),
        )
        on_body = request.extensions.get(ON_BODY_EXTENSION)
        if on_body is not None:
            on_body(body)
        return httpx.Response(
            head.status_code,
            headers=head.headers,
            stream=BodyStream(body, read_seconds=seconds.get("read")),
            extensions={
                BODY_EXTENSION: body,
                "http_version": head.http_version.encode("ascii"),
                "reason_phrase": head.reason,
            },
        )

    @enable_ki_protection
    async def exchange(
        self,
        origin: Origin,
        wire: WireRequest,
        *,
        connect_seconds: float | None,
        send_seconds: float | None,
        read_seconds: float | None = None,
        pool_seconds: float | None = None,
        on_sent: Callable[[], None],
        on_connected: Callable[[ConnectionInfo], None] | None = None,
    ) -> tuple[ResponseHead, SocketBody]:
        """As `handle_async_request`, without httpx's requests and responses: they cost more than the sockets.

        A request is sent once. If an idle connection was taken for it that turns out to be closed before one byte of
        the request was sent, a new one is opened, and ``on_connected`` is called for both.

        Args:
          origin: Where the request goes.
          wire: The request.
          connect_seconds: For TCP and TLS together. None: no limit.
          send_seconds: For each stretch in which not one byte of the request can be sent. None: no limit.
          read_seconds: For each wait for bytes of the head. None: no limit.
          pool_seconds: For waiting until a connection is free. None: no limit.
          on_sent: Called once, when the request has been sent.
          on_connected: Called when a connection is ready for the request. None: no clock is read for it.

        Returns:
          The head of the answer, and its body. Whoever holds the body closes it.

        Raises:
          httpx.TransportError: There was no answer.
          trio.ClosedResourceError: The transport was closed.
        """
        if origin.scheme not in ("http", "https") or not origin.host:
            raise httpx.UnsupportedProtocol("the URL must begin with https:// or http:// and a host")
        if origin.port > _LAST_PORT:
            raise httpx.UnsupportedProtocol(f"the URL's port is larger than {_LAST_PORT}")
        pool = self._pool
        stopwatch = None if on_connected is None else Stopwatch()
        lease = await (pool.acquire() if pool_seconds is None else self._acquire(pool_seconds))
        if stopwatch is not None:
            stopwatch.waited = stopwatch.lap()
        try:
            connection = pool.take_idle(origin)
            if connection is not None:
                connection = await self._make_ready(lease, connection)
            while True:
                reused = connection is not None
                if connection is None:
                    connection = await self._connect(lease, origin, connect_seconds, stopwatch)
                if on_connected is not None and stopwatch is not None:
                    on_connected(stopwatch.read(reused=reused))
                try:
                    head = await connection.exchange(
                        wire,
                        limits=self._limits,
                        send_seconds=send_seconds,
                        read_seconds=read_seconds,
                        on_sent=on_sent,
                    )
                    break
                except StaleConnectionError:
                    # Not one byte of the request was sent, so this is no second sending. Once a byte was, nobody here
                    # can tell whether the server read the request and works on it (RFC 9110, 9.2.2: a POST must not
                    # be repeated by itself): that is an error, and another attempt is for the layers above, which
                    # count what is paid for.
                    connection.close()
                    connection = None
                except httpx.TransportError:
                    if reused and connection.unanswered:
                        # Whatever ended it has ended the others too, in all likelihood: a restart of the server, a NAT
                        # that forgot them. The next attempt must not fail on one of them as well.
                        pool.close_idle_to(origin)
                    raise
            return head, SocketBody(lease)
        except BaseException:
            lease.close()
            raise

    async def _acquire(self, seconds: float) -> Lease:
        with trio.move_on_after(seconds):
            return await self._pool.acquire()
        raise httpx.PoolTimeout(f"no connection became free within {seconds:g} s")

    async def _make_ready(self, lease: Lease, connection: Connection) -> Connection | None:
        """Find an idle connection that can be used, this one or the next to the same origin, and give it to the lease.

        Returns:
          The connection, or None if none of them is of use.
        """
        deadline = trio.current_time() + _DRAIN_SECONDS
        while True:
            lease.connection = connection
            if await connection.make_ready(deadline):
                return connection
            connection.close()
            following = self._pool.take_idle(connection.origin)
            if following is None:
                return None
            connection = following

    async def _connect(
        self, lease: Lease, origin: Origin, seconds: float | None, stopwatch: Stopwatch | None
    ) -> Connection:
        if stopwatch is not None:
            stopwatch.lap()
        context = self._context() if origin.scheme == "https" else None
        self._pool.make_room()
        try:
            sock, connected = begin_tcp(origin.host, origin.port)
            if stopwatch is not None and connected:
                stopwatch.tcp = stopwatch.lap()
            if sock is None or not connected or context is not None:
                sock = await _finish_connecting(sock, connected, context, origin, seconds, stopwatch)
        except (OSError, ValueError) as exc:
            # It may have failed at once, and whoever tries again and again must not keep other tasks from running.
            await cancel_shielded_checkpoint()
            raise httpx.ConnectError(f"cannot connect to {origin}: {_connect_reason(exc)}") from exc
        connection = lease.connection = Connection(sock, origin)
        self._pool.check_open()
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            try:
                self._ssl_context = default_context()
            except TrustStoreError as exc:
                raise httpx.LocalProtocolError(f"the TLS trust store cannot be read: {exc}") from exc
        return self._ssl_context

    def keep_connections(self, keep: bool) -> None:  # noqa: FBT001 - it says what it means at every call
        """Choose whether idle connections are kept from now on."""
        self._pool.keep = keep
        if not keep:
            self._pool.close_idle()
            self._pool.expiry.stop()

    def statistics(self) -> ConnectionStatistics:
        """Count connections and waiting requests."""
        return self._pool.statistics()

    def close(self) -> None:
        """Close every connection, in use or not, without waiting."""
        self._pool.close()

    async def aclose(self) -> None:
        """Close every connection, as `close` does. A checkpoint; effective even when cancelled."""
        self._pool.close()
        await self._pool.expiry.stopped()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        """Keep idle connections from now on. Not a checkpoint."""
        self.keep_connections(keep=True)
        return self


async def _finish_connecting(
    sock: socket.socket | None,
    connected: bool,  # noqa: FBT001 - as `begin_tcp` returned them
    context: ssl.SSLContext | None,
    origin: Origin,
    seconds: float | None,
    stopwatch: Stopwatch | None,
) -> socket.socket:
    """The part of connecting that waits, under its clock: where nothing waits, a scope would double the cost."""
    phase = "TCP connection"
    with trio.CancelScope(deadline=math.inf if seconds is None else trio.current_time() + seconds):
        if sock is None or not connected:
            sock = await finish_tcp(sock, origin.host, origin.port)
            if stopwatch is not None:
                stopwatch.tcp = stopwatch.lap()
        if context is not None:
            phase = "TLS handshake"
            sock = await start_tls(sock, context, server_hostname=origin.host)
            if stopwatch is not None:
                stopwatch.tls = stopwatch.lap()
        return sock
    raise httpx.ConnectTimeout(f"cannot connect to {origin}: no {phase} within {seconds:g} s")


def _connect_reason(exc: OSError | ValueError) -> str:
    if isinstance(exc, ssl.SSLError):
        return tls_reason(exc)
    if isinstance(exc, OSError):
        return os_reason(exc)
    return f"not a host name: {exc}"  # UnicodeError among them: a name that no resolver takes
