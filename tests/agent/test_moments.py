"""The moments of runs and tools: one end for each start, in the tasks in which they happen."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, call, disconnect, say, stall

MODEL: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 1024}
OF_AGENTS = (ts.RunMoment, ts.ToolMoment)


@ts.tool
async def weather(city: str) -> str:
    """Tell the weather.

    Args:
      city: Where.
    """
    await trio.sleep(1)
    if city == "Nowhere":
        raise ts.ToolError("there is no such city")
    return f"sunny in {city}"


def names(moments: list[ts.Moment]) -> list[str]:
    return [type(moment).__name__ for moment in moments if isinstance(moment, OF_AGENTS)]


def the(moments: list[ts.Moment], kind: type[Any]) -> list[Any]:
    return [moment for moment in moments if isinstance(moment, kind)]


def chat_of(*scripts: Any, instruments: list[Any], **options: Any) -> ts.Conversation:
    client = ts.Client(api_key="k", transport=ScriptedAPI(*scripts), instruments=instruments)
    return ts.Conversation(client, tools=[weather], **{**MODEL, **options})


async def test_a_run_with_two_tools(autojump_clock: trio.testing.MockClock) -> None:
    """The run's moments are around those of its tools and calls, which know it."""
    moments: list[ts.Moment] = []
    chat = chat_of(
        [call("weather", {"city": "Lisbon"}), call("weather", {"city": "Nowhere"})],
        [say("Sunny.")],
        instruments=[moments.append],
    )
    assert await chat.ask("How is it?") == "Sunny."
    assert names(moments) == ["RunStart", "ToolStart", "ToolStart", "ToolEnd", "ToolEnd", "RunEnd"]
    (start,), (end,) = the(moments, ts.RunStart), the(moments, ts.RunEnd)
    assert start.run is end.run
    assert (start.run.model, start.run.parent) == ("claude-opus-5", None)
    assert (end.outcome, end.reason, end.error, end.turns, end.message.text) == ("completed", None, None, 2, "Sunny.")
    assert "Sunny" not in repr(end)
    assert {moment.run for moment in the(moments, ts.ToolMoment)} == {start.run}
    good, bad = sorted(the(moments, ts.ToolEnd), key=lambda moment: moment.call.index)
    assert (good.call.name, good.call.is_error, bad.call.is_error) == ("weather", False, True)
    assert [moment.at for moment in the(moments, ts.ToolEnd)] == [1, 1]


async def test_context_variables_hold_for_what_is_in_the_task(autojump_clock: trio.testing.MockClock) -> None:
    """What is set at `RunStart` is seen by calls and tools, what is set at `ToolStart` by that tool alone."""
    span: ContextVar[str] = ContextVar("span", default="outside")
    seen: list[tuple[str, str]] = []

    @ts.tool
    async def look() -> str:
        """Look."""
        seen.append(("tool", span.get()))
        return "seen"

    def instrument(moment: ts.Moment) -> None:
        match moment:
            case ts.RunStart():
                span.set("run")
            case ts.ToolStart(call=one):
                seen.append(("around the tool", span.get()))
                span.set(one.id)
            case ts.CallStart():
                seen.append(("call", span.get()))
            case _:
                pass

    client = ts.Client(
        api_key="k",
        transport=ScriptedAPI([call("look", id="toolu_a"), call("look", id="toolu_b")], [say("Done.")]),
        instruments=[instrument],
    )
    await ts.Conversation(client, tools=[look], **MODEL).ask("Look!")
    assert [one for one in seen if one[0] == "call"] == [("call", "run")] * 2
    assert [one for one in seen if one[0] == "around the tool"] == [("around the tool", "run")] * 2
    assert sorted(one for one in seen if one[0] == "tool") == [("tool", "toolu_a"), ("tool", "toolu_b")]
    assert span.get() == "outside"


async def test_sub_agents_know_their_parents(autojump_clock: trio.testing.MockClock) -> None:
    moments: list[ts.Moment] = []
    client = ts.Client(
        api_key="k",
        transport=ScriptedAPI([call("scout", {"prompt": "go"})], [say("Found it.")], [say("All done.")]),
        instruments=[moments.append],
    )
    scout = ts.Conversation(client, **MODEL).as_tool("scout", "Looks around.")
    await ts.Conversation(client, tools=[scout], **MODEL).ask("Well?")
    outer, inner = (moment.run for moment in the(moments, ts.RunStart))
    assert (outer.parent, inner.parent) == (None, outer)
    assert names(moments) == ["RunStart", "ToolStart", "RunStart", "RunEnd", "ToolEnd", "RunEnd"]


async def test_whatever_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """An interrupt, a cancellation, a break and a failure: every start has its end, which says how."""
    moments: list[ts.Moment] = []

    async def interrupted() -> None:
        chat = chat_of([call("weather", {"city": "Lisbon"})], instruments=[moments.append])
        async with chat.run("?") as run:
            await trio.sleep(0.5)
            run.interrupt("enough")
            async for _ in run:
                pass

    async def cancelled() -> None:
        chat = chat_of([call("weather", {"city": "Lisbon"})], instruments=[moments.append])
        with trio.move_on_after(0.5):
            await chat.ask("?")

    async def left() -> None:
        chat = chat_of([say("a"), stall()], instruments=[moments.append])
        async with chat.run("?") as run:
            async for _ in run:
                break

    async def failed() -> None:
        chat = chat_of([say("a", disconnect())], instruments=[moments.append])
        with pytest.raises(ts.RunStoppedError):
            await chat.ask("?", turn_retries=0)

    async def raised() -> None:
        chat = chat_of([say("a"), stall()], instruments=[moments.append])
        with pytest.raises(KeyError):
            async with chat.run("?"):
                raise KeyError

    expected = {
        interrupted: ("interrupted", "enough", type(None)),
        cancelled: ("cancelled", None, trio.Cancelled),
        left: ("interrupted", "the block of the run was left", type(None)),
        failed: ("failed", "IncompleteStreamError", ts.IncompleteStreamError),
        raised: ("interrupted", "the block of the run was left with KeyError", KeyError),
    }
    for program, (outcome, reason, error) in expected.items():
        moments.clear()
        await program()
        assert names(moments)[0] == "RunStart"
        assert names(moments)[-1] == "RunEnd"
        assert len(the(moments, ts.ToolStart)) == len(the(moments, ts.ToolEnd))
        (end,) = the(moments, ts.RunEnd)
        assert (end.outcome, type(end.error)) == (outcome, error)
        assert reason is None or reason in end.reason


async def test_a_runner_of_the_program_s_own(autojump_clock: trio.testing.MockClock) -> None:
    """Its tools are told to the instruments around it; those that never start have no moments."""
    moments: list[ts.Moment] = []
    api = ScriptedAPI([call("weather", {"city": "Lisbon"}), call("no_such_tool"), call("weather", "{")])
    async with ts.Client(api_key="k", transport=api) as client:
        with ts.instrumented(moments.append):
            async with client.messages.stream(
                messages=[{"role": "user", "content": "?"}], tools=[weather.definition], **MODEL
            ) as stream:
                calls = ts.ToolRunner([weather], stream.nursery)
                async for event in stream:
                    calls.feed(event)
                calls.start_all(stream.message)
                await calls.join()
    assert names(moments) == ["ToolStart", "ToolEnd"]
    assert the(moments, ts.ToolStart)[0].run is None
