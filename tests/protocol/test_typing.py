"""Comparing ``.type`` narrows: what type checkers must find out. Run by them; here it only has to be true."""

from __future__ import annotations

from typing import Any, assert_type

from tests.protocol.feeding import accumulate, final
from tests.wire.events import (
    STOP,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    message_delta,
    message_start,
    text_delta,
)
from trio_stream._protocol import ErrorEvent, Message, MessageStreamEvent, RawMessageStreamEvent, TextBlock
from trio_stream.types import (
    Citation,
    CitationCharLocation,
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    Delta,
    InputJsonEvent,
    MessageStopEvent,
    RawContentBlockStopEvent,
    TextDelta,
    TextEvent,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    UnknownEvent,
)


def seen(event: MessageStreamEvent) -> str:
    """As code for the official SDK is written."""
    if event.type == "text":
        assert_type(event, TextEvent)
        return event.text + event.snapshot
    if event.type == "input_json":
        assert_type(event, InputJsonEvent)
        return event.partial_json
    if event.type == "content_block_delta":
        assert_type(event, ContentBlockDeltaEvent)
        return delta_text(event.delta)
    if event.type == "content_block_stop":
        assert_type(event, ContentBlockStopEvent)
        return block_text(event.content_block)
    if event.type == "message_stop":
        assert_type(event, MessageStopEvent)
        assert_type(event.message, Message)
        return event.message.text
    if isinstance(event, UnknownEvent):
        assert_type(event.raw, dict[str, Any])
        return str(event.type)
    return ""


def delta_text(delta: Delta) -> str:
    if delta.type == "text_delta":
        assert_type(delta, TextDelta)
        return delta.text
    return ""


def block_text(block: ContentBlock) -> str:
    match block.type:
        case "text":
            assert_type(block, TextBlock)
            return block.text + "".join(citation_text(citation) for citation in block.citations or ())
        case "thinking":
            assert_type(block, ThinkingBlock)
            return block.thinking
        case "tool_use":
            assert_type(block, ToolUseBlock)
            assert_type(block.input, dict[str, Any])
            return str(block.input)
        case _:
            assert not isinstance(block, TextBlock)
    if isinstance(block, UnknownBlock):
        return str(block.raw)
    return ""


def citation_text(citation: Citation) -> str:
    if citation.type == "char_location":
        assert_type(citation, CitationCharLocation)
        return citation.cited_text
    return ""


def raw_seen(event: RawMessageStreamEvent) -> str:
    if event.type == "error":
        assert_type(event, ErrorEvent)
        return event.error.message
    if event.type == "content_block_stop":
        assert_type(event, RawContentBlockStopEvent)
        return str(event.index)
    return ""


def test_it_is_true() -> None:
    """The code above does what it says."""
    cited = block_delta("citations_delta", citation={"type": "char_location", "cited_text": "c"})
    _, events = accumulate(
        [
            {"type": "new"},
            message_start(),
            block_start(0),
            text_delta("a"),
            cited,
            block_stop(0),
            block_start(1, "tool_use"),
            json_delta("{}", 1),
            block_stop(1),
            block_start(2, "thinking", thinking="t"),
            block_stop(2),
            message_delta(),
            STOP,
        ]
    )
    assert "|".join(filter(None, map(seen, events))) == "new|a|aa|ac|{}|{}|t|a"
    blocks = final(
        block_start(0, "new_block"), block_stop(0), block_start(1, "redacted_thinking"), block_stop(1)
    ).content
    assert [block_text(item) for item in blocks] == ["{'type': 'new_block'}", ""]
    assert citation_text(CitationCharLocation(cited_text="c")) == "c"
    assert raw_seen(ErrorEvent.from_wire({"error": {"message": "m"}})) == "m"
    assert raw_seen(RawContentBlockStopEvent(3)) == "3"
    assert raw_seen(UnknownEvent(raw={"type": "new"})) == ""
