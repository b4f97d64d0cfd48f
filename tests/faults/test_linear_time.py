"""The neighbours of the section "Limits": time grows as the input does, whatever it looks like and however it is cut."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.faults.rows import client_for, read_to_end
from tests.faults.test_limits import COMMENT, TOOL
from tests.wire.answers import CHUNKED_HEAD, chunked, sse
from tests.wire.events import (
    BEGIN,
    END,
    Event,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    message_start,
    text_delta,
)
from tests.wire.server import Script, WireServer, on, repeat, request, send
from trio_stream._protocol import ErrorEvent, EventStreamParser, MessageAccumulator, decode_event

# Twice the input takes at most three times the time: twice, and the noise of a machine that does other things. Measured
# over three doublings, because allocators change their ways once at some size or other. Quadratic would be 64.

DOUBLINGS = 3


def parse(pieces: Sequence[bytes]) -> None:
    parser, message = EventStreamParser(max_event_bytes=1 << 30), MessageAccumulator()
    for piece in pieces:
        for raw in parser.feed(piece):
            decoded = decode_event(raw)
            assert not isinstance(decoded, ErrorEvent)
            message.add(decoded)
    assert parser.failure is None
    message.snapshot()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def long_line(size: int, n: int) -> list[bytes]:
    return cut(b"data: " + b" " * n + b"\n", size)


def many(line: bytes, size: int, n: int) -> list[bytes]:
    return cut(line * (n // len(line)), size)


def deltas(make: Callable[[str], Event], block: dict[str, Any], size: int, n: int) -> list[bytes]:
    return cut(sse(message_start(), block_start(0, block), *[make("word ")] * (n // 100)), size)


def blocks(n: int) -> list[bytes]:
    pairs = [piece for index in range(n // 400) for piece in (block_start(index), block_stop(index))]
    return cut(sse(message_start(), *pairs), 65_536)


LINEAR: dict[str, Callable[[int], Sequence[bytes]]] = {
    "one line, 1000 bytes at a time": partial(long_line, 1000),
    "one line, 100 bytes at a time": partial(long_line, 100),
    "one line, byte by byte": lambda n: long_line(1, n // 10),
    "data lines": partial(many, b"data: x\n", 65_536),
    "data lines, byte by byte": lambda n: many(b"data: x\n", 1, n // 10),
    "empty data lines": partial(many, b"data\n", 65_536),
    "comments": partial(many, COMMENT, 65_536),
    "comments, byte by byte": lambda n: many(COMMENT, 1, n // 10),
    "short comments": partial(many, b":\n", 65_536),
    "one comment": lambda n: cut(b":" + b"x" * n, 100),
    "blank lines": partial(many, b"\n", 65_536),
    "CR": partial(many, b"data: x\r", 65_536),
    "CRLF, odd pieces": partial(many, b": x\r\n", 7_919),
    "event lines": partial(many, b"event: x\n", 65_536),
    "ids": partial(many, b"id: 1\n\n", 65_536),
    "unknown fields": partial(many, b"x\n", 65_536),
    "an unknown field": lambda n: cut(b"x" * n, 100),
    "pings": partial(many, b'event: ping\ndata: {"type": "ping"}\n\n', 65_536),
    "pings and comments": partial(many, b': c\nevent: ping\ndata: {"type": "ping"}\n\n', 65_536),
    "unusual pings": partial(many, b'data:{"type": "ping"}\nid\n\n', 65_536),
    "text deltas": partial(deltas, text_delta, {"type": "text", "text": ""}, 65_536),
    "text deltas, 10 bytes at a time": partial(deltas, text_delta, {"type": "text", "text": ""}, 10),
    "tool input": partial(deltas, json_delta, TOOL, 65_536),
    "unknown deltas": partial(deltas, lambda _: block_delta({"type": "new"}), {"type": "text", "text": ""}, 65_536),
    "blocks": blocks,
}


LEAST_SECONDS = 0.003
"""What is faster says more about the machine than about the code."""


def best_of(times: int, pieces: Sequence[bytes]) -> float:
    """The shortest time in which these bytes are parsed."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        gc.disable()
        try:
            began = time.thread_time()
            parse(pieces)
            best = min(best, time.thread_time() - began)
        finally:
            gc.enable()
    return best


@pytest.mark.no_cover  # what traces the lines takes most of the time that is measured
@pytest.mark.parametrize("name", LINEAR)
def test_time_is_linear(name: str) -> None:
    n = 50_000
    while best_of(1, LINEAR[name](n)) < LEAST_SECONDS:
        n *= 2
    short, long = LINEAR[name](n), LINEAR[name](n << DOUBLINGS)
    for _ in range(4):
        ratio = best_of(2, long) / best_of(4, short)
        if ratio <= 3**DOUBLINGS:
            return
    pytest.fail(f"{1 << DOUBLINGS} times the input takes {ratio:.1f} times the time")


@pytest.mark.no_cover
async def test_time_is_linear_over_the_network() -> None:
    """With everything around it: a message of 40,000 deltas takes at most three times as long as one of 20,000."""

    def seconds(block: bytes, times: int) -> Script:
        return on(
            request(), send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=times), send(chunked(*END, last=True))
        )

    block = chunked(sse(text_delta("word ")) * 100)
    for _ in range(4):
        took = []
        for times in (100, 200):
            async with WireServer([seconds(block, times)]) as server, client_for(server) as client:
                began = time.thread_time()
                stream = await read_to_end(client)
                took.append(time.thread_time() - began)
                assert len(stream.text) == times * 500
        if took[1] <= 3 * took[0]:
            return
    pytest.fail(f"{took}")
