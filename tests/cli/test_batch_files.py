"""The files that `trio-stream batch` writes: only those that are its own, and whatever has become of them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trio_stream.batch import read_journal
from trio_stream.cli._batch_line import is_output_line
from trio_stream.testing import RecordedRequest, ScriptedAPI, say

from .running import Finished, run_cli
from .test_input_mistakes import (
    GOOD,
    Run,
    run as run,
)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


FOREIGN: dict[str, bytes] = {
    "text": b"my notes\n",
    "text without an end": b"my notes",
    "prompts": b'{"id":"a","prompt":"x"}\n{"id":"b","prompt":"y"}\n',
    "binary": b"\x7fELF\x02\x01\x01\0\0\0" * 9,
    "a blank line": b"\n",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "--overwrite"])
@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--output", "an output of this command"),
        ("--journal", "a journal"),
        ("--skip-invalid", "a file of rejected lines"),
    ],
)
def test_a_file_of_another_kind_stays(
    run: Run, tmp_path: Path, option: str, what: str, overwrite: list[str], content: bytes
) -> None:
    """One line says so, and nothing is made beside it."""
    source, other = tmp_path / "p", tmp_path / "other"
    source.write_bytes(GOOD)
    other.write_bytes(content)
    more = [] if option == "--output" else ["--output", tmp_path / "out"]
    done = run("batch", source, option, other, *more, *overwrite)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{other} exists and is not {what}: name another file" in done.err
    assert other.read_bytes() == content
    assert files_in(tmp_path) == {"p", "other"}


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [(Path.mkdir, "a directory"), (pipe, "a pipe (FIFO)"), (listening, "a socket")],
    ids=["directory", "FIFO", "socket"],
)
@pytest.mark.parametrize("option", ["--output", "--journal", "--skip-invalid"])
def test_what_is_no_file(run: Run, tmp_path: Path, option: str, make: Callable[[Path], None], what: str) -> None:
    """It is told in one line, at once."""
    source, other = tmp_path / "p", tmp_path / "x"
    source.write_bytes(GOOD)
    make(other)
    more = [] if option == "--output" else ["--output", tmp_path / "out"]
    done = run("batch", source, option, other, *more)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{option} {other} is {what}, and a run continues from its files: " in done.err


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("/dev/null", "a device"),
        ("/dev/stdout", "a file that is open already"),
        ("/dev/fd/1", "a file that is open already"),
    ],
)
def test_devices(run: Run, tmp_path: Path, name: str, what: str) -> None:
    """Standard output has a name of its own."""
    (tmp_path / "p").write_bytes(GOOD)
    done = run("batch", tmp_path / "p", "-o", name)
    why = f"--output {name} is {what}, and a run continues from its files: write to standard output with `-o -`"
    assert (done.code, done.err) == (2, f"trio-stream batch: {why}\n")


OPTIONS = ["--output", "--journal", "--skip-invalid", "--summary", "--report"]


def loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def leading_nowhere(path: Path) -> Path:
    path.symlink_to("none/x")
    return path


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (loop, "cannot be used: "),
        (leading_nowhere, "there is no "),
        (lambda path: path / "none" / "x", "there is no "),
        (lambda path: path.with_name("p") / "x", "cannot be used: Not a directory"),
        (lambda path: path.with_name("x" * 300), "cannot be used: File name too long"),
    ],
    ids=["a loop of links", "a link to nowhere", "no folder", "in a file", "a long name"],
)
@pytest.mark.parametrize("option", OPTIONS)
def test_places_that_cannot_be_written(
    run: Run, tmp_path: Path, option: str, place: Callable[[Path], Path], why: str
) -> None:
    """One line says so before anything is sent, also for what is written at the end; and nothing is made."""
    (tmp_path / "p").write_bytes(GOOD)
    path = place(tmp_path / "x")
    before = {name.name for name in tmp_path.iterdir()}
    more = [] if option == "--output" else ["--output", tmp_path / "out"]
    done = run("batch", tmp_path / "p", option, path, *more)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{option} {path}" in done.err
    assert why in done.err
    assert {name.name for name in tmp_path.iterdir()} == before


def test_a_journal_whose_name_would_be_too_long(run: Run, tmp_path: Path) -> None:
    """The name of the output alone is not."""
    (tmp_path / "p").write_bytes(GOOD)
    done = run("batch", tmp_path / "p", "-o", tmp_path / ("x" * 250))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert ".journal cannot be used: File name too long" in done.err


@pytest.mark.parametrize("there", [False, True])
def test_files_that_nobody_may_write(run: Run, tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where permissions say so, or a file system that is mounted for reading only."""
    (tmp_path / "p").write_bytes(GOOD)
    if there:
        (tmp_path / "o").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = run("batch", tmp_path / "p", "-o", tmp_path / "o")
    words = "o may not be written" if there else f"nothing can be written to {tmp_path}"
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err


def test_a_summary_that_is_a_directory(run: Run, tmp_path: Path) -> None:
    """It is told before anything is sent, not afterwards."""
    (tmp_path / "p").write_bytes(GOOD)
    done = run("batch", tmp_path / "p", "-o", tmp_path / "out", "--summary", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is a directory" in done.err


@pytest.mark.parametrize("content", [*FOREIGN.values(), b'{"exit_code": 0}'], ids=[*FOREIGN, "other figures"])
def test_a_summary_replaces_no_file_of_another_kind(run: Run, tmp_path: Path, content: bytes) -> None:
    """Only that of an earlier run."""
    (tmp_path / "p").write_bytes(GOOD)
    (tmp_path / "s").write_bytes(content)
    done = run("batch", tmp_path / "p", "-o", tmp_path / "out", "--summary", tmp_path / "s", "--overwrite")
    assert (done.code, (tmp_path / "s").read_bytes()) == (2, content)
    assert "exists and is not a summary of this command: name another file" in done.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-o", "out", "--journal", "out"], "--journal out is the output"),
        (["-o", "out", "--summary", "out"], "--summary out is the output"),
        (["-o", "out", "--summary", "out.journal"], "--summary out.journal is the journal"),
        (["-o", "out", "--skip-invalid", "./out"], "--skip-invalid out is the output"),
        (["-o", "out", "--summary", "s", "--skip-invalid", "s"], "--skip-invalid s is the summary"),
        (["-o", "system", "--system", "system", "--overwrite"], "--output system is the system prompt"),
        (["-o", "system", "--prefix", "system", "--overwrite"], "--output system is the prefix"),
        (["-o", "out", "--skip-invalid", "p"], "--skip-invalid p is the input"),
    ],
)
def test_one_file_for_two_purposes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    """Neither what is read nor what is written otherwise is overwritten, whether it is there yet or not."""
    monkeypatch.chdir(tmp_path)
    Path("p").write_bytes(GOOD)
    Path("system").write_text("Be brief.")
    done = run("batch", "p", *args)
    assert (done.code, done.err) == (2, f"trio-stream batch: {words}: name another file\n")
    assert (Path("p").read_bytes(), Path("system").read_text()) == (GOOD, "Be brief.")


@pytest.mark.parametrize("option", ["--output", "--journal", "--summary", "--skip-invalid"])
def test_the_file_that_standard_input_is_read_from(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """It has no name on the command line, and is the input all the same."""
    source = tmp_path / "p"
    source.write_bytes(GOOD)
    more = [] if option == "--output" else ["--output", tmp_path / "out"]
    with source.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run("batch", "-", option, source, *more, "--overwrite")
    assert (done.code, done.err) == (2, f"trio-stream batch: {option} {source} is the input: name another file\n")
    assert source.read_bytes() == GOOD


def test_an_input_that_standard_output_is_appended_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``>> prompts.jsonl`` each answer would be a further line of the input."""
    source = tmp_path / "p"
    source.write_bytes(GOOD)
    with source.open("a") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        done = run("batch", source, "-o", "-")
    assert (done.code, done.err) == (2, "trio-stream batch: standard output is the input: name another file\n")
    assert source.read_bytes() == GOOD


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "--overwrite"])
def test_an_output_that_another_run_writes(run: Run, tmp_path: Path, overwrite: list[str]) -> None:
    """Also where each has a journal of its own."""
    (tmp_path / "p").write_bytes(GOOD)
    output = tmp_path / "out"
    with output.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run("batch", tmp_path / "p", "-o", output, "--journal", tmp_path / "own", *overwrite)
    assert (done.code, done.err) == (1, f"trio-stream batch: {output} is in use: another run is writing it\n")


def test_rejected_lines_may_go_nowhere(run: Run, tmp_path: Path) -> None:
    """A device takes them, and has nothing to lose."""
    (tmp_path / "p").write_bytes(b"{\n")
    done = run("batch", tmp_path / "p", "-o", tmp_path / "out", "--skip-invalid", "/dev/null")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "none of its 1 lines can be used" in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this device")
def test_rejected_lines_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    """They must not be lost silently."""
    (tmp_path / "p").write_bytes(b"{\n")
    done = run("batch", tmp_path / "p", "-o", tmp_path / "out", "--skip-invalid", "/dev/full")
    assert (done.code, done.err) == (1, "trio-stream batch: /dev/full cannot be written: No space left on device\n")


def test_merging_into_a_pipe(run: Run, tmp_path: Path) -> None:
    """It is refused, and not waited for."""
    (tmp_path / "a").write_bytes(b'{"id":"a","index":0,"status":"ok","hash":"1"}\n')
    os.mkfifo(tmp_path / "pipe")
    done = run("merge", tmp_path / "a", "-o", tmp_path / "pipe", "--overwrite")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "pipe is not a file, so it cannot be replaced\n" in done.err
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_merging_replaces_no_file_of_another_kind(run: Run, tmp_path: Path, content: bytes) -> None:
    """With ``--overwrite`` it replaces outputs and journals."""
    output, other = tmp_path / "out", tmp_path / "other"
    output.write_bytes(b'{"id":"a","index":0,"status":"ok","text":"x","hash":"h"}\n')
    other.write_bytes(content)
    done = run("merge", output, "-o", other, "--overwrite")
    assert (done.code, done.err.count("\n"), other.read_bytes()) == (2, 1, content)
    assert "neither an output of `trio-stream batch` nor a journal" in done.err
    other.write_bytes(output.read_bytes() * 2)
    assert run("merge", output, "-o", other, "--overwrite").code == 0
    assert other.read_bytes() == output.read_bytes()


# Damage.


def prompts(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"id": f"q{n}", "prompt": f"question {n}"}) + "\n" for n in range(count)))
    return path


def echo(request: RecordedRequest) -> list[Any]:
    return [say(request.messages[0]["content"])]


async def batch(*args: str | Path, api: ScriptedAPI) -> Finished:
    async with api.serve() as server:
        done = await run_cli("batch", *map(str, args), base_url=server.base_url)
        assert done.code == 0, done
        return done
    raise AssertionError("the server hides no errors")


def cut(lines: list[bytes]) -> None:
    lines[1] = lines[1][:20] + b"\n"


def zeros(lines: list[bytes]) -> None:
    lines[1] = b"\0" * 100 + b"\n"


def first(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'"status"', b'"st', 1)


def joined(lines: list[bytes]) -> None:
    lines[1] = lines[1].rstrip(b"\n")


def not_utf_8(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b"question", b"question \xff", 1)


def doubled(lines: list[bytes]) -> None:
    lines.insert(2, lines[0])


def only_zeros(lines: list[bytes]) -> None:
    lines[:] = [b"\0" * sum(map(len, lines))]


def mostly_cut(lines: list[bytes]) -> None:
    lines[:] = [line[:10] + b"\n" for line in lines]


def without_beginnings(lines: list[bytes]) -> None:
    lines[:] = [line[5:] for line in lines]


@pytest.mark.parametrize(
    "damage", [cut, zeros, first, joined, not_utf_8, doubled, only_zeros, mostly_cut, without_beginnings]
)
@pytest.mark.parametrize("order", ["input", "completion"])
async def test_damaged_lines_are_made_again(tmp_path: Path, damage: Callable[[list[bytes]], None], order: str) -> None:
    """The journal has their answers: nothing is sent again, and each item has one line."""
    source, output = prompts(tmp_path / "p", 6), tmp_path / "out"
    args = (source, "-o", output, "--order", order)
    await batch(*args, api=ScriptedAPI(default=echo))
    rows = sorted(output.read_bytes().splitlines())
    lines = output.read_bytes().splitlines(keepends=True)
    damage(lines)
    output.write_bytes(b"".join(lines))
    api = ScriptedAPI(default=echo)
    done = await batch(*args, api=api)
    assert api.requests == []
    assert (f"damaged lines of {output}: " in done.err) == (damage not in (doubled, only_zeros))
    again = output.read_bytes().splitlines()
    assert sorted(again) == rows
    if order == "input":
        assert [json.loads(line)["index"] for line in again] == [*range(6)]
    assert files_in(tmp_path) == {"p", "out", "out.journal"}


async def test_a_damaged_line_without_a_journal_is_asked_again(tmp_path: Path) -> None:
    """Nothing else knows its answer; the other lines are noted in the new journal."""
    source, output = prompts(tmp_path / "p", 4), tmp_path / "out"
    await batch(source, "-o", output, api=ScriptedAPI(default=echo))
    lines = output.read_bytes().splitlines(keepends=True)
    cut(lines)
    output.write_bytes(b"".join(lines))
    (tmp_path / "out.journal").unlink()
    api = ScriptedAPI(default=echo)
    await batch(source, "-o", output, api=api)
    assert len(api.requests) == 1
    assert {o.id for o in read_journal(tmp_path / "out.journal")} == {"q0", "q1", "q2", "q3"}


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (b'{"id":"a","status":"ok","hash":"h"}\n', True),
        (b'{"id":"a","status":"ok","te', True),
        (b'{"id":"a","prompt":"x"}\n', False),
        (b'{"id": "a", "stat', False),
        (b"[]\n", False),
        (b"\xff\n", False),
        (b'{"id":"a","prompt":"x', False),
        (b'tus":"ok","hash":"h"}\n', False),
        (b'"status":"ok","text":"x","hash":"h"}\n', True),
        (b"\0\0\0\n", True),
        (b"\n", False),
    ],
)
def test_lines_of_an_output(line: bytes, is_one: bool) -> None:
    """Those that are damaged are known by how they begin, and by what else they have."""
    assert is_output_line(line) == is_one


def test_a_prompt_that_was_cut_is_no_output(run: Run, tmp_path: Path) -> None:
    """It begins like a row; but a file of prompts is not emptied for that."""
    (tmp_path / "p").write_bytes(GOOD)
    torn = b'{"id":"a","prompt":"x"}\n{"id":"b","prompt":"y'
    (tmp_path / "o").write_bytes(torn)
    done = run("batch", tmp_path / "p", "-o", tmp_path / "o", "--overwrite")
    assert (done.code, (tmp_path / "o").read_bytes()) == (2, torn)
    assert is_output_line(torn, has_journal=True) is True


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other kinds of files")
