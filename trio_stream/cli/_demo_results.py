"""The report at the end of the demonstration: the gathered texts, their tokens and times, and where to go from here.

What belongs here: the report. What does not: the run (`_demo`), and how it looks while it runs (`_demo_views`).
"""

from __future__ import annotations

import os

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trio_stream.cli._demo_progress import Card, Progress
from trio_stream.cli._demo_views import KIND_STYLES, STATE_STYLES
from trio_stream.cli._terminal import printable

_MOST_TEXTS = 10
_MOST_ROWS = 20
_INDENT = "  "


def print_results(progress: Progress, console: Console, *, requests: int, left_open: int) -> None:
    """Print the report once all streams have ended."""
    for number, card in enumerate(progress.cards[:_MOST_TEXTS]):
        if number:
            console.print()
        _print_text(card, console)
    _print_more(progress, console, _MOST_TEXTS, "texts")
    console.print(_table(progress.cards[:_MOST_ROWS]))
    _print_more(progress, console, _MOST_ROWS, "streams")
    console.print(
        f"{requests} requests over {progress.server.accepted} connections in {progress.seconds:.1f} s; "
        f"{left_open or 'none'} of them {'is' if left_open < 2 else 'are'} still open.",
        highlight=False,
    )
    _print_next_steps(console)


def print_interrupted(progress: Progress, console: Console) -> None:
    """Print what became of the streams after Ctrl-C."""
    complete = progress.count_of("complete")
    console.print(
        f"Interrupted after {progress.seconds:.1f} s: {complete} answers were complete, "
        f"{len(progress.cards) - complete} were cut, and every connection is closed.",
        highlight=False,
    )


def _print_text(card: Card, console: Console) -> None:
    head = Text()
    head.append(card.prompt, "bold")
    head.append(f"  {card.state}", STATE_STYLES[card.state])
    if card.reason:
        head.append(f": {card.reason}", STATE_STYLES[card.state])
    console.print(head)
    for kind, pieces in card.parts:
        body = Text(printable("".join(pieces)).strip(), KIND_STYLES[kind])
        if kind == "text" and card.state == "cancelled":
            body.append("…")
        # Without rich's Padding, which would fill the lines with blanks, even in a file.
        for line in body.wrap(console, console.width - len(_INDENT)):
            line.rstrip()
            console.print(Text(_INDENT).append_text(line))


def _table(cards: list[Card]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("stream", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for name in ("first text", "in all", "tokens in", "out", "per second"):
        table.add_column(name, justify="right", no_wrap=True)
    for card in cards:
        seconds = card.seconds or 0.0
        counted = card.output_tokens > 0
        table.add_row(
            card.name,
            Text(card.state, STATE_STYLES[card.state]),
            "-" if card.first_text is None else f"{card.first_text:.2f} s",
            f"{seconds:.2f} s",
            str(card.input_tokens) if counted else "-",
            str(card.output_tokens) if counted else "-",
            f"{card.output_tokens / seconds:.0f}" if counted and seconds else "-",
        )
    return table


def _print_more(progress: Progress, console: Console, shown: int, what: str) -> None:
    more = len(progress.cards) - shown
    if more > 0:
        console.print(f"… and {more} more {what}", style="dim", highlight=False)
        console.print()


def _print_next_steps(console: Console) -> None:
    console.print()
    console.print("That was a scripted model, in this process. The real one:")
    if not os.environ.get("ANTHROPIC_API_KEY"):
        console.print("  export ANTHROPIC_API_KEY=sk-ant-...", style="bold", highlight=False)
    console.print('  trio-stream ask "Why are nurseries called nurseries?"', style="bold", highlight=False)
