"""The life of a group of items: from when it is opened to the last result of its batch.

What belongs here: the order of these steps, and what waits for what. What does not: creating a batch exactly once
(`_via_batch_create`), watching it (`_via_batch_calls`), reading its results (`_via_batch_collect`), and what becomes
of its items (`_via_batch_fates`).

Items have no tasks of their own: there may be a hundred thousand of them. Each group has one::

    open ──▶ closed ──▶ created ──▶ ended ──▶ collected
               │  ▲        │                    │
               │  │        │ deadline           │ failures of the API: into another group
               │  └ halved ▼                    ▼
               └────────▶ streamed             settled

"""

from __future__ import annotations

from typing import Final, final

import trio

from trio_stream._errors import APIError, APIStatusError, NotFoundError
from trio_stream._money import Ledger
from trio_stream._protocol import MessageBatch, judge

from ._attempts import Attempts
from ._job import Job
from ._outbox import Outbox
from ._via_batch_calls import LONGEST_ASKED_SECONDS, BatchAccess, BatchWatch, Patience, pause_after
from ._via_batch_collect import Collector
from ._via_batch_create import Creation
from ._via_batch_fates import Fates
from ._via_batch_group import BatchGroup
from ._via_batch_intake import Intake
from ._via_batch_state import BatchState
from ._via_batch_warmup import BatchWarmup

_OPEN_SECONDS: Final = 30.0
"""How long a group waits for further items."""

_WARMING_LOOK_SECONDS: Final = 10.0
"""How often a group that waits for the prompt cache looks whether the job has stopped."""

MOST_UNREAD: Final = 1000
"""How many outcomes may wait for the consumer while results are read."""

_TOO_LARGE: Final = 413

_BUSY: Final = (429, 529)
"""Waited for without end: a full queue empties as batches end, which may take hours."""


@final
class GroupLife:
    """Carries groups through their lives, each in a task of its own.

    Args:
      state: The state of the run.
      access: Makes the calls.
      watch: Watches the batches.
      outbox: Results are read while it has room.
      ledger: Counts requests.
      attempts: Counts retries.
      warmup: Says what has to go alone first.
    """

    def __init__(
        self,
        state: BatchState,
        *,
        access: BatchAccess,
        watch: BatchWatch,
        outbox: Outbox,
        ledger: Ledger,
        attempts: Attempts,
        warmup: BatchWarmup,
    ) -> None:
        self._state = state
        self._watch = watch
        self._outbox = outbox
        self._ledger = ledger
        self._attempts = attempts
        self._warmup = warmup
        self._collector = Collector(access, self.wait_for_room)
        self._groups: set[BatchGroup] = set()
        self._nursery: trio.Nursery | None = None
        self._creation: Creation | None = None
        self._intake: Intake | None = None
        self._fates: Fates | None = None

    def begin(self, nursery: trio.Nursery, *, creation: Creation, intake: Intake, fates: Fates) -> None:
        """Groups may be opened from now on; their tasks run in this nursery."""
        self._nursery, self._creation, self._intake, self._fates = nursery, creation, intake, fates

    @property
    def collector(self) -> Collector:
        """What reads results."""
        return self._collector

    @property
    def queued(self) -> int:
        """How many items are in batches that have no result yet."""
        return sum(len(group.waiting) for group in self._groups if group.nonce)

    async def wait_for_room(self) -> None:
        """Wait until the consumer has taken most of the outcomes."""
        while len(self._outbox) >= MOST_UNREAD:
            await self._state.job.room.park()

    def add(self, group: BatchGroup) -> None:
        """A group is opened."""
        assert self._nursery is not None
        self._groups.add(group)
        self._nursery.start_soon(self._carry, group, name="trio_stream batch")

    def detach(self) -> None:
        """Wait for no batch any more."""
        for group in self._groups:
            group.watch.cancel(reason="the fan-out was detached from its batches")

    @property
    def _job(self) -> Job:
        return self._state.job

    async def _carry(self, group: BatchGroup) -> None:
        """The task of a group. As a worker, it raises no error."""
        assert self._intake is not None
        assert self._fates is not None
        state = self._state
        try:
            with trio.CancelScope(deadline=min(trio.current_time() + _OPEN_SECONDS, state.deadline)):
                await group.closed.wait()
            self._intake.close(group)
            try:
                await self._go_through(group, self._fates)
            except APIError as error:
                self._fates.fail_all(group, error)
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._job.fail(error)
        finally:
            if group.warms is not None:
                self._warmup.end(group.warms)
            # Whatever has no outcome by now was cancelled: its batch, if there is one, is for the next run.
            self._fates.leave_all(group)
            self._groups.discard(group)

    async def _go_through(self, group: BatchGroup, fates: Fates) -> None:
        """The steps.

        Raises:
          APIError: The API refuses the batch, or it cannot be read.
        """
        assert self._creation is not None
        batch = await self._create(group, self._creation, fates)
        if batch is None:
            return
        self._watch.add(batch.id, group.call, batch)
        if self._state.detached:
            return
        with group.begin_watch():
            missing: NotFoundError | None = None
            try:
                ended = await self._wait_ended(batch)
                if ended is not None:
                    until = self._state.deadline
                    await self._collector.collect(
                        ended, group.call, group.nonce, group.waiting, fates.take, until=until
                    )
            except NotFoundError as error:
                missing = error
            if missing is not None:
                if not await self._watch.is_gone(batch.id, group.call, group.intent().workspace):
                    raise missing
                self._creation.note("collected", group.nonce, gone=True)
                fates.lose_all(group, missing)
                return
            self._creation.note("collected", group.nonce)
            self._state.paid_twice += len(group.waiting)
            fates.stream_all(group)

    async def _warm_up(self, group: BatchGroup) -> None:
        """Wait until what the items of a group share is in the prompt cache. One of them may go ahead for that."""
        state = self._state
        while group.cached_models and group.warms is None and not self._goes_on_at_once():
            for model in group.cached_models:
                if group.waiting and self._warmup.begin(model):
                    first = group.split_one(model)
                    if first is None:
                        self._warmup.call_off(model)
                    else:
                        self.add(first)
            if not group.waiting or not any(self._warmup.is_warming(model) for model in group.cached_models):
                return
            with group.begin_watch():
                await self._warmup.wait(min(_WARMING_LOOK_SECONDS, max(0.0, state.deadline - trio.current_time())))

    def _goes_on_at_once(self) -> bool:
        return self._state.detached or self._job.stopped is not None or self._state.past_deadline

    async def _create(self, group: BatchGroup, creation: Creation, fates: Fates) -> MessageBatch | None:
        """Create the batch of a group, however many attempts that takes.

        Returns:
          The batch; None if the items of the group have gone another way.

        Raises:
          APIError: The API refuses it for good.
        """
        state = self._state
        patience = Patience()
        began_at = trio.current_time()
        while True:
            await self._warm_up(group)
            if not group.waiting:
                return None
            if self._job.stopped is not None and not state.detached:
                fates.skip_all(group)
                return None
            if state.past_deadline:
                fates.stream_all(group)
                return None
            wait = 0.0
            try:
                self._count_attempt(group)
                end: MessageBatch | APIError | None = None
                with trio.CancelScope(deadline=state.deadline) as scope:
                    end = await creation.create(group, patience)
                if isinstance(end, MessageBatch):
                    return end
                if scope.cancelled_caught and not group.asked:
                    continue  # nothing was sent
                batch = await self._find(group, creation, fates)
                if batch is not None or not group.waiting or state.detached:
                    return batch
                if end is not None:
                    patience.bear(end)
            except (TypeError, ValueError) as error:
                fates.fail_all(group, error)
                return None
            except APIStatusError as error:
                if error.status_code == _TOO_LARGE and len(group.waiting) > 1:
                    for half in group.halves():
                        half.closed.set()
                        self.add(half)
                    return None
                judgement = judge(error)
                if not judgement.retryable:
                    raise
                if error.status_code in _BUSY:
                    patience.news()
                else:
                    patience.bear(error)
                wait = judgement.retry_after or pause_after(trio.current_time() - began_at)
                wait = min(wait, LONGEST_ASKED_SECONDS)
            except APIError as error:
                patience.bear(error)
                wait = pause_after(trio.current_time() - began_at)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        """Wait until a batch is asked for again. It is shorter if the job stops: an API may ask to wait for hours."""
        with trio.CancelScope(deadline=min(trio.current_time() + seconds, self._state.deadline)):
            while self._job.stopped is None or self._state.detached:
                await self._job.room.park()

    async def _find(self, group: BatchGroup, creation: Creation, fates: Fates) -> MessageBatch | None:
        """Find the batch whose creation has an unknown end; None if there is none, or it takes too long."""
        state = self._state
        if not state.detached:
            with group.begin_watch(), trio.CancelScope(deadline=state.deadline + state.via.cancel_wait):
                return await creation.find(group.intent())
        if state.detached:
            return None
        state.paid_twice += len(group.waiting)
        creation.note("collected", group.nonce)
        fates.stream_all(group)
        return None

    async def _wait_ended(self, batch: MessageBatch) -> MessageBatch | None:
        """Wait for the end of a batch; None if it does not come soon enough after the deadline."""
        ended = await self._watch.wait_ended(batch.id, until=self._state.deadline)
        if ended is None:
            until = trio.current_time() + self._state.via.cancel_wait
            ended = await self._watch.wait_ended(batch.id, until=until, cancelling=True)
        return ended

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
