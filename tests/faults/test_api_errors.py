"""The section "API errors and retries": what the API says is wrong, and which of it is tried again."""

from __future__ import annotations

import itertools
import json
import math
import time
from email.utils import formatdate
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults.rows import (
    PARAMS,
    PROMPT,
    Section,
    check_after,
    check_error,
    client_for,
    expect_complete,
    expect_error,
    read_to_end,
)
from tests.wire.answers import CHUNKED_HEAD, GOOD_ANSWER, OK, api_error, chunk, chunked, event, sized, sse
from tests.wire.events import CUT_EVENTS, PING, TEXT, Event, error_event, message_events, typed
from tests.wire.server import GOOD, Script, WireServer, answering, delay, fin, on, once, request, rst, send

ERRORS = Section("API errors and retries")

SAID = "What the API says"


def mid_stream(error: Event | bytes, *, end: bool = False) -> Script:
    """The standard message up to its third delta, then an error; the connection stays open unless told otherwise."""
    return on(request(), send(CHUNKED_HEAD, *map(chunk, CUT_EVENTS)), send(chunked(error, last=end)))


def first(error: Event | bytes) -> bytes:
    """A good head, and an error where the message should begin."""
    return CHUNKED_HEAD + chunked(error, last=True)


# `error` events in the middle: never tried again, for something has been handed out.

KINDS: dict[str, type[ts.APIStatusError]] = {
    "rate_limit_error": ts.RateLimitError,
    "api_error": ts.InternalServerError,
    "invalid_request_error": ts.BadRequestError,
    "new_kind_error": ts.APIStatusError,
    "timeout_error": ts.GatewayTimeoutError,
    "overloaded_error": ts.OverloadedError,
}
MORE_KINDS: dict[str, type[ts.APIStatusError]] = {
    "authentication_error": ts.AuthenticationError,
    "billing_error": ts.PaymentRequiredError,
    "permission_error": ts.PermissionDeniedError,
    "not_found_error": ts.NotFoundError,
    "conflict_error": ts.ConflictError,
    "request_too_large": ts.ContentTooLargeError,
}


async def error_mid_stream(kind: str, expected: type[ts.APIStatusError]) -> None:
    async with WireServer([mid_stream(error_event(kind))]) as server:
        error = await expect_error(server, expected, kind, SAID, partial=TEXT, max_retries=2)
        # That one request, and the one that shows the client still works.
        assert len(server.requests) == 2
    assert type(error) is expected
    assert error.status_code == 200
    assert error.type == kind
    assert error.api_message == SAID
    assert error.request_id == "req_fault"
    assert error.__cause__ is None


for _kind, _expected in KINDS.items():
    ERRORS.row(f"event: error {_kind} mid-stream", _kind, _expected)(error_mid_stream)


@pytest.mark.parametrize("kind", MORE_KINDS)
async def test_more_errors_mid_stream(kind: str) -> None:
    await error_mid_stream(kind, MORE_KINDS[kind])


@ERRORS.row("error event, connection stays open")
async def connection_stays_open() -> None:
    """We close it: with the rest of the answer on its way, it could serve nobody."""
    for end in (True, False):
        async with WireServer([mid_stream(error_event("overloaded_error"), end=end)]) as server:
            await expect_error(server, ts.OverloadedError, "overloaded_error", partial=TEXT)
            assert len(server.peers) == 2
    # At once, and not only when the block is left.
    async with WireServer([mid_stream(error_event("overloaded_error"))]) as server, client_for(server) as client:
        async with client.messages.stream(**PARAMS) as stream:
            with pytest.raises(ts.OverloadedError):
                await stream.until_done()
            await server.closed(0)
            await check_after(client)


async def test_what_follows_an_error_is_nobodys() -> None:
    """Neither more text nor ``message_stop`` makes a failed message whole."""
    more = chunked(error_event("api_error"), *message_events(["more"])[2:], last=True)
    async with WireServer([once(CHUNKED_HEAD, chunked(*CUT_EVENTS), more)]) as server:
        error = await expect_error(server, ts.InternalServerError, partial=TEXT)
    assert error.partial is not None
    assert error.partial.stop_reason is None


# `error` events that say little, or too much.


@ERRORS.row("event: error with non-JSON data")
async def error_is_not_json() -> None:
    async with WireServer([mid_stream(event("error", b"upstream <b>went</b> away"))]) as server:
        error = await expect_error(server, ts.APIStatusError, "upstream <b>went</b> away", partial=TEXT)
    assert error.status_code == 200
    assert error.type is None


@ERRORS.row("event: error without data")
async def error_without_data() -> None:
    for bare in (
        b"event: error\n\n",
        b"event: error\ndata\n\n",
        b"event: error\ndata:\n\n",
        b"event: error\ndata: \n\n",
    ):
        async with WireServer([mid_stream(bare)]) as server:
            error = await expect_error(server, ts.APIStatusError, "error", partial=TEXT)
        assert error.type is None


MISSHAPEN = {
    "null": b"null",
    "a list": b"[1]",
    "a string": b'"out of order"',
    "an empty object": b"{}",
    "error is null": b'{"type":"error","error":null}',
    "error is a string": b'{"type":"error","error":"out of order"}',
    "error is a list": b'{"type":"error","error":["x"]}',
    "message is a number": b'{"type":"error","error":{"type":"api_error","message":5}}',
    "type is a number": b'{"type":"error","error":{"type":5,"message":"out of order"}}',
    "details is a string": b'{"type":"error","error":{"type":"api_error","message":"m","details":"x"}}',
    "error_code is a list": b'{"type":"error","error":{"type":"api_error","message":"m","details":{"error_code":[]}}}',
    "not UTF-8": b'{"type":"error","error":{"type":"api_error","message":"\xff"}}',
    "cut": b'{"type":"error","error":{"type":"api_er',
    "the error itself": b'{"type":"api_error","message":"out of order"}',
    "nested too deeply": b'{"type":"error","error":' + b"[" * 100_000,
    "a lone surrogate": rb'{"type":"error","error":{"type":"api_error","message":"\ud800"}}',
}


@pytest.mark.parametrize("name", MISSHAPEN)
async def test_misshapen_errors(name: str) -> None:
    """An error is never lost, whatever it looks like; its text can be printed, and its class is one of ours."""
    async with WireServer([mid_stream(event("error", MISSHAPEN[name]))]) as server:
        error = await expect_error(server, ts.APIStatusError, partial=TEXT)
    assert str(error).encode()


async def test_an_error_event_without_its_name() -> None:
    """The ``type`` in the JSON is enough."""
    bare = b"data: " + sse(error_event("overloaded_error")).partition(b"data: ")[2]
    async with WireServer([mid_stream(bare)]) as server:
        await expect_error(server, ts.OverloadedError, "overloaded_error", partial=TEXT)


async def test_a_long_error_is_short() -> None:
    """A text of a megabyte with line ends and controls in it is one line of less than 4 KB."""
    long = error_event("api_error", "\x1b[31mone\r\ntwo\u2028three\x00 " * 50_000)
    async with WireServer([mid_stream(long)]) as server:
        error = await expect_error(server, ts.InternalServerError, "one two three", partial=TEXT)
    assert not set(str(error)) & set("\x1b\r\n\x00\u2028")
    assert error.api_message is not None
    assert error.api_message.startswith("\x1b[31mone\r\n"), "as the API wrote it"


async def test_raw_events_end_the_same_way() -> None:
    """``create(stream=True)`` has the same errors."""
    async with WireServer([mid_stream(error_event("overloaded_error"))]) as server, client_for(server) as client:
        with pytest.raises(ts.OverloadedError) as raised:
            async with await client.messages.create(**PARAMS, stream=True) as stream:
                async for _ in stream:
                    pass
        check_error(raised.value, ts.OverloadedError, "overloaded_error", partial=TEXT)
        await server.closed(0)
    async with WireServer([mid_stream(error_event("overloaded_error"))]) as server, client_for(server) as client:
        with pytest.raises(ts.OverloadedError) as raised:
            await client.messages.create(**PARAMS)
        check_error(raised.value, ts.OverloadedError, "overloaded_error", partial=TEXT)
        await server.closed(0)


# Tried again.


def check_backoff(arrivals: list[float]) -> None:
    """The waits between requests are those of our own back-off, with its jitter."""
    for number, (before, after) in enumerate(itertools.pairwise(arrivals)):
        most = 0.5 * 2**number
        assert 0.75 * most - 0.01 <= after - before <= most + 0.3, arrivals


def arriving(arrivals: list[float], *parts: bytes) -> Script:
    """Answer each request with these bytes, and note when it came."""

    async def step(peer: Any) -> None:
        while True:
            await peer.request()
            arrivals.append(trio.current_time())
            await peer.send(b"".join(parts))

    return on(step)


async def three_requests(answer: bytes, kind: type[ts.APIStatusError], *says: str) -> ts.APIStatusError:
    """Two retries with our own back-off, and then the error."""
    arrivals: list[float] = []
    async with WireServer(then=arriving(arrivals, answer)) as server, client_for(server, max_retries=2) as client:
        with trio.fail_after(5), pytest.raises(ts.APIError) as raised:
            async with client.messages.stream(**PARAMS):
                pytest.fail("there is no message")
        assert len(arrivals) == 3
        check_backoff(arrivals)
        error = raised.value
        check_error(error, kind, *says, partial=None)
        assert isinstance(error, ts.APIStatusError)
        assert [item.content for item in server.requests] == [server.requests[0].content] * 3
        assert client.statistics().active == client.statistics().waiting == 0
    return error


@ERRORS.row("overloaded_error as the first event, retries on")
async def overloaded_first() -> None:
    answer = first(sse(PING, error_event("overloaded_error")))
    error = await three_requests(answer, ts.OverloadedError, "overloaded_error")
    assert error.status_code == 200


async def rate_limited(value: str) -> None:
    """A ``retry-after`` that cannot be used is as none at all."""
    header = [b"retry-after: " + value.encode()] if value else []
    answer = api_error(b"429 Too Many Requests", "rate_limit_error", *header)
    error = await three_requests(answer, ts.RateLimitError, "429")
    assert error.status_code == 429
    assert error.retry_after is None


PAST = formatdate(time.time() - 3600, usegmt=True)
FUTURE = formatdate(time.time() + 86_400, usegmt=True)

for _name, _value in {"neg": "-5", "garbage": "soon", "nan": "nan", "pastdate": PAST, "none": ""}.items():
    ERRORS.row(f"429 retry-after {_name}", _value)(rate_limited)


async def raised_at_once(value: str, least: float, most: float) -> None:
    """Nobody sleeps for days because a server says so; the wait is on the error."""
    answer = api_error(b"429 Too Many Requests", "rate_limit_error", b"retry-after: " + value.encode())
    async with WireServer([once(answer)]) as server:
        error = await expect_error(
            server, ts.RateLimitError, "429", "retry after", within=0.5, closed_by_client=False, max_retries=2
        )
        assert len(server.requests) == 2
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


ERRORS.row("429 retry-after 3600, 2 retries", "3600", 3600, 3600)(raised_at_once)
ERRORS.row("429 retry-after inf", "inf", math.inf, math.inf)(raised_at_once)
ERRORS.row("429 retry-after 1e400", "1e400", math.inf, math.inf)(raised_at_once)
ERRORS.row("429 retry-after futuredate", FUTURE, 80_000, 86_400)(raised_at_once)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("61", 61, 61), ("9" * 400, math.inf, math.inf), ("Infinity", math.inf, math.inf), ("  3600  ", 3600, 3600)],
    ids=["61", "400 digits", "Infinity", "blanks"],
)
async def test_more_retry_after(value: str, least: float, most: float) -> None:
    await raised_at_once(value, least, most)


async def test_retry_after_ms_beyond_the_cap() -> None:
    answer = api_error(b"429 Too Many Requests", "rate_limit_error", b"retry-after-ms: 3600000", b"retry-after: 0")
    async with WireServer([once(answer)]) as server:
        error = await expect_error(server, ts.RateLimitError, within=0.5, closed_by_client=False, max_retries=2)
    assert error.retry_after == 3600


@pytest.mark.parametrize("header", [b"retry-after: 0.2", b"retry-after-ms: 200"])
async def test_retry_after_is_slept(header: bytes) -> None:
    """As long as it is asked for, and no longer."""
    arrivals: list[float] = []
    answer = api_error(b"529 Overloaded", "overloaded_error", header)
    async with WireServer(then=arriving(arrivals, answer)) as server, client_for(server, max_retries=1) as client:
        with pytest.raises(ts.OverloadedError) as raised:
            await client.messages.create(**PARAMS)
        assert len(server.requests) == 2
    assert raised.value.retry_after == 0.2
    assert 0.19 <= arrivals[1] - arrivals[0] <= 0.4


@ERRORS.row("429 with x-should-retry: false")
async def told_not_to_retry() -> None:
    answer = api_error(b"429 Too Many Requests", "rate_limit_error", b"x-should-retry: false", b"retry-after-ms: 1")
    async with WireServer([once(answer)]) as server:
        await expect_error(server, ts.RateLimitError, "429", within=0.5, closed_by_client=False, max_retries=2)
        assert len(server.requests) == 2, "one, and the one afterwards"


@pytest.mark.parametrize(
    ("status", "kind", "more", "expected"),
    [
        (b"501 Not Implemented", "api_error", b"", ts.HTTPNotImplementedError),
        (b"505 HTTP Version Not Supported", "api_error", b"", ts.InternalServerError),
        (b"511 Network Authentication Required", "api_error", b"", ts.InternalServerError),
        (b"401 Unauthorized", "authentication_error", b"x-should-retry: true", ts.AuthenticationError),
        (b"429 Too Many Requests", "billing_error", b"x-should-retry: true", ts.RateLimitError),
    ],
    ids=["501", "505", "511", "a refused key", "a spent account"],
)
async def test_what_no_waiting_helps(status: bytes, kind: str, more: bytes, expected: type[ts.APIStatusError]) -> None:
    answer = api_error(status, kind, b"retry-after-ms: 1", *filter(None, [more]))
    async with WireServer([once(answer)]) as server:
        await expect_error(server, expected, kind, within=0.5, closed_by_client=False, max_retries=2)
        assert len(server.requests) == 2, "one, and the one afterwards"


@pytest.mark.parametrize("kind", ["authentication_error", "billing_error", "permission_error"])
async def test_a_refusal_as_the_first_event(kind: str) -> None:
    async with WireServer([once(first(error_event(kind)))]) as server:
        await expect_error(server, MORE_KINDS[kind], kind, within=0.5, max_retries=2)
        assert len(server.requests) == 2, "one, and the one afterwards"


async def test_told_to_retry() -> None:
    """``x-should-retry: true`` makes an error that is final otherwise worth another attempt."""
    answer = api_error(b"400 Bad Request", "invalid_request_error", b"x-should-retry: true", b"retry-after-ms: 1")
    async with WireServer([once(answer)]) as server:
        stream = await expect_complete(server, max_retries=2, connections=1)
        assert stream.stats.attempts == 2


async def completed_after(*bad: Script, requests: int) -> None:
    """With the retries asked for, the last attempt's message; without them, the first error."""
    async with WireServer(bad) as server, client_for(server, max_retries=2) as client:
        with trio.fail_after(5):
            stream = await read_to_end(client)
        assert stream.message.text == TEXT
        assert stream.stats.attempts == len(server.requests) == requests
        assert [json.loads(item.content)["messages"][0]["content"] for item in server.requests] == [PROMPT] * requests
        assert client.statistics().active == 0
    async with WireServer(bad) as server, client_for(server, max_retries=0) as client:
        with pytest.raises(ts.APIError):
            await client.messages.create(**PARAMS)
        assert len(server.requests) == 1


OVERLOADED = api_error(b"529 Overloaded", "overloaded_error", b"retry-after-ms: 1")


@ERRORS.row("529 once, then good")
async def overloaded_once() -> None:
    await completed_after(once(OVERLOADED), requests=2)


@ERRORS.row("RST twice, then good")
async def reset_twice() -> None:
    await completed_after(on(request(), rst()), on(request(), rst()), requests=3)


FIRST_ATTEMPTS = {
    "408": once(api_error(b"408 Request Timeout", "timeout_error")),
    "409": once(api_error(b"409 Conflict", "conflict_error")),
    "500 without a word": once(sized(b"", status=b"500 Internal Server Error")),
    "502, a page": once(
        sized(b"<html><title>Bad Gateway</title></html>", status=b"502 Bad Gateway", content_type=b"text/html")
    ),
    "503, and the connection is closed": on(
        request(), send(sized(b"busy", b"Connection: close", status=b"503 Service Unavailable")), fin()
    ),
    "api_error first": once(first(error_event("api_error"))),
    "timeout_error first": once(first(error_event("timeout_error"))),
    "rate_limit_error first": once(first(sse(PING, PING, error_event("rate_limit_error")))),
    "an error object where a stream should be": once(
        sized(sse(error_event("overloaded_error")).partition(b"data: ")[2], content_type=b"application/json")
    ),
    "an empty stream": once(first(b"")),
    "pings, then the end": once(first(sse(PING) * 3)),
    "FIN after the head": on(request(), send(CHUNKED_HEAD), fin()),
    "RST after the head": on(request(), send(CHUNKED_HEAD), delay(0.02), rst()),
    "RST after a ping": on(request(), send(CHUNKED_HEAD, chunk(PING)), delay(0.02), rst()),
    "half a message_start, FIN": on(request(), send(CHUNKED_HEAD, chunk(sse(message_events()[0])[:40])), fin()),
    "FIN in the headers": on(request(), send(OK[:30]), fin()),
}


@pytest.mark.parametrize("name", FIRST_ATTEMPTS)
async def test_tried_again_before_the_first_event(name: str) -> None:
    """While nothing has been handed out, a failure that may pass is nobody's business."""
    await completed_after(FIRST_ATTEMPTS[name], requests=2)


@pytest.mark.parametrize(
    "kind", ["invalid_request_error", "authentication_error", "permission_error", "new_kind_error"]
)
async def test_final_errors_as_the_first_event(kind: str) -> None:
    """What will not pass is not tried again."""
    async with WireServer([once(first(error_event(kind)))]) as server:
        error = await expect_error(
            server, KINDS.get(kind, MORE_KINDS.get(kind, ts.APIStatusError)), kind, max_retries=2
        )
        assert len(server.requests) == 2, "one, and the one afterwards"
    assert isinstance(error, ts.APIStatusError)


@pytest.mark.parametrize(
    "status", [b"400 Bad Request", b"401 Unauthorized", b"403 Forbidden", b"404 Not Found", b"413 Large"]
)
async def test_final_statuses(status: bytes) -> None:
    async with WireServer([once(api_error(status, "some_error"))]) as server:
        await expect_error(
            server, ts.APIStatusError, status[:3].decode(), closed_by_client=False, within=0.4, max_retries=2
        )
        assert len(server.requests) == 2


async def test_a_protocol_error_is_final() -> None:
    """What the answer breaks it would break again, and the request was accepted."""
    async with WireServer([once(first(event("message_start", b"{")))]) as server:
        await expect_error(server, ts.InvalidResponseError, "message_start", max_retries=2)
        assert len(server.requests) == 2


async def test_cut_after_the_first_event_is_final() -> None:
    """``message_start`` was handed out, so even without any text nothing is tried again."""
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(message_events()[0])), fin())]) as server:
        await expect_error(server, ts.IncompleteStreamError, partial="", max_retries=2)
        assert len(server.requests) == 2


async def test_count_tokens_is_tried_again() -> None:
    count = sized(b'{"input_tokens": 17}', content_type=b"application/json")
    async with WireServer([on(request(), send(OVERLOADED), request(), send(count))]) as server:
        async with client_for(server, max_retries=2) as client:
            counted = await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
        assert len(server.requests) == 2
    assert counted.input_tokens == 17


async def test_retries_keep_no_connection_of_a_failed_attempt() -> None:
    """On a pool of one, every attempt gets a connection that works."""
    async with WireServer([on(request(), send(OVERLOADED), fin())], then=GOOD) as server:
        stream = await expect_complete(server, max_retries=1, connections=2)
        assert stream.stats.attempts == 2
    async with WireServer(then=answering(GOOD_ANSWER)) as server:
        await expect_complete(server, max_retries=1)


@pytest.mark.parametrize("kind", ["api_error", "overloaded_error"])
async def test_details_reach_the_caller(kind: str) -> None:
    detailed = typed(
        "error", error={"type": kind, "message": SAID, "details": {"error_code": "model_busy"}}, request_id="req_2"
    )
    async with WireServer([mid_stream(detailed)]) as server:
        error = await expect_error(server, ts.InternalServerError, SAID, partial=TEXT)
    assert error.error_code == "model_busy"
    assert error.request_id == "req_2"
    assert isinstance(error.body, dict)


@pytest.mark.parametrize("check", ERRORS.checks())
async def test_api_errors(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    ERRORS.check_complete()
