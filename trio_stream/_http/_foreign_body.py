"""Bodies that come through transports which are not ours.

What belongs here: reading httpx's response streams, and leaving none of their async generators behind. What does
not: our own connections (`_socket_body`).

A stream of httpx is a tower of async generators. Closing the outermost one leaves those below it to the garbage
collector, so it is never closed in the middle. Instead it is read on in a scope that is already cancelled: what has
arrived is skipped, the first wait raises `trio.Cancelled` at the bottom of the tower, and that unwinds every floor.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, enable_ki_protection

from trio_stream._protocol import Content

from ._body import ResponseBody
from ._connection import Origin
from ._failures import FOREIGN_FAILURES, body_failure
from ._httpx import httpx
from ._pool import Slots

_log = logging.getLogger("trio_stream")

_SEND_BYTES = 262_144

_DRAIN_PIECES = 10_000
"""How many pieces are skipped before a stream that never waits is left as it is."""


@final
class ContentStream(httpx.AsyncByteStream):
    """The content of a request. httpx's own is an async generator, which is left behind if sending it fails."""

    def __init__(self, content: bytes | Content) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._content
        return _Pieces(iter(content) if isinstance(content, Content) else _cut(content))


def _cut(content: bytes) -> Iterator[bytes]:
    for begin in range(0, len(content), _SEND_BYTES):
        yield content[begin : begin + _SEND_BYTES]  # all of it is no copy


@final
class _Pieces(AsyncIterator[bytes]):
    """Content in pieces: a transport's clock for writing counts for each of them, as ``send`` counts for a gap."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@final
class MemoryBody(ResponseBody):
    """A body that is in memory already, because its transport or a hook has read it."""

    __slots__ = ("_content", "_open")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._open = True

    def receive_nowait(self) -> bytes:
        """As `ResponseBody.receive_nowait`; there is never anything to wait for."""
        if not self._open:
            raise trio.ClosedResourceError("this body is closed")
        content, self._content = self._content, b""
        return content

    async def wait(self) -> None:
        """As `ResponseBody.wait`; `receive_nowait` never asks for it."""
        await trio.lowlevel.checkpoint()
        if not self._open:
            raise trio.ClosedResourceError("this body is closed")

    def close(self) -> None:
        """As `ResponseBody.close`."""
        self._open = False

    def finish(self) -> None:
        """As `ResponseBody.finish`."""
        self._open = False


@final
class HeldBody(ResponseBody):
    """A body that its transport brought, and the slot that is given back once the body has been let go of."""

    __slots__ = ("_body", "_slots", "cancel_safe")

    def __init__(self, body: ResponseBody, slots: Slots) -> None:
        self._body = body
        self._slots: Slots | None = slots
        self.cancel_safe = body.cancel_safe

    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`."""
        return self._body.receive_nowait()

    def wait(self) -> Awaitable[None]:
        """As `ResponseBody.wait`."""
        return self._body.wait()

    @enable_ki_protection
    def close(self) -> None:
        """As `ResponseBody.close`."""
        self._body.close()
        self._release()

    @enable_ki_protection
    def finish(self) -> None:
        """As `ResponseBody.finish`."""
        self._body.finish()
        self._release()

    async def aclose(self) -> None:
        """As `ResponseBody.aclose`."""
        self.close()
        await self._body.aclose()

    def _release(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()


@final
class ForeignBody(ResponseBody):
    """The body of a response of any httpx transport.

    A cancelled read breaks such a stream: the next read would look like its end. So this body says that it is broken,
    again and again.

    Args:
      response: The response, with its stream not yet read.
      origin: Where the request went, for error texts.
      slots: Where one slot is given back when the response has been closed.
    """

    # Its state, in the order in which it can change:
    # `_scope`    is set while a task is in `wait`. That task owns the iterator, and `close` only cancels the scope.
    # `_broken`   a read failed or was cancelled; the iterator is of no use.
    # `_ended`    the iterator came to its end; it is of no use either, and there is nothing to unwind.
    # `_open`     False from `close` on. Who closes while nobody waits has to call `aclose`, which disposes.
    # `_disposed` the tower is unwound, the response closed and the slot given back. Happens once, in whichever task
    #             comes last: `aclose`, or the one that `close` woke.

    __slots__ = (
        "_arrived",
        "_broken",
        "_disposed",
        "_ended",
        "_iterator",
        "_open",
        "_origin",
        "_response",
        "_scope",
        "_slots",
    )

    cancel_safe = False

    def __init__(self, response: httpx.Response, *, origin: Origin | None, slots: Slots) -> None:
        self._response = response
        self._origin = origin
        self._slots = slots
        self._iterator: AsyncIterator[bytes] | None = None
        self._scope: trio.CancelScope | None = None
        self._open = True
        self._broken = False
        self._ended = False
        self._disposed = False
        self._arrived = b""

    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`."""
        self._check_usable()
        if self._arrived:
            arrived, self._arrived = self._arrived, b""
            return arrived
        return b"" if self._ended else None

    @enable_ki_protection
    async def wait(self) -> None:
        """As `ResponseBody.wait`, except that a cancelled call leaves the body broken."""
        self._check_usable()
        await checkpoint_if_cancelled()
        try:
            with trio.CancelScope() as self._scope:
                while not self._arrived and not self._ended:
                    self._arrived = await self._next()
        except BaseException:
            self._broken = True
            raise
        finally:
            self._scope = None
            if not self._open:
                await self._dispose()  # noqa: ASYNC102 - it does not wait, and shields itself
        if not self._open:
            raise trio.ClosedResourceError("this body is closed")
        await cancel_shielded_checkpoint()  # whether the transport waited, and so was a checkpoint, cannot be told

    def _check_usable(self) -> None:
        if self._scope is not None:
            raise trio.BusyResourceError("another task is already receiving from this body")
        if not self._open:
            raise trio.ClosedResourceError("this body is closed")
        if self._broken:
            raise trio.BrokenResourceError(
                "an earlier receive failed or was cancelled, and this transport cannot take up where it was"
            )

    async def _next(self) -> bytes:
        if self._iterator is None:
            stream = self._response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            self._iterator = stream.__aiter__()
        try:
            return await self._iterator.__anext__()
        except StopAsyncIteration:
            self._ended = True
            return b""
        except FOREIGN_FAILURES as exc:
            forget_request(exc)
            raise body_failure(exc, origin=self._origin) from exc

    @enable_ki_protection
    def close(self) -> None:
        """As `ResponseBody.close`, except that the connection is closed only by `aclose`."""
        self._open = False
        if self._scope is not None:
            self._scope.cancel(reason="the body was closed")

    def finish(self) -> None:
        """As `close`. Whether the connection is used again is for the transport to decide."""
        self.close()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Close the response. Never waits on the peer; effective even when cancelled; not a checkpoint."""
        self.close()
        if self._scope is None:
            await self._dispose()
        # Otherwise a task is on its way out of `wait`, and disposes there.

    async def _dispose(self) -> None:
        if self._disposed:
            return
        self._disposed = True
        try:
            with trio.CancelScope(shield=True) as scope:
                scope.cancel(reason="unwinding the response stream")
                for _ in range(_DRAIN_PIECES):
                    if self._iterator is None or self._ended or self._broken:
                        break
                    await self._next()
            with trio.CancelScope(shield=True) as scope:
                scope.cancel(reason="closing the response")
                await self._response.aclose()
        except Exception:  # noqa: BLE001 - whatever a stream raises on its way out must not hide the caller's error
            _log.debug("a response of another transport failed to close", exc_info=True)
        finally:
            self._iterator = None
            forget_stream(self._response)
            self._slots.release()


def forget_request(exc: BaseException) -> None:
    """Take the request, and with it key and prompt, off httpx's exceptions: these stay reachable as causes."""
    pending: list[BaseException | None] = [exc]
    seen: set[int] = set()
    while pending:
        error = pending.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        pending += (error.__cause__, error.__context__)
        if isinstance(error, (httpx.RequestError, httpx.HTTPStatusError)):
            error.request = _NO_REQUEST
        if isinstance(error, httpx.HTTPStatusError):
            error.response.request = _NO_REQUEST
            error.response.next_request = None
            error.response.history = []


def forget_stream(response: httpx.Response) -> None:
    """Take the stream off a response: httpx makes a cycle of the two, which keeps the request's content alive."""
    response.stream = _NO_STREAM


_NO_STREAM = ContentStream(b"")
_NO_REQUEST = httpx.Request("POST", "https://request.invalid/")
