"""The section "JSON and protocol": answers that are good HTTP and good event streams, and still not right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults.rows import PARAMS, Section, client_for, expect_complete, expect_error
from tests.wire.answers import CHUNKED_HEAD, chunk, chunked, event, sse
from tests.wire.events import (
    BEGIN,
    DELTAS,
    END,
    TEXT,
    Event,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
    text_delta,
    typed,
)
from tests.wire.server import Script, WireServer, once
from trio_stream import types

PROTOCOL = Section("JSON and protocol")

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}


def stream_of(*events: Event | bytes) -> Script:
    """These events, and then a connection that stays open: whoever stops before them closes it itself."""
    return once(CHUNKED_HEAD, *map(chunk, events))


def whole_stream_of(*events: Event | bytes) -> Script:
    return once(CHUNKED_HEAD, chunked(*events, last=True))


async def received(server: WireServer, **params: Any) -> tuple[list[Any], ts.MessageStream]:
    """Every event of one complete message, on a client of its own."""
    async with client_for(server) as client:
        with trio.fail_after(5):
            async with client.messages.stream(**{**PARAMS, **params}) as stream:
                events = [event async for event in stream]
    return events, stream


# Rows that must end with an error.


@dataclass(frozen=True)
class Broken:
    """Events that break the protocol at one point, and what the error must say."""

    events: Sequence[Event | bytes]
    says: Sequence[str]
    partial: str | None = "Hello"


BEGUN = (*BEGIN, DELTAS[0])


def bad_delta(data: bytes, *says: str) -> Broken:
    """A good beginning, one bad ``content_block_delta``, and a good end."""
    bad = event("content_block_delta", data)
    return Broken((*BEGUN, bad, *DELTAS[1:], *END), ("content_block_delta", *says))


def bad(event_: Event | bytes, *says: str) -> Broken:
    """A good beginning, one event that must not follow it, and a good end."""
    return Broken((*BEGUN, event_, *DELTAS[1:], *END), says)


def bad_start(*events: Event | bytes, says: Sequence[str]) -> Broken:
    return Broken((*events, *END), says, partial=None)


def delta_json(text: str = '"x"', index: str = "0", more: str = "") -> bytes:
    return (
        f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":{text}}}{more}}}'.encode()
    )


BROKEN: dict[str, Broken] = {
    "json malformed": bad_delta(delta_json()[:-1], "truncated"),
    "json notjson": bad_delta(b"hello", "malformed"),
    "json nan": bad_delta(delta_json(index="NaN"), "malformed"),
    "json null": bad_delta(b"null", "object"),
    "json number": bad_delta(b"17", "object"),
    "json string": bad_delta(b'"text"', "object"),
    "json nodelta": bad_delta(b'{"type":"content_block_delta","index":0}', "delta"),
    "json wrongtypes": bad_delta(delta_json(text="5", index='"0"'), "expected"),
    "raw control": bad_delta(delta_json(text='"a\x01b"'), "malformed"),
    "object without type": bad_delta(b'{"index":0,"delta":{"type":"text_delta","text":"x"}}', "type"),
    "idx out of range": bad(text_delta("x", 7), "content_block_delta", "7"),
    "idx negative": bad_delta(delta_json(index="-1"), "index"),
    "dup message start": bad(message_start(), "message_start", "has started"),
    "dup block start": bad(block_start(0), "content_block_start", "block 0 is open"),
    "delta before message_start": bad_start(*DELTAS, *BEGIN, says=("content_block_delta", "no message_start")),
    "no message_start at all": bad_start(block_start(), *DELTAS, says=("content_block_start", "no message_start")),
}


async def check_broken(broken: Broken) -> None:
    async with WireServer([stream_of(*broken.events)]) as server:
        error = await expect_error(server, ts.InvalidResponseError, *broken.says, partial=broken.partial)
    assert isinstance(error, ts.APIError)
    assert len(str(error)) < 300
    assert error.request_id == "req_fault"


for _fault, _broken in BROKEN.items():
    PROTOCOL.row(_fault, _broken)(check_broken)


# Rows that complete.

GAP = (*BEGIN, *DELTAS, block_stop(), block_start(3), text_delta("!", 3), block_stop(3), *END[1:])
WRONG_DELTA = (*BEGIN, DELTAS[0], json_delta("{}"), *DELTAS[1:], *END)
NO_STOP_REASON = (*BEGIN, *DELTAS, block_stop(), message_stop())


@PROTOCOL.row("block gap")
async def block_gap() -> None:
    """Blocks are told by being open, in the order in which they start."""
    async with WireServer([whole_stream_of(*GAP)]) as server:
        _, stream = await received(server)
    assert [block.to_param() for block in stream.message.content] == [
        {"type": "text", "text": TEXT},
        {"type": "text", "text": "!"},
    ]


@PROTOCOL.row("wrong delta")
async def wrong_delta() -> None:
    """Kept beside the block, joined with nothing."""
    async with WireServer([whole_stream_of(*WRONG_DELTA)]) as server:
        events, stream = await received(server)
    block = stream.message.content[0]
    assert isinstance(block, types.TextBlock)
    assert block.text == TEXT
    assert [delta.raw for delta in block.unknown_deltas] == [{"type": "input_json_delta", "partial_json": "{}"}]
    assert any(item.type == "content_block_delta" and item.delta.type == "input_json_delta" for item in events)


@PROTOCOL.row("message_stop but no stop_reason")
async def no_stop_reason() -> None:
    """``message_stop`` proves that the message is whole."""
    for more in ((), (message_delta(None),)):
        events = (*NO_STOP_REASON[:-1], *more, NO_STOP_REASON[-1])
        async with WireServer([whole_stream_of(*events)]) as server:
            _, stream = await received(server)
        assert stream.message.stop_reason is None
        assert stream.message.text == TEXT


@PROTOCOL.row("5000-digit integer in an unknown field")
async def huge_integer() -> None:
    """Skipped; in a block it would be sent back, so the block must be something that can be sent."""
    huge = b'{"type":"content_block_delta","index":0,"x":%b,"delta":{"type":"text_delta","text":" there,","y":%b}}'
    digits = b"9" * 5000
    events = [*BEGIN, DELTAS[0], event("content_block_delta", huge % (digits, digits)), DELTAS[2], *END]
    async with WireServer([whole_stream_of(*events)]) as server:
        await expect_complete(server)


SURROGATES = {
    "high": (r"a\ud800b", "a\ufffdb"),
    "low": (r"a\udc00b", "a\ufffdb"),
    "at the end": (r"ab\ud83d", "ab\ufffd"),
    "wrong order": (r"\ude00\ud83d", "\ufffd\ufffd"),
    "high, then a pair": (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    "capitals": (r"\uD800", "\ufffd"),
    "a pair": (r"\ud83d\ude00", "\U0001f600"),
    "an escaped backslash before ud800": (r"\\ud800", r"\ud800"),
    "escapes before and after": (r"\n\ud800\"", '\n\ufffd"'),
}


@PROTOCOL.row("escaped lone surrogate")
async def lone_surrogate() -> None:
    for written, read in SURROGATES.values():
        await one_text(written, read)


async def one_text(written: str, read: str) -> None:
    """One delta's text, as JSON has it, and as it must be."""
    delta = event("content_block_delta", delta_json(text=f'"{written}"'))
    async with WireServer([whole_stream_of(*BEGIN, delta, *END)]) as server:
        stream = await expect_complete(server, text=read)
    assert stream.text.encode().decode() == read


@PROTOCOL.row("escaped NUL in text")
async def escaped_nul() -> None:
    await one_text(r"a\u0000b", "a\0b")


def without_end(*more: Event | bytes, stop_reason: str = "end_turn") -> list[Event | bytes]:
    """The standard message with more events before its end."""
    return [*BEGIN, *DELTAS, *more, block_stop(), message_delta(stop_reason), message_stop()]


@PROTOCOL.row("unk event")
async def unknown_event() -> None:
    new = typed("message_annotated", index=0, note={"deep": [1, None, "x"]})
    async with WireServer([whole_stream_of(*without_end(new))]) as server:
        events, stream = await received(server)
    unknown = [item for item in events if isinstance(item, types.UnknownEvent)]
    assert [item.raw for item in unknown] == [
        {"type": "message_annotated", "index": 0, "note": {"deep": [1, None, "x"]}}
    ]
    assert str(unknown[0].type) == "message_annotated"
    assert stream.message.text == TEXT


@PROTOCOL.row("unk event first")
async def unknown_event_first() -> None:
    async with WireServer([whole_stream_of(typed("prelude", n=1), *message_events())]) as server:
        events, stream = await received(server)
    assert isinstance(events[0], types.UnknownEvent)
    assert events[0].raw == {"type": "prelude", "n": 1}
    assert stream.message.text == TEXT


@PROTOCOL.row("unk block")
async def unknown_block() -> None:
    raw = {"type": "hologram", "text": "not a text block", "n": [1, {"a": None}]}
    piece = {"type": "hologram_delta", "more": "x"}
    events = [
        *message_events()[:-2],
        block_start(1, raw),
        block_delta(piece, 1),
        text_delta("of the unknown block", 1),
        block_stop(1),
        *END[1:],
    ]
    async with WireServer([whole_stream_of(*events)]) as server:
        _, stream = await received(server)
    block = stream.message.content[1]
    assert isinstance(block, types.UnknownBlock)
    assert not isinstance(block, types.TextBlock)
    assert block.raw == block.to_param() == raw
    assert block.deltas == (piece, {"type": "text_delta", "text": "of the unknown block"})
    assert stream.message.text == stream.text == TEXT


@PROTOCOL.row("unk delta")
async def unknown_delta() -> None:
    piece = {"type": "sparkle_delta", "sparkle": [1]}
    async with WireServer([whole_stream_of(*without_end(block_delta(piece)))]) as server:
        events, stream = await received(server)
    deltas = [item.delta for item in events if item.type == "content_block_delta"]
    assert isinstance(deltas[-1], types.UnknownDelta)
    block = stream.message.content[0]
    assert isinstance(block, types.TextBlock)
    assert [delta.raw for delta in block.unknown_deltas] == [piece]
    assert block.text == TEXT


@PROTOCOL.row("unk stop reason")
async def unknown_stop_reason() -> None:
    async with WireServer([whole_stream_of(*without_end(stop_reason="bored"))]) as server:
        _, stream = await received(server)
    assert stream.message.stop_reason == stream.stop_reason == "bored"
    assert stream.message.text == TEXT


async def tool_message(*pieces: str, stop_reason: str = "tool_use", closed: bool = True) -> types.ToolUseBlock:
    """The block of a message that calls one tool, from a stream that completed and a client that works on."""
    events = [message_start(), block_start(0, TOOL), *map(json_delta, pieces)]
    events += [*([block_stop()] if closed else []), message_delta(stop_reason), message_stop()]
    async with WireServer([whole_stream_of(*events)]) as server, client_for(server) as client:
        message = await client.messages.create(**PARAMS)
        assert message.stop_reason == stop_reason
        assert (await client.messages.create(**PARAMS)).text == TEXT
    (block,) = message.content
    assert isinstance(block, types.ToolUseBlock)
    assert block.input_json == "".join(pieces)
    return block


@PROTOCOL.row("tool bad json")
async def tool_input_is_not_json() -> None:
    block = await tool_message('{"city": ', "nowhere}")
    for _ in range(2):
        with pytest.raises(ts.InvalidToolInputError, match="input of the tool_use block") as caught:
            _ = block.input
        assert caught.value.input_json == '{"city": nowhere}'
        assert not caught.value.incomplete
        assert len(str(caught.value)) < 4096
    assert not block.incomplete


@PROTOCOL.row("tool input cut by max_tokens")
async def tool_input_is_cut() -> None:
    for closed in (True, False):
        block = await tool_message('{"city": "Par', stop_reason="max_tokens", closed=closed)
        assert block.incomplete
        with pytest.raises(ts.InvalidToolInputError) as caught:
            _ = block.input
        assert caught.value.incomplete
        assert caught.value.input_json == '{"city": "Par'
        with pytest.raises(ts.InvalidToolInputError):
            block.to_param()


@PROTOCOL.row("message_delta without usage")
async def no_usage() -> None:
    usages: tuple[dict[str, Any], ...] = ({}, {"usage": None}, {"usage": {}})
    for usage in usages:
        end = typed("message_delta", delta={"stop_reason": "end_turn"}, **usage)
        async with WireServer([whole_stream_of(*BEGIN, *DELTAS, block_stop(), end, message_stop())]) as server:
            stream = await expect_complete(server)
        assert stream.usage is not None
        assert stream.usage.input_tokens == 7
        assert stream.usage.output_tokens == 1, "what message_start said, and nothing invented"


@PROTOCOL.row("message_stop with a block still open")
async def open_block() -> None:
    async with WireServer([whole_stream_of(*BEGIN, *DELTAS, message_delta("max_tokens"), message_stop())]) as server:
        _, stream = await received(server)
    (block,) = stream.message.content
    assert block.incomplete
    assert stream.message.text == TEXT


@PROTOCOL.row("two blocks interleaved")
async def interleaved_blocks() -> None:
    events = [
        message_start(),
        block_start(0),
        text_delta("a", 0),
        block_start(1, TOOL),
        json_delta('{"city": ', 1),
        text_delta("b", 0),
        json_delta('"Paris"}', 1),
        block_stop(1),
        text_delta("c", 0),
        block_start(2),
        text_delta("d", 2),
        text_delta("e", 0),
        block_stop(0),
        block_stop(2),
        message_delta("tool_use"),
        message_stop(),
    ]
    async with WireServer([whole_stream_of(*events)]) as server:
        received_events, stream = await received(server)
    first, tool, last = stream.message.content
    assert isinstance(first, types.TextBlock)
    assert isinstance(tool, types.ToolUseBlock)
    assert isinstance(last, types.TextBlock)
    assert (first.text, tool.input, last.text) == ("abce", {"city": "Paris"}, "d")
    assert not any(block.incomplete for block in stream.message.content)
    snapshots = [item.snapshot for item in received_events if item.type == "text"]
    assert snapshots == ["a", "ab", "abc", "d", "abce"]


SECOND = (message_start("msg_second"), block_start(), text_delta("SECOND"), *END)


@PROTOCOL.row("a second message in the same body")
async def second_message() -> None:
    """``message_stop`` ended the first one; what follows is nobody's, also for the connection's next request."""
    for script in (
        whole_stream_of(*message_events(), *SECOND),
        once(CHUNKED_HEAD, chunked(sse(*message_events(), *SECOND), last=True)),
        stream_of(*message_events(), *SECOND),
    ):
        async with WireServer([script]) as server:
            stream = await expect_complete(server)
            assert stream.message.id == "msg_1"
            assert "SECOND" not in stream.text


@pytest.mark.parametrize("check", PROTOCOL.checks())
async def test_protocol(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    PROTOCOL.check_complete()
