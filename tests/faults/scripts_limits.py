"""What the fault server does to the official SDK in each row: limits, secrets and TLS, cancellation.

What belongs here: the rows of these sections; see `scripts`.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

from tests.faults.scripts import CUT, MB, Row, measured
from tests.faults.sdk_seen import (
    Seen,
    Verdict,
    all_of,
    caused,
    complete,
    connections,
    either,
    error,
    grown,
    left,
    own,
    requests,
    says,
    says_any,
    tidy,
    usable,
    within,
)
from tests.faults.test_limits import COMMENT, TOOL, bomb
from tests.soak.form import in_packets
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, OK, api_error, chunk, chunked, sse
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
from tests.wire.server import Peer, Script, delay, on, once, repeat, request, request_bytes, send, silence

REFUSED = all_of(error(), grown(32 * MB))


def whole(length: int, seconds: float, most: float) -> Verdict:
    """A whole message of so much text, in time, for so much memory."""

    def verdict(seen: Seen) -> str:
        report = seen.report
        if report is None:
            return "hangs"
        if seen.error is not None:
            return "failed"
        got = report.get("text_length", len(report.get("text") or ""))
        return "" if got == length else f"{got} characters"

    return all_of(verdict, within(seconds), grown(most))


def one_mb_of_tool_input() -> bytes:
    """In 32-byte deltas."""
    written = '{"content": "' + "x" * (MB - 15) + '"}'
    deltas = [json_delta(written[i : i + 32]) for i in range(0, len(written), 32)]
    events = [message_start(), block_start(0, TOOL), *deltas, block_stop(), message_delta("tool_use"), message_stop()]
    return CHUNKED_HEAD + chunked(sse(*events), last=True)


def bombed(coding: bytes, body: bytes) -> bytes:
    """A bomb as an answer."""
    head = OK + b"Content-Encoding: " + coding + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunked(body, last=True)


BEGUN = send(CHUNKED_HEAD, chunked(*BEGIN, text_delta(TEXT), b"data: "))
ENDLESS_LINE = all_of(REFUSED, within(3))

LIMITS: dict[str, Row] = {
    "100 MB line without a newline": measured(ENDLESS_LINE, BEGUN, repeat(chunk(b"x" * MB), times=100), seconds=12),
    "500 MB line": measured(ENDLESS_LINE, BEGUN, repeat(chunk(b"x" * MB), times=500), seconds=12),
    **{
        fault: measured(
            whole(len(TEXT), seconds, most),
            send(CHUNKED_HEAD),
            repeat(chunk(COMMENT * (MB // len(COMMENT))), times=megabytes),
            send(chunked(*message_events(), last=True)),
            seconds=15,
        )
        for fault, megabytes, seconds, most in (
            ("5 MB of comments without a blank line", 5, 1, 32 * MB),
            ("20 MB of comments", 20, 3, 8 * MB),
        )
    },
    "100 MB of correct text deltas": measured(
        either(whole(100 * MB, 10, 10**10), error(within(10))),
        send(CHUNKED_HEAD, chunked(*BEGIN)),
        repeat(chunked(sse(text_delta("x" * 10_000)) * 100), times=100),
        send(chunked(*END, last=True)),
        seconds=25,
    ),
    "100 000 small deltas": measured(
        whole(500_000, 4, 32 * MB),
        send(CHUNKED_HEAD, chunked(*BEGIN)),
        repeat(chunked(sse(text_delta("word ")) * 1000), times=100),
        send(chunked(*END, last=True)),
        seconds=25,
    ),
    "1 MB of tool JSON in 32-byte deltas": measured(whole(0, 3, 32 * MB), send(one_mb_of_tool_input()), seconds=30),
    "gzip bomb 1 GB as lines (2 MB on the wire)": measured(
        all_of(either(REFUSED, whole(0, 10, 32 * MB)), within(10)), send(bombed(b"gzip", bomb())), seconds=30
    ),
    "nested gzip bomb 2 GB (25 KB on the wire)": measured(
        either(REFUSED, whole(0, 30, 32 * MB)),
        send(bombed(b"gzip, gzip", gzip.compress(bomb() * 2, 9))),
        seconds=30,
    ),
}


def refused_when_made(seen: Seen) -> str:
    """No client with such a key."""
    assert seen.report is not None
    if seen.report.get("made"):
        return "the client is made" + (", and the key shown" if (seen.error or {}).get("secret_in_sentence") else "")
    return own(seen)


def stripped(seen: Seen) -> str:
    """The blanks are gone, or the key is refused without echo."""
    assert seen.report is not None
    assert seen.server is not None
    if seen.error is not None:
        return own(seen)
    sent = seen.server.requests[0].headers["x-api-key"]
    return "" if sent == sent.strip() else "sent with its blanks"


def authentication(seen: Seen) -> str:
    """A clear error, and no connection."""
    assert seen.server is not None
    if seen.server.peers:
        return "a connection was made"
    return own(seen) or says_any("api_key", "auth")(seen)


def reason(*words: str) -> Verdict:
    """Refused once, with the reason in the text."""
    return all_of(error(), says_any(*words), requests(0), connections(1))


def nothing_logged(seen: Seen) -> str:
    """The key is in no line."""
    assert seen.report is not None
    return "the key is in the log" if seen.report["secret_logged"] else ""


TLS_JOB = {"do": "stream", "retries": 2, "then": False}

SECRETS: dict[str, Row] = {
    "api key with CR LF": Row(
        refused_when_made, job={"do": "client", "key": "sk-fault-key-that-nobody-may-see\r\nx-evil: 1", "retries": 2}
    ),
    "api key with blanks around it": Row(
        all_of(tidy, stripped), job={"do": "client", "key": "  sk-fault-key-that-nobody-may-see "}
    ),
    "empty api key": Row(authentication, job={"do": "client", "key": ""}),
    "TLS with a private CA": Row(complete(), server={"tls": "good"}),
    "TLS selfsigned": Row(reason("certificate", "self"), server={"tls": "selfsigned"}, job=TLS_JOB),
    "TLS expired": Row(reason("certificate", "expired"), server={"tls": "expired"}, job=TLS_JOB),
    "TLS plain": Row(
        reason("tls", "ssl", "handshake"),
        then=on(request_bytes(1), send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), silence()),
        server={"scheme": "https"},
        job=TLS_JOB,
    ),
    "TLS handshake never answered": Row(
        error(within(2.5), says_any("connect", "handshake", "timed out")),
        then=on(silence()),
        server={"scheme": "https"},
        job={"do": "stream", "then": False},
    ),
    "connection refused": Row(
        error(says("127.0.0.1"), caused), server={"port": "refused"}, job={"do": "stream", "then": False}
    ),
    "SYN never answered": Row(
        error(within(2.5), says_any("connect", "timed out")),
        server={"port": "unanswered"},
        job={"do": "stream", "then": False},
    ),
    "TLS 1.3: the server refuses the client's certificate after the handshake": Row(
        reason("certificate"), server={"tls": "demanding"}, job=TLS_JOB
    ),
    "good stream, DEBUG logs on": Row(complete(TEXT, nothing_logged), job={"do": "stream", "logs": True}),
}


FLOOD = repeat(chunked(text_delta("more ")) * 200)
TRIES = 5


def cancelled(
    *scripts: Script,
    after: float = 0.3,
    most: float = 0.01,
    look: bool = True,
    server: dict[str, Any] | None = None,
    **job: Any,
) -> Row:
    """Cancel a stream from a sibling some time after it began."""
    return Row(
        left(most, look=look),
        scripts,
        job={"do": "cancel", "after": after, "timeout": 30, **job},
        server=server or {},
        tries=TRIES,
    )


def both(*rows: Row) -> Sequence[Row]:
    """A row of several runs, each of which must be passed."""
    return rows


def leaving(how: str, script: Script | None = None, **server: Any) -> Row:
    """Leave the block in one way. Only the rows of those who leave without a cancel speak of warnings."""
    verdict = left(1, then=usable if how in ("cancelled", "past") else tidy)
    if how == "exception":
        verdict = all_of(verdict, itself)
    return Row(
        verdict,
        [script or on(request(), CUT, silence())],
        job={"do": "leave", "how": how, "timeout": 30},
        server=server,
        tries=TRIES,
    )


def itself(seen: Seen) -> str:
    """The program's own exception is what leaves the block."""
    assert seen.report is not None
    return "" if seen.report["itself"] else "another exception"


def in_time(seen: Seen) -> str:
    """All hundred are closed at the server in time; `matrix` counts from the cancel."""
    if seen.report is None:
        return "hangs"
    if seen.closed_after is None:
        return "not all were closed"
    return "" if seen.closed_after <= 0.1 else f"the last one closed after {seen.closed_after * 1000:.0f} ms"


def slot_is_free(seen: Seen) -> str:
    """The one that was not cancelled got its message."""
    assert seen.report is not None
    return "" if seen.report["texts"] == [TEXT, TEXT] else "the other did not get its message"


def nothing_open(seen: Seen) -> str:
    """What a call returned is not an open connection that is dropped."""
    assert seen.report is not None
    if seen.report["open"]:
        return "an open connection that the garbage collector must close"
    return ""


def checkpoints(seen: Seen) -> str:
    """All are."""
    if seen.report is None:
        return "hangs"
    if seen.report.get("broken"):
        return "the run failed"
    missing = seen.report["missing"]
    return f"no checkpoint: {', '.join(missing)}" if missing else ""


def steps(keep: bool, **server: Any) -> Row:
    """Cancel at every scheduler step."""
    job = {"do": "steps", "keep": keep, "timeout": 2}
    return Row(all_of(no_error, tidy, nothing_leaked), then=in_packets(), job=job, server=server, seconds=90)


def nothing_leaked(seen: Seen) -> str:
    """The client's close closed everything."""
    report = seen.report
    if report is None or not report["sockets"]:
        return ""
    return f"cancelled at step {report['step']}, {report['sockets']} sockets outlive the client"


def no_error(seen: Seen) -> str:
    """No other request failed."""
    return f"failed at step {(seen.report or {}).get('step')}" if seen.error is not None else ""


def churned(workers: int, pool: int, **server: Any) -> Row:
    """Random cancels."""

    def verdict(seen: Seen) -> str:
        report = seen.report
        if report is None:
            return "hangs"
        complaint = tidy(seen)
        if complaint:
            return f"after {report['cancels']} cancels: {complaint}"
        return f"{report['sockets']} sockets for {pool}" if report["sockets"] > pool else ""

    job = {"do": "churn", "workers": workers, "pool": pool, "seconds": CHURN_SECONDS, "timeout": 30}
    return Row(verdict, then=in_packets(), job=job, server=server, seconds=CHURN_SECONDS + 20)


CHURN_SECONDS = 20.0


async def _drips(peer: Peer) -> None:
    while True:
        await peer.request()
        for part in (CHUNKED_HEAD, *map(chunk, message_events()), LAST_CHUNK):
            await peer.send(part)


ERROR_HEAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\nwrong: "
IDLE = on(request(), CUT, silence())
BUSY = on(request(), CUT, FLOOD)
TLS = {"tls": "good"}

CANCELLATION: dict[str, Row | Sequence[Row]] = {
    "a cancel while connecting (SYN unanswered)": cancelled(look=False, server={"port": "unanswered"}, then=False),
    "a2 cancel in the TLS handshake": cancelled(on(silence()), server={"scheme": "https"}, then=False),
    "b cancel while waiting for headers": both(
        cancelled(on(request(), silence())), cancelled(on(request(), silence()), server=TLS)
    ),
    "c cancel while reading (idle, busy, TLS)": both(cancelled(IDLE), cancelled(BUSY), cancelled(IDLE, server=TLS)),
    "d __aexit__ in an already cancelled scope (and deadline -inf)": both(
        leaving("cancelled"), leaving("past"), leaving("cancelled", tls="good")
    ),
    "e break / return without reading": both(leaving("break"), leaving("return"), leaving("break", tls="good")),
    "f exception in the body": both(leaving("exception"), leaving("exception", tls="good")),
    "g 100 sibling streams cancelled": Row(
        all_of(in_time, tidy),
        then=IDLE,
        job={"do": "siblings", "after": 3.0, "pool": 200, "timeout": 30, "then": False},
        server={"all": True},
        seconds=25,
        tries=2,
    ),
    "g2 20 siblings on a pool of 2, 50 rounds": Row(
        tidy, then=on(_drips), job={"do": "rounds", "pool": 2, "timeout": 5, "slower": 4}, seconds=60
    ),
    "h KeyboardInterrupt (SIGINT) idle and busy, 10 of 10": both(
        *(Row(tidy, then=script, job={"do": "interrupt", "timeout": 30}) for script in (IDLE, BUSY))
    ),
    "i stream object cannot exist without `async with`": Row(
        all_of(nothing_open, tidy), [IDLE], job={"do": "open_stream", "timeout": 30}
    ),
    "j manager made and never entered": Row(tidy, job={"do": "never_entered"}),
    "k cancel in the retry sleep": cancelled(
        once(api_error(b"529 Overloaded", "overloaded_error", b"retry-after: 30")), look=False, retries=2
    ),
    "m cancel while uploading": cancelled(on(delay(2), reads=False), most=0.02, look=False, megabytes=16, then=False),
    "n cancel while waiting for a free slot": Row(
        all_of(slot_is_free, left(look=False)),
        [on(request(), CUT, delay(0.6), send(chunked(*END, last=True)))],
        job={"do": "slot", "timeout": 30},
        tries=TRIES,
    ),
    "o cancel while reading an error body": cancelled(on(request(), send(ERROR_HEAD), silence())),
    "x cancel at EVERY scheduler step (before/after), HTTP, keep-alive and TLS, pool of 1": both(
        steps(keep=False), steps(keep=True), steps(keep=False, tls="good"), steps(keep=True, tls="good")
    ),
    "y churn: 20 s of random cancels (0-12 ms), 12 workers / pool 2 and 20 / 10, HTTP and TLS": both(
        churned(12, 2), churned(20, 10), churned(12, 2, tls="good"), churned(20, 10, tls="good")
    ),
    "`assert_checkpoints` on every public async function": Row(
        all_of(checkpoints, tidy), job={"do": "checkpoints", "pool": 5}, then=in_packets(0)
    ),
}
