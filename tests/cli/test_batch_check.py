"""`trio-stream batch` checks its input before money flows: all faults at once, and the lines that are left out."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.forked import FORKS, SECONDS
from trio_stream.batch import Journal, Outcome, request_hash
from trio_stream.cli._batch_check import SHOWN, Checker
from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_recipe import Recipe
from trio_stream.cli._batch_rejects import RejectsFile
from trio_stream.cli._line_file import LineFile
from trio_stream.cli._rows_json import JsonLinesReader
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, pause, say

from .running import SECRET, Finished, environment, program, run_cli

DEFAULTS = {"model": "claude-sonnet-5-5", "max_tokens": 4096}


def good(name: str, prompt: str = "x") -> str:
    return json.dumps({"id": name, "prompt": prompt})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def echo(request: RecordedRequest) -> list[Step]:
    return [say(request.messages[0]["content"])]


async def batch(*args: str | Path, api: ScriptedAPI | None = None, stdin: bytes = b"") -> Finished:
    async with (api or ScriptedAPI(default=echo)).serve() as server:
        done = await run_cli("batch", *map(str, args), stdin=stdin, base_url=server.base_url)
        assert "Traceback" not in done.err, done
        return done
    raise AssertionError("the server hides no errors")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FAULTY = (
    good("a"),
    '{"id": "b", "prompt": "x", "max_tokens": null}',
    "",
    good("a", "again"),
    '{"prompt": NaN}',
    good("c"),
)
FAULTS = {2: "`max_tokens` is not a whole number", 4: "a is repeated (lines 1 and 4)", 5: "write null"}


async def test_all_faults_at_once(tmp_path: Path) -> None:
    """Each has a line with its place, the number of all comes last, and nothing is sent or written."""
    source, api = write(tmp_path / "p", *FAULTY), ScriptedAPI(default=echo)
    done = await batch(source, "-o", tmp_path / "out", api=api)
    *faults, last = done.err.splitlines()
    assert done.code == 2
    for line, (number, words) in zip(faults, FAULTS.items(), strict=True):
        assert line.startswith(f"trio-stream batch: {source}, line {number}, column ")
        assert words in line
    assert last == (
        "trio-stream batch: 3 of 5 lines cannot be used, so nothing was sent; --skip-invalid FILE leaves them out"
    )
    assert api.requests == []
    assert [*files_of(tmp_path)] == ["p"]


async def test_many_faults_are_counted(tmp_path: Path) -> None:
    """The first twenty are listed."""
    source = write(tmp_path / "p", *("{}" for _ in range(500)))
    done = await batch(source, "-o", tmp_path / "out")
    *faults, last = done.err.splitlines()
    assert (done.code, len(faults)) == (2, SHOWN)
    assert "and 480 more; 500 of 500 lines cannot be used" in last


async def test_edited_prompts_are_among_them(tmp_path: Path) -> None:
    """A known id with another request is told with everything else, before the lines that are new are sent."""
    source, output = write(tmp_path / "p", good("a"), good("b")), tmp_path / "out"
    assert (await batch(source, "-o", output)).code == 0
    before = files_of(tmp_path)
    write(source, good("new"), good("b", "edited"), "{", good("a"))
    api = ScriptedAPI(default=echo)
    done = await batch(source, "-o", output, api=api)
    edited, broken, _ = done.err.splitlines()
    assert (done.code, api.requests) == (2, [])
    assert f"{source}, line 2, column 2: {output}.journal has b with another request: give it another id" in edited
    assert "line 3, column 2: not JSON" in broken
    assert files_of(tmp_path) == before | {"p": source.read_bytes()}


async def test_the_output_alone_knows_them_too(tmp_path: Path) -> None:
    """Where the journal was lost, it is made again from the output first."""
    source, output = write(tmp_path / "p", good("a")), tmp_path / "out"
    assert (await batch(source, "-o", output)).code == 0
    (tmp_path / "out.journal").unlink()
    done = await batch(write(source, good("a", "edited")), "-o", output)
    assert done.code == 2
    assert "has a with another request" in done.err


async def test_lines_that_are_left_out(tmp_path: Path) -> None:
    """They are in a file with their reasons, the others keep their positions, and the run goes on."""
    source, output, rejects = write(tmp_path / "p", *FAULTY), tmp_path / "out", tmp_path / "rejects"
    summary = tmp_path / "summary"
    args = (source, "-o", output, "--skip-invalid", rejects, "--summary", summary)
    done = await batch(*args)
    assert done.code == 0, done
    assert {row["id"]: row["index"] for row in rows_of(output)} == {"a": 0, "c": 4}
    assert json.loads(summary.read_bytes())["rejected"] == 3
    assert f"lines of the input that are left out: 3; {rejects} has the reasons\n" in done.err
    for row, (number, words) in zip(rows_of(rejects), FAULTS.items(), strict=True):
        assert (row["line"], row["text"]) == (number, FAULTY[number - 1])
        assert words in row["reason"]
    fixed = write(source, good("a"), good("b"), "", good("d"), good("e"), good("c"))
    api = ScriptedAPI(default=echo)
    assert (await batch(*args, api=api)).code == 0
    assert (len(api.requests), rejects.read_bytes(), fixed.exists()) == (3, b"", True)


async def test_edited_prompts_can_be_left_out(tmp_path: Path) -> None:
    """The answer to the earlier request stays."""
    source, output = write(tmp_path / "p", good("a")), tmp_path / "out"
    await batch(source, "-o", output)
    write(source, good("a", "edited"), good("b"))
    done = await batch(source, "-o", output, "--skip-invalid", tmp_path / "rejects")
    assert done.code == 0, done
    assert [(row["id"], row["text"]) for row in rows_of(output)] == [("a", "x"), ("b", "x")]
    assert [row["line"] for row in rows_of(tmp_path / "rejects")] == [1]


async def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    """There is no run without items, whatever is left out."""
    source = tmp_path / "p"
    source.write_bytes(b"{\ncaf\xe9\n")
    done = await batch(source, "-o", tmp_path / "out", "--skip-invalid", tmp_path / "rejects")
    assert (done.code, done.err) == (2, f"trio-stream batch: {source}: none of its 2 lines can be used\n")
    assert [row["text"] for row in rows_of(tmp_path / "rejects")] == ["{", r"caf\xe9"]
    assert not (tmp_path / "out").exists()


async def test_each_shard_has_the_lines_that_are_its_own(tmp_path: Path) -> None:
    """Together they are those of the whole input."""
    source = write(tmp_path / "p", good("a"), "{", good("b"), "{", "{", good("a"))
    for shard in ("0", "1"):
        done = await batch(
            source, "-o", tmp_path / "out{shard}", "--shard", f"{shard}/2", "--skip-invalid", tmp_path / "no{shard}"
        )
        assert done.code == 0, done
    assert [row["line"] for row in rows_of(tmp_path / "no0")] == [5]
    assert [row["line"] for row in rows_of(tmp_path / "no1")] == [2, 4, 6]
    assert {row["id"] for row in rows_of(tmp_path / "out0")} == {"a", "b"}


LATE: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "line 3, column 2: not JSON"),
    "a repeated id": (good("a"), "a is repeated (lines 1 and 3)"),
    "an edited prompt": (good("known", "edited"), "has known with another request"),
    "no request": ('{"id": "c", "prompt": "x", "max_tokens": null}', "`max_tokens` is not a whole number"),
}


@pytest.mark.parametrize(("line", "words"), LATE.values(), ids=LATE)
async def test_a_late_fault_of_a_pipe_drains(tmp_path: Path, line: str, words: str) -> None:
    """What is under way when it comes has been paid for: it is finished, and nothing new is started."""
    journal = tmp_path / "out.journal"
    with Journal(journal) as earlier:
        params = DEFAULTS | {"messages": [{"role": "user", "content": "x"}]}
        earlier.start("known", request_hash(params), index=0)
        earlier.end("known", Outcome(id="known", status="ok", text="x"))
    api = ScriptedAPI(default=[say("slow ", pause(0.3), "answer")])
    async with api.serve() as server:
        env = environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        args = program("batch", "-", "-o", str(tmp_path / "out"), "--progress", "none")
        async with FORKS.start(args, env=env) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            with trio.fail_after(SECONDS):
                await process.stdin.send_all(f"{good('a')}\n{good('b')}\n".encode())
                while api.open_streams != 2:
                    await trio.sleep(0.005)
                await process.stdin.send_all(f"{line}\n{good('d')}\n".encode())
                assert await process.wait() == 2
            said = (await process.stderr.receive_some()).decode()
            assert words in said
            assert said.endswith("; the items before it are done\n")
    assert sorted(row["text"] for row in rows_of(tmp_path / "out")) == ["slow answer"] * 2
    assert len(api.requests) == 2


async def test_lines_of_a_pipe_are_left_out(tmp_path: Path) -> None:
    """As those of a file are; the lines after them are sent."""
    data = "\n".join(FAULTY).encode()
    done = await batch("-", "-o", "-", "--skip-invalid", tmp_path / "rejects", "--progress", "none", stdin=data)
    assert done.code == 0, done
    assert sorted(json.loads(line)["id"] for line in done.out.splitlines()) == ["a", "c"]
    assert [row["line"] for row in rows_of(tmp_path / "rejects")] == [*FAULTS]
    assert "left out: 3; " in done.err


async def test_a_dry_run_lists_them(tmp_path: Path) -> None:
    """It tells of repeated ids by the way, and of other faults as a run would; the file for rejected lines is not made."""
    source = write(tmp_path / "p", *FAULTY)
    done = await batch(source, "-o", tmp_path / "out", "--dry-run", "--skip-invalid", tmp_path / "rejects")
    assert (done.code, len(done.err.splitlines())) == (2, 3)
    assert [*files_of(tmp_path)] == ["p"]


def check(source: Path, rejects: RejectsFile | None = None) -> FileInput:
    reader = JsonLinesReader(LineFile(source.open("rb"), str(source), gzipped=False))
    found = FileInput(reader, Checker(Recipe(DEFAULTS, None)), Part(), name=str(source))
    found.check(rejects)
    return found


@pytest.mark.parametrize(
    ("later", "ids", "words"),
    [
        ([good("a"), "{"], ["a"], "line 2, column 2: not JSON"),
        ([good("a")], ["a"], "has become shorter"),
        ([good("a"), good("b"), good("c")], ["a", "b"], "line 3: it was not there before"),
    ],
)
def test_a_file_that_changes_while_it_is_sent(tmp_path: Path, later: list[str], ids: list[str], words: str) -> None:
    """The items end, and the fault says why: what is under way is finished."""
    source = write(tmp_path / "p", good("a"), good("b"))
    found = check(source)
    write(source, *later)
    sent = [entry.id for entry in found.entries()]
    found.close()
    assert sent == ids
    assert words in str(found.fault)
    assert "was changed while it was in use" in str(found.fault)


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    """It is read twice, and of its lines only the numbers of those that are left out are kept."""
    text = "word " * 400
    source = write(tmp_path / "p", *(json.dumps({"prompt": text} if n % 2 else {"text": text}) for n in range(3000)))
    rejects = RejectsFile(tmp_path / "rejects")
    tracemalloc.start()
    try:
        found = check(source, rejects)
        assert sum(1 for _ in found.entries()) == rejects.count == 1500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    found.close()
    rejects.close()
    assert source.stat().st_size > 6_000_000
    assert peak < 500_000
