"""`trio-stream serve`: a port that any client can use, and a line for each request."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from pathlib import Path

import pytest
import trio

import trio_stream as ts
from tests.forked import SECONDS
from trio_stream.cli._serve import is_loopback

from .running import SECRET, Running, program, run_cli


def address_in(text: str) -> str:
    match = re.search(r"http://\S+:\d+", text)
    assert match, text
    return match[0]


async def test_serve_and_ask_together() -> None:
    """The printed address works, the printed line tells a shell, and each request is logged without prompt or key."""
    async with Running(program("serve", "--port", "0", "--ttft", "0", "--tps", "0")) as server:
        await server.read_until("curl -N")
        base_url = address_in(server.out)
        assert f"export ANTHROPIC_BASE_URL={base_url} ANTHROPIC_API_KEY=test\n" in server.out
        done = await run_cli("ask", "What is a nursery, my dear?", "--usage", base_url=base_url)
        assert done.code == 0, done
        assert "nursery" in done.out
        await server.read_until("200")
        refused = await run_cli("ask", "--thinking", "5", "hi", base_url=base_url)
        assert refused.code == 1
        assert "budget_tokens" in refused.err
        await server.read_until("400")
        server.interrupt()
        assert await server.finish() == 0
    logged = server.out.partition("Hello!")[2]
    assert re.search(r"^\d\d:\d\d:\d\d  POST /v1/messages  claude-sonnet-5-5  200  \d+\.\d\d s$", logged, re.MULTILINE)
    assert "dear" not in logged
    assert SECRET not in server.out
    assert server.err == ""


async def test_sigterm_ends_it_too() -> None:
    async with Running(program("serve", "--port", "0")) as server:
        await server.read_until("curl -N")
        server.process.send_signal(signal.SIGTERM)
        assert await server.finish() == 0


async def test_quiet_and_strange_requests() -> None:
    """With --quiet only the address is printed; a request that no model understands does not end the server."""
    async with Running(program("serve", "--port", "0", "--tps", "0", "--ttft", "0", "--quiet")) as server:
        await server.read_until("Hello!")
        client = ts.Client(api_key=SECRET, base_url=address_in(server.out), max_retries=0)
        with trio.fail_after(SECONDS), pytest.raises(ts.InternalServerError):
            await client.messages.create(
                model="any",
                max_tokens=64,
                messages=[{"role": "user", "content": "hi"}],
                tools=[{"name": "strange", "input_schema": {"type": "object", "anyOf": [1]}}],
            )
        with trio.fail_after(SECONDS):
            message = await client.messages.create(
                model="any", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
            )
        assert message.text
        server.interrupt()
        assert await server.finish() == 0
    assert "/v1/messages  any" not in server.out


@pytest.mark.parametrize(("args", "refused"), [([], True), (["--lenient"], False)])
async def test_it_refuses_what_the_api_refuses(args: list[str], refused: bool) -> None:
    async with Running(program("serve", "--port", "0", "--tps", "0", "--ttft", "0", *args)) as server:
        await server.read_until("Hello!")
        client = ts.Client(api_key="test", base_url=address_in(server.out), max_retries=0)
        with trio.fail_after(SECONDS):
            outcome = pytest.raises(ts.BadRequestError, match="nonsense") if refused else contextlib.nullcontext()
            with outcome:
                await client.messages.create(
                    model="any",
                    max_tokens=64,
                    messages=[{"role": "user", "content": "hi"}],
                    extra_body={"nonsense": 1},
                )


async def test_a_client_that_goes_away_is_logged() -> None:
    async with Running(program("serve", "--port", "0", "--tps", "5")) as server:
        await server.read_until("Hello!")
        async with ts.Client(api_key="test", base_url=address_in(server.out)) as client:
            with trio.fail_after(SECONDS):
                async with client.messages.stream(
                    model="any\x1b[2J", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
                ):
                    pass
        await server.read_until("went away")
        assert "\x1b" not in server.out


async def test_hosts_that_others_can_reach_need_a_word() -> None:
    done = await run_cli("serve", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, done.out) == (2, "")
    assert "--allow-remote" in done.err
    assert done.err.count("\n") == 1
    async with Running(program("serve", "--host", "0.0.0.0", "--port", "0", "--allow-remote")) as server:
        await server.read_until("http://0.0.0.0:")


async def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = await run_cli("serve", "--port", str(taken.getsockname()[1]))
    assert (done.code, done.out) == (1, "")
    assert "in use" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_message_batches() -> None:
    """They end after the seconds that were asked for, with the faults that were."""
    args = ["--tps", "0", "--ttft", "0", "--batch-seconds", "0", "--batch-faults", "queue_full, errored"]
    async with Running(program("serve", "--port", "0", *args)) as server:
        await server.read_until("Hello!")
        async with ts.Client(api_key=SECRET, base_url=address_in(server.out), max_retries=0) as client:
            batches = client.messages.batches
            requests: list[ts.BatchRequest] = [
                {
                    "custom_id": f"q-{number}",
                    "params": {"model": "any", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]},
                }
                for number in range(2)
            ]
            with trio.fail_after(5):
                with pytest.raises(ts.RateLimitError, match="queued"):
                    await batches.create(requests)
                async with batches.results(await batches.create(requests)) as lines:
                    assert [line.result.type async for line in lines] == ["errored", "succeeded"]
        await server.read_until("/results")
        server.interrupt()
        assert await server.finish() == 0


async def test_faults_that_nobody_knows() -> None:
    """They are named, with those that there are."""
    done = await run_cli("serve", "--batch-faults", "lost_answer,lost")
    assert done.code == 2
    assert "faults of batches are lost_answer, not_found" in done.err
    assert done.err.rstrip().endswith("not lost")


async def test_record_and_replay(tmp_path: Path) -> None:
    """What `ask --record` has written, `serve --replay` plays; the file has neither the prompt nor the key."""
    path = tmp_path / "recording.jsonl"
    async with Running(program("serve", "--port", "0", "--ttft", "0", "--tps", "0", "--quiet")) as server:
        await server.read_until("Hello!")
        asked = await run_cli(
            "ask", "hi", "--system", "rosewater", "--record", str(path), base_url=address_in(server.out)
        )
    assert asked.code == 0, asked
    recorded = path.read_text()
    assert "rosewater" not in recorded
    assert SECRET not in recorded
    async with Running(program("serve", "--port", "0", "--replay", str(path), "--quiet")) as server:
        await server.read_until("Hello!")
        again = await run_cli("ask", "Anything else", base_url=address_in(server.out))
    assert again.out == asked.out


async def test_files_that_are_no_recording(tmp_path: Path) -> None:
    """Both commands say so in one line, and the file stays as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    served = await run_cli("serve", "--replay", str(path), "--port", "0")
    asked = await run_cli("ask", "hi", "--record", str(path), base_url="http://127.0.0.1:9")
    elsewhere = await run_cli("ask", "hi", "--record", str(tmp_path / "missing" / "x"), base_url="http://127.0.0.1:9")
    assert (served.code, asked.code, elsewhere.code) == (2, 2, 2)
    for done in (served, asked):
        assert re.fullmatch(r"trio-stream (serve|ask): .*line 1: this is no line of a recording.*\n", done.err)
    assert "cannot record in" in elsewhere.err
    assert path.read_text() == "my notes\n"
