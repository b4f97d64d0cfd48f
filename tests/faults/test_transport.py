"""Fault matrix, section "Transport": the connection ends, breaks, or falls silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

import trio_stream as ts
from tests.faults import rows
from tests.faults.rows import (
    CLOCK,
    ENDLESS,
    PARAMS,
    SLACK,
    Section,
    check_error,
    client_for,
    expect_complete,
    expect_error,
    expect_incomplete,
)
from tests.wire.answers import CHUNKED_HEAD, CLOSE_HEAD, LAST_CHUNK, MESSAGE, OK, chunk, chunked, sized, sse
from tests.wire.events import (
    BEGIN,
    CUT_EVENTS,
    DELTAS,
    PIECES,
    PING,
    TEXT,
    block_stop,
    message_delta,
    message_events,
    message_stop,
)
from tests.wire.server import Step, WireServer, delay, drip, fin, on, once, repeat, request, rst, send, silence

TRANSPORT = Section("Transport")
row = TRANSPORT.row

CUT = send(CHUNKED_HEAD, chunked(*CUT_EVENTS))
"""A good head and the message up to its third delta."""

COMMENT = b": nothing\n\n"


# The end comes too early.


@row("clean chunked EOF after 3 deltas, no message_stop")
async def chunked_eof() -> None:
    async with WireServer([on(request(), CUT, send(LAST_CHUNK))]) as server:
        error = await expect_incomplete(server, "ended before message_stop", "5 events")
        assert error.request_id == "req_fault"


@row("EOF after message_delta, only message_stop missing")
async def eof_before_message_stop() -> None:
    async with WireServer([once(CHUNKED_HEAD, chunked(*message_events()[:-1], last=True))]) as server:
        error = await expect_incomplete(server, "ended before message_stop")
        assert error.partial is not None
        assert error.partial.stop_reason == "end_turn"
        assert error.partial.usage.output_tokens == 9


@row("200 event-stream with empty body", b"")
@row("pings, then EOF", sse(PING) * 3)
async def eof_before_the_message(body: bytes) -> None:
    for answer in (
        CHUNKED_HEAD + (chunk(body) if body else b"") + LAST_CHUNK,
        sized(body, content_type=b"text/event-stream"),
    ):
        async with WireServer([once(answer)]) as server:
            await expect_error(server, ts.IncompleteStreamError, "ended before message_stop, after 0 events")


@row("message_stop without its blank line, EOF")
async def eof_before_the_blank_line() -> None:
    # WHATWG, 9.2.6: "Once the end of the file is reached, any pending data must be discarded." But a whole message_stop
    # at the end of a whole body has no doubt about it.
    for whole in (MESSAGE[:-1], MESSAGE[:-2]):
        async with WireServer([once(CHUNKED_HEAD, chunked(whole, last=True))]) as server:
            await expect_complete(server)
    for cut in (MESSAGE[:-3], MESSAGE[:-20]):
        async with WireServer([once(CHUNKED_HEAD, chunked(cut, last=True))]) as server:
            error = await expect_incomplete(server, "ended before message_stop")
            assert error.partial is not None
            assert error.partial.stop_reason == "end_turn"
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(MESSAGE[:-1])), fin())]) as server:
        await expect_incomplete(server)  # the body was cut


@row("no length, no chunking, FIN after 3 deltas")
async def fin_without_length() -> None:
    async with WireServer([on(request(), send(CLOSE_HEAD, sse(*CUT_EVENTS)), fin())]) as server:
        await expect_incomplete(server, "ended before message_stop")


@row("content-length larger than the body, FIN")
async def fin_before_content_length() -> None:
    head = OK + b"Content-Length: 100000\r\n\r\n"
    async with WireServer([on(request(), send(head, sse(*CUT_EVENTS)), fin())]) as server:
        await expect_incomplete(server, "cut", "closed before the end of the body")


@row("FIN in the middle of a chunk")
async def fin_in_a_chunk() -> None:
    async with WireServer([on(request(), CUT, send(b"40\r\nevent: content_bl"), fin())]) as server:
        await expect_incomplete(server, "cut", "closed before the end of the body")


@row("FIN after message_stop instead of the last chunk")
async def fin_for_the_last_chunk() -> None:
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(MESSAGE)), fin())]) as server:
        await expect_complete(server)
        await server.closed(0)


@row("RST in the middle of an event")
async def rst_in_an_event() -> None:
    async with WireServer([on(request(), CUT, send(chunk(b"event: content_bl")), delay(0.05), rst())]) as server:
        await expect_incomplete(
            server,
            "reset by the server",
            "in the middle of the answer",
            kind=ts.APIConnectionError,
            cause=ConnectionResetError,
            closed_by_client=False,
        )


@row("fin before headers", fin(), True)
@row("rst before headers", rst(), False)
async def lost_before_headers(loss: Step, closed_by_client: bool) -> None:
    async with WireServer([on(request(), loss)]) as server:
        error = await expect_error(
            server,
            ts.APIConnectionError,
            f"127.0.0.1:{server.port}",
            "may have accepted the request",
            closed_by_client=closed_by_client,
        )
        assert error.may_have_been_accepted
        assert error.__cause__ is not None
        if not closed_by_client:
            assert "reset" in str(error)


# Silence.


@row("silence mid-stream, idle timeout 2 s")
async def silence_in_the_stream() -> None:
    async with WireServer([on(request(), CUT, silence())]) as server:
        timeouts = ts.Timeouts(silence=CLOCK)
        error = await expect_error(
            server,
            ts.SilenceTimeoutError,
            f"silence: not one byte for {CLOCK:g} s",
            partial=TEXT,
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=timeouts,
        )
        assert isinstance(error, trio.TooSlowError)
        assert error.seconds == CLOCK


@row("headers, then silence, 2 s")
async def silence_after_the_headers() -> None:
    clocks: list[tuple[type[ts.APITimeoutError], ts.Timeouts]] = [
        (ts.FirstEventTimeoutError, ts.Timeouts(first_event=CLOCK)),
        (ts.SilenceTimeoutError, ts.Timeouts(silence=CLOCK)),
        (ts.TotalTimeoutError, ts.Timeouts(total=CLOCK)),
    ]
    for kind, timeouts in clocks:
        async with WireServer([on(request(), send(CHUNKED_HEAD), silence())]) as server:
            error = await expect_error(
                server,
                kind,
                kind.clock,
                "may have accepted the request",
                not_before=CLOCK,
                within=CLOCK + SLACK,
                timeout=timeouts,
            )
            assert error.may_have_been_accepted
            assert error.seconds == CLOCK


@row("only pings for ever (0.5 s), timeout 2 s")
async def only_pings() -> None:
    pings = repeat(chunk(PING), seconds=CLOCK / 4)
    async with WireServer([on(request(), CUT, pings)]) as server:
        await expect_error(
            server,
            ts.StallTimeoutError,
            f"stall: no event other than ping for {CLOCK:g} s",
            partial=TEXT,
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=ts.Timeouts(stall=CLOCK, silence=CLOCK),
        )
    # From the start on: there is no event to count a gap from, but the first one has a clock of its own.
    async with WireServer([on(request(), send(CHUNKED_HEAD), pings)]) as server:
        await expect_error(
            server,
            ts.FirstEventTimeoutError,
            f"first_event: waited {CLOCK:g} s for the first event",
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=ts.Timeouts(first_event=CLOCK),
        )


@row("only comment lines for ever, timeout 2 s")
async def only_comments() -> None:
    comments = repeat(chunk(COMMENT), seconds=CLOCK / 4)
    async with WireServer([on(request(), CUT, comments)]) as server:
        await expect_error(
            server,
            ts.StallTimeoutError,
            "stall",
            partial=TEXT,
            not_before=CLOCK,
            within=CLOCK + SLACK,
            timeout=ENDLESS,
        )
    async with WireServer([on(request(), send(CHUNKED_HEAD), comments)]) as server:
        await expect_error(
            server, ts.FirstEventTimeoutError, "first_event", not_before=CLOCK, within=CLOCK + SLACK, timeout=ENDLESS
        )


@row("message_stop, then the body never ends")
async def body_that_never_ends() -> None:
    for after in (silence(), repeat(chunk(PING), seconds=0.01)):
        async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(MESSAGE)), after)]) as server:
            await expect_complete(server, within=0.5)
            await server.closed(0)


@row("one byte every 2 ms")
async def one_byte_at_a_time() -> None:
    # The head in one piece and a short message, so that this takes one second.
    events = sse(*BEGIN, DELTAS[0], block_stop(), message_delta(), message_stop())
    async with WireServer([on(request(), send(CHUNKED_HEAD), drip(chunk(events) + LAST_CHUNK, seconds=0.002))]) as s:
        await expect_complete(s, text=PIECES[0], within=10, timeout=ts.Timeouts(silence=CLOCK))


@row("HTTP/1.0 close-delimited, complete")
async def http_1_0() -> None:
    answer = CLOSE_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b"") + MESSAGE
    async with WireServer([on(request(), send(answer), fin())]) as server:
        stream = await expect_complete(server)
        assert stream.response.http_version == "HTTP/1.0"


@row("server never reads the 64 MB request")
async def request_that_is_never_read() -> None:
    stop_ignoring = trio.Event()

    async def ignore(_: object) -> None:
        await stop_ignoring.wait()

    async with WireServer([on(ignore, reads=False)]) as server, client_for(server, timeout=ENDLESS) as client:
        large = {**PARAMS, "messages": [{"role": "user", "content": rows.PROMPT + "x" * 64_000_000}]}
        manager = client.messages.stream(**large)
        began = trio.current_time()
        with pytest.raises(ts.SendTimeoutError) as raised:
            async with manager:
                pass
        assert CLOCK <= trio.current_time() - began < CLOCK + 3 * SLACK
        check_error(raised.value, ts.SendTimeoutError, "send: ", "did not take the whole request", partial=None)
        # Only what was in the kernel's buffers arrives, and then the connection is at its end.
        stop_ignoring.set()
        await server.closed(0)
        assert server.peers[0].bytes_received < 64_000_000
        assert server.peers[0].requests == []
        await rows.check_after(client)


# The rows above, and that they are all.


@pytest.mark.parametrize("check", TRANSPORT.checks())
async def test_transport(check: Callable[[], Awaitable[None]]) -> None:
    await check()


def test_every_row() -> None:
    TRANSPORT.check_complete()
