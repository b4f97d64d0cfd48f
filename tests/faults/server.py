"""The fault server: exact bytes on a real loopback port, connection by connection, and what it saw of its client.

What belongs here: accepting, reading requests, the steps of which a connection's script is made (bytes, pauses, FIN,
RST, silence). What does not: the bytes of answers (`wire`) and certificates (`tls`), both exported here too, and what
must follow from a fault (`rows`).

::

    async with FaultServer([on(request(), send(HEAD, chunked(*DELTAS[:3])), rst())]) as server:
        ...                     # server.url; server.peers[0].requests; await server.closed(0)

Each connection is served by the next script. A script that has ended, and every connection after the last script,
answers each further request with the standard message, so that the same client can be asked once more.
"""

from __future__ import annotations

import math
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

import trio

from tests.faults.tls import (
    demanding_certificate as demanding_certificate,
    expired_certificate as expired_certificate,
    good_certificate as good_certificate,
    self_signed_certificate as self_signed_certificate,
    server_tls as server_tls,
    trusting as trusting,
)
from tests.faults.wire import (
    BEGIN as BEGIN,
    CHUNKED_HEAD as CHUNKED_HEAD,
    CLOSE_HEAD as CLOSE_HEAD,
    CUT_EVENTS as CUT_EVENTS,
    DELTAS as DELTAS,
    END as END,
    GOOD_ANSWER as GOOD_ANSWER,
    LAST_CHUNK as LAST_CHUNK,
    MESSAGE as MESSAGE,
    OK as OK,
    PIECES as PIECES,
    PING as PING,
    TEXT as TEXT,
    api_error as api_error,
    block_delta as block_delta,
    block_start as block_start,
    block_stop as block_stop,
    chunk as chunk,
    chunked as chunked,
    error_event as error_event,
    event as event,
    json_delta as json_delta,
    message_delta as message_delta,
    message_events as message_events,
    message_start as message_start,
    message_stop as message_stop,
    sized as sized,
    text_delta as text_delta,
    typed as typed,
)

# The server's side of a connection.


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes


@final
class Peer:
    """The server's end of one connection, and what it saw.

    Attributes:
      requests: The whole requests received so far.
      bytes_received: How much was read, parts of requests included.
      accepted_at: Trio's time.
      closed_at: When the server saw the client's close (FIN or RST); None so far.
      reset: Whether that was a RST.
      handshake_error: Why TLS failed, as the server sees it.
    """

    def __init__(self, tcp: trio.SocketStream, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._tcp = tcp
        self._stream = stream
        self._buffer = bytearray()
        self._news = trio.Condition()
        self._may_read = trio.Event()
        self._gone = trio.Event()
        self._by_us = False
        self.requests: list[Received] = []
        self.bytes_received = 0
        self.accepted_at = trio.current_time()
        self.closed_at: float | None = None
        self.reset = False
        self.handshake_error: BaseException | None = None

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._stream.send_all(data)

    async def send_beneath_tls(self, data: bytes) -> None:
        """Send bytes as they are to the socket, also where there is TLS."""
        await self._tcp.send_all(data)

    async def request(self) -> Received:
        """Wait for one whole request; raises EOFError when the client closes instead."""
        async with self._news:
            while True:
                received = self._take_request()
                if received is not None:
                    self.requests.append(received)
                    return received
                if self.closed_at is not None:
                    raise EOFError
                await self._news.wait()

    async def until_bytes(self, count: int) -> None:
        """Wait until so many bytes were received."""
        async with self._news:
            while self.bytes_received < count:
                if self.closed_at is not None:
                    raise EOFError
                await self._news.wait()

    async def until_closed(self) -> None:
        """Wait until the client has closed."""
        await self._gone.wait()

    async def fin(self) -> None:
        """Close our direction only; what the client sends is still read."""
        await self._tcp.send_eof()

    def close(self, *, rst: bool) -> None:
        """Close both directions: with a RST, or as `socket.close` does."""
        self._by_us = True
        if rst:
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tcp.socket.close()

    def set_option(self, level: int, option: int, value: int) -> None:
        """Set a socket option."""
        self._tcp.setsockopt(level, option, value)

    def _take_request(self) -> Received | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(self._buffer) < end + 4 + length:
            return None
        method, target, _ = first.split(" ")
        content = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        return Received(method, target, headers, content)

    def begin_to_read(self) -> None:
        """From now on what the client sends is read."""
        self._may_read.set()

    async def read_on(self) -> None:
        """Read for as long as the connection lives, whatever the script does meanwhile."""
        await self._may_read.wait()
        try:
            while data := await self._stream.receive_some(1 << 20):
                self.bytes_received += len(data)
                async with self._news:
                    self._buffer += data
                    self._news.notify_all()
        except trio.BrokenResourceError as exc:
            self.reset = isinstance(exc.__cause__, ConnectionResetError)
            if isinstance(exc.__cause__, ssl.SSLError):
                self.handshake_error = exc.__cause__
        except trio.ClosedResourceError:
            pass
        if not self._by_us:
            self.closed_at = trio.current_time()
        self._gone.set()
        async with self._news:
            self._news.notify_all()


Step = Callable[[Peer], Awaitable[None]]
"""One thing a connection does."""


@final
@dataclass(frozen=True)
class Script:
    """What one connection does.

    Args:
      steps: One after another.
      reads: Whether the server reads from the start; if not, it begins when the steps are over.
    """

    steps: tuple[Step, ...]
    reads: bool = True


def on(*steps: Step, reads: bool = True) -> Script:
    """Make the script of one connection."""
    return Script(steps, reads)


def request() -> Step:
    """Wait for one whole request."""

    async def step(peer: Peer) -> None:
        await peer.request()

    return step


def request_bytes(count: int) -> Step:
    """Wait until so many bytes came over this connection, head and body together."""

    async def step(peer: Peer) -> None:
        await peer.until_bytes(count)

    return step


def send(*parts: bytes) -> Step:
    """Send bytes as they are: all parts in one go."""

    async def step(peer: Peer) -> None:
        await peer.send(b"".join(parts))

    return step


def begin_to_read() -> Step:
    """From now on what the client sends is read, where the script did not read from the start."""

    async def step(peer: Peer) -> None:
        peer.begin_to_read()

    return step


def send_beneath_tls(data: bytes) -> Step:
    """Send bytes as they are to the socket, also where there is TLS."""

    async def step(peer: Peer) -> None:
        await peer.send_beneath_tls(data)

    return step


def drip(data: bytes, *, size: int = 1, seconds: float = 0.0) -> Step:
    """Send bytes in small pieces, each a packet of its own."""

    async def step(peer: Peer) -> None:
        peer.set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), size):
            await peer.send(data[i : i + size])
            await trio.sleep(seconds)

    return step


def repeat(data: bytes, *, times: float = math.inf, seconds: float = 0.0) -> Step:
    """Send the same bytes again and again."""

    async def step(peer: Peer) -> None:
        sent = 0
        while sent < times:
            await peer.send(data)
            sent += 1
            await trio.sleep(seconds)

    return step


def delay(seconds: float) -> Step:
    """Do nothing for a while; what the client sends is read (unless the script does not read)."""

    async def step(_: Peer) -> None:
        await trio.sleep(seconds)

    return step


def wait(for_event: trio.Event) -> Step:
    """Do nothing until the test sets the event."""

    async def step(_: Peer) -> None:
        await for_event.wait()

    return step


def silence() -> Step:
    """Do nothing until the client closes."""

    async def step(peer: Peer) -> None:
        await peer.until_closed()

    return step


def fin() -> Step:
    """FIN, then read on: so the client's close is seen."""

    async def step(peer: Peer) -> None:
        await peer.fin()

    return step


def rst() -> Step:
    """Close with a RST. `closed_at` stays None: the server is gone first."""

    async def step(peer: Peer) -> None:
        peer.close(rst=True)

    return step


def close() -> Step:
    """Close both directions at once (without a RST, if all was read)."""

    async def step(peer: Peer) -> None:
        peer.close(rst=False)

    return step


def answers(*parts: bytes) -> Step:
    """Answer every request on this connection with these bytes."""

    async def step(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"".join(parts))

    return step


def answering(*parts: bytes) -> Script:
    """Answer every request with these bytes."""
    return on(answers(*parts))


def once(*parts: bytes) -> Script:
    """Answer the first request with these bytes; later ones on the same connection with the standard message."""
    return on(request(), send(*parts))


GOOD = answering(GOOD_ANSWER)


@final
class FaultServer:
    """A server on 127.0.0.1 that does to each connection what its script says.

    Args:
      scripts: Of the first connection, the second, and so on.
      then: Of all further ones.
      tls: Serve TLS with this context.
      scheme: Of `url`; https over a server without ``tls`` is how plain bytes or silence answer a handshake.
    """

    def __init__(
        self,
        scripts: Sequence[Script] = (),
        *,
        then: Script = GOOD,
        tls: ssl.SSLContext | None = None,
        scheme: str | None = None,
    ) -> None:
        self._scripts = list(scripts)
        self._then = then
        self._tls = tls
        self._scheme = scheme or ("http" if tls is None else "https")
        self._listener = trio.socket.socket()
        self._nurseries = trio.open_nursery()
        self._nursery: trio.Nursery | None = None
        self.peers: list[Peer] = []
        self.port = 0

    @property
    def url(self) -> str:
        """For ``base_url``."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Received]:
        """Every whole request so far, connection by connection."""
        return [received for peer in self.peers for received in peer.requests]

    async def closed(self, number: int = 0, *, within: float = 1.0) -> float:
        """Wait until the server has seen the client close a connection.

        Returns:
          When it saw it, in Trio's time.
        """
        with trio.fail_after(within):
            while len(self.peers) <= number:
                await trio.sleep(0.001)
            await self.peers[number].until_closed()
        at = self.peers[number].closed_at
        assert at is not None, "the server closed it, not the client"
        return at

    async def __aenter__(self) -> Self:
        await self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(200)
        self.port = self._listener.getsockname()[1]
        self._nursery = await self._nurseries.__aenter__()
        self._nursery.start_soon(self._accept, self._nursery)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # The nursery does not see the test's exception, which so leaves as itself. When a script has failed, that
        # is what is raised here.
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel(reason="the test is over")
        try:
            await self._nurseries.__aexit__(None, None, None)
        finally:
            self._listener.close()

    async def _accept(self, nursery: trio.Nursery) -> None:
        while True:
            sock, _ = await self._listener.accept()
            tcp = trio.SocketStream(sock)
            stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
            if self._tls is not None:
                stream = trio.SSLStream(tcp, self._tls, server_side=True, https_compatible=True)
            peer = Peer(tcp, stream)
            number = len(self.peers)
            self.peers.append(peer)
            script = self._scripts[number] if number < len(self._scripts) else self._then
            nursery.start_soon(self._serve, peer, script, sock)

    async def _serve(self, peer: Peer, script: Script, sock: trio.socket.SocketType) -> None:
        # Trio's listener and streams are closed here and nowhere else, also when the test is over.
        with sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.read_on)
                if script.reads:
                    peer.begin_to_read()
                try:
                    for step in script.steps:
                        await step(peer)
                    peer.begin_to_read()
                    await answers(GOOD_ANSWER)(peer)
                except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
                    # The client closed, or the script did: what is left to see is `read_on`'s.
                    peer.begin_to_read()
