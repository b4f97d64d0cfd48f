"""Bytes of answers: heads, framing, and the events of the standard message "Hello there, world.".

What belongs here: plain functions from values to bytes. What does not: sending them (`server`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

# Heads of answers and their framing.

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nrequest-id: req_fault\r\n"
CHUNKED_HEAD = OK + b"Transfer-Encoding: chunked\r\n\r\n"
"""A good head; what follows goes through `chunked`."""
CLOSE_HEAD = OK + b"Connection: close\r\n\r\n"
"""A good head without length: the body ends with the connection."""
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*pieces: bytes, last: bool = False) -> bytes:
    """Each piece as a chunk; with the last chunk if asked for."""
    return b"".join(map(chunk, pieces)) + (LAST_CHUNK if last else b"")


def sized(body: bytes, *headers: bytes, status: bytes = b"200 OK", content_type: bytes | None = None) -> bytes:
    """A whole answer with a content-length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    if content_type is not None:
        lines.append(b"Content-Type: " + content_type)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def api_error(status: bytes, kind: str, *headers: bytes, message: str = "What the API says", **fields: Any) -> bytes:
    """A whole answer as the API gives it for an error."""
    body = {"type": "error", "error": {"type": kind, "message": message, **fields}, "request_id": "req_fault"}
    head = (b"request-id: req_fault", *headers)
    return sized(json.dumps(body).encode(), *head, status=status, content_type=b"application/json")


# The standard message.

PIECES = ("Hello", " there,", " world.")
TEXT = "".join(PIECES)


def event(name: str, data: object) -> bytes:
    """One event as the API frames it. ``data``: JSON to be, or bytes as they are."""
    payload = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    return b"event: %b\ndata: %b\n\n" % (name.encode(), payload)


def typed(kind: str, **fields: Any) -> bytes:
    """An event whose JSON carries its type, as all of the API's do."""
    return event(kind, {"type": kind, **fields})


def message_start(message_id: str = "msg_fault", **fields: Any) -> bytes:
    """``message_start`` of an empty message."""
    message = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
        **fields,
    }
    return typed("message_start", message=message)


def block_start(index: int = 0, block: dict[str, Any] | None = None) -> bytes:
    """``content_block_start``, of a text block unless another is given."""
    return typed("content_block_start", index=index, content_block=block or {"type": "text", "text": ""})


def block_delta(delta: dict[str, Any], index: int = 0) -> bytes:
    """``content_block_delta`` of any kind."""
    return typed("content_block_delta", index=index, delta=delta)


def text_delta(text: str, index: int = 0) -> bytes:
    """A piece of text."""
    return block_delta({"type": "text_delta", "text": text}, index)


def json_delta(partial_json: str, index: int = 0) -> bytes:
    """A piece of a tool's input."""
    return block_delta({"type": "input_json_delta", "partial_json": partial_json}, index)


def block_stop(index: int = 0) -> bytes:
    """``content_block_stop``."""
    return typed("content_block_stop", index=index)


def message_delta(stop_reason: str | None = "end_turn", output_tokens: int = 5) -> bytes:
    """``message_delta``."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return typed("message_delta", delta=delta, usage={"output_tokens": output_tokens})


def message_stop() -> bytes:
    """``message_stop``."""
    return typed("message_stop")


def error_event(kind: str, message: str = "What the API says") -> bytes:
    """An ``error`` event."""
    return typed("error", error={"type": kind, "message": message, "details": None})


PING = event("ping", b'{"type": "ping"}')

BEGIN = (message_start(), block_start())
DELTAS = tuple(map(text_delta, PIECES))
END = (block_stop(), message_delta(), message_stop())


def message_events(pieces: Iterable[str] = PIECES) -> list[bytes]:
    """A whole message of one text block, event by event."""
    return [*BEGIN, *map(text_delta, pieces), *END]


CUT_EVENTS = (*BEGIN, *DELTAS)
"""The standard message up to its third delta."""

MESSAGE = b"".join(message_events())
"""The standard message, all bytes of its body."""

GOOD_ANSWER = CHUNKED_HEAD + chunked(*message_events(), last=True)
"""The standard message as a whole HTTP answer that leaves the connection usable."""
