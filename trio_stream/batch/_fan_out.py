"""`fan_out`: many requests at once, outcomes as they come.

What belongs here: which item is started when, who gets its outcome, and every way to end. What does not: one item's
requests (`_attempts`), leave to send (`_governor`), the arithmetic of limits (`_window`, `_limiter`, `_budget`).

Three parties share one nursery, which ends with the block: a feeder that takes items while there is room, a worker
for each item, and the consumer, the task that entered the block. Workers and feeder never raise: what they fail
with is kept for the consumer.
"""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType
from typing import Any, Literal, cast, final

import msgspec
import trio

from trio_stream._client import Client
from trio_stream._money import Budget, Ledger
from trio_stream._nursery import NurseryBlock

from ._attempts import Attempts, Job, OnEvent
from ._governor import Governor
from ._items import Items, Source
from ._journal import Journal
from ._limiter import RateLimiter
from ._options import DEFAULT_LIMIT, FanOutOptions, make_options
from ._records import (
    Item,
    JournalConflictError,
    JournalLike,
    Outcome,
    Request,
    as_item,
    merge_params,
    request_hash,
)
from ._stats import FanOutStats
from ._stopping import Failures, FanOutStoppedError
from ._window import Adaptive


@final
class FanOut:
    """Many requests at once; made by `fan_out`, used once.

    ``async with`` it, and iterate over it for the outcomes in the order in which they come.
    """

    def __init__(self, client: Client, items: Items, options: FanOutOptions) -> None:
        self._client = client
        self._source = Source(items)
        self._options = options
        self._skip_rest = self._source.finite if options.skip_rest is None else options.skip_rest
        self._ledger = Ledger(options.budget)
        self._governor = Governor(options.limit, options.limiter, self._ledger)
        self._journal: JournalLike | None = None
        self._attempts: Attempts | None = None
        self._block: NurseryBlock | None = None
        self._left = False
        self._scope = trio.CancelScope()  # everything that is under way
        self._pulling = trio.CancelScope()  # taking further items
        self._began_at = 0.0
        self._ended_at: float | None = None
        self._jobs: dict[int, Job] = {}
        self._seen: dict[str, int] = {}  # the keys of this run; only with a journal
        self._outcomes: deque[Outcome] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._arrived = trio.lowlevel.ParkingLot()
        self._warm = trio.Event()
        self._pulled = 0
        self._taken = 0
        self._asked = 0
        self._counts: dict[str, int] = {}
        self._failures = Failures(options.max_errors)
        self._stopped: FanOutStoppedError | None = None
        self._failure: Exception | None = None
        self._failure_raised = False

    # Entering and leaving.

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> FanOut:
        """Open the journal and start. Not a checkpoint.

        Raises:
          OSError: The journal cannot be opened.
        """
        if self._block is not None:
            raise RuntimeError("this fan-out has been entered before: make another")
        options = self._options
        self._journal = _open_journal(options.journal)
        self._attempts = Attempts(
            self._client,
            self._governor,
            self._ledger,
            journal=self._journal,
            item_timeout=options.item_timeout,
            max_attempts=options.max_attempts,
            on_event=options.on_event,
            on_first_news=self._warm.set,
        )
        self._began_at = trio.current_time()
        self._block = NurseryBlock()
        await self._block.enter()
        self._block.nursery.start_soon(self._feed, name="trio_stream fan-out")
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        """Cancel what is still under way, keep its partial texts, and close the journal.

        Never waits on the peer. A schedule point, not a cancellation point.

        Raises:
          Exception: What the fan-out failed with, unless it was raised before or the block has failed itself.
        """
        block = self._block
        if block is None:
            raise RuntimeError("this fan-out was never entered")
        if self._left:
            raise RuntimeError("this fan-out has been left already")
        self._scope.cancel(reason="the fan-out block was left")
        block.check_may_leave()
        self._left = True
        try:
            swallow = await block.exit(exc)  # noqa: ASYNC102 - it waits for tasks that are cancelled
        finally:
            if self._journal is not None and self._journal is not self._options.journal:
                self._journal.close()
        if exc is None and self._failure is not None and not self._failure_raised:
            raise self._raised(self._failure)
        return swallow

    # What users do with it.

    def __aiter__(self) -> FanOut:
        return self

    async def __anext__(self) -> Outcome:
        """The next outcome, of whichever item is done next.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          StopAsyncIteration: Every item has its outcome, or the fan-out was drained or aborted.
          Exception: With ``on_error="raise"``, the error of the first item that failed. In any case what the
            iterable of items, the journal or ``on_event`` raised. Its ``outcomes`` are those that had not been taken.
        """
        if self._block is None:
            raise RuntimeError("the requests go out when the block is entered: write `async with fan_out(...)`")
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._failure is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise self._raised(self._failure)
            if self._outcomes:
                outcome = self._outcomes.popleft()
                self._taken += 1
                self._room.unpark_all()
                await trio.lowlevel.cancel_shielded_checkpoint()
                return outcome
            if self._ended_at is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise StopAsyncIteration
            await self._arrived.park()

    def drain(self) -> None:
        """Start nothing new: iteration ends when what is under way has ended.

        Items that were taken and wait for their first request are ``skipped``.
        """
        self._stopped = self._stopped or FanOutStoppedError("the fan-out was drained", reason="drain")
        self._pulling.cancel(reason="the fan-out is drained")
        self._skip_waiting(also_retries=False)

    def abort(self) -> None:
        """Cancel what is under way. Its outcomes are ``cancelled``, and have the texts that had arrived."""
        if self._stopped is None or self._stopped.reason == "drain":
            self._stopped = FanOutStoppedError("the fan-out was aborted", reason="abort")
        self._scope.cancel(reason="the fan-out was aborted")

    @property
    def unread(self) -> tuple[Outcome, ...]:
        """The outcomes that nobody has taken; after the block, those of what was under way when it was left."""
        return tuple(self._outcomes)

    @property
    def stats(self) -> FanOutStats:
        """Where it stands now."""
        counts, ledger, governor = self._counts, self._ledger, self._governor
        now = self._ended_at if self._ended_at is not None or self._block is None else trio.current_time()
        return FanOutStats(
            pulled=self._pulled,
            done=sum(counts.values()),
            ok=counts.get("ok", 0),
            cached=counts.get("cached", 0),
            errors=counts.get("error", 0),
            timeouts=counts.get("timeout", 0),
            cancelled=counts.get("cancelled", 0),
            skipped=counts.get("skipped", 0),
            in_flight=len(self._jobs),
            live=governor.live,
            window=governor.window,
            unread=len(self._outcomes),
            requests=ledger.requests,
            retries=0 if self._attempts is None else self._attempts.retries,
            refused=governor.refused,
            overloaded=governor.overloaded,
            input_tokens=ledger.input_tokens,
            output_tokens=ledger.output_tokens,
            cache_write_tokens=ledger.cache_write_tokens,
            cache_read_tokens=ledger.cache_read_tokens,
            cost=None if self._options.budget.prices is None else ledger.cost,
            seconds=0.0 if now is None else now - self._began_at,
            paused_until=None if self._ended_at is not None else governor.paused_until,
            breaker_open=governor.breaker_open,
            stopped=self._stopped,
        )

    # The feeder.

    async def _feed(self) -> None:
        try:
            with self._scope:
                try:
                    async with trio.open_nursery() as workers:
                        with self._pulling:
                            await self._pull(workers)
                finally:
                    # In a cancelled scope it can still let go of what it holds.
                    await self._source.aclose()  # noqa: ASYNC102
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._fail(error)
        finally:
            self._ended_at = trio.current_time()
            self._arrived.unpark_all()

    async def _pull(self, workers: trio.Nursery) -> None:
        while True:
            await self._wait_for_room()
            if self._stopped is not None and not self._skip_rest:
                return
            try:
                taken = await self._source.take()
            except Exception as error:  # noqa: BLE001 - kept for the consumer
                self._fail(error)
                return
            if taken is None:
                return
            try:
                self._start(taken[0], workers)
            except Exception as error:  # noqa: BLE001 - of the journal; kept for the consumer
                self._fail(error)
                return
            if self._options.warmup:
                # A cache entry exists once the first response has begun, or never.
                await self._warm.wait()

    async def _wait_for_room(self) -> None:
        while True:
            if self._stopped is None:
                spent = self._ledger.used_up()
                if spent is not None:
                    self._stop(FanOutStoppedError(spent, reason="budget"))
            unread_too = self._pulled - self._taken
            if unread_too < self._options.limit.maximum:
                if self._stopped is not None:
                    return
                under_way = len(self._jobs)
                if under_way < self._governor.window and self._ledger.has_room(under_way, self._unsent):
                    return
            await self._room.park()

    def _unsent(self) -> int:
        return sum(1 for job in self._jobs.values() if not job.attempts)

    def _start(self, value: Request | Item, workers: trio.Nursery) -> None:
        item, index = as_item(value), self._pulled
        self._pulled += 1
        params = merge_params(item.request, self._options.params)
        job = Job(item, index, params, key="", request_hash="")
        if self._journal is not None:
            try:
                job.request_hash = request_hash(params)
            except (TypeError, ValueError) as error:
                self._number(job)
                self._finish(job, job.outcome("error", error))
                return
            job.key = self._key(item, job.request_hash)
            known = self._journal.lookup(job.key, job.request_hash)
            if known is not None:
                known = msgspec.structs.replace(known, id=item.id, index=index, tag=item.tag)
                self._finish(job, known, journalled=True)
                return
        if self._stopped is not None:
            self._finish(job, job.outcome("skipped", self._stopped))
            return
        self._jobs[index] = job
        self._number(job)
        workers.start_soon(self._work, job, name=f"trio_stream item {index}")

    def _number(self, job: Job) -> None:
        job.place = self._asked
        self._asked += 1

    def _key(self, item: Item, digest: str) -> str:
        """The item's name in the journal, once for each item."""
        if item.id is not None:
            if item.id in self._seen:
                raise JournalConflictError(
                    f"two items have the id {item.id!r}, and a journal tells items by it", id=item.id
                )
            self._seen[item.id] = 1
            return item.id
        # The same request again wants another answer.
        count = self._seen[digest] = self._seen.get(digest, 0) + 1
        return digest if count == 1 else f"{digest}:{count}"

    # The workers.

    async def _work(self, job: Job) -> None:
        assert self._attempts is not None
        try:
            outcome = await self._attempts.run(job)
            del self._jobs[job.index]
            self._finish(job, outcome)
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._jobs.pop(job.index, None)
            self._fail(error)
        except BaseException:
            del self._jobs[job.index]
            self._note_cancelled(job)
            raise
        finally:
            if self._room:
                self._room.unpark_all()

    def _note_cancelled(self, job: Job) -> None:
        stopped = self._stopped if self._stopped is not None and self._stopped.reason == "abort" else None
        outcome = job.outcome("cancelled" if job.attempts else "skipped", stopped)
        if self._journal is not None and job.attempts:
            try:
                self._journal.partial(job.key, outcome.text, request_id=outcome.request_id, usage=outcome.usage)
            except Exception as error:  # noqa: BLE001 - the cancellation goes on; the consumer gets this one
                self._fail(error)
        self._add(outcome)

    def _finish(self, job: Job, outcome: Outcome, *, journalled: bool = False) -> None:
        """An item has its outcome: into the journal first, then to the consumer."""
        ended = outcome.status in ("ok", "error", "timeout") or (outcome.status == "skipped" and job.attempts > 0)
        if self._journal is not None and not journalled and ended and job.key:
            self._journal.end(job.key, outcome)
        self._add(outcome)
        if job.stop is not None:
            # A budget lets those finish that have begun; the API would refuse them.
            self._stop(job.stop, also_retries=job.stop.of_the_account)
        too_many = self._failures.note(outcome, place=job.place, answered=self._governor.answered > 0)
        if too_many is not None:
            self._stop(too_many)
        if self._options.on_error == "raise" and outcome.error is not None and not _was_asked_for(outcome.error):
            self._fail(outcome.error)

    def _add(self, outcome: Outcome) -> None:
        self._counts[outcome.status] = self._counts.get(outcome.status, 0) + 1
        self._outcomes.append(outcome)
        if self._arrived:
            self._arrived.unpark()

    # Ways to end.

    def _stop(self, stop: FanOutStoppedError, *, also_retries: bool = False) -> None:
        """Start nothing new; the rest is skipped."""
        if self._stopped is None:
            self._stopped = stop
        if not self._skip_rest:
            self._pulling.cancel(reason=f"the fan-out stopped: {stop.reason}")
        self._skip_waiting(also_retries=also_retries)
        self._room.unpark_all()
        self._warm.set()

    def _skip_waiting(self, *, also_retries: bool) -> None:
        for job in self._jobs.values():
            if job.waiting is not None and (also_retries or not job.attempts):
                job.stop = job.stop or self._stopped
                job.waiting.cancel(reason="the fan-out starts nothing new")

    def _fail(self, error: Exception) -> None:
        """Give up: cancel everything, and raise this to the consumer."""
        if self._failure is None:
            self._failure = error
            self._scope.cancel(reason=f"the fan-out failed: {type(error).__name__}")
        self._arrived.unpark_all()

    def _raised(self, error: Exception) -> Exception:
        self._failure_raised = True
        cast("Any", error).outcomes = tuple(self._outcomes)
        return error.with_traceback(None)


def _was_asked_for(error: Exception) -> bool:
    return isinstance(error, FanOutStoppedError) and error.reason in ("drain", "abort")


def _open_journal(journal: str | os.PathLike[str] | JournalLike | None) -> JournalLike | None:
    if not isinstance(journal, (str, os.PathLike)):
        return journal
    return Journal(journal)


def fan_out(
    client: Client,
    items: Items,
    *,
    limit: int | Adaptive = DEFAULT_LIMIT,
    limiter: RateLimiter | None = None,
    journal: str | os.PathLike[str] | JournalLike | None = None,
    on_error: Literal["capture", "raise"] = "capture",
    max_errors: int | float | None = None,
    max_attempts: int = 5,
    item_timeout: float | None = None,
    warmup: bool = False,
    budget: Budget | None = None,
    on_event: OnEvent | None = None,
    **params: Any,
) -> FanOut:
    """Make many requests at once, and get their outcomes in the order in which they come.

    ::

        async with fan_out(client, items, limit=Adaptive(2, 8, 100), model=..., max_tokens=...) as results:
            async for outcome in results:
                print(outcome.index, outcome.status, outcome.text)

    Items are taken only when there is room, so a generator of any length needs little memory, and a consumer that is
    slow slows down what is before it. Requests are paced by the rate limits that the API's headers tell. What fails
    is tried again here, also in the middle of a stream, as its text has been given to nobody; the client's
    ``max_retries`` plays no part. Leaving the block cancels what is under way.

    When a spend limit, a refused key (401, or 403), the budget or ``max_errors`` ends it, nothing new is started, and
    the items that are left are ``skipped``, if ``items`` has a length; of other iterables they are not taken any more.
    ``stats.stopped`` says which it was. A journal asks what was skipped when it goes on.

    Args:
      client: Whom to ask.
      items: Prompts, parameters or `Item`; any iterable or async iterable. An async generator is closed in the end.
      limit: How many requests may be under way: a number, or `Adaptive`.
      limiter: Paces the requests; share one among fan-outs that run at once. Default: a `HeaderRateLimiter`.
      journal: A path, or a journal. What it has finished is not asked again (``cached``), and what ends here is
        written to it before its outcome is given out.
      on_error: ``"capture"`` makes an outcome of every error. ``"raise"`` cancels everything at the first one and
        raises it.
      max_errors: Stop when more items than this have failed; a float below 1: when a larger share has. None: when
        the first ten have all failed with the same error (there is no such model, there is no network).
      max_attempts: Requests for one item that may fail. Those that the API refused (429, 529) do not count.
      item_timeout: Seconds for one item: its requests and the waits between them, not the wait for leave to send.
      warmup: Start one item, and the others when its answer begins: they find its prefix in the prompt cache. See
        ``stats.cache_hit_rate``.
      budget: What may be used.
      on_event: Called with the item and each event of its stream; may be async.
      **params: What all requests share: the parameters of ``client.messages.stream``, and ``timeout``. With
        ``betas`` it is ``client.beta.messages.stream``.

    Raises:
      ValueError: An option that cannot be.
      TypeError: Likewise.
    """
    options = make_options(
        limit=limit,
        limiter=limiter,
        journal=journal,
        on_error=on_error,
        max_errors=max_errors,
        max_attempts=max_attempts,
        item_timeout=item_timeout,
        warmup=warmup,
        budget=budget,
        on_event=on_event,
        **params,
    )
    return FanOut(client, items, options)
