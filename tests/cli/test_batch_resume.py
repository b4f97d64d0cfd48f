"""`trio-stream batch` under fire: killed, full disks, two at once, Ctrl-C; and going on as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from tests import processes
from tests.forked import FORKS, SECONDS
from tests.processes import PYTHON
from tests.soak.form import LONG
from trio_stream.batch import read_journal
from trio_stream.cli._batch_job import signals_that_end_a_run
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, http_error, pause, say, stall

from .running import SECRET, Running, program, run_cli


def write_prompts(path: Path, count: int) -> Path:
    path.write_text(
        "".join(json.dumps({"id": f"q{n}", "prompt": f"question {n}", "n": n}) + "\n" for n in range(count))
    )
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def prompt_of(request: RecordedRequest) -> str:
    return request.messages[0]["content"]


class Asked:
    """A script that answers, and remembers which prompts it was asked for, run by run."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = [[]]
        self.count = 0

    def __call__(self, request: RecordedRequest) -> list[Step]:
        self.runs[-1].append(prompt_of(request))
        self.count += 1
        # Some take their time, so that there is always something under way.
        return [say("answer to ", pause(random.choice((0.0, 0.0, 0.02, 0.1))), prompt_of(request))]


@pytest.mark.timeout(600)
async def test_killed_again_and_again(tmp_path: Path) -> None:
    """SIGKILL at random moments: nothing lost, nothing twice, paid twice only what was under way."""
    count, kills, at_once = (2_000, 24, 32) if LONG else (400, 5, 32)
    prompts, output = write_prompts(tmp_path / "p.jsonl", count), tmp_path / "a.jsonl"
    journal = tmp_path / "a.jsonl.journal"
    command = program("batch", str(prompts), "-o", str(output), "--concurrency", str(at_once), "--progress", "none")
    asked = Asked()
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    api = ScriptedAPI(default=asked, keep_requests=10)
    ended: list[set[str]] = []
    async with api.serve() as server:
        env = processes.environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        for kill in range(kills):
            async with FORKS.start(command, env=env) as process:
                assert process.stderr is not None
                target = asked.count + chance.randrange(1, count // kills)
                with trio.fail_after(SECONDS):
                    while asked.count < target and process.poll() is None:
                        await trio.sleep(0.001)
                await trio.sleep(chance.random() * 0.02)
                assert process.poll() is None, f"ended before kill {kill} (seed {seed})"
                process.kill()
                await process.wait()
                assert await process.stderr.receive_some() == b""
            with trio.fail_after(SECONDS):
                await server.wait_no_connections()  # what it had sent may still be on its way to the server
            ended.append({o.id or "" for o in read_journal(journal) if o.status == "ok"} if journal.exists() else set())
            asked.runs.append([])
        with trio.fail_after(10 * SECONDS):
            done = await FORKS.run(command, env=env)
    assert (done.returncode, done.stderr) == (0, b""), f"seed {seed}"

    rows = lines_of(output)
    assert Counter(row["id"] for row in rows) == Counter(f"q{n}" for n in range(count)), f"seed {seed}"
    assert all(row["text"] == f"answer to question {row['n']}" and row["status"] == "ok" for row in rows)
    assert all(len(in_run) == len(set(in_run)) for in_run in asked.runs)
    for known, later in zip(ended, asked.runs[1:], strict=True):
        again = {prompt.replace("question ", "q") for prompt in later} & known
        assert not again, f"answers that the journal had were asked again (seed {seed})"
    assert asked.count - count <= kills * at_once
    assert [o.status for o in read_journal(journal)] == ["ok"] * count


async def test_going_on_is_the_default(tmp_path: Path) -> None:
    """What is answered is not asked again; what is new is; nothing to do is no error; --overwrite begins anew."""
    prompts, output = write_prompts(tmp_path / "p.jsonl", 5), tmp_path / "a.jsonl"
    api = ScriptedAPI(default=lambda request: [say(prompt_of(request))])
    async with api.serve() as server:

        async def go(*args: str) -> str:
            done = await run_cli("batch", str(prompts), "-o", str(output), *args, base_url=server.base_url)
            assert done.code == 0, done
            return done.err

        await go()
        assert len(api.requests) == 5
        before = output.read_bytes()
        assert "done 5/5 · 0 in flight" in await go()
        assert (len(api.requests), output.read_bytes()) == (5, before)
        write_prompts(prompts, 7)
        assert "cached 5" in await go()
        assert len(api.requests) == 7
        assert output.read_bytes().startswith(before)
        assert sorted(row["id"] for row in lines_of(output)) == [f"q{n}" for n in range(7)]
        await go("--overwrite")
        assert (len(api.requests), len(lines_of(output))) == (14, 7)


@pytest.mark.parametrize("lost", ["output", "journal", "half the output", "torn output", "half the journal"])
@pytest.mark.parametrize("order", ["input", "completion"])
async def test_either_file_is_made_again_from_the_other(tmp_path: Path, lost: str, order: str) -> None:
    prompts, output = write_prompts(tmp_path / "p.jsonl", 6), tmp_path / "a.jsonl"
    journal = tmp_path / "a.jsonl.journal"
    api = ScriptedAPI(default=lambda request: [say(prompt_of(request))])
    async with api.serve() as server:
        args = ["batch", str(prompts), "-o", str(output), "--order", order]
        assert (await run_cli(*args, base_url=server.base_url)).code == 0
        rows = sorted(lines_of(output), key=lambda row: row["index"])
        whole = output.read_bytes()
        if lost == "output":
            output.unlink()
        elif lost == "journal":
            journal.unlink()
        elif lost == "half the output":
            output.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
        elif lost == "torn output":
            output.write_bytes(whole[:-20])
        else:
            data = journal.read_bytes()
            journal.write_bytes(data[: len(data) // 2])
        assert (await run_cli(*args, base_url=server.base_url)).code == 0
        again = lines_of(output)
        if order == "completion":
            again.sort(key=lambda row: row["index"])
        assert again == rows
        assert len(api.requests) == 6
        assert {o.text for o in read_journal(journal)} == {row["text"] for row in rows}


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_errors_stay_until_they_are_to_be_asked_again(tmp_path: Path, order: str) -> None:
    prompts, output = write_prompts(tmp_path / "p.jsonl", 6), tmp_path / "a.jsonl"
    failing = True

    def answer(request: RecordedRequest) -> list[Step]:
        if failing and prompt_of(request) in ("question 1", "question 4"):
            return [http_error(400, message="no")]
        return [say(prompt_of(request))]

    api = ScriptedAPI(default=answer)
    async with api.serve() as server:
        args = ["batch", str(prompts), "-o", str(output), "--order", order]
        first = await run_cli(*args, base_url=server.base_url)
        assert first.code == 3
        assert "2 errors" in first.err
        assert {row["id"] for row in lines_of(output) if row["status"] == "error"} == {"q1", "q4"}
        second = await run_cli(*args, base_url=server.base_url)
        assert (second.code, len(api.requests)) == (3, 6)
        assert len(lines_of(output)) == 6
        failing = False
        third = await run_cli(*args, "--retry-errors", base_url=server.base_url)
        assert (third.code, len(api.requests)) == (0, 8)
    rows = lines_of(output)
    assert all(row["status"] == "ok" and row["error"] is None for row in rows)
    expected = [f"q{n}" for n in range(6)]
    assert (
        [row["id"] for row in rows] == expected if order == "input" else sorted(row["id"] for row in rows) == expected
    )


async def test_the_same_id_with_another_request_is_refused(tmp_path: Path) -> None:
    prompts, output = write_prompts(tmp_path / "p.jsonl", 3), tmp_path / "a.jsonl"
    api = ScriptedAPI(default=[say("x")])
    async with api.serve() as server:
        assert (await run_cli("batch", str(prompts), "-o", str(output), base_url=server.base_url)).code == 0
        before = output.read_bytes()
        done = await run_cli("batch", str(prompts), "-o", str(output), "--max-tokens", "7", base_url=server.base_url)
    assert done.code == 2
    assert "p.jsonl, line 1, column 2: " in done.err
    first, second, *_ = done.err.splitlines()
    assert "has q0 with another request: give it another id, take back what was changed" in first
    assert second.endswith("has q1 with another request")
    assert "3 of 3 lines cannot be used, so nothing was sent" in done.err
    assert "Traceback" not in done.err
    assert (len(api.requests), output.read_bytes()) == (3, before)


async def test_two_at_once_are_refused(tmp_path: Path) -> None:
    prompts, output = write_prompts(tmp_path / "p.jsonl", 1), tmp_path / "a.jsonl"
    api = ScriptedAPI(default=[say("x", stall())])
    async with (
        api.serve() as server,
        Running(
            program("batch", str(prompts), "-o", str(output)),
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ),
    ):
        with trio.fail_after(SECONDS):
            while not api.open_streams:
                await trio.sleep(0.01)
        done = await run_cli("batch", str(prompts), "-o", str(output), base_url=server.base_url)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "a.jsonl.journal is in use: another run is writing it" in done.err


# Ctrl-C.


async def start_three(tmp_path: Path, api: ScriptedAPI, base_url: str, *args: str) -> Running:
    prompts = write_prompts(tmp_path / "p.jsonl", 50)
    return Running(
        program("batch", str(prompts), "-o", str(tmp_path / "a.jsonl"), "--concurrency", "3", *args),
        ANTHROPIC_BASE_URL=base_url,
        ANTHROPIC_API_KEY=SECRET,
    )


async def open_streams(api: ScriptedAPI, count: int) -> None:
    with trio.fail_after(SECONDS):
        while api.open_streams != count:
            await trio.sleep(0.005)


async def test_ctrl_c_once_finishes_what_is_under_way(tmp_path: Path) -> None:
    api = ScriptedAPI(default=lambda request: [say("slow ", pause(1.0), prompt_of(request))])
    async with api.serve() as server, await start_three(tmp_path, api, server.base_url) as running:
        await open_streams(api, 3)
        running.interrupt()
        assert await running.finish() == 130
    assert "finishing 3 streams, Ctrl-C again to abort\n" in running.err
    assert "done 3/50" in running.err
    assert len(api.requests) == 3
    assert sorted(row["text"] for row in lines_of(tmp_path / "a.jsonl")) == [f"slow question {n}" for n in range(3)]


async def test_ctrl_c_during_a_pause_ends_at_once(tmp_path: Path) -> None:
    """The API asked to wait for minutes: nobody waits for that after Ctrl-C, and the same command asks again."""
    api = ScriptedAPI(default=[http_error(429, retry_after=300)])
    async with api.serve() as server, await start_three(tmp_path, api, server.base_url) as running:
        with trio.fail_after(SECONDS):
            while not any(request.status == 429 for request in api.requests):
                await trio.sleep(0.005)
        await trio.sleep(0.2)  # whoever had not asked by then waits too
        asked = len(api.requests)
        running.interrupt()
        with trio.fail_after(20):
            assert await running.finish() == 130
        assert len(api.requests) == asked
    assert lines_of(tmp_path / "a.jsonl") == []


@pytest.mark.skipif(not LONG, reason="it takes a minute: make soak")
async def test_an_outage_is_exit_code_5(tmp_path: Path) -> None:
    """Nothing is wrong with the command, which continues when the API answers again."""
    api = ScriptedAPI(default=[http_error(502)])
    async with api.serve() as server, await start_three(tmp_path, api, server.base_url) as running:
        with trio.fail_after(SECONDS + 60):
            assert await running.finish() == 5
    assert "stopped: the API is out of order, nothing was ever answered: 502" in running.err
    assert "the same command continues from here" in running.err


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, None),
        (signal.SIGINT, signal.SIGTERM),
        pytest.param(
            signal.SIGHUP,
            None,
            marks=pytest.mark.skipif(
                signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL, reason="nohup keeps it away from the command"
            ),
        ),
    ],
)
async def test_ctrl_c_twice_aborts_and_keeps_partial_texts(tmp_path: Path, first: int, second: int | None) -> None:
    api = ScriptedAPI(default=lambda request: [say("began ", stall())])
    async with api.serve() as server, await start_three(tmp_path, api, server.base_url) as running:
        await open_streams(api, 3)
        await trio.sleep(0.1)
        running.process.send_signal(first)
        if second is not None:
            await trio.sleep(0.2)
            assert running.process.poll() is None
            running.process.send_signal(second)
        with trio.fail_after(20):
            assert await running.finish() == 130
        await open_streams(api, 0)
    assert "aborting: what has arrived is kept\n" in running.err
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    outcomes = list(read_journal(tmp_path / "a.jsonl.journal"))
    assert [(o.status, o.text) for o in outcomes] == [("cancelled", "began ")] * 3


def test_nohup_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose terminal may be closed goes on."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    assert signal.SIGHUP in signals_that_end_a_run()
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    assert signal.SIGHUP not in signals_that_end_a_run()


@pytest.mark.parametrize(
    ("inflight", "requests", "statuses"), [("retry", 3, ["ok"] * 3), ("skip", 0, []), ("partial", 0, [])]
)
async def test_what_becomes_of_what_was_under_way(
    tmp_path: Path, inflight: str, requests: int, statuses: list[str]
) -> None:
    api = ScriptedAPI(default=lambda request: [say("began ", stall())])
    async with api.serve() as server, await start_three(tmp_path, api, server.base_url, "--limit", "3") as running:
        await open_streams(api, 3)
        running.process.kill()
        await running.finish()
    api = ScriptedAPI(default=[say("whole")])
    output = tmp_path / "a.jsonl"
    async with api.serve() as server:
        done = await run_cli(
            "batch", str(tmp_path / "p.jsonl"), "-o", str(output), "--limit", "3", "--inflight", inflight,
            base_url=server.base_url,
        )  # fmt: skip
    assert done.code == 0, done
    assert len(api.requests) == requests
    assert [row["status"] for row in lines_of(output)] == statuses


# A full disk.

_LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
runpy.run_module("trio_stream.cli", run_name="__main__")
"""


async def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    prompts, output = write_prompts(tmp_path / "p.jsonl", 200), tmp_path / "a.jsonl"
    api = ScriptedAPI(default=lambda request: [say(prompt_of(request) + " word" * 40)])
    async with api.serve() as server:
        env = processes.environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        with trio.fail_after(SECONDS):
            done = await trio.run_process(
                [
                    PYTHON,
                    "-W",
                    "error",
                    "-c",
                    _LIMITED,
                    "batch",
                    str(prompts),
                    "-o",
                    str(output),
                    "--progress",
                    "none",
                ],
                env=env,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr.decode().splitlines() == [
            f"trio-stream batch: {output}.journal cannot be written: File too large"
        ]
        answered = len([o for o in read_journal(f"{output}.journal") if o.status == "ok"])
        assert 10 < answered < 200
        paid = len(api.requests)
        again = await run_cli("batch", str(prompts), "-o", str(output), base_url=server.base_url)
        assert again.code == 0, again
    assert Counter(row["id"] for row in lines_of(output)) == Counter(f"q{n}" for n in range(200))
    assert len(api.requests) - paid == 200 - answered
