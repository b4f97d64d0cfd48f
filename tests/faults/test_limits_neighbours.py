"""The neighbours of the section "Limits": every limit at its edge, and what else could be made too large."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import trio_stream as ts
from tests.faults.rows import PARAMS, client_for, expect_complete, expect_error, read_to_end
from tests.faults.test_limits import COMMENT, FLAT, TOOL, check_complete, measured
from tests.wire.answers import CHUNKED_HEAD, MESSAGE, OK, chunk, chunked, event, sized
from tests.wire.events import (
    BEGIN,
    END,
    TEXT,
    Event,
    block_delta,
    block_start,
    block_stop,
    json_delta,
    message_events,
    message_start,
    text_delta,
)
from tests.wire.server import WireServer, on, once, repeat, request, send


async def answered(*events: Event | bytes, head: bytes = CHUNKED_HEAD, **limits: int) -> ts.InvalidResponseError | None:
    """The error for an answer of these events under these limits; None if it completes."""
    async with WireServer([once(head, chunked(*events, last=True))]) as server:
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
    async with WireServer([once(head)]) as server:
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
    async with WireServer([once(CHUNKED_HEAD, chunked(*BEGIN, text_delta(TEXT)), AROUND[name])]) as server:
        error = await expect_error(server, ts.APIError, partial=TEXT)
    assert isinstance(error, (ts.IncompleteStreamError, ts.InvalidResponseError))


async def test_an_error_body() -> None:
    """It is read as far as its limit; a status is known without it."""
    for size, limit in ((100_000, 100_000), (100_000, 10)):
        answer = sized(b"sorry " * (size // 6), status=b"500 Internal Server Error", content_type=b"text/plain")
        async with WireServer([once(answer)]) as server:
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
    async with WireServer([once(answer)]) as server:
        error = await expect_error(server, ts.InternalServerError, "502", closed_by_client=False, within=1)
    assert error.status_code == 502
    assert len(str(error)) < 2500


async def test_an_encoded_error_body() -> None:
    """It is not decoded; the status is what counts."""
    headers = b"Content-Encoding: gzip"
    answer = sized(
        gzip.compress(b"x" * 1_000_000), headers, status=b"503 Service Unavailable", content_type=b"text/html"
    )
    async with WireServer([once(answer)]) as server:
        error = await expect_error(server, ts.ServiceUnavailableError, "503", closed_by_client=False)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "deflate, gzip, chunked", "new, chunked"])
async def test_transfer_codings(coding: str) -> None:
    """A coding that was not asked for is refused by its name."""
    head = OK + f"Transfer-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode()
    body = gzip.compress(MESSAGE)
    async with WireServer([once(head, chunked(body, last=True) if "chunked" in coding else body)]) as server:
        await expect_error(server, ts.InvalidResponseError, repr(coding.partition(",")[0]))


async def test_a_count_of_tokens() -> None:
    """An answer that is no stream is bounded, too."""
    for body in (b" " * 3_000_000 + b'{"input_tokens": 1}', b'{"input_tokens":' + NESTED, b'{"input_tokens": 1e400}'):
        async with WireServer([once(sized(body, content_type=b"application/json"))]) as server:
            async with client_for(server) as client:
                with pytest.raises(ts.InvalidResponseError, match="count_tokens"):
                    await client.messages.count_tokens(model="m", messages=[])
                assert client.statistics().active == 0
                assert (await client.messages.create(**PARAMS)).text == TEXT


@pytest.mark.parametrize("more", [COMMENT * 100, b"x" * 1000, b"\n" * 1000])
async def test_what_never_ends_after_message_stop(more: bytes) -> None:
    """Nobody waits for it, and the next request gets another connection."""
    script = on(request(), send(CHUNKED_HEAD, chunked(MESSAGE)), repeat(chunk(more)))
    async with WireServer([script]) as server:
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
