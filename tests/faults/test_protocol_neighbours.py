"""The neighbours of the section "JSON and protocol": what the matrix does not name, held to the same rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

import trio_stream as ts
from tests.faults.rows import PARAMS, check_after, client_for, expect_complete
from tests.faults.test_protocol import (
    BEGUN,
    BROKEN,
    SECOND,
    SURROGATES,
    TOOL,
    Broken,
    bad,
    bad_delta,
    bad_start,
    check_broken,
    delta_json,
    one_text,
    received,
    stream_of,
    tool_message,
    whole_stream_of,
)
from tests.wire.answers import CHUNKED_HEAD, chunked, event, sse
from tests.wire.events import (
    BEGIN,
    DELTAS,
    END,
    PING,
    TEXT,
    block_delta,
    block_start,
    block_stop,
    message_delta,
    message_events,
    message_start,
    message_stop,
    typed,
)
from tests.wire.server import WireServer, once
from trio_stream import types
from trio_stream._protocol import ErrorEvent, EventStreamParser, MessageAccumulator, decode_event

DEEP = b"[" * 200_000 + b"]" * 200_000

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
    "block started again": bad(block_start(0), "content_block_start", "block 0 is open"),
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
    "citation that is a string": bad(
        block_delta({"type": "citations_delta", "citation": "x"}), "content_block_delta", "citation"
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


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in MORE_BROKEN.items()])
async def test_more_protocol_errors(broken: Broken) -> None:
    """What the matrix does not name is held to the same rules."""
    await check_broken(broken)


async def test_closed_while_the_block_goes_on() -> None:
    """A program that handles the error inside the block holds no connection meanwhile."""
    broken = BROKEN["json malformed"]
    async with WireServer([stream_of(*broken.events)]) as server, client_for(server) as client:
        async with client.messages.stream(**PARAMS) as stream:
            with pytest.raises(ts.InvalidResponseError):
                await stream.until_done()
            await server.closed(0)
            await check_after(client)


@pytest.mark.parametrize("cut", ["every byte", "in the middle of each event"])
@pytest.mark.parametrize("name", BROKEN | {name: broken for name, broken in MORE_BROKEN.items() if "deep" not in name})
def test_however_the_bytes_are_cut(name: str, cut: str) -> None:
    """The same error, after the same text."""
    broken = (BROKEN | MORE_BROKEN)[name]
    data = sse(*broken.events)
    whole = pump([data])
    if cut == "every byte":
        assert pump([data[i : i + 1] for i in range(len(data))]) == whole
    else:
        each = map(sse, broken.events)
        halves = [half for item in each for half in (item[: len(item) // 2], item[len(item) // 2 :])]
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


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "-" + "9" * 5000, "1e400", "1e-400", "0." + "1" * 5000])
async def test_numbers_in_what_is_sent_back(number: str) -> None:
    """A block with a number that no machine has either ends the stream, or can be part of the next request."""
    block = b'{"type":"content_block_start","index":1,"content_block":{"type":"new","x":?}}'.replace(
        b"?", number.encode()
    )
    events = [*message_events()[:-2], event("content_block_start", block), block_stop(1), *END[1:]]
    async with WireServer([whole_stream_of(*events)]) as server, client_for(server) as client:
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


@pytest.mark.parametrize("name", SURROGATES)
async def test_surrogates(name: str) -> None:
    """Whatever the model wrote, the text can be encoded; a whole pair is one character."""
    written, read = SURROGATES[name]
    await one_text(written, read)


@pytest.mark.parametrize("written", [r"\ud800", r"\\ud800"], ids=["in the event", "in the input"])
async def test_surrogates_in_tool_input(written: str) -> None:
    delta = event(
        "content_block_delta",
        b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"city\\":\\"?\\"}"}}'.replace(
            b"?", written.encode()
        ),
    )
    events = [message_start(), block_start(0, TOOL), delta, block_stop(), message_delta("tool_use"), message_stop()]
    async with WireServer([whole_stream_of(*events)]) as server:
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
    async with WireServer([whole_stream_of(*events)]) as server, client_for(server) as client:
        message = await client.messages.create(**PARAMS)
        await client.messages.create(**{**PARAMS, "messages": [message]})
        assert json.loads(server.requests[-1].content)["messages"][0]["content"][1]["\ufffd"] == ["\ufffd"]


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
    async with WireServer([whole_stream_of(*events)]) as server:
        stream = await expect_complete(server)
    assert stream.message.content[0].to_param() == {"type": "text", "text": TEXT, **more}


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


@pytest.mark.parametrize(
    "more",
    [
        PING,
        b": comment\n\n",
        b"data: nonsense\n\n",
        sse(*SECOND) + sse(typed("error", error={"type": "api_error"})),
    ],
)
async def test_what_follows_message_stop_is_nobodys(more: bytes) -> None:
    """Whether it came with ``message_stop``, or later. An error of the same message is not nobody's."""
    async with WireServer([whole_stream_of(*message_events(), more)]) as server:
        await expect_complete(server)
    async with WireServer([once(CHUNKED_HEAD, chunked(MESSAGE_AND_PART, last=True))]) as server:
        await expect_complete(server)


MESSAGE_AND_PART = sse(*message_events()) + sse(SECOND[0])[:-10]


@pytest.mark.parametrize("kind", ["message_start", "content_block_start", "new"])
async def test_the_name_in_the_json_counts(kind: str) -> None:
    """An ``event:`` line that says something else changes nothing, but for ``error``."""
    events = [event(kind, item.partition(b"data: ")[2].strip()) for item in map(sse, message_events())]
    async with WireServer([whole_stream_of(*events)]) as server:
        await expect_complete(server)
