"""`receive_nowait`: what can be had without waiting, from every kind of transport, and what it raises otherwise."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, OK, chunk, sse
from tests.wire.events import PIECES, TEXT, message_events
from tests.wire.server import Peer, serve
from trio_stream.testing import fail, pause, say, stall

from .api import PARAMS, client_of


async def drain(stream: ts.MessageStream) -> list[Any]:
    """All events that can be had without waiting."""
    events: list[Any] = []
    while True:
        try:
            events.append(stream.receive_nowait())
        except trio.WouldBlock:
            return events


async def test_what_has_arrived_comes_without_a_checkpoint(autojump_clock):
    """The same events in the same order as `receive` gives, the helper events among them."""
    client, _ = client_of([say("Hello there")], [say("Hello there")])
    async with client.messages.stream(**PARAMS) as stream:
        expected = [event.type async for event in stream]
    async with client.messages.stream(**PARAMS) as stream:
        events = []
        with trio.testing.assert_no_checkpoints(), pytest.raises(trio.EndOfChannel):
            while True:
                events.append(stream.receive_nowait())
        assert [event.type for event in events] == expected
        assert stream.message.text == "Hello there"
        with pytest.raises(trio.EndOfChannel):
            stream.receive_nowait()


async def test_nothing_has_arrived(autojump_clock):
    """It would block, again and again; what arrives later is found, and `receive` goes on in the same place."""
    client, _ = client_of([say("one ", "two "), pause(1), say("three "), pause(1), say("four")])
    async with client.messages.stream(**PARAMS) as stream:
        assert (await drain(stream))[0].type == "message_start"
        for _ in range(3):
            with pytest.raises(trio.WouldBlock):
                stream.receive_nowait()
        assert stream.text == "one two "
        await trio.sleep(1.5)
        assert "".join(event.text for event in await drain(stream) if event.type == "text") == "three "
        rest = [event async for event in stream]
    assert rest[-1].type == "message_stop"
    assert stream.message.text == "one two three four"


async def test_raw_events_and_views(autojump_clock):
    """An `EventStream` has it too; and events that were taken are in the views."""
    client, _ = client_of([say("Hello")], [say("Hello"), pause(1), say(" there")])
    async with await client.messages.create(**PARAMS, stream=True) as raw:
        kinds = []
        with pytest.raises(trio.EndOfChannel):
            while True:
                kinds.append(raw.receive_nowait().type)
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        assert "text" not in kinds
    async with client.messages.stream(**PARAMS) as stream:
        await drain(stream)
        assert "".join([text async for text in stream.text_stream]) == "Hello there"


async def test_errors(autojump_clock):
    """The stream's error, the same object each time; closed; left; not entered."""
    client, _ = client_of([say("Hello"), fail("overloaded_error")], [say("Hello"), stall()])
    with pytest.raises(ts.OverloadedError):
        async with client.messages.stream(**PARAMS) as stream:
            with pytest.raises(ts.OverloadedError) as first:
                await drain(stream)
            assert first.value.partial is not None
            assert first.value.partial.text == "Hello"
            with pytest.raises(ts.OverloadedError) as second:
                stream.receive_nowait()
            assert second.value is first.value
            raise first.value
    async with client.messages.stream(**PARAMS) as stream:
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            stream.receive_nowait()
    raw = await client.messages.create(**PARAMS, stream=True)
    with pytest.raises(RuntimeError, match="async with"):
        raw.receive_nowait()


async def test_while_another_task_waits(autojump_clock):
    """That one keeps its place, and gets the next event."""
    client, _ = client_of([say("one"), pause(1), say("two")])
    async with client.messages.stream(**PARAMS) as stream:
        await drain(stream)
        received: list[Any] = []

        async def waits() -> None:
            received.append(await stream.receive())

        stream.nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked(0.1)
        for _ in range(2):
            with pytest.raises(trio.BusyResourceError):
                stream.receive_nowait()
        await trio.sleep(2)
        assert len(received) == 1
        assert stream.receive_nowait() is not None


async def test_a_program_that_only_polls_is_not_the_peers_silence(autojump_clock):
    """Neither in gaps longer than the clock, nor once it waits again; waits before a poll do not count after it."""
    timeouts = ts.Timeouts(silence=2, stall=2)
    client, _ = client_of([say("one "), pause(9), say("two "), pause(1.5), say("three")], timeout=timeouts)
    async with client.messages.stream(**PARAMS) as stream:
        await drain(stream)
        with trio.move_on_after(1.5):
            await stream.receive()
        while not await drain(stream):
            await trio.sleep(0.05)
        assert stream.text == "one two "
        await stream.until_done()
    assert stream.message.text == "one two three"


async def test_the_total_clock_runs_for_who_polls(autojump_clock):
    """It ends a program that polls for ever, at its next poll."""
    client, _ = client_of([say("one"), stall()], timeout=ts.Timeouts(total=3))
    with pytest.raises(ts.TotalTimeoutError):
        async with client.messages.stream(**PARAMS) as stream:
            while True:
                await drain(stream)
                await trio.sleep(0.1)
    assert trio.current_time() == pytest.approx(3, abs=0.2)


async def test_a_cancelled_program_can_poll(autojump_clock):
    """It takes what is there, and is no cancellation point."""
    client, _ = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        with trio.CancelScope() as scope:
            scope.cancel(reason="the test")
            await drain(stream)
        assert stream.text == "Hello"


@pytest.mark.parametrize("compressed", [False, True])
async def test_the_socket_is_looked_at(compressed: bool):
    """Bytes that arrive while nobody waits are found, whatever was found before, and the connection is kept."""
    events = [sse(event) for event in message_events()]
    head = CHUNKED_HEAD
    if compressed:
        gzip = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        events = [gzip.compress(event) + gzip.flush(zlib.Z_SYNC_FLUSH) for event in events] + [gzip.flush()]
        head = OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [chunk(event) for event in events]
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(head + pieces[0])
        await go_on.wait()
        for piece in pieces[1:]:
            await peer.send(piece)
            await trio.sleep(0.001)
        await peer.send(LAST_CHUNK)

    async with serve(script) as server:
        client = ts.Client(api_key="test-key", base_url=server.base_url)
        async with client, client.messages.stream(**PARAMS) as stream:
            assert [event.type for event in await drain(stream)] == ["message_start"]
            go_on.set()
            with trio.fail_after(5), pytest.raises(trio.EndOfChannel):
                while True:
                    await drain(stream)
                    await trio.sleep(0.001)
            assert stream.text == "".join(PIECES)
            assert client.statistics().idle == 1


async def test_a_burst_is_taken_in_one_go(autojump_clock, monkeypatch: pytest.MonkeyPatch):
    """Where `receive` would let other tasks run, about every millisecond of decoding, this goes on."""
    time = itertools.count(step=0.0006)
    monkeypatch.setattr("trio_stream._stream._reader.perf_counter", lambda: next(time))
    monkeypatch.setattr("trio_stream._stream._body_reader.perf_counter", lambda: next(time))
    client, _ = client_of([say(*["x"] * 500)])
    async with client.messages.stream(**PARAMS) as stream:
        with trio.testing.assert_no_checkpoints(), pytest.raises(trio.EndOfChannel):
            await drain(stream)
        assert stream.text == "x" * 500


class InTwoReads(httpx.AsyncByteStream):
    """A body as other transports have it, of two pieces."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._pieces = iter((first, second))

    def __aiter__(self) -> InTwoReads:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


async def test_of_another_transport_what_a_wait_has_brought():
    """Its bytes cannot be had without waiting: no poll ever finds more, and `receive` goes on."""
    start, *rest = message_events()

    async def answer(request: httpx.Request) -> httpx.Response:
        stream = InTwoReads(sse(start), sse(*rest))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    client = ts.Client(api_key="test-key", transport=httpx.MockTransport(answer))
    async with client.messages.stream(**PARAMS) as stream:
        assert [event.type for event in await drain(stream)] == ["message_start"]
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert await drain(stream) == []
        assert (await stream.receive()).type == "content_block_start"
        with pytest.raises(trio.EndOfChannel):
            await drain(stream)
    assert stream.message.text == TEXT


async def test_lines_of_results():
    """The results of a batch have it as well, of a whole body that is there already."""
    lines = b"".join(b'{"custom_id": "q-%d", "result": {"type": "canceled"}}\n' % number for number in range(300))

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/x-jsonl"}, content=lines)

    client = ts.Client(api_key="test-key", transport=httpx.MockTransport(answer))
    found = []
    async with client.messages.batches.results("msgbatch_1") as results:
        with trio.testing.assert_no_checkpoints(), pytest.raises(trio.EndOfChannel):
            while True:
                found.append(results.receive_nowait().custom_id)
    assert found == [f"q-{number}" for number in range(300)]
