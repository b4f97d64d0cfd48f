"""The whole of `_protocol` on recorded streams: bytes in, the message out, complete or not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.corpora import CUT_TOOL_INPUT, DUPLICATE_START, Recorded, needs_corpora, parametrized, recorded
from tests.protocol.feeding import accumulate, one_by_one, parse, parse_pieces, without_nulls
from trio_stream import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol import EventStreamParser, Message
from trio_stream.types import ToolUseBlock


def message_of(data: bytes) -> Message:
    accumulator, _ = accumulate(parse(data))
    assert accumulator.complete
    message = accumulator.snapshot()
    assert message is not None
    return message


@parametrized(but=(DUPLICATE_START, CUT_TOOL_INPUT))
def test_message(stream: Recorded) -> None:
    """It is the official SDK's, also from `to_dict`, and the same events were delivered."""
    message = message_of(stream.whole)
    assert message.to_dict() == stream.message
    assert Message.from_dict(stream.message).to_dict() == stream.message
    accumulator, events = accumulate(parse_pieces(one_by_one(stream.whole)))
    assert accumulator.snapshot() == message
    assert Counter(str(event.type) for event in events) == stream.event_types
    assert not any(block.incomplete for block in message.content)


@parametrized(but=(DUPLICATE_START, CUT_TOOL_INPUT))
def test_back_into_a_conversation(stream: Recorded) -> None:
    """The content goes back as it came, and reading it again changes nothing."""
    param = message_of(stream.whole).to_param()
    assert param["role"] == "assistant"
    assert without_nulls(param["content"]) == stream.message["content"]
    assert Message.from_dict({"content": param["content"]}).to_param() == param


@parametrized(but=(DUPLICATE_START,))
def test_cut_at_every_byte(stream: Recorded) -> None:
    """It is never complete before its last byte, and its text is a prefix of the whole, event for event."""
    data = stream.whole.rstrip(b"\n") + b"\n\n"
    whole = parse(data)
    texts = [""]
    for count in range(1, len(whole) + 1):
        accumulator, _ = accumulate(whole[:count])
        assert accumulator.complete is (count == len(whole))
        texts.append(accumulator.text)
    assert all(texts[-1].startswith(text) for text in texts)
    parser = EventStreamParser()
    found = 0
    for cut in range(len(data)):
        assert found < len(whole)
        events = parser.feed(data[cut : cut + 1])
        assert events == whole[found : found + len(events)]
        found += len(events)
    assert found == len(whole)


@needs_corpora
def test_streams_without_their_last_blank_line() -> None:
    """The event that ends the message is dispatched only by the end of the body."""
    unterminated = [stream for stream in recorded() if not stream.terminated]
    assert len(unterminated) == 7
    for stream in unterminated:
        parser = EventStreamParser()
        accumulator, _ = accumulate(parser.feed(stream.data))
        assert not accumulator.complete
        assert accumulator.stop_reason is not None
        accumulate(parser.end(), accumulator)
        assert accumulator.complete
        assert parser.end() == []


@needs_corpora
def test_duplicate_message_start() -> None:
    """The start of one message, sent twice, is taken once; two messages are never merged."""
    (stream,) = [stream for stream in recorded() if stream.name == DUPLICATE_START]
    assert message_of(stream.whole).text
    first, *others = parse(stream.whole)
    other = first[0], first[1].replace(message_of(stream.whole).id.encode(), b"msg_other")
    with pytest.raises(InvalidResponseError, match="the message has started"):
        accumulate([other, first, *others])


@needs_corpora
def test_cut_tool_input() -> None:
    """It has no input, but its text; everything else is the official SDK's."""
    (stream,) = [stream for stream in recorded() if stream.name == CUT_TOOL_INPUT]
    message = message_of(stream.whole)
    tool = message.content[1]
    assert isinstance(tool, ToolUseBlock)
    assert tool.incomplete
    assert tool.input_json.endswith("Filing taxes")
    with pytest.raises(InvalidToolInputError):
        _ = tool.input
    expected = {**stream.message, "content": stream.message["content"][:1]}
    found = message.to_dict()
    assert {**found, "content": found["content"][:1]} == expected
