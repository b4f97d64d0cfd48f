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
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from trio_stream.batch import FanOutStats
from trio_stream.cli._terminal import is_terminal, one_line

PLAIN_SECONDS: Final = 10.0
"""The time between two lines."""

_RICH_SECONDS: Final = 0.2
_BAR: Final = 60
_SEPARATOR: Final = " · "
_RATE_SECONDS: Final = 60.0
"""How far back the estimate of the remaining time looks."""


def count(number: float) -> str:
    """Write a number of tokens in a short form."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            size = number / limit
            return f"{size:.1f}{unit}" if size < 10 else f"{size:.0f}{unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Write a duration in a short form."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} m"
    return f"{seconds / 3600:.1f} h"


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


def make_view(report: Report, kind: Literal["auto", "rich", "plain", "none"], *, stdout_used: bool) -> View:
    """Make the view for a run.

    Args:
      report: What to show.
      kind: The kind of view that was asked for.
      stdout_used: Whether answers go to standard output. If that is a terminal too, nothing may be drawn over them.
    """
    if kind == "auto":
        terminal = is_terminal(sys.stderr) and not (stdout_used and sys.stdout.isatty())
        kind = "rich" if terminal else "plain"
    if kind == "rich":
        return Drawn(report, Console(file=sys.stderr))
    return Lines(report, quiet=kind == "none")


def write_line(text: str) -> None:
    """Write a line to standard error. A reader that went away is ignored."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


@final
class Lines:
    """Plain lines: one every few seconds, and one at the end."""

    def __init__(self, report: Report, *, quiet: bool, seconds: float = PLAIN_SECONDS) -> None:
        self._report = report
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
            if not self._quiet:
                write_line(self._report.line())

    def tell(self, sentence: str) -> None:
        """Write a sentence."""
        if not self._quiet:
            write_line(sentence)


@final
class Drawn:
    """A bar and a line at the bottom of a terminal."""

    def __init__(self, report: Report, console: Console) -> None:
        self._report = report
        self._console = console
        # Without a thread that draws: `run` does that.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._draw()
            self._live.stop()

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            await trio.sleep(_RICH_SECONDS)
            with contextlib.suppress(OSError):
                self._draw()

    def tell(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        with contextlib.suppress(OSError):
            self._console.print(Text(one_line(sentence)))
            self._draw()

    def _draw(self) -> None:
        width = max(1, self._console.width - 1)
        lines = [Text(row, no_wrap=True, overflow="crop") for row in self._report.rows(width)]
        total = self._report.total
        if total:
            full = min(_BAR, width)
            done = min(full, full * ended(self._report.stats()) // total)
            lines.insert(0, Text.assemble(("━" * done, "green"), ("━" * (full - done), "bright_black")))
        self._live.update(Group(*lines), refresh=True)
