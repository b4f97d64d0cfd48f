"""The page with both columns of the fault matrix.

What belongs here: reading the rows (``MATRIX.md``) and writing ``docs/reliability.md``. What does not: finding out what
happened (`matrix`).
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import trio_stream

MATRIX = Path(__file__).with_name("MATRIX.md")

_LONGEST = 90


@dataclass(frozen=True)
class Outcome:
    """How one row ended for one of the two.

    Args:
      passed: What the row requires is what happened.
      what: What happened, in a few words.
      why: Why it is failed, where that is not what happened.
    """

    passed: bool
    what: str
    why: str = ""


Column = dict[tuple[str, str], Outcome]


def read_matrix() -> dict[str, dict[str, str]]:
    """What each row requires, by section and fault."""
    matrix: dict[str, dict[str, str]] = {}
    rows: dict[str, str] = {}
    for line in MATRIX.read_text("utf-8").splitlines():
        if line.startswith("## "):
            rows = matrix.setdefault(line[3:], {})
        elif line.startswith("| ") and not line.startswith("| fault |"):
            _, fault, required, _ = (cell.strip() for cell in line.split("|"))
            rows[fault] = required
    return matrix


_HEAD = """\
# Reliability

What becomes of a stream when something goes wrong: {rows} faults, each done to this library and to the official SDK on
Trio by the same server on the loopback, which sends exact bytes, waits, closes and resets at exact points.

| | trio_stream {ours} | anthropic {theirs} on Trio |
|---|---|---|
{totals}

Written by `make faults` on {date}: {machine}; Python {python}, trio {trio}. No figure here was written by hand.

What the words of the table mean:

* **INCOMPLETE**: `IncompleteStreamError`, or the connection's or the clock's error that caused it; all that was
  received is on `.partial`; the socket is closed; there is nothing for the garbage collector to warn about.
* **PROTOCOL**: `InvalidResponseError` that names the event and the reason; `.partial` is kept; the socket is closed.
* **own error**: a class of the library's own, with the cause chained; never one of httpx, ssl or a parser.
* "timeout 2 s": every clock there is set to two seconds.

How each column was made:

* trio_stream: its own tests, one per row (`tests/faults`), with warnings as errors. They hold more than the words of a
  row: what the error says, that it holds no key and no prompt, the close as the server sees it (100 ms), and that a
  pool of one connection serves the next request. Their clocks are at 0.4 s, to take a minute and not ten. Churn is done
  for the 20 s of its row. `make soak` has longer forms of it, of cancellation at every step, and of Ctrl-C.
* The SDK: with its defaults but for `timeout=2` (30 s or more where a clock is not the point), `max_retries` as the row
  says, and one connection where the row does not give a number, so that a lost one shows. It is held to its own terms:
  any class of its own counts as "own error", and `stream.current_message_snapshot` as `.partial`; what an error says
  counts only where the row asks for something by name. Where milliseconds count, it has five tries, as trio_stream has.
  Memory is measured in a fresh process after a first stream, as it is for trio_stream. A run that does not end is
  stopped. Rows of what this library's own surface offers (the section "People") are not asked of it, and not counted.

The brackets after a ✗ say why the row is failed, where that is not plain from what happened.
"""


def write_page(page: Path, matrix: dict[str, dict[str, str]], ours: Column, theirs: Column, *, python: Path) -> None:
    """Write the page."""
    lines = []
    for section, rows in matrix.items():
        keys = [(section, fault) for fault in rows]
        lines.append(f"\n## {section}\n")
        lines.append(f"{_passed(ours, keys)}, and {_passed(theirs, keys)}.\n")
        lines.append("| fault | required | trio_stream | official SDK |\n|---|---|---|---|")
        for fault, required in rows.items():
            said = " | ".join(_said(column.get((section, fault))) for column in (ours, theirs))
            lines.append(f"| {_marked(fault)} | {_marked(required)} | {said} |")
    page.write_text(_head(matrix, ours, theirs, python) + "\n".join(lines) + "\n", "utf-8")


def _passed(column: Column, keys: list[tuple[str, str]]) -> str:
    """How many rows are passed, of those that were asked."""
    asked = [column[key] for key in keys if key in column]
    return f"{sum(outcome.passed for outcome in asked)} of {len(asked)}"


def _said(outcome: Outcome | None) -> str:
    if outcome is None:
        return "– not asked"
    return f"{'✓' if outcome.passed else '✗'} {_cell(outcome)}"


def _head(matrix: dict[str, dict[str, str]], ours: Column, theirs: Column, python: Path) -> str:
    def total(section: str | None) -> str:
        counted = [(name, fault) for name, rows in matrix.items() for fault in rows if section in (None, name)]
        cells = (_passed(column, counted) for column in (ours, theirs))
        return f"| {section or '**All**'} | {' | '.join(cells)} |"

    asked = "from importlib.metadata import version; print(version('anthropic'))"
    sdk = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    return _HEAD.format(
        rows=sum(map(len, matrix.values())),
        ours=trio_stream.__version__,
        theirs=sdk,
        totals="\n".join([*map(total, matrix), total(None)]),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        machine=_machine(),
        python=".".join(map(str, sys.version_info[:3])),
        trio=version("trio"),
    )


def _machine() -> str:
    names = re.findall(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = names[0].strip() if names else platform.machine()
    return f"{platform.system()} {platform.release().partition('-')[0]}, {processor}, {os.cpu_count()} cores"


_ESCAPED = re.compile(r"([\\`*_\[\]<>|$#&~])")
_UNDERSCORES = re.compile(r"(`[^`]*`)|_")


def _cell(outcome: Outcome) -> str:
    """What happened, short, and as text of a table's cell."""
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST:PORT", " ".join(outcome.what.split()))
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    text = _ESCAPED.sub(r"\\\1", text)
    why = " ".join(outcome.why.split())
    if len(why) > _LONGEST:
        why = why[: _LONGEST - 1] + "…"
    why = _ESCAPED.sub(r"\\\1", why)
    return f"{text} \\[{why}\\]" if why else text


def _marked(text: str) -> str:
    """Markdown of the matrix: what is no code has no emphasis by underscores."""
    return _UNDERSCORES.sub(lambda found: found[1] or r"\_", text)
