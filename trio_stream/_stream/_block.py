"""The block of a stream: what happens at ``async with`` and at its end.

What belongs here: entering and leaving, once each, and cancelling what is in between. What does not: the stream itself
(`_lifecycle`), and which exception leaves the block (`trio_stream._nursery`).

A block has a nursery, and belongs to the task that entered it. In an async generator (`trio_stream._generators`) it has
none: then no scope is open while the body runs, and any task may leave it.

Entering and leaving pass a socket from owner to owner, so neither is interrupted by a KeyboardInterrupt between two
steps: it is raised where they wait.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from trio_stream._generators import USE_A_CHANNEL, suspending_generator
from trio_stream._nursery import NurseryBlock

from ._lifecycle import StreamLifecycle


class _BlockState(Enum):
    NEW = "not entered"
    ENTERED = "entered"
    LEFT = "left"


@final
class StreamBlock:
    """Opens a stream on entering, and closes it on leaving.

    Attributes:
      cancel_reason: Why `cancel` was called; None when it was not.
      place: Where it was entered, if that was noted (`_places`).
    """

    __slots__ = ("_generator", "_nursery_block", "_state", "_stream", "cancel_reason", "place")

    def __init__(self, stream: StreamLifecycle[Any]) -> None:
        self._stream = stream
        self._nursery_block: NurseryBlock | None = None  # None in a generator
        self._generator: str | None = None  # the name of the generator that it was entered in
        self._state = _BlockState.NEW
        self.cancel_reason: str | None = None
        self.place: int | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the stream."""
        self._check_has_nursery()
        if self._nursery_block is None:
            raise RuntimeError("the nursery exists once the stream has been entered")
        return self._nursery_block.nursery

    def _check_has_nursery(self) -> None:
        if self._generator is not None:
            raise RuntimeError(
                f"this stream was entered in the async generator {self._generator!r}, so it has no nursery and no "
                "cancel(): no scope is sound where a generator may be left at a `yield`. "
                f"{USE_A_CHANNEL}, or enter the stream in a function that is no generator; aclose() ends it too"
            )

    @property
    def left(self) -> bool:
        """Whether the block has been left."""
        return self._state is _BlockState.LEFT

    def belongs_to(self, task: trio.lowlevel.Task) -> bool:
        """Whether this task entered it."""
        return self._nursery_block is not None and self._nursery_block.task is task

    @enable_ki_protection
    async def enter(self) -> None:
        """Open the stream, and its nursery in the current task.

        Raises:
          APIError: The last attempt's error.
          RuntimeError: It has been entered before; or this is not called within a run of Trio, or in another one than
            that in which the client is used.
          trio.ClosedResourceError: The stream was closed.
        """
        if self._state is not _BlockState.NEW:
            raise RuntimeError("this stream has been entered before: each stream is one request, so make another")
        self._stream.check_open()
        self._stream.check_run()
        self._state = _BlockState.ENTERED
        entered_at = trio.current_time()
        generator = suspending_generator()
        if generator is None:
            await self._open_in_nursery(entered_at)
        else:
            self._generator = generator.f_code.co_qualname
            await self._open_in_generator(entered_at)

    async def _open_in_nursery(self, entered_at: float) -> None:
        self._nursery_block = block = NurseryBlock("stream", warn=False)
        await block.enter()
        try:
            await self._stream.open(block.nursery.cancel_scope, block.nursery, entered_at=entered_at)
        except BaseException as exc:
            how = "closed" if self._stream.is_closed else "cancelled"
            self._opening_failed(exc)
            # Waits for the nursery, which has no tasks yet; `Cancelled` of an outer scope goes on.
            if await block.exit(exc):  # noqa: ASYNC102
                raise trio.ClosedResourceError(f"the stream was {how} while it was being opened") from None  # noqa: ASYNC104
            raise

    async def _open_in_generator(self, entered_at: float) -> None:
        with trio.CancelScope() as scope:  # closed again before the generator goes on
            try:
                await self._stream.open(scope, None, entered_at=entered_at)
                return
            except BaseException as exc:
                self._opening_failed(exc)
                raise
        raise trio.ClosedResourceError("the stream was closed while it was being opened")

    def _opening_failed(self, exc: BaseException) -> None:
        self._state = _BlockState.LEFT
        self._stream.opening_failed(exc, reason=self.cancel_reason)

    @enable_ki_protection
    async def leave(self, exc: BaseException | None) -> bool:
        """Close the stream, then wait for the tasks in its nursery.

        Args:
          exc: What the body of the block ended with.

        Returns:
          What ``__aexit__`` returns: True when ``exc`` ends here.

        Raises:
          RuntimeError: It was never entered, or has been left, or this is not the time or the task to leave it.
        """
        stream = self._stream
        if self._state is _BlockState.NEW:
            raise RuntimeError("this stream was never entered")
        stream.close_now(because=exc, reason=self.cancel_reason)
        if self._state is _BlockState.LEFT:
            raise RuntimeError("this stream has been left already")
        if self._nursery_block is not None:
            self._nursery_block.check_may_leave()
        self._state = _BlockState.LEFT
        if stream.opened is not None:  # pragma: no branch - what was entered and not left yet is open
            try:
                await stream.opened.reader.body.aclose()
            except BaseException as interrupt:  # noqa: ASYNC103
                # The nursery must be closed first, or Trio's stack of them is corrupt.
                if not await self._exit(interrupt):  # noqa: ASYNC102 - waits as a nursery does
                    raise
                return True  # noqa: ASYNC104 - it was the block's own cancellation
        return await self._exit(exc)

    async def _exit(self, exc: BaseException | None) -> bool:
        """Close the nursery, if there is one. A schedule point. Returns whether ``exc`` ends here."""
        if self._nursery_block is not None:
            return await self._nursery_block.exit(exc)
        await cancel_shielded_checkpoint()
        return False

    def cancel(self, reason: str | None) -> None:
        """End the block without an exception.

        Raises:
          RuntimeError: It has not been entered, or in a generator.
        """
        if self._state is _BlockState.NEW:
            raise RuntimeError("there is no block to cancel: this stream has not been entered")
        if self._state is _BlockState.LEFT:
            return
        self._check_has_nursery()
        if self.cancel_reason is None:
            self.cancel_reason = "cancelled by the program" if reason is None else reason
        self.nursery.cancel_scope.cancel(reason=reason or "stream.cancel() was called")
