"""What the fault server does to the official SDK in each row of the section "The event stream".

What belongs here: the rows of this section; see `scripts`.
"""

from __future__ import annotations

import json

from tests.faults.scripts import Row, answered
from tests.faults.scripts_messages import delta_of, ended, stream_of
from tests.faults.sdk_seen import all_of, complete, either, error, fails, kept, of_class, requests, says, shows, usage
from tests.wire.answers import CHUNKED_HEAD, MESSAGE, chunked, event, sized, sse
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
from tests.wire.server import answering

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
JSON = b"application/json"
WHOLE = {
    "id": "msg_fault",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 5},
}
NEW = {"new": "a new field"}
BARE = b'{"type":"error","error":{"type":"authentication_error","message":"no such key"}}'


def with_more(*more: Event | bytes) -> list[Event | bytes]:
    """The standard message with more events in its middle."""
    return [*BEGIN, DELTAS[0], *more, *DELTAS[1:], *END]


EVENTS: dict[str, Row | list[Row]] = {
    "event: ping with {}, text, a number, nothing": stream_of(
        complete(), *with_more(event("ping", b"{}"), event("ping", b"alive"), event("ping", b"17"), b"event: ping\n\n")
    ),
    "an event whose name nobody knows, without type or not JSON": stream_of(
        complete(TEXT, shows("still here")), *with_more(event("keepalive", b"still here"), event("keepalive", b"{}"))
    ),
    "unnamed JSON with an error": stream_of(
        error(kept("Hello"), says("no more quota")),
        *with_more(b'data: {"error":{"message":"no more quota"}}\n\n'),
    ),
    "event: error in any dialect": [
        stream_of(error(kept("Hello"), says("gone")), *with_more(event("error", data)))
        for data in (b'{"detail":"gone"}', b'{"message":"gone"}', b'{"error":{"code":5,"msg":"gone"}}', b"gone")
    ],
    "message_start again, same id, before any block": stream_of(complete(), message_start(), *message_events()),
    "a known delta that does not fit its block": stream_of(
        complete(TEXT, shows("a thought")), *with_more(block_delta({"type": "thinking_delta", "thinking": "a thought"}))
    ),
    "content_block_stop twice, or for a block that never was": stream_of(
        complete(), *message_events()[:-2], block_stop(0), block_stop(7), *END[1:]
    ),
    "block indexes with gaps, and used again": stream_of(
        complete("ab"),
        message_start(),
        block_start(0),
        text_delta("a"),
        block_stop(0),
        block_start(0, TOOL),
        json_delta('{"a": 1}'),
        block_stop(0),
        block_start(7),
        text_delta("b", 7),
        block_stop(7),
        message_delta("tool_use"),
        message_stop(),
    ),
    "message_stop without a stop_reason": stream_of(ended, *BEGIN, *DELTAS, block_stop(), message_stop()),
    "a clean end after a stop_reason, and [DONE] in place of message_stop": [
        stream_of(error(kept()), *BEGIN, *DELTAS, block_stop(), message_delta(), end)
        for end in (b"", b"data: [DONE]\n\n")
    ],
    "the last event message_stop without its blank line, body properly ended": stream_of(complete(), MESSAGE[:-1]),
    "an error event that has arrived with message_stop": stream_of(
        error(kept(), says("too much")), MESSAGE, typed("error", error={"type": "api_error", "message": "too much"})
    ),
    "numbers and texts of the wrong JSON type": stream_of(
        complete(TEXT, usage(input_tokens=3)),
        message_start(id=17, usage={"input_tokens": "3", "output_tokens": 1.0}),
        *message_events()[1:],
    ),
    "an emoji in two halves over two deltas": stream_of(
        complete("\N{GRINNING FACE}"), *BEGIN, delta_of(rb"\ud83d"), delta_of(rb"\ude00"), *END
    ),
    "application/json with a whole message, to a streaming request": answered(
        complete(), sized(json.dumps(WHOLE).encode(), content_type=JSON)
    ),
    "a 200 JSON body that is no message": answered(
        error(says("quota used up")), sized(b'{"success": false, "message": "quota used up"}', content_type=JSON)
    ),
    "a bare JSON error under text/event-stream": Row(
        error(says("no such key"), of_class("Authentication"), requests(1)),
        then=answering(sized(BARE, content_type=b"text/event-stream")),
        job={"do": "stream", "retries": 2, "then": False},
    ),
    "an event stream with status 201, or any 2xx": answered(
        complete(), CHUNKED_HEAD.replace(b"200 OK", b"201 Created"), chunked(MESSAGE, last=True)
    ),
    "usage that grows without end in unknown fields": stream_of(
        either(error(), all_of(fails("20 MB of usage, no limit"))),
        *BEGIN,
        b"".join(
            sse(typed("message_delta", delta={}, usage={"output_tokens": 5, f"n{n}": "x" * 1000}))
            for n in range(20_000)
        ),
    ),
    "unknown fields anywhere": stream_of(
        complete(TEXT, shows("a new field")),
        *BEGIN,
        *(block_delta({"type": "text_delta", "text": text, **NEW}) for text in ("Hello", " there,", " world.")),
        block_stop(),
        typed("message_delta", delta={"stop_reason": "end_turn", **NEW}, usage={"output_tokens": 5, **NEW}),
        message_stop(),
    ),
}
