"""One run of ``trio-stream batch``: its items go through a fan-out, its answers into the output.

What belongs here: making items of what the input has, rows of what the fan-out gives, and hearing signals. What does
not: opening files and errors of the command (`_batch`), exit status and report (`_batch_ending`), and the work itself
(`trio_stream.batch`).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from typing import Final, Literal, cast, final

import msgspec
import trio

import trio_stream as ts
from trio_stream._money import Budget
from trio_stream.batch import FanOut, FanOutStats, Item, Outcome, ViaBatch, fan_out
from trio_stream.cli._batch_asking import how_to_ask
from trio_stream.cli._batch_files import Files
from trio_stream.cli._batch_input import Input
from trio_stream.cli._batch_journal import JobJournal
from trio_stream.cli._batch_line import Pending, has_ended, in_row, output_line
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_output import Output
from trio_stream.cli._batch_prices import make_lookup
from trio_stream.cli._batch_progress import Report, View, make_view
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._batch_report import Tally
from trio_stream.cli._batch_same import SameAnswers
from trio_stream.cli._batch_variants import ItemKeys

_NAMED: Final = 3
"""How many failures are shown while it runs. All of them are in the output."""

_SECOND_CHANCE: Final = 3.0
"""Seconds after a Ctrl-C in which another one cancels the message batches that the first has left to go on."""


@final
class BatchJob:
    """One run.

    Args:
      options: The options.
      client: Sends the requests.
      found: The input.
      recipe: Says what all requests have.
      files: The files, open.
      output: The output, open.
      live: Knows what every call of the client is doing; None where that is not shown.
      opening: What the run is about to do, in words.

    Attributes:
      interruptions: How often the user or the system has asked it to end.
      tally: What is counted for the report.
      same: Gives answers to items that are not sent; None without ``--dedupe``.
    """

    def __init__(
        self,
        options: BatchOptions,
        client: ts.Client,
        found: Input,
        recipe: Recipe,
        files: Files,
        output: Output,
        *,
        live: ts.Live | None,
        opening: str,
    ) -> None:
        self._live = live
        self._opening = opening
        self.interruptions = 0
        self._options = options
        self._client = client
        self._input = found
        self._recipe = recipe
        self._journal = None if files.journal is None else JobJournal(files.journal, options.again)
        self._output = output
        self.same: SameAnswers | None = None
        if options.dedupe:
            self.same = SameAnswers(self._journal, output.answered, recipe.output)
        self._keys = ItemKeys()
        self._taken = 0
        self._results: FanOut | None = None
        self._report: Report | None = None
        self._told = 0
        self._failure: Exception | None = None
        self._prices = make_lookup(options)
        self.tally: Tally = Tally(self._prices)

    @property
    def results(self) -> FanOut:
        """The fan-out, once it has begun."""
        assert self._results is not None
        return self._results

    @property
    def stats(self) -> FanOutStats:
        """Its figures."""
        return self.results.stats

    async def run(self) -> None:
        """Send all items, and write their answers."""
        options = self._options
        found = self._input
        if self._journal is not None:
            self._journal.note_run(None if options.dedupe else found.total)  # which then is not what is sent
        async with self._client:
            self._results = results = fan_out(
                self._client,
                _Items(self, found),
                journal=self._journal,
                via=self._via(),
                budget=Budget(output_tokens=options.max_output_tokens, cost=options.max_cost),
                **how_to_ask(options, self._recipe, self._prices),
            )
            self._report = report = Report(lambda: results.stats, total=found.total, max_cost=options.max_cost)
            view = make_view(report, options.progress, stdout_used=options.output == "-", live=self._live)
            with trio.open_signal_receiver(*signals_that_end_a_run()) as signals, view:
                view.tell(self._opening)
                if self._journal is not None and self._journal.batches.open:
                    names = " ".join(batch.batch_id or batch.nonce for batch in self._journal.batches.open.values())
                    view.tell(f"first, message batches of earlier runs are collected: {names}")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(view.run)
                    nursery.start_soon(self._hear, signals, results, view, nursery)
                    try:
                        await self._collect(results, view)
                    except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery
                        self._failure = error
                    nursery.cancel_scope.cancel(reason="every item has its outcome")
        if self._failure is not None:
            raise self._failure
        self._output.add_waiting()

    async def _collect(self, results: FanOut, view: View) -> None:
        async with results:
            async for outcome in results:
                self._take(outcome, view)

    def _via(self) -> Literal["stream"] | ViaBatch:
        options = self._options
        return "stream" if options.via == "stream" else ViaBatch(deadline=options.deadline, detach=options.detach)

    def item(self, entry: Entry) -> Item | None:
        """Make the item to send; None if another one is sent for it."""
        pending = self._pending(entry)
        if self.same is not None:
            row = self.same.take(pending)
            if not isinstance(row, bool):
                self._output.add(pending.position, pending.key, row)
            if row is not True:
                if self._report is not None and self._report.total is not None:
                    self._report.total -= 1  # it is no item of the fan-out
                return None
        return Item(entry.request, id=pending.key, tag=pending)

    def _pending(self, entry: Entry) -> Pending:
        key = self._keys.of(entry)
        position = self._taken
        self._taken += 1
        return Pending(
            entry=msgspec.structs.replace(entry, request=in_row(entry.request)),
            key=key,
            hash=entry.hash,
            position=position,
            repeats=self._options.repeat > 1,
            schema=self._recipe.output is not None,
        )

    def _take(self, outcome: Outcome, view: View) -> None:
        pending = cast("Pending", outcome.tag)
        self.tally.add(outcome)
        self._output.add(pending.position, pending.key, output_line(outcome, pending) if has_ended(outcome) else None)
        if self.same is not None:
            for other, row in self.same.end(pending, outcome):
                self._output.add(other.position, other.key, row)
        if outcome.error is not None and has_ended(outcome) and outcome.attempts and self._told < _NAMED:
            self._told += 1
            more = " (further ones are in the output)" if self._told == _NAMED else ""
            view.tell(f"item {pending.entry.index}: {outcome.error}{more}")

    async def _hear(self, signals: AsyncIterator[int], results: FanOut, view: View, nursery: trio.Nursery) -> None:
        async for number in signals:
            self.interruptions += 1
            # After a SIGTERM (from a scheduler, or at a shutdown) a SIGKILL follows soon, so there is no time to drain.
            if self.interruptions == 1 and self._options.via == "batch" and self._journal is not None:
                names = " ".join(batch.id for batch in results.batches if not batch.ended) or "none yet"
                soon = ""
                if number == signal.SIGINT:
                    soon = f", Ctrl-C again within {_SECOND_CHANCE:.0f} seconds to cancel them"
                    nursery.start_soon(self._detach_soon, results)
                else:
                    results.detach()
                view.tell(f"leaving the batches to go on ({names}){soon}")
            elif self.interruptions == 1 and number == signal.SIGINT:
                streams = results.stats.live
                view.tell(f"finishing {streams} stream{'' if streams == 1 else 's'}, Ctrl-C again to abort")
                results.drain()
            else:
                view.tell("aborting: what has arrived is kept")
                results.abort()

    async def _detach_soon(self, results: FanOut) -> None:
        """Leave the batches, unless they are to be cancelled: a run that has left them does not know them any more."""
        await trio.sleep(_SECOND_CHANCE)
        if self.interruptions == 1:
            results.detach()


def signals_that_end_a_run() -> list[signal.Signals]:
    """Return the signals that end a run early.

    SIGHUP is one of them, as a terminal sends it that is closed, but not for who has asked for it to be ignored, as
    ``nohup`` does: then the run is to outlive its terminal.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signals.append(signal.SIGHUP)
    return signals


@final
class _Items:
    """The items to send, as the fan-out takes them. Other tasks get their turn before each."""

    def __init__(self, job: BatchJob, found: Input) -> None:
        self._job = job
        self._entries = found.entries()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        while True:
            item = self._job.item(await self._next())
            if item is not None:
                return item

    async def _next(self) -> Entry:
        if isinstance(self._entries, AsyncIterator):
            return await self._entries.__anext__()
        await trio.lowlevel.checkpoint()
        for entry in self._entries:
            return entry
        raise StopAsyncIteration
