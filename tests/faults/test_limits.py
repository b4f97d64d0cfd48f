"""The section "Limits": no answer costs this program more memory or time than it may."""

from __future__ import annotations

import gc
import gzip
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults.measured import MB, Measured, measure
from tests.faults.rows import PARAMS, Section, client_for, expect_complete, expect_error, read_to_end
from tests.faults.server import (
    BEGIN,
    CHUNKED_HEAD,
    END,
    GOOD_ANSWER,
    MESSAGE,
    OK,
    TEXT,
    FaultServer,
    Script,
    Step,
    block_delta,
    block_start,
    block_stop,
    chunk,
    chunked,
    event,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
    on,
    once,
    repeat,
    request,
    send,
    sized,
    text_delta,
)
from trio_stream._protocol import ErrorEvent, EventStreamParser, MessageAccumulator, decode_event

LIMITS = Section("Limits")

MOST = 32 * MB
"""What an answer may cost that is refused."""
FLAT = 8 * MB
"""What an answer may cost that needs not be kept: some reads, some events."""

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "write_file", "input": {}}
PIECE = 1 << 20


async def measured(*steps: Step) -> Measured:
    """Stream in a process of its own: the standard message first, then what these steps answer."""
    async with FaultServer([on(request(), send(GOOD_ANSWER), request(), *steps)]) as server:
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


# The rows: at their real sizes, in a process whose memory is measured; and small, looked at from all sides.


@LIMITS.row("100 MB line without a newline", 100)
@LIMITS.row("500 MB line", 500)
async def endless_line(megabytes: int) -> None:
    begin = send(CHUNKED_HEAD, chunked(*BEGIN, text_delta(TEXT), b"data: "))
    result = await measured(begin, repeat(chunk(b"x" * PIECE), times=megabytes))
    check_refused(result, "event too large", "16777216", seconds=3)
    assert result.text_length == len(TEXT)
    async with FaultServer([on(request(), begin, repeat(chunk(b"x" * 1000)))]) as server:
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
    block = chunked(text_delta(text) * 100)
    result = await measured(
        send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=100), send(chunked(*END, last=True))
    )
    check_complete(result, text_length=100 * MB, seconds=10, grown=250 * MB)
    async with FaultServer([on(request(), send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block))]) as server:
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
    block = chunked(text_delta("word ") * 1000)
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
    answer = CHUNKED_HEAD + chunked(b"".join(events), last=True)
    result = await measured(send(answer))
    check_complete(result, text_length=0, seconds=3, grown=MOST)
    async with FaultServer([once(answer)]) as server, client_for(server) as client:
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
    """Refused by name. Not one byte of it is decoded."""
    head = OK + b"Content-Encoding: " + coding + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + chunked(body(), last=True)
    result = await measured(send(answer))
    check_refused(result, "'gzip'", "accept-encoding: identity", seconds=10, grown=MOST)
    async with FaultServer([once(answer)]) as server:
        await expect_error(server, ts.InvalidResponseError, "'gzip'", "encoded")


# Every limit, at its edge.


async def answered(*events: bytes, head: bytes = CHUNKED_HEAD, **limits: int) -> ts.InvalidResponseError | None:
    """The error for an answer of these events under these limits; None if it completes."""
    async with FaultServer([once(head, chunked(*events, last=True))]) as server:
        async with client_for(server, limits=ts.Limits(**limits)) as client:
            try:
                await read_to_end(client)
            except ts.InvalidResponseError as error:
                return error
            finally:
                assert client.statistics().active == 0
                assert (await client.messages.create(**PARAMS)).text == TEXT
    return None


def padded(size: int) -> bytes:
    """A ping whose data line has so many bytes."""
    return b"data: " + b'{"type":"ping"}'.ljust(size - len("data: ")) + b"\n\n"


EVENT_LIMIT = 1000

EVENTS_OF: dict[str, Callable[[int], bytes]] = {
    "one line": padded,
    "many lines": lambda size: b"data: {\n" * 1 + b"data: \n" * (size - 30) + b'data: "type":"ping"}\n\n',
    "the event: line": lambda size: b"event: " + b"x" * (size - len("event: ")) + b"\ndata: {}\n\n",
    "the id: line": lambda size: b"id: " + b"x" * (size - len("id: ")) + b"\n\n",
    "an unknown field": lambda size: b"unknown: " + b"x" * (size - len("unknown: ")) + b"\n\n",
    "a line without a colon": lambda size: b"x" * size + b"\n\n",
}


@pytest.mark.parametrize("name", EVENTS_OF)
async def test_event_bytes(name: str) -> None:
    """Whichever part of an event is large."""
    events = message_events()
    assert max(map(len, events)) < EVENT_LIMIT
    small, large = EVENTS_OF[name](EVENT_LIMIT // 2), EVENTS_OF[name](2 * EVENT_LIMIT)
    error = await answered(*events[:2], large, *events[2:], event_bytes=EVENT_LIMIT)
    assert error is not None
    assert "event too large" in str(error)
    if name != "the event: line":  # whose data says nothing
        assert await answered(*events[:2], small, *events[2:], event_bytes=EVENT_LIMIT) is None


async def test_event_bytes_at_the_edge() -> None:
    events = message_events()
    assert await answered(*events[:2], padded(EVENT_LIMIT), *events[2:], event_bytes=EVENT_LIMIT) is None
    assert await answered(*events[:2], padded(EVENT_LIMIT + 1), *events[2:], event_bytes=EVENT_LIMIT) is not None


async def test_comments_have_any_length() -> None:
    """They are not kept."""
    assert await answered(b": " + b"x" * 1_000_000 + b"\n", *message_events(), event_bytes=EVENT_LIMIT) is None


MESSAGE_LIMIT = 10_000
LARGE = "x" * 2 * MESSAGE_LIMIT
CITATION = {
    "type": "char_location",
    "cited_text": LARGE,
    "document_index": 0,
    "start_char_index": 0,
    "end_char_index": 1,
}

LARGE_MESSAGES: dict[str, Sequence[bytes]] = {
    "text": [text_delta(LARGE)],
    "text in pieces": [text_delta(LARGE[:50])] * 1000,
    "text that is no ASCII": [text_delta("ä" * (MESSAGE_LIMIT * 3 // 4))],
    "a text block that starts with it": [block_start(1, {"type": "text", "text": LARGE})],
    "thinking": [
        block_start(1, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta({"type": "thinking_delta", "thinking": LARGE}, 1),
    ],
    "a signature": [
        block_start(1, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta({"type": "signature_delta", "signature": LARGE}, 1),
    ],
    "tool input": [block_start(1, TOOL), json_delta(LARGE, 1)],
    "a citation": [block_delta({"type": "citations_delta", "citation": CITATION})],
    "an unknown block": [block_start(1, {"type": "new", "x": LARGE})],
    "an unknown field of a block": [block_start(1, {"type": "text", "text": "", "x": LARGE})],
    "an unknown delta": [block_delta({"type": "new", "x": LARGE})],
    "many unknown deltas": [block_delta({"type": "new", "x": "x"})] * 2000,
    "a search result": [
        block_start(
            1,
            {
                "type": "web_search_tool_result",
                "tool_use_id": "x",
                "content": [{"type": "web_search_result", "title": LARGE, "url": "", "encrypted_content": ""}],
            },
        )
    ],
}


@pytest.mark.parametrize("name", LARGE_MESSAGES)
async def test_message_bytes(name: str) -> None:
    """Whatever it is that a message is large of."""
    error = await answered(*BEGIN, *LARGE_MESSAGES[name], *END, message_bytes=MESSAGE_LIMIT)
    assert error is not None
    assert "message too large" in str(error)
    assert error.partial is not None


async def test_a_large_message_start() -> None:
    content = [{"type": "text", "text": LARGE}]
    error = await answered(message_start(content=content), *END[1:], message_bytes=MESSAGE_LIMIT)
    assert error is not None
    assert "message too large" in str(error)


async def test_blocks() -> None:
    """Their number has a limit of its own: each costs more than its bytes."""
    many = [piece for index in range(20) for piece in (block_start(index), block_stop(index))]
    assert await answered(message_start(), *many, *END[1:], blocks=20) is None
    error = await answered(message_start(), *many, block_start(20), block_stop(20), *END[1:], blocks=20)
    assert error is not None
    assert "more than 20 blocks" in str(error)
    full = message_start(content=[{"type": "text", "text": ""}] * 21)
    error = await answered(full, *END[1:], blocks=20)
    assert error is not None
    assert "more than 20 blocks" in str(error)


# Before and around the body.


def interim(status: bytes, times: int) -> bytes:
    return (b"HTTP/1.1 " + status + b"\r\n\r\n") * times


HEADS: dict[str, tuple[bytes, str]] = {
    "one long header": (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000, "header block"),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "header block"),
    "a long name": (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000 + b": y\r\n", "header block"),
    "a long reason": (b"HTTP/1.1 200 " + b"x" * 70_000, "header block"),
    "blank lines before it": (b"\r\n" * 40_000, "header block"),
    "many 100s": (interim(b"100 Continue", 40), "1xx"),
    "many 103s with headers": ((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n") * 40, "1xx"),
    "103s of 10 KB": ((b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 10_000 + b"\r\n\r\n") * 40, ""),
}


@pytest.mark.parametrize("name", HEADS)
async def test_heads(name: str) -> None:
    """What comes before the body is bounded in bytes and in answers."""
    head, says = HEADS[name]
    async with FaultServer([once(head)]) as server:
        error = await expect_error(server, ts.InvalidResponseError, says, partial=None)
    assert len(str(error)) < 400


async def test_heads_within_the_limits() -> None:
    head = interim(b"100 Continue", 30) + OK + b"X-Long: " + b"x" * 60_000 + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await answered(*message_events(), head=head) is None
    assert await answered(*message_events(), head=head, header_bytes=50_000) is not None
    assert await answered(*message_events(), head=head, interim_answers=29) is not None


AROUND: dict[str, bytes] = {
    "a chunk extension": b"5;x=" + b"y" * 200_000,
    "many chunk extensions": b"5" + b";x=y" * 50_000,
    "zeros before a chunk's size": b"0" * 200_000 + b"5\r\nhello\r\n",
    "a trailer": b"0\r\nX-Trailer: " + b"y" * 200_000,
    "many trailers": b"0\r\n" + b"X: y\r\n" * 50_000,
}


@pytest.mark.parametrize("name", AROUND)
async def test_around_the_body(name: str) -> None:
    """So is what comes between the bytes of the body, and after them."""
    async with FaultServer([once(CHUNKED_HEAD, chunked(*BEGIN, text_delta(TEXT)), AROUND[name])]) as server:
        error = await expect_error(server, ts.APIError, partial=TEXT)
    assert isinstance(error, (ts.IncompleteStreamError, ts.InvalidResponseError))


async def test_an_error_body() -> None:
    """It is read as far as its limit; a status is known without it."""
    for size, limit in ((100_000, 100_000), (100_000, 10)):
        answer = sized(b"sorry " * (size // 6), status=b"500 Internal Server Error", content_type=b"text/plain")
        async with FaultServer([once(answer)]) as server:
            error = await expect_error(
                server,
                ts.InternalServerError,
                "500",
                "sorry",
                closed_by_client=False,
                limits=ts.Limits(error_body_bytes=limit),
            )
        assert error.status_code == 500


NESTED = b"[" * 200_000

ERROR_BODIES: dict[str, bytes] = {
    "nested": NESTED + b"]" * 200_000,
    "nested, cut": NESTED,
    "nested objects": b'{"error":' * 100_000,
    "a nested error": b'{"type":"error","error":' + NESTED,
    "tags": b"<html>" + b"<" * 300_000,
    "unclosed scripts": b"<html>" + b"<script>" * 40_000,
    "entities": b"<html><title>" + b"&amp;" * 60_000,
    "digits": b'{"error":{"type":' + b"9" * 300_000 + b"}}",
    "blanks": b" " * 500_000,
    "line ends": b"\r\n" * 250_000,
    "event streams": b"data: {\n" * 60_000,
}


@pytest.mark.parametrize("name", ERROR_BODIES)
async def test_error_bodies(name: str) -> None:
    """None takes long, breaks the stack, or ends up in the text."""
    answer = sized(ERROR_BODIES[name], status=b"502 Bad Gateway", content_type=b"application/json")
    async with FaultServer([once(answer)]) as server:
        error = await expect_error(server, ts.InternalServerError, "502", closed_by_client=False, within=1)
    assert error.status_code == 502
    assert len(str(error)) < 2500


async def test_an_encoded_error_body() -> None:
    """It is not decoded; the status is what counts."""
    headers = b"Content-Encoding: gzip"
    answer = sized(
        gzip.compress(b"x" * 1_000_000), headers, status=b"503 Service Unavailable", content_type=b"text/html"
    )
    async with FaultServer([once(answer)]) as server:
        error = await expect_error(server, ts.ServiceUnavailableError, "503", closed_by_client=False)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "deflate, gzip, chunked", "new, chunked"])
async def test_transfer_codings(coding: str) -> None:
    """A coding that was not asked for is refused by its name."""
    head = OK + f"Transfer-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode()
    body = gzip.compress(MESSAGE)
    async with FaultServer([once(head, chunked(body, last=True) if "chunked" in coding else body)]) as server:
        await expect_error(server, ts.InvalidResponseError, repr(coding.partition(",")[0]))


async def test_a_count_of_tokens() -> None:
    """An answer that is no stream is bounded, too."""
    for body in (b" " * 3_000_000 + b'{"input_tokens": 1}', b'{"input_tokens":' + NESTED, b'{"input_tokens": 1e400}'):
        async with FaultServer([once(sized(body, content_type=b"application/json"))]) as server:
            async with client_for(server) as client:
                with pytest.raises(ts.InvalidResponseError, match="count_tokens"):
                    await client.messages.count_tokens(model="m", messages=[])
                assert client.statistics().active == 0
                assert (await client.messages.create(**PARAMS)).text == TEXT


@pytest.mark.parametrize("more", [COMMENT * 100, b"x" * 1000, b"\n" * 1000])
async def test_what_never_ends_after_message_stop(more: bytes) -> None:
    """Nobody waits for it, and the next request gets another connection."""
    script = on(request(), send(CHUNKED_HEAD, chunked(MESSAGE)), repeat(chunk(more)))
    async with FaultServer([script]) as server:
        await expect_complete(server, within=0.5)
        assert len(server.peers) == 2
        await server.closed(0)


async def test_unknown_events_are_not_kept() -> None:
    """A flood of them costs nothing but time."""
    block = chunked(event("new", b'{"type":"new","x":"%b"}' % (b"y" * 1000)) * 1000)
    result = await measured(
        send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=30), send(chunked(text_delta(TEXT), *END, last=True))
    )
    check_complete(result, text_length=len(TEXT), seconds=5, grown=FLAT)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
@pytest.mark.parametrize("name", ts.Limits.__struct_fields__)
def test_limits_are_numbers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"Limits.{name}"):
        ts.Limits(**{name: value})


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


def deltas(make: Callable[[str], bytes], block: dict[str, Any], size: int, n: int) -> list[bytes]:
    return cut(b"".join([message_start(), block_start(0, block), *[make("word ")] * (n // 100)]), size)


def blocks(n: int) -> list[bytes]:
    pairs = [piece for index in range(n // 400) for piece in (block_start(index), block_stop(index))]
    return cut(b"".join([message_start(), *pairs]), 65_536)


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
            began = time.perf_counter()
            parse(pieces)
            best = min(best, time.perf_counter() - began)
        finally:
            gc.enable()
    return best


@pytest.mark.parametrize("name", LINEAR)
def test_time_is_linear(name: str) -> None:
    n = 100_000
    while best_of(1, LINEAR[name](n)) < LEAST_SECONDS:
        n *= 2
    short, long = LINEAR[name](n), LINEAR[name](n << DOUBLINGS)
    for _ in range(4):
        ratio = best_of(2, long) / best_of(4, short)
        if ratio <= 3**DOUBLINGS:
            return
    pytest.fail(f"{1 << DOUBLINGS} times the input takes {ratio:.1f} times the time")


async def test_time_is_linear_over_the_network() -> None:
    """With everything around it: a message of 40,000 deltas takes at most three times as long as one of 20,000."""

    def seconds(block: bytes, times: int) -> Script:
        return on(
            request(), send(CHUNKED_HEAD, chunked(*BEGIN)), repeat(block, times=times), send(chunked(*END, last=True))
        )

    block = chunked(text_delta("word ") * 100)
    for _ in range(4):
        took = []
        for times in (100, 200):
            async with FaultServer([seconds(block, times)]) as server, client_for(server) as client:
                began = trio.current_time()
                stream = await read_to_end(client)
                took.append(trio.current_time() - began)
                assert len(stream.text) == times * 500
        if took[1] <= 3 * took[0]:
            return
    pytest.fail(f"{took}")


@pytest.mark.parametrize("check", LIMITS.checks())
async def test_limits(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    LIMITS.check_complete()
