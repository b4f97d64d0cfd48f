"""How the demonstration looks while it runs: panels on a terminal, lines elsewhere.

What belongs here: drawing. What does not: the state that is drawn (`_demo_progress`), and the report at the end
(`_demo_results`).
"""

from __future__ import annotations

import math
import sys
from types import TracebackType
from typing import Protocol, Self, final

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trio_stream.cli._demo_progress import RUNNING, Card, Kind, Progress, State
from trio_stream.cli._terminal import printable

_FRAME = 1 / 15
"""Seconds between two frames."""

STATE_STYLES: dict[State, str] = {
    "waiting": "dim",
    "thinking": "magenta",
    "writing": "cyan",
    "calling": "yellow",
    "complete": "green",
    "cancelled": "dark_orange",
    "failed": "red",
}
KIND_STYLES: dict[Kind, str] = {"thinking": "dim italic", "tool": "yellow", "text": ""}
_LEADS: dict[Kind, str] = {"thinking": "thinks: ", "tool": "tool: ", "text": ""}

_NARROWEST_PANEL = 34
_LOWEST_PANEL = 5
_HIGHEST_PANEL = 10
_NARROWEST_COLUMN = 26


class View(Protocol):
    """Something that shows a `Progress` while it is entered.

    Attributes:
      lingers: Whether the last picture should stay for a moment before it is left.
    """

    lingers: bool

    def __enter__(self) -> Self:
        """Start showing it."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    async def run(self) -> None:
        """Show the changes until cancelled."""

    def heard(self, card: Card, kind: Kind, piece: str) -> None:
        """Take note of a piece that has arrived."""

    def ended(self, card: Card) -> None:
        """Take note of the end of a stream."""


@final
class Panels:
    """A panel for each stream, or a line where there are too many, on the whole screen of a terminal."""

    lingers = True

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        # A task draws it; rich's own refreshing would be a thread.
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._live.stop()

    async def run(self) -> None:
        """Draw 15 frames a second."""
        while True:
            self._live.update(self.frame(), refresh=True)
            await trio.sleep(_FRAME)

    def heard(self, card: Card, kind: Kind, piece: str) -> None:
        """Do nothing: the next frame shows it."""

    def ended(self, card: Card) -> None:
        """Do nothing: the next frame shows it."""

    def frame(self) -> RenderableType:
        """Return the present picture."""
        width, height = self._console.size
        cards = self._progress.cards
        columns = 2 if width >= 2 * _NARROWEST_PANEL and len(cards) > 1 else 1
        panel_height = (height - 1) // math.ceil((len(cards) + 1) / columns)
        if panel_height < _LOWEST_PANEL:
            return Group(self._headline(), *self._lines(width, height - 1))
        panel_height = min(panel_height, _HIGHEST_PANEL)
        grid = Table.grid(expand=True)
        for _ in range(columns):
            grid.add_column(ratio=1)
        inner = width // columns - 4
        cells: list[RenderableType] = [self._panel(card, inner, panel_height) for card in cards]
        cells.append(self._overview(panel_height))
        for start in range(0, len(cells), columns):
            grid.add_row(*cells[start : start + columns])
        return Group(self._headline(), grid)

    def _headline(self) -> Text:
        count = len(self._progress.cards)
        headline = Text(no_wrap=True, overflow="ellipsis")
        headline.append(" trio-stream demo ", "bold")
        headline.append(f" {count} {'streams at once' if count > 1 else 'stream'} from a scripted model")
        headline.append("   Ctrl-C stops", "dim")
        return headline

    def _panel(self, card: Card, width: int, height: int) -> Panel:
        style = STATE_STYLES[card.state]
        lines = self._said(card).wrap(self._console, width)
        if card.reason:
            lines.extend(Text(f"{card.state}: {card.reason}", style).wrap(self._console, width))
        body = Text("\n").join(lines[-(height - 2) :])
        title = Text(card.prompt, "bold", no_wrap=True, overflow="ellipsis")
        title.truncate(max(8, width - 2), overflow="ellipsis")
        return Panel(
            body,
            title=title,
            title_align="left",
            subtitle=Text(_short_state(card), style),
            subtitle_align="right",
            border_style=style,
            height=height,
        )

    def _said(self, card: Card) -> Text:
        said = Text()
        for kind, pieces in card.parts:
            if said:
                said.append("\n")
            said.append(printable("".join(pieces)).strip(), KIND_STYLES[kind])
        if card.state in RUNNING:
            said.append("▌" if card.parts else "", STATE_STYLES[card.state])
        return said

    def _overview(self, height: int) -> Panel:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, fact in self._facts().items():
            facts.add_row(name, fact)
        return Panel(facts, title="all together", title_align="left", border_style="dim", height=height)

    def _facts(self) -> dict[str, str]:
        progress = self._progress
        counts = {"running": progress.count_of(*RUNNING)}
        for state in ("complete", "cancelled", "failed"):
            counts[state] = progress.count_of(state)
        facts = {
            "time": f"{progress.seconds:.1f} s",
            "streams": ", ".join(f"{count} {what}" for what, count in counts.items() if count),
        }
        if progress.client is not None:
            connections = progress.client.statistics()
            facts["connections"] = f"{connections.active} active, {connections.idle} idle"
        facts["text"] = f"{sum(card.characters for card in progress.cards):,} characters"
        facts["server"] = progress.server.base_url
        return facts

    def _lines(self, width: int, height: int) -> list[RenderableType]:
        cards = self._progress.cards
        room = max(1, height - 1)
        columns = max(1, min(math.ceil(len(cards) / room), width // _NARROWEST_COLUMN))
        rows = min(room, math.ceil(len(cards) / columns))
        shown = cards[: columns * rows]
        lines: list[RenderableType] = []
        for row in range(rows):
            line = Text(no_wrap=True, overflow="crop")
            for card in shown[row::rows]:
                line.append_text(self._line(card, width // columns))
            lines.append(line)
        facts = self._facts()
        footer = f" {facts['time']}  {facts['streams']}  {facts['text']}"
        if len(shown) < len(cards):
            footer = f" and {len(cards) - len(shown)} more {footer}"
        if height > 1:
            lines.append(Text(footer, "dim", no_wrap=True, overflow="ellipsis"))
        return lines

    def _line(self, card: Card, width: int) -> Text:
        line = Text(f" {'●' if card.state in RUNNING else '■'} ", STATE_STYLES[card.state])
        line.append(f"{card.name[:12]:<12} ", "bold")
        room = width - len(line.plain) - 1
        said = " ".join(printable(card.text).split())
        said = said if len(said) <= room else "…" + said[-(room - 1) :]
        line.append(said or card.state, "" if said else "dim")
        line.truncate(width - 1, pad=True)
        line.append(" ")
        return line


@final
class Lines:
    """Plain lines, each with the time and the stream's name, for pipes and files."""

    lingers = False
    _WIDTH = 80

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held: dict[str, tuple[Kind, str]] = {}
        self._name_width = max(len(card.name) for card in progress.cards)

    def __enter__(self) -> Self:
        _write(f"a scripted Messages API is served on {self._progress.server.base_url}, in this process\n")
        for card in self._progress.cards:
            self._print(card, f"asked: {card.prompt}")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Do nothing: the terminal was not changed."""

    async def run(self) -> None:
        """Wait until cancelled: `heard` and `ended` print the lines."""
        await trio.sleep_forever()

    def heard(self, card: Card, kind: Kind, piece: str) -> None:
        """Print the lines that have become full."""
        held_kind, held = self._held.get(card.name, (kind, ""))
        if held_kind != kind:
            self._flush(card)
            held = ""
        *whole, held = (held + printable(piece)).split("\n")
        for line in whole:
            self._held[card.name] = (kind, self._print_full(card, kind, line))
            self._flush(card)
        self._held[card.name] = (kind, self._print_full(card, kind, held))

    def ended(self, card: Card) -> None:
        """Print the rest of the text, and how the stream ended."""
        self._flush(card)
        how = _short_state(card)
        if card.state == "cancelled":
            how = f"cancelled: {card.reason} ({card.characters} characters kept)"
        elif card.state == "failed":
            how = f"failed: {card.reason}"
        self._print(card, self._print_full(card, "text", f"-- {how}"))

    def _print_full(self, card: Card, kind: Kind, text: str) -> str:
        """Print the full lines of a text, and return the rest of it."""
        text = text.lstrip()
        room = self._WIDTH - len(self._prefix(card)) - len(_LEADS[kind])
        while len(text) > room:
            cut = text.rfind(" ", 0, room + 1)
            cut = room if cut <= 0 else cut
            self._print(card, _LEADS[kind] + text[:cut].rstrip())
            text = text[cut:].lstrip()
        return text

    def _flush(self, card: Card) -> None:
        kind, held = self._held.pop(card.name, ("text", ""))
        if held.strip():
            self._print(card, _LEADS[kind] + held.rstrip())

    def _prefix(self, card: Card) -> str:
        return f"{self._progress.seconds:6.2f} s  {card.name:<{self._name_width}}  "

    def _print(self, card: Card, line: str) -> None:
        _write(f"{self._prefix(card)}{line}\n")


def _short_state(card: Card) -> str:
    facts: list[str] = [card.state]
    if card.state == "complete":
        facts.append(f"{card.output_tokens} tokens")
    if card.seconds is not None:
        facts.append(f"{card.seconds:.1f} s")
    elif card.first_text is not None:
        facts.append(f"first text {card.first_text:.2f} s")
    return ", ".join(facts)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
