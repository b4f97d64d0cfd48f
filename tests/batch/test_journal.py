"""The journal: what it remembers, and that nothing that happens to a file or a process makes it lie."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.batch import (
    Journal,
    JournalConflictError,
    JournalError,
    Outcome,
    RecordedError,
    read_journal,
)
from trio_stream.batch._journal_format import HEADER, describe_error, restore_error

HASH = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.journal"


def ok(key: str | None = "q1", index: int = 0, text: str = "Four.", **fields: Any) -> Outcome:
    return Outcome(id=key, index=index, status="ok", text=text, **fields)


def note(journal: Journal, key: str, outcome: Outcome, *, request_hash: str = HASH) -> None:
    journal.start(key, request_hash, index=outcome.index, tag=outcome.tag)
    journal.end(key, outcome)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# What it remembers.


def test_what_ended_well_is_known_to_the_next_run(path: Path) -> None:
    message = ts.Message(
        id="msg_1",
        model="m",
        content=(ts.TextBlock(text="Four."),),
        stop_reason="end_turn",
        usage=ts.Usage(input_tokens=3, output_tokens=2),
    )
    outcome = ok(
        message=message,
        usage=message.usage,
        attempts=2,
        ttft=0.25,
        seconds=1.5,
        request_id="req_1",
        stop_reason="end_turn",
        tag={"topic": "sums"},
    )
    with Journal(path) as journal:
        assert journal.lookup("q1", HASH) is None
        note(journal, "q1", outcome)
    with Journal(path) as journal:
        cached = journal.lookup("q1", HASH)
        assert journal.lookup("q2", HASH) is None
        assert (len(journal), journal.answered, "q1" in journal, "q2" in journal) == (1, 1, True, False)
        journal.start("q2", HASH, index=1)
        assert (len(journal), journal.answered, "q2" in journal) == (2, 1, False)
    assert cached is not None
    assert cached.status == "cached"
    assert next(read_journal(path)) == outcome
    for name in ("text", "message", "usage", "attempts", "ttft", "seconds", "request_id", "stop_reason"):
        assert getattr(cached, name) == getattr(outcome, name)


def test_it_is_known_to_the_same_run_too(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok())
        cached = journal.lookup("q1", HASH)
        assert cached is not None
        assert cached.text == "Four."


@pytest.mark.parametrize(
    "message",
    [
        ts.Message(content=(ts.TextBlock(text="a"), ts.TextBlock(text="b"))),
        ts.Message(content=()),
        ts.Message(content=(ts.ThinkingBlock(thinking="hm", signature="s"), ts.TextBlock(text="ab"))),
        ts.Message(id="msg_1", content=(ts.TextBlock(text="ab"),), extra={"novel": 1}),
        ts.Message.from_dict(
            {"content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}, {"type": "novel", "x": 1}]}
        ),
    ],
    ids=["two texts", "nothing", "thinking", "unknown field", "tool and unknown block"],
)
def test_messages_of_any_kind_come_back(path: Path, message: ts.Message) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok(text=message.text, message=message, usage=message.usage))
    [outcome] = read_journal(path)
    assert outcome.message is not None
    assert outcome.message.to_dict() == message.to_dict()


def test_a_text_is_written_once(path: Path) -> None:
    with Journal(path) as journal:
        message = ts.Message(content=(ts.TextBlock(text="only once"),))
        note(journal, "q1", ok(text="only once", message=message, usage=message.usage))
    assert path.read_text().count("only once") == 1


def test_a_tag_that_is_not_json_is_left_out(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok(tag=object()))
    [outcome] = read_journal(path)
    assert (outcome.tag, outcome.text) == (None, "Four.")


def test_a_key_made_of_the_request_is_no_id(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, HASH, ok(None))
    [outcome] = read_journal(path)
    assert outcome.id is None
    assert records(path)[2]["key"] == HASH


ERRORS: list[ts.APIError] = [
    ts.RateLimitError(
        "429: slow down",
        status_code=429,
        type="rate_limit_error",
        error_code="enforced_spend_limit_reached",
        api_message="slow down",
        retry_after=2.5,
        request_id="req_1",
        should_retry=False,
    ),
    ts.OverloadedError("529", status_code=529, retry_after=math.inf),
    ts.APIConnectionError("gone", may_have_been_accepted=True, retryable=False),
    ts.SilenceTimeoutError("silence", seconds=3.0, may_have_been_accepted=True, request_id="req_2"),
    ts.IncompleteStreamError("cut"),
    ts.InvalidToolInputError("bad", input_json="{", incomplete=True),
    ts.OutputParseError("bad", text="no", stop_reason="refusal"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_back_as_they_were(path: Path, error: ts.APIError) -> None:
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="error", error=error))
    with Journal(path) as journal:
        found = journal.lookup("q1", HASH)
    assert found is not None
    assert found.status == "error"
    assert type(found.error) is type(error)
    assert str(found.error) == str(error)
    expected = {name: None if value == math.inf else value for name, value in vars(error).items()}
    assert {name: getattr(found.error, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "is_kept"),
    [
        ({"error": {"message": "no"}, "new": [1, None]}, True),
        ("text", True),
        ({"page": "x" * 70_000}, False),
        (object(), False),
        (None, False),
    ],
)
def test_the_body_of_an_error_is_kept_unless_it_is_large(path: Path, body: object, is_kept: bool) -> None:
    """What the API sent comes back whole; whatever else somebody made an error of does not stop the journal."""
    with Journal(path) as journal:
        error = ts.BadRequestError("400", status_code=400, body=body)
        note(journal, "q1", Outcome(id="q1", status="error", error=error))
    (found,) = read_journal(path)
    assert isinstance(found.error, ts.BadRequestError)
    assert found.error.body == (body if is_kept else None)


def test_counts_that_cannot_be_read_come_back_with_their_message(path: Path) -> None:
    """As the API sent them; beside the message they count as unknown."""
    raw = {
        "id": "m",
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": "many"},
    }
    message = ts.Message.from_dict(raw)
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="ok", message=message, usage=message.usage))
    (found,) = read_journal(path)
    assert found.message == message
    assert found.message.to_dict()["usage"]["cache_read_input_tokens"] == "many"
    assert found.usage is None


def test_the_description_of_an_error_has_neither_partial_message_nor_body() -> None:
    error = ts.BadRequestError("400", status_code=400, body={"secret": "s"}, partial=ts.Message())
    described = describe_error(error)
    assert "body" not in described
    assert "partial" not in described
    restored = restore_error(described)
    assert isinstance(restored, ts.BadRequestError)
    assert (restored.body, restored.partial) == (None, None)


def test_other_errors_keep_name_and_sentence(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status="error", error=KeyError("a")))
    [outcome] = read_journal(path)
    assert isinstance(outcome.error, RecordedError)
    assert (outcome.error.type, str(outcome.error)) == ("KeyError", "'a'")


@pytest.mark.parametrize("status", ["error", "timeout"])
def test_what_failed_is_asked_again_only_where_that_is_wanted(path: Path, status: Any) -> None:
    with Journal(path) as journal:
        note(journal, "q1", Outcome(id="q1", status=status, error=ts.APIError("no")))
    with Journal(path) as journal:
        found = journal.lookup("q1", HASH)
        assert found is not None
        assert (found.status, str(found.error)) == (status, "no")
    with Journal(path, retry_errors=True) as journal:
        assert journal.lookup("q1", HASH) is None
        note(journal, "q1", ok())
    with Journal(path) as journal:
        found = journal.lookup("q1", HASH)
        assert found is not None
        assert found.status == "cached"


@pytest.mark.parametrize(
    ("inflight", "status", "text"),
    [("retry", None, None), ("skip", "skipped", "It depends"), ("partial", "cancelled", "It depends")],
)
def test_what_was_under_way(path: Path, inflight: Any, status: str | None, text: str | None) -> None:
    with Journal(path) as journal:
        journal.start("q1", HASH, index=0)
        journal.start("q2", HASH, index=1)
        journal.partial("q2", "It depends", request_id="req_7", usage=ts.Usage(output_tokens=2))
    with Journal(path, inflight=inflight) as journal:
        killed, cancelled = journal.lookup("q1", HASH), journal.lookup("q2", HASH)
    if status is None:
        assert killed is None
        assert cancelled is None
    else:
        assert killed is not None
        assert cancelled is not None
        assert (killed.status, killed.text) == (status, "")
        assert (cancelled.status, cancelled.text) == (status, text)
        assert (cancelled.request_id, cancelled.usage) == ("req_7", ts.Usage(output_tokens=2))


@pytest.mark.parametrize("ended", ["start", "partial", "end", "error"])
def test_the_same_id_with_another_request_is_refused(path: Path, ended: str) -> None:
    with Journal(path) as journal:
        journal.start("q1", HASH, index=0)
        if ended == "partial":
            journal.partial("q1", "x")
        elif ended == "end":
            journal.end("q1", ok())
        elif ended == "error":
            journal.end("q1", Outcome(id="q1", status="error"))
        with pytest.raises(JournalConflictError, match="'q1' with another request"):
            journal.lookup("q1", OTHER)
    with Journal(path, retry_errors=True) as journal:
        with pytest.raises(JournalConflictError) as caught:
            journal.lookup("q1", OTHER)
    assert caught.value.id == "q1"


def test_what_was_given_up_is_unknown_again(path: Path) -> None:
    """The job was stopped, by a refused key for example: it was neither under way nor answered."""
    for reopen in (False, True):
        with Journal(path, inflight="skip", overwrite=not reopen) as journal:
            if not reopen:
                journal.start("q1", HASH, index=0)
                journal.end("q1", Outcome(id="q1", status="skipped", attempts=1))
                note(journal, "q2", ok())
                journal.end("q2", Outcome(id="q2", status="skipped", attempts=1))
            assert journal.lookup("q1", HASH) is journal.lookup("q1", OTHER) is None
            assert "q1" not in journal
    with Journal(path) as journal:
        assert "q2" in journal  # an answer is not forgotten
    assert next(read_journal(path)).status == "skipped"


def test_an_answer_is_not_forgotten_for_a_later_start(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok())
        journal.start("q1", HASH, index=0)
    with Journal(path) as journal:
        found = journal.lookup("q1", HASH)
    assert found is not None
    assert found.text == "Four."
    assert [outcome.status for outcome in read_journal(path)] == ["ok"]


def test_read_journal_orders(path: Path) -> None:
    with Journal(path) as journal:
        for index in (2, 0, 3, 1):
            journal.start(f"q{index}", HASH, index=index)
        for index in (3, 2, 1):
            journal.end(f"q{index}", ok(f"q{index}", index))
    assert [(o.id, o.status) for o in read_journal(path)] == [
        ("q0", "cancelled"),
        ("q1", "ok"),
        ("q2", "ok"),
        ("q3", "ok"),
    ]
    assert [o.id for o in read_journal(path, order="completion")] == ["q0", "q3", "q2", "q1"]


# The file.


def test_each_record_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = os.write

    def count(descriptor: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", count)
    with Journal(path) as journal:
        note(journal, "q1", ok(text="x" * 100_000))
    assert [json.loads(line)["record"] for line in written] == ["journal", "start", "end"]
    assert b"".join(written) == path.read_bytes()


def test_prompts_are_not_in_it_and_texts_are_utf8(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "frage/ü", ok("frage/ü", text="naïve 😀\n\x00"))
    assert "naïve 😀".encode() in path.read_bytes()
    assert [o.text for o in read_journal(path)] == ["naïve 😀\n\x00"]


def test_a_torn_last_line_is_cut(path: Path) -> None:
    """Wherever the write was stopped: what was before it stays, and what comes after it has a line of its own."""
    with Journal(path) as journal:
        note(journal, "q1", ok(text="naïve"))
        note(journal, "q2", ok("q2", 1))
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[: whole.rfind(b"\n", 0, cut) + 1]
        with Journal(path) as journal:
            assert journal.damaged == 0
            note(journal, "q3", ok("q3", 2))
        after = path.read_bytes()
        assert after.startswith(kept or HEADER)
        assert after.endswith(b"\n")
        ended = [r["key"] for r in records(path) if r["record"] == "end"]
        assert ended == [*(key for key in ("q1", "q2") if f'"end","key":"{key}"'.encode() in kept), "q3"]


def test_unknown_kinds_fields_and_damaged_lines_are_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok())
    strange = (
        b'{"record":"weather","key":7}\n{"record":"start","key":"q9","index":"many","novel":[1]}\n'
        b'not json\n\x00\x00\n[1]\n{"novel":1}\n'
        b'{"record":"end","key":"q2","hash":"","status":"ok","text":"Fine.","novel":{"a":1},"usage":7,"message":[],'
        b'"attempts":"x","ttft":"x","error":1}\n'
    )
    with path.open("ab") as file:
        file.write(strange)
    with Journal(path) as journal:
        assert journal.damaged == 2
        known = journal.lookup("q2", OTHER)  # it does not say what was asked
        assert known is not None
        assert (known.text, known.usage, known.message, known.attempts) == ("Fine.", None, None, 0)
        assert journal.lookup("q1", HASH) is not None
    assert strange in path.read_bytes()
    assert "2 lines of the journal cannot be read" in caplog.text


@pytest.mark.parametrize("content", [b"# Read me\n", b"text without an end", b'{"id":"q1"}\n', b'["journal"]\n', b"\n"])
def test_another_file_is_refused_and_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is not a journal"):
        Journal(path)
    with pytest.raises(JournalError, match="is not a journal"):
        read_journal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"# Read me\n", b"text without an end", b'{"id":"q1"}\n', b"\n"])
def test_another_file_is_not_overwritten(path: Path, content: bytes) -> None:
    """A name that was mistyped must not cost anybody a file."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is not a journal"):
        Journal(path, overwrite=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", HEADER[:9]])
def test_what_a_killed_run_left_of_a_journal_is_overwritten(path: Path, content: bytes) -> None:
    """It is a journal, although it has no whole line yet."""
    path.write_bytes(content)
    Journal(path, overwrite=True).close()
    assert path.read_bytes() == HEADER


def test_which_requests_are_others(path: Path) -> None:
    """Those of unknown keys are not, whatever they are, and neither are those whose record does not tell."""
    with Journal(path) as journal:
        note(journal, "q1", ok())
        journal.end("q2", ok("q2"))
        assert [journal.conflicts(key, HASH) for key in ("q1", "q2", "q3")] == [False] * 3
        assert [journal.conflicts(key, "other") for key in ("q1", "q2", "q3")] == [True, False, False]


def test_overwrite_begins_anew(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok())
    with Journal(path, overwrite=True) as journal:
        assert len(journal) == 0
    assert path.read_bytes() == HEADER


@pytest.mark.parametrize("make", [Journal, read_journal])
def test_what_cannot_be_opened_is_one_error(tmp_path: Path, make: Callable[[Path], object]) -> None:
    with pytest.raises(JournalError, match="Is a directory"):
        make(tmp_path)
    with pytest.raises(JournalError, match="No such file"):
        make(tmp_path / "none" / "j")


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    journal.close()
    assert "closed" in repr(journal)
    with pytest.raises(trio.ClosedResourceError):
        journal.start("q1", HASH, index=0)


@pytest.mark.parametrize(("fsync", "least", "most"), [(False, 0, 0), ("group", 2, 3), (True, 20, 22)])
def test_fsync(path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, least: int, most: int) -> None:
    """Never; about once a second and at the end; for every item."""
    synced: list[int] = []
    now = 0.0
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Journal(path, fsync=fsync) as journal:
        synced.clear()  # that of the folder
        for number in range(20):
            now += 0.06
            note(journal, f"q{number}", ok(f"q{number}", number))
    assert least <= len(synced) <= most


# Two processes.

_HOLD = """
import sys
from trio_stream.batch import Journal
with Journal(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        before = path.read_bytes()
        with pytest.raises(JournalError, match="in use: another run is writing it"):
            Journal(path, overwrite=True)
        assert path.read_bytes() == before
        assert list(read_journal(path)) == []
        holder.kill()
    with Journal(path):  # the lock died with its process
        pass


def test_a_second_journal_of_this_process_is_refused(path: Path) -> None:
    with Journal(path), pytest.raises(JournalError, match="in use"):
        Journal(path)


# A full disk.

_FILL = """
import resource, sys
from trio_stream.batch import Journal, JournalError, Outcome
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
journal = Journal(sys.argv[1])
for number in range(1000):
    key = f"q{number}"
    try:
        journal.start(key, "a" * 32, index=number)
        journal.end(key, Outcome(id=key, index=number, status="ok", text="x" * 50))
    except JournalError as error:
        print(number, error)
        break
try:
    journal.end("small", Outcome(id="s", index=number, status="ok"))
except JournalError:
    print("still full")
journal.close()
"""


@pytest.mark.parametrize("limit", [3_000, 3_001, 3_100, 3_210])
def test_a_full_disk(path: Path, limit: int) -> None:
    """A clear error; what was written is there, in whole lines; with room again it goes on."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FILL, path, str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    number, _, sentence = done.stdout.splitlines()[0].partition(" ")
    assert "answers.journal cannot be written: File too large" in sentence
    lines = records(path)  # each of them parses
    ended = [line["key"] for line in lines if line["record"] == "end" and line["key"] != "small"]
    assert ended == [f"q{n}" for n in range(int(number))]
    with Journal(path) as journal:
        assert journal.damaged == 0
        assert journal.lookup(f"q{number}", "a" * 32) is None
        note(journal, "after", ok("after", 5), request_hash="b" * 32)
    assert sum(line["record"] == "end" and line["key"] == "after" for line in records(path)) == 1


def test_a_short_write_is_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        note(journal, "q1", ok())
    monkeypatch.undo()
    assert [o.text for o in read_journal(path)] == ["Four."]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    """On a file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed")
    try:
        written = 0
        with Journal(disk / "j") as journal:
            with pytest.raises(JournalError, match="No space left on device"):
                while True:
                    note(journal, f"q{written}", ok(f"q{written}", written, text="x" * 3_000))
                    written += 1
            assert written > 5
        assert [o.status for o in read_journal(disk / "j")].count("ok") == written
    finally:
        subprocess.run(["umount", disk], check=True)


# Size.


@pytest.mark.no_cover
def test_a_hundred_thousand_records_are_read_back_quickly(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEADER)
        for number in range(100_000):
            key = f"item-{number}"
            file.write(
                b'{"record":"start","key":"%b","hash":"%b","index":%d,"at":1.5}\n'
                % (key.encode(), HASH.encode(), number)
            )
            file.write(
                b'{"record":"end","key":"%b","hash":"%b","index":%d,"at":1.5,"status":"ok","text":"%b","attempts":1}\n'
                % (key.encode(), HASH.encode(), number, b"word " * 60)
            )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with Journal(path) as journal:
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        assert len(journal) == 100_000
        found = journal.lookup("item-77777", HASH)
    assert found is not None
    assert found.text.startswith("word")
    assert seconds < 1.5  # 0.3 s where nothing else runs


# SIGKILL between and in writes.

_WRITE = """
import os, sys
from trio_stream.batch import Journal, Outcome
with Journal(sys.argv[1], inflight="retry") as journal:
    for number in range(100_000):
        key = f"q{number}"
        if journal.lookup(key, "a" * 32) is None:
            journal.start(key, "a" * 32, index=number)
            journal.end(key, Outcome(id=key, index=number, status="ok", text="x" * 5_000))
            os.write(1, b"%d\\n" % number)
"""


def test_what_was_acknowledged_survives_sigkill(path: Path) -> None:
    told: list[int] = []
    for milliseconds in (20, 35, 50, 80):
        with subprocess.Popen([sys.executable, "-c", _WRITE, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(milliseconds / 1000)
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in (first + writer.stdout.read()).splitlines()]
    with Journal(path) as journal:  # cuts a torn last line
        assert journal.damaged == 0
    ended = [record["index"] for record in records(path) if record["record"] == "end"]
    assert len(told) > 20
    assert ended == sorted(set(ended)), "none twice"
    assert set(told) <= set(ended), "none lost"
    assert len(set(ended) - set(told)) <= 4, "only what was written and not yet told"


# What the disk and others do to it.


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        ("lseek", {}, "cannot be read: Input/output error"),
        ("ftruncate", {"overwrite": True}, "cannot be read: Input/output error"),
        ("write", {}, "cannot be written: Input/output error"),
    ],
)
def test_a_disk_that_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, options: dict[str, Any], says: str
) -> None:
    """One error, with the reason; and nobody keeps the lock."""
    if function == "lseek":
        with Journal(path) as journal:
            note(journal, "q1", ok())
    monkeypatch.setattr(os, function, failing(errno.EIO))
    with pytest.raises(JournalError, match=says) as caught, Journal(path, fsync=True, **options) as journal:
        journal.lookup("q1", HASH)
        note(journal, "q1", ok())
    assert caught.value.path == path
    monkeypatch.undo()
    with Journal(path) as journal:
        note(journal, "q2", ok())


def test_a_disk_that_does_not_keep_what_it_took(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, fsync=True)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(JournalError, match="cannot be written: Input/output error"):
        note(journal, "q1", ok())
    monkeypatch.undo()
    journal.close()


def test_a_disk_without_room_for_the_first_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _descriptor, data: len(data) - 1)
    with pytest.raises(JournalError, match="cannot be written: the disk is full"):
        Journal(path)


def test_a_file_system_without_locks_is_warned_of(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with Journal(path) as journal:
        note(journal, "q1", ok())
    assert "only one process" in caplog.text
    assert [o.text for o in read_journal(path)] == ["Four."]


def test_a_file_that_is_changed_while_it_is_in_use(path: Path) -> None:
    with Journal(path) as journal:
        note(journal, "q1", ok())
        path.write_bytes(b"x" * path.stat().st_size)
        with pytest.raises(JournalError, match="changed by someone else"):
            journal.lookup("q1", HASH)


def test_a_record_longer_than_any_read(path: Path) -> None:
    text = "long " * 50_000
    with Journal(path) as journal:
        note(journal, "q1", ok(text=text))
        known = journal.lookup("q1", HASH)
    assert known is not None
    assert known.text == text


def test_a_message_keeps_a_usage_of_its_own(path: Path) -> None:
    message = ts.Message(id="msg_1", model="m", content=(), usage=ts.Usage(input_tokens=1, output_tokens=2))
    with Journal(path) as journal:
        note(journal, "q1", ok(message=message, usage=ts.Usage(input_tokens=3, output_tokens=4)))
    (outcome,) = read_journal(path)
    assert outcome.message is not None
    assert outcome.message.usage == message.usage
    assert outcome.usage == ts.Usage(input_tokens=3, output_tokens=4)


@pytest.mark.parametrize("field", ["usage", "message"])
def test_a_field_that_is_not_what_it_should_be_is_left_out(path: Path, field: str) -> None:
    """By another version, or by hand: the rest of the record is as good as before."""
    with Journal(path) as journal:
        note(journal, "q1", ok(usage=ts.Usage(input_tokens=3, output_tokens=4)))
    *others, last = records(path)
    last[field] = {"input_tokens": "three", "content": 5}
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in (*others, last)))
    (outcome,) = read_journal(path)
    assert outcome.text == "Four."
    assert getattr(outcome, field) is None
