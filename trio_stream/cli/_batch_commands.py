"""The command lines of ``trio-stream batch`` and ``trio-stream merge``: names, options, help.

What belongs here: reading these command lines. What does not: the options as a value (`_batch_options`), and what the
commands do (`_batch`, `_merge`).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, cast

import click

from trio_stream._money import Prices
from trio_stream.cli._arguments import Finite, name, text
from trio_stream.cli._batch_options import MODEL, BatchOptions


def _read_concurrency(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int, int] | None:
    """Read minimum, start and maximum from ``N`` or ``MIN-START-MAX``; None for ``auto``."""
    if value == "auto":
        return None
    numbers = value.split("-")
    if all(number.isascii() and number.isdigit() and len(number) < 7 for number in numbers):
        counts = [int(number) for number in numbers]
        if len(counts) == 1 and counts[0] > 0:
            return (counts[0], counts[0], counts[0])
        if len(counts) == 3 and 0 < counts[0] <= counts[1] <= counts[2]:
            return (counts[0], counts[1], counts[2])
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a number nor MIN-START-MAX as in 2-8-100", ctx, param)


def _read_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    from trio_stream.cli._batch_part import parse_shard, shard_of_job_array  # noqa: PLC0415
    from trio_stream.cli._input_text import InputError  # noqa: PLC0415

    try:
        return shard_of_job_array(os.environ) if value is None else parse_shard(value)
    except InputError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _read_max_errors(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, bool] | None:
    """Read a number of errors (then the second value is False) or a percentage (True)."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(%?)", value.strip())
    if match is None or (not match[2] and "." in match[1]) or (match[2] and float(match[1]) > 100):
        raise click.BadParameter(f"{value!r} is neither a number nor a percentage", ctx, param)
    return (float(match[1]), bool(match[2]))


def _read_prices(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Prices], ...]:
    """Read prices from ``[MODEL=]INPUT/OUTPUT[/READ]``. Those without a model are for all models."""
    return tuple(_read_price(ctx, param, value) for value in values)


def _read_price(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, Prices]:
    model, _, figures = value.rpartition("=")
    try:
        numbers = [float(number) for number in figures.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number <= 1e6 for number in numbers):
        raise click.BadParameter(
            f"{value!r} is not INPUT/OUTPUT or INPUT/OUTPUT/READ, dollars per million tokens, as in 3/15, perhaps with "
            "the model before it, as in MODEL=3/15",
            ctx,
            param,
        )
    read = numbers[2] if len(numbers) == 3 else None
    return model, Prices(input=numbers[0], output=numbers[1], cache_read=read, model=model)


_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a duration such as ``2h``; a number alone is seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smh]?)", value.strip())
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2] or "s"]
    if not seconds > 0:
        raise click.BadParameter(f"{value!r} is not a duration, as in 90m or 2h", ctx, param)
    return seconds


_HELP = """Send many prompts at once, and write the answers to a file.

INPUT is a file of JSON lines, or "-" for standard input. A line is a text; or an object with "prompt" or "messages",
optionally an "id", and any other parameters of the API for this line; or a line of the Message Batches API ("custom_id"
and "params"). Other keys pass through to the output. All of a file is checked before anything is sent.

\b
  trio-stream batch prompts.jsonl -o answers.jsonl
  trio-stream batch texts.jsonl -o out.jsonl --template 'Summarise: {text}' --max-cost 20

The output has one line for each item that was answered or failed. A journal (OUTPUT.journal) is kept beside it: in
whatever way the command was stopped, the same command continues where it was, and sends nothing again that has been
answered. Ctrl-C finishes what is under way; Ctrl-C again aborts it, and keeps what has arrived.

With --via batch the items are sent as message batches, at half the price and within 24 hours. Ctrl-C then leaves the
batches to go on, and the same command collects them; Ctrl-C again cancels them.

Exit status: 0; 1 if the API refuses the key, if the first ten items all fail with the same error, or if output or
journal cannot be used; 2 if the command line, the environment or the input is wrong; 3 if it finished but items failed,
or if --max-errors stopped it; 4 if a budget or a spend limit stopped it; 5 if it left batches that go on, or the API
was out of order for so long that it stopped; 130 after Ctrl-C.
"""

_POSITIVE: Final = click.IntRange(min=1)
_SECONDS: Final = Finite(min=0, min_open=True)
_DOLLARS: Final = Finite(min=0, min_open=True)


@click.command(help=_HELP)
@click.argument("input", metavar="INPUT")
@click.option(
    "--output", "-o", required=True, metavar="FILE", help='Where to write the answers; "-" for standard output.'
)
@click.option("--journal", metavar="FILE", help='Default: OUTPUT.journal; none if the output is "-".')
@click.option("--model", "-m", type=name, envvar="ANTHROPIC_MODEL", default=MODEL, show_default=True, metavar="NAME")
@click.option("--max-tokens", type=_POSITIVE, default=4096, show_default=True, metavar="N", help="For each answer.")
@click.option("--system", metavar="FILE", help="A file with the system prompt.")
@click.option("--template", type=text, metavar="TEXT", help="The prompt, with keys of the input in braces.")
@click.option(
    "--concurrency",
    callback=_read_concurrency,
    default="auto",
    show_default=True,
    metavar="auto|N|MIN-START-MAX",
    help="Streams at once. All but a single N adapt to the limits that the API tells.",
)
@click.option("--rpm", type=_POSITIVE, metavar="N", help="The most requests in any minute.")
@click.option("--itpm", type=_POSITIVE, metavar="N", help="The most input tokens per minute.")
@click.option("--otpm", type=_POSITIVE, metavar="N", help="The most output tokens per minute.")
@click.option("--max-attempts", type=_POSITIVE, default=8, show_default=True, metavar="N", help="For each item.")
@click.option(
    "--via",
    type=click.Choice(["stream", "batch"]),
    default="stream",
    show_default=True,
    help="Stream each answer, or send message batches: half the price, within 24 hours.",
)
@click.option(
    "--deadline",
    callback=_read_duration,
    metavar="DURATION",
    help="Of --via batch: stream what batches have not answered by then, as in 90m or 2h.",
)
@click.option(
    "--detach", is_flag=True, help="Of --via batch: end once all items are in batches. Run it again to collect."
)
@click.option("--item-timeout", type=_SECONDS, metavar="SECONDS", help="For an item, retries included.")
@click.option("--first-event-timeout", type=_SECONDS, metavar="SECONDS", help="From the request to its first event.")
@click.option("--silence-timeout", type=_SECONDS, metavar="SECONDS", help="For any gap between two bytes.")
@click.option("--max-cost", type=_DOLLARS, metavar="DOLLARS", help="Start nothing new beyond this; earlier runs count.")
@click.option(
    "--max-output-tokens", type=_POSITIVE, metavar="N", help="Start nothing new beyond this, for all answers together."
)
@click.option(
    "--price",
    callback=_read_prices,
    multiple=True,
    metavar="[MODEL=]INPUT/OUTPUT[/READ]",
    help="Dollars per million tokens, as in 3/15. Default: the built-in prices.",
)
@click.option("--warmup", is_flag=True, help="Start one item alone, so that the others find the prompt cache filled.")
@click.option(
    "--cache",
    type=click.Choice(["5m", "1h"]),
    is_flag=False,
    flag_value="5m",
    help="Keep what all prompts share (--prefix, or else the system prompt, or else the tools) in the prompt cache, "
    "for so long after it was last read; 5m without a value. One item is started alone.",
)
@click.option("--prefix", metavar="FILE", help="A file with a text that leads every prompt, such as a document.")
@click.option(
    "--shard",
    callback=_read_shard,
    metavar="I/N",
    help="Only part I of N of the input, counted from 0. Default: the task of a SLURM job array.",
)
@click.option("--limit", type=_POSITIVE, metavar="N", help="Only the first N items.")
@click.option("--sample", type=_POSITIVE, metavar="N", help="Only N items, always the same.")
@click.option("--retry-errors", is_flag=True, help="Send items again that failed in an earlier run.")
@click.option(
    "--inflight",
    type=click.Choice(["retry", "skip", "partial"]),
    default="retry",
    show_default=True,
    help="Items that were under way when an earlier run died: send again, leave out, or take what had arrived.",
)
@click.option("--overwrite", is_flag=True, help="Start from scratch: discard output and journal.")
@click.option(
    "--skip-invalid",
    metavar="REJECTS",
    help="Leave out lines of the input that cannot be used, and write them to this file with the reasons.",
)
@click.option(
    "--fsync",
    type=click.Choice(["never", "group", "always"]),
    default="never",
    show_default=True,
    help="Also survive a power cut: all but the last second (group), or everything (always).",
)
@click.option("--on-error", type=click.Choice(["continue", "stop"]), default="continue", show_default=True)
@click.option(
    "--max-errors",
    callback=_read_max_errors,
    metavar="N|P%",
    help="Stop when more items have failed. Default: when the first ten fail with the same error.",
)
@click.option(
    "--order",
    type=click.Choice(["input", "completion"]),
    default="completion",
    show_default=True,
    help="The order of the output.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Send no message: count the tokens of a sample, and print cost, time and repeated ids.",
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "none"]),
    default="auto",
    show_default=True,
    help="On standard error.",
)
@click.option("--summary", metavar="FILE", help="Write the figures of the run to this file, as JSON.")
@click.option("--base-url", metavar="URL", help="Use another server. Default: ANTHROPIC_BASE_URL.")
def batch(**typed: Any) -> NoReturn:
    """Send many prompts at once, and write the answers to a file."""
    from trio_stream.cli._batch import run  # noqa: PLC0415 - the other commands need not load it

    if typed["via"] == "batch":
        if typed["item_timeout"] is not None:
            raise click.UsageError("--item-timeout is for streams: a batch takes as long as it does, up to 24 hours")
        if typed["detach"] and typed["output"] == "-" and typed["journal"] is None:
            raise click.UsageError("--detach needs a journal to find the batches again by: give --output or --journal")
    elif typed["deadline"] is not None or typed["detach"]:
        raise click.UsageError("--deadline and --detach are for --via batch")
    sys.exit(run(BatchOptions(**typed)))


_MERGE_HELP = """Make one file of several: of shards, or of runs that were made apart.

Takes outputs of `trio-stream batch`, or journals; all of one kind. An item that is in several files is written once:
its answer rather than its error, the earlier rather than the later. An id with different requests is a conflict: the
one from the first file is kept, and the conflict is reported.

\b
  trio-stream merge answers-*.jsonl -o answers.jsonl

Exit status: 0; 1 if the output cannot be written; 2 if it cannot do what was asked; 3 if there were conflicts.
"""


@click.command(help=_MERGE_HELP)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--output", "-o", required=True, metavar="FILE", help='Where to write the result; "-" for standard output.'
)
@click.option(
    "--order",
    type=click.Choice(["input", "completion"]),
    default="input",
    show_default=True,
    help="The order of the output.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def merge(*, files: tuple[str, ...], output: str, order: str, overwrite: bool) -> NoReturn:
    """Make one file of several."""
    from trio_stream.cli._merge import run  # noqa: PLC0415

    wanted = cast("Literal['input', 'completion']", order)
    sys.exit(run([Path(file) for file in files], output=output, order=wanted, overwrite=overwrite))
