"""The charts of ``trio-stream report``, drawn by matplotlib as SVG.

What belongs here: what is drawn, and how. What does not: the data (`_report_data`), and the page around the charts
(`_report_page`), which gives the colours their values, in light and in dark.

Every text in a chart is one of ours, and is drawn as a shape: nothing that a model or a server said gets into the SVG.
"""

# matplotlib's own annotations leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from trio_stream.cli._report_data import ReportData

# Colours that occur nowhere else: in the SVG they become variables of the page.
_COLOURS: Final = {
    "#010101": "--text",
    "#020202": "--grid",
    "#030303": "--good",
    "#040404": "--bad",
    "#050505": "--second",
}
_TEXT, _GRID, GOOD, BAD, SECOND = _COLOURS

_STYLE: Final[Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "trio-stream",  # the same data make the same page
    "text.parse_math": False,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "font.size": 9,
    "legend.frameon": False,
    "figure.figsize": (6.2, 2.9),
}
_BELOW: Final[Any] = {"loc": "upper left", "bbox_to_anchor": (0, -0.18), "ncols": 2}
"""Where a legend covers nothing."""

_BINS: Final = 60
_POINTS: Final = 1500
"""How many points are drawn: more cannot be told apart, and each is a line of the page."""


def charts(data: ReportData) -> list[str]:
    """Draw the charts of a job in which anything has ended: throughput, latency, tokens, cost."""
    with mpl.rc_context(_STYLE):
        return [_throughput(data), _latency(data), _tokens(data), _cost(data)]


def _throughput(data: ReportData) -> str:
    figure, axes = _axes(data, "Throughput", "items a minute")
    span = max(data.times[-1], 1.0)
    width = span / _BINS
    good, bad = [0.0] * _BINS, [0.0] * _BINS
    for at, is_good in zip(data.times, data.good, strict=True):
        place = min(_BINS - 1, int(at / width))
        (good if is_good else bad)[place] += 60 / width
    lefts = [width * place for place in range(_BINS)]
    axes.bar(lefts, good, width, align="edge", color=GOOD, label="answered")
    if any(bad):
        axes.bar(lefts, bad, width, align="edge", bottom=good, color=BAD, label="failed")
        axes.legend(**_BELOW)
    return _svg(figure)


def _latency(data: ReportData) -> str:
    figure, axes = _axes(data, "Latency", "seconds")
    times, seconds = _thinned(data.times), _thinned(data.seconds)
    axes.plot(times, seconds, ".", markersize=3, color=GOOD, label="to the end, retries included")
    first = [(at, ttft) for at, ttft in zip(times, _thinned(data.ttft), strict=True) if ttft >= 0]
    if first:
        axes.plot(*zip(*first, strict=True), ".", markersize=3, color=SECOND, label="to the first text")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(markerscale=3, **_BELOW)
    return _svg(figure)


def _tokens(data: ReportData) -> str:
    figure, axes = _axes(data, "Tokens", "")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    times = _with_start(data.times)
    axes.plot(times, _with_start(_sums(data.input)), color=SECOND, label="input")
    axes.plot(times, _with_start(_sums(data.output)), color=GOOD, label="output")
    axes.legend()
    return _svg(figure)


def _cost(data: ReportData) -> str:
    figure, axes = _axes(data, "Cost", "dollars")
    axes.plot(_with_start(data.times), _with_start(_sums(data.cost)), color=GOOD)
    return _svg(figure)


def _axes(data: ReportData, title: str, unit: str) -> tuple[Figure, Axes]:
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _clock(value)))
    for pause in data.pauses:
        axes.axvline(pause, color=_GRID, linestyle="--")
    return figure, axes


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _thinned(values: Sequence[float]) -> Sequence[float]:
    return values[:: max(1, len(values) // _POINTS)]


def _sums(values: Sequence[float]) -> list[float]:
    total, sums = 0.0, list[float]()
    for value in values:
        total += value
        sums.append(total)
    return sums


def _with_start(values: Sequence[float]) -> list[float]:
    """Return values from 0 on, with the last of them, and so many between that a line looks the same."""
    return [0.0, *_thinned(values), values[-1]]


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    svg = text[text.index("<svg") :]
    # The metadata name vocabularies by URL, though nothing is fetched from there.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, name in _COLOURS.items():
        svg = svg.replace(colour, f"var({name})")
    return svg
