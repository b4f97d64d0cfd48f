"""What the tests of tools share: replies as events and as messages, without a stream.

What belongs here: making them, and feeding them to a runner. What does not: replies of the scripted API, which
`trio_stream.testing` makes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from trio_stream.agent import RunEvent, Tool, ToolContext, ToolRunner
from trio_stream.types import (
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    FallbackBlock,
    Message,
    MessageDelta,
    MessageDeltaEvent,
    TextBlock,
    ToolUseBlock,
)

Block = ToolUseBlock | TextBlock | FallbackBlock


def called(name: str, input: Any = None, *, id: str | None = None, **fields: Any) -> ToolUseBlock:  # noqa: A002
    """The block of a call. Its id is ``toolu_`` and the name, unless there is another; an input of text is raw JSON."""
    text = input if isinstance(input, str) else json.dumps(input or {})
    return ToolUseBlock(id=f"toolu_{name}" if id is None else id, name=name, input_json=text, **fields)


def feed(calls: ToolRunner, *blocks: Block) -> None:
    """Feed the events of whole blocks."""
    for block in blocks:
        calls.feed(ContentBlockStartEvent(index=0, content_block=block))
        calls.feed(ContentBlockStopEvent(index=0, content_block=block))


def delta(stop_reason: str) -> MessageDeltaEvent:
    """The event with which a message says why it stopped."""
    return MessageDeltaEvent(delta=MessageDelta(stop_reason=stop_reason))


def message(*blocks: Block, stop_reason: str | None = "tool_use") -> Message:
    """A whole message."""
    return Message(content=blocks, stop_reason=stop_reason)


def a_tool(name: str, function: Callable[..., Awaitable[Any]], **options: Any) -> Tool:
    """A tool without parameters."""

    async def call(arguments: dict[str, Any], ctx: ToolContext) -> Any:
        return await function()

    definition = {"name": name, "input_schema": {"type": "object"}}
    return Tool(definition=definition, call=call, **options)


def sleeper(
    name: str, seconds: float = 1.0, result: Any = "done", log: list[str] | None = None, **options: Any
) -> Tool:
    """A tool that sleeps, and writes down when it starts and ends."""
    log = [] if log is None else log

    async def call(arguments: dict[str, Any], ctx: ToolContext) -> Any:
        log.append(f"{ctx.call_id.removeprefix('toolu_')} starts {trio.current_time() - START:g}")
        await trio.sleep(seconds)
        log.append(f"{ctx.call_id.removeprefix('toolu_')} ends {trio.current_time() - START:g}")
        if isinstance(result, Exception):
            raise result
        return result

    definition = {"name": name, "input_schema": {"type": "object"}}
    return Tool(definition=definition, call=call, **options)


START = 0.0
"""When a mock clock starts."""


def texts(calls: ToolRunner) -> list[Any]:
    """The contents of the results."""
    return [block["content"] for block in calls.results()]


def errors(calls: ToolRunner) -> list[bool]:
    """Which results are marked as errors."""
    return [bool(block.get("is_error")) for block in calls.results()]


class Events(list[RunEvent]):
    """The events of a runner: ``emit=events.append``."""

    def told(self) -> list[str]:
        """Their types and the ids of their calls."""
        return [f"{event.type} {getattr(event, 'id', '').removeprefix('toolu_')}" for event in self]
