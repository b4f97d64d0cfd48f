"""Every example, run as its readers run it: a process of its own, against an API on a real port."""

from __future__ import annotations

import ast
import contextlib
import re
import runpy
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.cli.running import SECRET, Running
from tests.forked import FORKS, SECONDS
from tests.processes import PYTHON, environment
from tests.web.hosts import Tab
from trio_stream.testing import (
    Batches,
    ScriptedAPI,
    Step,
    call,
    check_transport,
    fail,
    http_error,
    pause,
    say,
    scripted_model,
    stall,
    stop,
    think,
)

FOLDER = Path(__file__).parent.parent.parent / "examples"
FILES = sorted(FOLDER.glob("*.py"))

NAMES = [
    "all_events",
    "basic_text",
    "batch_generator_with_budget",
    "batch_jsonl",
    "batch_questions",
    "blocking_errors",
    "blocking_events",
    "blocking_interrupt",
    "blocking_text",
    "blocking_tools",
    "buffered_output",
    "concurrent_streams",
    "current_snapshot",
    "custom_transport",
    "error_handling",
    "extended_thinking",
    "extract_documents",
    "final_message_after_block",
    "final_text_only",
    "interrupt_with_ctrl_c",
    "manual_enter_and_exit",
    "mcp_server",
    "message_batch",
    "multi_turn_conversation",
    "race_best_of_three",
    "raw_event_stream",
    "raw_http_response",
    "ray_data",
    "sub_agents",
    "system_prompt",
    "temperature",
    "terminal_agent",
    "timeouts",
    "tool_use",
    "tools_with_approvals",
    "usage_while_streaming",
    "web_relay",
]


class Expected:
    """What an example is answered, and what it must print or have asked."""

    def __init__(
        self,
        *scripts: Sequence[Step],
        prints: Sequence[str] = (),
        requests: int = 1,
        check: Callable[[str, ScriptedAPI], object] | None = None,
    ) -> None:
        self.scripts = scripts
        self.prints = prints
        self.requests = requests
        self.check = check


def checks_all_events(out: str, api: ScriptedAPI) -> None:
    kinds = [line.split()[0] for line in out.splitlines()]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[2:6] == ["content_block_delta", "text"] * 2
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def checks_tool_use(out: str, api: ScriptedAPI) -> None:
    first, second = api.requests
    assert first.body["tools"][0]["name"] == "get_weather"
    use = second.messages[1]["content"][-1]
    result = second.messages[2]["content"][0]
    assert use["input"] == {"city": "Lisbon"}
    assert result["tool_use_id"] == use["id"]
    assert "in Lisbon" in result["content"]


def checks_mcp(out: str, api: ScriptedAPI) -> None:
    first, second = api.requests
    (tool,) = first.body["tools"]
    assert (tool["name"], tool["description"]) == ("notes__read_note", "Read the note on a topic.")
    assert second.messages[-1]["content"][0]["content"] == [{"type": "text", "text": "Milk, bread, a stream."}]


def checks_conversation(out: str, api: ScriptedAPI) -> None:
    assert [len(request.messages) for request in api.requests] == [1, 3, 5]
    assert api.requests[2].messages[1]["content"][0]["text"] == "First answer."


def checks_concurrency(out: str, api: ScriptedAPI) -> None:
    arrived = [request.at for request in api.requests]
    closed = [request.closed_at for request in api.requests if request.closed_at is not None]
    assert max(arrived) < min(closed), "all four were open at once"


def checks_budget(out: str, api: ScriptedAPI) -> None:
    riddles = sum(line.startswith("riddle-") for line in out.splitlines())
    assert len(api.requests) == riddles
    assert re.search(rf"\n{riddles} riddles for \$0\.0(19|2[0-2])\d*; stopped: the budget is used up", out), out


def checks_temperature(out: str, api: ScriptedAPI) -> None:
    assert api.requests[0].body["temperature"] == 0.2
    assert api.requests[0].headers["anthropic-version"] == "2023-06-01"


def checks_thinking(out: str, api: ScriptedAPI) -> None:
    assert api.requests[0].betas
    assert api.requests[0].body["thinking"]["display"] == "summarized"
    assert out == "thinking: Divide by small primes.\n\nanswer: Yes, it is.\n"


def checks_system(out: str, api: ScriptedAPI) -> None:
    assert "lighthouse" in api.requests[0].body["system"][0]["text"]


def checks_sub_agents(out: str, api: ScriptedAPI) -> None:
    assert out.endswith("completed; 4 requests and 2 calls for $" + out.rpartition("$")[2])
    (result,) = api.requests[3].messages[2]["content"]
    assert result["content"] == "Lisbon is the capital."


def checks_timeouts(out: str, api: ScriptedAPI) -> None:
    assert len(api.disconnects) == 2


def checks_extraction(out: str, api: ScriptedAPI) -> None:
    schemas = [request.body["output_config"]["format"]["schema"] for request in api.requests]
    assert all(schema == schemas[0] for schema in schemas)
    assert schemas[0]["required"] == ["number", "currency", "lines", "due"]


INVOICE = '{"number": "17", "currency": "USD", "lines": [{"item": "tea", "quantity": 2, "price": 4.5}], "due": null}'

_HELLO = [say("Hello there.")]

EXPECTED = {
    "all_events": Expected([say("An event.")], prints=["An event."[:2], "end_turn"], check=checks_all_events),
    "basic_text": Expected(_HELLO, prints=["Hello there."]),
    "batch_generator_with_budget": Expected(
        *[[say("riddle " * 50)]] * 40,
        requests=-1,
        prints=["riddle-1: riddle", "; stopped: the budget is used up: 0.0", " of 0.02 cost"],
        check=checks_budget,
    ),
    "batch_jsonl": Expected(
        *[[say(f"Summary {number}.")] for number in range(20)],
        requests=20,
        prints=["text-0: ok, ", "20 answered, 0 of an earlier run, 0 errors\ntext-0: Summary", "\ntext-19: Summary"],
    ),
    "batch_questions": Expected(
        *[[say(f"Answer {number}.")] for number in range(6)],
        requests=6,
        prints=["What is 2+2?\nAnswer ", "\n0: ok, 1 requests, ", "\n2: ok, 1 requests, "],
    ),
    "blocking_errors": Expected(
        [say("Once upon a time.")],
        [http_error(404, message="model: no-such-model")],
        [say("Once", stall())],
        [say("Once"), fail("overloaded_error")],
        *[[say("One.")], [say("Two.")], [say("Three.")]],
        requests=7,
        prints=[
            "answered: Once upon a time.\nthere is no such model: ",
            "the clock 'total' ran out after 1 s\nuntil then: 'Once'\n",
            "the API said 200 overloaded_error: ",
            "arrived before it: 'Once'\n",
            "by hand: One.\nexit stack: Two.\nexit stack: Three.\n",
        ],
    ),
    "blocking_events": Expected(
        [think("Divide by small primes."), say("Yes, it is.")],
        [say("Events.")],
        requests=2,
        prints=[
            "200 text/event-stream",
            "request id: req_",
            "requests left: 3999\ninput tokens: ",
            "a thinking block is complete\ntext: 'Yes,'\n",
            "output tokens: ",
            "[message_start][content_block_start][content_block_delta]",
        ],
    ),
    "blocking_text": Expected(
        _HELLO,
        [say("The Tagus.")],
        [say("High in the hills, a stream set out. It met a mill.")],
        [say("It ends in the sea at Lisbon.")],
        [say("Calm, mostly.")],
        _HELLO,
        requests=6,
        prints=[
            "Hello there.\nend_turn, 3 output tokens\nThe Tagus.\n",
            "> High in the hills, a stream set out.\n> It met a mill.\n",
            "so far: 'It ends in the sea'\n",
            "keeper: Calm, mostly.\ncool: Hello there.\n",
        ],
    ),
    "blocking_tools": Expected(
        [say("Let me look."), call("get_weather", {"city": "Lisbon"})],
        [say("It is warm.")],
        [say("You do not.")],
        requests=3,
        prints=["you: What is the weather in Lisbon?\nLet me look.\nIt is warm.\n", "You do not.\n6 messages\n"],
    ),
    "buffered_output": Expected(
        [say("High in the hills, a stream set out. It met a mill. It reached the sea at last, and slept.")],
        prints=["> High in the hills, a stream set out.\n", "> It met a mill. It reached", "and slept.\n"],
    ),
    "concurrent_streams": Expected(
        *[[say(f"Answer {number} ", pause(0.3), "ends.")] for number in range(4)],
        requests=4,
        prints=["answered: What is a nursery?", "Answer 0 ends.", "Answer 3 ends."],
        check=checks_concurrency,
    ),
    "current_snapshot": Expected(
        [say("one two three four five six seven eight nine ten eleven twelve")],
        prints=["48 characters", "62 characters, stopped because of end_turn"],
    ),
    "custom_transport": Expected(
        [say("Hello there.")],
        prints=["Hello there.\n", " -> POST /v1/messages\n", " <- 200\n", " bytes\n", " finished\n"],
    ),
    "error_handling": Expected(
        _HELLO,
        [http_error(404, message="model: no-such-model")],
        requests=2,
        prints=["answered: Hello there.", "there is no such model", "no-such-model"],
    ),
    "extended_thinking": Expected([think("Divide by small primes."), say("Yes, it is.")], check=checks_thinking),
    "extract_documents": Expected(
        *[[say('{"number": 1, "currency": "USD", "lines": []}')], [say(INVOICE[:30]), stop("max_tokens")]],
        *[[say(INVOICE)]] * 500,
        requests=502,
        prints=["500 ok\n500 invoices over 4500.00, ", "run it again: "],
        check=checks_extraction,
    ),
    "final_message_after_block": Expected(
        _HELLO, prints=["Hello there.", "1 content blocks, 12 characters", "stop reason end_turn, 3 output tokens"]
    ),
    "final_text_only": Expected(_HELLO, prints=["Hello there.\n"]),
    "manual_enter_and_exit": Expected(
        [say("One.")],
        [say("Two.")],
        [say("Three.")],
        requests=3,
        prints=["by hand: One.\nexit stack: Two.\nexit stack: Three.\n"],
    ),
    "mcp_server": Expected(
        [say("Let me see."), call("notes__read_note", {"topic": "shopping"})],
        [say("Milk and bread.")],
        requests=2,
        prints=["Let me see.\n[notes__read_note]\nMilk and bread.\ncompleted after 2 turns, "],
        check=checks_mcp,
    ),
    "message_batch": Expected(
        [say("Four.")],
        [http_error(529)],
        [say("It scatters.")],
        requests=2,
        prints=["created msgbatch_", "sum: Four.\nnursery: errored\nsky: It scatters.\n"],
    ),
    "multi_turn_conversation": Expected(
        [say("First answer.")],
        [say("Second answer.")],
        [say("Third answer.")],
        requests=3,
        prints=["model: First answer.", "model: Third answer.", "6 messages"],
        check=checks_conversation,
    ),
    "race_best_of_three": Expected(
        [http_error(400)],
        [pause(5), say("Late.")],
        [say("In time.")],
        requests=3,
        prints=["In time.\n\nwon: request 2, first text after "],
    ),
    "raw_event_stream": Expected(
        _HELLO, prints=["[message_start]\n[content_block_start]\nHello there.[content_block_stop]\n"]
    ),
    "raw_http_response": Expected(
        _HELLO,
        prints=["HTTP/1.1 200 from http://127.0.0.1", "text/event-stream", "req_", "requests left: 3999 of 4000"],
    ),
    "sub_agents": Expected(
        [call("research", {"prompt": "What is Lisbon like?"})],
        [call("look_up", {"city": "Lisbon"})],
        [say("Lisbon is the capital.")],
        [say("Lisbon is larger.")],
        requests=4,
        prints=["  the researcher looks up Lisbon with look_up\n", "research is done\n", "Lisbon is larger.\n"],
        check=checks_sub_agents,
    ),
    "system_prompt": Expected([say("Calm, mostly.")], prints=["Calm, mostly."], check=checks_system),
    "temperature": Expected(
        _HELLO, prints=["newest version: ", "temperature", "older version: Hello there."], check=checks_temperature
    ),
    "timeouts": Expected(
        [say("Once", stall())],
        [say("The sea", pause(0.6), " was calm", stall())],
        requests=2,
        prints=["the clock 'total' ran out after 2 s", "until then: 'Once'", "half a second: 7 ", "half: 16 "],
        check=checks_timeouts,
    ),
    "tool_use": Expected(
        [say("Let me look."), call("get_weather", {"city": "Lisbon"})],
        [say("It is warm.")],
        requests=2,
        prints=["Let me look.", '[get_weather({"city":"Lisbon"})]', "It is warm."],
        check=checks_tool_use,
    ),
    "tools_with_approvals": Expected(
        [call("stock", {"article": "tea"}), call("price", {"article": "coffee"})],
        [
            call("order", {"lines": [{"article": "tea", "number": 2}]}),
            call("order", {"lines": [{"article": "tea", "number": 30}]}),
        ],
        [say("Two packets are on their way.")],
        requests=3,
        prints=[
            "stock: 12\n",
            "price: failed: there is no price for coffee",
            "order: ordering 1 lines\n",
            "order: ordered: 2 x tea\n",
            "order: failed: not started: 30 packets are too many: 10 at most",
            "completed: Two packets are on their way.\n",
        ],
    ),
    "usage_while_streaming": Expected(
        [say("Hello ", pause(0.1), "there.")],
        prints=["input tokens: ", "output tokens: 3\n", "first text after 0.", "tokens/s"],
    ),
}


def test_none_is_missing() -> None:
    """The promised ones are there, and each has its expectations."""
    assert [path.stem for path in FILES] == NAMES
    # `ray_data` is run where there is a Ray: tests/ray/test_ray_data.py.
    assert set(EXPECTED) == set(NAMES) - {
        "blocking_interrupt",
        "interrupt_with_ctrl_c",
        "ray_data",
        "terminal_agent",
        "web_relay",
    }


async def run_example(path: Path, base_url: str, folder: Path) -> str:
    with trio.fail_after(SECONDS):
        env = environment(ANTHROPIC_BASE_URL=base_url, ANTHROPIC_API_KEY=SECRET)
        done = await FORKS.run([str(path)], env=env, cwd=folder)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode()


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in EXPECTED], ids=lambda path: path.stem)
async def test_example(path: Path, tmp_path: Path) -> None:
    expected = EXPECTED[path.stem]
    api = ScriptedAPI(*expected.scripts, batches=Batches(seconds=0))
    async with api.serve() as server:
        out = await run_example(path, server.base_url, tmp_path)
        with trio.fail_after(SECONDS):
            while api.open_streams:
                await trio.sleep(0.01)
    if expected.requests >= 0:
        api.assert_done()
        assert len(api.requests) == expected.requests
    for text in expected.prints:
        assert text in out
    if expected.check is not None:
        expected.check(out, api)
    assert SECRET not in out


async def test_the_tool_loop_survives_a_call_that_was_cut(tmp_path: Path) -> None:
    """`max_tokens` cuts the second call: it is not run, the first is, and the program ends well."""
    cut = [call("get_weather", {"city": "Lisbon"}), call("get_weather", '{"city": "Por'), stop("max_tokens")]
    api = ScriptedAPI(cut)
    async with api.serve() as server:
        await run_example(FOLDER / "tool_use.py", server.base_url, tmp_path)
    api.assert_done()


async def test_the_tool_loop_tells_the_model_of_malformed_input(tmp_path: Path) -> None:
    """The API takes the call back, and the model has another try."""
    api = ScriptedAPI([call("get_weather", '{"city": Lisbon}')], [say("Sorry.")])
    async with api.serve() as server:
        out = await run_example(FOLDER / "tool_use.py", server.base_url, tmp_path)
    api.assert_done()
    _, turn, results = api.requests[1].messages
    assert turn["content"][0]["input"] == {"INVALID_JSON": '{"city": Lisbon}'}
    assert "not valid JSON" in results["content"][0]["content"]
    assert "Sorry." in out


async def test_interrupt_with_ctrl_c() -> None:
    """A real Ctrl-C in the middle of a sentence: what has arrived is kept, and the connection is closed."""
    api = ScriptedAPI([say("High in the hills", stall())])
    async with (
        api.serve() as server,
        Running(
            [str(FOLDER / "interrupt_with_ctrl_c.py")],
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ) as running,
    ):
        await running.read_until("High in the hills")
        running.interrupt()
        code = await running.finish()
    assert (code, running.err) == (0, "")
    assert "\n\ninterrupted; kept 17 characters of msg_" in running.out
    assert len(api.disconnects) == 1


async def test_web_relay() -> None:
    """The page comes. An answer is read, and read again after a reload; Stop stops, and so does the next question."""
    api = ScriptedAPI([say("Hello ", stall())], [say("you ", stall())], [say("all.")])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]

    async def tab(what: str, body: bytes = b"") -> Tab:
        head = f"{what} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        tabs.append(await Tab.open(port, request=head.encode() + body))
        return tabs[-1]

    tabs: list[Tab] = []
    async with (
        api.serve() as server,
        Running(
            [str(FOLDER / "web_relay.py")],
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
            PORT=str(port),
        ) as running,
    ):
        await running.read_until(f"127.0.0.1:{port}")
        with trio.fail_after(SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    page = await tab("GET /")
                    break
                await trio.sleep(0.01)
        await page.until(b"</script>")
        await (await tab("GET /answer")).until(b" 204 ")
        asked = await tab("POST /ask", b'"Who?"')
        await asked.until(b"Hello")
        asked.close()
        again = await tab("GET /answer")
        await again.until(b"Hello")
        await (await tab("POST /stop")).until(b" 204 ")
        await again.until(b'"Stopped."')
        await again.to_end()
        asked = await tab("POST /ask", b'"Who?"')
        await asked.until(b"you")
        other = await tab("POST /ask", b'"Who else?"')
        await asked.until(b"There is another question.")
        await other.until(b"all.")
        for opened in tabs:
            opened.close()
        running.interrupt()
        assert await running.finish() in (0, 130, -signal.SIGINT)
    assert len(api.requests) == 3


async def test_blocking_interrupt() -> None:
    """Ctrl-C, and on; Ctrl-C again, and no further: every word is there once, and the connection is closed."""
    api = ScriptedAPI([say("High in the ", pause(0.5), "hills"), stall()])
    async with (
        api.serve() as server,
        Running(
            [str(FOLDER / "blocking_interrupt.py")],
            terminal=(80, 24),
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ) as running,
    ):
        await running.read_until("High in the")
        await running.type(b"\x03")
        await running.read_until("go on? ")
        await running.type(b"y\r")
        await running.read_until("hills")
        await running.type(b"\x03")
        await running.read_until("hills^C\r\ngo on? ")
        await running.type(b"n\r")
        assert await running.finish() == 0
    assert "17 characters; interrupted" in running.out
    assert len(api.disconnects) == 1


async def test_terminal_agent(tmp_path: Path) -> None:
    """It asks before a tool acts; a real Ctrl-C interrupts the answer, and the next one goes on."""
    (tmp_path / "notes.txt").write_text("The key is under the mat.")
    api = ScriptedAPI(
        [call("list_files", {}), call("read_file", {"path": "notes.txt"})],
        [say("It is under the mat."), stall()],
        [say("Bye.")],
    )
    async with api.serve() as server:
        process = await trio.lowlevel.open_process(
            [PYTHON, "-W", "error", str(FOLDER / "terminal_agent.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        out = b""
        with trio.fail_after(SECONDS):
            for typed, shown in (
                (b"where?\n", b"[y/N]"),
                (b"y\n", b"under the mat."),
                (None, b"interrupted: "),
                (b"go\n", b"Bye."),
            ):
                if typed is None:
                    process.send_signal(signal.SIGINT)
                else:
                    await process.stdin.send_all(typed)
                while shown not in out:
                    out += await process.stdout.receive_some()
            await process.stdin.aclose()
            async for data in process.stdout:
                out += data
            assert await process.wait() == 0
        await process.stdout.aclose()
    api.assert_done()
    assert "under the mat" in str(api.requests[1].messages[2])
    assert [message["role"] for message in api.requests[2].messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize(
    "name", ["tool_use", "multi_turn_conversation", "extended_thinking", "batch_jsonl", "extract_documents"]
)
async def test_the_scripted_model_serves_them_too(name: str, tmp_path: Path) -> None:
    """As the README says: they also run against `trio-stream serve`."""
    api = ScriptedAPI(default=scripted_model(ttft=0.0, tps=None))
    async with api.serve() as server:
        out = await run_example(FOLDER / f"{name}.py", server.base_url, tmp_path)
    assert len(out) > 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_form(path: Path) -> None:
    """A docstring of two sentences or three, `main`, the model in one place, and no key or address."""
    text = path.read_text()
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring
    assert 2 <= docstring.replace("\n", " ").count(". ") + 1 <= 4
    assert 'MODEL = os.environ.get("ANTHROPIC_MODEL", ' in text
    # Ray has the loops in its actors, and a blocking client has one in its thread.
    run = "main()" if path.stem == "ray_data" or path.stem.startswith("blocking_") else "trio.run(main)"
    assert f"{'' if run == 'main()' else 'async '}def main() -> None:" in text
    assert text.endswith(f'if __name__ == "__main__":\n    {run}\n')
    assert "api_key" not in text
    assert "http://" not in text
    assert text.count("\n") <= 80


async def test_the_custom_transport_keeps_the_contract() -> None:
    """As its text says."""
    example = runpy.run_path(str(FOLDER / "custom_transport.py"))

    @asynccontextmanager
    async def over_a_port(api: ScriptedAPI) -> AsyncIterator[tuple[httpx.AsyncBaseTransport, str]]:
        async with api.serve() as server, example["WireLog"]() as transport:
            yield transport, server.base_url

    await check_transport(over_a_port)


def test_the_readme_lists_them() -> None:
    readme = (FOLDER / "README.md").read_text()
    for name in NAMES:
        assert f"[{name}.py]({name}.py)" in readme
