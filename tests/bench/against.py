"""Two versions of this library in one run: ``python -m tests.bench --against CHECKOUT``.

What belongs here: taking turns with another checkout's library, and the ratios. What does not: the loads
(`scenarios`), the clients (`clients`), starting processes (`running`).

Both versions are read by this checkout's clients, which use public names only, in the same environment. The order of
the two changes with every round.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple

from tests.bench.running import ROOT, Figures, Runner, say
from tests.bench.scenarios import WAYS, Scenario, turns

FIGURES = {
    "cpu_us_per_event": "CPU for an event, us",
    "kb_per_stream": "memory of a stream, kB",
    "latest_tick_ms": "latest tick, ms",
    "after_cancel": "events after cancel()",
    "median_ms": "latency, median, ms",
    "p99_ms": "latency, 99th percentile, ms",
    "kept_kb": "memory of kept events, kB",
    "cpu_s": "CPU, s",
    "mb": "memory, MB",
}
"""What is compared, and how it is called."""


@contextlib.contextmanager
def library_of(checkout: Path) -> Iterator[Path]:
    """A folder with the library of a checkout and nothing else, above all not with its benchmark."""
    package = (checkout / "trio_stream").resolve()
    if not (package / "__init__.py").is_file():
        raise SystemExit(f"{checkout} is no checkout: there is no trio_stream in it")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / package.name).symlink_to(package)
        yield Path(folder)


class Comparison(NamedTuple):
    """One figure of one load, read in one way, before and now."""

    what: str
    figure: str
    before: list[float]
    now: list[float]

    @property
    def medians(self) -> tuple[float, float]:
        """Before, and now."""
        return statistics.median(self.before), statistics.median(self.now)

    @property
    def ratio(self) -> float | None:
        """How many times the figure of before is that of now; None if it was 0."""
        before, now = self.medians
        return now / before if before else None

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest ratio of one round."""
        ratios = [now / before for before, now in zip(self.before, self.now, strict=True) if before]
        return (min(ratios), max(ratios)) if ratios else None


def compare(now: Runner, before: Runner, scenarios: Sequence[Scenario], *, rounds: int) -> list[Comparison]:
    """Run both versions in turn in every scenario, read in each way, and import them."""
    measured: dict[str, tuple[list[Figures], list[Figures]]] = {}

    def measure(turn: int, what: str, run: Callable[[Runner], Figures]) -> None:
        say(f"round {turn + 1} of {rounds}: {what} ...")
        figures = {runner: run(runner) for runner in ((before, now) if turn % 2 else (now, before))}
        olds, news = measured.setdefault(what, ([], []))
        olds.append(figures[before])
        news.append(figures[now])
        say(", ".join(f"{name} {value:.4g}" for name, value in figures[now].items()), end="\n")

    for turn in range(rounds):
        for scenario in scenarios:
            if turn >= scenario.most_rounds:
                continue
            for way in turns(scenario):
                if way in WAYS:
                    measure(turn, f"{scenario.name}, {way}", methodcaller("run", scenario, way))
        measure(turn, "import", methodcaller("run_import", "ours", "trio_stream"))
    return [
        Comparison(what, figure, [turn[figure] for turn in olds], [turn[figure] for turn in news])
        for what, (olds, news) in measured.items()
        for figure in FIGURES
        if figure in news[0]
    ]


def show(comparisons: Sequence[Comparison], checkout: Path) -> str:
    """A line for each."""
    lines = [
        f"medians of {max(len(comparison.now) for comparison in comparisons)} rounds; before: {checkout}, now: {ROOT}",
        f"{'':24} {'':28} {'before':>9} {'now':>9} {'now/before':>10}  {'in single rounds'}",
    ]
    for comparison in comparisons:
        before, now = comparison.medians
        ratio = "" if comparison.ratio is None else f"{comparison.ratio:.3f}"
        spread = "" if comparison.range is None else "{:.2f} to {:.2f}".format(*comparison.range)
        name = FIGURES[comparison.figure]
        lines.append(f"{comparison.what:24} {name:28} {before:9.4g} {now:9.4g} {ratio:>10}  {spread}")
    return "\n".join(lines)
