"""How a run of ``trio-stream batch`` ends: its exit status, the report, and the summary.

What belongs here: the exit codes, and what is said at the end. What does not: counting (`_batch_report`), and errors
that keep a run from beginning (`_batch`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import Any, Final

import msgspec

from trio_stream.batch import FanOutStats
from trio_stream.cli._batch_files import Files
from trio_stream.cli._batch_input import Input
from trio_stream.cli._batch_job import BatchJob
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_output import Output
from trio_stream.cli._batch_progress import ended, write_line
from trio_stream.cli._input_text import InputError
from trio_stream.cli._next_step import Standing, next_steps
from trio_stream.cli._terminal import FAILED, INTERRUPTED, USAGE, complain

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


def exit_code(job: BatchJob, found: Input) -> int:
    """Say why a run ended, where that is not plain, and return the exit code."""
    stats = job.stats
    stopped = stats.stopped
    failed = stats.errors + stats.timeouts + stats.invalid
    if found.fault is not None:
        complain("batch", str(found.fault))
        return USAGE if isinstance(found.fault, InputError) else FAILED
    if stopped is not None and stopped.reason == "detach":
        return _detached(job, failed=failed)
    if job.interruptions:
        return INTERRUPTED
    if stopped is not None:
        complain("batch", f"stopped: {stopped}{_WHAT_NOW.get(stopped.reason, '')}")
        return _STOPPED_CODES.get(stopped.reason, FAILED)
    return ITEMS_FAILED if failed else 0


def _detached(job: BatchJob, *, failed: int) -> int:
    """Say which batches go on."""
    if not job.stats.skipped:
        return ITEMS_FAILED if failed else 0
    names = " ".join(batch.id for batch in job.results.batches if not batch.ended)
    complain("batch", f"not finished: the same command collects the batches {names or '(none yet)'}")
    return UNFINISHED


def report(job: BatchJob, options: BatchOptions, found: Input, files: Files, output: Output, code: int) -> int:
    """Write what became of a run, on standard error, and the summary, if one was asked for.

    Args:
      job: The run.
      options: Its options.
      found: Its input.
      files: Its files.
      output: Its output.
      code: The exit code so far.

    Returns:
      The exit code: that of a failure where all else went well and the summary cannot be written.
    """
    if options.progress != "none":
        for line in job.tally.lines(job.stats, max_cost=options.max_cost):
            write_line(line)
        if job.results.gone_batches:
            names = " ".join(job.results.gone_batches)
            write_line(f"message batches that somebody has deleted, and whose items were asked again: {names}")
        if options.cache is not None and job.stats.requests:
            write_line(f"cache: {_cache(job.stats)}")
        if job.same is not None and job.same.given:
            write_line(f"equal requests: {job.same.given} rows have the answer of another one")
        for step in _next_steps(job, options, found, files):
            write_line(f"next: {step}")
    if files.summary is not None:
        figures = _figures(job.stats) | job.tally.figures()
        figures["total"] = found.total
        figures["lines_written"] = output.written
        figures["rejected"] = 0 if files.rejects is None else files.rejects.count
        figures["deduplicated"] = 0 if job.same is None else job.same.given
        figures["gone_batches"] = job.results.gone_batches
        figures["exit_code"] = code
        if not _write_summary(files.summary, figures):
            return code or FAILED
    return code


def _next_steps(job: BatchJob, options: BatchOptions, found: Input, files: Files) -> list[str]:
    """Say what to run next, where there is something that a run can go on from."""
    stats = job.stats
    if files.journal is None or (stats.stopped is not None and stats.stopped.reason == "detach"):
        return []
    if found.total is None:
        left = stats.skipped + stats.cancelled
    else:
        left = found.total - ended(stats) - (0 if job.same is None else job.same.given)
    failed = stats.errors + stats.timeouts + stats.invalid
    steps = next_steps(Standing(left=left, failed=failed, cut=job.tally.truncated))
    if steps:
        where = files.journal.path if options.output == "-" else options.output
        steps.append(f"trio-stream status {shlex.quote(str(where))} tells how it stands")
    return steps


def _cache(stats: FanOutStats) -> str:
    if stats.cache_useless:
        return (
            "nothing was written or read: the prefix is too short (the least is 512 to 4,096 tokens, by the "
            "model), or this server has no prompt cache"
        )
    if stats.cache_hits + stats.cache_misses == 0:
        return "nothing is shared: give the prompts a --prefix or a --system"
    return f"{stats.cache_writes} written, {stats.cache_hits} read"


def _figures(stats: FanOutStats) -> dict[str, Any]:
    figures: dict[str, Any] = {name: getattr(stats, name) for name in stats.__struct_fields__}
    for name in ("paused_until", "breaker_open", "unread", "live"):
        del figures[name]
    figures["stopped"] = None if stats.stopped is None else str(stats.stopped)
    figures["stop_reason"] = None if stats.stopped is None else stats.stopped.reason
    figures["seconds"] = round(stats.seconds, 3)
    return figures


def _write_summary(path: Path, figures: dict[str, Any]) -> bool:
    """Write the summary, and return whether it was written."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    except OSError as error:
        complain("batch", f"cannot write the summary: {error.strerror or error}")
        if path.is_file():  # half of a summary is none, and so the next run would refuse to replace it
            with contextlib.suppress(OSError):
                os.truncate(path, 0)
        return False
    return True
