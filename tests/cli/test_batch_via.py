"""`trio-stream batch --via batch`: leaving batches, collecting them, the deadline, Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.forked import SECONDS
from trio_stream.testing import Batches, RecordedRequest, ScriptedAPI, http_error, say

from .running import SECRET, Finished, Running, program, run_cli


def echo(request: RecordedRequest) -> Any:
    return [say(f"<{request.messages[0]['content']}>")]


def api_of(**batches: Any) -> ScriptedAPI:
    return ScriptedAPI(default=echo, batches=Batches(**batches))


def prompts(folder: Path, count: int = 5) -> str:
    path = folder / "p.jsonl"
    path.write_text("".join(f'"question {number}"\n' for number in range(count)))
    return str(path)


def creations(api: ScriptedAPI) -> int:
    return sum((request.method, request.path) == ("POST", "/v1/messages/batches") for request in api.requests)


async def run(folder: Path, base_url: str, *args: str, stdin: bytes = b"") -> Finished:
    source = "-" if stdin else prompts(folder)
    return await run_cli(
        "batch", source, "-o", str(folder / "a.jsonl"), "--via", "batch", *args, base_url=base_url, stdin=stdin
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "a.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("stdin", [b"", b'"question 0"\n"question 1"\n"question 2"\n"question 3"\n"question 4"\n'])
async def test_detach_and_collect(tmp_path: Path, stdin: bytes) -> None:
    """The first run leaves a batch; a later one collects it once it has ended, and creates none."""
    api = api_of(seconds=3600)
    async with api.serve() as server:
        for _ in range(2):  # the second looks, and waits for nothing
            done = await run(tmp_path, server.base_url, "--detach", stdin=stdin)
            assert done.code == 5, done
            assert "the same command collects the batches msgbatch_" in done.err
            assert len(lines(tmp_path)) == 1  # the probe
        for batch in api.batches._batches:
            batch._seconds = 0
        done = await run(tmp_path, server.base_url, "--detach", stdin=stdin)
    assert done.code == 0, done
    assert creations(api) == 1
    assert sorted(line["text"] for line in lines(tmp_path)) == [f"<question {number}>" for number in range(5)]
    assert sorted(line["index"] for line in lines(tmp_path)) == [*range(5)]


async def test_an_output_by_the_name_of_a_link(tmp_path: Path) -> None:
    """It is the same job, so batches that go on are collected, not bought again; and the link stays one."""
    api, link = api_of(seconds=0), trio.Path(tmp_path / "link.jsonl")
    async with api.serve() as server:
        done = await run(tmp_path, server.base_url, "--detach")
        assert done.code in (0, 5), done
        await link.symlink_to("a.jsonl")
        args = ("batch", prompts(tmp_path), "-o", str(link), "--via", "batch")
        collected = await run_cli(*args, base_url=server.base_url)
        async with await trio.open_file(tmp_path / "a.jsonl", "a") as file:
            await file.write("{\n")  # a damaged line is removed, for which the file is written again
        again = await run_cli(*args, base_url=server.base_url)
    assert (collected.code, again.code) == (0, 0), (collected, again)
    assert creations(api) == 1
    assert await link.is_symlink()
    assert len(lines(tmp_path)) == 5
    assert not await trio.Path(tmp_path / "link.jsonl.journal").exists()


async def test_detach_of_a_run_with_errors(tmp_path: Path) -> None:
    """There is nothing to collect, and the exit status is that of the errors."""
    api = ScriptedAPI(default=lambda _: [http_error(400)], batches=Batches())
    async with api.serve() as server:
        done = await run(tmp_path, server.base_url, "--detach", "--limit", "1")
    assert done.code == 3, done


async def test_the_deadline(tmp_path: Path) -> None:
    """What is in no batch by then is streamed."""
    api = api_of(faults=["queue_full"] * 9)
    async with api.serve() as server:
        done = await run(tmp_path, server.base_url, "--deadline", "0.5s")
    assert done.code == 0, done
    assert len(lines(tmp_path)) == 5
    assert "deadline" not in done.err


async def test_ctrl_c_twice_cancels(tmp_path: Path) -> None:
    """The first leaves the batches once they exist, which a full queue keeps from happening here."""
    api = api_of(faults=["queue_full"] * 9)
    command = program("batch", prompts(tmp_path), "-o", str(tmp_path / "a.jsonl"), "--via", "batch")
    async with api.serve() as server:
        async with Running(command, ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running:
            with trio.fail_after(SECONDS):
                while not creations(api):
                    await trio.sleep(0.01)
            running.interrupt()
            await trio.sleep(0.3)
            assert running.process.poll() is None
            running.interrupt()
            assert await running.finish() == 130
    assert "leaving the batches to go on (none yet)" in running.err


async def test_ctrl_c_twice_cancels_batches_that_exist(tmp_path: Path) -> None:
    """The first waits for a second, which somebody types who has read what was said."""
    api = api_of(seconds=300)
    command = program("batch", prompts(tmp_path), "-o", str(tmp_path / "a.jsonl"), "--via", "batch")
    async with api.serve() as server:
        async with Running(command, ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running:
            with trio.fail_after(SECONDS):
                while not creations(api):
                    await trio.sleep(0.01)
            await trio.sleep(0.2)
            running.interrupt()
            await trio.sleep(1)
            running.interrupt()
            assert await running.finish() == 130
    assert "leaving the batches to go on (msgbatch_" in running.err
    assert "not finished" not in running.err
    assert [request.path for request in api.requests if request.path.endswith("/cancel")] == [
        f"/v1/messages/batches/{api.batches.created[0]}/cancel"
    ]


async def test_ctrl_c_leaves_the_batches(tmp_path: Path) -> None:
    """They go on, and their ids are told."""
    api = api_of(seconds=300)
    command = program("batch", prompts(tmp_path), "-o", str(tmp_path / "a.jsonl"), "--via", "batch")
    async with api.serve() as server:
        async with Running(command, ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running:
            with trio.fail_after(SECONDS):
                while not creations(api):
                    await trio.sleep(0.01)
            await trio.sleep(0.2)
            running.interrupt()
            assert await running.finish() == 5
    assert "leaving the batches to go on (msgbatch_" in running.err


async def test_what_other_commands_make_of_batches_that_go_on(tmp_path: Path) -> None:
    """A sample does not wait for them, a run that streams does, and what discards them names them."""
    api = api_of(seconds=3600)
    target = ("-o", str(tmp_path / "a.jsonl"))
    async with api.serve() as server:
        await run(tmp_path, server.base_url, "--detach")
        done = await run_cli(
            "batch", prompts(tmp_path), *target, "--dry-run", "--sample", "2", base_url=server.base_url
        )
        assert done.code == 1, done
        assert "message batches that are not collected" in done.err
        done = await run(tmp_path, server.base_url, "--overwrite", "--detach")
        first, second = api.batches.created
        assert f"and billed all the same: the message batches {first}\n" in done.err
        for batch in api.batches._batches:
            batch._seconds = 0
        done = await run_cli("batch", prompts(tmp_path), *target, base_url=server.base_url)
    assert done.code == 0, done
    assert f"first, message batches of earlier runs are collected: {second}\n" in done.err
    assert sum(request.path == "/v1/messages" for request in api.requests) == 2  # the probes
    assert len(lines(tmp_path)) == 5


async def test_a_batch_that_somebody_has_deleted(tmp_path: Path) -> None:
    """Its items are asked again, and it is told what that may have cost."""
    api = api_of(seconds=3600)
    async with api.serve() as server:
        await run(tmp_path, server.base_url, "--detach")
        api.batches._batches[0].deleted = True
        journal = tmp_path / "a.jsonl.journal"
        written = [json.loads(line) for line in journal.read_bytes().splitlines()]
        old = [{**record, "since": record["since"] - 1000} if "since" in record else record for record in written]
        journal.write_bytes(b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in old))
        done = await run(tmp_path, server.base_url, "--detach", "--summary", str(tmp_path / "s.json"))
        assert done.code == 5, done
        gone, again = api.batches.created
        assert "perhaps paid twice: 4 items" in done.err
        assert f"whose items were asked again: {gone}\n" in done.err
        assert f"the same command collects the batches {again}\n" in done.err
        summary = json.loads((tmp_path / "s.json").read_bytes())
        assert (summary["gone_batches"], summary["paid_twice"]) == ([gone], 4)
        api.batches._batches[1]._seconds = 0
        done = await run(tmp_path, server.base_url, "--detach")
    assert (done.code, len(lines(tmp_path))) == (0, 5)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--deadline", "2h"], "are for --via batch"),
        (["--detach"], "are for --via batch"),
        (["--via", "batch", "--item-timeout", "3"], "--item-timeout is for streams"),
        (["--via", "batch", "--deadline", "soon"], "is not a duration"),
        (["--via", "batch", "--deadline", "0h"], "is not a duration"),
        (["--via", "batch", "--detach"], "--detach needs a journal"),
    ],
)
async def test_options_that_conflict(tmp_path: Path, args: list[str], words: str) -> None:
    """Each says why."""
    done = await run_cli("batch", prompts(tmp_path), "-o", "-", *args)
    assert done.code == 2
    assert words in " ".join(done.err.split())
