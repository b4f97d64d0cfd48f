"""Fault matrix, section "HTTP": the answer is not the event stream that was asked for, or not HTTP."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Awaitable, Callable

import pytest
import trio

import trio_stream as ts
from tests.faults import rows
from tests.faults.measured import MB, Measured, measure
from tests.faults.rows import (
    CLOCK,
    ENDLESS,
    LONGEST_TEXT,
    SLACK,
    Section,
    client_for,
    expect_complete,
    expect_error,
    expect_incomplete,
)
from tests.faults.test_limits import COMMENT, check_refused, measured
from tests.wire.answers import (
    CHUNKED_HEAD,
    GOOD_ANSWER,
    LAST_CHUNK,
    MESSAGE,
    OK,
    api_error,
    chunk,
    chunked,
    sized,
    sse,
    swelling_gzip,
)
from tests.wire.events import CUT_EVENTS, END, TEXT, error_event, message_events
from tests.wire.server import WireServer, close, delay, drip, fin, on, once, repeat, request, rst, send, silence

HTTP = Section("HTTP")
row = HTTP.row

JSON = b"application/json"
OTHER_ANSWER = CHUNKED_HEAD + chunked(*message_events(["somebody else's answer"]), last=True)


# What is not an event stream.


@row("200 application/json with an error object")
async def json_error_with_200() -> None:
    answer = api_error(b"200 OK", "overloaded_error")
    async with WireServer([once(answer)]) as server:
        error = await expect_error(
            server, ts.OverloadedError, "overloaded_error", "What the API says", closed_by_client=False
        )
        assert error.status_code == 200
        assert error.type == "overloaded_error"
        assert error.request_id == "req_fault"


@row("200 application/json with a whole message")
async def json_message() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
    }
    answer = sized(json.dumps(message).encode(), content_type=JSON)
    async with WireServer([once(answer)]) as server:
        await expect_complete(server)


@row("200 text/html (captive portal)")
async def captive_portal() -> None:
    page = b"<html><title>Hotel WLAN</title><body>Please log in\n" + b"<p>room</p>" * 10_000
    async with WireServer([once(sized(page, content_type=b"text/html; charset=utf-8"))]) as server:
        error = await expect_error(server, ts.InvalidResponseError, "'text/html", "Hotel WLAN", closed_by_client=False)
        assert len(str(error)) < 500


@row("SSE without content-type")
async def no_content_type() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    length = b"Content-Length: %d\r\n" % len(MESSAGE)
    for accepted in (b"", b"Content-Type: text/event-stream;charset=utf-8\r\n", b"content-type:TEXT/Event-Stream\r\n"):
        async with WireServer([once(head + accepted + length + b"\r\n" + MESSAGE)]) as server:
            await expect_complete(server)
    for refused in (b"text/plain", b"application/octet-stream", b"application/x-ndjson", b"text/event-streams", b"*/*"):
        async with WireServer([once(sized(MESSAGE, content_type=refused))]) as server:
            await expect_error(server, ts.InvalidResponseError, repr(refused.decode()), closed_by_client=False)


# Errors by status.


@row("status 400, JSON error", b"400 Bad Request", "invalid_request_error", ts.BadRequestError)
@row("status 401, JSON error", b"401 Unauthorized", "authentication_error", ts.AuthenticationError)
@row("status 403, JSON error", b"403 Forbidden", "permission_error", ts.PermissionDeniedError)
@row("status 404, JSON error", b"404 Not Found", "not_found_error", ts.NotFoundError)
@row("status 413, JSON error", b"413 Content Too Large", "request_too_large", ts.ContentTooLargeError)
@row("status 429, JSON error", b"429 Too Many Requests", "rate_limit_error", ts.RateLimitError)
@row("status 500, JSON error", b"500 Internal Server Error", "api_error", ts.InternalServerError)
@row("status 529, JSON error", b"529", "overloaded_error", ts.OverloadedError)
async def json_error(status: bytes, kind: str, expected: type[ts.APIStatusError]) -> None:
    async with WireServer([once(api_error(status, kind, details={"error_code": "a_code"}))]) as server:
        error = await expect_error(
            server, expected, status.decode()[:3], kind, "What the API says", closed_by_client=False
        )
        assert type(error) is expected
        assert error.status_code == int(status[:3])
        assert error.type == kind
        assert error.request_id == "req_fault"
        assert error.error_code == "a_code"
        assert error.api_message == "What the API says"
        assert len(server.peers) == 1, "an error that was read to its end leaves the connection usable"


PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<hr>nginx" * 5000


@row("502 HTML", b"502 Bad Gateway", PAGE, b"text/html", ts.InternalServerError)
@row(
    "503 plain text",
    b"503 Service Unavailable",
    b"no healthy upstream\n" * 1000,
    b"text/plain",
    ts.ServiceUnavailableError,
)
@row("500 empty", b"500 Internal Server Error", b"", None, ts.InternalServerError)
@row("500 invalid UTF-8", b"500 Internal Server Error", b"\xff\xfe\xc3(" * 1000, b"text/plain", ts.InternalServerError)
@row("418", b"418 I'm a teapot", b"short and stout", b"text/plain", ts.APIStatusError)
@row(
    "400 with an SSE body",
    b"400 Bad Request",
    sse(error_event("invalid_request_error")),
    b"text/event-stream",
    ts.BadRequestError,
)
async def other_error(
    status: bytes, body: bytes, content_type: bytes | None, expected: type[ts.APIStatusError]
) -> None:
    async with WireServer([once(sized(body, status=status, content_type=content_type))]) as server:
        error = await expect_error(server, expected, status.decode()[:3], closed_by_client=False)
        assert type(error) is expected
        assert error.status_code == int(status[:3])
        str(error).encode()
        if content_type == b"text/event-stream":
            assert error.type == "invalid_request_error"


WARM = (request(), send(GOOD_ANSWER), request())
"""For measured rows: the first request is answered well, the second one by what follows."""


def check_measured(measured: Measured, kind: type[ts.APIError], *, grown: int, seconds: float) -> None:
    assert issubclass(measured.kind(), kind), measured
    assert len(measured.sentence.encode()) < LONGEST_TEXT
    assert measured.grown <= grown, measured
    assert measured.seconds <= seconds, measured


@row("500 with a 200 MB body")
async def large_error_body() -> None:
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % (200 * MB)
    async with WireServer([on(*WARM, send(head), repeat(b"e" * MB, times=200))]) as server:
        check_measured(await measure(server), ts.InternalServerError, grown=20 * MB, seconds=3)
        await server.closed(0)


@row("500 with a 1.5 GB chunked body")
async def huge_chunked_error_body() -> None:
    head = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with WireServer([on(*WARM, send(head), repeat(chunk(b"e" * MB), times=1500))]) as server:
        check_measured(await measure(server), ts.InternalServerError, grown=20 * MB, seconds=3)
        await server.closed(0)


@row("500, then the body stalls")
async def error_body_that_stalls() -> None:
    body = b'{"type":"error","error":{"type":"api_error","mess'
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n"
    for timeouts in (ts.Timeouts(silence=CLOCK), ts.Timeouts(first_event=CLOCK), ts.Timeouts(total=CLOCK)):
        async with WireServer([on(request(), send(head, body), silence())]) as server:
            error = await expect_error(
                server, ts.InternalServerError, "500", within=CLOCK + SLACK, not_before=CLOCK, timeout=timeouts
            )
            assert error.status_code == 500


@row("500, body shorter than content-length")
async def error_body_cut() -> None:
    body = b'{"type":"error","error":{"type":"api_error","message":"cut"}}'
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n"
    async with WireServer([on(request(), send(head, body), fin())]) as server:
        error = await expect_error(server, ts.InternalServerError, "500", "cut")
        assert error.status_code == 500
        assert error.type == "api_error"
    async with WireServer([on(request(), send(head, body), delay(0.05), rst())]) as server:
        error = await expect_error(server, ts.InternalServerError, "500", "cut", closed_by_client=False)
        assert error.status_code == 500


@row("299 with JSON")
async def unknown_success() -> None:
    async with WireServer([once(sized(b'{"well":"done"}', status=b"299 Fine", content_type=JSON))]) as server:
        error = await expect_error(server, ts.APIStatusError, "299", closed_by_client=False)
        assert error.status_code == 299


@row("301 to another host", b"301 Moved Permanently")
@row("302 to another host", b"302 Found")
@row("303 to another host", b"303 See Other")
@row("307 to another host", b"307 Temporary Redirect")
@row("308 to another host", b"308 Permanent Redirect")
async def redirect(status: bytes) -> None:
    async with WireServer() as other:
        location = b"Location: http://127.0.0.1:%d/v1/messages?token=of-somebody" % other.port
        async with WireServer([once(sized(b"", location, status=status))]) as server:
            error = await expect_error(
                server,
                ts.APIStatusError,
                status.decode()[:3],
                "not followed",
                f"127.0.0.1:{other.port}",
                closed_by_client=False,
                max_retries=2,
            )
            assert error.status_code == int(status[:3])
            assert "of-somebody" not in str(error)
        assert other.peers == []


@row("307 to itself")
async def redirect_to_itself() -> None:
    script = once(sized(b"", b"Location: /v1/messages", status=b"307 Temporary Redirect"))
    async with WireServer([script]) as server:
        await expect_error(server, ts.APIStatusError, "307", "not followed", closed_by_client=False, max_retries=2)
        assert len(server.requests) == 2  # this one, and the one that looks whether the pool is whole


# The head.


@row("100 and 103 before the answer")
async def interim_answers() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    async with WireServer([once(interim, GOOD_ANSWER)]) as server:
        stream = await expect_complete(server)
        assert stream.response.status_code == 200
        assert "link" not in stream.response.headers
        assert len(server.peers) == 1
    async with WireServer([on(request(), drip(interim + GOOD_ANSWER, size=7))]) as server:
        await expect_complete(server)


@row("endless 103, timeout 2 s")
async def endless_interim_answers() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with WireServer([on(request(), repeat(hint, seconds=CLOCK / 8))]) as server:
        await expect_error(
            server,
            ts.FirstEventTimeoutError,
            "first_event",
            "headers",
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=ENDLESS,
        )
    # As fast as they come there is no need to wait for the clock.
    async with WireServer([on(request(), repeat(hint))]) as server:
        await expect_error(server, ts.InvalidResponseError, "1xx", within=CLOCK + SLACK, timeout=ENDLESS)


@row("101 Switching Protocols")
async def switching_protocols() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"
    async with WireServer([on(request(), send(answer), silence())]) as server:
        await expect_error(server, ts.InvalidResponseError, "101", cause=Exception)


@row("headers never arrive, 2 s, two retries allowed")
async def no_headers_and_retries() -> None:
    async with WireServer([on(request(), silence())]) as server:
        await expect_error(
            server, ts.FirstEventTimeoutError, "may have accepted", within=CLOCK + SLACK, timeout=ENDLESS, max_retries=2
        )
        assert len(server.requests) == 2  # with that of the check afterwards


@row("headers never arrive, 2 s")
async def no_headers() -> None:
    for begin in (b"", b"HTTP/1.1 200 OK\r\nContent-Ty"):
        async with WireServer([on(request(), send(begin), silence())]) as server:
            error = await expect_error(
                server,
                ts.FirstEventTimeoutError,
                f"first_event: waited {CLOCK:g} s for the response headers",
                "may have accepted",
                not_before=CLOCK,
                within=CLOCK + SLACK,
                timeout=ENDLESS,
            )
            assert error.may_have_been_accepted


@row("header bytes dripped for ever")
async def dripped_headers() -> None:
    drops = repeat(b"x", seconds=0.01)
    async with WireServer([on(request(), send(OK + b"x-slow: "), drops)]) as server:
        await expect_error(
            server,
            ts.FirstEventTimeoutError,
            "first_event",
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=ENDLESS,
        )


@row("200 KB header")
async def large_header() -> None:
    async with WireServer([once(OK, b"x-large: " + b"a" * 200_000, b"\r\n\r\n")]) as server:
        await expect_error(server, ts.InvalidResponseError, "header block", "65536 bytes", cause=Exception)
    async with WireServer([once(OK, b"x-many: a\r\n" * 20_000, b"\r\n")]) as server:
        await expect_error(server, ts.InvalidResponseError, "header block", "65536 bytes")


@row("endless header lines")
async def endless_header_lines() -> None:
    lines = b"".join(b"x-%d: %b\r\n" % (i, b"a" * 60) for i in range(10_000))
    async with WireServer([on(*WARM, send(OK), repeat(lines))]) as server:
        check_measured(await measure(server), ts.InvalidResponseError, grown=20 * MB, seconds=3)
        await server.closed(0)
    async with WireServer([on(*WARM, send(OK, b"x-endless: "), repeat(b"a" * MB))]) as server:
        check_measured(await measure(server), ts.InvalidResponseError, grown=20 * MB, seconds=3)


NOT_HTTP = {
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"220 mail.example.com ESMTP\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "an event stream without a head": MESSAGE,
    "random": bytes(range(256)) * 4,
    "HTTP/2 preface": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18,
    "ICY": b"ICY 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "lower-case": b"http/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/2 by number": b"HTTP/2.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
}


@row("not HTTP")
async def not_http() -> None:
    for answer in NOT_HTTP.values():
        async with WireServer([on(request(), send(answer), silence())]) as server:
            await expect_error(server, ts.InvalidResponseError, "HTTP/1.1", cause=Exception)


# Framing.


@row("chunk size is not hex")
async def chunk_size_not_hex() -> None:
    async with WireServer([once(CHUNKED_HEAD, chunked(*CUT_EVENTS), b"xyz\r\nevent")]) as server:
        await expect_incomplete(server, "cut", "body cannot be parsed as HTTP/1.1", "chunk size")


@row("trailers after the last chunk")
async def trailers() -> None:
    async with WireServer([once(CHUNKED_HEAD, chunk(MESSAGE), b"0\r\nx-trailer: 1\r\nx-more: 2\r\n\r\n")]) as server:
        stream = await expect_complete(server)
        assert "x-trailer" not in stream.response.headers
        assert len(server.peers) == 1, "and the connection is used again"


@row("two different content-lengths")
async def two_content_lengths() -> None:
    head = OK + b"Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(MESSAGE), len(MESSAGE) + 1)
    async with WireServer([once(head, MESSAGE)]) as server:
        await expect_error(server, ts.InvalidResponseError, "HTTP/1.1", "content-length", cause=Exception)


# Connections that are used again.


@row("a second, unasked response on the same connection")
async def unasked_answer() -> None:
    at_once = on(request(), send(GOOD_ANSWER, OTHER_ANSWER))
    later = on(request(), send(GOOD_ANSWER), delay(0.05), send(OTHER_ANSWER))
    in_two_packets = on(request(), send(GOOD_ANSWER[:-5]), delay(0.02), send(LAST_CHUNK, OTHER_ANSWER))
    with_length = on(request(), send(sized(MESSAGE, content_type=b"text/event-stream"), OTHER_ANSWER))
    for script in (at_once, later, in_two_packets, with_length):
        async with WireServer([script]) as server, client_for(server) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            await trio.sleep(0.1)
            await rows.check_after(client)
            assert len(server.peers) == 2
            await server.closed(0)


@row("two streams, one keep-alive connection")
async def keep_alive() -> None:
    async with WireServer() as server, client_for(server) as client:
        for _ in range(2):
            assert (await rows.read_to_end(client)).text == TEXT
        assert len(server.peers) == 1
        assert len(server.requests) == 2


@row("server closed the idle connection")
async def idle_connection_closed() -> None:
    for script in (on(request(), send(GOOD_ANSWER), fin()), on(request(), send(GOOD_ANSWER), delay(0.05), rst())):
        async with WireServer([script]) as server, client_for(server) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            await trio.sleep(0.1)
            await rows.check_after(client)
            assert len(server.peers) == 2


@row("RST for a request on a reused connection")
async def rst_on_a_reused_connection() -> None:
    """Whether the server saw the request cannot be known, so it costs a retry of the caller's, as often as it happens."""
    for ending, max_retries in itertools.product((rst(), fin()), (0, 1, 2)):
        scripts = [on(request(), send(GOOD_ANSWER), request(), ending)]
        scripts += [on(request(), ending)] * (max_retries - 1)
        async with WireServer(scripts) as server, client_for(server, max_retries=max_retries) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            if not max_retries:
                with pytest.raises(ts.APIConnectionError, match="may have accepted") as caught:
                    await rows.read_to_end(client)
                assert caught.value.may_have_been_accepted
                assert [len(peer.requests) for peer in server.peers] == [2]
                await rows.check_after(client)
                continue
            stream = await rows.read_to_end(client)
            assert stream.text == TEXT
            assert stream.stats.attempts == 1 + max_retries
            assert [len(peer.requests) for peer in server.peers] == [2, *[1] * max_retries]


@row("server reads a whole request on a reused connection, works, closes, no retries")
async def closed_after_work_on_a_reused_connection() -> None:
    for ending in (rst(), fin(), close()):
        script = on(request(), send(GOOD_ANSWER), request(), delay(CLOCK), ending)
        async with WireServer([script]) as server, client_for(server) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            with pytest.raises(ts.APIConnectionError, match="may have accepted") as caught:
                await rows.read_to_end(client)
            assert caught.value.may_have_been_accepted
            assert len(server.requests) == 2
            await rows.check_after(client)


# Encodings nobody asked for.


def encoded(encoding: bytes, body: bytes) -> bytes:
    return sized(body, b"Content-Encoding: " + encoding, content_type=b"text/event-stream")


@row("gzip SSE although not asked for")
async def gzip_answer() -> None:
    for encoding, body in (
        (b"gzip", gzip.compress(MESSAGE)),
        (b"x-gzip", gzip.compress(MESSAGE[:100]) + gzip.compress(MESSAGE[100:]) + b"\0\0"),
        (b"deflate", zlib.compress(MESSAGE)),
        (b"deflate", zlib.compress(MESSAGE, wbits=-15)),
        (b"GZIP, identity", gzip.compress(MESSAGE)),
    ):
        async with WireServer([once(encoded(encoding, body))]) as server:
            await expect_complete(server)
            assert server.requests[0].headers["accept-encoding"] == "identity"


@row("gzip stream, each event as it comes")
async def gzip_answer_streamed() -> None:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(sse(piece)) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in (*CUT_EVENTS, *END)]
    pieces.append(packer.flush())
    head = CHUNKED_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    script = on(request(), send(head), *[send(chunk(piece)) for piece in pieces], send(LAST_CHUNK))
    async with WireServer([script]) as server:
        await expect_complete(server)


@row("gzip stream cut")
async def gzip_answer_cut() -> None:
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(sse(*CUT_EVENTS)) + packer.flush(zlib.Z_SYNC_FLUSH)
    for ending in (fin(), silence()):
        async with WireServer([on(request(), send(encoded(b"gzip", body)), ending)]) as server:
            await expect_incomplete(server, "the gzip data ends before its end")


@row("gzip data that is none, or broken in the middle")
async def no_gzip_answer() -> None:
    broken = bytearray(gzip.compress(MESSAGE))
    broken[-30:-20] = bytes(10)
    for coding, body in ((b"gzip", MESSAGE), (b"deflate", MESSAGE), (b"gzip", gzip.compress(MESSAGE) + b"\x1f\x8b!!")):
        async with WireServer([once(encoded(coding, body))]) as server:
            if body == MESSAGE:
                await expect_error(server, ts.InvalidResponseError, coding.decode(), "cannot be decoded")
            else:
                await expect_complete(server)  # message_stop came before it
    async with WireServer([once(encoded(b"gzip", bytes(broken)))]) as server, client_for(server) as client:
        with pytest.raises((ts.InvalidResponseError, ts.IncompleteStreamError)):
            await rows.read_to_end(client)


@row("gzip or deflate body of an error")
async def compressed_error() -> None:
    said = json.dumps({"type": "error", "error": {"type": "not_found_error", "message": "What it says"}}).encode()
    for coding, body in ((b"gzip", gzip.compress(said)), (b"deflate", zlib.compress(said))):
        answer = sized(body, b"Content-Encoding: " + coding, status=b"404 Not Found", content_type=JSON)
        async with WireServer([once(answer)]) as server:
            error = await expect_error(server, ts.NotFoundError, "What it says", closed_by_client=False)
            assert error.body == json.loads(said)


@row("gzip bomb: 1 GB of one event, of comments, in an error")
async def gzip_bomb() -> None:
    """A gigabyte each: in one event, in comments, in an error. Then whatever else is no event, with lower limits."""
    for first, block, says in (
        (b"data: ", bytes(MB), "event too large"),
        (b"", COMMENT * (MB // len(COMMENT)), "285212672 bytes without an event"),
    ):
        body = swelling_gzip(sse(*CUT_EVENTS) + first, block, 1000)
        result = await measured(send(encoded(b"gzip", body)))
        check_refused(result, says, seconds=10)
        assert result.text_length == len(TEXT)
    limits = ts.Limits(event_bytes=100_000, message_bytes=1_500_000, error_body_bytes=100_000)
    for block, says in (
        (b": nothing\r\n\r\n" * 1000, "1600000 bytes without an event"),
        (b"\n" * 10_000, "without an event"),
        (b"retry: 1\n" * 1000, "without an event"),
        (b"new: field\n" * 1000, "without an event"),
        (b": a comment without end" * 1000, "without an event"),
        (b"event: ping\n" * 1000, "without an event"),
        (b"data\n" * 1000, "event too large"),
        (b"a field without end" * 1000, "event too large"),
    ):
        body = swelling_gzip(sse(*CUT_EVENTS), block, 1000)
        async with WireServer([once(encoded(b"gzip", body))]) as server:
            await expect_error(server, ts.InvalidResponseError, says, partial=TEXT, limits=limits)
    answer = sized(
        swelling_gzip(b"", bytes(MB), 1000), b"Content-Encoding: gzip", status=b"404 Not Found", content_type=JSON
    )
    async with WireServer([once(answer)]) as server:
        error = await expect_error(server, ts.NotFoundError, "404", within=5.0, limits=limits)
        assert len(str(error)) < LONGEST_TEXT


@row("gzip answer to count_tokens")
async def compressed_count() -> None:
    answer = sized(gzip.compress(b'{"input_tokens": 7}'), b"Content-Encoding: gzip", content_type=JSON)
    async with WireServer([once(answer)]) as server, client_for(server) as client:
        count = await client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "Hi"}])
        assert count.input_tokens == 7


# Heads that break HTTP/1.1 in ways in which it is still read.


async def check_tolerated(*parts: bytes) -> None:
    """It is read, and the connection not used again."""
    async with WireServer([once(*parts)]) as server, client_for(server) as client:
        assert (await rows.read_to_end(client)).text == TEXT
        assert client.statistics().idle == 0
        await rows.check_after(client)
        assert len(server.peers) == 2


@row("transfer-encoding beside content-length")
async def two_framings() -> None:
    both = (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n")
    for one, other in (both, both[::-1]):
        await check_tolerated(OK, one, other, b"\r\n", chunked(MESSAGE, last=True))


@row("blanks after a chunk size")
async def padded_sizes() -> None:
    for pad in (b" ", b"    ", b"\t"):
        await check_tolerated(CHUNKED_HEAD, b"%x" % len(MESSAGE), pad, b"\r\n", MESSAGE, b"\r\n0\r\n\r\n")


@row("bare LF in the head")
async def bare_line_feeds() -> None:
    head = OK + b"Content-Length: %d\r\n\r\n" % len(MESSAGE)
    for bare in (head.replace(b"\r\n", b"\n"), head.replace(b"\r\n", b"\n", 1), head[:-2] + b"\n"):
        await check_tolerated(bare, MESSAGE)


@row("obs-fold")
async def folded_header() -> None:
    await check_tolerated(OK, b"X-Long: a\r\n  b\r\n\tc\r\nContent-Length: %d\r\n\r\n" % len(MESSAGE), MESSAGE)


@row("the same content-length twice")
async def the_same_length_twice() -> None:
    length = b"Content-Length: %d\r\n" % len(MESSAGE)
    await check_tolerated(OK, length, length, b"\r\n", MESSAGE)
    await check_tolerated(OK, b"Content-Length: %d, %d\r\n\r\n" % (len(MESSAGE), len(MESSAGE)), MESSAGE)


@row("transfer-encoding: chunked, chunked")
async def chunked_twice() -> None:
    twice = (
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    )
    for codings in twice:
        async with WireServer([once(OK, codings, b"\r\n", chunked(MESSAGE, last=True))]) as server:
            await expect_error(server, ts.InvalidResponseError, "chunked twice")


@row("unknown content-encoding")
async def unknown_encoding() -> None:
    for encoding in (b"x-own", b"br", b"zstd", b"gzip, br", b"x" * 5000):
        async with WireServer([once(encoded(encoding, MESSAGE))]) as server:
            await expect_error(server, ts.InvalidResponseError, repr(encoding.decode().split(", ")[-1][:40]))


@row("content-encoding: utf-8, none, empty")
async def no_encoding() -> None:
    for encoding in (b"Identity", b"utf-8", b"UTF8", b"none", b"", b" , ", b"identity, none"):
        async with WireServer([once(encoded(encoding, MESSAGE))]) as server:
            await expect_complete(server)


# The rows above, and that they are all.


@pytest.mark.parametrize("check", HTTP.checks())
async def test_http(check: Callable[[], Awaitable[None]]) -> None:
    await check()


def test_every_row() -> None:
    HTTP.check_complete()
