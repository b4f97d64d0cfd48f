"""Real hosts on real sockets, and peers that read from them as badly as they like.

What belongs here: Hypercorn with its Trio worker, and what is needed to talk to it without a client's good manners. What
does not: what an application should do (the tests).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import trio
from hypercorn.config import Config
from hypercorn.trio import serve


@asynccontextmanager
async def hypercorn(app: Any) -> AsyncIterator[int]:
    """Serve an application on a free port of the loopback device, which is given."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.2
    config.keep_alive_timeout = 0.3  # after which a connection of HTTP/2 ends whose response was cut
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        run = partial(serve, app, config, shutdown_trigger=stop.wait, mode="asgi")
        binds = await nursery.start(run)
        try:
            yield int(binds[0].rpartition(":")[2])
        finally:
            stop.set()


REQUEST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Tab:
    """A browser's tab with one request over HTTP/1.1.

    Attributes:
      data: The response as it came, head and chunks and all.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.data = b""

    @classmethod
    async def open(cls, port: int, *, window: int | None = None, request: bytes = REQUEST) -> Tab:
        """Connect and ask. With a small window, little is taken that is not read."""
        sock = trio.socket.socket()
        if window is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, window)
        try:
            await sock.connect(("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        tab = cls(trio.SocketStream(sock))
        await tab.stream.send_all(request)
        return tab

    async def until(self, wanted: bytes) -> None:
        """Read until something has come."""
        with trio.fail_after(20):
            while wanted not in self.data:
                more = await self.stream.receive_some()
                assert more, self.data
                self.data += more

    async def to_end(self) -> None:
        """Read until the connection or the response ends."""
        with trio.fail_after(20):
            while not self.ended and (more := await self.stream.receive_some()):
                self.data += more

    def close(self) -> None:
        """Close the tab."""
        self.stream.socket.close()

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def ended(self) -> bool:
        """Whether the response has ended as HTTP/1.1 says it: with a last chunk, or with all of its length."""
        head, _, rest = self.data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return len(rest) >= int(value)
        return rest.endswith(b"\r\n0\r\n\r\n")

    @property
    def body(self) -> bytes:
        """The body as far as it came."""
        head, _, rest = self.data.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return rest
        body = b""
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body


class TabOfHTTP2:
    """A tab with one request over HTTP/2, without TLS ("prior knowledge").

    Attributes:
      body: What came.
      ended: Whether the stream has ended as it should.
      reset: Whether it was reset.
    """

    def __init__(self, stream: trio.SocketStream, *, window: int) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.local_settings.initial_window_size = window
        self.body = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = self.reset = False

    @classmethod
    async def open(cls, port: int, *, window: int = 65535) -> TabOfHTTP2:
        tab = cls(await trio.open_tcp_stream("127.0.0.1", port), window=window)
        tab.h2.initiate_connection()
        fields = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]
        tab.h2.send_headers(1, fields)
        tab.h2.send_data(1, b"{}", end_stream=True)
        await tab.flush()
        return tab

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def read(self, *, reads_on: bool = True) -> bool:
        """Take what comes next; False when the connection has ended."""
        data = await self.stream.receive_some()
        if not data:
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.headers = dict(event.headers)
                self.status = int(self.headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.body += event.data
                if reads_on and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
            elif isinstance(event, h2.events.StreamReset):
                self.reset = True
        await self.flush()
        return True

    async def until(self, wanted: bytes) -> None:
        with trio.fail_after(20):
            while wanted not in self.body:
                assert await self.read(), self.body

    async def to_end(self) -> None:
        with trio.fail_after(20):
            while not self.ended and not self.reset and await self.read():
                pass

    async def leave(self) -> None:
        """Close the tab: reset the stream. The connection goes on."""
        self.h2.reset_stream(1)
        await self.flush()
