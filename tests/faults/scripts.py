"""What the fault server does to the official SDK in each row, and what the SDK is to do: transport, HTTP, framing.

What belongs here: the rows of these sections. What does not: those of the other sections (`scripts_messages`,
`scripts_limits`), what "complete" or "failed" means (`sdk_seen`), and running any of it (`matrix`). The bytes are
those of this library's own tests, at the matrix's own sizes and times.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field as value_of
from typing import Any

from tests.faults.sdk_seen import (
    Seen,
    Verdict,
    all_of,
    caused,
    closed,
    complete,
    connections,
    either,
    error,
    failed,
    field,
    grown,
    of_class,
    requests,
    says,
    short,
    status,
    within,
)
from tests.faults.test_http import NOT_HTTP
from tests.wire.answers import (
    CHUNKED_HEAD,
    CLOSE_HEAD,
    GOOD_ANSWER,
    LAST_CHUNK,
    MESSAGE,
    OK,
    api_error,
    chunk,
    chunked,
    event,
    sized,
    sse,
    swelling_gzip,
)
from tests.wire.events import (
    BEGIN,
    CUT_EVENTS,
    DELTAS,
    END,
    PIECES,
    PING,
    TEXT,
    error_event,
    message_events,
    text_delta,
)
from tests.wire.server import (
    GOOD,
    Script,
    Step,
    answering,
    delay,
    drip,
    fin,
    on,
    once,
    repeat,
    request,
    rst,
    send,
    silence,
)

MB = 1_000_000


@dataclass(frozen=True)
class Row:
    """One row for the SDK.

    Args:
      verdict: Why what was seen is not what the row requires, "" if it is.
      scripts: Of the server's connections, one after another; or made from the port of a second server.
      then: Of all further ones.
      job: What the SDK is to do (`sdk_runner`), and its options.
      server: Of the fault server: ``tls`` (the name of a certificate) or ``scheme``; or ``port`` for none at all.
      seconds: How long the SDK's process may take.
      tries: The best of so many counts, where milliseconds do.
    """

    verdict: Verdict
    scripts: Sequence[Script] | Callable[[int], Sequence[Script]] = ()
    then: Script = GOOD
    job: dict[str, Any] = value_of(default_factory=lambda: {"do": "stream"})
    server: dict[str, Any] = value_of(default_factory=dict)
    seconds: float = 8.0
    tries: int = 1


def row(verdict: Verdict, *steps: Step, **job: Any) -> Row:
    """Stream once from a connection that does these steps."""
    return Row(verdict, [on(*steps)], job={"do": "stream", **job})


def answered(verdict: Verdict, *parts: bytes, **job: Any) -> Row:
    """Stream once from a good connection whose first answer is this."""
    return Row(verdict, [once(*parts)], job={"do": "stream", **job})


def measured(verdict: Verdict, *steps: Step, seconds: float = 40.0) -> Row:
    """Stream the standard message first, and then, on the same connection, from what these steps answer."""
    scripts = [on(request(), send(GOOD_ANSWER), request(), *steps)]
    # The clocks are the SDK's own: a limit of its own would have to end it.
    return Row(verdict, scripts, job={"do": "stream", "warm": True, "then": False, "timeout": 600}, seconds=seconds)


CUT = send(CHUNKED_HEAD, chunked(*CUT_EVENTS))
SHORT = sse(*BEGIN, DELTAS[0], *END)

TRANSPORT: dict[str, Row] = {
    "clean chunked EOF after 3 deltas, no message_stop": row(failed(), request(), CUT, send(LAST_CHUNK)),
    "EOF after message_delta, only message_stop missing": answered(
        failed(), CHUNKED_HEAD, chunked(*message_events()[:-1], last=True)
    ),
    "200 event-stream with empty body": answered(error(), CHUNKED_HEAD, LAST_CHUNK),
    "pings, then EOF": answered(error(), CHUNKED_HEAD, chunked(sse(PING) * 3, last=True)),
    "message_stop without its blank line, EOF": answered(complete(), CHUNKED_HEAD, chunked(MESSAGE[:-1], last=True)),
    "no length, no chunking, FIN after 3 deltas": row(failed(), request(), send(CLOSE_HEAD, sse(*CUT_EVENTS)), fin()),
    "content-length larger than the body, FIN": row(
        failed(), request(), send(OK + b"Content-Length: 100000\r\n\r\n", sse(*CUT_EVENTS)), fin()
    ),
    "FIN in the middle of a chunk": row(failed(), request(), CUT, send(b"40\r\nevent: content_bl"), fin()),
    "FIN after message_stop instead of the last chunk": row(
        complete(), request(), send(CHUNKED_HEAD, chunk(MESSAGE)), fin()
    ),
    "RST in the middle of an event": row(
        error(lambda seen: "" if seen.report and seen.report["text"] == TEXT else "text lost"),
        request(),
        CUT,
        send(chunk(b"event: content_bl")),
        delay(0.1),
        rst(),
    ),
    "fin before headers": row(error(says("accepted"), caused), request(), fin()),
    "rst before headers": row(error(says("accepted"), caused), request(), rst()),
    "silence mid-stream, idle timeout 2 s": row(failed(within(2.5)), request(), CUT, silence()),
    "headers, then silence, 2 s": row(error(closed, within(2.5)), request(), send(CHUNKED_HEAD), silence()),
    "only pings for ever (0.5 s), timeout 2 s": row(
        failed(within(2.5)), request(), CUT, repeat(chunk(PING), seconds=0.5)
    ),
    "only comment lines for ever, timeout 2 s": row(
        failed(within(2.5)), request(), CUT, repeat(chunk(b": nothing\n\n"), seconds=0.5)
    ),
    "message_stop, then the body never ends": row(
        complete(TEXT, within(0.5)), request(), send(CHUNKED_HEAD, chunk(MESSAGE)), silence()
    ),
    "one byte every 2 ms": Row(
        complete(PIECES[0]),
        [on(request(), send(CHUNKED_HEAD), drip(chunk(SHORT) + LAST_CHUNK, seconds=0.002))],
        seconds=20,
    ),
    "HTTP/1.0 close-delimited, complete": row(
        complete(), request(), send(CLOSE_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), MESSAGE), fin()
    ),
    "server never reads the 64 MB request": Row(
        error(within(3.5)),
        [on(delay(6), reads=False)],
        job={"do": "stream", "megabytes": 64, "then": False},
        seconds=12,
    ),
}


JSON = b"application/json"
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<center>nginx</center>\n" * 5000
PORTAL = b"<html><title>Hotel WLAN</title><body>Please log in\n" + b"<p>room</p>" * 10_000
WHOLE_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
HEAD_500 = b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
OTHER_ANSWER = CHUNKED_HEAD + chunked(*message_events(["somebody else's answer"]), last=True)


def encoded(encoding: bytes, body: bytes) -> bytes:
    """An answer with a content-encoding."""
    return sized(body, b"Content-Encoding: " + encoding, content_type=b"text/event-stream")


def json_error(code: int, reason: str, kind: str, name: str) -> Row:
    """An error as the API gives it."""
    verdict = error(of_class(name), status(code), field("type", kind), field("request_id", "req_fault"))
    return answered(verdict, api_error(f"{code} {reason}".encode(), kind))


def other_error(code: int, body: bytes, content_type: bytes | None, *more: bytes) -> Row:
    """An error as something in between gives it."""
    answer = sized(body, *more, status=b"%d Some Status" % code, content_type=content_type)
    return answered(error(status(code), short), answer)


def same_connection(verdict: Verdict, *scripts: Script, between: float = 0.1, **job: Any) -> Row:
    """Two streams, the second one a little later."""
    return Row(verdict, list(scripts), job={"do": "stream", "between": between, **job})


def redirect(code: int) -> Row:
    """To another host."""

    def scripts(port: int) -> Sequence[Script]:
        location = b"Location: http://127.0.0.1:%d/v1/messages" % port
        return [once(sized(b"", location, status=b"%d Moved" % code))]

    return Row(all_of(not_followed, error(status(code), names_the_target)), scripts)


def not_followed(seen: Seen) -> str:
    """The other host saw no request."""
    assert seen.other is not None
    return "followed: the other host got the request" if seen.other.peers else ""


def names_the_target(seen: Seen) -> str:
    """The error says where it was to go."""
    assert seen.error is not None
    assert seen.other is not None
    return "" if str(seen.other.port) in seen.error["sentence"] else "does not name the target"


def second_is_standard(count: int) -> Verdict:
    """Both messages are the standard one, on so many connections."""
    return complete(TEXT, connections(count))


def second_failed(*words: str) -> Verdict:
    """The second stream failed with an error of the SDK's own, which names these."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        failure = seen.report["then"]["error"]
        if failure is None:
            return "the second stream completed"
        if not failure.get("own"):
            return f"not its own: {failure.get('module', failure['class'])}"
        missing = [word for word in words if word not in failure["sentence"].lower()]
        return f"does not name {missing[0]!r}" if missing else ""

    return verdict


ZIPPED_HEAD = CHUNKED_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")


ZIPPED_404 = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
)


def flushed_pieces() -> list[bytes]:
    """The standard message as one gzip stream, an event in each piece."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(sse(piece)) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in message_events()]
    return [*pieces, packer.flush()]


HTTP: dict[str, Row | list[Row]] = {
    "200 application/json with an error object": answered(
        error(says("What the API says")), api_error(b"200 OK", "overloaded_error")
    ),
    "200 application/json with a whole message": answered(
        complete(), sized(json.dumps(WHOLE_MESSAGE).encode(), content_type=JSON)
    ),
    "200 text/html (captive portal)": answered(
        error(says("text/html"), short), sized(PORTAL, content_type=b"text/html; charset=utf-8")
    ),
    "SSE without content-type": answered(
        complete(), b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MESSAGE), MESSAGE
    ),
    "status 400, JSON error": json_error(400, "Bad Request", "invalid_request_error", "BadRequest"),
    "status 401, JSON error": json_error(401, "Unauthorized", "authentication_error", "Authentication"),
    "status 403, JSON error": json_error(403, "Forbidden", "permission_error", "Permission"),
    "status 404, JSON error": json_error(404, "Not Found", "not_found_error", "NotFound"),
    "status 413, JSON error": json_error(413, "Content Too Large", "request_too_large", "TooLarge"),
    "status 429, JSON error": json_error(429, "Too Many Requests", "rate_limit_error", "RateLimit"),
    "status 500, JSON error": json_error(500, "Internal Server Error", "api_error", "InternalServer"),
    "status 529, JSON error": json_error(529, "Overloaded", "overloaded_error", "Overloaded"),
    "502 HTML": other_error(502, PAGE, b"text/html"),
    "503 plain text": other_error(503, b"no healthy upstream\n" * 1000, b"text/plain"),
    "500 empty": other_error(500, b"", None),
    "500 invalid UTF-8": other_error(500, b"\xff\xfe\xc3(" * 1000, b"text/plain"),
    "418": other_error(418, b"short and stout", b"text/plain"),
    "400 with an SSE body": other_error(400, sse(error_event("invalid_request_error")), b"text/event-stream"),
    "500 with a 200 MB body": measured(
        error(status(500), short, grown(20 * MB)),
        send(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % (200 * MB)),
        repeat(b"e" * MB, times=200),
    ),
    "500 with a 1.5 GB chunked body": measured(
        error(status(500), grown(20 * MB), within(3)),
        send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"),
        repeat(chunk(b"e" * MB), times=1500),
        seconds=12,
    ),
    "500, then the body stalls": row(
        error(status(500), within(2.5)), request(), send(HEAD_500, b'{"type":"error"'), silence()
    ),
    "500, body shorter than content-length": row(
        error(status(500)), request(), send(HEAD_500, b'{"type":"error","error":{"type":"api_error"}}'), fin()
    ),
    "299 with JSON": answered(error(), sized(b'{"well":"done"}', status=b"299 Fine", content_type=JSON)),
    **{f"{code} to another host": redirect(code) for code in (301, 302, 303, 307, 308)},
    "307 to itself": Row(
        error(requests(1)),
        then=answering(sized(b"", b"Location: /v1/messages", status=b"307 Temporary Redirect")),
        job={"do": "stream", "then": False},
    ),
    "100 and 103 before the answer": answered(complete(), INTERIM, GOOD_ANSWER),
    "endless 103, timeout 2 s": row(
        error(within(2.5)), request(), repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", seconds=0.25)
    ),
    "101 Switching Protocols": row(
        error(within(2.5)),
        request(),
        send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"),
        silence(),
    ),
    "headers never arrive, 2 s, two retries allowed": Row(
        error(within(2.5), requests(1)),
        then=on(request(), silence()),
        job={"do": "stream", "retries": 2, "then": False},
        seconds=12,
    ),
    "headers never arrive, 2 s": row(error(within(2.5)), request(), silence()),
    "header bytes dripped for ever": row(
        error(within(2.5)), request(), send(OK + b"x-slow: "), repeat(b"x", seconds=0.05)
    ),
    "200 KB header": answered(error(), OK, b"x-large: " + b"a" * 200_000, b"\r\n\r\n"),
    "endless header lines": measured(
        error(grown(20 * MB)),
        send(OK),
        repeat(b"".join(b"x-%d: %b\r\n" % (i, b"a" * 60) for i in range(10_000))),
        seconds=12,
    ),
    "not HTTP": row(error(within(2.5)), request(), send(NOT_HTTP["SSH"]), silence()),
    "chunk size is not hex": answered(failed(), CHUNKED_HEAD, chunked(*CUT_EVENTS), b"xyz\r\nevent"),
    "trailers after the last chunk": answered(complete(), CHUNKED_HEAD, chunk(MESSAGE), b"0\r\nx-trailer: 1\r\n\r\n"),
    "two different content-lengths": answered(
        error(),
        OK + b"Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(MESSAGE), len(MESSAGE) + 1),
        MESSAGE,
    ),
    "a second, unasked response on the same connection": same_connection(
        complete(), on(request(), send(GOOD_ANSWER), delay(0.05), send(OTHER_ANSWER))
    ),
    "two streams, one keep-alive connection": same_connection(second_is_standard(1)),
    "server closed the idle connection": same_connection(
        second_is_standard(2), on(request(), send(GOOD_ANSWER), fin())
    ),
    "RST for a request on a reused connection": [
        same_connection(
            all_of(second_failed(), requests(2)), on(request(), send(GOOD_ANSWER), request(), rst()), retries=0
        ),
        *(
            same_connection(complete(), on(request(), send(GOOD_ANSWER), request(), rst()), retries=retries)
            for retries in (1, 2)
        ),
    ],
    "server reads a whole request on a reused connection, works, closes, no retries": same_connection(
        all_of(second_failed("accepted"), requests(2)),
        on(request(), send(GOOD_ANSWER), request(), delay(0.4), fin()),
    ),
    "gzip SSE although not asked for": answered(complete(), encoded(b"gzip", gzip.compress(MESSAGE))),
    "gzip stream, each event as it comes": row(
        complete(), request(), send(ZIPPED_HEAD), *(send(chunk(piece)) for piece in flushed_pieces()), send(LAST_CHUNK)
    ),
    "gzip data that is none, or broken in the middle": answered(error(), encoded(b"gzip", MESSAGE)),
    "gzip or deflate body of an error": answered(
        error(says("What it says")),
        sized(
            gzip.compress(b'{"type": "error", "error": {"type": "not_found_error", "message": "What it says"}}'),
            b"Content-Encoding: gzip",
            status=b"404 Not Found",
            content_type=JSON,
        ),
    ),
    "gzip bomb: 1 GB of one event, of comments, in an error": [
        measured(error(grown(20 * MB)), send(encoded(b"gzip", swelling_gzip(b"data: ", bytes(MB), 1000)))),
        measured(
            error(grown(20 * MB)), send(encoded(b"gzip", swelling_gzip(b"", b": nothing\n\n" * (MB // 11), 1000)))
        ),
        measured(
            error(status(404), short, grown(20 * MB)), send(ZIPPED_404, swelling_gzip(b"", bytes(MB), 1000)), fin()
        ),
    ],
    "gzip answer to count_tokens": Row(
        lambda seen: "" if seen.report and seen.report.get("input_tokens") == 7 else "no count",
        [once(sized(gzip.compress(b'{"input_tokens": 7}'), b"Content-Encoding: gzip", content_type=JSON))],
        job={"do": "count"},
    ),
    "content-encoding: utf-8, none, empty": [
        answered(complete(), encoded(coding, MESSAGE)) for coding in (b"utf-8", b"none", b"")
    ],
    "transfer-encoding beside content-length": answered(
        complete(), OK, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(MESSAGE, last=True)
    ),
    "blanks after a chunk size": answered(
        complete(), CHUNKED_HEAD, b"%x  \r\n" % len(MESSAGE), MESSAGE, b"\r\n0\r\n\r\n"
    ),
    "bare LF in the head": answered(
        complete(), (OK + b"Content-Length: %d\r\n\r\n" % len(MESSAGE)).replace(b"\r\n", b"\n"), MESSAGE
    ),
    "obs-fold": answered(complete(), OK, b"X-Long: a\r\n  b\r\nContent-Length: %d\r\n\r\n" % len(MESSAGE), MESSAGE),
    "the same content-length twice": answered(
        complete(), OK, b"Content-Length: %d\r\n" % len(MESSAGE) * 2, b"\r\n", MESSAGE
    ),
    "transfer-encoding: chunked, chunked": answered(
        error(), OK, b"Transfer-Encoding: chunked, chunked\r\n\r\n", chunked(MESSAGE, last=True)
    ),
    "gzip stream cut": row(error(), request(), send(encoded(b"gzip", gzip.compress(MESSAGE)[:-20])), fin()),
    "unknown content-encoding": answered(error(says("x-own")), encoded(b"x-own", MESSAGE)),
}


FOREIGN = "héllo \N{SNOWMAN} 你好，世界 \N{GRINNING FACE} \N{LINE SEPARATOR}"


def framed(body: bytes, text: str = TEXT) -> Row:
    """The same message, framed in another way."""
    return answered(complete(text), CHUNKED_HEAD + chunk(body) + LAST_CHUNK)


def by_bytes(body: bytes, text: str = TEXT) -> Row:
    """Each byte is a chunk and a packet of its own."""
    chunks = b"".join(chunk(body[i : i + 1]) for i in range(len(body))) + LAST_CHUNK
    scripts = [on(request(), send(CHUNKED_HEAD), drip(chunks, size=len(chunk(b"x"))))]
    return Row(complete(text), scripts, seconds=20)


def with_ends(line_end: bytes) -> bytes:
    """The standard message with other line ends."""
    return MESSAGE.replace(b"\n", line_end)


def mixed() -> bytes:
    """All three kinds in turn."""
    lines = MESSAGE.split(b"\n")
    return b"".join(line + (b"\n", b"\r", b"\r\n")[i % 3] for i, line in enumerate(lines[:-1]))


def several_data_lines() -> bytes:
    """Each event's JSON over several lines."""
    events = []
    for each in map(sse, message_events()):
        name, _, data = each.rstrip(b"\n").partition(b"\ndata: ")
        pretty = json.dumps(json.loads(data), indent=1).encode()
        events.append(name + b"".join(b"\ndata: " + line for line in pretty.split(b"\n")) + b"\n\n")
    return b"".join(events)


EMPTY_DATA = b"event: content_block_delta\ndata:\n\ndata\n\ndata: \n\nevent: message_stop\n\n"
OTHER_FIELDS = b": a comment\n:\nid: 5\nid\nretry: 3000\nretry: soon\nunknown: field\nunknown\n"
SEPARATED = "one\u2028two\u2029three\x85four"
RAW_SEPARATED = (
    f'{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{SEPARATED}"}}}}'.encode()
)

FRAMING: dict[str, Row] = {
    "CRLF": framed(with_ends(b"\r\n")),
    "CR": framed(with_ends(b"\r")),
    "LF, split at every byte": by_bytes(MESSAGE),
    "CRLF, split at every byte": by_bytes(with_ends(b"\r\n")),
    "CR, split at every byte": by_bytes(with_ends(b"\r")),
    "mixed line ends": framed(mixed()),
    "UTF-8 BOM first": framed(b"\xef\xbb\xbf" + MESSAGE),
    "extra blank lines": framed(b"\n\n\n" + MESSAGE.replace(b"\n\n", b"\n\n\n\n\n")),
    "no space after the colon": framed(MESSAGE.replace(b"event: ", b"event:").replace(b"data: ", b"data:")),
    "no event: lines (type comes from the JSON)": framed(
        b"\n".join(line for line in MESSAGE.split(b"\n") if not line.startswith(b"event:"))
    ),
    "id, retry, unknown fields, comments": framed(b"".join(OTHER_FIELDS + sse(each) for each in message_events())),
    "JSON over several data: lines": framed(several_data_lines()),
    "event with empty data": framed(EMPTY_DATA.join([b"", *map(sse, message_events()), b""])),
    "raw U+2028 U+2029 U+0085 in text": framed(
        sse(*BEGIN, event("content_block_delta", RAW_SEPARATED), *END), SEPARATED
    ),
    "emoji and CJK split at every byte": by_bytes(sse(*message_events([FOREIGN])), FOREIGN),
    "0xff inside JSON text": answered(
        either(complete(TEXT + "x\N{REPLACEMENT CHARACTER}"), failed()),
        CHUNKED_HEAD + chunk(sse(*CUT_EVENTS, sse(text_delta("?")).replace(b"?", b"x\xff"), *END)) + LAST_CHUNK,
    ),
    "0xff inside a comment": framed(b"".join(b": \xff\xfe\n" + sse(each) for each in message_events())),
}
