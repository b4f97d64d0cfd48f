"""The section "Limits": no answer costs this program more memory or time than it may.

The rows are tested at their real sizes, in a process whose memory is measured; and small, looked at from all sides.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import trio_stream as ts
from tests.faults.measured import MB, Measured, measure
from tests.faults.rows import PARAMS, Section, client_for, expect_error
from tests.wire.answers import CHUNKED_HEAD, GOOD_ANSWER, OK, chunk, chunked, sse
from tests.wire.events import (
    BEGIN,
    END,
    TEXT,
    block_start,
    block_stop,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
    text_delta,
)
from tests.wire.server import Step, WireServer, on, once, repeat, request, send

LIMITS = Section("Limits")

MOST = 32 * MB
"""What an answer may cost that is refused."""
FLAT = 8 * MB
"""What an answer may cost that needs not be kept: some reads, some events."""

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "write_file", "input": {}}
PIECE = 1 << 20


async def measured(*steps: Step) -> Measured:
    """Stream in a process of its own: the standard message first, then what these steps answer."""
    async with WireServer([on(request(), send(GOOD_ANSWER), request(), *steps)]) as server:
        return await measure(server)


def check_refused(result: Measured, *says: str, seconds: float, grown: int = MOST) -> None:
    """Our own error, in time, for little memory."""
    assert result.kind() is ts.InvalidResponseError
    for sentence in says:
        assert sentence in result.sentence
    assert len(result.sentence) < 500
    assert result.seconds < seconds
    assert result.grown <= grown, f"{result.grown / MB:.1f} MB"


def check_complete(result: Measured, *, text_length: int, seconds: float, grown: float) -> None:
    """A whole message, in time, for little memory."""
    assert result.error == "", result.sentence
    assert result.text_length == text_length
    assert result.seconds < seconds
    assert result.grown <= grown, f"{result.grown / MB:.1f} MB"


@LIMITS.row("100 MB line without a newline", 100)
@LIMITS.row("500 MB line", 500)
async def endless_line(megabytes: int) -> None:
    begin = send(CHUNKED_HEAD, chunked(*BEGIN, text_delta(TEXT), b"data: "))
    result = await measured(begin, repeat(chunk(b"x" * PIECE), times=megabytes))
    check_refused(result, "event too large", "16777216", seconds=3)
    assert result.text_length == len(TEXT)
    async with WireServer([on(request(), begin, repeat(chunk(b"x" * 1000)))]) as server:
        await expect_error(
            server,
            ts.InvalidResponseError,
            "event too large",
            "more than 100000 bytes",
            partial=TEXT,
            limits=ts.Limits(event_bytes=100_000),
        )


COMMENT = b": this line says nothing and keeps the connection alive\n"


@LIMITS.row("5 MB of comments without a blank line", 5, 1)
@LIMITS.row("20 MB of comments", 20, 3)
async def comments(megabytes: int, seconds: float) -> None:
    block = COMMENT * (MB // len(COMMENT))
    result = await measured(
        send(CHUNKED_HEAD), repeat(chunk(block), times=megabytes), send(chunked(*message_events(), last=True))
    )
    check_complete(result, text_length=len(TEXT), seconds=seconds, grown=FLAT)


@LIMITS.row("100 MB of correct text deltas")
async def much_text() -> None:
    """Whole, for it is within the limit of 256 MiB; beyond a limit of less, an error with all text up to it."""
    text = "x" * 10_000
    block = chunked(sse(text_delta(text)) * 100)
    result = await measured(
        send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=100), send(chunked(*END, last=True))
    )
    check_complete(result, text_length=100 * MB, seconds=10, grown=250 * MB)
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block))]) as server:
        await expect_error(
            server,
            ts.InvalidResponseError,
            "message too large",
            "more than 1005000 bytes",
            partial=text * 100,
            limits=ts.Limits(message_bytes=1_005_000),
        )


@LIMITS.row("100 000 small deltas")
async def many_deltas() -> None:
    block = chunked(sse(text_delta("word ")) * 1000)
    result = await measured(
        send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=100), send(chunked(*END, last=True))
    )
    check_complete(result, text_length=500_000, seconds=4, grown=MOST)
    assert result.events == 200_000 + 5


@LIMITS.row("1 MB of tool JSON in 32-byte deltas")
async def much_tool_input() -> None:
    written = '{"content": "' + "x" * (MB - 15) + '"}'
    deltas = [json_delta(written[i : i + 32]) for i in range(0, len(written), 32)]
    events = [message_start(), block_start(0, TOOL), *deltas, block_stop(), message_delta("tool_use"), message_stop()]
    answer = CHUNKED_HEAD + chunked(sse(*events), last=True)
    result = await measured(send(answer))
    check_complete(result, text_length=0, seconds=3, grown=MOST)
    async with WireServer([once(answer)]) as server, client_for(server) as client:
        message = await client.messages.create(**PARAMS)
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.input_json == written
    assert block.input == {"content": "x" * (MB - 15)}


@cache
def bomb() -> bytes:
    """A gigabyte of lines, gzipped into some megabytes: a good one, of many members."""
    member = gzip.compress(b"data: " + b"x" * 65_530 + b"\n" + COMMENT * 16_000, 9)
    return member * 1060


@LIMITS.row("gzip bomb 1 GB as lines (2 MB on the wire)", b"gzip", bomb)
@LIMITS.row("nested gzip bomb 2 GB (25 KB on the wire)", b"gzip, gzip", lambda: gzip.compress(bomb() * 2, 9))
async def gzip_bomb(coding: bytes, body: Callable[[], bytes]) -> None:
    """Once is decoded as far as the limits allow; twice is refused by name."""
    head = OK + b"Content-Encoding: " + coding + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + chunked(body(), last=True)
    result = await measured(send(answer))
    says = ("'gzip'", "accept-encoding: identity") if b"," in coding else ("event",)
    check_refused(result, *says, seconds=10, grown=MOST)
    async with WireServer([once(answer)]) as server:
        await expect_error(server, ts.InvalidResponseError, *says, within=10)


@pytest.mark.parametrize("check", LIMITS.checks())
async def test_limits(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    LIMITS.check_complete()
