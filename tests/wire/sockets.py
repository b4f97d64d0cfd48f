"""Sockets below HTTP: this process's own as the operating system sees them, and a port that does not answer.

What belongs here: counting sockets, and a port that refuses or ignores connections until it is told to serve. What
does not: anything a connection is used for (`server`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, final

import trio

from tests.wire.answers import GOOD_ANSWER


def sockets_to(port: int) -> int:
    """How many sockets of this process are connected to a port."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            copy = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # the one that listing opened
        with copy:
            try:
                count += copy.getpeername()[1] == port
            except (OSError, IndexError):
                continue  # it listens, is still connecting, or is no internet socket
    return count


def open_sockets() -> int:
    """How many sockets of any kind this process has, those that are still connecting included."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


@final
class UnansweringPort:
    """A port that nobody serves at first.

    Args:
      ignores: Its SYNs are not answered, because its queue is full; else connections are refused.
    """

    def __init__(self, *, ignores: bool) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._fillers: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        if ignores:
            self._socket.listen(0)
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
                self._fillers.append(filler)

    @property
    def base_url(self) -> str:
        """For ``base_url``."""
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """From now on, take connections."""
        self._close_fillers()
        self._socket.listen(100)

    async def serve(self) -> None:
        """Answer every request with the standard message, once it takes connections."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        await trio.serve_listeners(_answer, [listener])

    def _close_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._close_fillers()
        self._socket.close()


async def _answer(stream: trio.SocketStream) -> None:
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
            head, end, content = received.partition(b"\r\n\r\n")
            if end and len(content) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
                received = b""
                await stream.send_all(GOOD_ANSWER)
    except trio.BrokenResourceError:
        pass


@contextmanager
def no_socket_left() -> Iterator[None]:
    """Within the block as many sockets are closed as are opened."""
    before = open_sockets()
    yield
    assert open_sockets() == before
