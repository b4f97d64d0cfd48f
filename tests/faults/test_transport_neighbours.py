"""Beside the fault matrix, section "Transport": what it does not name is held to the same rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trustme
from httpx import AsyncHTTPTransport

import trio_stream as ts
from tests.faults import rows
from tests.faults.rows import (
    CLOCK,
    ENDLESS,
    PARAMS,
    SLACK,
    check_error,
    client_for,
    expect_complete,
    expect_error,
    expect_incomplete,
)
from tests.wire.answers import CHUNKED_HEAD, CLOSE_HEAD, GOOD_ANSWER, LAST_CHUNK, MESSAGE, OK, chunk, chunked, sse
from tests.wire.events import BEGIN, CUT_EVENTS, DELTAS, PIECES, PING, TEXT, message_events
from tests.wire.server import (
    Step,
    WireServer,
    close,
    delay,
    drip,
    fin,
    on,
    once,
    repeat,
    request,
    request_bytes,
    rst,
    send,
    send_beneath_tls,
    silence,
)
from tests.wire.tls import good_certificate, trusting

CUT = send(CHUNKED_HEAD, chunked(*CUT_EVENTS))
"""A good head and the message up to its third delta."""


Reader = Callable[[ts.MessageStream], Awaitable[object]]
READERS: dict[str, Reader] = {}


def reader(function: Reader) -> Reader:
    READERS[function.__name__] = function
    return function


@reader
async def by_events(stream: ts.MessageStream) -> None:
    async for _ in stream:
        pass


@reader
async def by_text_stream(stream: ts.MessageStream) -> None:
    got = []
    try:
        async for text in stream.text_stream:
            got.append(text)
    finally:
        assert got == list(PIECES)


@reader
async def by_texts(stream: ts.MessageStream) -> None:
    async for _ in stream.texts():
        pass


@reader
async def by_text_chunks(stream: ts.MessageStream) -> None:
    got = []
    try:
        async for text in stream.text_chunks(min_chars=1000):
            got.append(text)
    finally:
        assert got == [TEXT], "what is held is given before the error"


@reader
async def by_final_message(stream: ts.MessageStream) -> ts.Message:
    return await stream.get_final_message()


@reader
async def by_final_text(stream: ts.MessageStream) -> str:
    return await stream.get_final_text()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("ending", [send(LAST_CHUNK), fin(), rst()], ids=["last chunk", "FIN", "RST"])
async def test_a_cut_is_a_cut_however_it_is_read(read: Reader, ending: Step) -> None:
    script = on(request(), CUT, delay(0.02), ending)
    async with WireServer([script]) as server, client_for(server) as client:
        with pytest.raises((ts.IncompleteStreamError, ts.APIConnectionError)) as raised:
            async with client.messages.stream(**PARAMS) as stream:
                await read(stream)
        check_error(raised.value, ts.APIError, partial=TEXT)
        await rows.check_after(client)


@pytest.mark.parametrize("ending", [send(LAST_CHUNK), fin(), rst()], ids=["last chunk", "FIN", "RST"])
async def test_a_cut_is_a_cut_for_create(ending: Step) -> None:
    script = on(request(), CUT, delay(0.02), ending)
    async with WireServer([script, script]) as server, client_for(server) as client:
        with pytest.raises((ts.IncompleteStreamError, ts.APIConnectionError)) as raised:
            await client.messages.create(**PARAMS)
        check_error(raised.value, ts.APIError, partial=TEXT)
        with pytest.raises((ts.IncompleteStreamError, ts.APIConnectionError)) as raised:
            async with await client.messages.create(**PARAMS, stream=True) as events:
                async for _ in events:
                    pass
        check_error(raised.value, ts.APIError, partial=TEXT)
        await rows.check_after(client)


@pytest.mark.parametrize("retries", [0, 2])
async def test_a_cut_after_the_first_event_is_never_retried(retries: int) -> None:
    async with WireServer([on(request(), CUT, fin())]) as server:
        await expect_incomplete(server, "cut", max_retries=retries)
        assert len(server.requests) == 2  # this one, and the one that looks whether the pool is whole


async def test_the_end_of_the_body_comes_with_the_last_event() -> None:
    """The connection stays open and silent; there is nothing to wait for on it."""
    last = send(chunked(*CUT_EVENTS[-1:]), LAST_CHUNK)
    script = on(request(), send(CHUNKED_HEAD, chunked(*CUT_EVENTS[:-1])), delay(0.02), last, silence())
    async with WireServer([script]) as server:
        await expect_incomplete(server, "before message_stop", within=1)


BODY_CUTS = range(0, len(MESSAGE), 97)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_cut_at_many_places(framing: str) -> None:
    """Wherever the connection ends before the last blank line, it is an error with exactly the text before it."""
    for cut in BODY_CUTS:
        body = MESSAGE[:cut]
        head, tail = {
            "chunked": (CHUNKED_HEAD, chunk(body) if body else b""),
            "length": (OK + b"Content-Length: %d\r\n\r\n" % len(MESSAGE), body),
            "close": (CLOSE_HEAD, body),
        }[framing]
        async with WireServer([on(request(), send(head, tail), fin())]) as server, client_for(server) as client:
            with pytest.raises(ts.IncompleteStreamError) as raised:
                await rows.read_to_end(client)
            whole = body[: body.rfind(b"\n\n") + 2]
            text = "".join(piece for piece, delta in zip(PIECES, DELTAS, strict=True) if sse(delta) in whole)
            partial = raised.value.partial
            assert ("" if partial is None else partial.text) == text
            assert (partial is None) == (b"message_start" not in whole)


async def test_rst_right_after_message_stop() -> None:
    """The message is whole: how the connection ends is nobody's concern."""
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(MESSAGE)), delay(0.05), rst())]) as server:
        await expect_complete(server)


async def test_rst_after_an_unread_answer_in_one_go() -> None:
    """A RST may overtake what was sent before it: then the stream is cut, but never wrong."""
    async with WireServer([on(request(), CUT, rst())]) as server, client_for(server) as client:
        with pytest.raises((ts.APIConnectionError, ts.IncompleteStreamError)) as raised:
            await rows.read_to_end(client)
        partial = raised.value.partial
        assert partial is None or TEXT.startswith(partial.text)
        await rows.check_after(client)


async def test_closed_before_the_request_was_read() -> None:
    """Accepted and closed at once: with the request unread, this is a RST or a FIN."""
    async with WireServer([on(close(), reads=False)]) as server:
        await expect_error(server, ts.APIConnectionError, f"127.0.0.1:{server.port}", closed_by_client=False)


async def test_fin_in_the_middle_of_the_headers() -> None:
    async with WireServer([on(request(), send(OK), fin())]) as server:
        error = await expect_error(server, ts.APIConnectionError, "in the middle of the headers")
        assert error.may_have_been_accepted
        assert error.__cause__ is not None


async def test_rst_in_the_middle_of_the_headers() -> None:
    async with WireServer([on(request(), send(OK), delay(0.05), rst())]) as server:
        error = await expect_error(server, ts.APIConnectionError, "reset", "may have accepted", closed_by_client=False)
        assert error.may_have_been_accepted


async def test_silence_before_the_first_event_but_for_pings_is_retried() -> None:
    """While nothing has been handed out, a cut at the start of the stream is retried."""
    scripts = [once(CHUNKED_HEAD, chunked(PING, last=True)), on(request(), send(CHUNKED_HEAD), fin())]
    async with WireServer(scripts) as server, client_for(server, max_retries=2) as client:
        stream = await rows.read_to_end(client)
        assert stream.text == TEXT
        assert stream.stats.attempts == 3
        assert len(server.requests) == 3


async def test_pings_are_bytes_to_the_silence_clock() -> None:
    """Long thinking is silent but for pings: with ``stall`` off they keep the stream alive."""
    quiet = repeat(chunk(PING), times=8, seconds=CLOCK / 4)
    rest = send(chunked(*message_events()[5:]), LAST_CHUNK)
    async with WireServer([on(request(), CUT, quiet, rest)]) as server:
        await expect_complete(server, timeout=ts.Timeouts(silence=CLOCK))


async def test_a_slow_consumer_is_no_silence() -> None:
    """The clocks measure waiting for the network, never the consumer."""
    async with WireServer() as server, client_for(server, timeout=ENDLESS) as client:
        async with client.messages.stream(**PARAMS) as stream:
            async for event in stream:
                if event.type == "message_start":
                    await trio.sleep(CLOCK * 1.5)
        assert stream.text == TEXT


async def test_the_total_clock_ends_a_stream_of_events() -> None:
    deltas = repeat(chunk(DELTAS[0]), seconds=0.02)
    script = on(request(), send(CHUNKED_HEAD, chunked(*BEGIN)), deltas)
    timeouts = ts.Timeouts(total=CLOCK)
    async with WireServer([script]) as server, client_for(server, timeout=timeouts) as client:
        began = trio.current_time()
        with pytest.raises(ts.TotalTimeoutError) as raised:
            await rows.read_to_end(client)
        assert CLOCK <= trio.current_time() - began < CLOCK + SLACK
        partial = raised.value.partial
        assert partial is not None
        assert partial.text.startswith(PIECES[0])
        await rows.check_closed(server, trio.current_time())
        await rows.check_after(client)


@pytest.mark.parametrize("seconds", [0.0, 0.001])
async def test_the_answer_before_the_request_is_whole(seconds: float) -> None:
    """A server may answer while the request is still on its way: the answer counts, the connection does not."""
    content = "y" * 8_000_000
    for script in (
        on(request_bytes(1000), delay(seconds), send(GOOD_ANSWER), delay(0.3), reads=True),
        on(delay(0.05), send(GOOD_ANSWER), silence(), reads=False),
    ):
        async with WireServer([script]) as server, client_for(server) as client:
            large = {**PARAMS, "messages": [{"role": "user", "content": content}]}
            with trio.fail_after(5):
                async with client.messages.stream(**large) as stream:
                    await stream.until_done()
            assert stream.text == TEXT
            await rows.check_after(client)


TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # a fatal alert, not encrypted as it must be

TLS_FAULTS: dict[str, tuple[Step, type[ts.APIError] | tuple[type[ts.APIError], ...], str]] = {
    # Without close_notify nobody knows whether the end is the server's: but a message ends with message_stop alone.
    "FIN without close_notify": (fin(), ts.IncompleteStreamError, "cut"),
    # Python tells a RST beneath TLS from an end in some versions only.
    "RST": (rst(), (ts.APIConnectionError, ts.IncompleteStreamError), ""),
    "last chunk": (send(LAST_CHUNK), ts.IncompleteStreamError, "ended before message_stop"),
    "plain bytes": (send_beneath_tls(chunk(DELTAS[0]) * 10), ts.APIConnectionError, "in the middle of the answer"),
    "a plain alert": (send_beneath_tls(TLS_ALERT), ts.APIConnectionError, "in the middle of the answer"),
    "silence": (silence(), ts.SilenceTimeoutError, "silence"),
    "half a record": (send_beneath_tls(b"\x17\x03\x03\x01\x00half"), ts.SilenceTimeoutError, "silence"),
}


@pytest.mark.parametrize(("fault", "kind", "says"), TLS_FAULTS.values(), ids=TLS_FAULTS)
async def test_over_tls(
    fault: Step, kind: type[ts.APIError] | tuple[type[ts.APIError], ...], says: str, authority: trustme.CA
) -> None:
    script = on(request(), CUT, delay(0.03), fault)
    async with WireServer([script], tls=good_certificate(authority)) as server:
        error = await expect_error(
            server,
            ts.APIError,
            says,
            partial=TEXT,
            closed_by_client=bool(says),
            ssl_context=trusting(authority),
            timeout=ts.Timeouts(silence=CLOCK),
        )
        assert isinstance(error, kind)


async def test_over_tls_message_stop_is_enough(authority: trustme.CA) -> None:
    for ending in (fin(), rst(), silence(), send_beneath_tls(b"plain")):
        script = on(request(), send(CHUNKED_HEAD, chunk(MESSAGE)), delay(0.02), ending)
        async with WireServer([script], tls=good_certificate(authority)) as server:
            await expect_complete(server, ssl_context=trusting(authority))


@pytest.mark.parametrize(
    "begin", [b"5;extension=", b"0\r\nx-trailer: ", b"0000"], ids=["chunk extension", "trailer", "chunk size"]
)
async def test_dripped_framing_is_silence(begin: bytes) -> None:
    """Bytes that are nobody's but HTTP's keep no stream alive."""
    drops = repeat(b"0", seconds=CLOCK / 10)
    for events in (CUT_EVENTS, ()):
        script = on(request(), send(CHUNKED_HEAD, chunked(*events), begin), drops)
        async with WireServer([script]) as server:
            await expect_error(
                server,
                ts.SilenceTimeoutError,
                "silence",
                partial=TEXT if events else None,
                not_before=CLOCK,
                within=CLOCK + SLACK,
                timeout=ts.Timeouts(silence=CLOCK),
            )


@pytest.mark.parametrize("ending", [send(LAST_CHUNK), fin(), rst()], ids=["last chunk", "FIN", "RST"])
async def test_a_cut_is_a_cut_on_any_transport(ending: Step) -> None:
    """One of httpx's, with its own words."""
    async with WireServer([on(request(), CUT, delay(0.02), ending)]) as server, AsyncHTTPTransport() as transport:
        async with client_for(server, transport=transport) as client:
            with pytest.raises((ts.IncompleteStreamError, ts.APIConnectionError)) as raised:
                await rows.read_to_end(client)
            check_error(raised.value, ts.APIError, partial=TEXT)
            await rows.check_after(client)


async def test_two_streams_at_once_one_is_cut() -> None:
    """A fault on one connection is nobody else's."""
    slow = on(request(), send(CHUNKED_HEAD), drip(chunk(MESSAGE) + LAST_CHUNK, size=20, seconds=0.005))
    cut = on(request(), CUT, delay(0.02), rst())
    async with WireServer([slow, cut]) as server, client_for(server, max_connections=2) as client:
        texts: list[str] = []

        async def whole() -> None:
            texts.append((await rows.read_to_end(client)).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(whole)
            while len(server.peers) < 1:
                await trio.sleep(0.001)
            with pytest.raises(ts.APIConnectionError):
                await rows.read_to_end(client)
        assert texts == [TEXT]
