"""The task of a fan-out that takes items while there is room for them.

What belongs here: when the next item is taken, and whether it has to be sent. What does not: sending it (`_workers`),
and iterating over the caller's iterable (`_items`).
"""

from __future__ import annotations

from typing import final

import trio

from trio_stream._money import Ledger, Room
from trio_stream._schemas import ask_for_output

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._caching import mark_shared, with_prefix
from ._earlier_batches import EarlierBatches
from ._governor import Governor
from ._id_check import check_ids
from ._items import Source
from ._job import Job
from ._journal_keeper import JournalKeeper
from ._options import FanOutOptions
from ._outage import WITNESSES
from ._outbox import Outbox
from ._records import Item, JournalConflictError, as_item, merge_params
from ._settling import Settler
from ._stopping import FanOutStoppedError
from ._via_batch import BatchDesk
from ._workers import Workers


@final
class Feeder:
    """Takes items one at a time, and settles each at once or starts a worker for it.

    An item is taken only when it may be started: the window has a place for it, the budget is likely to last for it,
    and the items under way together with the outcomes that nobody has taken are fewer than the maximum. So a generator
    of any length needs little memory, and a slow consumer slows down whatever is before it.

    Attributes:
      taken: How many items have been taken.
    """

    def __init__(
        self,
        source: Source,
        options: FanOutOptions,
        *,
        job: Job,
        outbox: Outbox,
        keeper: JournalKeeper,
        governor: Governor,
        ledger: Ledger,
        attempts: Attempts,
        workers: Workers,
        settler: Settler,
        desk: BatchDesk | None,
        earlier: EarlierBatches,
    ) -> None:
        self.taken: int = 0
        self._source = source
        self._options = options
        self._wanted = options.wanted
        self._job = job
        self._outbox = outbox
        self._keeper = keeper
        self._governor = governor
        self._ledger = ledger
        self._attempts = attempts
        self._workers = workers
        self._settler = settler
        self._desk = desk
        self._earlier = earlier
        self._sent = 0  # items for which a worker was started, and those that failed before
        self._newest: ActiveItem | None = None  # the last item for which a worker was started

    async def run(self) -> None:
        """Take all items, and wait for the last worker.

        A checkpoint. Cancelling it cancels the workers.

        Raises:
          Exception: An async generator of items raised it while it was closed.
        """
        try:
            async with trio.open_nursery() as nursery:
                with self._job.taking:
                    await self._take_all(nursery)
                self._job.all_taken = True
                if self._desk is not None:
                    self._desk.no_more_items()
        finally:
            # Also in a cancelled scope, a generator can let go of what it holds, as long as it does not wait.
            await self._source.aclose()  # noqa: ASYNC102

    async def _take_all(self, nursery: trio.Nursery) -> None:
        try:
            if self._source.sequence is not None:
                await check_ids(self._source.sequence, self._options, self._keeper.journal)
            if self._desk is not None:
                await self._desk.begin(nursery)
            else:
                await self._earlier.collect()
            while await self._may_take():
                item = await self._next_item()
                if item is None:
                    return
                try:
                    self._begin(item, nursery)
                except JournalConflictError as error:
                    self._end_with(error)
                    return
        except Exception as error:  # noqa: BLE001 - of the iterable, or the journal; kept for the consumer
            self._job.fail(error)

    async def _next_item(self) -> Item | None:
        """Take the next item; None after the last one, or where there is no further one that can be used."""
        try:
            taken = await self._source.take()
            return None if taken is None else as_item(taken[0])
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._end_with(error)
            return None

    def _end_with(self, error: Exception) -> None:
        """The items end with an error. What was sent before is paid, so it goes on to its end.

        Where the first error of any item ends everything, this one does too.
        """
        if self._options.on_error == "raise":
            self._job.fail(error)
        else:
            self._job.end_with(error)

    async def _may_take(self) -> bool:
        """Wait until another item may be taken; False when no more are to be taken.

        A job that has stopped takes the rest only to skip it: that needs room for an outcome, and nothing else.
        """
        job, desk = self._job, self._desk
        most_held = self._options.bounds.maximum if desk is None else desk.most_held
        if desk is not None:
            await desk.may_take()
        while True:
            if job.stopped is None:
                spent = self._ledger.used_up()
                if spent is not None:
                    job.stop(FanOutStoppedError(spent, reason="budget"))
            # Where a few fail and nothing is answered, others are to show whether it is they or the API.
            witnesses = WITNESSES if self._governor.wants_witnesses else 0
            if len(job.active) + len(self._outbox) < max(most_held, witnesses):
                if job.stopped is not None:
                    return job.skip_rest
                window = self._governor.window if desk is None else most_held
                if len(job.active) < max(window, witnesses) and self._has_room():
                    return True
            await job.room.park()

    def _has_room(self) -> bool:
        """Whether the budget is likely to have room for another item, which is taken to be like the last one.

        An item asks for itself when its task runs, so no other is taken before the budget knows of the last one. The
        guess keeps items in their iterable that would have to wait. Where it says that there will never be room, the
        next item decides: it may be a smaller one.
        """
        newest = self._newest
        if newest is None or not self._ledger.limited:
            return True
        if not newest.reserved and newest.index in self._job.active:
            return False
        if newest.reservation is None:
            return True
        return self._ledger.room_for(newest.reservation) is not Room.LATER

    def _begin(self, item: Item, nursery: trio.Nursery) -> None:
        """Give an item that was taken its outcome, where it has one already, or a worker."""
        active = ActiveItem(item, self.taken, merge_params(item.request, self._options.params))
        self.taken += 1
        try:
            if self._options.prompt_prefix is not None:
                active.params = with_prefix(active.params, self._options.prompt_prefix)
            if self._wanted is not None:
                active.params = ask_for_output(active.params, self._wanted)
            self._keeper.identify(active)
            self._mark(active)
        except (TypeError, ValueError) as error:
            active.place = self._next_place()
            self._settler.settle(active, active.outcome("error", error))
            return
        known = self._attempts.reread(active, self._keeper.lookup(active))
        if known is not None:
            self._settler.settle(active, known, from_journal=True)
        elif self._job.stopped is not None:
            self._settler.settle(active, active.outcome("skipped", self._job.stopped))
        else:
            active.place = self._next_place()
            self._newest = active
            if self._desk is None:
                self._workers.start(active, nursery)
            else:
                self._desk.start(active)

    def _mark(self, active: ActiveItem) -> None:
        """Mark what its request shares with others for the prompt cache. Its hash is as if that had not been done."""
        options = self._options
        if options.cache is None:
            active.cached = options.warmup  # then the parameters should have marks of their own
            return
        if self._desk is not None:
            return  # a probe has none: batches do not read what a stream has written
        marked = mark_shared(active.params, options.cache, prefixed=options.prompt_prefix is not None)
        if marked is not None:
            active.params, active.cached = marked, True

    def _next_place(self) -> int:
        place = self._sent
        self._sent += 1
        return place
