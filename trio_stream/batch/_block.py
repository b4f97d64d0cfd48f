"""Entering and leaving the ``async with`` block of a fan-out.

What belongs here: what is opened and closed, in which order, and that each happens once. What does not: the state of
the work that goes on in between (`_job`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import final

from trio_stream._nursery import NurseryBlock

from ._job import Job
from ._journal_keeper import JournalKeeper


class _Place(Enum):
    """The places of the consumer's task, in the order in which it passes them."""

    BEFORE = "the block has not been entered"
    INSIDE = "the block has been entered"
    BEHIND = "the block has been left"


@final
class Block:
    """One passage through the block, with the nursery in which the job runs.

    To be called with Trio's protection from KeyboardInterrupt: what is opened has to be closed.
    """

    def __init__(self, job: Job, keeper: JournalKeeper) -> None:
        self._job = job
        self._keeper = keeper
        self._nursery: NurseryBlock | None = None
        self._place = _Place.BEFORE

    @property
    def entered(self) -> bool:
        """Whether the block has been entered; still true when it has been left."""
        return self._place is not _Place.BEFORE

    async def enter(self, run: Callable[[], Awaitable[None]]) -> None:
        """Open the journal and the nursery, and start the job in it. Not a checkpoint.

        Args:
          run: The job's task.

        Raises:
          JournalError: The journal cannot be opened. The block may be entered again.
          RuntimeError: It has been entered before.
        """
        if self.entered:
            raise RuntimeError("this fan-out has been entered before: make another")
        # First, because it is all that can fail.
        self._keeper.open()
        self._place = _Place.INSIDE
        self._nursery = NurseryBlock("fan-out")
        await self._nursery.enter()
        self._job.begin()
        if self._job.watch is not None:
            self._job.watch.start()
        self._nursery.nursery.start_soon(run, name="trio_stream fan-out")

    async def leave(self, body: BaseException | None) -> bool:
        """Cancel what is under way, wait for its tasks, and close the journal.

        Never waits on the peer, but for message batches that are cancelled. A schedule point, not a cancellation point.

        Args:
          body: What the body of the block raised.

        Returns:
          What ``__aexit__`` returns.

        Raises:
          RuntimeError: The block was not entered, or has been left, or is not left in the order and the task in which
            it was entered.
        """
        if self._nursery is None:
            raise RuntimeError("this fan-out was never entered")
        if self._place is _Place.BEHIND:
            raise RuntimeError("this fan-out has been left already")
        # Before the check: where the nursery cannot be closed here, its tasks should still end soon.
        self._job.cancel("the fan-out block was left")
        self._nursery.check_may_leave()
        self._place = _Place.BEHIND
        try:
            return await self._nursery.exit(body)
        finally:
            # Last: the tasks note partial texts until they have ended.
            self._keeper.close()
