"""`fan_out`: many requests at once, outcomes as they come.

What belongs here: the object that users hold, and putting its parts together. What does not: what the parts do.

Three parties share one nursery, which ends with the block:

* the feeder (`_feeder`) takes items while there is room,
* a worker (`_workers`) for each item that is sent makes its requests (`_attempts`) as the governor permits
  (`_governor`), and settles its outcome (`_settling`): into the journal (`_journal_keeper`), then to the outbox,
* the consumer, the task that entered the block (`_block`), takes outcomes from the outbox (`_outbox`).

The job (`_job`) is the state that they share: whether new items are started, and which are under way. Feeder and
workers never raise: their errors are kept for the consumer.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, final, get_args

import trio

from trio_stream._client import Client, SharedCall
from trio_stream._errors import OutputFault
from trio_stream._limiter import HeaderRateLimiter, RateLimiter
from trio_stream._money import Budget, Ledger, PriceLookup, Prices
from trio_stream._protocol import MessageBatch
from trio_stream._schemas import OutputType

from ._attempts import Attempts
from ._block import Block
from ._caching import SECONDS, CacheDuration
from ._earlier_batches import EarlierBatches
from ._feeder import Feeder
from ._governor import Governor
from ._items import Items, Source
from ._job import Job, JobState
from ._journal_keeper import JournalKeeper
from ._moments import JobWatch
from ._options import DEFAULTS, FanOutOptions, OnEvent
from ._outbox import Outbox
from ._records import JournalLike, Outcome, TagT, ValueT, with_defaults
from ._settling import Settler
from ._stats import FanOutStats
from ._stopping import FanOutStoppedError
from ._via_batch import BatchDesk
from ._via_batch_options import ViaBatch
from ._warmup import Warmup
from ._window import Adaptive
from ._workers import Workers


@final
class FanOut(Generic[TagT, ValueT]):
    """Many requests at once; made by `fan_out`, used once.

    ``async with`` it, and iterate over it for the outcomes in the order in which they come.

    Args:
      client: Sends the requests.
      items: The items.
      options: The options.
      skip_rest: Whether a job that stops by itself (a budget, say) still takes the remaining items, to give each a
        ``skipped`` outcome. With None it does if ``items`` has a length.
    """

    if not TYPE_CHECKING:

        @classmethod
        def __class_getitem__(cls, types: Any) -> Any:
            """Fill in what type checkers take for the default, which Python knows since 3.13."""
            return super().__class_getitem__(with_defaults(types))

    def __init__(
        self, client: Client, items: Items[TagT], options: FanOutOptions, *, skip_rest: bool | None = None
    ) -> None:
        self._client = client
        self._options = options
        source = Source(items)
        budget = Budget() if options.budget is None else options.budget
        limiter = options.limiter or client.limiter or HeaderRateLimiter()
        self._ledger = Ledger(budget, options.prices)
        duration: CacheDuration | None = options.cache or ("5m" if options.warmup else None)
        if options.cache is not None and options.via_batch is not None:
            duration = "1h"
        self._warmup = None if duration is None else Warmup(SECONDS[duration])
        self._governor = Governor(options.bounds, limiter, self._ledger, self._warmup)
        self._outbox = Outbox()
        self._job = Job(self._outbox, skip_rest=source.finite if skip_rest is None else skip_rest)
        self._keeper = keeper = JournalKeeper(options.journal)
        self._attempts = Attempts(
            client,
            options,
            job=self._job,
            governor=self._governor,
            ledger=self._ledger,
            keeper=keeper,
        )
        settler = Settler(self._job, self._outbox, keeper, self._governor, options)
        workers = Workers(self._job, self._attempts, settler)
        via = options.via_batch
        self._desk: BatchDesk | None = None
        if via is not None:
            if not keeper.can_note_batches:
                raise TypeError("via='batch' needs a journal that notes batches, as `Journal` does, or a path, or none")
            if via.detach and options.journal is None:
                raise TypeError("ViaBatch(detach=True) needs a journal to find the batches again by")
            self._desk = BatchDesk(
                client,
                via,
                options,
                job=self._job,
                outbox=self._outbox,
                keeper=keeper,
                ledger=self._ledger,
                attempts=self._attempts,
                workers=workers,
                settler=settler,
            )
        self._earlier = EarlierBatches(client, job=self._job, keeper=keeper, ledger=self._ledger)
        self._feeder = Feeder(
            source,
            options,
            job=self._job,
            outbox=self._outbox,
            keeper=keeper,
            governor=self._governor,
            ledger=self._ledger,
            attempts=self._attempts,
            workers=workers,
            settler=settler,
            desk=self._desk,
            earlier=self._earlier,
        )
        self._block = Block(self._job, keeper)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> FanOut[TagT, ValueT]:
        """Open the journal and start. Not a checkpoint.

        Raises:
          JournalError: The journal cannot be opened.
        """
        audience = self._client.instruments.watch()
        self._job.watch = None if audience is None else JobWatch(audience)
        await self._block.enter(self._run)
        # Before any task of the job runs: `enter` waits for nothing.
        self._ledger.add_before(self._keeper.charges_before, unknown=self._keeper.uncounted_before)
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        """Cancel what is still under way, keep its partial texts, and close the journal.

        Waits on the peer only to cancel batches, 5 seconds at most. A schedule point, not a cancellation point.

        Raises:
          Exception: The error that the fan-out failed with, unless iteration has raised it or the block has failed
            itself.
        """
        swallow = await self._block.leave(exc)  # noqa: ASYNC102 - it waits for tasks that are cancelled
        if exc is None:
            self._outbox.raise_unseen_failure()
        return swallow

    async def _run(self) -> None:
        """The task of the job: it ends when the feeder and the last worker have ended."""
        try:
            with self._job.tasks:
                await self._feeder.run()
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._job.fail(error)
        finally:
            if self._desk is not None:
                self._desk.close()
                if self._job.state is JobState.CANCELLING:
                    await self._desk.leave()  # noqa: ASYNC102 - within a few seconds
            self._job.end()
            if self._job.watch is not None:
                self._job.watch.end(self.stats)

    def __aiter__(self) -> FanOut[TagT, ValueT]:
        return self

    async def __anext__(self) -> Outcome[TagT, ValueT]:
        """Return the next outcome: that of whichever item ends next.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          StopAsyncIteration: Every item has its outcome, or the fan-out was drained or aborted.
          Exception: With ``on_error="raise"``, the error of the first item that failed. In any case the error that the
            iterable of items, the journal or ``on_event`` raised. Its ``outcomes`` are those that had not been taken.
        """
        if not self._block.entered:
            raise RuntimeError("the requests go out when the block is entered: write `async with fan_out(...)`")
        outcome = await self._outbox.take()
        if self._job.room:
            self._job.room.unpark_all()
        return outcome

    def drain(self) -> None:
        """Send nothing new. Iteration ends when the answers that are under way have ended.

        Items that wait to send a request, their first or another after one that failed, get the status ``skipped``: the
        API may have asked to wait for ten minutes.
        """
        self._job.stop(FanOutStoppedError("the fan-out was drained", reason="drain"))
        if self._desk is not None:
            self._desk.flush()

    def detach(self) -> None:
        """Leave the batches to go on by themselves. Only with ``via="batch"`` and a journal.

        Nothing new is taken; what has been taken is put into batches. Iteration ends when those exist, and leaving the
        block does not cancel them. Their items get the status ``skipped`` here. The next run with the same journal
        collects them.

        Raises:
          RuntimeError: There are no batches, or no journal to find them again by.
        """
        if self._desk is None or self._options.journal is None:
            raise RuntimeError("only a fan-out via batches that has a journal can be detached from them")
        self._desk.detach()

    @property
    def batches(self) -> tuple[MessageBatch, ...]:
        """The message batches of this run, and those of earlier runs that it found, as they were last seen."""
        return (self._desk or self._earlier).batches

    @property
    def gone_batches(self) -> tuple[str, ...]:
        """The ids of message batches that somebody has deleted before they were collected.

        Nobody can read any more what they answered. Their items are asked again, and ``stats.paid_twice`` counts them.
        """
        return (self._desk or self._earlier).gone

    def abort(self) -> None:
        """Cancel everything under way. The outcomes have the status ``cancelled``, and the text that had arrived."""
        if self._desk is not None:
            self._desk.abort()
        self._job.abort()

    @property
    def unread(self) -> tuple[Outcome[TagT, ValueT], ...]:
        """The outcomes that nobody has taken. After the block this includes the items that leaving it cancelled."""
        return self._outbox.unread

    @property
    def stats(self) -> FanOutStats:
        """The figures as of now."""
        counts, ledger, governor, job = self._outbox.counts, self._ledger, self._governor, self._job
        warmups = [warmup for warmup in (self._warmup, self._desk and self._desk.warmup) if warmup is not None]
        return FanOutStats(
            pulled=self._feeder.taken,
            done=counts.total(),
            ok=counts["ok"],
            cached=counts["cached"],
            errors=counts["error"],
            timeouts=counts["timeout"],
            invalid=sum(counts[fault] for fault in get_args(OutputFault)),
            cancelled=counts["cancelled"],
            skipped=counts["skipped"],
            in_flight=len(job.active),
            live=governor.live,
            window=governor.window,
            unread=len(self._outbox),
            queued=0 if self._desk is None else self._desk.queued,
            paid_twice=(self._desk or self._earlier).paid_twice,
            requests=ledger.requests,
            retries=self._attempts.retries,
            refused=governor.refused,
            overloaded=governor.overloaded,
            input_tokens=ledger.input_tokens,
            output_tokens=ledger.output_tokens,
            cache_write_tokens=ledger.cache_write_tokens,
            cache_read_tokens=ledger.cache_read_tokens,
            cache_hits=sum(warmup.hits for warmup in warmups),
            cache_misses=sum(warmup.misses for warmup in warmups),
            cache_writes=sum(warmup.writes for warmup in warmups),
            cost=None if ledger.unpriced else ledger.cost,
            cost_before=None if ledger.unpriced else ledger.cost_before,
            cost_failed=None if ledger.unpriced else ledger.cost_failed,
            cost_estimated=None if ledger.unpriced else ledger.cost_estimated,
            costs=None if ledger.unpriced else ledger.costs,
            seconds=job.seconds,
            paused_until=None if job.state is JobState.ENDED else governor.paused_until,
            breaker_open=governor.breaker_open,
            stopped=job.stopped,
        )


def fan_out(
    client: Client,
    items: Items[TagT],
    *,
    limit: int | Adaptive = DEFAULTS.limit,
    limiter: RateLimiter | None = DEFAULTS.limiter,
    journal: str | os.PathLike[str] | JournalLike | None = DEFAULTS.journal,
    on_error: Literal["capture", "raise"] = DEFAULTS.on_error,
    max_errors: int | float | None = DEFAULTS.max_errors,
    max_attempts: int = DEFAULTS.max_attempts,
    item_timeout: float | None = DEFAULTS.item_timeout,
    warmup: bool = DEFAULTS.warmup,
    cache: CacheDuration | None = DEFAULTS.cache,
    prompt_prefix: str | None = DEFAULTS.prompt_prefix,
    budget: Budget | None = DEFAULTS.budget,
    prices: Prices | PriceLookup | None = DEFAULTS.prices,
    on_event: OnEvent | None = DEFAULTS.on_event,
    via: Literal["stream", "batch"] | ViaBatch = DEFAULTS.via,
    output: type[ValueT] | OutputType[ValueT] | None = None,
    retry_invalid: int = DEFAULTS.retry_invalid,
    **params: Unpack[SharedCall],
) -> FanOut[TagT, ValueT]:
    """Make many requests at once, and get their outcomes in the order in which they come.

    ::

        async with fan_out(client, items, limit=Adaptive(2, 8, 100), model=..., max_tokens=...) as results:
            async for outcome in results:
                print(outcome.index, outcome.status, outcome.text)

    Items are taken only when there is room for them, so a generator of any length needs little memory, and a slow
    consumer slows down whatever produces the items. Requests are paced by the rate limits that the API's headers tell.
    A request that fails is made again, even if it failed in the middle of its answer, since nobody has been given any
    of that; the client's ``max_retries`` plays no part. Leaving the block cancels what is under way.

    A spend limit, a refused key (401 or 403), an outage, the budget or ``max_errors`` may end the run early;
    ``stats.stopped`` says which it was. Nothing new is started then. If ``items`` has a length, the remaining items get
    the status ``skipped``; other iterables are not read any further. Continued from its journal, the run starts the
    skipped items again.

    Args:
      client: Sends the requests.
      items: Prompts, parameters or `Item`, from any iterable or async iterable. An async generator is closed in the
        end.
      limit: How many requests may be under way at once: a number, or an `Adaptive` for a limit that finds its own
        level.
      limiter: Paces the requests. None for the client's limiter, in whose ``"batch"`` lane they wait unless ``lane``
        says otherwise; or, if it has none, for a `HeaderRateLimiter` of this fan-out alone.
      journal: A path or a journal. Items that it has an answer for are not sent again (their status is ``cached``), and
        every item that ends is written to it before its outcome is handed out. If ``items`` is a sequence, all ids are
        compared with each other and with the journal before anything is sent; otherwise each is as it is taken. The
        message batches that earlier runs have left are waited for and collected first, whatever ``via`` is.
      on_error: With ``"capture"`` every error becomes an outcome. With ``"raise"`` the first error cancels everything,
        and is raised.
      max_errors: Stop when more items than this have failed or, if it is a float below 1, when a larger share of them
        has. With None, stop when the first ten items have all failed with the same error (there is no such model, or no
        network).
      max_attempts: How many requests for one item may fail. Requests that the API refused (429, 529) do not count, nor
        do those that failed while the API answered nothing else either.
      item_timeout: Seconds for one item, counting its requests and the waits between them, but not the wait for
        permission to send. None for no limit.
      warmup: Whether to start one item alone, and the others when its answer has begun, so that they find in the prompt
        cache what ``cache_control`` marks in their parameters. ``stats.cache_hit_rate`` tells how well that worked.
        With ``cache`` it is always so.
      cache: For how long the prompt cache keeps what all items share: ``"5m"`` or ``"1h"`` after it was last read. The
        last shared block is marked: ``prompt_prefix``, or else ``system``, or else ``tools``. One item goes first, also
        after a pause for which the entry does not last; the others follow two seconds after its answer has begun. None
        marks nothing. Continued from its journal, a run may have it or not.
      prompt_prefix: A text that leads the first message of every item, as a block of its own. None for no such text.
      budget: How much may be used of tokens, money or requests. None for no limit.
      prices: What tokens cost: the prices of all models, or a function that returns the prices of a model, or None
        where it does not know them. With None the budget's ``prices``, or the built-in ones, in dollars (`Prices.of`).
      on_event: Called with the item and each event of its stream. It may be async.
      via: ``"batch"`` sends the items as message batches, at half the price and within 24 hours, mostly much sooner; a
        `ViaBatch` says how. Leaving the block then cancels the batches, for which it waits up to 5 seconds; what they
        have answered by then the next run collects from them, if there is a journal. ``limit`` and ``limiter`` concern
        only what is streamed, and ``item_timeout`` cannot be given.
      output: A type to ask the answers for: each outcome that is ``ok`` or ``cached`` has a ``value`` of it. Answers
        that are no value have the status ``truncated``, ``refused`` or ``invalid``, and an `OutputParseError`. The
        schema is part of the request, so that a journal is one of this schema.
      retry_invalid: How many more times an item is sent whose answer is no value of ``output``. Each costs what a
        request costs.
      **params: The parameters that all requests share: those of ``client.messages.stream``, ``timeout`` and ``lane``.
        With ``betas``, requests go through ``client.beta.messages.stream``.

    Raises:
      ValueError: An option is invalid, or conflicts with another.
      TypeError: An option has the wrong type, or a parameter is not one of a fan-out (``max_retries``, ``stream``); or
        there is no schema for ``output``.
    """
    options = FanOutOptions(
        limit=limit,
        limiter=limiter,
        journal=journal,
        on_error=on_error,
        max_errors=max_errors,
        max_attempts=max_attempts,
        item_timeout=item_timeout,
        warmup=warmup,
        cache=cache,
        prompt_prefix=prompt_prefix,
        budget=budget,
        prices=prices,
        on_event=on_event,
        via=via,
        output=output,
        retry_invalid=retry_invalid,
        params=dict(params),
    )
    return FanOut(client, items, options)
