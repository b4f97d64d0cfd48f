"""Compaction, the overview, and the charges of records that are left out: the same to every run that goes on."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import trio_stream as ts
from trio_stream.batch import (
    Journal,
    JournalError,
    Outcome,
    StartedItem,
    compact_journal,
    journal_overview,
    merge_journals,
)
from trio_stream.batch._file_lock import has_name, is_locked
from trio_stream.batch._journal_format import HEADER

A = "a" * 32
CHARGE = ts.Charge(model="claude-sonnet-5-5", input=100, output=50)


def outcome(key: str, status: Any = "ok", **more: Any) -> Outcome:
    return Outcome(id=key, status=status, charges=(CHARGE,), **more)


def write_story(path: Path, *, damage: bool = True) -> None:
    """Several runs of a job: answers, errors that became answers, kills, partial texts, items that were given up."""
    with Journal(path) as journal:
        journal.note_run(9)
        for number in range(9):
            journal.start(f"q{number}", A, index=number)
        journal.end("q0", outcome("q0", text="zero", index=0))
        journal.end("q1", outcome("q1", "error", error=ts.OverloadedError("full", status_code=529), index=1))
        journal.end("q2", outcome("q2", "skipped"))
        journal.partial("q3", "some", charges=(CHARGE,))
    with Journal(path) as journal:  # q4 to q8 were killed
        journal.note_run(9)
        for number in (1, 4, 5):
            journal.start(f"q{number}", A, index=number)
        journal.end("q1", outcome("q1", text="one", index=1))
        journal.end("q4", outcome("q4", "invalid", index=4))
        journal.end("q5", outcome("q5", text="cut", stop_reason="max_tokens", index=5))
    if damage:
        with path.open("ab") as file:
            file.write(b"\x00\x00\n" + b'{"record":"end","key":"q6"')  # and a torn one


def found(path: Path) -> dict[str, Any]:
    """What a run finds that goes on with a journal."""
    with Journal(path) as journal:
        known = {f"q{n}": journal.lookup(f"q{n}", A) for n in range(9)}
        return {
            "items": {key: ts_outcome and (ts_outcome.status, ts_outcome.text) for key, ts_outcome in known.items()},
            "charges": journal.charges,
            "len": len(journal),
        }


def test_a_compacted_journal_is_the_same_to_a_run(tmp_path: Path) -> None:
    """The same items, and the same charges, those of kills and of what was left out included; twice changes nothing."""
    path = tmp_path / "a.journal"
    write_story(path)
    before, seen = found(path), journal_overview(path)
    report = compact_journal(path)
    assert (report.items, report.damaged) == (8, 1)
    assert report.bytes_after < report.bytes_before
    assert found(path) == before
    again = journal_overview(path)
    assert (again.ok, again.failed, again.invalid, again.unfinished, again.charges, again.items) == (
        *(seen.ok, seen.failed, seen.invalid, seen.unfinished, seen.charges, 9),
    )
    data = path.read_bytes()
    assert [o.id for o in ts.read_journal(path)] == ["q0", "q1", "q3", "q4", "q5", "q6", "q7", "q8"]
    compact_journal(path)
    assert sorted(path.read_bytes().splitlines()[:-1]) == sorted(data.splitlines()[:-1])  # but for the time of the sums
    assert found(path) == before
    assert [*tmp_path.iterdir()] == [path]


def test_any_story_is_compacted_without_a_difference(tmp_path: Path) -> None:
    """Random records, compacted at random places of their story: what a run finds is what it finds without."""
    dice = random.Random(5)
    for number in range(30):
        plain, compacted = tmp_path / f"{number}.plain", tmp_path / f"{number}.compacted"
        for _ in range(dice.randrange(1, 4)):
            steps = [(dice.choice("sssepk"), f"q{dice.randrange(9)}") for _ in range(dice.randrange(12))]
            for path in (plain, compacted):
                with Journal(path) as journal:
                    for step, key in steps:
                        journal.start(key, A, index=int(key[1:]))
                        if step == "e":
                            journal.end(key, outcome(key, "ok" if len(steps) % 2 else "error"))
                        elif step == "k":
                            journal.end(key, outcome(key, "skipped"))
                        elif step == "p":
                            journal.partial(key, "p", charges=(CHARGE,))
            compact_journal(compacted)
        assert found(plain) == found(compacted)


def test_an_answer_that_was_asked_for_again_when_a_run_was_killed(tmp_path: Path) -> None:
    """As with ``--retry-truncated``: it stays, and the request that was under way has to be paid."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.start("q0", A, index=0)
        journal.end("q0", outcome("q0", stop_reason="max_tokens"))
    for _ in range(2):
        with Journal(path) as journal:
            journal.start("q0", A, index=0)
    assert sum(charge.answers for charge in journal_overview(path).charges) == 3
    compact_journal(path)
    with Journal(path) as journal:
        assert sum(charge.answers for charge in journal.charges) == 3
        journal.start("q0", A, index=0)
        journal.end("q0", outcome("q0"))
        journal.start("q0", A, index=0, custom_id="nonce-0")  # what that costs its results tell
    with Journal(path) as journal:
        assert (sum(charge.answers for charge in journal.charges), journal.is_answered("q0")) == (4, True)
        journal.start("q0", A, index=0)
    with Journal(path) as journal:
        journal.start("q0", A, index=0, custom_id="nonce-1")
        journal.end("q0", outcome("q0"))
    with Journal(path) as journal:
        assert sum(charge.answers for charge in journal.charges) == 6


def test_what_a_batch_answered_beside_another_answer_is_charged_too(tmp_path: Path) -> None:
    """The answer that was there first stays, as the item was streamed meanwhile; both have to be paid."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.start("q0", A, index=0)
        journal.end("q0", outcome("q0", text="streamed"))
        late = StartedItem("q0", A, 0)
        journal.end_started(late, outcome("q0", text="batched"))
        journal.end_started(late, Outcome(status="error"))
        assert sum(charge.answers for charge in journal.charges) == 2
    for _ in range(2):
        with Journal(path) as journal:
            assert sum(charge.answers for charge in journal.charges) == 2
            known = journal.lookup("q0", A)
            assert (known is not None and known.text) == "streamed"
        compact_journal(path)


def test_the_overview(tmp_path: Path) -> None:
    """Done, failed by class, without a value, unfinished; runs; what is damaged; when it was last written."""
    path = tmp_path / "a.journal"
    write_story(path)
    seen = journal_overview(path)
    assert (seen.items, seen.ok, seen.cut, seen.failed, seen.invalid) == (9, 3, 1, {}, {"invalid": 1})
    assert (seen.unfinished, seen.ended, seen.damaged, len(seen.runs)) == (4, 4, 1, 2)
    assert seen.charges == found(path)["charges"]
    assert seen.written_at is not None
    with Journal(tmp_path / "b.journal") as journal:
        for key, error in (("a", ts.OverloadedError("x", status_code=529)), ("b", None)):
            journal.start(key, A, index=0)
            journal.end(key, outcome(key, "error", error=error))
    assert journal_overview(tmp_path / "b.journal").failed == {"OverloadedError": 1, "error": 1}
    bare = journal_overview(tmp_path / "b.journal")
    assert (bare.items, bare.runs, bare.batches) == (None, (), ())


def test_an_end_that_cannot_be_read_is_told_by_its_head(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    line = b'{"record":"end","key":"q","hash":"","index":0,"at":1.5,"status":"error","error":[1]}\n'
    path.write_bytes(HEADER + line)
    seen = journal_overview(path)
    assert (seen.failed, seen.written_at) == ({"error": 1}, 1.5)


def test_while_it_is_written(tmp_path: Path) -> None:
    """The overview says that it is in use, takes no lock, and sees whole records only; compaction is refused."""
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        journal.start("q", A, index=0)
        seen = journal_overview(path)
        assert (seen.unfinished, seen.in_use) == (1, True if sys.platform == "linux" else None)
        data = path.read_bytes()
        with pytest.raises(JournalError, match="in use: another run is writing it"):
            compact_journal(path)
        assert path.read_bytes() == data
        journal.end("q", outcome("q"))
    assert journal_overview(path).in_use is (False if sys.platform == "linux" else None)
    assert is_locked(tmp_path / "missing") is None
    with path.open("rb") as file:
        assert has_name(file.fileno(), path)
        assert not has_name(file.fileno(), tmp_path / "missing")
    compact_journal(path)


def test_what_cannot_be_compacted(tmp_path: Path) -> None:
    """A file of another kind, none, and one with message batches that are not collected stay as they are."""
    path = tmp_path / "a.journal"
    with pytest.raises(JournalError, match="cannot be compacted"):
        compact_journal(path)
    path.write_bytes(b"hello\n")
    with pytest.raises(JournalError, match="is not a journal"):
        compact_journal(path)
    with pytest.raises(JournalError, match="cannot be read"):
        journal_overview(tmp_path)
    path.unlink()
    with Journal(path) as journal:
        journal.start("q", A, index=0, custom_id="n-0")
        journal.note_batch({"record": "intent", "nonce": "n", "n": 1, "since": 1.0, "call": {}})
    assert journal_overview(path).batches == ("n",)
    with Journal(path) as journal:
        journal.note_batch({"record": "created", "nonce": "n", "batch": "msgbatch_1"})
    assert journal_overview(path).batches == ("msgbatch_1",)
    data = path.read_bytes()
    with pytest.raises(JournalError, match="not collected"):
        compact_journal(path)
    assert path.read_bytes() == data
    with Journal(path) as journal:
        journal.note_batch({"record": "collected", "nonce": "n"})
    compact_journal(path)
    with Journal(path) as journal:
        assert (journal.lookup("q", A), journal.charges) == (None, ())


def test_a_run_that_opened_what_is_replaced_opens_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening of a journal and its lock, compaction may give the name to another file."""
    from trio_stream.batch import _journal

    path = tmp_path / "a.journal"
    write_story(path)
    calls = itertools.count()

    def lock(descriptor: int, name: Path) -> bool:
        if not next(calls):
            compact_journal(path)
        return True

    monkeypatch.setattr(_journal, "lock_file", lock)
    with Journal(path) as journal:
        journal.start("q8", A, index=8)
        journal.end("q8", outcome("q8", text="eight"))
    monkeypatch.undo()
    assert found(path)["items"]["q8"] == ("cached", "eight")


def test_a_compaction_that_is_killed_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the new journal has the name, the old one is untouched; then it is the new one."""
    from trio_stream.batch import _compact

    path = tmp_path / "a.journal"
    write_story(path)
    data, before = path.read_bytes(), found(path)
    path.write_bytes(data)
    for name in ("write", "fsync", "replace"):
        if not (child := os.fork()):
            owner: Any = {"write": _compact._Compacting, "fsync": os, "replace": Path}[name]
            setattr(owner, f"_{name}" if name == "write" else name, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
            compact_journal(path)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        for beside in tmp_path.glob("*.tmp"):
            beside.unlink()
        assert path.read_bytes() == data
    compact_journal(path)
    assert found(path) == before

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    data = path.read_bytes()
    names = set(tmp_path.iterdir())
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(JournalError, match="cannot be compacted: No space left"):
        compact_journal(path)
    assert (path.read_bytes(), set(tmp_path.iterdir())) == (data, names)


def total(path: Path) -> tuple[int, int]:
    with Journal(path) as journal:
        return (sum(c.output for c in journal.charges), sum(c.answers for c in journal.charges))


def test_merging_keeps_all_charges(tmp_path: Path) -> None:
    """Those of records that give way to others, of errors before answers, of items given up, and of kills."""
    first, second, out = (tmp_path / name for name in ("1", "2", "all"))
    write_story(first, damage=False)
    with Journal(second) as journal:
        for key in ("q0", "q6", "x"):
            journal.start(key, A, index=0)
            journal.end(key, outcome(key))
    merge_journals([first, second], out)
    assert total(out) == (total(first)[0] + total(second)[0], total(first)[1] + total(second)[1])
    assert total(out)[0] == 50 * total(out)[1]


def test_merging_counts_a_copied_record_once(tmp_path: Path) -> None:
    """A merged journal that is merged again with one of its parts, and a journal named twice."""
    first, second, out, again = (tmp_path / name for name in ("1", "2", "all", "again"))
    for path, key in ((first, "a"), (second, "b")):
        with Journal(path) as journal:
            journal.start(key, A, index=0)
            journal.end(key, outcome(key, "error"))
            journal.start(key, A, index=0)
            journal.end(key, outcome(key))
    merge_journals([first, second], out)
    assert total(out) == (200, 4)
    merge_journals([first, second, first, second], again)
    assert total(again) == (200, 4)
    merge_journals([first, second], out, overwrite=True)
    merge_journals([out, out], again, overwrite=True)
    assert total(again) == (200, 4)
