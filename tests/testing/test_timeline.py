"""The order and the times of an answer's events, without a clock."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from typing import Any

import pytest

from trio_stream.testing import (
    Step,
    block,
    call,
    compact,
    disconnect,
    event,
    fail,
    headers,
    http_error,
    pause,
    ping,
    raw,
    redacted_think,
    say,
    server_tool,
    stall,
    stop,
    think,
    usage,
)
from trio_stream.testing._timeline import AnswerHead, Data, Wait, timeline

from .answers import events, events_of, facts, kinds, moments, outline, text_of

TEXT = ["message_start", "content_block_start", "ping", "content_block_delta"]
END = ["content_block_stop", "message_delta", "message_stop"]


def test_a_text_message_is_what_the_api_sends() -> None:
    found = events_of(say("Hello there"))
    assert kinds(found) == [*TEXT, "content_block_delta", *END]
    message = found[0]["message"]
    assert message["role"] == "assistant"
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert message["model"] == "claude-opus-5"
    assert message["id"].startswith("msg_01")
    assert message["usage"]["input_tokens"] > 0
    assert found[1]["content_block"] == {"type": "text", "text": ""}
    assert [e["delta"]["text"] for e in found[3:5]] == ["Hello", " there"]
    assert found[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert found[-2]["usage"]["output_tokens"] == 3


def test_ping_is_written_in_its_own_style_and_json_is_padded_like_the_apis() -> None:
    data = text_of([say("a b c d e f")])
    assert b'event: ping\ndata: {"type": "ping"}\n\n' in data
    assert b"  }\n\n" in data
    assert data == text_of([say("a b c d e f")])


def test_thinking_comes_with_its_signature_last() -> None:
    found = events_of(think("let me see"), say("yes"))
    deltas = [e["delta"] for e in found if e["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == ["thinking_delta"] * 3 + ["signature_delta", "text_delta"]
    assert deltas[3]["signature"]
    assert [e["index"] for e in found if e["type"] == "content_block_start"] == [0, 1]
    assert found[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 3}


def test_a_signature_can_be_given() -> None:
    found = events_of(think("x", signature="mine"))
    assert {"type": "signature_delta", "signature": "mine"} in [e.get("delta") for e in found]


def test_a_call_arrives_in_pieces_after_an_empty_one() -> None:
    found = events_of(call("get_weather", {"city": "Lisbon", "days": 3}))
    start = found[1]["content_block"]
    assert start["input"] == {}
    assert start["caller"] == {"type": "direct"}
    assert start["id"].startswith("toolu_01")
    pieces = [e["delta"]["partial_json"] for e in found if e["type"] == "content_block_delta"]
    assert pieces[0] == ""
    assert len(pieces) > 2
    assert json.loads("".join(pieces)) == {"city": "Lisbon", "days": 3}
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_call_has_a_pace() -> None:
    waits = [step for step in outline([call("f", {"city": "Lisbon"}, ttft=1, tps=4)]) if not isinstance(step, str)]
    assert waits == [1, 0.25, 0.25]


def test_an_empty_text_is_a_block_without_deltas() -> None:
    assert kinds(events_of(say(""))) == [*TEXT[:3], *END]


def test_a_call_may_be_malformed() -> None:
    found = events_of(call("f", '{"a": ', id="toolu_x"), stop("max_tokens", close_block=False))
    assert found[1]["content_block"]["id"] == "toolu_x"
    assert "".join(e["delta"]["partial_json"] for e in found if e["type"] == "content_block_delta") == '{"a": '
    assert kinds(found)[-3:] == ["content_block_delta", "message_delta", "message_stop"]


def test_ids_differ_between_blocks_and_requests() -> None:
    script = [call("f"), call("f"), server_tool("web_search", {"query": "x"})]
    ids = [e["content_block"]["id"] for e in events_of(*script) if e["type"] == "content_block_start"]
    assert len(set(ids)) == 3
    assert ids[2].startswith("srvtoolu_01")


def test_whole_blocks_arrive_in_their_start() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    found = events_of(redacted_think("xyz"), block(result), block({"type": "brand_new", "field": [1]}))
    starts = [e["content_block"] for e in found if e["type"] == "content_block_start"]
    assert starts == [{"type": "redacted_thinking", "data": "xyz"}, result, {"type": "brand_new", "field": [1]}]
    assert "content_block_delta" not in kinds(found)
    assert found[-2]["delta"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize(("summary", "fields"), [("so far", {}), ("so far", {"signature": None}), (None, {})])
def test_a_summary(summary: str | None, fields: dict[str, Any]) -> None:
    """It arrives in one delta; with a signature, unless it failed or is one of an edit."""
    found = events_of(compact(summary, tool_changes=[], **fields))
    start = found[1]["content_block"]
    assert start["type"] == "compaction"
    assert start["content"] is None
    assert bool(start["signature"]) is (summary is not None and "signature" not in fields)
    assert start["tool_changes"] == []
    assert [e["delta"] for e in found if e["type"] == "content_block_delta"] == [
        {"type": "compaction_delta", "content": summary}
    ]
    whole = json.loads(text_of([compact(summary, **fields)], stream=False))
    assert whole["content"][0]["content"] == summary


def test_citations_follow_the_text() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0}
    found = events_of(say("as written", citations=[citation]))
    assert found[1]["content_block"] == {"type": "text", "text": "", "citations": []}
    assert found[-4]["delta"] == {"type": "citations_delta", "citation": citation}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([stop("max_tokens")], {"stop_reason": "max_tokens", "stop_sequence": None}),
        ([stop(sequence="END")], {"stop_reason": "stop_sequence", "stop_sequence": "END"}),
        (
            [stop("refusal", details={"type": "refusal", "category": None})],
            {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal", "category": None}},
        ),
        ([call("f"), stop()], {"stop_reason": "tool_use", "stop_sequence": None}),
        ([call("f"), say("x")], {"stop_reason": "tool_use", "stop_sequence": None}),
        ([server_tool("f"), stop("pause_turn")], {"stop_reason": "pause_turn", "stop_sequence": None}),
        ([compact("so far")], {"stop_reason": "compaction", "stop_sequence": None}),
        ([compact("so far"), say("x")], {"stop_reason": "end_turn", "stop_sequence": None}),
        (
            [stop(container="c1")],
            {
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "container": {"id": "c1", "expires_at": "2026-12-31T00:00:00Z"},
            },
        ),
        (
            [stop(container={"id": "c1"})],
            {"stop_reason": "end_turn", "stop_sequence": None, "container": {"id": "c1"}},
        ),
    ],
)
def test_stop_reasons(script: list[Step], expected: dict[str, Any]) -> None:
    assert events_of(*script)[-2]["delta"] == expected


def test_usage_replaces_what_was_counted() -> None:
    found = events_of(
        usage(input_tokens=7, cache_read_input_tokens=5), say("x"), usage(output_tokens=99), stop("end_turn")
    )
    assert found[0]["message"]["usage"]["input_tokens"] == 7
    assert found[0]["message"]["usage"]["cache_read_input_tokens"] == 5
    assert found[-2]["usage"] == {
        "input_tokens": 7,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 5,
        "output_tokens": 99,
    }


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([say("a b", ttft=0.5, tps=10)], [0.5, "head 200", *TEXT, 0.1, "content_block_delta", *END]),
        ([pause(2), say("a")], [2, "head 200", *TEXT, *END]),
        ([headers(), pause(2), say("a")], ["head 200", 2, *TEXT, *END]),
        ([ping(), pause(1), ping(), disconnect()], ["head 200", "ping", 1, "ping", "cut"]),
        ([say("a"), disconnect()], ["head 200", *TEXT, "cut"]),
        ([say("a"), disconnect(reset=True)], ["head 200", *TEXT, "reset"]),
        ([say("a"), disconnect(clean=True)], ["head 200", *TEXT]),
        ([disconnect()], ["cut"]),
        ([disconnect(clean=True)], ["head 200"]),
        ([headers(), disconnect()], ["head 200", "cut"]),
        ([say("a"), stall()], ["head 200", *TEXT, math.inf, *END]),
        ([say("a"), fail("overloaded_error")], ["head 200", *TEXT, "error"]),
        ([fail("overloaded_error"), stall()], ["head 200", "error", math.inf]),
        ([say("a"), stop(), stall()], ["head 200", *TEXT, *END, math.inf]),
        ([say("a", pause(3), " b")], ["head 200", *TEXT, 3, "content_block_delta", *END]),
        ([say("a", ping(), event({"type": "new"}))], ["head 200", *TEXT, "ping", "new", *END]),
        ([say("a", fail("api_error"), " b")], ["head 200", *TEXT, "error"]),
        ([think("a", disconnect(), " b")], ["head 200", *TEXT, "cut"]),
        ([think("a", fail("api_error"), " b")], ["head 200", *TEXT, "error"]),
        ([say("a"), pause(1), say("b", ttft=2)], [
            "head 200", *TEXT, 1, 2, "content_block_stop", "content_block_start", "content_block_delta", *END
        ]),
        ([event({"type": "from_the_future"})], ["head 200", "from_the_future"]),
        ([], ["head 200", "message_start", "message_delta", "message_stop"]),
        ([pause(1)], [1, "head 200", "message_start", "message_delta", "message_stop"]),
    ],
)  # fmt: skip
def test_order_and_times(script: list[Step], expected: list[str | float]) -> None:
    assert outline(script) == expected


def test_automatic_events_keep_in_step_with_those_written_by_hand() -> None:
    start = {"type": "message_start", "message": {"id": "msg_mine"}}
    opened = {"type": "content_block_start", "index": 4, "content_block": {"type": "text", "text": ""}}
    found = events_of(event(start), event(opened), say("x"))
    assert kinds(found)[:4] == ["message_start", "content_block_start", "content_block_stop", "content_block_start"]
    assert [e["index"] for e in found[1:4]] == [4, 4, 5]
    closed = events_of(event(start), event(opened), event({"type": "content_block_stop", "index": 4}), say("x"))
    assert [e.get("index") for e in closed[1:4]] == [4, 4, 5]
    assert kinds(events_of(event(start), event({"type": "message_stop"}))) == ["message_start", "message_stop"]


def test_raw_bytes_are_a_whole_answer_of_their_own() -> None:
    assert text_of([raw(b"da"), raw("ta: x\n\n")]) == b"data: x\n\n"
    assert text_of([say("a"), raw(b": comment\n\n")]).startswith(b"event: message_start")


def test_headers_can_be_added_replaced_and_taken_away() -> None:
    head = moments([headers({"Content-Type": "text/html", "x-new": "1", "request-id": None}, status=418)])[0]
    assert isinstance(head, AnswerHead)
    assert head.status == 418
    names = dict(head.headers)
    assert names["Content-Type"] == "text/html"
    assert names["x-new"] == "1"
    assert "content-type" not in names
    assert "request-id" not in names


def test_the_usual_headers() -> None:
    head = moments([say("x")])[0]
    assert isinstance(head, AnswerHead)
    names = dict(head.headers)
    assert names["content-type"] == "text/event-stream; charset=utf-8"
    assert names["request-id"].startswith("req_01")
    assert "anthropic-organization-id" in names
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for what in ("limit", "remaining", "reset"):
            assert f"anthropic-ratelimit-{kind}-{what}" in names


@pytest.mark.parametrize("stream", [True, False])
def test_an_http_error_is_a_whole_answer(stream: bool) -> None:
    wait, head, data = moments([pause(1), http_error(529, retry_after=2.5)], stream=stream)
    assert wait == Wait(1)
    assert isinstance(head, AnswerHead)
    assert isinstance(data, Data)
    assert head.status == 529
    assert dict(head.headers)["retry-after"] == "2.5"
    assert dict(head.headers)["content-type"] == "application/json"
    assert dict(head.headers)["content-length"] == str(len(data.data))
    assert json.loads(data.data) == {
        "type": "error",
        "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (413, "request_too_large"),
     (418, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error")],
)  # fmt: skip
def test_types_of_http_errors(status: int, error_type: str) -> None:
    assert json.loads(text_of([http_error(status)]))["error"]["type"] == error_type


def test_an_http_error_can_be_anything() -> None:
    head, data = moments([http_error(502, body=b"<html>", headers={"content-type": "text/html"}, retry_after="soon")])
    assert isinstance(head, AnswerHead)
    assert dict(head.headers)["retry-after"] == "soon"
    assert dict(head.headers)["content-type"] == "text/html"
    assert data == Data(b"<html>")
    assert len(moments([http_error(500, body=b"")])) == 1
    assert json.loads(text_of([http_error(400, "my_error", "my message")]))["error"]["type"] == "my_error"


def test_not_streamed_the_same_script_is_one_message() -> None:
    script = [
        think("hmm", ttft=1),
        say("Hello there", tps=2, citations=[{"type": "x"}]),
        call("f", {"a": [1]}, id="toolu_1"),
        block({"type": "other"}),
        usage(cache_read_input_tokens=9),
        ping(),
    ]
    found = moments(script, stream=False)
    assert found[:2] == [Wait(1), Wait(0.5)]
    assert isinstance(found[2], AnswerHead)
    message = json.loads(text_of(script, stream=False))
    assert message["content"][0]["thinking"] == "hmm"
    assert message["content"][0]["signature"]
    assert message["content"][1:] == [
        {"type": "text", "text": "Hello there", "citations": [{"type": "x"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1]}, "caller": {"type": "direct"}},
        {"type": "other"},
    ]
    assert message["stop_reason"] == "tool_use"
    assert message["usage"]["cache_read_input_tokens"] == 9
    assert message["usage"]["service_tier"] == "standard"
    assert message["type"] == "message"


@pytest.mark.parametrize(
    ("script", "status", "body"),
    [
        ([raw(b"<html>"), headers({"content-type": "text/html"}, status=299)], 299, b"<html>"),
        ([say("x"), disconnect(clean=True)], 200, b'"end_turn"'),
        ([say("x"), fail("overloaded_error", details={"error_code": "x"})], 529, b'"error_code":"x"'),
        ([say("x"), fail("brand_new_error")], 500, b"Brand new"),
        ([event({"type": "unknown"})], 200, b"{}"),
    ],
)
def test_other_answers_that_are_not_streamed(script: list[Step], status: int, body: bytes) -> None:
    if script[-1] == disconnect(clean=True):
        body = b'"stop_reason":null'
    head = next(moment for moment in moments(script, stream=False) if isinstance(moment, AnswerHead))
    assert head.status == status
    assert body in text_of(script, stream=False)


def test_deltas_nobody_knows_are_left_out_of_what_is_not_streamed() -> None:
    new = event({"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta"}})
    assert json.loads(text_of([say("a", new, "b")], stream=False))["content"] == [{"type": "text", "text": "ab"}]


def test_a_cut_answer_that_is_not_streamed_never_begins() -> None:
    assert len(moments([say("x"), disconnect()], stream=False)) == 1


def test_malformed_input_can_only_be_streamed() -> None:
    with pytest.raises(ValueError, match="can only be streamed"):
        moments([call("f", "{")], stream=False)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ([stop(), say("x")], "after the end"),
        ([stop(), stop()], "after the end"),
        ([say("x"), http_error(500)], "only pause"),
        ([ping(), headers()], "before everything"),
    ],
)
def test_scripts_that_cannot_be(script: list[Step], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        moments(script)


def test_a_script_may_be_endless() -> None:
    script: Iterable[Step] = itertools.chain([headers()], itertools.cycle([pause(1), ping()]))
    some = list(itertools.islice(timeline(script, facts()), 5))
    assert some[1::2] == [Wait(1), Wait(1)]


def test_a_lazy_script_is_checked_when_its_step_comes() -> None:
    walk = timeline((step for step in [say("x"), "no step"]), facts())  # type: ignore[misc]
    with pytest.raises(TypeError, match="not 'no step'"):
        list(walk)


def test_events_can_be_told_apart_in_any_text() -> None:
    found = events(text_of([say("blank\n\nline and \u2028 separators 🙂")]))
    assert "".join(e["delta"]["text"] for e in found if e["type"] == "content_block_delta") == (
        "blank\n\nline and \u2028 separators 🙂"
    )


def test_calls_of_programs_and_of_toolsets() -> None:
    by_program = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
    steps = [
        server_tool("code_execution", id="srvtoolu_1"),
        server_tool("web_search", caller=by_program),
        call("f", caller=by_program),
        call("click", toolset_name="browser"),
    ]
    blocks = [event["content_block"] for event in events_of(*steps) if event["type"] == "content_block_start"]
    assert [block.get("caller") for block in blocks] == [None, by_program, by_program, {"type": "direct"}]
    assert [block.get("toolset_name") for block in blocks] == [None, None, None, "browser"]


def test_the_details_of_an_error() -> None:
    """With its ``error_code``, by which clients tell errors of one status apart."""
    error = json.loads(text_of([http_error(404, message="gone", details={"error_code": "thread_not_found"})]))
    assert error["error"] == {
        "details": {"error_code": "thread_not_found"},
        "type": "not_found_error",
        "message": "gone",
    }
