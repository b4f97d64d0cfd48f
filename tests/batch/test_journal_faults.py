"""What can go wrong with the file of a journal while it is in use, and what stands in it that this version cannot read."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trio_stream as ts
from trio_stream.batch import Journal, JournalError, Outcome, read_journal
from trio_stream.batch._journal_format import HEADER

HASH = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.journal"


def note(journal: Journal, key: str, outcome: Outcome) -> None:
    journal.start(key, HASH, index=outcome.index)
    journal.end(key, outcome)


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_an_answer_longer_than_one_read(path: Path) -> None:
    text = "word " * 20_000
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="ok", text=text))
        note(journal, "q2", Outcome(id="q2", index=1, status="ok", text="short"))
        cached = journal.lookup("q1", HASH)
    assert cached is not None
    assert cached.text == text


def test_usage_that_is_not_the_messages_own_is_kept_beside_it(path: Path) -> None:
    message = ts.Message(content=(ts.TextBlock(text="a"),), usage=ts.Usage(input_tokens=1, output_tokens=1))
    total = ts.Usage(input_tokens=5, output_tokens=5)
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="ok", text="a", message=message, usage=total))
    [outcome] = read_journal(path)
    assert outcome.usage == total
    assert outcome.message is not None
    assert outcome.message.usage == message.usage


@pytest.mark.parametrize(
    "field", [{"usage": {"input_tokens": "many"}}, {"message": {"content": 7}}], ids=["usage", "message"]
)
def test_what_cannot_be_read_of_an_outcome_is_left_out(path: Path, field: dict[str, Any]) -> None:
    record = {"record": "end", "key": "q1", "hash": HASH, "index": 0, "at": 1.0, "status": "ok", "text": "a"} | field
    path.write_bytes(HEADER + json.dumps(record).encode() + b"\n")
    [outcome] = read_journal(path)
    assert (outcome.status, outcome.text, outcome.usage, outcome.message) == ("ok", "a", None, None)


def test_a_file_that_somebody_else_changed_is_noticed(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="ok", text="a"))
        path.write_bytes(b"x" * path.stat().st_size)
        with pytest.raises(JournalError, match="was changed by someone else"):
            journal.lookup("q1", HASH)


def test_a_disk_that_fails_while_the_journal_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is let go of, so that another try may open it."""
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))
    with pytest.raises(JournalError, match="cannot be read") as caught:
        Journal(path)
    assert isinstance(caught.value.__cause__, OSError)
    monkeypatch.undo()
    Journal(path).close()


def test_a_disk_that_loses_what_it_took(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, fsync=True)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(JournalError, match="cannot be written") as caught:
        note(journal, "q1", Outcome(id="q1", status="ok", text="a"))
    assert isinstance(caught.value.__cause__, OSError)
    # Closing says it again, and lets go of the file all the same.
    with pytest.raises(JournalError, match="cannot be written"):
        journal.close()
    monkeypatch.undo()
    journal.close()
    with Journal(path) as again:
        assert "q1" in again


def test_a_file_system_without_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="ok", text="a"))
    assert "make sure that only one process uses it" in caplog.text
    assert [outcome.text for outcome in read_journal(path)] == ["a"]


@pytest.mark.parametrize("write", [failing(errno.ENOSPC), lambda descriptor, data: 3], ids=["nothing", "a part"])
def test_a_disk_without_room_for_the_first_line(path: Path, monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(JournalError, match="cannot be written"):
            Journal(path)
    with Journal(path) as journal:
        assert len(journal) == 0
