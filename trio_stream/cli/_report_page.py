"""The page of ``trio-stream report``.

What belongs here: the HTML around the charts. What does not: the charts (`_report_charts`).

Ids, classes of errors and names of models may be anything that a row or a server said. Each goes through `_text`, and
the page forbids itself scripts and requests besides (``Content-Security-Policy``).
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Iterable, Sequence
from typing import Final

from trio_stream.cli._figures import count, duration
from trio_stream.cli._report_data import ReportData
from trio_stream.cli._terminal import one_line

_LONGEST: Final = 80

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="trio-stream report">
<style>
:root { --back: #fff; --text: #1f2328; --soft: #59636e; --grid: #d1d9e0; --good: #1a7f37; --bad: #cf222e;
  --second: #0969da; --row: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --soft: #9198a1; --grid: #3d444d;
  --good: #3fb950; --bad: #f85149; --second: #58a6ff; --row: #151b23; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 76rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { color: var(--soft); margin: .25rem 0; }
dl { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); margin: 1.5rem 0; }
dt { color: var(--soft); font-size: .85rem; }
dd { font-size: 1.2rem; font-variant-numeric: tabular-nums; margin: 0; white-space: nowrap; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
figure { margin: 0; }
.charts svg { height: auto; width: 100%; }
.tables { display: grid; gap: 0 2rem; grid-template-columns: 1fr 2fr; }
@media (max-width: 60rem) { .tables { grid-template-columns: 1fr; } }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
td, th { border-bottom: 1px solid var(--grid); padding: .3rem .6rem; text-align: left; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: normal; font-size: .85rem; }
tr:nth-child(even) td { background: var(--row); }
.n { text-align: right; white-space: nowrap; }
.bad { color: var(--bad); }
</style>
"""


def make_page(data: ReportData, charts: Sequence[str], *, cost: str) -> str:
    """Make the page.

    Args:
      data: What happened.
      charts: The charts, as SVG.
      cost: What the job cost, for people.
    """
    name = data.path.name.removesuffix(".journal")
    title = f"{name}: how it went"
    parts = [
        _HEAD,
        f"<title>{_text(title)}</title>\n</head>\n<body>\n<h1>{_text(name)}</h1>\n",
        f"<p>{_text(_when(data))}</p>\n<dl>\n",
        *(f"<div><dt>{_text(what)}</dt><dd>{_text(value)}</dd></div>\n" for what, value in _figures(data, cost)),
        "</dl>\n",
    ]
    if charts:
        parts += ['<div class="charts">\n', *(f"<figure>{chart}</figure>\n" for chart in charts), "</div>\n"]
        if data.pauses:
            parts.append("<p>Dashed lines: the job was not running for more than five minutes.</p>\n")
        if data.compacted:
            parts.append("<p>What was left out of the journal is in the sums above, and not in the charts.</p>\n")
    else:
        parts.append("<p>Nothing has ended yet.</p>\n")
    errors = data.overview.failed | data.overview.invalid
    parts.append('<div class="tables">\n<section>\n<h2>Errors by class</h2>\n')
    parts.append(_table(("class", "#items"), [(name, f"{number:,}") for name, number in errors.items()]))
    parts.append("</section>\n<section>\n<h2>Slowest items</h2>\n")
    parts.append(
        _table(
            ("id", "#seconds", "#to the first text", "#attempts", "status"),
            [
                (
                    item.key,
                    f"{item.seconds:.1f}",
                    "" if item.ttft is None else f"{item.ttft:.1f}",
                    str(item.attempts),
                    f"{item.status} {item.error}".strip(),
                )
                for item in data.slowest
            ],
        )
    )
    parts.append("</section>\n</div>\n</body>\n</html>\n")
    return "".join(parts)


def _text(value: str) -> str:
    """Make a text safe within HTML, and no longer than a line."""
    line = one_line(value)
    return html.escape(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table; columns whose names begin with ``#`` have numbers."""
    styles = [' class="n"' if name.startswith("#") else "" for name in names]
    heads = (f"<th{style}>{_text(name.lstrip('#'))}</th>" for name, style in zip(names, styles, strict=True))
    lines = [f"<tr>{''.join(heads)}</tr>"]
    for row in rows:
        cells = (f"<td{style}>{_text(cell)}</td>" for cell, style in zip(row, styles, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if len(lines) == 1:
        return "<p>None.</p>\n"
    return "<table>\n" + "\n".join(lines) + "\n</table>\n"


def _when(data: ReportData) -> str:
    written = data.overview.written_at
    if data.began is None or written is None:
        return "Nothing has been noted yet."
    began, ended = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (data.began, written))
    return f"From {began:%Y-%m-%d %H:%M:%S} to {ended:%Y-%m-%d %H:%M:%S} UTC, as the journal tells it."


def _figures(data: ReportData, cost: str) -> list[tuple[str, str]]:
    overview = data.overview
    of_all = "" if overview.items is None else f" of {overview.items:,}"
    figures = [("answered", f"{overview.ok:,}{of_all}")]
    failed = sum(overview.failed.values()) + sum(overview.invalid.values())
    figures.append(("failed", f"{failed:,}"))
    if overview.unfinished:
        figures.append(("unfinished", f"{overview.unfinished:,}"))
    charges = overview.charges
    tokens_in = sum(c.input + c.cache_read + c.cache_write + c.cache_write_1h for c in charges)
    figures.append(("input tokens", count(tokens_in)))
    figures.append(("output tokens", count(sum(charge.output for charge in charges))))
    figures.append(("cost", cost))
    if data.times:
        ordered = sorted(data.seconds)
        figures.append(("time under way", duration(data.times[-1])))
        figures.append(("median latency", f"{ordered[len(ordered) // 2]:.1f} s"))
        figures.append(("95 of 100 within", f"{ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]:.1f} s"))
    return figures
