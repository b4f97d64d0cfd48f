"""Bytes of answers: events as the API frames them, heads, chunks, and the standard message as a whole answer.

What belongs here: plain functions from values to bytes. What does not: what the events say (`events`), and sending
them (`server`).
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from tests.wire.events import Event, message_events

# Event streams.


def event(name: str, data: object) -> bytes:
    """One event of any name. ``data``: JSON to be, or bytes as they are."""
    payload = data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()
    return b"event: %b\ndata: %b\n\n" % (name.encode(), payload)


def sse(*events: Event | bytes) -> bytes:
    """Events as the API writes them, one after another. Bytes among them stay as they are."""
    return b"".join(each if isinstance(each, bytes) else event(each["type"], each) for each in events)


MESSAGE = sse(*message_events())
"""The standard message, all bytes of its body."""

# Heads of answers and their framing.

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nrequest-id: req_fault\r\n"
CHUNKED_HEAD = OK + b"Transfer-Encoding: chunked\r\n\r\n"
"""A good head; what follows goes through `chunked`."""
CLOSE_HEAD = OK + b"Connection: close\r\n\r\n"
"""A good head without length: the body ends with the connection."""
LAST_CHUNK = b"0\r\n\r\n"


def chunk(piece: Event | bytes) -> bytes:
    """One chunk of a chunked body: an event, or bytes as they are."""
    data = sse(piece)
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*pieces: Event | bytes, last: bool = False) -> bytes:
    """Each piece as a chunk; with the last chunk if asked for."""
    return b"".join(map(chunk, pieces)) + (LAST_CHUNK if last else b"")


def sized(body: bytes, *headers: bytes, status: bytes = b"200 OK", content_type: bytes | None = None) -> bytes:
    """A whole answer with a content-length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    if content_type is not None:
        lines.append(b"Content-Type: " + content_type)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def swelling_gzip(first: bytes, block: bytes, megabytes: int) -> bytes:
    """A gzip body of some bytes, and then of a block again and again, made and sent at next to no cost.

    Args:
      first: What it begins with.
      block: What is repeated, about a megabyte.
      megabytes: How often.
    """
    # After a full flush nothing refers to what came before, so the compressed block can be repeated too.
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, wbits=-15)
    body = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + body * megabytes


def api_error(status: bytes, kind: str, *headers: bytes, message: str = "What the API says", **fields: Any) -> bytes:
    """A whole answer as the API gives it for an error."""
    body = {"type": "error", "error": {"type": kind, "message": message, **fields}, "request_id": "req_fault"}
    head = (b"request-id: req_fault", *headers)
    return sized(json.dumps(body).encode(), *head, status=status, content_type=b"application/json")


GOOD_ANSWER = CHUNKED_HEAD + chunked(*message_events(), last=True)
"""The standard message as a whole HTTP answer that leaves the connection usable."""
