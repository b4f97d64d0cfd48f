"""The body of an answer on one of our own connections.

What belongs here: reading it (the path of every event), letting go of it, and the same for callers who use the
transport as any other httpx transport. What does not: the head (`_connection`), and who gets the connection next
(`_pool`).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import NoReturn, final

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    enable_ki_protection,
    wait_readable,
    wait_writable,
)

from trio_stream._errors import APIConnectionError, IncompleteStreamError

from ._body import ResponseBody
from ._connection import Connection
from ._httpx import httpx
from ._pool import Lease
from ._socket import RECEIVE_BYTES, os_reason


@final
class SocketBody(ResponseBody):
    """The bytes of one answer, from socket through parser to the caller in one call."""

    __slots__ = (
        "_connection",
        "_early",
        "_held",
        "_lease",
        "_open",
        "_parser",
        "_sock",
        "_waiting",
        "_wants_to_write",
        "drained",
    )

    def __init__(self, lease: Lease) -> None:
        connection = lease.connection
        assert connection is not None
        assert connection.parser is not None
        self._lease = lease
        self._connection: Connection = connection
        self._sock = connection.sock
        self._held = connection.sock.pending if isinstance(connection.sock, ssl.SSLSocket) else None
        self.drained = False
        self._parser = connection.parser
        self._early, connection.early_body = connection.early_body, b""
        self._open = True
        self._waiting = False  # since the last `wait`, until bytes are asked for
        self._wants_to_write = False

    @enable_ki_protection
    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`."""
        if not self._open:
            raise trio.ClosedResourceError("this body is closed")
        self._waiting = False
        if self._early:
            early, self._early = self._early, b""
            return early
        parser = self._parser
        while not parser.ended:
            if self.drained:
                return None
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self.drained = True
            except ssl.SSLWantWriteError:  # pragma: no cover - only a renegotiation writes in order to read
                self.drained = self._wants_to_write = True
            except OSError as exc:
                self._lost(exc)
            else:
                # A short read took all there was: to try again at once would cost a system call and an exception
                # an event. TLS reads one record at a time, and may hold another; what the kernel holds wakes.
                self.drained = len(data) < RECEIVE_BYTES if self._held is None else not self._held()
                body = b""
                if data:
                    body = parser.feed(data)
                else:
                    parser.feed_eof()
                if parser.ended:
                    self.drained = False  # there is more to say than that nothing has arrived
                if body:
                    return body
        if parser.failure is not None:
            raise IncompleteStreamError(f"the stream was cut: {parser.failure}")
        return b""

    def look_again(self) -> None:
        """As `ResponseBody.look_again`."""
        self.drained = False

    @enable_ki_protection
    def wait(self) -> Awaitable[None]:
        """As `ResponseBody.wait`."""
        # There is no CancelScope here: it would cost 8 us an event.
        fd = self._sock.fileno()
        if not self._open or fd < 0:
            raise trio.ClosedResourceError("this body is closed")
        self._waiting = True
        self.drained = False  # whatever ends the wait: the next call looks
        if self._wants_to_write:  # pragma: no cover - see above
            self._wants_to_write = False
            return wait_writable(fd)  # noqa: ASYNC105 - the caller awaits it
        return wait_readable(fd)  # noqa: ASYNC105

    def _lost(self, exc: OSError) -> NoReturn:
        if self._sock.fileno() < 0:
            # Closed by another task between the wait and this task's turn.
            raise trio.ClosedResourceError("this body is closed") from None
        reset = isinstance(exc, ConnectionResetError)
        reason = "connection reset by the server" if reset else os_reason(exc)
        self._parser.fail(reason)
        raise APIConnectionError(
            f"{self._connection.origin}: {reason} in the middle of the answer", may_have_been_accepted=True
        ) from exc

    @enable_ki_protection
    def close(self) -> None:
        """As `ResponseBody.close`."""
        if self._open:
            self._open = False
            self._lease.close()

    @enable_ki_protection
    def finish(self) -> None:
        """As `ResponseBody.finish`."""
        if self._open:
            if self._connection.reusable and not self._waiting:
                self._open = False
                self._lease.finish()
            else:
                self.close()


@final
class BodyStream(httpx.AsyncByteStream):
    """The same body for callers who read it through httpx. Not an async generator, so it needs no finalizing."""

    def __init__(self, body: SocketBody, *, read_seconds: float | None) -> None:
        self._body = body
        self._read_seconds = read_seconds
        self._receiving = False
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    @enable_ki_protection
    async def __anext__(self) -> bytes:
        """Receive the next bytes. A checkpoint; nothing is lost when it is cancelled.

        Raises:
          httpx.TransportError: The connection failed, or the body was cut.
          trio.BusyResourceError: Another task is already here.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this body")
        if self._ended:
            raise StopAsyncIteration
        await checkpoint_if_cancelled()
        self._receiving = True
        try:
            data = await self._receive()
        except APIConnectionError as exc:
            raise httpx.ReadError(exc.message) from exc
        except IncompleteStreamError as exc:
            raise httpx.RemoteProtocolError(exc.message) from exc
        finally:
            self._receiving = False
        if data:
            return data
        self._ended = True
        self._body.finish()
        raise StopAsyncIteration

    async def _receive(self) -> bytes:
        data = self._body.receive_nowait()
        if data is not None:
            await cancel_shielded_checkpoint()
            return data
        if self._read_seconds is None:
            return await self._body.receive_some()
        with trio.move_on_after(self._read_seconds):
            return await self._body.receive_some()
        raise httpx.ReadTimeout(f"not one byte of the body within {self._read_seconds:g} s")

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end. Not a checkpoint."""
        self._body.close()
