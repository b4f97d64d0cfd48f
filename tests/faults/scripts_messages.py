"""What the fault server does to the official SDK in each row: JSON and protocol, API errors and retries.

What belongs here: the rows of these sections; see `scripts`.
"""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

from tests.faults.scripts import Row, answered
from tests.faults.sdk_seen import (
    Seen,
    Verdict,
    all_of,
    block,
    complete,
    either,
    error,
    failed,
    fails,
    kept,
    of_class,
    requests,
    says,
    shows,
    tidy,
    within,
)
from tests.faults.test_protocol import BROKEN, GAP, NO_STOP_REASON, SECOND, WRONG_DELTA
from tests.wire.answers import CHUNKED_HEAD, api_error, chunk, chunked, event
from tests.wire.events import (
    BEGIN,
    CUT_EVENTS,
    DELTAS,
    END,
    TEXT,
    Event,
    block_delta,
    block_start,
    block_stop,
    error_event,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
    text_delta,
    typed,
)
from tests.wire.server import GOOD, Script, answering, on, once, request, rst, send

TOOL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}


def stream_of(verdict: Verdict, *events: Event | bytes) -> Row:
    """These events, and the end of the answer."""
    return answered(verdict, CHUNKED_HEAD, chunked(*events, last=True))


def broken(fault: str) -> Row:
    """The events of this library's own row; the answer ends, so that whoever takes them all has a message."""
    row = BROKEN[fault]
    verdict = error() if row.partial is None else error(kept(row.partial))
    return stream_of(verdict, *row.events)


def without_end(*more: Event | bytes, stop_reason: str = "end_turn") -> list[Event | bytes]:
    """The standard message with more events before its end."""
    return [*BEGIN, *DELTAS, *more, block_stop(), message_delta(stop_reason), message_stop()]


def tool_events(*pieces: str, stop_reason: str = "tool_use") -> list[Event | bytes]:
    """A message of one tool call."""
    events = [message_start(), block_start(0, TOOL), *map(json_delta, pieces)]
    return [*events, block_stop(), message_delta(stop_reason), message_stop()]


def delta_of(text: bytes) -> bytes:
    """A text delta whose text is written as given."""
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}' % text
    return event("content_block_delta", data)


HUGE = b'{"type":"content_block_delta","index":0,"x":%b,"delta":{"type":"text_delta","text":" there,"}}' % (b"9" * 5000)
UNKNOWN_BLOCK = {"type": "hologram", "text": "not a text block", "n": [1, {"a": None}]}
INTERLEAVED = [
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


def ended(seen: Seen) -> str:
    """The message completes."""
    return ("failed" if seen.error is not None else "") or tidy(seen)


def encodable(seen: Seen) -> str:
    """The text can be encoded."""
    assert seen.report is not None
    try:
        (seen.report["text"] or "").encode()
    except UnicodeEncodeError:
        return "text that cannot be encoded"
    return ""


def no_invented_input(seen: Seen) -> str:
    """A cut input is an error, or can be told from a whole one."""
    assert seen.report is not None
    content = (seen.report.get("message") or {}).get("content") or [{}]
    return f"input {json.dumps(content[0].get('input'))}, as if it were whole"


PROTOCOL: dict[str, Row] = {fault: broken(fault) for fault in BROKEN} | {
    "block gap": stream_of(complete(f"{TEXT}!", block(0, text=TEXT), block(1, text="!")), *GAP),
    "wrong delta": stream_of(complete(TEXT), *WRONG_DELTA),
    "message_stop but no stop_reason": stream_of(ended, *NO_STOP_REASON),
    "5000-digit integer in an unknown field": stream_of(
        either(complete(), error(kept("Hello"))), *BEGIN, DELTAS[0], event("content_block_delta", HUGE), DELTAS[2], *END
    ),
    "escaped lone surrogate": stream_of(
        either(complete("a\N{REPLACEMENT CHARACTER}b"), all_of(error(), encodable)),
        *BEGIN,
        delta_of(rb"a\ud800b"),
        *END,
    ),
    "escaped NUL in text": stream_of(complete("a\0b"), *BEGIN, delta_of(rb"a\u0000b"), *END),
    "unk event": stream_of(
        complete(TEXT, shows("message_annotated", "a note")),
        *without_end(typed("message_annotated", index=0, note="a note")),
    ),
    "unk event first": stream_of(complete(TEXT, shows("prelude")), typed("prelude", n=1), *message_events()),
    "unk block": stream_of(
        complete(TEXT, block(1, type="hologram", n=[1, {"a": None}])),
        *message_events()[:-2],
        block_start(1, UNKNOWN_BLOCK),
        block_delta({"type": "hologram_delta", "more": "x"}, 1),
        block_stop(1),
        *END[1:],
    ),
    "unk delta": stream_of(
        complete(TEXT, shows("sparkle_delta", "a spark")),
        *without_end(block_delta({"type": "sparkle_delta", "sparkle": "a spark"})),
    ),
    "unk stop reason": stream_of(complete(TEXT, shows("bored")), *without_end(stop_reason="bored")),
    "tool bad json": stream_of(all_of(ended, shows('{\\"city\\": nowhere}')), *tool_events('{"city": ', "nowhere}")),
    "message_delta without usage": stream_of(
        either(complete(), error()),
        *BEGIN,
        *DELTAS,
        block_stop(),
        typed("message_delta", delta={"stop_reason": "end_turn"}),
        message_stop(),
    ),
    "message_stop with a block still open": stream_of(
        complete(TEXT, fails("the open block is not marked")),
        *BEGIN,
        *DELTAS,
        message_delta("max_tokens"),
        message_stop(),
    ),
    "two blocks interleaved": stream_of(
        complete("abced", block(0, text="abce"), block(1, input={"city": "Paris"}), block(2, text="d")), *INTERLEAVED
    ),
    "tool input cut by max_tokens": stream_of(
        either(error(), all_of(ended, no_invented_input)), *tool_events('{"city": "Par', stop_reason="max_tokens")
    ),
    "a second message in the same body": answered(
        either(complete(), error()), CHUNKED_HEAD, chunked(*message_events(), *SECOND, last=True)
    ),
}


def mid_stream(*errors: Event | bytes, verdict: Verdict, end: bool = True, **job: Any) -> Row:
    """The standard message up to its third delta, then an error event."""
    script = on(request(), send(CHUNKED_HEAD, *map(chunk, CUT_EVENTS)), send(chunked(*errors, last=end)))
    return Row(verdict, [script], job={"do": "stream", **job})


def error_kind(kind: str, name: str) -> Row:
    """An error event of a kind."""
    return mid_stream(error_event(kind), verdict=failed(of_class(name), not_of_200(name)))


def not_of_200(name: str) -> Verdict:
    """Not the class of status 200."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        return "the class of status 200" if name != "APIStatusError" and seen.error["class"] == "APIStatusError" else ""

    return verdict


def always(answer: bytes) -> Script:
    """Answer every request with this."""
    return answering(answer)


def rate_limited(value: str, verdict: Verdict) -> Row:
    """429 for every request."""
    header = [b"retry-after: " + value.encode()] if value else []
    answer = api_error(b"429 Too Many Requests", "rate_limit_error", *header)
    job = {"do": "stream", "retries": 2, "then": False}
    return Row(verdict, then=always(answer), job=job, seconds=8)


BACKED_OFF = error(of_class("RateLimit"), requests(3), within(5))


def at_once(value: str) -> Verdict:
    """No sleep, and the wait is on the error."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        return "" if seen.error["retry_after"] == value else "no retry_after"

    return error(of_class("RateLimit"), requests(1), within(0.5), verdict)


OVERLOADED = api_error(b"529 Overloaded", "overloaded_error", b"retry-after-ms: 1")
FUTURE = formatdate(time.time() + 86_400, usegmt=True)
PAST = formatdate(time.time() - 3600, usegmt=True)

ERRORS: dict[str, Row] = {
    "event: error rate_limit_error mid-stream": error_kind("rate_limit_error", "RateLimit"),
    "event: error api_error mid-stream": error_kind("api_error", "InternalServer"),
    "event: error invalid_request_error mid-stream": error_kind("invalid_request_error", "BadRequest"),
    "event: error new_kind_error mid-stream": error_kind("new_kind_error", "APIStatusError"),
    "event: error timeout_error mid-stream": error_kind("timeout_error", "Timeout"),
    "event: error overloaded_error mid-stream": mid_stream(
        error_event("overloaded_error"), verdict=failed(of_class("Overloaded"), requests(1)), retries=2
    ),
    "error event, connection stays open": mid_stream(
        error_event("overloaded_error"), verdict=failed(of_class("Overloaded")), end=False
    ),
    "overloaded_error as the first event, retries on": Row(
        error(of_class("Overloaded"), requests(3)),
        then=always(CHUNKED_HEAD + chunked(error_event("overloaded_error"), last=True)),
        job={"do": "stream", "retries": 2, "then": False},
    ),
    "event: error with non-JSON data": mid_stream(
        event("error", b"upstream <b>went</b> away"), verdict=error(says("upstream"))
    ),
    "event: error without data": mid_stream(b"event: error\n\n", verdict=error()),
    "429 retry-after 3600, 2 retries": rate_limited("3600", at_once("3600")),
    "429 retry-after neg": rate_limited("-5", BACKED_OFF),
    "429 retry-after garbage": rate_limited("soon", BACKED_OFF),
    "429 retry-after nan": rate_limited("nan", BACKED_OFF),
    "429 retry-after pastdate": rate_limited(PAST, BACKED_OFF),
    "429 retry-after none": rate_limited("", BACKED_OFF),
    "429 retry-after inf": rate_limited("inf", at_once("inf")),
    "429 retry-after 1e400": rate_limited("1e400", at_once("1e400")),
    "429 retry-after futuredate": rate_limited(FUTURE, at_once(FUTURE)),
    "429 with x-should-retry: false": Row(
        error(of_class("RateLimit"), requests(1)),
        then=always(api_error(b"429 Too Many Requests", "rate_limit_error", b"x-should-retry: false")),
        job={"do": "stream", "retries": 2, "then": False},
    ),
    "529 once, then good": Row(complete(TEXT, requests(2)), [once(OVERLOADED)], job={"do": "stream", "retries": 2}),
    "RST twice, then good": Row(
        complete(TEXT, requests(3)),
        [on(request(), rst()), on(request(), rst())],
        then=GOOD,
        job={"do": "stream", "retries": 2},
    ),
}
