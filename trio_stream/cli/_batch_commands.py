"""The command lines of ``trio-stream batch`` and ``trio-stream merge``: names, options, help.

What belongs here: reading these command lines. What does not: the notations of values (`_batch_values`), the options as
a value (`_batch_options`), and what the commands do (`_batch`, `_merge`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, cast

import click

from trio_stream.cli._arguments import Finite, name, text
from trio_stream.cli._batch_again import ALL
from trio_stream.cli._batch_options import MODEL, BatchOptions
from trio_stream.cli._batch_values import (
    read_concurrency,
    read_duration,
    read_failures,
    read_max_errors,
    read_models,
    read_params,
    read_prices,
    read_shard,
)
from trio_stream.cli._formats import NAMES
from trio_stream.cli._option_groups import GroupedCommand, options_under

_HELP = """Send many prompts at once, and write the answers to a file.

INPUT has a row for each item: a file of JSON lines (or .csv, .tsv, .parquet, all but Parquet also with .gz), a table
of an SQLite database (data.db::TABLE), or "-" for standard input. A row has "prompt" or "messages", optionally an "id",
and any other parameters of the API for this row; or it is a line of the Message Batches API ("custom_id" and "params");
or a JSON text alone. Other keys pass through to the output. All of a file is checked before anything is sent.

\b
  trio-stream batch prompts.jsonl -o answers.jsonl
  trio-stream batch texts.csv -o answers.csv --template 'Summarise: {text}' --max-cost 20
  trio-stream batch data.db::letters -o data.db::answers --template '{body}' --schema letter.json
  trio-stream batch prompts.jsonl -o out.parquet -m claude-sonnet-5-5 -m claude-haiku-5-5 --repeat 3
  trio-stream batch prompts.jsonl -o answers.jsonl --retry-errors=OverloadedError --retry-truncated

The output has one row for each item that was answered or failed. A journal (OUTPUT.journal) is kept beside it: in
whatever way the command was stopped, the same command continues where it was, and sends nothing again that has been
answered (`trio-stream status OUTPUT` tells how it stands). Ctrl-C finishes what is under way; Ctrl-C again aborts it,
and keeps what has arrived. An output that is a
table is written when the run ends; until then its rows are in OUTPUT.rows.

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
_FORMAT: Final = click.Choice(NAMES)

_input = options_under("Input")
_request = options_under("Requests")
_pace = options_under("Pace and retries")
_money = options_under("Money")
_output = options_under("Output")
_continued = options_under("Continuing a run")
_batches = options_under("Message batches")
_shown = options_under("What is shown")


@click.command(help=_HELP, cls=GroupedCommand)
@click.argument("input", metavar="INPUT")
@_input(
    "--format", type=_FORMAT, metavar="FORMAT", help=f"Of the input, where its name does not tell: {', '.join(NAMES)}."
)
@_input("--table", type=text, metavar="NAME", help="The table or view of an SQLite database.")
@_input("--query", type=text, metavar="SQL", help="A query in place of a table.")
@_input("--limit", type=_POSITIVE, metavar="N", help="Only the first N rows.")
@_input("--sample", type=_POSITIVE, metavar="N", help="Only N rows, always the same. With --dry-run: measure N.")
@_input(
    "--shard",
    callback=read_shard,
    metavar="I/N",
    help="Only part I of N of the input, counted from 0. Default: the task of a SLURM job array.",
)
@_input(
    "--skip-invalid",
    metavar="REJECTS",
    help="Leave out rows of the input that cannot be used, and write them to this file with the reasons.",
)
@_input("--dedupe", is_flag=True, help="Send equal requests once, and give the answer to each of their rows.")
@_request(
    "--model",
    "-m",
    "models",
    type=name,
    envvar="ANTHROPIC_MODEL",
    multiple=True,
    callback=read_models,
    default=(MODEL,),
    show_default=False,
    metavar="NAME",
    help="For rows that name none. Given several times, each of the models is asked; ids are then ID@NAME. Default: "
    f"ANTHROPIC_MODEL, or {MODEL}.",
)
@_request("--repeat", type=_POSITIVE, default=1, metavar="N", help="Ask N times; the ids are ID, ID#2, ID#3 ...")
@_request("--max-tokens", type=_POSITIVE, default=4096, show_default=True, metavar="N", help="For each answer.")
@_request("--system", metavar="FILE", help="A file with the system prompt.")
@_request("--prefix", metavar="FILE", help="A file with a text that leads every prompt, such as a document.")
@_request(
    "--template",
    type=text,
    metavar="TEXT",
    help="The prompt, with keys of the input in braces; {a.b} and {items.0.name} lead into objects and lists.",
)
@_request(
    "--param",
    "params",
    type=text,
    multiple=True,
    callback=read_params,
    metavar="KEY=VALUE",
    help="A parameter of all requests, as in temperature=0.2 or thinking.type=adaptive. VALUE is JSON, or else a text.",
)
@_request(
    "--schema",
    metavar="FILE",
    help='Ask for JSON that follows the JSON Schema in this file: "json" of each row. What does not fit has the status '
    '"invalid".',
)
@_request(
    "--cache",
    type=click.Choice(["5m", "1h"]),
    is_flag=False,
    flag_value="5m",
    help="Keep what all prompts share (--prefix, or else the system prompt, or else the tools) in the prompt cache, "
    "for so long after it was last read; 5m without a value. One item is started alone.",
)
@_request("--warmup", is_flag=True, help="Start one item alone, so that the others find the prompt cache filled.")
@_request("--base-url", metavar="URL", help="Use another server. Default: ANTHROPIC_BASE_URL.")
@_pace(
    "--concurrency",
    callback=read_concurrency,
    default="auto",
    show_default=True,
    metavar="auto|N|MIN-START-MAX",
    help="Streams at once. All but a single N adapt to the limits that the API tells.",
)
@_pace("--rpm", type=_POSITIVE, metavar="N", help="The most requests in any minute.")
@_pace("--itpm", type=_POSITIVE, metavar="N", help="The most input tokens per minute.")
@_pace("--otpm", type=_POSITIVE, metavar="N", help="The most output tokens per minute.")
@_pace("--max-attempts", type=_POSITIVE, default=8, show_default=True, metavar="N", help="For each item.")
@_pace(
    "--retry-invalid",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Of --schema: how many more times an item is sent whose answer does not fit.",
)
@_pace("--item-timeout", type=_SECONDS, metavar="SECONDS", help="For an item, retries included.")
@_pace("--first-event-timeout", type=_SECONDS, metavar="SECONDS", help="From the request to its first event.")
@_pace("--silence-timeout", type=_SECONDS, metavar="SECONDS", help="For any gap between two bytes.")
@_pace("--on-error", type=click.Choice(["continue", "stop"]), default="continue", show_default=True)
@_pace(
    "--max-errors",
    callback=read_max_errors,
    metavar="N|P%",
    help="Stop when more items have failed. Default: when the first ten fail with the same error.",
)
@_money("--max-cost", type=_DOLLARS, metavar="DOLLARS", help="Start nothing new beyond this; earlier runs count.")
@_money(
    "--max-output-tokens", type=_POSITIVE, metavar="N", help="Start nothing new beyond this, for all answers together."
)
@_money(
    "--price",
    callback=read_prices,
    multiple=True,
    metavar="[MODEL=]INPUT/OUTPUT[/READ]",
    help="Dollars per million tokens, as in 3/15. Default: the built-in prices.",
)
@_money(
    "--dry-run",
    is_flag=True,
    help="Send no message: count the tokens of a sample, and print cost, time and repeated ids. With --sample N: "
    "send N items, which costs money, and tell by their answers what the run costs; the run does not send them again.",
)
@_output(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    help='Where to write the answers; "-" for standard output, and data.db::TABLE for a table.',
)
@_output("--output-format", type=_FORMAT, metavar="FORMAT", help="Where its name does not tell.")
@_output(
    "--order",
    type=click.Choice(["input", "completion"]),
    default="completion",
    show_default=True,
    help="The order of the output.",
)
@_output("--journal", metavar="FILE", help='Default: OUTPUT.journal; none if the output is "-".')
@_output(
    "--fsync",
    type=click.Choice(["never", "group", "always"]),
    default="never",
    show_default=True,
    help="Also survive a power cut: all but the last second (group), or everything (always).",
)
@_continued(
    "--retry-errors",
    is_flag=False,
    flag_value=ALL,
    multiple=True,
    callback=read_failures,
    metavar="[CLASS]",
    help="Send items again that failed in an earlier run: all, or those that failed so. CLASS is a class of errors as "
    "in APITimeoutError, a type of the API's as in overloaded_error, a status as in 529 or invalid.",
)
@_continued(
    "--retry-truncated",
    is_flag=True,
    help="Send items again whose answer was cut at --max-tokens, which may be another one than before.",
)
@_continued(
    "--inflight",
    type=click.Choice(["retry", "skip", "partial"]),
    default="retry",
    show_default=True,
    help="Items that were under way when an earlier run died: send again, leave out, or take what had arrived.",
)
@_continued("--overwrite", is_flag=True, help="Start from scratch: discard output and journal.")
@_batches(
    "--via",
    type=click.Choice(["stream", "batch"]),
    default="stream",
    show_default=True,
    help="Stream each answer, or send message batches: half the price, within 24 hours.",
)
@_batches(
    "--deadline",
    callback=read_duration,
    metavar="DURATION",
    help="Of --via batch: stream what batches have not answered by then, as in 90m or 2h.",
)
@_batches("--detach", is_flag=True, help="Of --via batch: end once all items are in batches. Run it again to collect.")
@_shown(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "none"]),
    default="auto",
    show_default=True,
    help="On standard error.",
)
@_shown("--live", is_flag=True, help="On a terminal: a table of the calls under way too, the longest quiet first.")
@_shown("--summary", metavar="FILE", help="Write the figures of the run to this file, as JSON.")
@_shown(
    "--report",
    metavar="FILE",
    help="Draw how all runs of the job went, as one page of HTML (extra `report`), as trio-stream report does.",
)
def batch(**typed: Any) -> NoReturn:
    """Send many prompts at once, and write the answers to a file."""
    from trio_stream.cli._batch import run  # noqa: PLC0415 - the other commands need not load it

    options = BatchOptions(**typed)
    conflict = options.conflict()
    if conflict is not None:
        raise click.UsageError(conflict)
    sys.exit(run(options))


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
