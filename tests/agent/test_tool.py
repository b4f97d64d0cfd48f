"""Tools: what the model is told about a function, how its input is read, and how it is called."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import msgspec
import pytest
import trio

from tests.agent.replies import Events, called, feed, message, texts
from trio_stream.agent import Meter, Tool, ToolCall, ToolContext, ToolProgressEvent, ToolRunner, tool
from trio_stream.agent._toolset import Toolset
from trio_stream.types import TextBlock

METER = Meter()


@dataclasses.dataclass
class Range:
    low: int
    high: int


class Point(msgspec.Struct):
    x: float


async def run(the_tool: Tool, given: Any = None, **options: Any) -> ToolCall:
    """Run one call of a tool."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([the_tool], nursery, **options)
        calls.start_all(message(called(the_tool.name or "x", given, id="1", toolset_name=the_tool.toolset_name)))
        await calls.join()
    return calls.calls["1"]


async def content(the_tool: Tool, given: Any = None) -> Any:
    return (await run(the_tool, given)).result()["content"]


# What the model is told


def test_a_function_is_a_tool():
    """Its signature and docstring are the definition; calling the tool calls the function."""

    @tool
    def add(a: int, b: int = 1) -> int:
        """Add two numbers.

        Args:
          a: The first.
          b: The second.
        """
        return a + b

    assert isinstance(add, Tool)
    assert repr(add) == "<Tool 'add'>"
    assert add(2, b=3) == 5
    assert add.definition is not None
    assert add.definition["name"] == "add"
    assert add.definition["description"] == "Add two numbers."
    properties = add.definition["input_schema"]["properties"]
    assert {name: schema["description"] for name, schema in properties.items()} == {
        "a": "The first.",
        "b": "The second.",
    }
    assert add.definition["input_schema"]["required"] == ["a"]
    assert "strict" not in add.definition


def test_options_of_the_definition():
    """What is given is added to what the function says."""

    @tool(name="sum", description="Other words.", definition={"defer_loading": True}, strict=True, timeout=3)
    async def add(a: int) -> int:
        """Words."""
        return a

    assert add.definition is not None
    assert add.definition["name"] == add.name == "sum"
    assert add.definition["description"] == "Other words."
    assert add.definition["defer_loading"] is True
    assert add.definition["strict"] is True
    assert add.definition["input_schema"]["additionalProperties"] is False
    assert add.timeout == 3

    @tool
    async def plain() -> None: ...

    assert plain.definition is not None
    assert "description" not in plain.definition


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "memory_20250818", "name": "memory", "cache_control": {"type": "ephemeral"}},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 10_000},
    ],
)
async def test_a_tool_that_the_api_defines(definition):
    """The definition goes out as it is, and the function takes the input."""

    @tool(definition=definition)
    async def function(command: Literal["view", "create"], path: str | None = None) -> str:
        return f"{command} {path}"

    assert function.definition == definition
    assert function.name == definition["name"]
    assert await content(function, {"command": "view", "path": "/memories"}) == "view /memories"
    assert "command" in await content(function, {"command": "rename"})


async def test_the_input_as_it_is():
    """With an explicit definition and `call`, as a bridge to other tools needs it."""

    async def call(arguments: dict[str, Any], ctx: ToolContext) -> Any:
        return {"got": arguments, "call": ctx.call_id}

    bridge = Tool(definition={"name": "files__read", "input_schema": {"type": "object"}}, call=call, timeout=300)
    assert await content(bridge, {"any": [1]}) == '{"got":{"any":[1]},"call":"1"}'
    assert await content(bridge, "") == '{"got":{},"call":"1"}'
    with pytest.raises(TypeError, match="no function"):
        bridge()


async def a_call(arguments: dict[str, Any], ctx: ToolContext) -> None: ...


async def a_function() -> None: ...


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (Tool, TypeError, "one of them"),
        (lambda: Tool(a_function, call=a_call), TypeError, "one of them"),
        (lambda: Tool(call=a_call), TypeError, "needs a name"),
        (lambda: Tool(call=a_call, definition={"type": "bash_20250124"}), TypeError, "needs a name"),
        (lambda: Tool(call=a_call, toolset_name="computer", definition={"name": "x"}), TypeError, "toolset"),
        (lambda: Tool(a_function, name="no spaces"), ValueError, "no spaces"),
        (lambda: Tool(a_function, name="x" * 129), ValueError, "at most 128"),
        (lambda: Tool(a_function, approve="ask"), TypeError, "whom to ask"),
        (lambda: Tool(a_function, approve=a_call), TypeError, "plain function"),
        (lambda: Tool(a_function, exclusive=None), TypeError, "exclusive"),
        (lambda: Tool(a_function, timeout=0), ValueError, "timeout"),
        (lambda: Tool(a_function, timeout=float("nan")), ValueError, "timeout"),
        (lambda: Tool(a_function, on_cancel="go on"), ValueError, "on_cancel"),
        (lambda: Tool(a_function, on_cancel="finish"), ValueError, "needs a timeout"),
        (lambda: Tool(a_function, grace=0), ValueError, "grace"),
        (lambda: Tool(a_function, errors="raise"), ValueError, "errors"),
        (lambda: Tool(a_function, max_result=0), ValueError, "max_result"),
    ],
)
def test_what_is_no_tool(make, error, match):
    """Said at once, and not at the first call."""
    with pytest.raises(error, match=match):
        make()


def test_a_generator_is_no_tool():
    """It returns nothing."""

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    def synchronous() -> Iterator[int]:
        yield 1

    for function in (asynchronous, synchronous):
        with pytest.raises(TypeError, match="generator"):
            tool(function)


# Input


async def test_input_arrives_as_what_it_is():
    """Decoded straight into the parameters."""

    @tool
    async def function(within: Range, at: list[Point], name: str = "none") -> str:
        assert isinstance(within, Range)
        assert isinstance(at[0], Point)
        return f"{within.low} {within.high} {at[0].x} {name}"

    assert await content(function, {"within": {"low": 1, "high": 2}, "at": [{"x": 3}]}) == "1 2 3.0 none"


async def test_input_that_does_not_fit():
    """The model is told where and why, and the function is not called."""

    @tool
    async def function(within: Range) -> None:
        raise AssertionError

    call = await run(function, {"within": {"low": "one", "high": 2}})
    text = call.result()["content"]
    assert isinstance(text, str)
    assert text.startswith("not started: ")
    assert "within.low" in text
    assert call.is_error
    assert call.state.name == "NOT_STARTED"


@pytest.mark.parametrize("given", ['{"a": ', "[1]", "no JSON", '"text"'])
async def test_input_that_is_no_json_object(given):
    """The history has it in the API's own form, and the result says what is wrong."""
    call = await run(Tool(a_function), given)
    assert call.result()["content"] == "not started: its input is not a JSON object."
    assert call.input == {}


@pytest.mark.parametrize("given", ["", " ", "{}", "null "])
async def test_no_input(given):
    """The API sends an empty text for a tool without parameters."""
    expected = "not started: its input is not a JSON object." if given == "null " else ""
    assert await content(Tool(a_function), given) == expected


async def test_a_function_changes_its_input():
    """The history has what the model wrote."""

    async def call(arguments: dict[str, Any], ctx: ToolContext) -> None:
        arguments["items"].append(arguments.pop("more"))

    async def function(items: list[int], more: int) -> None:
        items.append(more)

    for changing in (Tool(call=call, definition={"name": "x"}), Tool(function)):
        assert (await run(changing, {"items": [], "more": 1})).block.input == {"items": [], "more": 1}


async def test_input_with_a_lone_surrogate():
    """As everywhere, it is U+FFFD."""

    @tool
    async def length(text: str) -> str:
        return text

    assert await content(length, '{"text": "a\\ud800"}') == "a\ufffd"


async def test_no_such_tool():
    """It is told which name the model wrote; other calls are not touched."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([Tool(a_function), {"type": "web_search_20260209", "name": "web_search"}], nursery)
        feed(calls, called("delete_all"), TextBlock(text="."))
        calls.start_all(message(called("delete_all"), called("a_function"), called("web_search")))
        await calls.join()
    assert texts(calls) == ["there is no tool 'delete_all'.", "", "there is no tool 'web_search'."]
    assert repr(calls.calls["toolu_delete_all"]) == "<ToolCall delete_all toolu_delete_all: not_started>"


# Functions of all kinds


async def test_the_context():
    """It goes to the parameter that is annotated with it, whatever its name; the model does not see it."""

    @tool
    async def function(x: int, about: ToolContext) -> str:
        return f"{x} {about.call_id} {about.name} {about.meter is METER}"

    assert function.definition is not None
    assert list(function.definition["input_schema"]["properties"]) == ["x"]
    assert (await run(function, {"x": 1}, meter=METER)).result()["content"] == "1 1 function True"


async def test_asynchronous_functions_in_disguise():
    """They run in Trio's thread as what they are."""

    async def plain(x: int, y: int = 1) -> int:
        assert threading.current_thread() is threading.main_thread()
        return x + y

    class Callable:
        __name__ = "callable"

        async def __call__(self, x: int) -> int:
            return await plain(x)

    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    assert await content(Tool(functools.partial(plain, y=2), name="p"), {"x": 1}) == "3"
    assert await content(Tool(Callable(), name="c"), {"x": 1}) == "2"
    assert await content(Tool(wrapped), {"x": 1}) == "2"


async def test_a_def_runs_in_a_thread():
    """The program goes on meanwhile, and the function may tell how far it is."""
    events = Events()
    begun, may_end = trio.Event(), threading.Event()

    @tool
    def work(n: int, ctx: ToolContext) -> str:
        assert threading.current_thread() is not threading.main_thread()
        trio.from_thread.run_sync(ctx.progress, n)
        trio.from_thread.run_sync(begun.set)
        assert may_end.wait(10)
        return "worked"

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([work], nursery, emit=events.append)
        calls.start_all(message(called("work", {"n": 7})))
        await begun.wait()
        assert [event.progress for event in events if isinstance(event, ToolProgressEvent)] == [7]
        may_end.set()
        await calls.join()
    assert texts(calls) == ["worked"]


async def test_a_def_under_a_mock_clock(mock_clock):
    """It needs no time of the clock, and nobody waits for the thread of one that is stopped."""
    begun, may_end = trio.Event(), threading.Event()

    @tool
    def wedged() -> None:
        trio.from_thread.run_sync(begun.set)
        may_end.wait(10)

    @tool
    def quick() -> str:
        return "quick"

    try:
        async with trio.open_nursery() as nursery:
            calls = ToolRunner([wedged, quick], nursery)
            calls.start_all(message(called("wedged"), called("quick")))
            await begun.wait()
            while not calls.calls["toolu_quick"].has_ended:
                await trio.lowlevel.checkpoint()
            calls.stop("Esc")
            await calls.join()
    finally:
        may_end.set()
    assert texts(calls) == [
        "stopped while it was running: Esc. Whether it had effects is not known.",
        "quick",
    ]
    assert trio.current_time() == 0


async def test_a_def_finishes():
    """Its thread goes on anyway, so what it did may as well be known."""
    begun, may_end = trio.Event(), threading.Event()

    @tool(on_cancel="finish", timeout=60)
    def work() -> str:
        trio.from_thread.run_sync(begun.set)
        assert may_end.wait(10)
        return "worked"

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([work], nursery)
        calls.start_all(message(called("work")))
        await begun.wait()
        nursery.cancel_scope.cancel(reason="Esc")
        may_end.set()
    assert texts(calls) == ["worked"]


async def test_threads_that_are_left_behind_hold_nobody_up():
    """Neither later calls nor the other threads of the program."""
    may_end = threading.Event()
    begun = threading.Semaphore(0)

    @tool
    def wedged() -> None:
        begun.release()
        may_end.wait(20)

    @tool
    def quick() -> str:
        return "quick"

    number = trio.to_thread.current_default_thread_limiter().total_tokens + 2
    try:
        async with trio.open_nursery() as nursery:
            blocks = [called("wedged", id=str(n)) for n in range(int(number))]
            calls = ToolRunner([wedged], nursery, max_concurrent_tools=100)
            calls.start_all(message(*blocks))
            for _ in blocks:
                await trio.to_thread.run_sync(begun.acquire)
            calls.stop("Esc")
            await calls.join()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert await content(quick) == "quick"
    finally:
        may_end.set()


# Toolsets


async def test_toolsets():
    """A call is for the tool of its toolset and name, and its result names the toolset."""

    @tool
    async def click() -> str:
        return "a tool of ours"

    @tool(toolset_name="computer", name="click")
    async def click_on(coordinate: list[int]) -> str:
        return f"at {coordinate}"

    @tool(toolset_name="computer")
    async def screenshot() -> str:
        return "a picture"

    async def browse(arguments: dict[str, Any], ctx: ToolContext) -> str:
        return f"{ctx.name} {arguments}"

    browser = Tool(call=browse, toolset_name="browser")
    assert repr(browser) == "<Tool 'browser'>"
    tools = [
        click,
        click_on,
        screenshot,
        {"type": "computer_toolset_20260801"},
        {"type": "browser_toolset_20260801"},
        browser,
    ]
    toolset = Toolset(tools)
    assert toolset.definitions == [
        click.definition,
        {"type": "computer_toolset_20260801"},
        {"type": "browser_toolset_20260801"},
    ]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(toolset, nursery)
        calls.start_all(
            message(
                called("click", id="1"),
                called("click", {"coordinate": [1, 2]}, id="2", toolset_name="computer"),
                called("navigate", {"url": "x"}, id="3", toolset_name="browser"),
                called("zoom", id="4", toolset_name="computer"),
                called("screenshot", id="5", toolset_name="computer"),
            )
        )
        await calls.join()
    assert calls.results() == [
        {"type": "tool_result", "tool_use_id": "1", "content": "a tool of ours"},
        {"type": "tool_result", "tool_use_id": "2", "content": "at [1, 2]", "toolset_name": "computer"},
        {"type": "tool_result", "tool_use_id": "3", "content": "navigate {'url': 'x'}", "toolset_name": "browser"},
        {
            "type": "tool_result",
            "tool_use_id": "4",
            "content": "there is no tool 'zoom'.",
            "is_error": True,
            "toolset_name": "computer",
        },
        {"type": "tool_result", "tool_use_id": "5", "content": "a picture", "toolset_name": "computer"},
    ]


@pytest.mark.parametrize(
    ("tools", "error", "match"),
    [
        ([Tool(a_function), Tool(a_function)], ValueError, "two tools"),
        ([Tool(a_function), {"name": "a_function"}], ValueError, "two tools"),
        ([Tool(call=a_call, toolset_name="t"), Tool(call=a_call, toolset_name="t")], ValueError, "'t'"),
        ([a_function], TypeError, "@trio_stream.tool above"),
        (["bash"], TypeError, "not 'bash'$"),
    ],
)
def test_what_is_no_toolset(tools, error, match):
    """Said before the first request."""
    with pytest.raises(error, match=match):
        Toolset(tools)


def test_definitions_are_built_once():
    """What a program does with its own objects later changes nothing: prompt caching depends on it."""
    definition = {"type": "web_search_20260209", "name": "web_search"}
    toolset = Toolset([definition])
    definition["max_uses"] = "3"
    assert toolset.definitions == [{"type": "web_search_20260209", "name": "web_search"}]
