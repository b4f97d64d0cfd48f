"""What agents of others got wrong, each with the report that it is from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream import agent
from trio_stream.testing import ScriptedAPI, call, disconnect, fail, say, stop

MODEL = "claude-sonnet-5-5"


@agent.tool
async def wait(seconds: float) -> str:
    """Wait."""
    await trio.sleep(seconds)
    return f"waited {seconds:g}"


def conversation(api: ScriptedAPI, *tools: Any, **options: Any) -> agent.Conversation:
    client = ts.Client(api_key="test", transport=api, max_retries=0)
    return agent.Conversation(client, model=MODEL, max_tokens=64, tools=tools, **options)


def results_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [block for block in message["content"] if block["type"] == "tool_result"]


async def test_say_while_one_of_two_calls_runs(autojump_clock):
    """kimi-code#705: both results come first, then the text, in one request."""
    api = ScriptedAPI([call("wait", {"seconds": 1}, id="a"), call("wait", {"seconds": 3}, id="b")], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.ToolStopEvent) and event.id == "a":
                assert run.say("and hurry")
    assert run.outcome == "completed"
    assert len(api.requests) == 2
    results, text = api.requests[1].body["messages"][2:]
    assert [result["content"] for result in results["content"]] == ["waited 1", "waited 3"]
    assert text == {"role": "user", "content": "and hurry"}
    assert run.unsaid == []


async def test_one_of_two_mcp_servers_is_unreachable(caplog):
    """openclaw#106665: the tools of the other work, because it is not required."""
    mcp = pytest.importorskip("mcp")
    server = importlib.import_module("mcp.server.mcpserver").MCPServer("here")

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    gone = mcp.StdioServerParameters(command="trio-stream-no-such-program")
    servers = [
        ts.mcp.Server("gone", lambda: mcp.Client(gone), required=False),
        ts.mcp.Server("here", lambda: mcp.Client(server)),
    ]
    api = ScriptedAPI([call("here__echo", {"text": "Hello."}), call("gone__read")], [say("Done.")])
    async with ts.mcp.servers(*servers) as tools:
        chat = conversation(api, *tools)
        assert await chat.ask("go") == "Done."
    assert [tool["name"] for tool in api.requests[0].body["tools"]] == ["here__echo"]
    there, missing = results_in(chat.messages[2])
    assert there["content"] == [{"type": "text", "text": "Hello."}]
    assert missing["content"] == "there is no tool 'gone__read'."
    assert "the server 'gone' cannot be reached" in caplog.text


async def test_interrupt_twice_in_a_call(autojump_clock):
    """deepagents PR#6321: each call and each result is there once."""
    api = ScriptedAPI([say("Wait. "), call("wait", {"seconds": 9})], [say("Fine.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.ToolStartEvent):
                run.interrupt("Esc")
                run.interrupt("Esc again")
    assert (run.outcome, run.reason) == ("interrupted", "Esc")
    assert trio.current_time() == 0
    _, reply, results = chat.messages
    assert [block["type"] for block in reply["content"]] == ["text", "tool_use"]
    assert [result["content"] for result in results["content"]] == [
        "stopped while it was running: Esc. Whether it had effects is not known."
    ]
    assert await chat.ask("go on") == "Fine."


async def test_ask_in_a_run(autojump_clock):
    """strands#1176: a second run is refused, and the first one completes."""
    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.ToolStartEvent):
                with pytest.raises(RuntimeError, match="under way"):
                    await chat.ask("something else")
    assert run.outcome == "completed"
    assert len(chat.messages) == 4


async def test_of_four_calls_one_raises_and_one_times_out(autojump_clock):
    """claude-code#64346: four results, two of them errors."""

    @agent.tool
    async def broken() -> str:
        """Raise."""
        raise OSError("no disk")

    @agent.tool(timeout=2)
    async def endless() -> str:
        """Take too long."""
        await trio.sleep_forever()
        return ""

    waits = [call("wait", {"seconds": 1}), call("wait", {"seconds": 3})]
    api = ScriptedAPI([waits[0], call("broken"), call("endless"), waits[1]], [say("Done.")])
    chat = conversation(api, wait, broken, endless)
    assert await chat.ask("go") == "Done."
    results = results_in(chat.messages[2])
    assert [result.get("is_error", False) for result in results] == [False, True, True, False]
    assert results[1]["content"] == "OSError: no disk"


@pytest.mark.parametrize("closed", [True, False])
async def test_max_tokens_inside_a_call(closed, autojump_clock):
    """mastra#15717: the call is neither run nor kept."""
    api = ScriptedAPI(
        [say("I will. "), call("wait", '{"seconds": '), stop("max_tokens", close_block=closed)], [say("Fine.")]
    )
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        events = [event async for event in run]
    assert run.outcome == "truncated"
    assert not any(isinstance(event, agent.ToolStartEvent) for event in events)
    assert chat.messages[1:] == [{"role": "assistant", "content": [{"type": "text", "text": "I will. "}]}]
    assert len(api.requests) == 1
    assert await chat.ask("go on") == "Fine."


async def test_thirteen_turns_of_calls_then_failing_replies(autojump_clock):
    """vercel/ai#18667: the run fails, with all 13 results kept, and the conversation goes on."""
    turns = [[call("wait", {"seconds": 1})] for _ in range(13)]
    failing = [[say("I am "), fail("overloaded_error")] for _ in range(3)]
    api = ScriptedAPI(*turns, *failing, [say("Fine.")])
    chat = conversation(api, wait)
    events: list[Any] = []
    with pytest.raises(ts.OverloadedError) as caught:
        async with chat.run("go") as run:
            async for event in run:
                events.append(event)
    assert run.outcome == "failed"
    assert str(caught.value) in str(run.reason)
    assert sum(isinstance(event, agent.TurnRestartEvent) for event in events) == 2
    assert sum(len(results_in(message)) for message in chat.messages[2::2]) == 13
    assert await chat.ask("go on") == "Fine."
    assert chat.usage.unknown_replies == 3


async def test_two_approvals_one_allowed_the_other_denied_later(autojump_clock):
    """lobehub PR#17838: one request with both results."""

    @agent.tool(approve=True)
    async def remove(path: str) -> str:
        """Remove a file."""
        return f"removed {path}"

    api = ScriptedAPI([call("remove", {"path": "a"}), call("remove", {"path": "b"})], [say("Done.")])
    chat = conversation(api, remove)

    async def deny_later(event: agent.ApprovalEvent) -> None:
        await trio.sleep(5)
        event.deny("not that one")

    async with chat.run("go", approve="ask") as run:
        async for event in run:
            if isinstance(event, agent.ApprovalEvent):
                if event.input["path"] == "a":
                    event.allow()
                else:
                    run.nursery.start_soon(deny_later, event)
    assert len(api.requests) == 2
    results = results_in(api.requests[1].body["messages"][-1])
    assert [result["content"] for result in results] == ["removed a", "not started: not that one."]


async def test_a_large_result_with_a_lone_surrogate(autojump_clock):
    """gemini-cli#27738: it is cut, says so, and is sent."""

    @agent.tool
    async def read() -> str:
        """Return too much."""
        return "\ud800" + "x" * 24_000_000

    api = ScriptedAPI([call("read")], [say("Done.")])
    chat = conversation(api, read)
    assert await chat.ask("go") == "Done."
    content = results_in(api.requests[1].body["messages"][-1])[0]["content"]
    assert content.startswith("\ufffdxxx")
    assert "24,000,001 characters" in content
    assert len(content) < 201_000


async def test_fork_at_every_message(autojump_clock):
    """kimi-code PR#1054: every fork is valid, and goes on."""
    api = ScriptedAPI(
        [say("Two. "), call("wait", {"seconds": 1}), call("wait", {"seconds": 2})],
        [call("wait", {"seconds": 1})],
        [say("Done.")],
        default=[say("Fine.")],
    )
    chat = conversation(api, wait)
    await chat.ask("go")
    await chat.ask("and then")
    messages = chat.messages
    for upto in range(len(messages) + 2):
        fork = chat.fork(upto)
        assert fork.messages == messages[: len(fork.messages)]
        assert len(fork.messages) <= upto
        assert await fork.ask("go on") == "Fine."
    assert chat.messages == messages
    assert {request.status for request in api.requests} == {200}


async def test_a_cut_reply_keeps_its_text_and_says_so(autojump_clock):
    """What was said stays, and the next text tells the model that it was interrupted."""
    api = ScriptedAPI([say("I am "), call("wait", {"seconds": 1}), disconnect()], [say("Fine.")])
    chat = conversation(api, wait)
    with pytest.raises(agent.RunStoppedError) as caught:
        await chat.ask("go", turn_retries=0)
    assert isinstance(caught.value.__cause__, ts.IncompleteStreamError)
    assert caught.value.run.outcome == "failed"
    assert chat.messages[1] == {"role": "assistant", "content": [{"type": "text", "text": "I am "}]}
    assert await chat.ask("go on") == "Fine."
    assert chat.messages[2]["content"] == "(The reply before this was interrupted.)\n\ngo on"
