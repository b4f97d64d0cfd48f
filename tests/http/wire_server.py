"""A server that plays back bytes on a real loopback port, and notes what it saw.

What belongs here: accepting, reading requests, and the ways a connection can end (FIN, RST, silence). What does not:
what an answer says; each test writes its own bytes.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sized(data: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(data), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + data


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    content: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        return values[0] if values else None


@dataclass(eq=False)
class Peer:
    """The server's end of one connection."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    tcp: trio.SocketStream
    requests: list[Received] = field(default_factory=list)
    closed_at: float | None = None
    buffer: bytes = b""

    async def request(self) -> Received:
        """Read one whole request; the end of the connection raises EOFError."""
        while b"\r\n\r\n" not in self.buffer:
            await self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
        while len(self.buffer) < length:
            await self._more()
        content, self.buffer = self.buffer[:length], self.buffer[length:]
        received = Received(method, target, headers, content)
        self.requests.append(received)
        return received

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self.buffer += data

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            await self.stream.send_all(part)

    async def drip(self, data: bytes, *, size: int = 1, seconds: float = 0.0) -> None:
        for i in range(0, len(data), size):
            await self.send(data[i : i + size])
            await trio.sleep(seconds)

    async def answer(self, *parts: bytes) -> Received:
        received = await self.request()
        await self.send(*parts)
        return received

    async def fin(self) -> None:
        await self.tcp.send_eof()

    def reset(self) -> None:
        """Close so that the other side gets a RST."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()

    async def until_closed(self) -> None:
        """Read on until the client closes."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        self.closed_at = trio.current_time()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class WireServer:
    """What the scripts of all connections have in common."""

    port: int
    tls: bool
    peers: list[Peer] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Received]:
        return [request for peer in self.peers for request in peer.requests]

    async def closed(self, number: int = 0) -> float:
        """Wait until the server has seen a connection's end; when that was."""
        with trio.fail_after(2):
            while len(self.peers) <= number or self.peers[number].closed_at is None:
                await trio.sleep(0.001)
        at = self.peers[number].closed_at
        assert at is not None
        return at


@asynccontextmanager
async def serve(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[WireServer]:
    """Serve each connection by the next script; the last one serves all further connections too."""
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(200)
    server = WireServer(listener.getsockname()[1], tls is not None)

    async def serve_one(sock: trio.socket.SocketType, script: Script) -> None:
        tcp = trio.SocketStream(sock)
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
        if tls is not None:
            stream = trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
        peer = Peer(stream, tcp)
        server.peers.append(peer)
        try:
            await script(peer)
            await peer.until_closed()
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            peer.closed_at = trio.current_time()
        finally:
            sock.close()

    async def accept(nursery: trio.Nursery) -> None:
        count = 0
        while True:
            sock, _ = await listener.accept()
            nursery.start_soon(serve_one, sock, scripts[min(count, len(scripts) - 1)])
            count += 1

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, nursery)
            yield server
            nursery.cancel_scope.cancel(reason="the test is over")


def answering(*parts: bytes) -> Script:
    """Answer every request on the connection with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer(*parts)

    return script


def answering_once(*parts: bytes, end: str = "wait") -> Script:
    """Answer one request, then FIN, RST, or wait for the client."""

    async def script(peer: Peer) -> None:
        await peer.answer(*parts)
        if end == "fin":
            await peer.fin()
        elif end == "rst":
            peer.reset()

    return script


async def never_answering(peer: Peer) -> None:
    await peer.until_closed()
