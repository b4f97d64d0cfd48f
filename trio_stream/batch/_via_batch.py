"""A fan-out by way of message batches: ``fan_out(via="batch")``.

What belongs here: which way an item goes (streamed as a probe, in a batch, in another batch, streamed after all), and
the life of each batch from its first item to its last result. What does not: creating a batch exactly once
(`_via_batch_create`), watching it (`_via_batch_calls`), reading its results (`_via_batch_collect`), and batches of
earlier runs (`_via_batch_recall`).

Items have no tasks of their own here: there may be a hundred thousand of them. Each group of items has one, from when
it is opened to its last result::

    open ──▶ closed ──▶ created ──▶ ended ──▶ collected
               │  ▲        │                    │
               │  │        │ deadline           │ failures of the API: into another group
               │  └ halved ▼                    ▼
               └────────▶ streamed             settled

"""

from __future__ import annotations

import math
from typing import Any, Final, final

import msgspec
import trio

from trio_stream._client import Client
from trio_stream._errors import APIError, APIStatusError, IncompleteStreamError
from trio_stream._money import Ledger, Room
from trio_stream._protocol import Message, MessageBatch, judge

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._job import Job
from ._journal_keeper import JournalKeeper
from ._options import FanOutOptions
from ._outbox import Outbox
from ._records import Outcome
from ._settling import Settler
from ._stopping import FanOutStoppedError, stopped_by
from ._via_batch_calls import BatchAccess, BatchWatch, Patience, pause_after
from ._via_batch_collect import Collector, NoAnswer, Result
from ._via_batch_create import Creation
from ._via_batch_group import BatchGroup, call_of, size_in_batch
from ._via_batch_options import ViaBatch
from ._via_batch_probes import Probes
from ._via_batch_recall import recall
from ._workers import Workers

_OPEN_SECONDS: Final = 30.0
"""How long a group waits for further items."""

_LEAVE_SECONDS: Final = 5.0
"""The most seconds for cancelling batches when the block is left."""

_MOST_UNREAD: Final = 1000
"""How many outcomes may wait for the consumer while results are read."""

_MOST_LIMITED: Final = 5000
"""How many items may be under way where a budget looks at all of them for each that is added."""

_TOO_LARGE: Final = 413

_BUSY: Final = (429, 529)
"""Waited for without end: a full queue empties as batches end, which may take hours."""


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
      detached: Whether the batches are left to go on when the block is left.
      paid_twice: Items that were streamed although a batch may have answered them too.
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
        self.detached: bool = False
        self.paid_twice: int = 0
        self._retry_invalid = options.retry_invalid
        self._job = job
        self._outbox = outbox
        self._keeper = keeper
        self._ledger = ledger
        self._attempts = attempts
        self._workers = workers
        self._settler = settler
        self._access = BatchAccess(client)
        self._watch = BatchWatch(self._access)
        self._collector = Collector(self._access, self._wait_for_room)
        self._creation: Creation | None = None
        self._nursery: trio.Nursery | None = None
        self._open: dict[bytes, BatchGroup] = {}
        self._groups: set[BatchGroup] = set()
        self._again: dict[int, int] = {}  # by index: how many more times an item was put into a batch
        self._probes = Probes()
        self._probing = trio.Event()
        self._probing.set()
        self._deadline = math.inf

    # What the fan-out asks.

    @property
    def batches(self) -> tuple[MessageBatch, ...]:
        """The batches of this run and those it found, as they were when somebody last looked."""
        return tuple(self._watch.seen.values())

    @property
    def most_held(self) -> int:
        """How many items may be under way."""
        return min(self.via.max_queued, _MOST_LIMITED) if self._ledger.limited else self.via.max_queued

    @property
    def queued(self) -> int:
        """How many items are in batches that have no result yet."""
        return sum(len(group.waiting) for group in self._groups if group.nonce)

    async def begin(self, nursery: trio.Nursery) -> None:
        """Collect the batches of earlier runs. Called before the first item is taken.

        Raises:
          APIError: A batch could not be read for too long.
          JournalError: The journal cannot be written.
        """
        self._nursery = nursery
        if self.via.deadline is not None:
            self._deadline = trio.current_time() + self.via.deadline
        journal = self._keeper.batch_journal
        self._creation = Creation(self._access, journal, settle=self.via.settle)
        if journal is None:
            return
        try:
            self.paid_twice += await recall(
                journal,
                access=self._access,
                watch=self._watch,
                creation=self._creation,
                collector=self._collector,
                ledger=self._ledger,
                until=self._deadline,
                cancel_wait=self.via.cancel_wait,
                on_expired=self.via.on_expired,
            )
        except APIError as error:
            reason = judge(error).reason
            if reason is None:
                raise
            self._job.stop(stopped_by(error, reason))

    async def may_take(self) -> None:
        """Wait until the probe that is under way has ended."""
        await self._probing.wait()

    def start(self, active: ActiveItem) -> None:
        """Take an item in. It is under way from now on."""
        model = str(active.params.get("model", ""))
        self._job.active[active.index] = active
        if self._past_deadline():
            self._stream(active)
        elif self.via.probe and model not in self._probes.proven:
            self._probing = trio.Event()
            self._spawn(self._probe, active, model)
        else:
            if self._job.watch is not None:
                self._job.watch.item_starts(active)
            self._put(active)

    def flush(self) -> None:
        """There are no further items: what is open need not wait."""
        for group in list(self._open.values()):
            self._close(group)

    def detach(self) -> None:
        """Leave the batches to themselves, as soon as all items that were taken are in one."""
        self.detached = True
        self._job.stop(FanOutStoppedError("the fan-out was detached from its batches", reason="detach"))
        self.flush()
        for group in self._groups:
            group.watch.cancel(reason="the fan-out was detached from its batches")

    async def leave(self) -> None:
        """Cancel the batches that have not ended, unless they were detached. Waits a few seconds at most."""
        if self._watch.live and not self.detached:
            with trio.CancelScope(deadline=trio.current_time() + _LEAVE_SECONDS, shield=True):
                await self._watch.cancel_all()

    # Which way an item goes.

    async def _probe(self, active: ActiveItem, model: str) -> None:
        try:
            outcome = await self._workers.work(active)
            stop = None if outcome is None else self._probes.note(model, outcome)
            if stop is not None:
                self._job.stop(stop)
        finally:
            self._probing.set()

    def _put(self, active: ActiveItem) -> None:
        """Put an item into a group, which may be a new one."""
        try:
            size = size_in_batch(active.params)
        except (TypeError, ValueError) as error:
            self._settle(active, active.outcome("error", error))
            return
        if not self._reserve(active):
            return
        call = call_of(active.params)
        kind = msgspec.json.encode(call, order="deterministic")
        group = self._open.get(kind)
        if group is not None and not group.has_room(size, most=self.via.max_requests):
            self._close(group)
            group = None
        if group is None:
            group = self._open[kind] = BatchGroup(call)
            self._add_group(group)
        group.add(active, size)
        if len(group.waiting) >= self.via.max_requests:
            self._close(group)

    def _reserve(self, active: ActiveItem) -> bool:
        """Reserve money for an item, where that is limited. False if it is settled, as there is none.

        The feeder takes items while there is room for one more like the last, so that is not looked at again here.
        """
        if not self._ledger.limited or (active.reserved and active.reservation is not None):
            return True
        try:
            reservation = self._attempts.reservation_in_batch(active.params)
        except ValueError as unknown:  # its cost cannot be limited
            self._settle(active, active.outcome("error", unknown))
            return False
        if self._ledger.room_for(reservation) is Room.NEVER:
            active.stop = FanOutStoppedError(self._ledger.no_room(reservation), reason="budget")
            self._settle(active, active.outcome("skipped", active.stop), noted=False)
            return False
        self._ledger.reserve(reservation)
        active.reservation, active.reserved = reservation, True
        return True

    def _release(self, active: ActiveItem) -> None:
        """An item needs no money any more, or another request of it asks for itself."""
        if active.reservation is not None:
            self._ledger.release(active.reservation)
        active.reservation, active.reserved = None, False

    def _add_group(self, group: BatchGroup) -> None:
        self._groups.add(group)
        self._spawn(self._carry, group)

    def _close(self, group: BatchGroup) -> None:
        group.closed.set()
        self._open = {kind: other for kind, other in self._open.items() if other is not group}

    def _stream(self, active: ActiveItem) -> None:
        assert self._nursery is not None
        self._release(active)
        self._workers.start(active, self._nursery)

    def _spawn(self, task: Any, *args: Any) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task, *args, name="trio_stream batch")

    def _past_deadline(self) -> bool:
        return trio.current_time() >= self._deadline

    # The life of a group.

    async def _carry(self, group: BatchGroup) -> None:
        """The task of a group. As a worker, it raises no error."""
        try:
            with trio.CancelScope(deadline=min(trio.current_time() + _OPEN_SECONDS, self._deadline)):
                await group.closed.wait()
            self._close(group)
            await self._go_through(group)
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._job.fail(error)
        finally:
            # Whatever has no outcome by now was cancelled: its batch, if there is one, is for the next run.
            self._leave_items(group)
            self._groups.discard(group)

    async def _go_through(self, group: BatchGroup) -> None:
        try:
            batch = await self._create(group)
            if batch is None:
                return
            self._watch.add(batch.id, group.call, batch)
            if self.detached:
                return
            with group.begin_watch():
                ended = await self._wait_ended(batch)
                if ended is not None:
                    await self._collector.collect(ended, group.call, group.nonce, group.waiting, self._take)
                self._note_collected(group)
                self.paid_twice += len(group.waiting)
                self._stream_all(group)
        except APIError as error:
            self._give_up(group, error)

    async def _create(self, group: BatchGroup) -> MessageBatch | None:
        """Create the batch of a group, however many attempts that takes.

        Returns:
          The batch; None if the items of the group have gone another way.

        Raises:
          APIError: The API refuses it for good.
        """
        assert self._creation is not None
        patience = Patience()
        began_at = trio.current_time()
        while True:
            if self._job.stopped is not None and not self.detached:
                for active in self._all_of(group):
                    self._settle(active, active.outcome("skipped", self._job.stopped), noted=False)
                return None
            if self._past_deadline():
                self._stream_all(group)
                return None
            wait = 0.0
            try:
                self._count_attempt(group)
                batch = await self._creation.create(group, patience)
                if batch is not None:
                    return batch
                batch = await self._find(group)
                if batch is not None or not group.waiting or self.detached:
                    return batch
            except (TypeError, ValueError) as error:
                for active in self._all_of(group):
                    self._settle(active, active.outcome("error", error))
                return None
            except APIStatusError as error:
                if error.status_code == _TOO_LARGE and len(group.waiting) > 1:
                    for half in group.halves():
                        half.closed.set()
                        self._add_group(half)
                    return None
                judgement = judge(error)
                if not judgement.retryable:
                    raise
                if error.status_code not in _BUSY:
                    patience.bear(error)
                wait = judgement.retry_after or pause_after(trio.current_time() - began_at)
            except APIError as error:
                patience.bear(error)
                wait = pause_after(trio.current_time() - began_at)
            with trio.CancelScope(deadline=self._deadline):
                await trio.sleep(wait)

    async def _find(self, group: BatchGroup) -> MessageBatch | None:
        """Find the batch whose creation has an unknown end; None if there is none, or it takes too long."""
        assert self._creation is not None
        if not self.detached:
            with group.begin_watch(), trio.CancelScope(deadline=self._deadline + self.via.cancel_wait):
                return await self._creation.find(group.intent())
        if self.detached:
            return None
        self.paid_twice += len(group.waiting)
        self._note_collected(group)
        self._stream_all(group)
        return None

    async def _wait_ended(self, batch: MessageBatch) -> MessageBatch | None:
        """Wait for the end of a batch; None if it does not come soon enough after the deadline."""
        ended = await self._watch.wait_ended(batch.id, until=self._deadline)
        if ended is None:
            await self._access.cancel(batch.id, self._watch.live[batch.id])
            ended = await self._watch.wait_ended(batch.id, until=trio.current_time() + self.via.cancel_wait)
        return ended

    def _note_collected(self, group: BatchGroup) -> None:
        assert self._creation is not None
        self._creation.note("collected", group.nonce)

    def _count_attempt(self, group: BatchGroup) -> None:
        for active in group.waiting.values():
            if active.reservation is None or active.reservation.sent:
                self._ledger.requests += 1
            else:
                self._ledger.sent(active.reservation)
            active.attempts += 1
            if active.began_at is None:
                active.began_at = trio.current_time()
            else:
                self._attempts.retries += 1

    async def _wait_for_room(self) -> None:
        while len(self._outbox) >= _MOST_UNREAD:
            await self._job.room.park()

    # What becomes of items.

    def _all_of(self, group: BatchGroup) -> list[ActiveItem]:
        items = list(group.waiting.values())
        group.waiting.clear()
        return items

    def _take(self, active: ActiveItem, result: Result) -> None:
        """An item has its result."""
        if isinstance(result, Message):
            self._take_message(active, result)
        elif isinstance(result, APIError):
            judgement = judge(result)
            if judgement.reason is not None:
                active.stop = stopped_by(result, judgement.reason)
                self._settle(active, active.outcome("skipped", result), noted=False)
            elif judgement.retryable and self._may_go_again(active):
                self._put(active)
            else:
                self._settle(active, active.outcome("error", result))
        elif result is NoAnswer.MISSING:
            self._settle(active, active.outcome("error", IncompleteStreamError(f"no answer: {result.value}")))
        elif self._past_deadline() or (result is NoAnswer.EXPIRED and self.via.on_expired == "stream"):
            self._stream(active)
        elif result is NoAnswer.EXPIRED and self.via.on_expired == "batch" and self._may_go_again(active):
            self._put(active)
        else:
            self._settle(active, active.outcome("error", APIError(f"no answer: {result.value}")))

    def _take_message(self, active: ActiveItem, message: Message) -> None:
        self._attempts.charge_in_batch(active, message)
        outcome: Outcome = msgspec.structs.replace(
            active.outcome("ok"),
            text=message.text,
            message=message,
            usage=message.usage,
            stop_reason=message.stop_reason,
        )
        outcome = self._attempts.judge_answer(outcome)
        again = self._again.get(active.index, 0)
        if outcome.status != "ok" and again < self._retry_invalid:
            self._again[active.index] = again + 1
            self._put(active)
        else:
            self._settle(active, outcome)

    def _may_go_again(self, active: ActiveItem) -> bool:
        again = self._again.get(active.index, 0)
        if again >= self.via.resubmit or self._job.stopped is not None:
            return False
        self._again[active.index] = again + 1
        return True

    def _stream_all(self, group: BatchGroup) -> None:
        for active in self._all_of(group):
            self._stream(active)

    def _give_up(self, group: BatchGroup, error: APIError) -> None:
        """The items of a group have no batch, or it cannot be read."""
        reason = judge(error).reason
        for active in self._all_of(group):
            if reason is not None:
                active.stop = stopped_by(error, reason)
                self._settle(active, active.outcome("skipped", error), noted=False)
            else:
                self._settle(active, active.outcome("error", error))

    def _leave_items(self, group: BatchGroup) -> None:
        stopped = self._job.stopped
        for active in self._all_of(group):
            outcome = active.outcome("skipped" if self.detached or not active.attempts else "cancelled", stopped)
            self._settle(active, outcome, noted=False)

    def _settle(self, active: ActiveItem, outcome: Outcome, *, noted: bool = True) -> None:
        self._again.pop(active.index, None)
        self._release(active)
        del self._job.active[active.index]
        self._settler.settle(active, outcome, from_journal=not noted)
        if self._job.room:
            self._job.room.unpark_all()
        if self._job.watch is not None:
            self._job.watch.item_ends(active, outcome)
