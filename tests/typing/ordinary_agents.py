"""Ordinary use of agents, as a user's program has it: type checkers in strict mode find nothing to say of it.

It is checked, and not run (`make check`, `test_typing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import trio

import trio_stream as ts
from trio_stream import types


@dataclass
class Report:
    title: str
    pages: int


@ts.tool
async def search(query: str, ctx: ts.ToolContext, limit: int = 10) -> list[str]:
    """Search the web."""
    ctx.progress(0.5)
    return [query] * limit


@ts.tool(timeout=20, approve=True, exclusive="files", on_cancel="finish", grace=2, errors="hide", strict=True)
def remove(path: str) -> None:
    """Remove a file."""
    if not path:
        raise ts.ToolError("there is no such file")
    raise ts.StopRun("enough")


WEB_SEARCH: types.WebSearchTool20260209Param = {"type": "web_search_20260209", "name": "web_search"}
LOOK_UP = ts.Tool(definition={"name": "look_up", "input_schema": {"type": "object"}}, call=search.run)


async def allow(call: ts.ToolCall) -> bool | str:
    return call.name != "remove" or "it has to stay"


async def save(chat: ts.Conversation) -> None:
    await trio.Path("talk.json").write_bytes(chat.to_json())


async def talk(client: ts.Client) -> Report:
    chat = ts.Conversation(
        client,
        model="claude-sonnet-5-5",
        max_tokens=4096,
        system="Be brief.",
        tools=[search, remove, WEB_SEARCH, LOOK_UP],
        cache="5m",
    )
    meter = ts.Meter(output_tokens=5000, tool_calls=20)
    async with chat.run("Compare trio and anyio.", max_turns=20, approve="ask", meter=meter, save=save) as run:
        run.nursery.start_soon(stop_later, run)
        async for event in run:
            show(event)
    assert_type(run, ts.Run)
    assert_type(run.outcome, ts.RunOutcome | None)
    if run.outcome == "refused":
        chat = chat.fork(run.first_message)
    async with chat.run({"type": "text", "text": "And curio?"}, approve=allow, output=Report) as run:
        assert_type(await run.text(), str)
    helper = chat.as_tool("helper", "Helps.", approve=allow, max_turns=5)
    print(await helper.run({"prompt": "x"}, ts.ToolContext(call_id="t", name="helper", emit=show)))
    chat.append({"role": "system", "content": "Speak German."})
    await chat.compact()
    chat = ts.Conversation.from_json(client, chat.to_json(), tools=[search, remove])
    assert_type(await chat.ask("Summarise."), str)
    assert_type(await chat.ask("Which numbers?", output=list[int]), list[int])
    either: ts.OutputType[Report | int] = ts.OutputType(Report | int)
    assert_type(await chat.ask("A report?", output=either), Report | int)
    try:
        return await chat.ask("Summarise.", output=Report, max_turns=3)
    except ts.RunStoppedError as error:
        print(error.run.reason, chat.usage.output_tokens, chat.usage.unknown_replies, meter.cost)
        return Report("", 0)


async def stop_later(run: ts.Run) -> None:
    await trio.sleep(60)
    if not run.say("be quick", when="now"):
        print(run.unsaid)
    for call in run.calls.values():
        call.cancel("it takes too long")
    run.interrupt("the user pressed Esc")


def show(event: ts.RunEvent) -> None:
    match event:
        case ts.TextEvent(text=text):
            print(text, end="")
        case ts.ToolStopEvent(name=name, is_error=is_error, result=result):
            print(name, is_error, result["content"])
        case ts.ApprovalEvent():
            event.allow() if event.input.get("path") else event.deny("why")
        case ts.NestedEvent(event=inner):
            show(inner)
        case ts.TurnStopEvent(message=message):
            print(message and message.usage.output_tokens)
        case _:
            print(event.type)


async def by_hand(client: ts.Client) -> list[ts.InputMessage]:
    messages: list[ts.InputMessage] = [{"role": "user", "content": "Hello."}]
    async with client.messages.stream(
        model="claude-sonnet-5-5", max_tokens=64, messages=messages, tools=[search.definition]
    ) as stream:
        calls = ts.ToolRunner([search], stream.nursery, approve=allow, emit=show)
        async for event in stream:
            calls.feed(event)
        calls.start_all(stream.message)
        await calls.join()
    messages += stream.message.as_history(calls.results())
    return messages


async def of_servers(client: ts.Client, files: ts.mcp.Server) -> str:
    async with ts.mcp.servers(files) as tools:
        return await ts.Conversation(client, model="m", max_tokens=5, tools=[search, *tools]).ask("Which files?")
