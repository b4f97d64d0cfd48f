"""Batches of earlier runs, which the journal says are open.

What belongs here: finding them, waiting for them, and noting what they answered. What does not: items of this run
(`_via_batch`), and the records (`_journal_batches`).

What they have answered is paid, so they are collected before anything is sent, by whichever way that will be. Their
answers go into the journal, where the items of this run find them.
"""

from __future__ import annotations

from typing import Literal, final

import msgspec
import trio

from trio_stream._errors import APIError, IncompleteStreamError, NotFoundError
from trio_stream._money import Ledger
from trio_stream._protocol import Message, MessageBatch, judge

from ._job import Job
from ._journal_batches import BatchJournal, OpenBatch, StartedItem
from ._records import Outcome, Status
from ._via_batch_calls import NO_NEWS_SECONDS, BatchAccess, BatchWatch, Patience, check_workspace, state_of
from ._via_batch_collect import Collector, NoAnswer, Result
from ._via_batch_create import Creation, NotFound
from ._via_batch_fates import stop_after
from ._via_batch_options import ViaBatch


@final
class Recall:
    """Collects the open batches that a journal names.

    Args:
      journal: Says which, and is told what they answered.
      via: The options.
      job: Stopped, where the batches cannot be read.
      access: Makes the calls.
      watch: Watches the batches.
      creation: Finds those whose creation has an unknown end.
      collector: Reads results.
      ledger: Adds up what the answers used.
      until: The deadline, by `trio.current_time`. What has no answer then is left to be sent again.

    Attributes:
      paid_twice: How many items are to be sent again although a batch may have answered them.
      held: The keys of items in batches that were left to go on. They are not to be sent.
    """

    def __init__(
        self,
        journal: BatchJournal,
        via: ViaBatch,
        *,
        job: Job,
        access: BatchAccess,
        watch: BatchWatch,
        creation: Creation,
        collector: Collector,
        ledger: Ledger,
        until: float,
    ) -> None:
        self.paid_twice: int = 0
        self.held: set[str] = set()
        self._journal = journal
        self._via = via
        self._job = job
        self._access = access
        self._watch = watch
        self._creation = creation
        self._collector = collector
        self._ledger = ledger
        self._until = until
        self._errors: list[APIError] = []

    async def collect_all(self) -> None:
        """Collect them: with `ViaBatch.detach` those that have ended, otherwise all, as they end.

        An outage, a refused key and a spent account stop the job; the batches are for the next run then.

        Raises:
          APIError: A batch could not be read for too long, for another reason.
          JournalError: The journal cannot be written.
        """
        open_batches = list(self._journal.batches.open.values())
        self._journal.batches.open.clear()
        async with trio.open_nursery() as nursery:
            for open_batch in open_batches:
                nursery.start_soon(self._collect, open_batch)
        for error in self._errors:
            stop = stop_after(error)
            if stop is None:
                raise error
            self._job.stop(stop)

    async def _collect(self, open_batch: OpenBatch) -> None:
        try:
            missing = await self._collect_if_found(open_batch)
            if missing is not None and not await self._give_up_if_gone(open_batch):
                raise missing
        except APIError as error:
            self._errors.append(error)

    async def _collect_if_found(self, open_batch: OpenBatch) -> NotFoundError | None:
        """Collect a batch. The error is returned where it, or its results, were not found for too long.

        Raises:
          APIError: It could not be read for too long, for another reason.
        """
        look = self._look if self._via.detach else self._wait
        items = open_batch.items
        try:
            ended = await look(open_batch)
            if ended is not None:
                take = self._taker(open_batch).take
                call, nonce = open_batch.call, open_batch.nonce
                await self._collector.collect(ended, call, nonce, items, take, until=self._until)
                self._creation.note("collected", open_batch.nonce)
        except NotFoundError as error:
            return error
        return None

    async def _give_up_if_gone(self, open_batch: OpenBatch) -> bool:
        """Note that a batch which was not found for too long is not there any more, if so: its items are asked again.

        Raises:
          APIError: A request failed.
        """
        batch_id = open_batch.batch_id
        if batch_id is None or not await self._watch.is_gone(batch_id, open_batch.call, open_batch.workspace):
            return False
        self._lose(open_batch, gone=True)
        return True

    def _lose(self, open_batch: OpenBatch, **more: bool) -> None:
        """What a batch has answered is not waited for."""
        items = open_batch.items.values()
        self.paid_twice += sum(self._journal.lookup(item.key, item.request_hash) is None for item in items)
        self._creation.note("collected", open_batch.nonce, **more)

    async def _look(self, open_batch: OpenBatch) -> MessageBatch | None:
        """Look once. Items of a batch that has not ended, or may exist, are held."""
        patience = Patience()
        found: MessageBatch | NotFound = NotFound.YET
        try:
            batch_id = open_batch.batch_id
            if batch_id is None:
                found = await self._creation.look_for(open_batch, set())
                if not isinstance(found, NotFound):
                    self._watch.add(found.id, open_batch.call, found)
                    batch_id = open_batch.batch_id = found.id
            else:
                self._watch.add(batch_id, open_batch.call)
            if batch_id is not None:
                found = await self._look_once(open_batch, batch_id)
                if found is NotFound.ABSENT:
                    return None
        except APIError as error:
            patience.bear(error)  # it is no news
        if isinstance(found, MessageBatch) and found.ended:
            return found
        if found is NotFound.ABSENT:
            self._forget(open_batch)
        else:
            self.held.update(item.key for item in open_batch.items.values())
        return None

    def _forget(self, open_batch: OpenBatch) -> None:
        """There is no such batch, so its items were not sent."""
        taker = self._taker(open_batch)
        for item in open_batch.items.values():
            taker.skip(item)

    def _taker(self, open_batch: OpenBatch) -> _Taker:
        return _Taker(self._journal, self._ledger, self._via.on_expired, model=open_batch.model)

    async def _look_once(self, open_batch: OpenBatch, batch_id: str) -> MessageBatch | NotFound:
        """Look at a batch. That one is not there any more is noted.

        Raises:
          APIError: A request failed.
        """
        try:
            return await self._watch.look(batch_id)
        except NotFoundError:
            page = await self._access.list(open_batch.call, limit=1)
        check_workspace(page, open_batch.workspace)
        now = state_of(page)
        # It would have been found for long. That a young one is not, is no news.
        is_old = now.dated == open_batch.dated and now.since - open_batch.since >= NO_NEWS_SECONDS
        return NotFound.ABSENT if is_old and await self._give_up_if_gone(open_batch) else NotFound.YET

    async def _wait(self, open_batch: OpenBatch) -> MessageBatch | None:
        """Wait for its end. None if there is no such batch, or it has not ended at the deadline."""
        batch_id, cancel_wait = open_batch.batch_id, self._via.cancel_wait
        if batch_id is None:
            with trio.CancelScope(deadline=self._until + cancel_wait):
                found = await self._creation.find(open_batch)
                if found is None:
                    self._forget(open_batch)
                    return None
                batch_id = open_batch.batch_id = found.id
        ended = None
        if batch_id is not None:
            self._watch.add(batch_id, open_batch.call)
            try:
                at_first = await self._look_once(open_batch, batch_id)
            except APIError as error:
                if not judge(error).retryable:
                    raise
                at_first = NotFound.YET
            if at_first is NotFound.ABSENT:
                return None
            if isinstance(at_first, MessageBatch) and at_first.ended:
                return at_first
            ended = await self._watch.wait_ended(batch_id, until=self._until)
            if ended is None:
                until = trio.current_time() + cancel_wait
                ended = await self._watch.wait_ended(batch_id, until=until, cancelling=True)
        if ended is None:
            self._lose(open_batch)
        return ended


@final
class _Taker:
    """Notes what a batch of an earlier run has for its items."""

    def __init__(
        self, journal: BatchJournal, ledger: Ledger, on_expired: Literal["batch", "stream", "error"], *, model: str
    ) -> None:
        self._model = model
        self._journal = journal
        self._ledger = ledger
        self._on_expired = on_expired

    def _outcome(self, item: StartedItem, status: Status, error: APIError | None = None) -> Outcome:
        made = item.key.startswith(item.request_hash)  # from the request: the item has no id
        return Outcome(id=None if made else item.key, index=item.index, status=status, error=error, attempts=1)

    def skip(self, item: StartedItem) -> None:
        """An item was in no batch."""
        self._journal.end_started(item, self._outcome(item, "skipped"))

    def take(self, item: StartedItem, result: Result) -> None:
        """An item has its result. What may succeed when it is sent again is noted as not sent, so that it is."""
        if isinstance(result, Message):
            model = self._ledger.known_model(result.model, asked=self._model or result.model)
            charges = self._ledger.add(result.usage, model=model)
            outcome = msgspec.structs.replace(
                self._outcome(item, "ok"),
                text=result.text,
                message=result,
                usage=result.usage,
                stop_reason=result.stop_reason,
                charges=charges,
            )
        elif isinstance(result, APIError):
            judgement = judge(result)
            unsent = judgement.retryable or judgement.reason is not None
            outcome = self._outcome(item, "skipped" if unsent else "error", result)
        elif result is NoAnswer.MISSING:
            outcome = self._outcome(item, "error", IncompleteStreamError(f"no answer: {result.value}"))
        elif result is NoAnswer.EXPIRED and self._on_expired == "error":
            outcome = self._outcome(item, "error", APIError(f"no answer: {result.value}"))
        else:
            outcome = self._outcome(item, "skipped", APIError(f"no answer: {result.value}"))
        self._journal.end_started(item, outcome)
