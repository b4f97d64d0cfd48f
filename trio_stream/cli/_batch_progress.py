"""The progress of ``trio-stream batch``, as it is shown on standard error.

What belongs here: the words and the views. What does not: counting (`trio_stream.batch`).
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Protocol, Self, final

import trio
from rich.console import Console, Group, RenderableType
from rich.text import Text

import trio_stream as ts
from trio_stream.batch import FanOutStats
from trio_stream.cli._batch_live import live_view
from trio_stream.cli._canvas import Canvas
from trio_stream.cli._figures import count, duration
from trio_stream.cli._terminal import is_terminal, one_line

PLAIN_SECONDS: Final = 10.0
"""The time between two lines."""

_RICH_SECONDS: Final = 0.2
_LIVE_SECONDS: Final = 0.5
_TOLD: Final = 4
"""How many of the sentences that were told are seen while there is the table. All of them are printed after it."""
_BAR: Final = 60
_WIDEST: Final = 78
"""The longest lines that are drawn, so that most terminals can become narrower without wrapping one."""
_SEPARATOR: Final = " · "
_RATE_SECONDS: Final = 60.0
"""How far back the estimate of the remaining time looks."""


def ended(stats: FanOutStats) -> int:
    """Return how many items have ended, well or not. Those skipped or cancelled are left for another run."""
    return stats.done - stats.skipped - stats.cancelled


@final
class Report:
    """Describes the progress of a run in words.

    Args:
      stats: A function that returns the present figures.
      total: How many items there are; None if that is not known.
      max_cost: The budget, in dollars; None without one.
    """

    def __init__(self, stats: Callable[[], FanOutStats], *, total: int | None, max_cost: float | None) -> None:
        self.stats = stats
        self.total = total
        self._max_cost = max_cost
        self._samples: deque[tuple[float, int]] = deque()

    def eta(self, stats: FanOutStats) -> float | None:
        """Estimate the seconds to the end, at the pace of the last minute; None if that is not possible yet."""
        asked = ended(stats) - stats.cached
        self._samples.append((stats.seconds, asked))
        while stats.seconds - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        began, done_then = self._samples[0]
        if self.total is None or asked == done_then or stats.seconds <= began:
            return None
        return (self.total - ended(stats)) * (stats.seconds - began) / (asked - done_then)

    def line(self) -> str:
        """Return the progress as one line."""
        return _SEPARATOR.join(self.facts(self.stats()))

    def rows(self, width: int) -> list[str]:
        """Return the progress as lines no longer than ``width``, broken between two facts."""
        rows = [""]
        for fact in self.facts(self.stats()):
            longer = f"{rows[-1]}{_SEPARATOR}{fact}" if rows[-1] else fact
            if rows[-1] and len(longer) > width:
                rows.append(fact)
            else:
                rows[-1] = longer
        return rows

    def facts(self, stats: FanOutStats) -> list[str]:
        """Return the facts that make up a line."""
        errors = stats.errors + stats.timeouts + stats.invalid
        tokens = stats.input_tokens + stats.cache_read_tokens + stats.cache_write_tokens
        in_batches = f"{stats.queued} in batches"
        facts = [
            f"done {ended(stats)}" if self.total is None else f"done {ended(stats)}/{self.total}",
            in_batches if stats.queued else f"{stats.in_flight} in flight (window {stats.window})",
            f"{errors} error{'' if errors == 1 else 's'}",
            f"cached {stats.cached}",
            f"in {count(tokens)} out {count(stats.output_tokens)} tok",
        ]
        if stats.cost is not None:
            # A budget counts what earlier runs spent.
            counted = stats.cost if self._max_cost is None else stats.cost + (stats.cost_before or 0.0)
            facts.append(f"${counted:.2f}" + ("" if self._max_cost is None else f" of ${self._max_cost:g}"))
        facts += [f"429 {stats.refused}", f"529 {stats.overloaded}"]
        if stats.paused_until is not None:
            facts.append(f"paused {max(0.0, stats.paused_until - trio.current_time()):.0f} s")
        if stats.breaker_open:
            facts.append("overloaded, probing")
        eta = self.eta(stats)
        if eta is not None and stats.in_flight:
            facts.append(f"ETA {duration(eta)}")
        return facts


class View(Protocol):
    """Something that shows the progress of a run. Use it as a context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...
    async def run(self) -> None:
        """Show the progress until cancelled."""

    def tell(self, sentence: str) -> None:
        """Show a sentence at once."""


def make_view(
    report: Report,
    kind: Literal["auto", "rich", "plain", "none"],
    *,
    stdout_used: bool,
    live: ts.Live | None = None,
) -> View:
    """Make the view for a run.

    Args:
      report: What to show.
      kind: The kind of view that was asked for.
      stdout_used: Whether answers go to standard output. If that is a terminal, and standard error is one too, nothing
        is shown between them but what has to be told.
      live: What to show of the calls under way, on a terminal; None for nothing.
    """
    beside_answers = stdout_used and sys.stdout.isatty() and sys.stderr.isatty()
    if kind == "auto":
        kind = "rich" if is_terminal(sys.stderr) and not beside_answers else "plain"
        if kind == "plain" and live is not None:
            write_line("--live needs a terminal of its own: lines instead")
    if kind == "rich":
        return Drawn(report, Console(file=sys.stderr), live)
    return Lines(report, quiet=kind == "none", now_and_then=not beside_answers)


def write_line(text: str) -> None:
    """Write a line to standard error. A reader that went away is ignored."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


@final
class Lines:
    """Plain lines: one every few seconds, and one at the end."""

    def __init__(
        self, report: Report, *, quiet: bool, now_and_then: bool = True, seconds: float = PLAIN_SECONDS
    ) -> None:
        self._report = report
        self._now_and_then = now_and_then
        self._quiet = quiet
        self._seconds = seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if not self._quiet:
            write_line(self._report.line())

    async def run(self) -> None:
        """Write lines until cancelled."""
        while True:
            await trio.sleep(self._seconds)
            if not self._quiet and self._now_and_then:
                write_line(self._report.line())

    def tell(self, sentence: str) -> None:
        """Write a sentence."""
        if not self._quiet:
            write_line(sentence)


@final
class Drawn:
    """A bar and a line at the bottom of a terminal, and the calls under way if that is wanted."""

    def __init__(self, report: Report, console: Console, live: ts.Live | None = None) -> None:
        self._report = report
        self._canvas = Canvas(console, whole=live is not None)
        self._live = live
        self._told: deque[str] = deque(maxlen=_TOLD)

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._canvas.begin()
        self._draw()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._live = None  # nothing is under way any more
        with contextlib.suppress(OSError):
            self._canvas.leave_screen()
        self._draw()
        with contextlib.suppress(OSError):
            self._canvas.finish()

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            await trio.sleep(_RICH_SECONDS if self._live is None else _LIVE_SECONDS)
            self._draw()

    def tell(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        line = one_line(sentence)
        self._told.append(line)
        with contextlib.suppress(OSError):
            self._canvas.print_above(line)
        self._draw()

    def _draw(self) -> None:
        width = min(self._canvas.width, _WIDEST)
        lines: list[RenderableType] = [Text(row) for row in self._report.rows(width)]
        total = self._report.total
        if total:
            full = min(_BAR, width)
            done = min(full, full * ended(self._report.stats()) // total)
            # Two characters, so that it can be read without colours too.
            lines.insert(0, Text.assemble(("━" * done, "green"), ("┄" * (full - done), "bright_black")))
        if self._live is not None:
            lines[:0] = [Text(told) for told in self._told]
            lines.append(live_view(self._live.snapshot(), height=self._canvas.height - len(lines)))
        with contextlib.suppress(OSError):
            self._canvas.draw(Group(*lines))
