"""The command that shows what is promised about money; what it takes long for is in tests of its own."""

from __future__ import annotations

from typing import Any

import pytest

from . import accept


@pytest.mark.parametrize("function", [accept.detach, accept.deadline, accept.leaving, accept.cut_streams, accept.cache])
def test_what_is_promised_is_kept(function: Any) -> None:
    """Each line says what was found."""
    lines = accept._play(function, quick=True)
    assert lines
    assert all(line.kept for line in lines), lines


def test_a_promise_that_is_not_kept_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the table, and by the exit status."""
    lines = [accept.Line("one", "1", "1", kept=True), accept.Line("two", "2", "3", kept=False)]
    monkeypatch.setattr(accept, "lines", lambda **_: lines)
    monkeypatch.setattr("sys.argv", ["accept", "--quick"])
    assert accept.main() == 1
    assert "| two | 2 | 3 | NOT KEPT |" in capsys.readouterr().out
    monkeypatch.setattr(accept, "lines", lambda **_: lines[:1])
    assert accept.main() == 0
