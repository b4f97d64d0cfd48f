"""One stream between the thread that reads it and the loop: the task that owns its block, and what that has read.

What belongs here: opening, reading on demand and leaving, from both sides. What does not: what the program sees
(`_streams`), and the events of one look (`_batch`).

The task is in one of three places: it opens the stream; it waits for the next event; or it is parked, until somebody
asks for something. It waits one event ahead of the program, so that a thread which asks in time need not wake the
loop: that would cost as much as all the rest. With that event it is parked, until it is asked. So a program that does
not read holds up the model, as with the asynchronous client; and clocks run while the model is waited for, never while
an event waits for the program.
"""

from __future__ import annotations

import contextlib
import math
import threading
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar, final

import trio

from ._batch import Batch, Taker
from ._hop import INTERRUPT_SECONDS, Hop
from ._loop import Loop, check_thread


class AsyncStream(Protocol):
    """What is read: a `MessageStream`, an `EventStream` or `BatchResults`."""

    async def receive(self) -> Any:
        """Receive the next event."""

    def receive_nowait(self) -> Any:
        """Receive the next event, if it is there."""

    async def aclose(self) -> None:
        """Close."""


AsyncStreamT = TypeVar("AsyncStreamT", bound=AsyncStream)


@final
class _Read(Hop):
    """A thread waits for events.

    Attributes:
      seconds: How long the loop waits for the first one, at the most.
      due_at: When that is over, by the clock of the loop; None until that has looked.
    """

    __slots__ = ("due_at", "seconds")

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.due_at: float | None = None


@final
class Feed(Generic[AsyncStreamT]):
    """A stream that the loop owns, and threads read.

    Args:
      loop: The loop.
      manager: The stream's block.
      of_message: Whether it is a message.

    Attributes:
      is_new: Whether nobody has tried to open it.
      stream: The stream, once it is open. What it has can be looked at; it is read in its loop alone.
      taker: What takes events in the loop, once it is open.
      batch: The events that were handed over last.
    """

    # The loop alone writes `stream`, `taker`, `batch`, `_scope`, `_parked` and `_error`; the threads write `_read` and
    # `_leaving`, which say what is wanted. A new batch comes only in place of one that was wholly taken, so nothing is
    # lost, whoever is interrupted when. A thread writes what it wants before it looks whether the task is parked, and
    # the task says that it is before it looks whether anything is wanted: so one of them always notices.

    __slots__ = (
        "_error",
        "_leaving",
        "_left",
        "_left_with",
        "_lock",
        "_loop",
        "_manager",
        "_news",
        "_of_message",
        "_opened",
        "_parked",
        "_read",
        "_scope",
        "batch",
        "is_new",
        "stream",
        "taker",
    )

    def __init__(self, loop: Loop, manager: AbstractAsyncContextManager[AsyncStreamT], *, of_message: bool) -> None:
        self._loop = loop
        self._manager = manager
        self._of_message = of_message
        self._lock = threading.Lock()
        self._news = trio.Event()
        self._opened = Hop()
        self._parked = False
        self._scope: trio.CancelScope | None = None  # while the next event is waited for
        self._left = threading.Event()
        self._left_with: BaseException | None = None
        self._read: _Read | None = None
        self._leaving: tuple[BaseException | None] | None = None
        self._error: BaseException | None = None
        self.is_new: bool = True
        self.stream: AsyncStreamT | None = None
        self.taker: Taker[Any] | None = None
        self.batch: Batch[Any] = Batch([])

    # In the threads that read.

    def open(self) -> None:
        """Open the stream, and wait until its first event has arrived.

        Raises:
          BaseException: What entering the block of the stream raised, or a signal handler. Then nothing is left open.
        """
        check_thread()
        if not self.is_new:
            raise RuntimeError("this stream has been entered before: each stream is one request, so make another")
        self.is_new = False
        try:
            self._loop.begin(self, self._own)
            self._opened.wait_or_give_up(self._ask)
            error, self._error = self._error, None
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # or it would hold itself, by its traceback
        except BaseException:
            self.abandon()
            self._loop.live.discard(self)  # the task does that too, unless it was never started
            raise

    def read(self, seconds: float = math.inf) -> None:
        """Wait until there is another batch, or the end is known. To be called when all of this one was taken.

        Args:
          seconds: How long at the most; then the batch stays as it is. 0: there is no waiting for what has not arrived.

        Raises:
          trio.BusyResourceError: Another thread waits here.
          RuntimeError: In a task of Trio, or in another process; or the stream has not been entered.
          BaseException: What a signal handler raised.
        """
        check_thread()
        if self.is_new:
            raise RuntimeError("the request goes out when the stream is entered: write `with stream:` around this")
        self._loop.check_process()
        with self._lock:
            read = self._read
            if read is None or read.done:
                if self.batch.left or self.batch.end is not None:
                    return  # another thread has waited for it
                self._read = read = _Read(seconds)
                asks = self._parked or seconds < math.inf
            elif read.thread != threading.get_ident():
                raise trio.BusyResourceError("another thread is already receiving from this stream")
            else:
                asks = True  # it was interrupted here, and the loop has not given it up yet
        if self._left.is_set():
            self._end_read()
            return
        if asks:
            self._ask()
        read.wait_or_give_up(self._ask)

    def leave(self, error: BaseException | None) -> None:
        """Leave the block of the stream, and wait until that is done.

        Args:
          error: What the program's block ended with.

        Raises:
          BaseException: What leaving the block raised, or a signal handler.
        """
        try:
            self.abandon(error)
            if self._loop.is_of_this_process:
                self._left.wait()
                if self._left_with is not None:
                    raise self._left_with
        except BaseException:
            self.abandon(error)
            self._left.wait(INTERRUPT_SECONDS)
            raise

    def abandon(self, error: BaseException | None = None) -> None:
        """Have the block of the stream left, without waiting for that. It may be called again.

        Args:
          error: What the program's block ended with.
        """
        if self._leaving is None:
            self._leaving = (error,)
        if not self.is_new and self._loop.is_of_this_process and not self._left.is_set():
            # A loop that has ended has nothing open.
            with contextlib.suppress(RuntimeError, trio.ClosedResourceError):
                self._ask()

    def close(self) -> None:
        """Close the stream. Its block goes on."""
        if self.stream is not None and self._loop.is_of_this_process and not self._left.is_set():
            self._loop.call(self.stream.aclose)

    def _ask(self) -> None:
        """Have the loop look at what is wanted."""
        self._loop.post(self._look)

    # In the thread of the loop.

    def loop_ended(self, error: BaseException) -> None:
        """As `EndsWithLoop.loop_ended`."""
        self._error = error
        self._end()

    def _end(self) -> None:
        """There is nothing left of the stream: let go of whoever waits."""
        self._loop.live.discard(self)
        self._opened.finish()
        self._leaving = (None,)  # the error refers to the frames of the program, and these to the stream
        self._left.set()
        self._end_read()

    def _end_read(self) -> None:
        read = self._read
        if read is not None and not read.done:
            if not self.batch.left and self.batch.end is None:
                self.batch.end = self._error or trio.ClosedResourceError("this stream is closed")
            read.finish()

    def _look(self) -> None:
        """Look at what is wanted."""
        self._news.set()
        if self._opened.given_up or self._leaving is not None:
            self._opened.stop()
        if self._scope is not None:
            read = self._wanted
            if self._leaving is not None or (read is not None and read.given_up):
                self._scope.cancel(reason="the thread that waits was interrupted, or leaves the stream")
            elif read is not None:
                if read.due_at is None:
                    read.due_at = trio.current_time() + read.seconds
                self._scope.deadline = read.due_at
        if self._left.is_set():
            self._end_read()

    @property
    def _wanted(self) -> _Read | None:
        """What a thread waits for."""
        read = self._read
        return None if read is None or read.done else read

    async def _own(self) -> None:
        """Own the block of the stream: everything that needs one task is done in this one."""
        try:
            # Around all of the block, because scopes and blocks nest; it is cancelled only while the stream is opened.
            with trio.CancelScope() as self._opened.scope:
                stream = await self._enter()
                if stream is not None:
                    await self._serve_and_leave(stream)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the thread that leaves
            self._left_with = error
        finally:
            if not self._loop.is_failing:
                self._end()

    async def _enter(self) -> AsyncStreamT | None:
        self._look()
        try:
            return await self._manager.__aenter__()
        except trio.Cancelled:
            self._error = trio.ClosedResourceError("this client is closed")
            raise
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the thread that waits, as it is
            self._error = error
            return None
        finally:
            self._opened.scope = None

    async def _serve_and_leave(self, stream: AsyncStreamT) -> None:
        self.taker = Taker(stream.receive_nowait, of_message=self._of_message)
        self.batch = self.taker.take()
        self.stream = stream
        self._opened.finish()
        error: BaseException | None = None
        try:
            await self._serve(stream, self.taker)
            error = None if self._leaving is None else self._leaving[0]
        except trio.Cancelled as cancelled:
            error = cancelled
            raise
        finally:
            # Whatever the program ended with goes on in its own thread.
            traceback = None if error is None else error.__traceback__
            await self._manager.__aexit__(type(error) if error else None, error, traceback)  # noqa: ASYNC102 - never waits

    async def _serve(self, stream: AsyncStreamT, taker: Taker[Any]) -> None:
        """Read what is wanted, and one event ahead, until the block is left."""
        first: Any = None  # the event that was read ahead, of which nobody knows yet; or `end` in its place
        end: BaseException | None = None
        reads_ahead = True
        while self._leaving is None:
            read = self._wanted
            is_over = end is not None or self.batch.end is not None
            if first is None and not is_over and (reads_ahead if read is None else read.seconds and not read.given_up):
                first, end = await self._receive(stream)
                reads_ahead = first is not None
                if reads_ahead or end is not None or read is None:
                    continue
            elif read is None:
                await self._park()
                continue
            if self._loop.is_failing:
                return  # what has ended the stream is the end of the loop, of which nobody knows more yet
            if not self.batch.left and self.batch.end is None:
                if end is not None:
                    self.batch = taker.ended(end)
                elif first is not None or not read.seconds:
                    self.batch, first = taker.take(first), None
            reads_ahead = not read.given_up
            read.finish()

    async def _receive(self, stream: AsyncStreamT) -> tuple[Any, BaseException | None]:
        """Wait for the next event. Returns it, or the end; or None twice, if nobody wants to wait any longer."""
        try:
            with trio.CancelScope() as self._scope:
                self._look()
                return await stream.receive(), None
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the thread that reads, as it is
            return None, error
        finally:
            self._scope = None
        return None, None

    async def _park(self) -> None:
        """Wait until somebody wants something."""
        self._parked = True
        while self._wanted is None and self._leaving is None:
            await self._news.wait()
            self._news = trio.Event()
        self._parked = False
