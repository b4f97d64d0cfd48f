"""Where fuzzing begins: inputs that reach deep into each target.

What belongs here: the standard message and recorded streams in the form that each target takes. What does not: inputs
that once found something (`test_findings`).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.wire.answers import CHUNKED_HEAD, CLOSE_HEAD, GOOD_ANSWER, LAST_CHUNK, MESSAGE, api_error, chunk, sized, sse
from tests.wire.events import (
    PING,
    block_start,
    block_stop,
    error_event,
    json_delta,
    message_delta,
    message_start,
    message_stop,
    text_delta,
)

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"

TOOL_MESSAGE = sse(
    message_start(),
    block_start(0, {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}),
    *map(json_delta, ('{"city": "Par', 'is", "days": [1, 2.5e3, nu', "ll, true]}")),
    block_stop(),
    PING,
    message_delta("tool_use"),
    message_stop(),
)

ODD_MESSAGE = (
    sse(
        message_start(),
        message_start(),
        block_stop(5),
        block_start(0),
        json_delta("{}"),
        text_delta("aFIRST"),
        text_delta("SECOND"),
        block_stop(),
        block_start(0),
        text_delta("bFIRST"),
        block_stop(),
        block_start(7),
        message_stop(),
    )
    .replace(b"FIRST", rb"\ud83d")
    .replace(b"SECOND", rb"\ude00")
)
"""With every departure from the protocol that is taken all the same, and a character in two halves."""

STREAMS = (
    MESSAGE,
    TOOL_MESSAGE,
    ODD_MESSAGE,
    MESSAGE.replace(b"\n", b"\r\n"),
    MESSAGE + sse(error_event("overloaded_error")),
    MESSAGE[:-1],
)

ANSWERS = (
    GOOD_ANSWER,
    CLOSE_HEAD + MESSAGE,
    sized(MESSAGE, content_type=b"text/event-stream"),
    CHUNKED_HEAD + b"5;name=value\r\nevent\r\n" + LAST_CHUNK,
    CHUNKED_HEAD + chunk(b"x") + b"0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + sized(b"hello"),
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nX: a\r\n b\r\n\r\nhello",
    sized(b"hello") + sized(b"another"),
    api_error(b"529 Overloaded", "overloaded_error", b"retry-after: 3"),
)

JSON_TEXTS = (
    b'{"city": "Par\\u00e9s", "days": [1, -2.5e3, null, true, {"a": []}], "": ""}',
    b'[{}, "\\ud83d\\ude00", "\xc3\xa9", 0.1, false]',
    b' {"a" : "\\"\\\\" , "b":12}',
    b'{"a": tru}',
)

PROGRAMS = (
    bytes([7, 0, 2, 0, 0, 8, 1, 16, 3, 0, 4, 0, 5, 1]),
    bytes([7, 0, 2, 0, 2, 9, 2, 18, 0, 8, 8, 17, 16, 34, 16, 42, 3, 1, 3, 2, 3, 0, 4, 2, 5, 1]),
    bytes([7, 0, 6, 1, 2, 24, 24, 8, 5, 0, 3, 0, 4, 1, 5, 1, 6, 1]),
    bytes([7, 0, 7, 0, 3, 5, 2, 0, 16, 8, 0, 64, 0, 72, 3, 0, 2, 0, 0, 64, 3, 0, 2, 7, 0, 87, 5, 1]),
)

CUTS = (b"\xfe\xfe\xfe\xfe", b"\0\0\0\0", b"\x07\x02\x1f\0")


def recorded() -> Iterator[bytes]:
    """The recorded event streams, where a checkout has them beside it."""
    for path in sorted(CORPORA.glob("*.sse")):
        yield path.read_bytes()
    for path in sorted(CORPORA.glob("gz/*.sse.gz")):
        yield gzip.decompress(path.read_bytes())


def seeds_of(target: str, *, largest: int = 8192) -> list[bytes]:
    """The inputs to begin with, none larger than ``largest`` bytes."""
    streams: list[bytes] = [*STREAMS, *recorded()]
    found: Iterable[bytes]
    match target:
        case "event_stream" | "stream":
            found = (cut + stream for cut in CUTS for stream in streams)
        case "decode":
            found = (b"\n".join(_name_and_data(part)) for stream in streams for part in stream.split(b"\n\n") if part)
        case "http":
            found = (cut + answer for cut in CUTS for answer in ANSWERS)
        case "partial_json":
            found = JSON_TEXTS
        case _:
            found = PROGRAMS
    return sorted({seed for seed in found if len(seed) <= largest})


def _name_and_data(part: bytes) -> tuple[bytes, bytes]:
    name, _, data = part.partition(b"\ndata:")
    return name.removeprefix(b"event:").strip(), data.strip()
