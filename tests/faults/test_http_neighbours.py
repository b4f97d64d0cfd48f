"""Beside the fault matrix, section "HTTP": what it does not name is held to the same rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults import rows
from tests.faults.rows import (
    CLOCK,
    PARAMS,
    SLACK,
    check_error,
    client_for,
    expect_complete,
    expect_error,
    expect_incomplete,
)
from tests.wire.answers import CHUNKED_HEAD, GOOD_ANSWER, LAST_CHUNK, MESSAGE, OK, api_error, chunk, chunked, sized
from tests.wire.events import CUT_EVENTS, TEXT
from tests.wire.server import (
    Script,
    WireServer,
    begin_to_read,
    close,
    delay,
    fin,
    on,
    once,
    request,
    request_bytes,
    rst,
    send,
    silence,
)

STATUS = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: text/event-stream\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(MESSAGE)
HEAD = STATUS + TYPE + LENGTH
ONE_CHUNK = chunk(MESSAGE) + LAST_CHUNK

# Heads.

ACCEPTED = {
    "status line without reason": b"HTTP/1.1 200\r\n" + TYPE + LENGTH + b"\r\n" + MESSAGE,
    "status line that ends with a blank": b"HTTP/1.1 200 \r\n" + TYPE + LENGTH + b"\r\n" + MESSAGE,
    "blank lines before the status line": b"\r\n\r\n" + GOOD_ANSWER,
    "header value that is not ASCII": HEAD + b"x-name: caf\xe9 \xff\r\n\r\n" + MESSAGE,
    "header without a value": HEAD + b"x-empty:\r\n\r\n" + MESSAGE,
    "upgrade offered": HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + MESSAGE,
    "coding in capitals": STATUS + TYPE + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + ONE_CHUNK,
    "chunk extensions": CHUNKED_HEAD + b'%x;a=b;c="d;e"\r\n%b\r\n0;last\r\n\r\n' % (len(MESSAGE), MESSAGE),
    "leading zeros in chunk sizes": CHUNKED_HEAD + b"0000%x\r\n%b\r\n00000\r\n\r\n" % (len(MESSAGE), MESSAGE),
    "charset nobody knows": STATUS
    + b"Content-Type: text/event-stream; charset=x-none\r\n"
    + LENGTH
    + b"\r\n"
    + MESSAGE,
}


@pytest.mark.parametrize("answer", ACCEPTED.values(), ids=ACCEPTED)
async def test_accepted(answer: bytes) -> None:
    async with WireServer([once(answer)]) as server:
        await expect_complete(server)


REFUSED = {
    "folded first header": STATUS + b" x-folded: a\r\n" + TYPE + LENGTH + b"\r\n" + MESSAGE,
    "header without colon": HEAD + b"nonsense\r\n\r\n" + MESSAGE,
    "header without name": HEAD + b": nameless\r\n\r\n" + MESSAGE,
    "blank before the colon": HEAD + b"x-blank : a\r\n\r\n" + MESSAGE,
    "NUL in a header": HEAD + b"x-nul: a\0b\r\n\r\n" + MESSAGE,
    "CR in a header": HEAD + b"x-cr: a\rb\r\n\r\n" + MESSAGE,
    "escape in a header": HEAD + b"x-esc: \x1b[31m\r\n\r\n" + MESSAGE,
    "content-length as a list of two": STATUS + TYPE + b"Content-Length: 5, 6\r\n\r\nevent",
    "content-length negative": STATUS + TYPE + b"Content-Length: -5\r\n\r\n" + MESSAGE,
    "content-length with a sign": STATUS + TYPE + b"Content-Length: +5\r\n\r\n" + MESSAGE,
    "content-length hexadecimal": STATUS + TYPE + b"Content-Length: 0x5\r\n\r\n" + MESSAGE,
    "content-length empty": STATUS + TYPE + b"Content-Length: \r\n\r\n" + MESSAGE,
    "content-length beyond 64 bits": STATUS + TYPE + b"Content-Length: 99999999999999999999999\r\n\r\n" + MESSAGE,
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status without digits": b"HTTP/1.1 abc OK\r\n\r\n",
    "100 with a body": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + GOOD_ANSWER,
    "33 times 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 33 + GOOD_ANSWER,
    "200 KB of blank lines": b"\r\n" * 100_000 + GOOD_ANSWER,
    "200 KB of reason": b"HTTP/1.1 200 " + b"r" * 200_000 + b"\r\n" + TYPE + LENGTH + b"\r\n" + MESSAGE,
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
async def test_refused(answer: bytes) -> None:
    async with WireServer([once(answer)]) as server:
        await expect_error(server, ts.InvalidResponseError, "breaks HTTP/1.1", cause=Exception, max_retries=2)


@pytest.mark.parametrize(
    "content_type",
    [b"text/html\r\nContent-Type: text/event-stream", b"text/event-stream, text/html", b"text/\xe9", b"t" * 50_000],
    ids=["two headers", "a list", "not ASCII", "50 KB"],
)
async def test_content_types(content_type: bytes) -> None:
    async with WireServer([once(sized(MESSAGE, content_type=content_type))]) as server:
        await expect_error(server, ts.InvalidResponseError, "not the text/event-stream", closed_by_client=False)


@pytest.mark.parametrize("coding", ["gzip, chunked", "deflate", "xchunked", "chunked, x-own"])
async def test_transfer_codings(coding: str) -> None:
    """A compressed body is refused by name, whichever header says that it is."""
    head = STATUS + TYPE + b"Transfer-Encoding: " + coding.encode() + b"\r\n\r\n"
    name = next(name for name in coding.split(", ") if name != "chunked")
    async with WireServer([once(head, ONE_CHUNK)]) as server:
        await expect_error(server, ts.InvalidResponseError, repr(name))


@pytest.mark.parametrize("status", [b"204 No Content", b"205 Reset Content", b"304 Not Modified"])
async def test_statuses_without_a_body(status: bytes) -> None:
    """The end of the head is the end of the answer: there is nothing to wait for."""
    async with WireServer([once(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")]) as server:
        error = await expect_error(server, ts.APIStatusError, status.decode(), within=SLACK, closed_by_client=False)
        assert error.status_code == int(status[:3])
        assert "redirect" not in str(error)
        assert len(server.peers) == 1


async def test_a_long_reason_phrase() -> None:
    async with WireServer([once(b"HTTP/1.1 500 ", b"r" * 30_000, b"\r\nContent-Length: 0\r\n\r\n")]) as server:
        await expect_error(server, ts.InternalServerError, "500", closed_by_client=False)


@pytest.mark.parametrize("request_id", [b"r" * 50_000, b"caf\xe9", b"\xc2\x9b31m"], ids=["50 KB", "Latin-1", "control"])
async def test_request_ids(request_id: bytes) -> None:
    """The error repeats it, so it is taken only where it can be one."""
    for head in (STATUS + TYPE, b"HTTP/1.1 500 Oops\r\n"):
        async with WireServer([once(head, b"request-id: ", request_id, b"\r\nContent-Length: 0\r\n\r\n")]) as server:
            error = await expect_error(server, ts.APIError, closed_by_client=False)
            assert str(error).isprintable()


async def test_cookies_are_not_kept() -> None:
    """An answer cannot add to the next request, let alone make it one that cannot be sent."""
    cookies = (
        b'set-cookie: session=1; path=/\r\nset-cookie: \xff\xfe="\r\nset-cookie: a; expires=99, 99; max-age=1e9\r\n'
    )
    async with WireServer([once(HEAD, cookies, b"\r\n", MESSAGE)]) as server:
        await expect_complete(server)
        assert len(server.requests) == 2
        assert "cookie" not in server.requests[1].headers


# Redirects.

LOCATIONS = {
    "none": b"",
    "empty": b"Location: \r\n",
    "50 KB": b"Location: http://example.com/" + b"x" * 50_000 + b"\r\n",
    "host of 50 KB": b"Location: http://" + b"x" * 50_000 + b"/\r\n",
    "host of 50 KB that is not ASCII": "Location: http://é".encode() + b"x" * 50_000 + b"/\r\n",
    "not a URL": b"Location: http://[::1\r\n",
    "no path": b"Location: javascript:alert(1)\r\n",
    "port of letters": b"Location: http://example.com:hunter2/\r\n",
    "tab": b"Location: http://example.com/\tx\r\n",
    "port that is none": b"Location: http://example.com:99999999/\r\n",
    "not ASCII": b"Location: http://caf\xe9.example/\xff\r\n",
    "another scheme": b"Location: file:///etc/passwd\r\n",
    "without scheme": b"Location: //example.com/x\r\n",
    "with a password": b"Location: http://user:hunter2@example.com/?token=hunter2\r\n",
}


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
async def test_locations(location: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\n" + location + b"Content-Length: 0\r\n\r\n"
    async with WireServer([once(answer)]) as server:
        error = await expect_error(server, ts.APIStatusError, "302", "not followed", closed_by_client=False)
        assert "hunter2" not in str(error)
        assert len(str(error)) < 300


# Chunks.

CUT = CHUNKED_HEAD + chunked(*CUT_EVENTS)

BROKEN_CHUNKS = {
    "size beyond 64 bits": b"fffffffffffffffff\r\nevent",
    "negative size": b"-5\r\nevent",
    "no size": b"\r\nevent",
    "size as 0x5": b"0x5\r\nevent\r\n",
    "longer than its size": b"5\r\nevent: ping\r\n",
    "lines that end with LF alone": b"5\nevent\n",
    "NUL in the size": b"5\0\r\nevent\r\n",
    "extension without end": b"5;" + b"e" * 200_000,
    "size of zeros without end": b"0" * 200_000,
    "200 KB of trailers": b"0\r\n" + b"x-trailer: 1\r\n" * 15_000,
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("more", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
async def test_broken_chunks(more: bytes) -> None:
    async with WireServer([once(CUT, more)]) as server:
        await expect_incomplete(server, "cut: ")


@pytest.mark.parametrize(
    "more",
    [
        b"XX",
        b"\r\n\r\n0\r\n\r\n",
        b"\r\nffffffffffffffffff\r\n",
        b"\r\n0\r\n" + b"x-trailer: 1\r\n" * 15_000,
        b"\r\n0\r\n\r\njunk",
    ],
    ids=["no line end", "empty line", "size beyond 64 bits", "200 KB of trailers", "junk"],
)
async def test_broken_after_message_stop(more: bytes) -> None:
    """The message is whole: what HTTP makes of the rest costs the connection, and nothing else."""
    async with WireServer([once(CHUNKED_HEAD, b"%x\r\n%b" % (len(MESSAGE), MESSAGE), more)]) as server:
        await expect_complete(server)
        assert len(server.peers) == 2
        await server.closed(0)


# Connections that are used again.


@pytest.mark.parametrize(
    "last",
    [b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"garbage", b"\0", b"\r\n"],
    ids=["408", "garbage", "NUL", "blank line"],
)
async def test_last_words_on_an_idle_connection(last: bytes) -> None:
    """Some servers say 408 before they close an idle connection: it answers nobody."""
    for ending in (fin(), silence()):
        script = on(request(), send(GOOD_ANSWER), delay(0.03), send(last), ending)
        async with WireServer([script]) as server, client_for(server) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            await trio.sleep(0.06)
            await rows.check_after(client)
            assert len(server.peers) == 2


async def test_connection_close_is_heeded() -> None:
    for head in (OK + b"Connection: close\r\n", OK.replace(b"HTTP/1.1", b"HTTP/1.0")):
        async with WireServer([once(head, LENGTH, b"\r\n", MESSAGE)]) as server, client_for(server) as client:
            assert (await rows.read_to_end(client)).text == TEXT
            assert client.statistics().idle == 0
            await server.closed(0)
            await rows.check_after(client)
            assert len(server.peers) == 2


async def test_http_1_0_keep_alive() -> None:
    head = OK.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\n"
    async with WireServer([once(head, LENGTH, b"\r\n", MESSAGE)]) as server, client_for(server) as client:
        assert (await rows.read_to_end(client)).text == TEXT
        await rows.check_after(client)
        assert len(server.peers) == 1


async def test_the_last_chunk_comes_late() -> None:
    """Nobody waits for it on leaving; the next request reads it and uses the connection again."""
    script = on(request(), send(CHUNKED_HEAD, chunk(MESSAGE)), delay(0.02), send(LAST_CHUNK))
    async with WireServer([script]) as server:
        await expect_complete(server, within=0.2)
        assert len(server.peers) == 1


# Answers to requests that are still on their way.

LARGE: dict[str, Any] = {**PARAMS, "messages": [{"role": "user", "content": rows.PROMPT + "z" * 8_000_000}]}
TOO_LARGE = api_error(b"413 Content Too Large", "request_too_large")
TOO_LARGE_AND_CLOSE = api_error(b"413 Content Too Large", "request_too_large", b"Connection: close")

EARLY = {
    "and reads on": on(request_bytes(1000), send(TOO_LARGE)),
    "and never reads": on(send(TOO_LARGE), silence(), reads=False),
    "and FIN": on(request_bytes(1000), send(TOO_LARGE_AND_CLOSE), fin()),
    "and RST later": on(request_bytes(1000), send(TOO_LARGE_AND_CLOSE), delay(0.2), rst()),
    "and close without having read": on(send(TOO_LARGE_AND_CLOSE), delay(0.2), close(), reads=False),
}


@pytest.mark.parametrize("script", EARLY.values(), ids=EARLY)
async def test_413_while_8_mb_are_uploaded(script: Script) -> None:
    async with WireServer([script]) as server, client_for(server) as client:
        with trio.fail_after(1), pytest.raises(ts.ContentTooLargeError) as raised:
            await rows.read_to_end(client, **LARGE)
        check_error(raised.value, ts.ContentTooLargeError, "413", "request_too_large", partial=None)
        await rows.check_after(client)


async def test_100_while_8_mb_are_uploaded() -> None:
    script = on(request_bytes(1000), send(b"HTTP/1.1 100 Continue\r\n\r\n"), request(), send(GOOD_ANSWER))
    async with WireServer([script]) as server, client_for(server) as client:
        assert (await rows.read_to_end(client, **LARGE)).text == TEXT
        assert len(server.peers) == 1


@pytest.mark.parametrize("early", [0, 100_000], ids=["the head", "100 KB"])
async def test_200_while_8_mb_are_uploaded(early: int) -> None:
    """Some gateways send the head at once, and read the request after it: so it must still be sent."""
    half = len(MESSAGE) // 2
    script = on(
        send(CHUNKED_HEAD, chunk(b": nothing\n" * (early // 10) + MESSAGE[:half])),
        delay(0.5),
        begin_to_read(),
        request(),
        send(chunk(MESSAGE[half:]), LAST_CHUNK),
        reads=False,
    )
    async with WireServer([script]) as server, client_for(server) as client:
        assert (await rows.read_to_end(client, **LARGE)).text == TEXT
        await rows.check_after(client)
        assert len(server.peers) == 1


@pytest.mark.parametrize("ending", [rst(), fin()], ids=["RST", "FIN"])
async def test_lost_while_8_mb_are_uploaded(ending: Any) -> None:
    async with WireServer([on(delay(0.05), ending, delay(0.3), reads=False)]) as server, client_for(server) as client:
        with trio.fail_after(1), pytest.raises(ts.APIConnectionError) as raised:
            await rows.read_to_end(client, **LARGE)
        check_error(raised.value, ts.APIConnectionError, f"127.0.0.1:{server.port}", partial=None, cause=Exception)
        assert not raised.value.may_have_been_accepted
        await rows.check_after(client)


# Bodies of errors.

ERROR_BODIES = {
    "nested 200,000 deep": b'{"error":' * 200_000,
    "lists nested 200,000 deep": b"[" * 200_000,
    "error is a list": b'{"type":"error","error":[1,2]}',
    "error is null": b'{"type":"error","error":null}',
    "error is a string": b'{"error":"no such luck"}',
    "fields of other types": b'{"error":{"type":5,"message":["x"],"details":"y"},"request_id":{}}',
    "a list": b"[1,2,3]",
    "a number": b"1e999",
    "a lone surrogate": b'{"error":{"type":"api_error","message":"\\ud800 half"}}',
    "NUL": b'{"error":{"type":"api_error","message":"a\\u0000b"}}',
    "lines and escapes": b'{"error":{"type":"api_error","message":"a\\nb\\r\\u001b[31m\\u202e"}}',
    "message of 500 KB": json.dumps({"error": {"type": "api_error", "message": "\N{SNOWMAN}" * 150_000}}).encode(),
    "type of 500 KB": json.dumps({"error": {"type": "t" * 500_000, "message": "x"}}).encode(),
    "request id of 500 KB": json.dumps({"error": {"type": "t", "message": "x"}, "request_id": "r" * 500_000}).encode(),
    "error code of 500 KB": json.dumps({"error": {"type": "t", "details": {"error_code": "r" * 500_000}}}).encode(),
    "BOM": b'\xef\xbb\xbf{"error":{"type":"api_error","message":"x"}}',
    "UTF-16": '{"error":{"type":"api_error","message":"x"}}'.encode("utf-16"),
    "a page without end tags": b"<html><title>" + b"<script>" * 50_000,
    "a page of <": b"<" * 900_000,
    "two values": b'{"a":1}{"b":2}',
}


@pytest.mark.parametrize("body", ERROR_BODIES.values(), ids=ERROR_BODIES)
async def test_error_bodies(body: bytes) -> None:
    for status in (b"500 Internal Server Error", b"200 OK"):
        async with WireServer([once(sized(body, status=status, content_type=b"application/json"))]) as server:
            error = await expect_error(server, ts.APIError, within=1, closed_by_client=False)
            if status != b"200 OK":
                assert type(error) is ts.InternalServerError
                assert error.status_code == 500
                (error.api_message or "").encode()
            str(error).encode()
            assert str(error).isprintable()


# The other call that asks for JSON.


async def count(client: ts.Client) -> int:
    counted = await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
    return counted.input_tokens


COUNTED = sized(b'{"input_tokens": 7}', content_type=b"application/json")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (sized(b"<html>", content_type=b"text/html"), ts.InvalidResponseError),
        (sized(b'{"input_tokens": "7"}', content_type=b"application/json"), ts.InvalidResponseError),
        (sized(b'{"input_tokens": 7', content_type=b"application/json"), ts.InvalidResponseError),
        (sized(b'{"input_tokens": "\xff"}', content_type=b"application/json"), ts.InvalidResponseError),
        (sized(b"[" * 200_000, content_type=b"application/json"), ts.InvalidResponseError),
        (sized(b"{}", b"Content-Encoding: br"), ts.InvalidResponseError),
        (GOOD_ANSWER, ts.InvalidResponseError),
        (api_error(b"429 Too Many Requests", "rate_limit_error"), ts.RateLimitError),
        (sized(b"", b"Location: http://example.com/", status=b"302 Found"), ts.APIStatusError),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", ts.InvalidResponseError),
    ],
    ids=["page", "text", "cut", "not UTF-8", "deep", "br", "stream", "429", "302", "200 KB header"],
)
async def test_count_tokens(answer: bytes, kind: type[ts.APIError]) -> None:
    scripts = [on(request(), send(answer)), on(request(), send(COUNTED))]
    async with WireServer(scripts, then=scripts[1]) as server:
        async with client_for(server) as client:
            with pytest.raises(ts.APIError) as raised:
                await count(client)
            check_error(raised.value, kind, partial=None)
            assert client.statistics().active == 0
        async with client_for(server) as client:
            assert await count(client) == 7


async def test_count_tokens_keeps_the_status_of_an_error_that_stalls() -> None:
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\nnot all"
    for timeouts in (ts.Timeouts(silence=CLOCK), ts.Timeouts(first_event=CLOCK), ts.Timeouts(total=CLOCK)):
        async with WireServer([on(request(), send(head), silence())]) as server:
            async with client_for(server, timeout=timeouts) as client:
                began = trio.current_time()
                with pytest.raises(ts.InternalServerError, match="500"):
                    await count(client)
                assert trio.current_time() - began < CLOCK + SLACK
            await server.closed(0)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"], ids=["no head", "cut"])
async def test_count_tokens_waits_no_longer_than_its_clocks(head: bytes) -> None:
    clocks: list[tuple[type[ts.APITimeoutError], ts.Timeouts]] = [
        (ts.FirstEventTimeoutError, ts.Timeouts(first_event=CLOCK)),
        (ts.TotalTimeoutError, ts.Timeouts(total=CLOCK)),
    ]
    for kind, timeouts in clocks:
        async with WireServer([on(request(), send(head), silence())]) as server:
            async with client_for(server, timeout=timeouts) as client:
                began = trio.current_time()
                with pytest.raises(kind) as raised:
                    await count(client)
                assert CLOCK <= trio.current_time() - began < CLOCK + SLACK
                check_error(raised.value, kind, kind.clock, partial=None)
                assert raised.value.seconds == CLOCK
                assert client.statistics().active == 0
            await server.closed(0)
