"""The section "JSON and protocol": answers that are good HTTP and good event streams, and still not right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults.rows import PARAMS, Section, client_for, expect_complete, expect_error
from tests.faults.server import (
    BEGIN,
    CHUNKED_HEAD,
    DELTAS,
    END,
    PING,
    TEXT,
    FaultServer,
    Script,
    block_delta,
    block_start,
    block_stop,
    chunk,
    chunked,
    event,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
    once,
    text_delta,
    typed,
)
from trio_stream import types
from trio_stream._protocol import ErrorEvent, EventStreamParser, MessageAccumulator, decode_event

PROTOCOL = Section("JSON and protocol")

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}


def stream_of(*events: bytes) -> Script:
    """These events, and then a connection that stays open: whoever stops before them closes it itself."""
    return once(CHUNKED_HEAD, *map(chunk, events))


def whole_stream_of(*events: bytes) -> Script:
    return once(CHUNKED_HEAD, chunked(*events, last=True))


async def received(server: FaultServer, **params: Any) -> tuple[list[Any], ts.MessageStream]:
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

    events: Sequence[bytes]
    says: Sequence[str]
    partial: str | None = "Hello"


BEGUN = (*BEGIN, DELTAS[0])


def bad_delta(data: bytes, *says: str) -> Broken:
    """A good beginning, one bad ``content_block_delta``, and a good end."""
    bad = event("content_block_delta", data)
    return Broken((*BEGUN, bad, *DELTAS[1:], *END), ("content_block_delta", *says))


def bad(event_: bytes, *says: str) -> Broken:
    """A good beginning, one event that must not follow it, and a good end."""
    return Broken((*BEGUN, event_, *DELTAS[1:], *END), says)


def bad_start(*events: bytes, says: Sequence[str]) -> Broken:
    return Broken((*events, *END), says, partial=None)


def delta_json(text: str = '"x"', index: str = "0", more: str = "") -> bytes:
    return (
        f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":{text}}}{more}}}'.encode()
    )


DEEP = b"[" * 200_000 + b"]" * 200_000

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
    "block gap": bad(block_start(3), "content_block_start", "3", "next is 1"),
    "dup message start": bad(message_start(), "message_start", "has started"),
    "dup block start": bad(block_start(0), "content_block_start", "next is 1"),
    "wrong delta": bad(json_delta("{}"), "content_block_delta", "text block", "input_json_delta"),
    "delta before message_start": bad_start(*DELTAS, *BEGIN, says=("content_block_delta", "no message_start")),
    "no message_start at all": bad_start(block_start(), *DELTAS, says=("content_block_start", "no message_start")),
    "message_stop but no stop_reason": Broken(
        (*BEGIN, *DELTAS, block_stop(), message_stop()), ("message_stop", "stop_reason"), TEXT
    ),
}

# What the matrix does not name.
MORE_BROKEN: dict[str, Broken] = {
    "json array": bad_delta(b"[]", "object"),
    "json true": bad_delta(b"true", "object"),
    "json twice": bad_delta(delta_json() * 2, "malformed"),
    "json with a comma too much": bad_delta(delta_json(more=","), "malformed"),
    "json in single quotes": bad_delta(delta_json().replace(b'"', b"'"), "malformed"),
    "raw NUL": bad_delta(delta_json(text='"a\0b"'), "malformed"),
    "bad escape": bad_delta(delta_json(text=r'"\x"'), "escape"),
    "half an escape": bad_delta(delta_json(text=r'"\u12"'), "invalid"),
    "infinity": bad_delta(delta_json(more=',"x":Infinity'), "malformed"),
    "text is null": bad_delta(delta_json(text="null"), "text"),
    "text is an array": bad_delta(delta_json(text='["x"]'), "expected"),
    "type is a number": bad_delta(b'{"type":5}', "type"),
    "type is null": bad_delta(b'{"type":null}', "type"),
    "delta is null": bad_delta(b'{"type":"content_block_delta","index":0,"delta":null}', "delta"),
    "delta is a string": bad_delta(b'{"type":"content_block_delta","index":0,"delta":"x"}', "delta"),
    "delta without type": bad_delta(b'{"type":"content_block_delta","index":0,"delta":{"text":"x"}}', "type"),
    "idx missing": bad_delta(b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}', "index"),
    "idx null": bad_delta(delta_json(index="null"), "index"),
    "idx a float": bad_delta(delta_json(index="0.5"), "index"),
    "idx true": bad_delta(delta_json(index="true"), "index"),
    "idx of 40 digits": bad_delta(delta_json(index="9" * 40), "has not started"),
    "idx of 5000 digits": bad_delta(delta_json(index="9" * 5000)),
    "not UTF-8": bad_delta(delta_json(text='"\u00ff"').decode().encode("latin-1"), "UTF-8"),
    "a surrogate in UTF-8": bad_delta(delta_json(text='"?"').replace(b"?", b"\xed\xa0\x80"), "UTF-8"),
    "an overlong slash": bad_delta(delta_json(text='"?"').replace(b"?", b"\xc0\xaf"), "UTF-8"),
    "nested 200,000 deep in an unknown field": bad_delta(delta_json(more=',"x":?').replace(b"?", DEEP), "nested"),
    "nested 200,000 deep in an unknown event": bad(event("new", b'{"type":"new","x":%b}' % DEEP), "new", "nested"),
    "nested 200,000 deep, unclosed": bad_delta(b"[" * 400_000, "nested"),
    "nested 200,000 deep in message_start": Broken(
        (event("message_start", b'{"type":"message_start","message":{"x":%b}}' % DEEP), *message_events()[1:]),
        ("message_start", "nested"),
        None,
    ),
    "nested 200,000 deep in a block": bad(
        event(
            "content_block_start",
            b'{"type":"content_block_start","index":1,"content_block":{"type":"new","x":%b}}' % DEEP,
        ),
        "content_block_start",
        "nested",
    ),
    "delta after its block": Broken(
        (*BEGUN, block_stop(), *DELTAS[1:], *END[1:]), ("content_block_delta", "block 0 is complete")
    ),
    "block stopped twice": Broken((*BEGUN, block_stop(), *END), ("content_block_stop", "block 0 is complete")),
    "block stopped and never started": bad(block_stop(1), "content_block_stop", "block 1 has not started"),
    "block started again": Broken((*BEGUN, block_stop(), block_start(0), *END), ("content_block_start", "next is 1")),
    "block without type": bad(
        typed("content_block_start", index=1, content_block={"text": ""}), "content_block_start", "type"
    ),
    "block is a list": bad(
        typed("content_block_start", index=1, content_block=[]), "content_block_start", "content_block"
    ),
    "block text is a number": bad(block_start(1, {"type": "text", "text": 5}), "content_block_start", "text"),
    "block index missing": bad(
        typed("content_block_start", content_block={"type": "text"}), "content_block_start", "index"
    ),
    "thinking_delta for a text block": bad(block_delta({"type": "thinking_delta", "thinking": "x"}), "thinking_delta"),
    "signature_delta for a text block": bad(
        block_delta({"type": "signature_delta", "signature": "x"}), "signature_delta"
    ),
    "text_delta for a tool block": Broken(
        (*BEGUN, block_stop(), block_start(1, TOOL), text_delta("x", 1)), ("tool_use block", "text_delta")
    ),
    "citation that is a string": bad(
        block_delta({"type": "citations_delta", "citation": "x"}), "content_block_delta", "citation"
    ),
    "stop_reason null": Broken(
        (*BEGIN, *DELTAS, block_stop(), message_delta(None), message_stop()), ("message_stop", "stop_reason"), TEXT
    ),
    "stop_reason a number": Broken(
        (*BEGIN, *DELTAS, typed("message_delta", delta={"stop_reason": 5}), message_stop()),
        ("message_delta", "stop_reason"),
        TEXT,
    ),
    "message_delta without delta": Broken(
        (*BEGIN, *DELTAS, typed("message_delta", usage={"output_tokens": 5}), message_stop()),
        ("message_delta", "delta"),
        TEXT,
    ),
    "usage is a string": Broken(
        (*BEGIN, *DELTAS, typed("message_delta", delta={"stop_reason": "end_turn"}, usage="5"), message_stop()),
        ("message_delta", "usage"),
        TEXT,
    ),
    "output_tokens is a string": Broken(
        (
            *BEGIN,
            *DELTAS,
            typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": "5"}),
            message_stop(),
        ),
        ("message_delta", "output_tokens"),
        TEXT,
    ),
    "message_stop first": bad_start(message_stop(), says=("message_stop", "no message_start")),
    "message_delta first": bad_start(message_delta(), says=("message_delta", "no message_start")),
    "message_start without message": bad_start(typed("message_start"), says=("message_start", "message")),
    "message_start with message null": bad_start(
        typed("message_start", message=None), says=("message_start", "message")
    ),
    "message content is a string": bad_start(message_start(content="x"), says=("message_start", "content")),
    "a second message after the first one's stop, in one packet": Broken(
        (*BEGUN, block_stop(), message_start("msg_2"), *END), ("message_start", "has started")
    ),
    "no event: lines": Broken((*BEGUN, b"data: nonsense\n\n", *END), ("unnamed", "malformed")),
}


async def check_broken(broken: Broken) -> None:
    async with FaultServer([stream_of(*broken.events)]) as server:
        error = await expect_error(server, ts.InvalidResponseError, *broken.says, partial=broken.partial)
    assert isinstance(error, ts.APIError)
    assert len(str(error)) < 300
    assert error.request_id == "req_fault"


for _fault, _broken in BROKEN.items():
    PROTOCOL.row(_fault, _broken)(check_broken)


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in MORE_BROKEN.items()])
async def test_more_protocol_errors(broken: Broken) -> None:
    """What the matrix does not name is held to the same rules."""
    await check_broken(broken)


@pytest.mark.parametrize("cut", ["every byte", "in the middle of each event"])
@pytest.mark.parametrize("name", BROKEN | {name: broken for name, broken in MORE_BROKEN.items() if "deep" not in name})
def test_however_the_bytes_are_cut(name: str, cut: str) -> None:
    """The same error, after the same text."""
    broken = (BROKEN | MORE_BROKEN)[name]
    data = b"".join(broken.events)
    whole = pump([data])
    if cut == "every byte":
        assert pump([data[i : i + 1] for i in range(len(data))]) == whole
    else:
        halves = [half for event_ in broken.events for half in (event_[: len(event_) // 2], event_[len(event_) // 2 :])]
        assert pump(halves) == whole
    assert whole[0]


def pump(pieces: Sequence[bytes]) -> tuple[str, str]:
    """The error and the text of these bytes, without any network."""
    parser, message = EventStreamParser(), MessageAccumulator()
    try:
        for piece in pieces:
            for raw in parser.feed(piece):
                decoded = decode_event(raw)
                assert not isinstance(decoded, ErrorEvent)
                message.add(decoded)
    except ts.InvalidResponseError as error:
        return str(error), message.text
    return "", message.text


# Rows that complete.


@PROTOCOL.row("5000-digit integer in an unknown field")
async def huge_integer() -> None:
    """Skipped; in a block it would be sent back, so the block must be something that can be sent."""
    huge = b'{"type":"content_block_delta","index":0,"x":%b,"delta":{"type":"text_delta","text":" there,","y":%b}}'
    digits = b"9" * 5000
    events = [*BEGIN, DELTAS[0], event("content_block_delta", huge % (digits, digits)), DELTAS[2], *END]
    async with FaultServer([whole_stream_of(*events)]) as server:
        await expect_complete(server)


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "-" + "9" * 5000, "1e400", "1e-400", "0." + "1" * 5000])
async def test_numbers_in_what_is_sent_back(number: str) -> None:
    """A block with a number that no machine has either ends the stream, or can be part of the next request."""
    block = b'{"type":"content_block_start","index":1,"content_block":{"type":"new","x":?}}'.replace(
        b"?", number.encode()
    )
    events = [*message_events()[:-2], event("content_block_start", block), block_stop(1), *END[1:]]
    async with FaultServer([whole_stream_of(*events)]) as server, client_for(server) as client:
        try:
            message = await client.messages.create(**PARAMS)
        except ts.InvalidResponseError as error:
            assert "content_block_start" in str(error)
            assert error.partial is not None
            assert error.partial.text == TEXT
            return
        turns = [*PARAMS["messages"], message, {"role": "user", "content": "more"}]
        await client.messages.create(**{**PARAMS, "messages": turns})
        sent = server.requests[-1].content
    assert json.loads(sent)["messages"][1]["content"][1]["type"] == "new"


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


@pytest.mark.parametrize("name", SURROGATES)
async def test_surrogates(name: str) -> None:
    """Whatever the model wrote, the text can be encoded; a whole pair is one character."""
    written, read = SURROGATES[name]
    await one_text(written, read)


async def one_text(written: str, read: str) -> None:
    """One delta's text, as JSON has it, and as it must be."""
    delta = event("content_block_delta", delta_json(text=f'"{written}"'))
    async with FaultServer([whole_stream_of(*BEGIN, delta, *END)]) as server:
        stream = await expect_complete(server, text=read)
    assert stream.text.encode().decode() == read


@pytest.mark.parametrize("written", [r"\ud800", r"\\ud800"], ids=["in the event", "in the input"])
async def test_surrogates_in_tool_input(written: str) -> None:
    delta = event(
        "content_block_delta",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"city\\":\\"?\\"}"}}'.replace(
            b"?", written.encode()
        ),
    )
    events = [message_start(), block_start(0, TOOL), delta, block_stop(), message_delta("tool_use"), message_stop()]
    async with FaultServer([whole_stream_of(*events)]) as server:
        _, stream = await received(server)
    block = stream.message.content[0]
    assert isinstance(block, types.ToolUseBlock)
    assert block.input == {"city": "\ufffd"}
    assert block.to_param()["input"] == {"city": "\ufffd"}


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00"])
async def test_surrogates_in_what_is_sent_back(half: str) -> None:
    """Also where this version keeps the JSON as it came."""
    block = b'{"type":"content_block_start","index":1,"content_block":{"type":"new","?":["?"]}}'.replace(
        b"?", half.encode()
    )
    events = [*message_events()[:-2], event("content_block_start", block), block_stop(1), *END[1:]]
    async with FaultServer([whole_stream_of(*events)]) as server, client_for(server) as client:
        message = await client.messages.create(**PARAMS)
        await client.messages.create(**{**PARAMS, "messages": [message]})
        assert json.loads(server.requests[-1].content)["messages"][0]["content"][1]["\ufffd"] == ["\ufffd"]


@PROTOCOL.row("escaped NUL in text")
async def escaped_nul() -> None:
    await one_text(r"a\u0000b", "a\0b")


def without_end(*more: bytes, stop_reason: str = "end_turn") -> list[bytes]:
    """The standard message with more events before its end."""
    return [*BEGIN, *DELTAS, *more, block_stop(), message_delta(stop_reason), message_stop()]


@PROTOCOL.row("unk event")
async def unknown_event() -> None:
    new = typed("message_annotated", index=0, note={"deep": [1, None, "x"]})
    async with FaultServer([whole_stream_of(*without_end(new))]) as server:
        events, stream = await received(server)
    unknown = [item for item in events if isinstance(item, types.UnknownEvent)]
    assert [item.raw for item in unknown] == [
        {"type": "message_annotated", "index": 0, "note": {"deep": [1, None, "x"]}}
    ]
    assert str(unknown[0].type) == "message_annotated"
    assert stream.message.text == TEXT


@PROTOCOL.row("unk event first")
async def unknown_event_first() -> None:
    async with FaultServer([whole_stream_of(typed("prelude", n=1), *message_events())]) as server:
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
    async with FaultServer([whole_stream_of(*events)]) as server:
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
    async with FaultServer([whole_stream_of(*without_end(block_delta(piece)))]) as server:
        events, stream = await received(server)
    deltas = [item.delta for item in events if item.type == "content_block_delta"]
    assert isinstance(deltas[-1], types.UnknownDelta)
    block = stream.message.content[0]
    assert isinstance(block, types.TextBlock)
    assert [delta.raw for delta in block.unknown_deltas] == [piece]
    assert block.text == TEXT


@PROTOCOL.row("unk stop reason")
async def unknown_stop_reason() -> None:
    async with FaultServer([whole_stream_of(*without_end(stop_reason="bored"))]) as server:
        _, stream = await received(server)
    assert stream.message.stop_reason == stream.stop_reason == "bored"
    assert stream.message.text == TEXT


async def test_unknown_fields_everywhere() -> None:
    """No reason to fail; those of blocks go back to the API."""
    more: dict[str, Any] = {"new": {"a": [1]}}
    events = [
        message_start(**more),
        block_start(0, {"type": "text", "text": "", **more}),
        *(block_delta({"type": "text_delta", "text": text, **more}) for text in ("Hello", " there,", " world.")),
        typed("content_block_stop", index=0, **more),
        typed("message_delta", delta={"stop_reason": "end_turn", **more}, usage={"output_tokens": 5, **more}, **more),
        typed("message_stop", **more),
    ]
    async with FaultServer([whole_stream_of(*events)]) as server:
        stream = await expect_complete(server)
    assert stream.message.content[0].to_param() == {"type": "text", "text": TEXT, **more}


async def tool_message(*pieces: str, stop_reason: str = "tool_use", closed: bool = True) -> types.ToolUseBlock:
    """The block of a message that calls one tool, from a stream that completed and a client that works on."""
    events = [message_start(), block_start(0, TOOL), *map(json_delta, pieces)]
    events += [*([block_stop()] if closed else []), message_delta(stop_reason), message_stop()]
    async with FaultServer([whole_stream_of(*events)]) as server, client_for(server) as client:
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


@pytest.mark.parametrize(
    "written",
    ["[1]", "null", '"text"', "17", "{", '{"a": 1}}', "{'a': 1}", '{"a": NaN}', '{"a": ' + "[" * 100_000, "\ufeff{}"],
    ids=lambda written: written[:12],
)
async def test_tool_input_that_is_no_object(written: str) -> None:
    block = await tool_message(written)
    with pytest.raises(ts.InvalidToolInputError) as caught:
        _ = block.input
    assert caught.value.input_json == written
    assert len(str(caught.value)) < 4096
    with pytest.raises(ts.InvalidToolInputError):
        block.to_param()


@pytest.mark.parametrize("pieces", [[], [""], ["", ""]])
async def test_tool_without_arguments(pieces: list[str]) -> None:
    block = await tool_message(*pieces)
    assert block.input == {}
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


@pytest.mark.parametrize(
    "stop_reason", ["max_tokens", "model_context_window_exceeded", "refusal", "stop_sequence", "new"]
)
@pytest.mark.parametrize("written", ["", '{"city"', '{"city": "Paris"', '{"days": 1'])
async def test_no_input_is_invented(written: str, stop_reason: str) -> None:
    """However far it got: as long as the JSON is not whole, it is cut."""
    block = await tool_message(written, stop_reason=stop_reason)
    assert block.incomplete
    with pytest.raises(ts.InvalidToolInputError) as caught:
        _ = block.input
    assert caught.value.incomplete


@PROTOCOL.row("message_delta without usage")
async def no_usage() -> None:
    usages: tuple[dict[str, Any], ...] = ({}, {"usage": None}, {"usage": {}})
    for usage in usages:
        end = typed("message_delta", delta={"stop_reason": "end_turn"}, **usage)
        async with FaultServer([whole_stream_of(*BEGIN, *DELTAS, block_stop(), end, message_stop())]) as server:
            stream = await expect_complete(server)
        assert stream.usage is not None
        assert stream.usage.input_tokens == 3
        assert stream.usage.output_tokens == 1, "what message_start said, and nothing invented"


@PROTOCOL.row("message_stop with a block still open")
async def open_block() -> None:
    async with FaultServer([whole_stream_of(*BEGIN, *DELTAS, message_delta("max_tokens"), message_stop())]) as server:
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
    async with FaultServer([whole_stream_of(*events)]) as server:
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
        once(CHUNKED_HEAD, chunked(b"".join([*message_events(), *SECOND]), last=True)),
        stream_of(*message_events(), *SECOND),
    ):
        async with FaultServer([script]) as server:
            stream = await expect_complete(server)
            assert stream.message.id == "msg_fault"
            assert "SECOND" not in stream.text


@pytest.mark.parametrize(
    "more", [PING, b": comment\n\n", b"data: nonsense\n\n", typed("error", error={"type": "api_error"})]
)
async def test_what_follows_message_stop_is_nobodys(more: bytes) -> None:
    """Whether it came with ``message_stop``, or later."""
    async with FaultServer([whole_stream_of(*message_events(), more)]) as server:
        await expect_complete(server)
    async with FaultServer([once(CHUNKED_HEAD, chunked(MESSAGE_AND_PART, last=True))]) as server:
        await expect_complete(server)


MESSAGE_AND_PART = b"".join(message_events()) + SECOND[0][:-10]


@pytest.mark.parametrize("kind", ["message_start", "content_block_start", "new"])
async def test_the_name_in_the_json_counts(kind: str) -> None:
    """An ``event:`` line that says something else changes nothing, but for ``error``."""
    events = [event(kind, item.partition(b"data: ")[2].strip()) for item in message_events()]
    async with FaultServer([whole_stream_of(*events)]) as server:
        await expect_complete(server)


@pytest.mark.parametrize("check", PROTOCOL.checks())
async def test_protocol(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    PROTOCOL.check_complete()
