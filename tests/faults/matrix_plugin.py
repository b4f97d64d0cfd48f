"""A pytest plugin that notes, row by row, how this library's own tests of the matrix ended and what happened in them.

What belongs here: watching. What does not: the checks (`rows` and the test modules) and the table (`matrix`).

``python -m pytest -p tests.faults.matrix_plugin`` writes one JSON object per row to the file that
``TRIO_STREAM_MATRIX`` names.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_NOTES: list[str] = []
_ROWS: dict[str, tuple[str, str]] = {}


def _told(result: Any) -> str:
    if isinstance(result, BaseException):
        return f"{type(result).__name__}: {result}"
    if hasattr(result, "grown"):
        grown = f"+{result.grown / 1e6:.0f} MB, {result.seconds:.1f} s"
        return f"{result.error}: {result.sentence} ({grown})" if result.error else f"completed ({grown})"
    return "completed"


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = await function(*args, **kwargs)
        _NOTES.append(_told(result))
        return result

    return call


def pytest_configure() -> None:
    """Watch what every row goes through, before the test modules take it from there."""
    from tests.faults import measured, rows

    for name in ("expect_error", "expect_incomplete", "expect_complete"):
        setattr(rows, name, _noted(getattr(rows, name)))
    measured.measure = _noted(measured.measure)
    check_error = rows.check_error

    @functools.wraps(check_error)
    def check(error: Any, *args: Any, **kwargs: Any) -> None:
        check_error(error, *args, **kwargs)
        _NOTES.append(_told(error))

    rows.check_error = check


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Note which test is which row."""
    from tests.faults.rows import Section

    for item in items:
        if hasattr(item, "callspec"):
            section = next(value for value in vars(item.module).values() if isinstance(value, Section))
            _ROWS[item.nodeid] = (section.name, item.callspec.id)


def pytest_runtest_setup() -> None:
    """Begin a row."""
    _NOTES.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down a row: its call, or whatever failed before or after it."""
    if report.nodeid not in _ROWS or (report.when != "call" and report.passed):
        return
    section, fault = _ROWS[report.nodeid]
    what = _NOTES[0] if _NOTES else "as required"
    if report.failed:
        lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
        what = lines[0][1:].strip() if lines else report.outcome
    row = {"section": section, "fault": fault, "passed": report.passed, "what": what, "seconds": report.duration}
    with Path(os.environ["TRIO_STREAM_MATRIX"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
