"""The section "The event stream": what real gateways and servers send that the API does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

import trio_stream as ts
from tests.faults.rows import PARAMS, Section, client_for, expect_complete, expect_error, expect_incomplete
from tests.faults.test_protocol import TOOL, delta_json, received, whole_stream_of
from tests.wire.answers import CHUNKED_HEAD, MESSAGE, chunk, chunked, event, sized, sse
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
from tests.wire.server import WireServer, fin, on, once, request, send
from trio_stream import types

EVENTS = Section("The event stream")
row = EVENTS.row

JSON = b"application/json"
NO_STOP = (*BEGIN, *DELTAS, block_stop(), message_delta())
WHOLE = {
    "id": "msg_whole",
    "type": "message",
    "role": "assistant",
    "model": "claude-test",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": TEXT, "citations": [{"type": "new", "x": 1}], "new": [1]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        {"type": "hologram", "x": 1},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 3, "output_tokens": 5, "new": {"x": 1}},
    "new": {"y": 2},
}


def with_more(*more: Event | bytes) -> list[Event | bytes]:
    """The standard message with more events in its middle."""
    return [*BEGIN, DELTAS[0], *more, *DELTAS[1:], *END]


async def told(caplog: pytest.LogCaptureFixture, events: Sequence[Event | bytes], *words: str) -> ts.MessageStream:
    """Receive a message; what was told of it, a line for each kind, holds nothing of it."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "trio_stream"):
        async with WireServer([whole_stream_of(*events)]) as server:
            _, stream = await received(server)
    lines = [record.getMessage() for record in caplog.records if record.name == "trio_stream"]
    assert len(lines) == len(words), lines
    for line, word in zip(lines, words, strict=True):
        assert word in line
        assert "Hello" not in line
    return stream


@row("event: ping with {}, text, a number, nothing")
async def pings(_: pytest.LogCaptureFixture) -> None:
    pings = [event("ping", data) for data in (b"{}", b"alive", b"17", b"[]", b'{"type":null}', b'{"type":"x"}', b"{")]
    events = with_more(*pings, b"event: ping\n\n", b"event: ping\ndata\n\n")
    async with WireServer([whole_stream_of(*pings, *events)]) as server:
        seen, stream = await received(server)
    assert stream.message.text == TEXT
    assert not [item for item in seen if isinstance(item, types.UnknownEvent)]


@row("an event whose name nobody knows, without type or not JSON")
async def unknown_names(_: pytest.LogCaptureFixture) -> None:
    more = [
        event("keepalive", data) for data in (b"still here", b"{", b"17", b'{"n":1}', b'{"type":5}', b'{"error":1}')
    ]
    async with WireServer([whole_stream_of(*with_more(*more))]) as server:
        seen, stream = await received(server)
    assert stream.message.text == TEXT
    unknown = [item for item in seen if isinstance(item, types.UnknownEvent)]
    assert [item.data for item in unknown] == ["still here", "{", "17", None, None, None]
    assert [item.raw for item in unknown[3:]] == [{"n": 1}, {"type": 5}, {"error": 1}]
    assert {str(item.type) for item in unknown} == {"keepalive"}


ERRORS: dict[bytes, str] = {
    b'{"error":{"message":"no more quota"}}': "no more quota",
    b'{"error":"no more quota"}': "no more quota",
    b'{"error":{"message":"no more quota","type":"insufficient_quota","code":"insufficient_quota"}}': "no more quota",
    b'{"error":{"code":502,"metadata":{},"message":"no more quota"},"user_id":"u"}': "no more quota",
    b'{"error":{"error":{"message":"no more quota"}}}': "no more quota",
    b'{"error":[{"msg":"no more quota"}],"type":null}': "no more quota",
}


@row("unnamed JSON with an error")
async def unnamed_errors(_: pytest.LogCaptureFixture) -> None:
    for data, sentence in ERRORS.items():
        for prefix in (b"", b"event: message\n"):
            events = (*BEGIN, DELTAS[0], prefix + b"data: " + data + b"\n\n", *DELTAS[1:], *END)
            async with WireServer([whole_stream_of(*events)]) as server:
                error = await expect_error(server, ts.APIStatusError, sentence, partial="Hello")
            assert error.body == json.loads(data)
            assert error.status_code == 200


@row("event: error in any dialect")
async def error_dialects(_: pytest.LogCaptureFixture) -> None:
    dialects: dict[bytes, str] = {
        b'{"detail":"gone"}': "gone",
        b'{"detail":[{"loc":["body"],"msg":"gone"}]}': "gone",
        b'{"message":"gone"}': "gone",
        b'{"Message":"gone"}': "gone",
        b'{"error":{"code":5,"msg":"gone"}}': "gone",
        b'{"error_description":"gone","state":1}': "gone",
        b'{"title":"gone","status":503}': "gone",
        b"gone": "gone",
    }
    for data, sentence in dialects.items():
        async with WireServer([whole_stream_of(*BEGIN, DELTAS[0], event("error", data))]) as server:
            error = await expect_error(server, ts.APIStatusError, sentence, partial="Hello")
        assert error.body == (json.loads(data) if data.startswith(b"{") else "gone")


@row("message_start again, same id, before any block")
async def repeated_start(caplog: pytest.LogCaptureFixture) -> None:
    stream = await told(caplog, [message_start(), message_start(), *message_events()], "message_start")
    assert stream.message.text == TEXT
    for events in ([message_start(), message_start("msg_2")], [*BEGIN, message_start()]):
        async with WireServer([whole_stream_of(*events, *END)]) as server:
            await expect_error(server, ts.InvalidResponseError, "message_start", "has started", partial="")


@row("a known delta that does not fit its block")
async def unfitting_deltas(caplog: pytest.LogCaptureFixture) -> None:
    newline = [message_start(), block_start(0, TOOL), json_delta('{"a"'), text_delta("\n"), json_delta(": 1}")]
    end = [block_stop(), message_delta("tool_use"), message_stop()]
    stream = await told(caplog, [*newline, text_delta("\n"), *end], "does not fit")
    (tool,) = stream.message.content
    assert isinstance(tool, types.ToolUseBlock)
    assert tool.input == {"a": 1}
    assert [delta.raw for delta in tool.unknown_deltas] == [{"type": "text_delta", "text": "\n"}] * 2
    assert stream.text == ""
    for delta in (
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
        {"type": "input_json_delta", "partial_json": "{}"},
        {"type": "compaction_delta", "content": "c"},
    ):
        stream = await told(caplog, with_more(block_delta(delta)), "does not fit")
        (block,) = stream.message.content
        assert isinstance(block, types.TextBlock)
        assert [item.raw for item in block.unknown_deltas] == [delta]
        assert block.to_param() == {"type": "text", "text": TEXT}
        assert ts.Message.from_dict(stream.message.to_dict()) == stream.message


@row("content_block_stop twice, or for a block that never was")
async def stray_stops(caplog: pytest.LogCaptureFixture) -> None:
    events = [message_start(), block_stop(5), *message_events()[1:-2], block_stop(0), block_stop(7), *END[1:]]
    stream = await told(caplog, events, "content_block_stop")
    assert stream.message.text == TEXT


@row("block indexes with gaps, and used again")
async def indexes(caplog: pytest.LogCaptureFixture) -> None:
    text = [block_start(0), text_delta("a"), block_stop(0)]
    again = [block_start(0, TOOL), json_delta('{"a": 1}'), block_stop(0)]
    gap = [block_start(7), text_delta("b", 7), block_stop(7)]
    end = [message_delta("tool_use"), message_stop()]
    stream = await told(caplog, [message_start(), *text, *again, *gap, *end], "used again", "gaps")
    assert [block.to_param() for block in stream.message.content] == [
        {"type": "text", "text": "a"},
        {**TOOL, "input": {"a": 1}},
        {"type": "text", "text": "b"},
    ]
    assert stream.text == "ab"
    async with WireServer([whole_stream_of(*BEGIN, block_start(0), *END)]) as server:
        await expect_error(server, ts.InvalidResponseError, "block 0 is open", partial="")


@row("message_stop without a stop_reason")
async def no_stop_reason(caplog: pytest.LogCaptureFixture) -> None:
    for delta in ((), (message_delta(None),)):
        stream = await told(caplog, [*BEGIN, *DELTAS, block_stop(), *delta, message_stop()], "stop_reason")
        assert stream.message.stop_reason is None
        assert stream.message.text == TEXT


@row("a clean end after a stop_reason, and [DONE] in place of message_stop")
async def missing_stop(_: pytest.LogCaptureFixture) -> None:
    done = [b"data: [DONE]\n\n", event("done", b"[DONE]"), event("message_stop", b"[DONE]"), b'data: "[DONE]"\n\n', b""]
    for end in (*done, b"data: [DONE]"):
        async with WireServer([whole_stream_of(*NO_STOP, end)]) as server:
            error = await expect_incomplete(server, "ended before message_stop", "accept_missing_stop")
        assert error.partial is not None
        assert error.partial.stop_reason == "end_turn"
        async with WireServer([whole_stream_of(*NO_STOP, end)]) as server:
            stream = await expect_complete(server, accept_missing_stop=True)
            assert stream.message.to_param() == {"role": "assistant", "content": [{"type": "text", "text": TEXT}]}
    async with WireServer([once(CHUNKED_HEAD, *map(chunk, NO_STOP), chunk(done[0]))]) as server:
        await expect_complete(server, accept_missing_stop=True, connections=1)
    # No stop_reason; in the middle of an event; a body that was cut.
    async with WireServer([whole_stream_of(*BEGIN, *DELTAS, done[0])]) as server:
        await expect_incomplete(server, accept_missing_stop=True)
    async with WireServer([whole_stream_of(*NO_STOP, sse(DELTAS[0])[:40])]) as server:
        await expect_incomplete(server, accept_missing_stop=True)
    async with WireServer([on(request(), send(CHUNKED_HEAD, *map(chunk, NO_STOP)), fin())]) as server:
        await expect_incomplete(server, accept_missing_stop=True)


@row("the last event message_stop without its blank line, body properly ended")
async def no_blank_line(caplog: pytest.LogCaptureFixture) -> None:
    for cut in (1, 2):
        last = sse(message_events()[-1])[:-cut]
        assert (await told(caplog, [*message_events()[:-1], last], "blank line")).text == TEXT
    crlf = MESSAGE.replace(b"\n", b"\r\n")[:-2]
    assert (await told(caplog, [crlf], "blank line")).text == TEXT
    # An error must not be lost either.
    async with WireServer([whole_stream_of(*BEGIN, DELTAS[0], event("error", b"gone")[:-1])]) as server:
        await expect_error(server, ts.APIStatusError, "gone", partial="Hello")


@row("an error event that has arrived with message_stop")
async def error_after_stop(_: pytest.LogCaptureFixture) -> None:
    overloaded = sse(typed("error", error={"type": "overloaded_error", "message": "too much"}))
    for more in (overloaded, b": x\n\n" + overloaded, b"data: nonsense\n\n" + overloaded, event("error", b"too much")):
        script = once(CHUNKED_HEAD, chunked(MESSAGE + more, last=True))
        async with WireServer([script]) as server:
            error = await expect_error(server, ts.APIStatusError, "too much", partial=TEXT, closed_by_client=False)
        assert error.partial is not None
        assert error.partial.stop_reason == "end_turn"
        assert not any(block.incomplete for block in error.partial.content)


@row("numbers and texts of the wrong JSON type")
async def wrong_types(_: pytest.LogCaptureFixture) -> None:
    usage = {"input_tokens": "3", "output_tokens": 1.0, "cache_read_input_tokens": "many", "server_tool_use": 5}
    search = {"type": "web_search_tool_result", "tool_use_id": 5, "content": "unavailable"}
    events = [
        message_start(id=17, usage=usage),
        block_start(0, {"type": "thinking", "thinking": "", "signature": None}),
        block_delta({"type": "signature_delta", "signature": None}),
        block_stop(),
        block_start(1, {**TOOL, "input": ""}),
        block_stop(1),
        block_start(2, search),
        block_stop(2),
        typed("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": "7", "iterations": "x"}),
        message_stop(),
    ]
    async with WireServer([whole_stream_of(*events)]) as server:
        _, stream = await received(server)
    message = stream.message
    assert message.id == "17"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 7)
    kept = {"cache_read_input_tokens": "many", "server_tool_use": 5, "iterations": "x"}
    assert message.usage.extra == kept
    assert {name: message.to_dict()["usage"][name] for name in kept} == kept
    thinking, tool, result = message.content
    assert isinstance(thinking, types.ThinkingBlock)
    assert thinking.signature == ""
    assert isinstance(tool, types.ToolUseBlock)
    assert tool.input == {}
    assert result.to_param() == {**search, "tool_use_id": "5"}


@row("an emoji in two halves over two deltas")
async def halves(_: pytest.LogCaptureFixture) -> None:
    cases: dict[tuple[str, ...], tuple[str, list[str]]] = {
        (r"a\ud83d", r"\ude00b"): ("a\U0001f600b", ["a", "\U0001f600b"]),
        (r"\ud83d", r"\ude00"): ("\U0001f600", ["", "\U0001f600"]),
        (r"a\ud83d", "", r"\ude00"): ("a\U0001f600", ["a", "", "\U0001f600"]),
        (r"a\ud83d", "b"): ("a\ufffdb", ["a", "\ufffdb"]),
        (r"a\ud83d", r"\ud83d\ude00"): ("a\ufffd\U0001f600", ["a", "\ufffd\U0001f600"]),
        (r"\ud83d", r"\ud83d", r"\ude00"): ("\ufffd\U0001f600", ["", "\ufffd", "\U0001f600"]),
        (r"a\ude00", "b"): ("a\ufffdb", ["a\ufffd", "b"]),
        (r"\ud83dx\ude00",): ("\ufffdx\ufffd", ["\ufffdx\ufffd"]),
        (r"a\ud83d",): ("a\ufffd", ["a"]),
    }
    for written, (text, pieces) in cases.items():
        deltas = [event("content_block_delta", delta_json(text=f'"{piece}"')) for piece in written]
        for end in (END, END[1:]):  # with the block stopped, and left open
            async with WireServer([whole_stream_of(*BEGIN, *deltas, *end)]) as server:
                seen, stream = await received(server)
                assert stream.message.text == stream.text == text
                assert [item.text for item in seen if item.type == "text"] == pieces
                for item in seen:
                    json.dumps(item.to_dict(), ensure_ascii=False).encode()
        async with WireServer([whole_stream_of(*BEGIN, *deltas, *END)]) as server, client_for(server) as client:
            raw = await client.messages.create(**PARAMS, stream=True)
            async with raw:
                given = [item.delta.text async for item in raw if item.type == "content_block_delta"]  # type: ignore[union-attr]
        assert given == pieces
    # In a delta that does not fit its block: each half is by itself.
    thinking = b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a\\ud83d"}}'
    for half in (thinking, thinking.replace(b"a\\ud83d", b"\\ude00")):
        async with WireServer([whole_stream_of(*with_more(event("content_block_delta", half)))]) as server:
            _, stream = await received(server)
        (block,) = stream.message.content
        assert isinstance(block, types.TextBlock)
        assert block.unknown_deltas[0].raw["thinking"] in ("a\ufffd", "\ufffd")
    # And in one whose text is not joined with anything.
    signature = b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"a\\ud83d"}}'
    start = block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
    events = [message_start(), start, event("content_block_delta", signature), *END]
    async with WireServer([whole_stream_of(*events)]) as server:
        _, stream = await received(server)
    (thought,) = stream.message.content
    assert isinstance(thought, types.ThinkingBlock)
    assert thought.signature == "a\ufffd"


def answered(body: bytes, content_type: bytes = JSON, status: bytes = b"200 OK") -> Any:
    return once(sized(body, content_type=content_type, status=status))


@row("application/json with a whole message, to a streaming request")
async def whole_message(caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps(WHOLE).encode()
    expected = ts.Message.from_dict(WHOLE)
    for content_type in (JSON, b"application/json; charset=utf-8", b"text/event-stream", b"application/vnd.x+json"):
        async with WireServer([answered(body, content_type)]) as server:
            seen, stream = await received(server)
        assert stream.message == expected
        assert [block.to_dict() for block in stream.message.content] == WHOLE["content"]
        assert [item.text for item in seen if item.type == "text"] == [TEXT]
        assert next(item.type for item in seen) == "message_start"
        async with WireServer([answered(body, content_type)]) as server, client_for(server) as client:
            assert await client.messages.create(**PARAMS) == expected
    async with WireServer(
        [once(CHUNKED_HEAD.replace(b"text/event-stream", JSON), *map(chunk, [body[:9], body[9:]]))]
    ) as server:
        _, stream = await received(server)  # the body does not end
    assert stream.message == expected
    assert [record for record in caplog.records if "whole message" in record.getMessage()]
    with pytest.raises(ts.InvalidResponseError, match="message too large"):
        async with WireServer([answered(body)]) as server:
            async with client_for(server, limits=ts.Limits(message_bytes=100)) as client:
                await client.messages.create(**PARAMS)


@row("a 200 JSON body that is no message")
async def no_message(_: pytest.LogCaptureFixture) -> None:
    for body, sentence in {
        b'{"success": false, "message": "quota used up"}': "quota used up",
        b'{"error": {"message": "quota used up"}, "content": []}': "quota used up",
        b'{"code": 1, "msg": "quota used up", "data": null}': "quota used up",
        b'{"type": "error", "error": {"type": "rate_limit_error", "message": "quota used up"}}': "quota used up",
    }.items():
        async with WireServer([answered(body)]) as server:
            error = await expect_error(server, ts.APIStatusError, sentence, closed_by_client=False)
        assert error.body == json.loads(body)
    for body in (b"[]", b"null", b'{"choices": []}', b"{", b"", b"17"):
        async with WireServer([answered(body)]) as server:
            await expect_error(server, ts.InvalidResponseError, "'application/json'", closed_by_client=False)


@row("a bare JSON error under text/event-stream")
async def bare_error(_: pytest.LogCaptureFixture) -> None:
    bare = b'{"type":"error","error":{"type":"authentication_error","message":"no such key"}}'
    for body in (bare, b"\xef\xbb\xbf" + bare, b"\n  " + bare, json.dumps(json.loads(bare), indent=2).encode()):
        async with (
            WireServer([answered(body, b"text/event-stream")] * 3) as server,
            client_for(server, max_retries=2) as client,
        ):
            with pytest.raises(ts.AuthenticationError, match="no such key") as caught:
                await client.messages.create(**PARAMS)
            assert len(server.requests) == 1
            assert caught.value.body == json.loads(bare)
    pretty = json.dumps(json.loads(bare), indent=1).encode()
    pieces = [pretty[:1], pretty[1:60], pretty[60:]]
    assert pieces[1].rstrip()
    for parts in ([bare], pieces, [b'{"a":{}', b',"error":{"type":"authentication_error","message":"no such key"}}  ']):
        async with WireServer([once(CHUNKED_HEAD, *map(chunk, parts))]) as server:  # the body does not end
            await expect_error(server, ts.AuthenticationError, "no such key")
    async with WireServer([once(CHUNKED_HEAD, chunk(bare))]) as server:
        await expect_error(server, ts.AuthenticationError, "no such key")


@row("an event stream with status 201, or any 2xx")
async def other_successes(_: pytest.LogCaptureFixture) -> None:
    for status in (b"201 Created", b"202 Accepted", b"203 Non-Authoritative Information", b"206 Partial", b"299 Fine"):
        async with WireServer([once(CHUNKED_HEAD.replace(b"200 OK", status), chunked(MESSAGE, last=True))]) as server:
            await expect_complete(server)


@row("usage that grows without end in unknown fields")
async def growing_usage(_: pytest.LogCaptureFixture) -> None:
    changes = [
        typed("message_delta", delta={}, usage={"output_tokens": 5, f"new_{number}": "x" * 1000})
        for number in range(20_000)
    ]
    async with WireServer([once(CHUNKED_HEAD, chunked(*BEGIN, sse(*changes)))]) as server:
        limits = ts.Limits(message_bytes=1024 * 1024)
        await expect_error(
            server, ts.InvalidResponseError, "message too large", limits=limits, partial="", within=10, then=None
        )


@row("unknown fields anywhere")
async def unknown_fields(_: pytest.LogCaptureFixture) -> None:
    new: dict[str, Any] = {"new": {"a": [1, {"b": "c"}]}}
    events = [
        message_start(
            usage={"input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 1, **new}, **new}, **new
        ),
        block_start(0, {"type": "text", "text": ""}),
        block_delta({"type": "text_delta", "text": TEXT, **new}),
        typed("content_block_stop", index=0, **new),
        block_start(1, {"type": "hologram", **new}),
        block_delta({"type": "hologram_delta", **new}, 1),
        block_stop(1),
        typed(
            "message_delta",
            delta={
                "stop_reason": "refusal",
                "container": {"id": "c", "skills": [{"skill_id": "s", "type": "custom", "version": "1", **new}], **new},
                "stop_details": {"type": "refusal", **new},
                "in_delta": 1,
            },
            usage={"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 1, **new}},
            context_management={"applied_edits": [{"type": "clear_tool_uses_20250919", **new}], **new},
            in_event=2,
        ),
        typed("message_stop", in_stop=3),
    ]
    async with WireServer([whole_stream_of(*events)]) as server:
        seen, stream = await received(server)
    out = stream.message.to_dict()
    assert out["usage"]["cache_creation"]["new"] == out["usage"]["new"] == out["new"] == new["new"]
    assert out["usage"]["output_tokens_details"]["new"] == new["new"]
    assert out["content"][0] == {"type": "text", "text": TEXT, **new} == stream.message.content[0].to_param()
    assert out["content"][1] == {"type": "hologram", **new, "unknown_deltas": [{"type": "hologram_delta", **new}]}
    assert out["container"] == {
        "id": "c",
        "skills": [{"skill_id": "s", "type": "custom", "version": "1", **new}],
        **new,
    }
    assert out["stop_details"] == {"type": "refusal", **new}
    assert out["context_management"]["new"] == out["context_management"]["applied_edits"][0]["new"] == new["new"]
    assert (out["in_delta"], out["in_event"], out["in_stop"]) == (1, 2, 3)
    assert ts.Message.from_dict(out).to_dict() == out
    for item, given in zip([item for item in seen if item.type != "text"], events, strict=True):
        sent = given
        assert all(
            item.to_dict()[name] == value for name, value in sent.items() if name in ("new", "delta", "in_event")
        )


@pytest.mark.parametrize("check", EVENTS.checks())
async def test_event_stream(check: Any, caplog: pytest.LogCaptureFixture) -> None:
    await check(caplog)


async def test_a_quiet_stream_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await told(caplog, message_events())
