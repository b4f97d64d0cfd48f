"""`_accumulator`: the order of events, what is delivered for each, and the message that they make."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.protocol.feeding import accumulate, final, raw
from tests.wire.events import (
    PING,
    STOP,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    message_delta,
    message_start,
    text_delta,
)
from trio_stream import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol import ErrorEvent, Message, MessageAccumulator, Oddity, TextBlock, Usage, decode_event
from trio_stream.types import (
    CitationCharLocation,
    CitationEvent,
    CompactionBlock,
    CompactionEvent,
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    ErrorObject,
    FallbackBlock,
    InputJsonEvent,
    MCPToolUseBlock,
    MessageStopEvent,
    ServerToolUseBlock,
    SignatureEvent,
    TextDelta,
    TextEvent,
    ThinkingBlock,
    ThinkingEvent,
    ToolUseBlock,
    UnknownBlock,
    UnknownEvent,
)


def types(events: list[Any]) -> list[str]:
    return [str(event.type) for event in events]


def snapshot(accumulator: MessageAccumulator) -> Message:
    message = accumulator.snapshot()
    assert message is not None
    return message


def test_text() -> None:
    """Each delta, then its helper; the block at its end, the message at its end."""
    accumulator, events = accumulate(
        [
            message_start(),
            PING,
            block_start(0),
            text_delta("Hel"),
            text_delta(""),
            text_delta("lo"),
            block_stop(0),
            message_delta(),
            STOP,
        ]
    )
    assert types(events) == [
        "message_start",
        "content_block_start",
        *["content_block_delta", "text"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    helpers = [event for event in events if isinstance(event, TextEvent)]
    assert [(event.text, event.snapshot) for event in helpers] == [("Hel", "Hel"), ("", "Hel"), ("lo", "Hello")]
    assert helpers[0].to_dict() == {"type": "text", "text": "Hel", "snapshot": "Hel"}
    stop, last = events[-3], events[-1]
    assert isinstance(stop, ContentBlockStopEvent)
    assert stop.content_block == TextBlock(text="Hello")
    assert isinstance(last, MessageStopEvent)
    assert last.message is accumulator.snapshot()
    assert last.message == Message(
        id="msg_1",
        model="claude-test",
        content=(TextBlock(text="Hello"),),
        stop_reason="end_turn",
        usage=Usage(input_tokens=7, output_tokens=9),
    )
    assert accumulator.text == "Hello"
    assert accumulator.text_parts == ["Hel", "lo"]
    assert accumulator.complete


def test_before_anything() -> None:
    """There is no message yet, and nothing of one."""
    accumulator = MessageAccumulator()
    assert not accumulator.started
    assert not accumulator.complete
    assert accumulator.snapshot() is None
    assert accumulator.text == ""
    assert accumulator.usage == Usage()
    assert accumulator.stop_reason is None
    accumulate([PING, {"type": "new_event"}], accumulator)
    assert not accumulator.started
    accumulate([message_start()], accumulator)
    assert accumulator.started
    assert accumulator.usage.input_tokens == 7


def test_thinking() -> None:
    """Pieces are joined; the signature is assigned, not appended; estimates are summed."""
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0, "thinking"),
            block_delta("thinking_delta", thinking=""),
            block_delta("thinking_delta", thinking="Hm", estimated_tokens=50),
            block_delta("thinking_delta", thinking="m.", estimated_tokens=None),
            block_delta("signature_delta", signature="wrong"),
            block_delta("signature_delta", signature="sig"),
            block_stop(0),
            block_start(1, "thinking", thinking="x"),
            block_delta("thinking_delta", 1, thinking="y", estimated_tokens=50),
        ]
    )
    helpers = [event for event in events if isinstance(event, ThinkingEvent)]
    assert [(event.thinking, event.snapshot) for event in helpers] == [
        ("", ""),
        ("Hm", "Hm"),
        ("m.", "Hmm."),
        ("y", "xy"),
    ]
    assert helpers[2].to_dict() == {"type": "thinking", "thinking": "m.", "snapshot": "Hmm."}
    assert [event.signature for event in events if isinstance(event, SignatureEvent)] == ["wrong", "sig"]
    assert snapshot(accumulator).content == (
        ThinkingBlock(thinking="Hmm.", signature="sig"),
        ThinkingBlock(thinking="xy", incomplete=True),
    )
    assert accumulator.thinking_parts == ["Hm", "m.", "x", "y"]
    assert accumulator.text == ""


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("tool_use", ToolUseBlock), ("server_tool_use", ServerToolUseBlock), ("mcp_tool_use", MCPToolUseBlock)],
)
def test_tool_input(kind: str, cls: type[ToolUseBlock]) -> None:
    """It comes in pieces; what it says so far is parsed when looked at."""
    pieces = ["", '{"city": "Par', 'is", "days"', ": 12", "3}"]
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0, kind),
            *[json_delta(piece) for piece in pieces],
            block_stop(0),
            message_delta("tool_use"),
            STOP,
        ]
    )
    helpers = [event for event in events if isinstance(event, InputJsonEvent)]
    assert [event.snapshot for event in helpers] == [
        {},
        {},
        {"city": "Paris"},
        {"city": "Paris", "days": 12},
        {"city": "Paris", "days": 123},
    ]
    assert helpers[2].to_dict() == {
        "type": "input_json",
        "partial_json": 'is", "days"',
        "snapshot": {"city": "Paris"},
    }
    (tool,) = snapshot(accumulator).content
    assert isinstance(tool, cls)
    assert tool.input == {"city": "Paris", "days": 123}
    assert tool.input_json == "".join(pieces)
    assert not tool.incomplete


def test_tool_input_that_came_at_once() -> None:
    """Some servers send it in ``content_block_start``; deltas would replace it."""
    at_once = final(block_start(0, "tool_use", input={"a": 1}), json_delta(""), block_stop(0)).content[0]
    assert isinstance(at_once, ToolUseBlock)
    assert at_once.input == {"a": 1}
    replaced = final(block_start(0, "tool_use", input={"a": 1}), json_delta('{"a": 2}'), block_stop(0)).content[0]
    assert isinstance(replaced, ToolUseBlock)
    assert replaced.input == {"a": 2}


def test_tool_input_that_does_not_parse() -> None:
    """The message completes; looking at the input raises, and the text is there."""
    message = final(block_start(0, "tool_use"), json_delta('{"a": x}'), block_stop(0))
    (tool,) = message.content
    assert isinstance(tool, ToolUseBlock)
    assert not tool.incomplete
    assert tool.input_json == '{"a": x}'
    with pytest.raises(InvalidToolInputError):
        _ = tool.input


CUT = "max_tokens"


@pytest.mark.parametrize(
    ("stop_reason", "pieces", "ended", "incomplete"),
    [
        (CUT, ['{"a": 1'], True, True),
        (CUT, ['{"a": 1'], False, True),
        (CUT, ['{"a": 1}'], True, False),
        (CUT, ['{"a": 1}'], False, True),
        (CUT, ['"a"'], True, True),
        (CUT, [], True, True),
        (CUT, [" "], True, True),
        ("refusal", ['{"a": 1'], True, True),
        ("model_context_window_exceeded", ['{"a": 1'], True, True),
        ("stop_sequence", ['{"a": 1'], True, True),
        ("new_reason", ['{"a": 1'], True, True),
        ("tool_use", ['{"a": 1'], True, False),
        ("tool_use", ['{"a": 1}'], True, False),
        ("tool_use", [], True, False),
        ("tool_use", ['{"a": 1}'], False, True),
        ("end_turn", ['{"a": 1'], True, False),
        ("pause_turn", [], True, False),
    ],
)
def test_tool_input_that_was_cut(stop_reason: str, pieces: list[str], *, ended: bool, incomplete: bool) -> None:
    """No input is invented: ``content_block_stop`` proves nothing when the reply was cut."""
    events = [block_start(0), block_stop(0), block_start(1, "tool_use"), *[json_delta(piece, 1) for piece in pieces]]
    if ended:
        events.append(block_stop(1))
    accumulator, delivered = accumulate([message_start(), *events, message_delta(stop_reason), STOP])
    tool = snapshot(accumulator).content[1]
    assert isinstance(tool, ToolUseBlock)
    assert tool.incomplete is incomplete
    assert tool.input_json == "".join(pieces)
    if incomplete:
        with pytest.raises(InvalidToolInputError, match="not complete"):
            _ = tool.input
    last = delivered[-1]
    assert isinstance(last, MessageStopEvent)
    assert last.message.content[1] == tool


def test_only_the_last_tool_block_can_be_cut() -> None:
    """One before it was finished, whatever it says; and a tool without arguments that was answered was called."""
    accumulator, _ = accumulate(
        [
            message_start(),
            block_start(0, "tool_use"),
            json_delta("{"),
            block_stop(0),
            block_start(1, "server_tool_use"),
            block_stop(1),
            block_start(2, "new_tool_result"),
            block_stop(2),
            message_delta(CUT),
            STOP,
        ]
    )
    first, second, _ = snapshot(accumulator).content
    assert isinstance(first, ToolUseBlock)
    assert not first.incomplete
    assert isinstance(second, ServerToolUseBlock)
    assert second.input == {}


def test_partial_message() -> None:
    """What is open is incomplete, and so is a closed tool block that may have been cut."""
    accumulator, _ = accumulate([message_start(), block_start(0, "tool_use"), json_delta('{"a'), block_stop(0)])
    assert snapshot(accumulator).content[0].incomplete
    accumulate(
        [block_start(1, "tool_use"), json_delta("{}", 1), block_stop(1), block_start(2), text_delta("x", 2)],
        accumulator,
    )
    assert [item.incomplete for item in snapshot(accumulator).content] == [False, False, True]
    assert snapshot(accumulator).stop_reason is None


def test_citations() -> None:
    """They are appended; each event knows those until it."""
    first, second = ({"type": "char_location", "cited_text": name, "document_title": None} for name in "ab")
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0, citations=[]),
            block_delta("citations_delta", citation=first),
            block_delta("citations_delta", citation={**second, "new": 1}),
            block_stop(0),
        ]
    )
    helpers = [event for event in events if isinstance(event, CitationEvent)]
    one = CitationCharLocation(cited_text="a")
    two = CitationCharLocation(cited_text="b", extra={"new": 1})
    assert [(event.citation, event.snapshot) for event in helpers] == [(one, (one,)), (two, (one, two))]
    assert [len(event.to_dict()["snapshot"]) for event in helpers] == [1, 2]
    (cited,) = snapshot(accumulator).content
    assert isinstance(cited, TextBlock)
    assert cited.citations == (one, two)
    assert cited.to_param()["citations"][1]["new"] == 1


def test_citations_that_came_at_once() -> None:
    """Those of ``content_block_start`` come first."""
    first, second = ({"type": "char_location", "cited_text": name} for name in "ab")
    (cited,) = final(
        block_start(0, citations=[first]), block_delta("citations_delta", citation=second), block_stop(0)
    ).content
    assert isinstance(cited, TextBlock)
    assert [item["cited_text"] for item in cited.to_param()["citations"]] == ["a", "b"]


def test_compaction() -> None:
    """The summary is assigned; what a delta does not say stays."""
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0, "compaction", new=1),
            block_delta("compaction_delta", content="summary"),
            block_delta("compaction_delta", encrypted_content="e"),
            block_delta("signature_delta", signature="s"),
            block_stop(0),
        ]
    )
    helpers = [event for event in events if isinstance(event, CompactionEvent)]
    assert [event.to_dict() for event in helpers] == [
        {"type": "compaction", "content": "summary"},
        {"type": "compaction", "encrypted_content": "e"},
    ]
    (compaction,) = snapshot(accumulator).content
    assert compaction == CompactionBlock(content="summary", encrypted_content="e", signature="s", extra={"new": 1})


def test_fallback() -> None:
    """The model that took over is the message's model, at once."""
    to = {"from": {"model": "a"}, "to": {"model": "b"}, "trigger": {"type": "refusal"}}
    accumulator, _ = accumulate([message_start(), block_start(0, "fallback", **to)])
    assert snapshot(accumulator).model == "b"
    assert isinstance(snapshot(accumulator).content[0], FallbackBlock)
    accumulate([block_stop(0), block_start(1, "fallback")], accumulator)
    assert snapshot(accumulator).model == "b"


def test_unknown_things() -> None:
    """Events pass through, deltas stay with their block, blocks stay as they came."""
    accumulator, events = accumulate(
        [
            {"type": "new_event", "x": 1},
            message_start(),
            {"type": "new_event", "x": 2},
            block_start(0),
            block_delta("new_delta", y=1),
            text_delta("a"),
            block_stop(0),
            block_start(1, "new_block", z=1),
            block_delta("new_delta", 1, y=2),
            text_delta("not text", 1),
            block_stop(1),
            message_delta("new_reason"),
            STOP,
        ]
    )
    assert [event.raw["x"] for event in events if isinstance(event, UnknownEvent)] == [1, 2]
    message = snapshot(accumulator)
    assert message.stop_reason == accumulator.stop_reason == "new_reason"
    first, second = message.content
    assert isinstance(first, TextBlock)
    assert [item.raw for item in first.unknown_deltas] == [{"type": "new_delta", "y": 1}]
    assert isinstance(second, UnknownBlock)
    assert second.deltas == ({"type": "new_delta", "y": 2}, {"type": "text_delta", "text": "not text"})
    assert second.to_param() == {"type": "new_block", "z": 1}
    assert not second.incomplete
    assert accumulator.text == message.text == "a"


def test_message_deltas() -> None:
    """What they say overwrites, what they do not say stays; without usage, the usage stays."""
    accumulator, _ = accumulate(
        [
            message_start(container={"id": "old"}, input_transformations=[]),
            message_delta(None, delta={"container": {"id": "new"}, "stop_sequence": "s"}),
            message_delta("stop_sequence", usage={"output_tokens": 20, "iterations": [{"type": "message"}]}),
            message_delta(None, usage=None, context_management={"applied_edits": []}),
            {"type": "message_delta", "delta": {}, "input_transformations": [{"type": "t"}]},
            STOP,
        ]
    )
    message = snapshot(accumulator)
    assert message.container is not None
    assert message.container.id == "new"
    assert message.stop_sequence == "s"
    assert message.stop_reason == "stop_sequence"
    assert message.usage is accumulator.usage
    assert message.usage.input_tokens == 7
    assert message.usage.output_tokens == 20
    assert len(message.usage.iterations or ()) == 1
    assert message.context_management is not None
    assert message.input_transformations is not None
    assert message.input_transformations[0].type == "t"


def test_interleaved_blocks() -> None:
    """Blocks may overlap; each gets its own."""
    message = final(
        block_start(0),
        block_start(1, "tool_use"),
        text_delta("a"),
        json_delta('{"x"', 1),
        block_start(2),
        text_delta("c", 2),
        text_delta("b"),
        block_stop(2),
        json_delta(": 1}", 1),
        block_stop(0),
        block_stop(1),
    )
    first, second, third = message.content
    assert first == TextBlock(text="ab")
    assert isinstance(second, ToolUseBlock)
    assert second.input == {"x": 1}
    assert third == TextBlock(text="c")
    assert message.text == "abc"


def test_block_open_at_the_end() -> None:
    """The message is complete, the block is not."""
    message = final(block_start(0), text_delta("a"))
    assert message.content == (TextBlock(text="a", incomplete=True),)


@pytest.mark.parametrize("delta", [text_delta("a\ud83d"), block_delta({"type": "text_delta", "text": "a\ud83d"}, 1)])
def test_half_of_a_character_at_the_end(delta: dict[str, Any]) -> None:
    """It is U+FFFD in the message, also if the message was looked at before its end, and so it is in its text."""
    accumulator, _ = accumulate([message_start(), block_start(0), block_start(1), delta, message_delta()])
    assert snapshot(accumulator).text == accumulator.text == "a"
    _, (stop,) = accumulate([STOP], accumulator)
    assert isinstance(stop, MessageStopEvent)
    assert stop.message.text == accumulator.text == "a\ufffd"


@pytest.mark.parametrize(
    ("indexes", "told"),
    [
        ([0, 1, 2], []),
        ([0, 0, 1], [Oddity.REUSED_INDEX]),
        ([0, 2], [Oddity.INDEX_GAP]),
        ([1, 0], [Oddity.INDEX_GAP]),
        ([0, 3, 3, 5], [Oddity.INDEX_GAP, Oddity.REUSED_INDEX]),
    ],
)
def test_what_is_told_of_indexes(indexes: list[int], told: list[Oddity]) -> None:
    """One that was used again leaves no gap behind it."""
    found: list[Oddity] = []
    blocks = [event for index in indexes for event in (block_start(index), block_stop(index))]
    accumulate([message_start(), *blocks], MessageAccumulator(on_oddity=found.append))
    assert found == told


def test_content_in_message_start() -> None:
    """Blocks that are there from the beginning are complete."""
    accumulator, _ = accumulate(
        [
            message_start(content=[{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "t"}]),
            block_start(2),
            text_delta("b", 2),
        ]
    )
    assert [item.incomplete for item in snapshot(accumulator).content] == [False, False, True]
    assert accumulator.text == "ab"
    assert accumulator.thinking_parts == ["t"]


BEGUN = [
    message_start(),
    block_start(0),
    block_start(1, "tool_use"),
    block_start(2, "thinking"),
    block_start(3, "redacted_thinking", data="d"),
]


@pytest.mark.parametrize(
    ("before", "event", "reason"),
    [
        ([], text_delta("a"), "content_block_delta event: there was no message_start"),
        ([], block_start(0), "content_block_start event: there was no message_start"),
        ([], block_stop(0), "content_block_stop event: there was no message_start"),
        ([], message_delta(), "message_delta event: there was no message_start"),
        ([], STOP, "message_stop event: there was no message_start"),
        ([message_start()], text_delta("a", 0), "content_block_delta event: block 0 has not started"),
        ([message_start()], block_delta("new_delta"), "content_block_delta event: block 0 has not started"),
        (BEGUN, text_delta("a", 10**30), f"content_block_delta event: block {10**30} has not started"),
        ([*BEGUN, block_stop(0)], text_delta("a", 0), "content_block_delta event: block 0 is complete"),
        ([message_start()], message_start("msg_2"), "message_start event: the message has started"),
        ([message_start(), block_start(0)], message_start(), "message_start event: the message has started"),
        (
            [message_start()],
            message_start(content=[{"type": "text", "text": "a"}]),
            "message_start event: the message has started",
        ),
        (BEGUN, block_start(0), "content_block_start event: block 0 is open"),
        (BEGUN, block_start(3), "content_block_start event: block 3 is open"),
        ([message_start(), message_delta(), STOP], STOP, "message_stop event: the message is complete"),
        ([message_start(), message_delta(), STOP], message_start(), "message_start event: the message is complete"),
        ([message_start(), message_delta(), STOP], {"type": "new" * 100}, "event: the message is complete"),
        (
            [message_start(), block_start(0), message_delta(), STOP],
            text_delta("a", 0),
            "content_block_delta event: the message is complete",
        ),
    ],
)
def test_order(before: list[dict[str, Any]], event: dict[str, Any], reason: str) -> None:
    """An event out of order is refused by name, and changes nothing."""
    accumulator, _ = accumulate(before)
    message = accumulator.snapshot()
    with pytest.raises(InvalidResponseError) as caught:
        accumulate([event], accumulator)
    assert str(caught.value).startswith("unexpected ")
    assert str(caught.value).endswith(reason[-40:])
    assert len(str(caught.value)) < 200
    assert accumulator.snapshot() is message or accumulator.snapshot() == message


def test_negative_index() -> None:
    """Even if it did not come from `decode_event`."""
    accumulator, _ = accumulate(BEGUN)
    with pytest.raises(InvalidResponseError):
        accumulator.add(ContentBlockDeltaEvent(-1, TextDelta("a")))


@pytest.mark.parametrize("before", [[], [message_start()]])
def test_error_event(before: list[dict[str, Any]]) -> None:
    """It is for the caller to raise; it is no part of a message."""
    accumulator, _ = accumulate(before)
    with pytest.raises(InvalidResponseError, match="unexpected error event"):
        accumulator.add(ErrorEvent(error=ErrorObject(message="m")))


@pytest.mark.parametrize(
    "events",
    [
        [block_start(0), *[text_delta("x" * 100)] * 10],
        [block_start(0), *[text_delta("\u20ac" * 34)] * 10],
        [block_start(0, "thinking"), *[block_delta("thinking_delta", thinking="x" * 100)] * 10],
        [block_start(0, "thinking"), *[block_delta("signature_delta", signature="x" * 100)] * 10],
        [block_start(0, "tool_use"), *[json_delta("\u20ac" * 34)] * 10],
        [block_start(0), *[block_delta("citations_delta", citation={"type": "new", "x": "x" * 100})] * 10],
        [block_start(0), *[block_delta("new_delta", x="x" * 100)] * 10],
        [block_start(0, "compaction"), *[block_delta("compaction_delta", content="x" * 100)] * 10],
        [block_start(index, "new_block", x="x" * 100) for index in range(10)],
        [block_start(0, "web_search_tool_result", content=[{"type": "web_search_result", "title": "x" * 1000}])],
    ],
)
def test_message_size_limit(events: list[dict[str, Any]]) -> None:
    """What is held is counted in bytes; beyond the limit it is refused, and what came before stays."""
    accumulator = MessageAccumulator(max_message_bytes=1000)
    with pytest.raises(InvalidResponseError, match=r"1000 bytes \(max_message_bytes\)"):
        accumulate([message_start(usage={}), *events], accumulator)
    assert len(snapshot(accumulator).text) < 1000


def test_message_start_counts() -> None:
    """The limit holds for what arrives with it, too."""
    accumulator = MessageAccumulator(max_message_bytes=1000)
    with pytest.raises(InvalidResponseError, match="max_message_bytes"):
        accumulate([message_start(content=[{"type": "text", "text": "x" * 1000}])], accumulator)
    assert accumulator.snapshot() is None


# What a block of each kind holds before the event that is refused; the first half of an emoji is held back.
_HALF = "\ud83d"
_OPEN: dict[str, list[dict[str, Any]]] = {
    "text": [block_start(0), text_delta("so far"), text_delta(_HALF)],
    "thinking": [block_start(0, "thinking"), block_delta("thinking_delta", thinking=f"so far{_HALF}")],
    "tool_use": [block_start(0, "tool_use"), json_delta(f'{{"a": "{_HALF}')],
    "compaction": [block_start(0, "compaction")],
    "new_block": [block_start(0, "new_block"), block_delta("new_delta", x=1)],
}
_NEW = {"new": "n" * 40}

_REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "message_start": ("", message_start(**_NEW)),
    "message_start, fields of the event": ("", {**message_start(), **_NEW}),
    "message_start with blocks": ("", message_start(content=[{"type": "text", "text": "x" * 40}], **_NEW)),
    "content_block_start": ("text", block_start(1, text="x" * 40)),
    "content_block_start after a gap": ("text", block_start(5, text="x" * 40)),
    "content_block_start of a fallback": (
        "text",
        block_start(1, "fallback", **{"from": {"model": "a"}, "to": {"model": "b" * 40}}),
    ),
    "text": ("text", text_delta("x" * 40)),
    "text after a half": ("text", text_delta("\ude00" + "x" * 40)),
    "text with another half": ("text", text_delta("x" * 40 + _HALF)),
    "text with an unknown field": ("text", block_delta("text_delta", text="\ude00", **_NEW)),
    "a citation": ("text", block_delta("citations_delta", citation={"type": "new", "x": "x" * 40}, **_NEW)),
    "thinking after a half": ("thinking", block_delta("thinking_delta", thinking="\ude00" + "x" * 40, **_NEW)),
    "a signature": ("thinking", block_delta("signature_delta", signature="x" * 40, **_NEW)),
    "tool input after a half": ("tool_use", block_delta("input_json_delta", partial_json="\ude00" * 20, **_NEW)),
    "a compaction": ("compaction", block_delta("compaction_delta", content="x" * 40, **_NEW)),
    "an unknown delta": ("text", block_delta("new_delta", x="x" * 40)),
    "a delta that does not fit": ("text", json_delta("\ude00" + "x" * 40)),
    "a delta of an unknown block": ("new_block", block_delta("new_delta", x="x" * 40)),
    "message_delta": ("text", {**message_delta(usage={"output_tokens": 5, **_NEW}), **_NEW}),
    "message_delta, fields of its delta": ("text", message_delta(delta={"stop_reason": "max_tokens", **_NEW})),
    "message_stop": ("text", {**STOP, **_NEW}),
}


def _state(accumulator: MessageAccumulator) -> tuple[Any, ...]:
    """Everything that can be read of it."""
    message = accumulator.snapshot()
    return (
        None if message is None else message.to_dict(),
        [*accumulator.text_parts],
        [*accumulator.thinking_parts],
        accumulator.usage.to_dict(),
        accumulator.stop_reason,
        accumulator.complete,
    )


def _why_refused(event: dict[str, Any], accumulator: MessageAccumulator) -> str:
    try:
        accumulate([event], accumulator)
    except InvalidResponseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("opened", "event"), _REFUSED.values(), ids=_REFUSED)
def test_what_is_refused_changes_nothing(opened: str, event: dict[str, Any]) -> None:
    """Whatever part of an event is beyond the limit: the message, and all that follows, is as if it had not come."""
    before = [message_start(), *_OPEN[opened]] if opened else []
    more = [text_delta("\ude00"), block_delta("thinking_delta", thinking="\ude00"), json_delta("\ude00"), block_stop(0)]
    rest = [*([] if opened else [message_start()]), *more, STOP]
    refused = 0
    for limit in range(100, 1000):
        told: list[Oddity] = []
        expected: list[Oddity] = []
        one = MessageAccumulator(max_message_bytes=limit, on_oddity=told.append)
        other = MessageAccumulator(max_message_bytes=limit, on_oddity=expected.append)
        if any(_why_refused(earlier, one) for earlier in before):
            continue  # not even those fit
        accumulate(before, other)
        if not _why_refused(event, one):
            break
        refused += 1
        assert _state(one) == _state(other)
        for following in rest:
            assert _why_refused(following, one) == _why_refused(following, other)
            assert _state(one) == _state(other)
        assert told == expected
    assert refused >= 3


def test_number_of_blocks() -> None:
    """It is limited, in ``message_start`` as well."""
    accumulator = MessageAccumulator(max_blocks=3)
    with pytest.raises(InvalidResponseError, match=r"3 blocks \(max_blocks\)"):
        accumulate([message_start(), *[block_start(index) for index in range(10)]], accumulator)
    assert len(snapshot(accumulator).content) == 3
    with pytest.raises(InvalidResponseError, match="max_blocks"):
        accumulate([message_start(content=[{"type": "text", "text": ""}] * 4)], MessageAccumulator(max_blocks=3))


def test_nested_too_deeply_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could just be decoded may be too deep to be encoded; that is our error, too."""

    def encode(_: object) -> bytes:
        raise RecursionError

    monkeypatch.setattr("msgspec.json.encode", encode)
    accumulator = MessageAccumulator()
    with pytest.raises(InvalidResponseError, match="nested too deeply"):
        accumulator.add(decode_event(raw(message_start())))


def test_snapshots_are_right_whenever_they_are_looked_at() -> None:
    """Events kept from the beginning tell at the end what was so at their time."""
    pieces = [f'"{number}",' for number in range(50)]
    events: list[dict[str, Any]] = [message_start(), block_start(0), block_start(1, "tool_use"), json_delta("[", 1)]
    for piece in pieces:
        events += [text_delta(piece), json_delta(piece, 1)]
    _, delivered = accumulate([*events, block_stop(0), block_stop(1), message_delta(), STOP])
    texts = [event for event in delivered if isinstance(event, TextEvent)]
    inputs = [event for event in delivered if isinstance(event, InputJsonEvent)][1:]
    order = list(range(len(pieces)))
    random.Random(0).shuffle(order)
    for index in order:
        assert texts[index].snapshot == "".join(pieces[: index + 1])
        assert inputs[index].snapshot == [str(number) for number in range(index + 1)]


def test_snapshot_of_invalid_input_so_far() -> None:
    """It raises when looked at, and only then."""
    _, delivered = accumulate([message_start(), block_start(0, "tool_use"), json_delta('{"a": x}')])
    event = delivered[-1]
    assert isinstance(event, InputJsonEvent)
    with pytest.raises(InvalidToolInputError):
        _ = event.snapshot


def test_message_so_far_is_made_when_looked_at() -> None:
    """And again only after the next event; finished blocks are made once."""
    accumulator, _ = accumulate(
        [message_start(), block_start(0), text_delta("a"), block_stop(0), block_start(1), text_delta("b", 1)]
    )
    one = snapshot(accumulator)
    assert snapshot(accumulator) is one
    accumulate([PING, {"type": "new_event"}], accumulator)
    assert snapshot(accumulator) is one
    accumulate([text_delta("c", 1)], accumulator)
    two = snapshot(accumulator)
    assert two.content[0] is one.content[0]
    assert [one.text, two.text] == ["ab", "abc"]


def test_work_per_event_does_not_grow() -> None:
    """Twice the events touch the text twice as often, not four times: every piece is kept, never joined."""

    class Joined(str):
        """Counts how often pieces are put together."""

        __slots__ = ()
        joins = 0

        def __add__(self, other: str) -> str:
            Joined.joins += 1
            return str(self) + other

    accumulator, _ = accumulate([message_start(), block_start(0)])
    piece = Joined("piece")
    helpers = [accumulator.add(ContentBlockDeltaEvent(0, TextDelta(piece)))[1] for _ in range(1000)]
    assert Joined.joins == 0
    assert len(accumulator.text_parts) == 1000
    assert all(part is piece for part in accumulator.text_parts)
    shared = {id(event._pieces) for event in helpers if isinstance(event, TextEvent)}
    assert len(shared) == 1


def test_tool_input_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pieces there were, and however often the message is looked at."""
    parsed: list[int] = []

    def decode(data: bytes) -> object:
        parsed.append(len(data))
        return {}

    monkeypatch.setattr("trio_stream._protocol._block_bases.decode_json", decode)
    pieces = ['"piece",'] * 1000
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0, "tool_use"),
            *[json_delta(piece) for piece in pieces],
            block_stop(0),
            message_delta(CUT),
            STOP,
        ]
    )
    for _ in range(3):
        tool = snapshot(accumulator).content[0]
        assert isinstance(tool, ToolUseBlock)
        assert tool.input == {}
    assert parsed == [8000]
    assert isinstance(events[-1], MessageStopEvent)


EVENTS: list[dict[str, Any]] = [
    PING,
    STOP,
    message_start(),
    message_delta(),
    message_delta(None),
    {"type": "new_event"},
    *[
        event
        for index in range(3)
        for event in (
            block_start(index),
            block_start(index, "tool_use"),
            block_start(index, "new_block"),
            text_delta("a", index),
            json_delta("{", index),
            block_delta("new_delta", index),
            block_stop(index),
        )
    ],
]


@given(st.lists(st.sampled_from(EVENTS), max_size=25))
def test_any_order(events: list[dict[str, Any]]) -> None:
    """Any events in any order: a consistent message, or `InvalidResponseError`."""
    accumulator = MessageAccumulator()
    accumulate([message_start()], accumulator)
    for event in events:
        before = snapshot(accumulator)
        try:
            _, delivered = accumulate([event], accumulator)
        except InvalidResponseError:
            assert snapshot(accumulator) == before
            continue
        message = snapshot(accumulator)
        assert message.text == accumulator.text
        assert Message.from_dict(message.to_dict()).text == message.text
        if not delivered:  # consumed, or ignored
            assert event["type"] in ("ping", "message_start", "content_block_stop")
        assert all(str(item.type) == event["type"] for item in delivered[:1])


@given(st.lists(st.text(max_size=10), max_size=20))
def test_any_text(pieces: list[str]) -> None:
    """Any text in any pieces is that text."""
    message = final(block_start(0), *[text_delta(piece) for piece in pieces], block_stop(0))
    assert message.text == "".join(pieces)
    assert message.to_param() == {"role": "assistant", "content": [{"type": "text", "text": "".join(pieces)}]}


@given(st.data())
def test_a_fork_goes_on_by_itself(data: st.DataObject) -> None:
    """At any event: what is added to either is not in the other, and both come to the same message."""
    events = [
        message_start(),
        block_start(0, "text"),
        text_delta("one ", 0),
        block_start(1, {"type": "tool_use", "id": "t", "name": "n", "input": {}}),
        json_delta('{"a": ', 1),
        text_delta("two", 0),
        block_delta({"type": "new_delta", "x": 1}, 0),
        block_stop(0),
        block_start(2, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta({"type": "thinking_delta", "thinking": "hm"}, 2),
        json_delta("1}", 1),
        block_stop(1),
        block_stop(2),
        message_delta("tool_use", new_field=1),
        STOP,
    ]
    place = data.draw(st.integers(0, len(events)))
    accumulator, _ = accumulate(events[:place])
    before = accumulator.snapshot()
    fork = accumulator.fork()
    assert (fork.snapshot(), fork.text_parts, fork.thinking_parts) == (
        before,
        accumulator.text_parts,
        accumulator.thinking_parts,
    )
    accumulate(events[place:], accumulator)
    assert fork.snapshot() == before
    accumulate(events[place:], fork)
    assert fork.snapshot() == accumulator.snapshot()
    assert (fork.text, fork.thinking_parts, fork.usage) == (
        accumulator.text,
        accumulator.thinking_parts,
        accumulator.usage,
    )
