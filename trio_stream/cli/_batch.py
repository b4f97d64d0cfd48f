"""``trio-stream batch``: many prompts, their answers in a file.

What belongs here: putting the parts together, and what keeps a run from beginning. What does not: the command line
(`_batch_commands`), the input (`_batch_input`), the run (`_batch_job`), its end (`_batch_ending`), the files
(`_batch_files`), and the work itself (`trio_stream.batch`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trio

import trio_stream as ts
from trio_stream._money import PriceLookup
from trio_stream._protocol import SAMPLING, SAMPLING_VERSION
from trio_stream._schemas import OutputType
from trio_stream.batch import JournalConflictError, JournalError
from trio_stream.cli._batch_asking import window
from trio_stream.cli._batch_check import Checker, FaultsError
from trio_stream.cli._batch_dry_run import make_plan, most_cost
from trio_stream.cli._batch_ending import exit_code, report
from trio_stream.cli._batch_files import Files
from trio_stream.cli._batch_input import FileInput, Input, PipeInput
from trio_stream.cli._batch_job import BatchJob
from trio_stream.cli._batch_journal import JobJournal
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_output import OutputError, TargetError
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_plan import print_plan
from trio_stream.cli._batch_prices import make_lookup, without_price
from trio_stream.cli._batch_progress import write_line
from trio_stream.cli._batch_recipe import Recipe
from trio_stream.cli._batch_rejects import RejectsError, RejectsFile
from trio_stream.cli._batch_report import mean_cost, opening
from trio_stream.cli._batch_sample import Sample
from trio_stream.cli._batch_variants import Variants
from trio_stream.cli._batch_work import Work
from trio_stream.cli._formats import place_of
from trio_stream.cli._input_text import InputError, read_text_file
from trio_stream.cli._open_rows import open_input
from trio_stream.cli._report import NoMatplotlibError, check_matplotlib, write_report
from trio_stream.cli._schema_file import read_schema
from trio_stream.cli._terminal import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    USAGE,
    complain,
    forget_stdout,
    one_line,
)


class _NotPossible(Exception):  # noqa: N818 - it is a sentence for people
    """The command cannot do what was asked. The message is shown to the user."""


class _PriceUnknownError(Exception):
    """What the items cost cannot be limited, as the prices of a model are not known."""


_USAGE_ERRORS: Final = (_NotPossible, InputError, TargetError, JournalConflictError, NoMatplotlibError)


def run(options: BatchOptions) -> int:
    """Run the command, and return its exit code."""
    try:
        with ExitStack() as stack:
            return _run(options, stack)
    except FaultsError as error:
        for sentence in error.sentences:
            complain("batch", sentence)
        return USAGE
    except (
        _NotPossible,
        InputError,
        TargetError,
        JournalConflictError,
        ts.CredentialsError,
        NoMatplotlibError,
    ) as error:
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
    if options.report is not None:
        check_matplotlib()
    live = ts.Live() if options.live else None
    client = _client(options, live)
    recipe = _recipe(options)
    files = Files(options)
    stack.callback(files.close)
    if options.dry_run:
        journal = files.open_journal(create=options.sample is not None)
        if options.sample is not None and journal is not None and journal.batches.open:
            raise JournalError(
                f"{journal.path} has message batches that are not collected: a sample would wait for them; "
                "the same command without --dry-run collects them",
                path=journal.path,
            )
        checker = Checker(recipe, journal, variants=_variants(options), dedupe=options.dedupe, unique_ids=False)
        found = _open_input(options, checker)
        stack.callback(found.close)
        return _dry_run(options, client, found, recipe, None if journal is None else JobJournal(journal, options.again))
    files.open_earlier()
    limits = files.output.limits if options.again.truncated and files.output is not None else ()
    checker = Checker(recipe, files.journal, variants=_variants(options), limits=limits)
    found = _open_input(options, checker, files.open_rejects())
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
    if files.table is not None and files.table.damaged:
        write_line(f"{files.table.name} is damaged: what cannot be read of it is written again from the journal")
    elif output.damaged:
        write_line(f"damaged lines of {output.path}: {output.damaged}, which are written again from the journal")
    job = BatchJob(
        options, client, found, recipe, files, output, live=live, opening=_opening(options, found, files, checker)
    )
    trio.run(job.run)
    files.finish()
    if isinstance(found, PipeInput):
        _tell_of_rejects(files)
    code = exit_code(job, found)
    if files.report is not None and files.journal is not None:  # before the summary, which has the exit code
        code = _write_report(files.journal.path, files.report, options, code)
    return report(job, options, found, files, output, code)


def _opening(options: BatchOptions, found: Input, files: Files, checker: Checker) -> str:
    known = checker.known if found.total is not None and options.sample is None else 0
    each = None
    if files.journal is not None and known:
        each = mean_cost(files.journal.charges, make_lookup(options))
    at_once = None if options.via == "batch" else window(options).maximum
    return opening(found.total, known=known, at_once=at_once, each=each, max_cost=options.max_cost)


def _write_report(journal: Path, output: Path, options: BatchOptions, code: int) -> int:
    """Write the page, and return the exit code: that of a failure where all else went well and this did not."""
    try:
        write_report(journal, output, make_lookup(options))
    except OSError as error:
        complain("batch", f"cannot write the report: {error.strerror or error}")
        return code or FAILED
    return code


def _open_input(options: BatchOptions, checker: Checker, rejects: RejectsFile | None = None) -> Input:
    part = Part(limit=options.limit, sample=None if options.dry_run else options.sample, shard=options.shard or (0, 1))
    place = place_of(options.input, options.format)
    return open_input(place, checker, part, rejects, table=options.table, query=options.query)


def _tell_of_rejects(files: Files) -> None:
    if files.rejects is not None and files.rejects.count:
        write_line(f"lines of the input that are left out: {files.rejects.count}; {files.rejects.path} has the reasons")


def _client(options: BatchOptions, live: ts.Live | None) -> ts.Client:
    url = options.base_url or os.environ.get("ANTHROPIC_BASE_URL") or "https://"
    if not url.startswith(("https://", "http://")):
        raise _NotPossible(f"the base URL is not valid: {one_line(url)!r}")
    more: dict[str, Any] = {} if live is None else {"instruments": [live]}
    if any(name in options.params for name in SAMPLING):
        more["anthropic_version"] = SAMPLING_VERSION  # the only one that has them
    clocks: dict[str, float] = {}
    if options.first_event_timeout is not None:
        clocks["first_event"] = options.first_event_timeout
    if options.silence_timeout is not None:
        clocks["silence"] = options.silence_timeout
    try:
        return ts.Client(base_url=options.base_url, timeout=ts.Timeouts(**clocks), **more)
    except ts.CredentialsError:
        raise
    except ValueError as error:
        raise _NotPossible(str(error)) from None


def _variants(options: BatchOptions) -> Variants:
    return Variants(options.models, options.repeat)


def _recipe(options: BatchOptions) -> Recipe:
    defaults: dict[str, Any] = {"model": options.model, "max_tokens": options.max_tokens, **options.params}
    if options.system is not None:
        defaults["system"] = _read_prompt(options.system, "system prompt")
    return Recipe(
        defaults,
        options.template,
        prefix=None if options.prefix is None else _read_prompt(options.prefix, "prefix"),
        output=None if options.schema is None else OutputType.of_schema(read_schema(Path(options.schema))),
    )


def _read_prompt(name: str, what: str) -> str:
    text = read_text_file(name).strip()
    if not text:
        raise _NotPossible(f"{name} has no {what}: it is empty")
    return text


def _dry_run(options: BatchOptions, client: ts.Client, found: Input, recipe: Recipe, journal: JobJournal | None) -> int:
    if isinstance(found, PipeInput):
        raise _NotPossible("--dry-run needs an input that can be read twice: a file")
    prices = make_lookup(options)
    tier = "batch" if options.via == "batch" else None

    async def make() -> None:
        measured = None
        async with client:
            if options.sample is not None:
                sample = Sample(found, options.sample, journal)
                most = await _most(client, sample, prices, recipe)
                write_line(sample.announcement(most, found.total or 0))
                measured = await sample.ask(client, options, recipe, prices, most=most)
            work = Work(found, journal, recipe, dedupe=options.dedupe)
            plan = await make_plan(client, found, work, prices, recipe, tier=tier)
        print_plan(plan, found.duplicates, options, measured)

    trio.run(make)
    return 0


async def _most(client: ts.Client, sample: Sample, prices: PriceLookup, recipe: Recipe) -> float | None:
    """Find out what the answers of a sample may cost at most; None if their prices are not known."""
    requests = [recipe.complete(dict(item.tag.entry.request)) for item in sample.unknown]
    return await most_cost(client, requests, prices)
