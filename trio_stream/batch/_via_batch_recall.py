"""Batches of earlier runs, which the journal says are open.

What belongs here: finding them, waiting for them, and noting what they answered. What does not: items of this run
(`_via_batch`), and the records (`_journal_batches`).

What they have answered is paid, so they are collected before anything is sent. Their answers go into the journal, where
the items of this run find them.
"""

from __future__ import annotations

from typing import Literal, final

import msgspec
import trio

from trio_stream._errors import APIError, IncompleteStreamError
from trio_stream._money import Ledger
from trio_stream._protocol import Message, judge

from ._journal_batches import BatchJournal, OpenBatch, StartedItem
from ._records import Outcome, Status
from ._via_batch_calls import BatchAccess, BatchWatch
from ._via_batch_collect import Collector, NoAnswer, Result
from ._via_batch_create import Creation


async def recall(
    journal: BatchJournal,
    *,
    access: BatchAccess,
    watch: BatchWatch,
    creation: Creation,
    collector: Collector,
    ledger: Ledger,
    until: float,
    cancel_wait: float,
    on_expired: Literal["batch", "stream", "error"],
) -> int:
    """Collect all open batches.

    Args:
      journal: Says which, and is told what they answered.
      access: Makes the calls.
      watch: Watches the batches.
      creation: Finds those whose creation has an unknown end.
      collector: Reads results.
      ledger: Adds up what the answers used.
      until: The deadline, by `trio.current_time`. What has no answer then is left to be sent again.
      cancel_wait: The most seconds to wait for a batch that was cancelled for that.
      on_expired: Whether an item that expired is an error.

    Returns:
      How many items are to be sent again although a batch may have answered them.

    Raises:
      APIError: A batch could not be read for too long, or the API refuses the key.
      JournalError: The journal cannot be written.
    """
    open_batches = list(journal.batches.open.values())
    journal.batches.open.clear()
    takers = [_Recall(journal, ledger, on_expired) for _ in open_batches]
    errors: list[APIError] = []
    paid_twice = 0

    async def one(open_batch: OpenBatch, taker: _Recall) -> None:
        nonlocal paid_twice
        try:
            batch_id = open_batch.batch_id
            if batch_id is None:
                with trio.CancelScope(deadline=until + cancel_wait):
                    found = await creation.find(open_batch)
                    if found is None:
                        return  # there is no such batch, so its items are sent
                    batch_id = found.id
            if batch_id is None:
                paid_twice += len(open_batch.items)
                creation.note("collected", open_batch.nonce)
                return
            watch.add(batch_id, open_batch.call)
            ended = await watch.wait_ended(batch_id, until=until, at_once=True)
            if ended is None:
                await access.cancel(batch_id, open_batch.call)
                ended = await watch.wait_ended(batch_id, until=trio.current_time() + cancel_wait)
            if ended is None:
                paid_twice += len(open_batch.items)
            else:
                await collector.collect(ended, open_batch.call, open_batch.nonce, open_batch.items, taker.take)
            creation.note("collected", open_batch.nonce)
        except APIError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for open_batch, taker in zip(open_batches, takers, strict=True):
            nursery.start_soon(one, open_batch, taker)
    for error in errors:
        raise error
    return paid_twice


@final
class _Recall:
    """Notes what a batch of an earlier run has for its items."""

    def __init__(self, journal: BatchJournal, ledger: Ledger, on_expired: Literal["batch", "stream", "error"]) -> None:
        self._journal = journal
        self._ledger = ledger
        self._on_expired = on_expired

    def _outcome(self, item: StartedItem, status: Status, error: APIError | None = None) -> Outcome:
        made = item.key.startswith(item.request_hash)  # from the request: the item has no id
        return Outcome(id=None if made else item.key, index=item.index, status=status, error=error, attempts=1)

    def take(self, item: StartedItem, result: Result) -> None:
        """An item has its result. What may succeed when it is sent again is not noted, so that it is."""
        if isinstance(result, Message):
            charges = self._ledger.add(result.usage, model=result.model)
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
            if judgement.retryable or judgement.reason is not None:
                return
            outcome = self._outcome(item, "error", result)
        elif result is NoAnswer.MISSING:
            outcome = self._outcome(item, "error", IncompleteStreamError(f"no answer: {result.value}"))
        elif result is NoAnswer.EXPIRED and self._on_expired == "error":
            outcome = self._outcome(item, "error", APIError(f"no answer: {result.value}"))
        else:
            return
        self._journal.end_started(item, outcome)
