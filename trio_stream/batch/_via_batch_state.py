"""What all groups of a fan-out via batches share.

What belongs here: the deadline, whether the batches were left to themselves, and settling an item. What does not: which
way an item goes (`_via_batch_fates`).
"""

from __future__ import annotations

import math
from typing import final

import trio

from trio_stream._money import Ledger

from ._active_item import ActiveItem
from ._job import Job
from ._records import Outcome
from ._settling import Settler
from ._spool import Spool
from ._via_batch_options import ViaBatch


@final
class BatchState:
    """The state of the whole run as far as batches are concerned, and the end of each item.

    Args:
      via: The options.
      job: The job, in whose list of items under way those in batches are too.
      ledger: Has what is reserved for items.
      settler: Settles outcomes.

    Attributes:
      via: The same.
      job: The same.
      spool: The requests of the items.
      deadline: When the batches are cancelled, by `trio.current_time`.
      detached: Whether the batches are left to go on when the block is left.
      paid_twice: Items that were asked again although a batch may have answered them too.
      again: By the index of an item, how many more times it was put into a batch because the API had failed.
    """

    def __init__(self, via: ViaBatch, *, job: Job, ledger: Ledger, settler: Settler) -> None:
        self.via: ViaBatch = via
        self.job: Job = job
        self.spool: Spool = Spool(None)
        self.deadline: float = math.inf
        self.detached: bool = False
        self.paid_twice: int = 0
        self.again: dict[int, int] = {}
        self._ledger = ledger
        self._settler = settler

    @property
    def past_deadline(self) -> bool:
        """Whether nothing more goes into a batch, and the rest is streamed."""
        return trio.current_time() >= self.deadline

    def release(self, active: ActiveItem) -> None:
        """An item needs no money any more, or another request of it asks for itself."""
        if active.reservation is not None:
            self._ledger.release(active.reservation)
        active.reservation, active.reserved = None, False

    def forget_request(self, active: ActiveItem) -> None:
        """The request of an item is not needed on the disk any more."""
        if active.spooled is not None:
            self.spool.release(active.spooled)
            active.spooled = None

    def settle(self, active: ActiveItem, outcome: Outcome, *, noted: bool = True) -> None:
        """An item that is in a group, or in none yet, has its outcome.

        Args:
          active: The item.
          outcome: Its outcome.
          noted: Whether the journal is told.

        Raises:
          JournalError: The journal cannot be written.
        """
        self.again.pop(active.index, None)
        self.release(active)
        self.forget_request(active)
        del self.job.active[active.index]
        self._settler.settle(active, outcome, from_journal=not noted)
        if self.job.room:
            self.job.room.unpark_all()
        if self.job.watch is not None:
            self.job.watch.item_ends(active, outcome)

    def skip(self, active: ActiveItem) -> None:
        """Give up an item because the job has stopped; the next run starts it again."""
        self.settle(active, active.outcome("skipped", self.job.stopped), noted=False)
