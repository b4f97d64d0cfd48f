"""``trio-stream batch``: many prompts, their answers in a file.

What belongs here: putting the parts together, interruptions, exit codes. What does not: the command line
(`_batch_commands`), the input (`_batch_input`), the output (`_batch_output`), the progress that is shown
(`_batch_progress`), and the work itself (`trio_stream.batch`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final, cast, final

import msgspec
import trio

import trio_stream as ts
from trio_stream._money import Budget
from trio_stream._protocol import Usage
from trio_stream.batch import (
    Adaptive,
    BatchBook,
    FanOut,
    FanOutStats,
    HeaderRateLimiter,
    Item,
    Journal,
    JournalConflictError,
    JournalError,
    Outcome,
    StartedItem,
    ViaBatch,
    fan_out,
)
from trio_stream.cli._batch_check import Checker, FaultsError
from trio_stream.cli._batch_dry_run import make_plan, print_plan
from trio_stream.cli._batch_files import Files
from trio_stream.cli._batch_input import FileInput, Input, PipeInput, open_input
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_output import Output, OutputError, Pending, TargetError, output_line
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_prices import make_lookup, without_price
from trio_stream.cli._batch_progress import Report, View, make_view, write_line
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._batch_rejects import RejectsError
from trio_stream.cli._batch_report import Tally
from trio_stream.cli._input_text import InputError, read_text_file
from trio_stream.cli._terminal import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    USAGE,
    complain,
    forget_stdout,
    one_line,
)

ITEMS_FAILED: Final = 3
"""Exit code: it finished, but items failed; or it stopped because too many did."""

UNFINISHED: Final = 5
"""Exit code: batches go on, or the API was out of order; the same command continues later."""

STOPPED: Final = 4
"""Exit code: a budget or a spend limit stopped the run."""

_STOPPED_CODES: Final = {
    "max_errors": ITEMS_FAILED,
    "budget": STOPPED,
    "spend_limit": STOPPED,
    "outage": UNFINISHED,
    "detach": UNFINISHED,
}
"""After any other reason the exit code is that of a failure: the API refuses the key, the model or the address."""

_WHAT_NOW: Final = {
    "authentication": "; is ANTHROPIC_API_KEY right? The same command continues from here",
    "permission": "; once that is settled, the same command continues from here",
    "outage": "; once the API answers again, the same command continues from here",
    "same_error": "; with --max-errors it would go on",
}

_NAMED: Final = 3
"""How many failures are shown while it runs. All of them are in the output."""


class _NotPossible(Exception):  # noqa: N818 - it is a sentence for people
    """The command cannot do what was asked. The message is shown to the user."""


class _PriceUnknownError(Exception):
    """What the items cost cannot be limited, as the prices of a model are not known."""


def run(options: BatchOptions) -> int:
    """Run the command, and return its exit code."""
    try:
        with ExitStack() as stack:
            return _run(options, stack)
    except FaultsError as error:
        for sentence in error.sentences:
            complain("batch", sentence)
        return USAGE
    except (_NotPossible, InputError, TargetError, JournalConflictError, ts.CredentialsError) as error:
        complain("batch", _sentence(error))
        return USAGE
    except (OutputError, JournalError, RejectsError, _PriceUnknownError) as error:
        complain("batch", str(error))
        return FAILED
    except ts.APIError as error:  # of a dry run; those of items are outcomes
        complain("batch", str(error))
        return FAILED
    except KeyboardInterrupt:  # before or after signals are received as events
        complain("batch", "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE


def _sentence(error: Exception) -> str:
    if isinstance(error, ts.CredentialsError) and error.message.startswith("no authentication"):
        return "no API key: export ANTHROPIC_API_KEY=sk-ant-..."
    return str(error)


def _run(options: BatchOptions, stack: ExitStack) -> int:
    client = _client(options)
    part = Part(limit=options.limit, sample=options.sample, shard=options.shard or (0, 1))
    recipe = _recipe(options)
    files = Files(options)
    stack.callback(files.close)
    if options.dry_run:
        journal = files.open_journal()
        found = open_input(options.input, Checker(recipe, journal, unique_ids=False), part)
        stack.callback(found.close)
        return _dry_run(options, client, found, journal)
    files.open_earlier()
    found = open_input(options.input, Checker(recipe, files.journal), part, files.open_rejects())
    stack.callback(found.close)
    unpriced = [] if options.max_cost is None else without_price(found, options)
    if unpriced:
        name = one_line(unpriced[0])[:80]
        raise _PriceUnknownError(
            f"--max-cost needs the prices of {name!r}, which are not known: say --price INPUT/OUTPUT, or --price "
            f"{name}=INPUT/OUTPUT"
        )
    output = files.open()
    if options.shard is not None:
        write_line(f"shard {options.shard[0]} of {options.shard[1]}: {found.total} items")
    if isinstance(found, FileInput):
        _tell_of_rejects(files)
    if output.damaged:
        write_line(f"damaged lines of {output.path}: {output.damaged}, which are written again from the journal")
    batch = _Batch(options, client, found, files, output)
    trio.run(batch.run)
    if isinstance(found, PipeInput):
        _tell_of_rejects(files)
    code = batch.exit_code()
    batch.report(code)
    return code


def _tell_of_rejects(files: Files) -> None:
    if files.rejects is not None and files.rejects.count:
        write_line(f"lines of the input that are left out: {files.rejects.count}; {files.rejects.path} has the reasons")


def _client(options: BatchOptions) -> ts.Client:
    url = options.base_url or os.environ.get("ANTHROPIC_BASE_URL") or "https://"
    if not url.startswith(("https://", "http://")):
        raise _NotPossible(f"the base URL is not valid: {one_line(url)!r}")
    clocks: dict[str, float] = {}
    if options.first_event_timeout is not None:
        clocks["first_event"] = options.first_event_timeout
    if options.silence_timeout is not None:
        clocks["silence"] = options.silence_timeout
    try:
        return ts.Client(base_url=options.base_url, timeout=ts.Timeouts(**clocks))
    except ts.CredentialsError:
        raise
    except ValueError as error:
        raise _NotPossible(str(error)) from None


def _recipe(options: BatchOptions) -> Recipe:
    defaults: dict[str, Any] = {"model": options.model, "max_tokens": options.max_tokens}
    if options.system is not None:
        defaults["system"] = _read_prompt(options.system, "system prompt")
    return Recipe(defaults, options.template, prefix=_prefix(options))


def _prefix(options: BatchOptions) -> str | None:
    return None if options.prefix is None else _read_prompt(options.prefix, "prefix")


def _read_prompt(name: str, what: str) -> str:
    text = read_text_file(name).strip()
    if not text:
        raise _NotPossible(f"{name} has no {what}: it is empty")
    return text


def _dry_run(options: BatchOptions, client: ts.Client, found: Input, journal: Journal | None) -> int:
    if isinstance(found, PipeInput):
        raise _NotPossible("--dry-run needs an input that can be read twice: a file")

    async def make() -> None:
        async with client:
            plan = await make_plan(client, found, journal, make_lookup(options), prefix=_prefix(options))
        print_plan(plan, found, options)

    trio.run(make)
    return 0


@final
class _NumberedJournal:
    """A journal in which items have their positions in the whole input, whichever part of it this run has."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        return self._journal.lookup(key, request_hash)

    def start(
        self,
        key: str,
        request_hash: str,
        *,
        index: int,  # noqa: ARG002
        tag: object,
        custom_id: str | None = None,
    ) -> None:
        self._journal.start(key, request_hash, index=cast("Pending", tag).entry.index, custom_id=custom_id)

    def end(self, key: str, outcome: Outcome) -> None:
        pending = cast("Pending", outcome.tag)
        self._journal.end(key, msgspec.structs.replace(outcome, index=pending.entry.index, tag=None))

    @property
    def charges(self) -> tuple[ts.Charge, ...]:
        return self._journal.charges

    def partial(
        self,
        key: str,
        text: str,
        *,
        request_id: str | None = None,
        usage: Usage | None = None,
        charges: tuple[ts.Charge, ...] = (),
    ) -> None:
        self._journal.partial(key, text, request_id=request_id, usage=usage, charges=charges)

    @property
    def batches(self) -> BatchBook:
        return self._journal.batches

    def note_batch(self, record: Mapping[str, Any]) -> None:
        self._journal.note_batch(record)

    def end_started(self, item: StartedItem, outcome: Outcome) -> None:
        self._journal.end_started(item, outcome)

    def close(self) -> None:
        self._journal.close()


@final
class _Batch:
    """One run of the command. It also has the figures for the report afterwards."""

    def __init__(self, options: BatchOptions, client: ts.Client, found: Input, files: Files, output: Output) -> None:
        self._options = options
        self._client = client
        self._input = found
        self._files = files
        self._journal = files.journal
        self._output = output
        self._repetitions: dict[str, int] = {}
        self._results: FanOut | None = None
        self._interruptions = 0
        self._told = 0
        self._failure: Exception | None = None
        self._prices = make_lookup(options)
        self._tally = Tally(self._prices)
        self._prefix = _prefix(options)

    async def run(self) -> None:
        """Send all items, and write their answers."""
        options = self._options
        found = self._input
        items = self._items(found) if isinstance(found, FileInput) else _Items(self, found)
        limit = Adaptive() if options.concurrency is None else Adaptive(*options.concurrency)
        async with self._client:
            self._results = results = fan_out(
                self._client,
                items,
                limit=limit,
                limiter=HeaderRateLimiter(
                    requests_per_minute=options.rpm,
                    input_tokens_per_minute=options.itpm,
                    output_tokens_per_minute=options.otpm,
                ),
                journal=None if self._journal is None else _NumberedJournal(self._journal),
                max_errors=self._max_errors(),
                max_attempts=options.max_attempts,
                item_timeout=options.item_timeout,
                via="stream" if options.via == "stream" else ViaBatch(deadline=options.deadline),
                warmup=options.warmup,
                cache=options.cache,
                prompt_prefix=self._prefix,
                budget=Budget(output_tokens=options.max_output_tokens, cost=options.max_cost),
                prices=self._prices,
            )
            report = Report(lambda: results.stats, total=found.total, max_cost=options.max_cost)
            view = make_view(report, options.progress, stdout_used=options.output == "-")
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, view:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(view.run)
                    nursery.start_soon(self._hear, signals, results, view)
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

    def _max_errors(self) -> int | float | None:
        if self._options.on_error == "stop":
            return 0
        if self._options.max_errors is None:
            return None
        number, is_share = self._options.max_errors
        return number / 100 if is_share else int(number)

    def _items(self, found: FileInput) -> Iterator[Item]:
        yield from map(self.item, found.entries())
        self.no_more_items()

    def no_more_items(self) -> None:
        """All items have been taken: with ``--detach`` the batches are left now."""
        if self._options.detach and self._results is not None:
            self._results.detach()

    def item(self, entry: Entry) -> Item:
        """Make the item for a line."""
        digest = entry.hash
        key = entry.id
        if key is None:
            # The same line again wants another answer, so it gets another key.
            count = self._repetitions[digest] = self._repetitions.get(digest, 0) + 1
            key = digest if count == 1 else f"{digest}:{count}"
        return Item(entry.request, id=key, tag=Pending(entry=entry, key=key, hash=digest))

    def _take(self, outcome: Outcome, view: View) -> None:
        pending = cast("Pending", outcome.tag)
        self._tally.add(outcome)
        ended = outcome.status in ("ok", "cached", "error", "timeout")
        line = output_line(outcome, pending) if ended else None
        self._output.add(outcome.index, pending.key, line)
        if outcome.status in ("error", "timeout") and outcome.attempts and self._told < _NAMED:
            self._told += 1
            more = " (further ones are in the output)" if self._told == _NAMED else ""
            view.tell(f"item {pending.entry.index}: {outcome.error}{more}")

    async def _hear(self, signals: AsyncIterator[int], results: FanOut, view: View) -> None:
        async for number in signals:
            self._interruptions += 1
            # After a SIGTERM (from a scheduler, or at a shutdown) a SIGKILL follows soon, so there is no time to drain.
            if self._interruptions == 1 and self._options.via == "batch" and self._journal is not None:
                names = " ".join(batch.id for batch in results.batches if not batch.ended) or "none yet"
                view.tell(f"leaving the batches to go on ({names}), Ctrl-C again to cancel them")
                results.detach()
            elif self._interruptions == 1 and number == signal.SIGINT:
                streams = results.stats.live
                view.tell(f"finishing {streams} stream{'' if streams == 1 else 's'}, Ctrl-C again to abort")
                results.drain()
            else:
                view.tell("aborting: what has arrived is kept")
                results.abort()

    def exit_code(self) -> int:
        """Return the exit code of the run."""
        stats = self._stats()
        if self._input.fault is not None:
            complain("batch", str(self._input.fault))
            return USAGE if isinstance(self._input.fault, InputError) else FAILED
        if self._interruptions and not (stats.stopped is not None and stats.stopped.reason == "detach"):
            return INTERRUPTED
        if stats.stopped is not None and stats.stopped.reason == "detach":
            return self._detached(stats)
        if stats.stopped is not None:
            complain("batch", f"stopped: {stats.stopped}{_WHAT_NOW.get(stats.stopped.reason, '')}")
            return _STOPPED_CODES.get(stats.stopped.reason, FAILED)
        return ITEMS_FAILED if stats.errors + stats.timeouts else 0

    def _detached(self, stats: FanOutStats) -> int:
        """Say which batches go on."""
        assert self._results is not None
        if not stats.skipped:
            return ITEMS_FAILED if stats.errors + stats.timeouts else 0
        names = " ".join(batch.id for batch in self._results.batches if not batch.ended)
        complain("batch", f"not finished: the same command collects the batches {names or '(none yet)'}")
        return UNFINISHED

    def _stats(self) -> FanOutStats:
        assert self._results is not None
        return self._results.stats

    def _tell_of_the_cache(self) -> None:
        stats = self._stats()
        if self._options.cache is None or not stats.requests:
            return
        if stats.cache_useless:
            write_line(
                "cache: nothing was written or read: the prefix is too short (the least is 512 to 4,096 tokens, by the "
                "model), or this server has no prompt cache"
            )
        elif stats.cache_hits + stats.cache_misses == 0:
            write_line("cache: nothing is shared: give the prompts a --prefix or a --system")
        else:
            write_line(f"cache: {stats.cache_writes} written, {stats.cache_hits} read")

    def report(self, code: int) -> None:
        """Write what became of the run, on standard error, and the summary, if one was asked for."""
        stats = self._stats()
        if self._options.progress != "none":
            for line in self._tally.lines(stats, max_cost=self._options.max_cost):
                write_line(line)
            self._tell_of_the_cache()
        if self._files.summary is None:
            return
        figures: dict[str, Any] = {name: getattr(stats, name) for name in stats.__struct_fields__}
        for name in ("paused_until", "breaker_open", "unread", "live"):
            del figures[name]
        figures["stopped"] = None if stats.stopped is None else str(stats.stopped)
        figures["stop_reason"] = None if stats.stopped is None else stats.stopped.reason
        figures["seconds"] = round(stats.seconds, 3)
        figures |= self._tally.figures()
        figures["total"] = self._input.total
        figures["lines_written"] = self._output.written
        figures["rejected"] = 0 if self._files.rejects is None else self._files.rejects.count
        figures["exit_code"] = code
        try:
            data = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
            self._files.summary.write_bytes(data)
        except OSError as error:
            complain("batch", f"cannot write the summary: {error.strerror or error}")


@final
class _Items:
    """The items of an input that is read as it arrives."""

    def __init__(self, batch: _Batch, found: PipeInput) -> None:
        self._batch = batch
        self._found = found

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        try:
            entry = await self._found.__anext__()
        except StopAsyncIteration:
            self._batch.no_more_items()
            raise
        return self._batch.item(entry)
