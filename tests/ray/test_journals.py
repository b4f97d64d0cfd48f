"""What actors remember: each of its own, and of those that have died."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.ray.api import Maker, echo, prompt_of
from trio_stream.testing import ScriptedAPI, Step, http_error, say, stall


def prompts(api: ScriptedAPI) -> list[str]:
    return [prompt_of(request) for request in api.requests]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]


def rows(*ids: int, prompt: str = "q{}") -> dict[str, list[Any]]:
    return {"id": list(ids), "prompt": [prompt.format(name) for name in ids]}


def test_what_an_actor_has_finished_is_not_asked_again(make: Maker, tmp_path: Path) -> None:
    """Not by itself, nor by one that begins later."""
    api = ScriptedAPI(default=echo)
    first = make(api, id="id", journal_dir=tmp_path / "journals")
    one = first(rows(1, 2, 3))
    assert first(rows(2, 3, 1))["text"] == ["<q2>", "<q3>", "<q1>"]
    first.close()
    second = make(api, id="id", journal_dir=tmp_path / "journals")
    again = second(rows(1, 2, 4, 3))
    assert again["text"] == ["<q1>", "<q2>", "<q4>", "<q3>"]
    assert sorted(prompts(api)) == ["q1", "q2", "q3", "q4"]
    assert again["error"] == [""] * 4
    for column in ("stop_reason", "input_tokens", "output_tokens", "request_id", "attempts"):
        assert [again[column][place] for place in (0, 1, 3)] == one[column]


def test_what_an_actor_finishes_meanwhile_is_known_to_the_others(make: Maker, tmp_path: Path) -> None:
    """Ray gives the rows of an actor that has died to one that has been there for long."""
    api = ScriptedAPI(default=echo)
    living, dying = (make(api, id="id", journal_dir=tmp_path) for _ in range(2))
    living(rows(0))
    for name in range(1, 4):
        dying(rows(name))
        assert living(rows(name))["text"] == [f"<q{name}>"]
    assert prompts(api) == ["q0", "q1", "q2", "q3"]
    assert len(list(tmp_path.iterdir())) == 2


def test_half_a_record_is_none(make: Maker, tmp_path: Path) -> None:
    """Of one that was killed while it wrote; nor is another's file that has nothing yet, or is no journal."""
    api = ScriptedAPI(default=echo)
    killed = make(api, id="id", journal_dir=tmp_path)
    killed(rows(1))
    killed(rows(2))
    killed.close()
    (journal,) = tmp_path.iterdir()
    data = journal.read_bytes()
    journal.write_bytes(data[:-20])
    (tmp_path / "empty.journal").touch()
    (tmp_path / "notes.journal").write_text("not a journal\n")
    (tmp_path / "torn.journal").write_text('{"record":"jour')
    (tmp_path / "notes.txt").write_text("neither\n")
    ask = make(api, id="id", journal_dir=tmp_path)
    assert ask(rows(1, 2))["text"] == ["<q1>", "<q2>"]
    assert prompts(api) == ["q1", "q2", "q2"]
    journal.write_bytes(data + data.splitlines(keepends=True)[-1].replace(b'"2"', b'"3"'))
    (tmp_path / "empty.journal").write_bytes(data.splitlines(keepends=True)[0])
    with pytest.raises(ts.JournalConflictError):
        # The whole record is seen now, by its wrong request.
        make(api, id="id", journal_dir=tmp_path, on_error="raise")(rows(3))


def test_without_ids_the_request_is_the_name(make: Maker, tmp_path: Path) -> None:
    api = ScriptedAPI(default=echo)
    for _ in range(2):
        ask = make(api, journal_dir=tmp_path, limit=1)
        assert ask({"prompt": ["a", "b", "a"]})["text"] == ["<a>", "<b>", "<a>"]
    assert prompts(api) == ["a", "b"]


def test_the_same_id_with_another_request_is_an_error_of_its_row(make: Maker, tmp_path: Path) -> None:
    """In one's own journal, in another's, and within a batch. Nothing is sent for it."""
    api = ScriptedAPI(default=echo)
    first = make(api, id="id", journal_dir=tmp_path)
    first(rows(1))
    second = make(api, id="id", journal_dir=tmp_path)
    for ask in (first, second):
        answered = ask({"id": [1, 2], "prompt": ["other", "q2"]})
        assert answered["text"] == ["", "<q2>"]
        assert answered["error"][0].startswith("JournalConflictError: ")
    within = second({"id": [7, 7], "prompt": ["one", "two"]})
    assert within["text"] == ["<one>", ""]
    assert within["error"][1].startswith("JournalConflictError: ")
    assert sorted(prompts(api)) == ["one", "q1", "q2"]


def test_what_cannot_be_a_request_is_an_error_of_its_row(make: Maker, tmp_path: Path) -> None:
    ask = make(ScriptedAPI(default=echo), prompt=lambda row: row["value"], journal_dir=tmp_path)
    answered = ask({"value": [{"messages": {1, 2}}, {"messages": [], "model": object()}, "fine"]})
    assert answered["text"] == ["", "", "<fine>"]
    assert [error.partition(":")[0] for error in answered["error"]] == [
        "TypeError",
        "TypeError",
        "",
    ]


def failing_once(request_count: list[int]) -> Any:
    def script(request: Any) -> list[Step]:
        request_count[0] += 1
        return [http_error(400)] if request_count[0] == 1 else [say("at last")]

    return script


@pytest.mark.parametrize("same_actor", [True, False])
def test_errors_are_kept_until_they_are_to_be_tried_again(make: Maker, tmp_path: Path, same_actor: bool) -> None:
    api = ScriptedAPI(default=failing_once([0]))
    first = make(api, id="id", journal_dir=tmp_path)
    failed = first(rows(1))["error"]
    assert failed[0].startswith("BadRequestError: ")
    again = first if same_actor else make(api, id="id", journal_dir=tmp_path)
    assert again(rows(1))["error"] == failed
    assert len(api.requests) == 1
    retrying = make(api, id="id", journal_dir=tmp_path, retry_errors=True)
    assert retrying(rows(1))["text"] == ["at last"]
    # Whoever has the answer is believed, and not the error that is older.
    third = make(api, id="id", journal_dir=tmp_path)
    assert third(rows(1))["text"] == ["at last"]
    assert len(api.requests) == 2


def test_errors_that_are_raised_are_always_tried_again(make: Maker, tmp_path: Path) -> None:
    """Or a job that failed by a bad minute would fail by it for ever."""
    api = ScriptedAPI(default=failing_once([0]))
    with pytest.raises(ts.BadRequestError):
        make(api, id="id", journal_dir=tmp_path, on_error="raise")(rows(1))
    assert make(api, id="id", journal_dir=tmp_path, on_error="raise")(rows(1))["text"] == ["at last"]


def test_what_was_under_way_is_asked_again(make: Maker, tmp_path: Path) -> None:
    """What had arrived of it is noted."""
    api = ScriptedAPI([say("half"), stall()], default=[say("whole")])
    first = make(api, id="id", journal_dir=tmp_path)
    ended: list[BaseException] = []

    def call() -> None:
        try:
            first(rows(1))
        except trio.ClosedResourceError as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not (api.requests and api.requests[0].status == 200):
        thread.join(0.01)
    thread.join(0.2)
    first.close()
    thread.join(10)
    assert len(ended) == 1
    assert [record["text"] for record in records(tmp_path) if record["record"] == "partial"] == ["half"]
    assert make(api, id="id", journal_dir=tmp_path)(rows(1))["text"] == ["whole"]


def test_a_journal_that_cannot_be_written_fails_the_job(make: Maker, tmp_path: Path) -> None:
    """And not a row: nobody would know what has been paid for."""
    (tmp_path / "file").touch()
    ask = make(ScriptedAPI(default=echo), journal_dir=tmp_path / "file")
    with pytest.raises(ts.JournalError, match="cannot be created"):
        ask({"prompt": ["a"]})


def test_a_journal_that_fails_in_the_middle_fails_the_job(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call begins with another journal."""
    ask = make(ScriptedAPI(default=echo), journal_dir=tmp_path)
    ask({"prompt": ["a"]})

    def full(self: ts.Journal, *args: object) -> None:
        raise ts.JournalError("the disk is full", path=self.path)

    with monkeypatch.context() as patched:
        patched.setattr(ts.Journal, "end", full)
        with pytest.raises(ts.JournalError, match="the disk is full"):
            ask({"prompt": ["b"]})
    assert ask({"prompt": ["b", "a"]})["text"] == ["<b>", "<a>"]
    assert len(list(tmp_path.iterdir())) == 2


def test_they_can_be_merged(make: Maker, tmp_path: Path) -> None:
    api = ScriptedAPI(default=echo)
    for number in range(2):
        make(api, id="id", journal_dir=tmp_path)(rows(2 * number, 2 * number + 1))
    report = ts.merge_journals(sorted(tmp_path.glob("*.journal")), tmp_path / "all.journal")
    assert (report.items, report.paid_twice, report.conflicts) == (4, 0, ())
    texts = {outcome.id: outcome.text for outcome in ts.read_journal(tmp_path / "all.journal")}
    assert texts == {str(name): f"<q{name}>" for name in range(4)}


def test_a_journal_that_is_moved_away_is_forgotten(make: Maker, tmp_path: Path) -> None:
    """After its rows were found in it, and before they are looked up, too."""
    api = ScriptedAPI(default=echo)
    first = make(api, id="id", journal_dir=tmp_path)
    first(rows(1))
    first.close()
    (journal,) = tmp_path.iterdir()
    ask = make(api, id="id", journal_dir=tmp_path)
    ask(rows(2))
    journal.unlink()
    assert ask(rows(1))["text"] == ["<q1>"]
    assert prompts(api) == ["q1", "q2", "q1"]


@pytest.mark.parametrize("when", ["refresh", "lookup"])
def test_a_journal_that_cannot_be_read_fails_the_job(make: Maker, tmp_path: Path, when: str) -> None:
    """It may have answers that would be paid twice."""
    api = ScriptedAPI(default=echo)
    make(api, id="id", journal_dir=tmp_path)(rows(1))
    (journal,) = tmp_path.iterdir()
    ask = make(api, id="id", journal_dir=tmp_path)
    ask(rows(2))
    size = journal.stat().st_size
    if when == "refresh":
        journal.unlink()
        journal.symlink_to(journal)
    else:
        journal.write_bytes(b"x" * size)
    with pytest.raises(ts.JournalError, match="cannot be read"):
        ask(rows(1))
    assert prompts(api) == ["q1", "q2"]


def test_errors_of_other_classes_are_the_same_when_they_come_from_a_journal(make: Maker, tmp_path: Path) -> None:
    """Here the client refuses what is no part of the request, and of its hash."""
    api = ScriptedAPI(default=echo)
    answered = [
        make(api, prompt=lambda row: {"messages": [], "timeout": -1}, journal_dir=tmp_path)({"n": [1]})
        for _ in range(2)
    ]
    assert answered[0]["error"][0].startswith("ValueError: ")
    assert answered[1]["error"] == answered[0]["error"]
    assert [record["record"] for record in records(tmp_path)].count("end") == 1
