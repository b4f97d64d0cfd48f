"""Scripted answers on a real port: HTTP/1.1 over TCP or TLS.

What belongs here: the life of the port and of its connections, requests in, answers out. What does not: what
is answered (`_scripted`), reading a request's bytes (`_request_reader`).
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, TypeAlias, final

import trio

from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream._nursery import NurseryBlock
from trio_stream.testing._memory import ConnectionCut, ScriptedBody
from trio_stream.testing._request_reader import ReadRequest, RequestReader
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._timeline import AnswerHead
from trio_stream.testing._wire import header

_Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]
_Listener: TypeAlias = trio.SocketListener | trio.SSLListener[trio.SocketStream]

_LINGER = 1.0
"""Seconds that an orderly end of TLS may take."""


class Answering(Protocol):
    """The part of `ScriptedAPI` that a port needs."""

    def record(
        self,
        *,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Iterable[tuple[str, str]],
        content: bytes,
    ) -> RecordedRequest:
        """Record a request that has arrived."""
        ...

    async def answer(self, request: RecordedRequest) -> tuple[AnswerHead, ScriptedBody]:
        """The answer to a recorded request, once its head is due."""
        ...


@final
class Server:
    """A port that is being served.

    Attributes:
      base_url: The base URL for a client.
      host: The address that it listens on.
      port: The port.
      connections: How many connections are open now.
      accepted: How many connections have been accepted so far.
    """

    def __init__(self, *, scheme: str, host: str, port: int) -> None:
        self.host: str = host
        self.port: int = port
        self.base_url: str = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self.connections: int = 0
        self.accepted: int = 0
        self._nobody = trio.lowlevel.ParkingLot()

    async def wait_no_connections(self) -> None:
        """Wait until no connection is open. A checkpoint; if it is cancelled nothing changes."""
        await trio.lowlevel.checkpoint()
        while self.connections:
            await self._nobody.park()

    def count(self, change: int) -> None:
        """Note that a connection was opened (1) or closed (-1)."""
        self.connections += change
        self.accepted += change > 0
        if not self.connections:
            self._nobody.unpark_all()

    def __repr__(self) -> str:
        return f"<Server {self.base_url}: {self.connections} connections open>"


@final
class Serving:
    """The block in which a port is served. Made by `ScriptedAPI.serve`.

    An exception of the block leaves as itself. A mistake in a script ends the block with that mistake.
    """

    def __init__(self, api: Answering, *, host: str, port: int, ssl_context: ssl.SSLContext | None) -> None:
        self._api = api
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._listeners: list[trio.SocketListener] = []

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Server:
        if self._listeners:
            raise RuntimeError("this port is already being served; call serve() again for another one")
        self._block = NurseryBlock("server")
        self._listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        if self._port == 0:
            # A name can stand for several addresses, and each would get a port of its own.
            for other in self._listeners[1:]:
                other.socket.close()
            del self._listeners[1:]
        context = self._ssl_context
        server = Server(
            scheme="http" if context is None else "https",
            host=self._host,
            port=int(self._listeners[0].socket.getsockname()[1]),
        )
        listeners: list[_Listener] = [
            listener if context is None else trio.SSLListener(listener, context, https_compatible=True)
            for listener in self._listeners
        ]
        await self._block.enter()
        self._start(server, listeners)
        return server

    def _start(self, server: Server, listeners: list[_Listener]) -> None:
        # The port listens already: whoever connects before the task runs has to wait, and is not refused.
        serve_one = partial(_serve_connection, self._api, server)
        nursery = self._block.nursery
        nursery.start_soon(partial(trio.serve_listeners, handler_nursery=nursery), serve_one, listeners)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # First the tasks, then the ports: they are the tasks' to accept from.
        self._block.nursery.cancel_scope.cancel(reason="the block of api.serve() was left")
        try:
            return await self._block.exit(exc)  # noqa: ASYNC102 - waits as a nursery does
        finally:
            for listener in self._listeners:
                listener.socket.close()
            self._listeners = []


async def _serve_connection(api: Answering, server: Server, stream: _Stream) -> None:
    server.count(1)
    try:
        await _Connection(api, stream).run()
    finally:
        # Whatever else is open of it; an orderly end has been made where there was one to make.
        try:
            await trio.aclose_forcefully(stream)
        finally:
            server.count(-1)


@final
class _Connection:
    """One connection: a task that answers, and a task that reads all the time.

    Because one reads all the time, it is seen at once that a client leaves, even in the middle of an answer.
    """

    def __init__(self, api: Answering, stream: _Stream) -> None:
        self._api = api
        self._stream = stream
        # One request may wait while another is answered; more are never asked for before an answer.
        self._put, self._take = trio.open_memory_channel[ReadRequest](1)

    async def run(self) -> None:
        # Not `async with trio.open_nursery()`: that would put a mistake in a script into a group.
        block = NurseryBlock("server")
        await block.enter()
        try:
            block.nursery.start_soon(self._read, block.nursery.cancel_scope)
            with self._take:
                await self._answer_all()
            block.nursery.cancel_scope.cancel(reason="the server ended this connection")
        except BaseException as exc:  # noqa: ASYNC103 - the block says whether it goes on
            if not await block.exit(exc):  # noqa: ASYNC102, ASYNC120 - waits as a nursery does
                raise
        else:
            await block.exit(None)

    async def _read(self, scope: trio.CancelScope) -> None:
        reader = RequestReader()
        with self._put:
            while True:
                try:
                    data = await self._stream.receive_some(65_536)
                    for request in reader.feed(data):
                        self._put.send_nowait(request)
                    if reader.wants_continue():
                        await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                except trio.WouldBlock:
                    scope.cancel(reason="the client sent requests without waiting for answers")
                    return
                if not data:
                    scope.cancel(reason="the client closed the connection")
                    return

    async def _answer_all(self) -> None:
        try:
            async for request in self._take:  # pragma: no branch - the connection ends it by cancelling it
                if not await self._answer(request):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The client went away while something was being sent; the request says so.
            return  # pragma: no cover - whether that or the end of the requests is noticed first is a matter of timing

    async def _answer(self, request: ReadRequest) -> bool:
        """Answer one request. Returns False if the connection ends with it."""
        if request.fault is not None:
            await self._stream.send_all(_refusal(request.fault))
            await self._end()
            return False  # pragma: no cover - closing wakes the task that reads, which may end this one first
        recorded = self._api.record(
            method=request.method,
            path=request.path,
            params=request.params,
            headers=request.headers,
            content=request.content,
        )
        try:
            head, body = await self._api.answer(recorded)
        except ConnectionCut as cut:
            self._cut(reset=cut.reset)
            return False
        try:
            keep_alive = request.keep_alive
            chunked = header(head.headers, "content-length") is None
            if chunked and request.http_version == "1.0":
                chunked = keep_alive = False
            await self._stream.send_all(_head_bytes(head, chunked=chunked, keep_alive=keep_alive))
            if not await self._send_body(body, chunked=chunked):
                return False
            body.finish()
        finally:
            body.close()
        if not keep_alive:
            await self._end()
        return keep_alive

    async def _send_body(self, body: ScriptedBody, *, chunked: bool) -> bool:
        while True:
            try:
                data = await body.receive_some()
            except IncompleteStreamError:
                self._cut(reset=False)
                return False
            except APIConnectionError:
                self._cut(reset=True)
                return False
            if not data:
                break
            await self._stream.send_all(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        if chunked:
            await self._stream.send_all(b"0\r\n\r\n")
        return True

    def _cut(self, *, reset: bool) -> None:
        """End the connection as a failing peer or network does: without a TLS goodbye, and if ``reset`` by a RST."""
        stream = self._stream
        sock = (stream if isinstance(stream, trio.SocketStream) else stream.transport_stream).socket
        if reset:
            # Linger for no time: closing sends RST.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    async def _end(self) -> None:
        with trio.move_on_after(_LINGER):
            await self._stream.aclose()


def _head_bytes(head: AnswerHead, *, chunked: bool, keep_alive: bool) -> bytes:
    try:
        phrase = HTTPStatus(head.status).phrase
    except ValueError:
        phrase = "Overloaded" if head.status == 529 else "Unknown"
    lines = [f"HTTP/1.1 {head.status} {phrase}", *(f"{name}: {value}" for name, value in head.headers)]
    if chunked:
        lines.append("transfer-encoding: chunked")
    lines.append(f"connection: {'keep-alive' if keep_alive else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _refusal(status: int) -> bytes:
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "content-length: 0", "connection: close", "", "")
    return "\r\n".join(lines).encode()
