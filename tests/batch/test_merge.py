"""Merging: each item once, the best of it, and what does not fit together is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trio_stream as ts
from trio_stream.batch import Journal, JournalError, Outcome, merge_into, merge_journals, read_journal
from trio_stream.batch._journal_format import HEADER

A, B = "a" * 32, "b" * 32


def end(key: str, *, index: int = 0, at: float = 1.0, status: str = "ok", text: str = "x", digest: str = A) -> bytes:
    record = {"record": "end", "key": key, "hash": digest, "index": index, "at": at, "status": status, "text": text}
    return json.dumps(record).encode() + b"\n"


def other(kind: str, key: str, *, index: int = 0, at: float = 0.5, digest: str = A, **more: Any) -> bytes:
    record = {"record": kind, "key": key, "hash": digest, "index": index, "at": at} | more
    return json.dumps(record).encode() + b"\n"


def line(key: str, *, index: int = 0, status: str = "ok", text: str = "x", digest: str = A, **more: Any) -> bytes:
    fields = {"id": key, "topic": "t", "index": index, "status": status, "text": text, "hash": digest} | more
    return json.dumps(fields).encode() + b"\n"


def write(folder: Path, *contents: bytes) -> list[Path]:
    paths = [folder / f"{number}.jsonl" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def texts(path: Path) -> list[tuple[str | None, str]]:
    return [(outcome.id, outcome.text) for outcome in read_journal(path)]


def test_what_was_given_up_gives_way_to_anything(tmp_path: Path) -> None:
    """Also where another request was asked then: it was no answer."""
    given_up = end("q1", status="skipped", digest=B)
    for order in ([given_up, end("q1", at=2.0)], [end("q1", at=2.0), given_up]):
        paths = write(tmp_path, *(HEADER + content for content in order))
        report = merge_journals(paths, tmp_path / "out", overwrite=True)
        assert texts(tmp_path / "out") == [("q1", "x")]
        assert (report.conflicts, report.unfinished) == ((), 0)


def test_shards_become_one_in_the_order_of_the_input(tmp_path: Path) -> None:
    paths = []
    for shard in range(3):
        paths.append(tmp_path / f"{shard}.journal")
        with Journal(paths[-1]) as journal:
            for index in reversed(range(shard, 12, 3)):
                journal.start(f"q{index}", A, index=index)
                journal.end(f"q{index}", Outcome(id=f"q{index}", index=index, status="ok", text=str(index)))
    out = tmp_path / "all.journal"
    report = merge_journals(paths, out)
    assert texts(out) == [(f"q{n}", str(n)) for n in range(12)]
    assert (report.items, report.repeated, report.conflicts, report.unfinished) == (12, 0, (), 0)
    with Journal(out) as journal:  # a run can go on with it
        found = journal.lookup("q7", A)
        assert found is not None
        assert found.text == "7"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.journal", "1.journal", "2.journal", "all.journal"]


@pytest.mark.parametrize(
    ("first", "second", "kept", "paid_twice"),
    [
        (end("q", at=1, text="early"), end("q", at=2, text="late"), "early", 1),
        (end("q", at=2, text="late"), end("q", at=1, text="early"), "early", 1),
        (end("q", at=1, status="error", text="no"), end("q", at=2, text="yes"), "yes", 0),
        (end("q", at=2, text="yes"), end("q", at=1, status="error", text="no"), "yes", 0),
        (end("q", at=1, status="timeout", text="t"), other("partial", "q", at=0, text="p"), "t", 0),
        (other("start", "q", at=0), other("partial", "q", at=1, text="p"), "p", 0),
        (other("start", "q", at=0), end("q", at=1, text="yes"), "yes", 0),
    ],
)
def test_the_better_is_kept_then_the_earlier(
    tmp_path: Path, first: bytes, second: bytes, kept: str, paid_twice: int
) -> None:
    out = tmp_path / "out"
    report = merge_journals(write(tmp_path, HEADER + first, HEADER + second), out)
    assert texts(out) == [("q", kept)]
    assert (report.items, report.repeated, report.paid_twice) == (1, 1, paid_twice)


def test_within_one_journal_the_last_counts(tmp_path: Path) -> None:
    """What goes on is no repetition: an error, and in a later run the answer."""
    story = (
        other("start", "q"),
        end("q", status="error", text="no"),
        other("start", "q"),
        end("q", at=3, text="yes"),
        other("start", "r", index=1),
        other("start", "s", index=2),
        other("partial", "s", index=2, text="some"),
    )
    out = tmp_path / "out"
    report = merge_journals(write(tmp_path, HEADER + b"".join(story)), out)
    assert texts(out) == [("q", "yes"), ("r", ""), ("s", "some")]
    assert (report.items, report.repeated, report.unfinished) == (3, 0, 2)


def test_conflicts_are_told_and_the_first_file_wins(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = merge_journals(
        write(
            tmp_path, HEADER + end("q", text="one", at=9), HEADER + end("q", digest=B, text="two") + end("r", index=1)
        ),
        out,
    )
    assert report.conflicts == ("q",)
    assert texts(out) == [("q", "one"), ("r", "x")]


def test_completion_order(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = write(
        tmp_path, HEADER + end("a", index=0, at=3), HEADER + end("b", index=1, at=1) + end("c", index=2, at=2)
    )
    merge_journals(paths, out, order="completion")
    assert [json.loads(row)["key"] for row in out.read_bytes().splitlines()[1:]] == ["b", "c", "a"]


def test_unknown_fields_stay_and_damaged_or_torn_lines_do_not(tmp_path: Path) -> None:
    novel = other("end", "q", status="ok", text="x", novel={"a": 1})
    content = HEADER + b"garbage\n" + other("weather", "q") + novel + end("r")[:-5]
    out = tmp_path / "out"
    report = merge_journals(write(tmp_path, content), out)
    assert out.read_bytes() == HEADER + novel
    assert report.damaged == 1


def test_outputs_of_the_command_line_are_merged_too(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        line("q1", index=1) + line("q3", index=3, status="error"),
        line("q0", index=0) + line("q3", index=3, text="yes") + line("q2", index=2)[:-3],
    )
    out = tmp_path / "out"
    report = merge_journals(paths, out)
    rows = [json.loads(row) for row in out.read_bytes().splitlines()]
    assert [(row["id"], row["text"], row["topic"]) for row in rows] == [
        ("q0", "x", "t"),
        ("q1", "x", "t"),
        ("q3", "yes", "t"),
    ]
    assert (report.items, report.repeated) == (3, 1)
    merge_journals(paths, out, order="completion", overwrite=True)
    assert [json.loads(row)["id"] for row in out.read_bytes().splitlines()] == ["q1", "q0", "q3"]


def test_the_result_may_be_one_of_the_files(tmp_path: Path) -> None:
    first, second = write(tmp_path, HEADER + end("a"), HEADER + end("b", index=1))
    merge_journals([first, second], first, overwrite=True)
    assert texts(first) == [("a", "x"), ("b", "x")]


def test_a_result_that_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    first, second = write(tmp_path, HEADER + end("a"), HEADER)
    with pytest.raises(FileExistsError):
        merge_journals([first], second)
    assert second.read_bytes() == HEADER


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ([b"# Read me\n"], "neither a journal nor an output"),
        ([b'{"id":"q","status":"ok"}\n'], "neither a journal nor an output"),
        ([HEADER, line("q")], "another kind of file than"),
        ([line("q"), HEADER], "another kind of file than"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, contents: list[bytes], reason: str) -> None:
    paths = write(tmp_path, *contents)
    with pytest.raises(JournalError, match=reason):
        merge_journals(paths, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == paths


def test_empty_files_and_none_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = merge_journals(write(tmp_path, b"", HEADER), out)
    assert (report.items, out.read_bytes()) == (0, HEADER)


def test_what_cannot_be_read_or_written_is_one_error(tmp_path: Path) -> None:
    [path] = write(tmp_path, HEADER)
    with pytest.raises(JournalError, match="No such file"):
        merge_journals([tmp_path / "none"], tmp_path / "out")
    with pytest.raises(JournalError, match="cannot be written: No such file"):
        merge_journals([path], tmp_path / "none" / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_into_an_open_file(tmp_path: Path) -> None:
    paths = write(tmp_path, HEADER + end("q1"), HEADER + end("q2", index=1))
    with (tmp_path / "out").open("wb") as file:
        report = merge_into(paths, file)
    assert report.items == 2
    assert texts(tmp_path / "out") == [("q1", "x"), ("q2", "x")]


@pytest.mark.parametrize("wrap", [lambda record: HEADER + record, bytes], ids=["journal", "output"])
def test_within_a_file_an_answer_is_not_replaced_by_a_later_error(tmp_path: Path, wrap: Any) -> None:
    make = end if wrap(b"") else line
    content = wrap(make("q", text="yes") + make("q", status="error", text="no"))
    merge_journals(write(tmp_path, content), tmp_path / "out")
    [kept] = [json.loads(found) for found in (tmp_path / "out").read_bytes().splitlines() if b"status" in found]
    assert (kept["status"], kept["text"]) == ("ok", "yes")


def test_its_old_name_says_the_new_one(tmp_path: Path) -> None:
    paths = write(tmp_path, HEADER + end("q1"))
    with pytest.warns(DeprecationWarning, match="merge_journals") as caught:
        report = ts.merge(paths, tmp_path / "out", order="completion", overwrite=True)
    assert caught[0].filename == __file__
    assert report == ts.merge_journals(paths, tmp_path / "again")
    assert texts(tmp_path / "out") == [("q1", "x")]
