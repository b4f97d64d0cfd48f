"""Calls of MCP tools, stopped at every step: nothing is left open, nothing is raised, and the history stays valid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp
import pytest
import trio
import trio.testing
from mcp.server.mcpserver import MCPServer

import trio_stream as ts
from tests.agent.mcp.use import Tools
from tests.soak.form import LONG
from trio_stream.agent.mcp import Server, servers
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, call, cancel_everywhere, say
from trio_stream.testing._strict import find_fault

pytestmark = pytest.mark.no_cover

server = MCPServer("here")


@server.tool()
async def echo(text: str) -> str:
    """Say it again."""
    await trio.sleep(0.1)
    return text


async def test_cancelled_at_every_step(autojump_clock: trio.testing.MockClock) -> None:
    """Entering, calling and leaving, with two servers."""

    async def fn() -> None:
        async with servers(Server("a", connect), Server("b", connect)) as offered:
            tools = Tools(offered)
            assert await tools.call("a__echo", text="x") == "x"

    assert await cancel_everywhere(fn, when="before", every=1 if LONG else 7) > (20 if LONG else 5)


def connect() -> mcp.Client:
    return mcp.Client(server)


@asynccontextmanager
async def that_fails(cut: list[trio.Event]) -> AsyncIterator[mcp.Client]:
    """A client whose transport fails when the last of ``cut`` is set."""
    cut.append(trio.Event())

    async def fail(event: trio.Event) -> None:
        await event.wait()
        raise OSError("the wire is cut")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, cut[-1])
        async with connect() as client:
            yield client
        nursery.cancel_scope.cancel(reason="closed")


@pytest.mark.parametrize("action", ["interrupt", "the wire is cut"])
async def test_an_agent_at_every_step(autojump_clock: trio.testing.MockClock, action: str) -> None:
    """Interrupted, or with a transport that fails: the call has a result after every step, and the agent goes on."""
    run: ts.Run | None = None
    chat: ts.Conversation | None = None
    cut: list[trio.Event] = []
    api = ScriptedAPI(default=answer)
    client = ts.Client(api_key="test", transport=api)

    def failing() -> Any:
        return that_fails(cut)

    async def fn() -> None:
        nonlocal run, chat
        run = chat = None
        async with servers(Server("a", failing)) as tools:
            chat = ts.Conversation(client, model="claude-sonnet-5-5", max_tokens=64, tools=tools)
            async with chat.run("Say x.") as run:
                async for _ in run:
                    pass
            assert await chat.ask("And now?") == "It said something."

    def act() -> None:
        if action == "interrupt" and run is not None:
            run.interrupt("the test")
        elif action != "interrupt" and chat is not None:
            cut[-1].set()

    def watch() -> None:
        if chat is not None and chat.messages:
            messages = [*chat.messages, {"role": "user", "content": "And then?"}]
            fault = find_fault({"model": "claude-sonnet-5-5", "max_tokens": 1, "messages": messages})
            assert fault is None, fault

    assert await cancel_everywhere(fn, action=act, watch=watch, when="after", every=1 if LONG else 7) > (
        50 if LONG else 7
    )


def answer(request: RecordedRequest) -> list[Step]:
    if request.messages[-1]["content"] == "Say x.":
        return [call("a__echo", {"text": "x"})]
    return [say("It said something.")]
