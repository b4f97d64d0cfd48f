"""One answer of each kind that there is, by name: for the tests that look at all of them."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.protocol.test_blocks import WHOLE
from trio_stream import ApprovalEvent, NestedEvent, SteerEvent, ToolProgressEvent, TurnRestartEvent, TurnStartEvent
from trio_stream._errors import IncompleteStreamError
from trio_stream.types import (
    CompactionDelta,
    ContentBlockDeltaEvent,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    TextEvent,
    ThinkingDelta,
    UnknownEvent,
)
from trio_stream.web import RelayedEvent

from .answers import call, reply, result, started, stopped, text, turn

PAGE = {
    "type": "web_search_result_location",
    "cited_text": "It rains.",
    "encrypted_index": "e",
    "title": "Weather",
    "url": "https://weather.test/",
}
FOUND = [{"type": "web_search_result", "title": "Weather", "url": "https://weather.test/", "encrypted_content": "x"}]

EVERY_BLOCK = [
    # Each call has an identifier of its own, and each result is that of the call before it or of none that is known.
    {
        **block,
        **({"id": f"call_{at}"} if "id" in block else {}),
        **({"tool_use_id": f"result_{at}"} if "tool_use_id" in block else {}),
    }
    for at, block in enumerate(WHOLE)
    if block["type"] != "fallback"
]


def approval(call_id: str = "toolu_1", name: str = "search", **given: Any) -> ApprovalEvent:
    return ApprovalEvent(id=call_id, name=name, input=given, answer=lambda _: None)


def nested(event: Any, call_id: str = "toolu_1", name: str = "research") -> NestedEvent:
    return NestedEvent(id=call_id, name=name, event=event)


def _nested_run() -> list[RelayedEvent]:
    inner = turn(
        1, reply(text("Looking."), call("toolu_i"), message_id="msg_i", stop_reason="tool_use"), started("toolu_i")
    )
    return [
        started("toolu_1", "research"),
        *map(nested, inner),
        nested(nested(TurnStartEvent(turn=1), "toolu_i")),
        nested(stopped("found", "toolu_i")),
        stopped("all of it", "toolu_1", "research"),
    ]


def _whole_from_the_start() -> list[RelayedEvent]:
    """A stream whose ``message_start`` has content, as some gateways send it."""
    whole: Any = reply(text("Hello", PAGE), {"type": "thinking", "thinking": "Hm", "signature": "s"}, call())[-1]
    first, *others = reply(stop_reason="tool_use")
    message = msgspec.structs.replace(first.message, content=whole.message.content)  # type: ignore[union-attr]
    return [msgspec.structs.replace(first, message=message), *others]  # type: ignore[type-var]


DELTAS = (TextDelta(""), ThinkingDelta(""), InputJSONDelta(""), SignatureDelta(""), CompactionDelta())
"""Deltas that add nothing to any block."""

ANSWERS: dict[str, list[RelayedEvent]] = {
    "text": reply(text("Hello, world")),
    "nothing": reply(),
    "every block": reply(*EVERY_BLOCK, stop_reason="tool_use"),
    "thinking": reply(
        {"type": "thinking", "thinking": "Hm, let me see", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        text("Well."),
    ),
    "a call": reply(text("I look."), call(query="rain in Lisbon"), stop_reason="tool_use"),
    "calls without text": reply(call("a", x=1), call("b"), stop_reason="tool_use"),
    "a cut call": reply(text("I look."), call("a", x=1), call("b", query="rain"), stop_reason="max_tokens"),
    "a call that is not to run": reply(call(query="rain"), stop_reason="end_turn"),
    "a call whose input is no JSON": reply(call() | {"input": '{"query": nonsense'}, text("!"), stop_reason="tool_use"),
    "a call whose input is no object": reply(call() | {"input": "[1]"}, stop_reason="tool_use"),
    "a search": reply(
        text("I look. "),
        call("srv", "web_search", "server_tool_use", query="rain"),
        result("srv", FOUND),
        text("It "),
        text("rains", PAGE),
        text(", says one", PAGE),
        text("."),
    ),
    "a search that failed": reply(
        call("srv", "web_search", "server_tool_use", query="rain"),
        result("srv", {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}),
        text("No."),
    ),
    "a search that goes on later": reply(
        text("I look."), call("srv", "web_search", "server_tool_use", query="x"), stop_reason="pause_turn"
    ),
    "a result of an earlier reply": reply(result("srv", FOUND), text("It rains.")),
    "MCP": reply(
        call("m", "echo", "mcp_tool_use", x=1) | {"server_name": "files"},
        result("m", [{"type": "text", "text": "no such file"}], "mcp_tool_result", is_error=True),
        text("Sorry."),
    ),
    "another model": reply(
        call("a", query="rain"),
        {"type": "fallback", "from": {"model": "one"}, "to": {"model": "two"}},
        call("b", query="snow"),
        text("So."),
        stop_reason="tool_use",
    ),
    "a program's call": reply(
        call("p", caller_is="a program") | {"caller": {"type": "code_execution_20260120", "tool_id": "srv"}},
        text("Running."),
        stop_reason="tool_use",
    ),
    "a refusal": reply(text("I must"), stop_reason="refusal"),
    "an unknown stop reason": reply(text("I must"), call(), stop_reason="solar_flare"),
    "no stop reason": reply(text("I must"), call(), stop_reason=None),
    "two identical identifiers": reply(call("x"), call("x"), text("?"), call(""), stop_reason="tool_use"),
    "an unknown event": [UnknownEvent(raw={"type": "weather", "x": None}), *reply(text("Hello"))],
    "an early event": [started("toolu_9", "search", query="snow"), stopped(call_id="toolu_9"), *reply(text("Hello"))],
    "a run": [
        *turn(
            1,
            reply(text("I look."), call(query="rain"), message_id="msg_1", stop_reason="tool_use"),
            started(query="rain"),
            ToolProgressEvent(id="toolu_1", name="search", progress={"percent": 50}),
            ToolProgressEvent(id="toolu_1", name="search", progress=object()),
            stopped([{"type": "text", "text": "It rains."}]),
        ),
        SteerEvent(content="In Porto, I mean.", when="next"),
        *turn(2, reply(text("It rains in Porto."), message_id="msg_2")),
    ],
    "a run with failing tools": turn(
        1,
        reply(call("a"), call("b"), call("c"), message_id="msg_1", stop_reason="tool_use"),
        started("a"),
        stopped("ValueError: no", "a", is_error=True),
        stopped([{"type": "image", "source": {}}], "b", is_error=True),
        stopped([{"type": "image", "source": {}}], "c"),
    ),
    "a run whose reply is cut": turn(
        1, reply(call("a", query="rain"), stop_reason="max_tokens"), stopped("not started: cut.", "a", is_error=True)
    ),
    "approvals": turn(
        1,
        reply(call("a"), call("b"), call("c"), message_id="msg_1", stop_reason="tool_use"),
        approval("a"),
        approval("b"),
        approval("c"),
        started("a"),
        stopped("the user said no", "b", is_error=True),
        stopped("done", "a"),
    ),
    "a reply that begins again": [
        *turn(
            1,
            [
                *reply(text("It ra"), call("a", query="rain"), message_id="msg_1")[:-3],
                TurnRestartEvent(turn=1, error=IncompleteStreamError("cut"), delay=0.5),
                TurnRestartEvent(turn=1, error=IncompleteStreamError("cut"), delay=0.5),
                *reply(text("It rains."), call("a", query="rain"), message_id="msg_2", stop_reason="tool_use"),
            ],
            started("a"),
            stopped("found", "a"),
        ),
        *turn(2, reply(text("Indeed."), message_id="msg_3")),
    ],
    "a reply that fails at once": [
        *turn(1, reply(text("One."), message_id="msg_1")),
        TurnStartEvent(turn=2),
        TurnRestartEvent(turn=2, error=IncompleteStreamError("cut"), delay=0.5),
        *turn(2, reply(text("Two."), message_id="msg_2"))[1:],
    ],
    "a run that leaves a reply": [
        TurnStartEvent(turn=1),
        *reply(text("It ra"), call("a", query="rain"), message_id="msg_1")[:-3],
        stopped("not started: the user said something.", "a", is_error=True),
        turn(1, reply(message_id="msg_1", stop_reason=None))[-1],
        SteerEvent(content=[{"type": "image", "source": {}}], when="now"),
        *turn(2, reply(text("Sorry."), message_id="msg_2")),
    ],
    "a run within a call": [
        *turn(1, reply(call(name="research"), stop_reason="tool_use"), *_nested_run()),
        *turn(2, reply(text("That is all."), message_id="msg_2")),
    ],
    "a run within a call that asks": turn(
        1,
        reply(call(name="research"), stop_reason="tool_use"),
        started("toolu_1", "research"),
        *map(nested, reply(call("d"), call("e"), message_id="msg_i", stop_reason="tool_use")),
        nested(approval("d", "delete")),
        nested(nested(approval("e", "delete"), "toolu_j")),
        nested(started("d", "delete")),
        nested(stopped("gone", "d", "delete")),
        nested(nested(stopped("no", "e", "delete", is_error=True), "toolu_j")),
        stopped("failed", "toolu_1", "research", is_error=True),
        nested(TurnStartEvent(turn=9)),
    ),
    "a run within a call that shows no beginning": [
        *turn(1, reply(call(name="research"), stop_reason="tool_use")),
        *[nested(event) for event in reply(text("Looking.")) if event.type.startswith("content_block")],
    ],
    "a run that is ahead of its reply": [
        TurnStartEvent(turn=1),
        *(events := reply(call("a", x=1), call("b", y=2), text("So."), stop_reason="tool_use"))[:5],
        started("a", x=1),
        *events[5:9],
        started("b", y=2),
        *events[9:],
        ToolProgressEvent(id="a", name="search", progress=0.5),
        stopped("one", "a"),
        ToolProgressEvent(id="a", name="search", progress=1),
        stopped("two", "b"),
        turn(1, events)[-1],
    ],
    "parts that are empty or do not fit": [
        *(odd := reply(text("a"), {"type": "thinking", "thinking": "b"}, call("a", x=1), stop_reason="tool_use"))[:2],
        *(ContentBlockDeltaEvent(0, delta) for delta in DELTAS),
        *odd[2:5],
        *(ContentBlockDeltaEvent(1, delta) for delta in DELTAS),
        *odd[5:7],
        *(ContentBlockDeltaEvent(2, delta) for delta in DELTAS),
        *odd[7:],
    ],
    "events without their message": [nested(event) for event in reply(text("a"))[-2:]]
    + [nested(TextEvent("a", [], 0))],  # type: ignore[arg-type]
    "two streams": [*reply(text("One."), message_id="msg_1"), *reply(text("Two."), message_id="msg_2")],
    "a stream that is left for another": [
        *reply(text("One."), message_id="msg_1")[:4],
        *reply(text("Two."), message_id="msg_2"),
    ],
    "whole from the start": _whole_from_the_start(),
}
