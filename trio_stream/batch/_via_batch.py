"""A fan-out by way of message batches: ``fan_out(via="batch")``.

What belongs here: what the fan-out asks of it, and which items are streamed as probes. What does not: taking items into
groups (`_via_batch_intake`), the life of a group (`_via_batch_life`), what becomes of items (`_via_batch_fates`), and
batches of earlier runs (`_via_batch_recall`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

import trio

from trio_stream._client import Client
from trio_stream._money import Ledger
from trio_stream._protocol import MessageBatch

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._job import Job
from ._journal_keeper import JournalKeeper
from ._options import FanOutOptions
from ._outbox import Outbox
from ._settling import Settler
from ._spool import Spool
from ._stopping import FanOutStoppedError
from ._via_batch_calls import BatchAccess, BatchWatch
from ._via_batch_create import Creation
from ._via_batch_fates import Fates
from ._via_batch_intake import Intake
from ._via_batch_life import GroupLife
from ._via_batch_options import ViaBatch
from ._via_batch_probes import Probes
from ._via_batch_recall import Recall
from ._via_batch_state import BatchState
from ._via_batch_warmup import BatchWarmup
from ._workers import Workers

_LEAVE_SECONDS: Final = 5.0
"""The most seconds for cancelling batches when the block is left."""

_MOST_LIMITED: Final = 5000
"""How many items may be under way where a budget looks at all of them for each that is added."""


@final
class BatchDesk:
    """Takes items in, and sees to it that each gets its outcome.

    Args:
      client: Makes the calls.
      via: The options.
      options: The options of the fan-out.
      job: The job, in whose list of items under way those in batches are too.
      outbox: Results are read while it has room.
      keeper: Has the journal.
      ledger: Adds up what the answers used.
      attempts: Judges answers of which a type was asked for.
      workers: Stream what is to be streamed.
      settler: Settles outcomes.

    Attributes:
      via: The options.
      warmup: What is known of the prompt cache.
    """

    def __init__(
        self,
        client: Client,
        via: ViaBatch,
        options: FanOutOptions,
        *,
        job: Job,
        outbox: Outbox,
        keeper: JournalKeeper,
        ledger: Ledger,
        attempts: Attempts,
        workers: Workers,
        settler: Settler,
    ) -> None:
        self.via: ViaBatch = via
        self.warmup: BatchWarmup = BatchWarmup()
        self._job = job
        self._keeper = keeper
        self._ledger = ledger
        self._workers = workers
        self._state = BatchState(via, job=job, ledger=ledger, settler=settler)
        self._access = BatchAccess(client)
        self._watch = BatchWatch(self._access)
        self._life = GroupLife(
            self._state,
            access=self._access,
            watch=self._watch,
            outbox=outbox,
            ledger=ledger,
            attempts=attempts,
            warmup=self.warmup,
        )
        self._intake = Intake(
            self._state,
            options,
            version=client.anthropic_version,
            ledger=ledger,
            attempts=attempts,
            carry=self._life.add,
        )
        self._fates = Fates(
            self._state,
            options,
            intake=self._intake,
            attempts=attempts,
            workers=workers,
            warmup=self.warmup,
        )
        self._nursery: trio.Nursery | None = None
        self._held = frozenset[str]()  # keys of items in batches of earlier runs that go on
        self._probes = Probes()
        self._probing = trio.Event()
        self._probing.set()

    @property
    def batches(self) -> tuple[MessageBatch, ...]:
        """The batches of this run and those it found, as they were when somebody last looked."""
        return tuple(self._watch.seen.values())

    @property
    def gone(self) -> tuple[str, ...]:
        """The ids of the batches that somebody has deleted before they were collected."""
        return tuple(self._watch.gone)

    @property
    def most_held(self) -> int:
        """How many items may be under way."""
        return min(self.via.max_queued, _MOST_LIMITED) if self._ledger.limited else self.via.max_queued

    @property
    def queued(self) -> int:
        """How many items are in batches that have no result yet."""
        return self._life.queued

    @property
    def paid_twice(self) -> int:
        """Items that were asked again although a batch may have answered them too."""
        return self._state.paid_twice

    async def begin(self, nursery: trio.Nursery) -> None:
        """Collect the batches of earlier runs. Called before the first item is taken.

        Raises:
          APIError: A batch could not be read for too long, and it is no outage.
          JournalError: The journal cannot be written.
        """
        state = self._state
        if self.via.deadline is not None:
            state.deadline = trio.current_time() + self.via.deadline
        journal = self._keeper.batch_journal
        state.spool = Spool(_folder_of(journal))
        creation = Creation(self._access, journal, settle=self.via.settle)
        self._nursery = nursery
        self._fates.begin(nursery)
        self._life.begin(nursery, creation=creation, intake=self._intake, fates=self._fates)
        if journal is None:
            return
        recall = Recall(
            journal,
            self.via,
            job=self._job,
            access=self._access,
            watch=self._watch,
            creation=creation,
            collector=self._life.collector,
            ledger=self._ledger,
            until=state.deadline,
        )
        await recall.collect_all()
        state.paid_twice += recall.paid_twice
        self._held = frozenset(recall.held)

    async def may_take(self) -> None:
        """Wait until the probe that is under way has ended."""
        await self._probing.wait()

    def start(self, active: ActiveItem) -> None:
        """Take an item in. It is under way from now on.

        Raises:
          JournalError: The journal cannot be written.
          OSError: The disk is full.
        """
        model = str(active.params.get("model", ""))
        self._job.active[active.index] = active
        if active.key in self._held:
            self._intake.hold(active)
            self._state.settle(active, active.outcome("skipped", _detached()), noted=False)
        elif self._state.past_deadline:
            self._fates.stream(active)
        elif self.via.probe and model not in self._probes.proven:
            assert self._nursery is not None
            self._probing = trio.Event()
            self._nursery.start_soon(self._probe, active, model, name="trio_stream probe")
        else:
            if self._job.watch is not None:
                self._job.watch.item_starts(active)
            self._intake.put(active)

    def flush(self) -> None:
        """There are no further items: what is open need not wait."""
        self._intake.flush()

    def no_more_items(self) -> None:
        """All items have been taken."""
        self.flush()
        if self.via.detach:
            self.detach()

    def detach(self) -> None:
        """Leave the batches to themselves, as soon as all items that were taken are in one."""
        self._state.detached = True
        self._job.stop(_detached())
        self.flush()
        self._life.detach()

    def abort(self) -> None:
        """The batches are to be cancelled after all."""
        self._state.detached = False

    async def leave(self) -> None:
        """Cancel the batches that have not ended, unless they were detached. Waits a few seconds at most."""
        if self._watch.live and not self._state.detached:
            with trio.CancelScope(deadline=trio.current_time() + _LEAVE_SECONDS, shield=True):
                await self._watch.cancel_all()

    def close(self) -> None:
        """Nothing is under way any more."""
        self._state.spool.close()

    async def _probe(self, active: ActiveItem, model: str) -> None:
        try:
            outcome = await self._workers.work(active)
            stop = None if outcome is None else self._probes.note(model, outcome)
            if stop is not None:
                self._job.stop(stop)
        finally:
            self._probing.set()


def _detached() -> FanOutStoppedError:
    return FanOutStoppedError("the fan-out was detached from its batches", reason="detach")


def _folder_of(journal: object) -> Path | None:
    """Where the journal is: requests beside it do not go to a disk that is in memory, as that of ``/tmp`` may be."""
    path: object = getattr(journal, "path", None)
    return path.parent if isinstance(path, Path) else None
