"""The errors of this room survive the way from one process to another."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import trio_stream as ts


@pytest.mark.parametrize(
    "error",
    [
        ts.FanOutStoppedError("stopped", reason="budget"),
        ts.JournalConflictError("conflict", id="a"),
        ts.JournalError("failed", path=Path("a.journal")),
        ts.RecordedError("recorded", type="SomeError"),
        ts.UnfinishedError("unfinished", outcome=ts.Outcome(id="a", status="skipped")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_pickled_with_all_they_know(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
