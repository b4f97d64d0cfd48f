"""The command lines of ``trio-stream status``, ``compact`` and ``report``: names, options, help.

What belongs here: reading these command lines. What does not: what the commands do (`_status`, `_compact`, `_report`).
"""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click

from trio_stream._money import Prices
from trio_stream.cli._batch_values import read_prices

_STATUS_HELP: Final = """Say how a run stands, or how it ended, without running anything.

OUT is the output of `trio-stream batch`, or its journal. What is told is of all runs of the job together: items that
are done, failed, without a value, unfinished; tokens and cost; message batches that go on; whether a run has it open
now, and what to run next. A run may be writing it at the same time.

\b
  trio-stream status answers.jsonl
  trio-stream status data.db::answers --json

Exit status: 0; 2 if there is no journal.
"""

_COMPACT_HELP: Final = """Make a journal smaller: one record for each item, and what everything was charged for.

OUT is the output of `trio-stream batch`, or its journal. The next run goes on as it would have. It is refused while a
run has the journal open, and while message batches are not collected.

\b
  trio-stream compact answers.jsonl

Exit status: 0; 1 if it cannot be written; 2 if there is no journal, or it cannot be compacted now.
"""

_REPORT_HELP: Final = """Draw how a run went: one page of HTML that needs no other file and no network.

OUT is the output of `trio-stream batch`, or its journal. The page has throughput, latency, tokens and cost over time,
errors by class, and the slowest items. It needs matplotlib: pip install 'trio-stream[report]'.

\b
  trio-stream report answers.jsonl -o report.html

Exit status: 0; 1 if the page cannot be written; 2 if there is no journal, or matplotlib is missing.
"""

_price: Final = click.option(
    "--price",
    callback=read_prices,
    multiple=True,
    metavar="[MODEL=]INPUT/OUTPUT[/READ]",
    help="Dollars per million tokens, as in 3/15. Default: the built-in prices.",
)


@click.command(help=_STATUS_HELP)
@click.argument("out", metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@_price
def status(*, out: str, as_json: bool, price: tuple[tuple[str, Prices], ...]) -> NoReturn:
    """Say how a run stands, without running anything."""
    from trio_stream.cli._status import run  # noqa: PLC0415 - the other commands need not load it

    sys.exit(run(out, as_json=as_json, prices=price))


@click.command(help=_COMPACT_HELP)
@click.argument("out", metavar="OUT")
def compact(*, out: str) -> NoReturn:
    """Make a journal smaller."""
    from trio_stream.cli._compact import run  # noqa: PLC0415

    sys.exit(run(out))


@click.command(help=_REPORT_HELP)
@click.argument("out", metavar="OUT")
@click.option("--output", "-o", required=True, metavar="FILE", help="Where to write the page.")
@_price
def report(**typed: Any) -> NoReturn:
    """Draw how a run went, as one page of HTML."""
    from trio_stream.cli._report import run  # noqa: PLC0415

    sys.exit(run(typed["out"], output=typed["output"], prices=typed["price"]))
