"""The block of a stream: what happens at ``async with`` and at its end.

What belongs here: entering and leaving, once each, in one task, and cancelling what is in between. What does not: the
stream itself (`_lifecycle`), and which exception leaves the block (`trio_stream._nursery`).

Entering and leaving pass a socket from owner to owner, so neither is interrupted by a KeyboardInterrupt between two
steps: it is raised where they wait.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, final

import trio
from trio.lowlevel import enable_ki_protection

from trio_stream._nursery import NurseryBlock

from ._lifecycle import StreamLifecycle, StreamState


class _BlockState(Enum):
    NEW = "not entered"
    ENTERED = "entered"
    LEFT = "left"


@final
class StreamBlock:
    """Opens a stream on entering, and closes it on leaving.

    Attributes:
      cancel_reason: Why `cancel` was called; None when it was not.
    """

    __slots__ = ("_nursery_block", "_state", "_stream", "cancel_reason")

    def __init__(self, stream: StreamLifecycle[Any]) -> None:
        self._stream = stream
        self._nursery_block: NurseryBlock | None = None
        self._state = _BlockState.NEW
        self.cancel_reason: str | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of the stream."""
        if self._nursery_block is None:
            raise RuntimeError("the nursery exists once the stream has been entered")
        return self._nursery_block.nursery

    @property
    def left(self) -> bool:
        """Whether the block has been left."""
        return self._state is _BlockState.LEFT

    def belongs_to(self, task: trio.lowlevel.Task) -> bool:
        """Whether this task entered it."""
        return self._nursery_block is not None and self._nursery_block.task is task

    @enable_ki_protection
    async def enter(self) -> None:
        """Open the nursery and the stream in the current task.

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
        self._nursery_block = block = NurseryBlock("stream")
        entered_at = trio.current_time()
        await block.enter()
        try:
            await self._stream.open(block.nursery, entered_at=entered_at)
        except BaseException as exc:
            how = "closed" if self._stream.state is StreamState.CLOSED else "cancelled"
            self._state = _BlockState.LEFT
            self._stream.opening_failed(exc, reason=self.cancel_reason)
            # Waits for the nursery, which has no tasks yet; `Cancelled` of an outer scope goes on.
            if await block.exit(exc):  # noqa: ASYNC102
                raise trio.ClosedResourceError(f"the stream was {how} while it was being opened") from None  # noqa: ASYNC104
            raise

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
        block, stream = self._nursery_block, self._stream
        if block is None:
            raise RuntimeError("this stream was never entered")
        stream.close_now(because=exc, reason=self.cancel_reason)
        if self._state is _BlockState.LEFT:
            raise RuntimeError("this stream has been left already")
        block.check_may_leave()
        self._state = _BlockState.LEFT
        if stream.opened is not None:  # pragma: no branch - what was entered and not left yet is open
            try:
                await stream.opened.reader.body.aclose()
            except BaseException as interrupt:  # noqa: ASYNC103
                # The nursery must be closed first, or Trio's stack of them is corrupt.
                if not await block.exit(interrupt):  # noqa: ASYNC102 - waits as a nursery does
                    raise
                return True  # noqa: ASYNC104 - it was the block's own cancellation
        return await block.exit(exc)

    def cancel(self, reason: str | None) -> None:
        """End the block without an exception.

        Raises:
          RuntimeError: It has not been entered.
        """
        if self._state is _BlockState.NEW:
            raise RuntimeError("there is no block to cancel: this stream has not been entered")
        if self._state is _BlockState.LEFT:
            return
        if self.cancel_reason is None:
            self.cancel_reason = "cancelled by the program" if reason is None else reason
        self.nursery.cancel_scope.cancel(reason=reason or "stream.cancel() was called")
