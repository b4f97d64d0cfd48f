"""Message batches of earlier runs, before a fan-out that streams.

What belongs here: what such a fan-out needs to collect them. What does not: collecting (`_via_batch_recall`), and a
fan-out via batches, which does the same with its own options (`_via_batch`).
"""

from __future__ import annotations

import math
from typing import final

import trio

from trio_stream._client import Client
from trio_stream._money import Ledger
from trio_stream._protocol import MessageBatch

from ._job import Job
from ._journal_keeper import JournalKeeper
from ._via_batch_calls import BatchAccess, BatchWatch
from ._via_batch_collect import Collector
from ._via_batch_create import Creation
from ._via_batch_options import ViaBatch
from ._via_batch_recall import Recall


@final
class EarlierBatches:
    """The batches that a journal says are open. Asking for their items would buy the answers twice.

    Args:
      client: Makes the calls.
      job: The job.
      keeper: Has the journal.
      ledger: Adds up what their answers used.

    Attributes:
      paid_twice: How many items are asked again although a batch may have answered them.
    """

    def __init__(self, client: Client, *, job: Job, keeper: JournalKeeper, ledger: Ledger) -> None:
        self.paid_twice: int = 0
        self._job = job
        self._keeper = keeper
        self._ledger = ledger
        self._access = BatchAccess(client)
        self._watch = BatchWatch(self._access)

    @property
    def batches(self) -> tuple[MessageBatch, ...]:
        """The batches, as they were when somebody last looked."""
        return tuple(self._watch.seen.values())

    @property
    def gone(self) -> tuple[str, ...]:
        """The ids of those that somebody has deleted."""
        return tuple(self._watch.gone)

    async def collect(self) -> None:
        """Wait for their ends, and collect what they answered. Called before the first item is taken.

        Raises:
          APIError: A batch could not be read for too long, and it is no outage.
          JournalError: The journal cannot be written.
        """
        journal = self._keeper.batch_journal
        if journal is None or not journal.batches.open:
            return
        via = ViaBatch()
        recall = Recall(
            journal,
            via,
            job=self._job,
            access=self._access,
            watch=self._watch,
            creation=Creation(self._access, journal, settle=via.settle),
            # Their answers go into the journal alone, so no consumer has to take them first.
            collector=Collector(self._access, trio.lowlevel.checkpoint_if_cancelled),
            ledger=self._ledger,
            until=math.inf,
        )
        await recall.collect_all()
        self.paid_twice = recall.paid_twice
