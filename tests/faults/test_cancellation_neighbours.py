"""The neighbours of the section "Cancellation": whatever else reads, leaves or is used again."""

from __future__ import annotations

import gc
from functools import partial

import httpx
import pytest
import trio
import trio.lowlevel
import trio.testing

import trio_stream as ts
from tests.faults.cancelling import (
    BUSY,
    CUT,
    EXIT,
    FLOOD,
    Use,
    authority,
    best_of_tries,
    cancel_once,
    cancelled_in,
    left_by,
    stream_to_end,
    until,
)
from tests.faults.rows import PARAMS, check_after, client_for, read_to_end
from tests.faults.test_cancellation_rows import by_return
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunked, sized
from tests.wire.events import BEGIN, DELTAS, END, TEXT
from tests.wire.server import Peer, WireServer, on, request, send, silence, wait
from tests.wire.sockets import no_socket_left, sockets_to
from tests.wire.tls import good_certificate, trusting


async def with_text_stream(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream.text_stream:
            pass


async def with_text_chunks(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream.text_chunks(min_chars=1000, max_delay=0.001):
            pass


async def with_create(client: ts.Client) -> None:
    await client.messages.create(**PARAMS)


async def with_raw_events(client: ts.Client) -> None:
    async with await client.messages.create(**PARAMS, stream=True) as stream:
        async for _ in stream:
            pass


async def with_a_child(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        stream.nursery.start_soon(stream.until_done)
        await trio.sleep_forever()


async def with_a_cleanup(client: ts.Client) -> None:
    """What a program does on its way out is not in the way."""
    async with client.messages.stream(**PARAMS) as stream:
        try:
            await stream.until_done()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await stream.aclose()


@pytest.mark.parametrize("flood", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize(
    "use",
    [with_text_stream, with_text_chunks, with_create, with_raw_events, with_a_child, with_a_cleanup],
)
async def test_whatever_reads(use: Use, flood: bool) -> None:
    await cancelled_in(on(request(), CUT, FLOOD if flood else silence()), use)


async def test_while_counting_tokens() -> None:
    async def count(client: ts.Client) -> None:
        await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])

    await cancelled_in(on(request(), silence()), count)
    await cancelled_in(on(request(), send(sized(b"x" * 100)[:-50]), silence()), count)


async def test_through_httpxs_own_transport() -> None:
    """Its slot is ours to free, and its async generators ours to end."""

    async def seconds() -> float:
        async with WireServer([on(request(), CUT, silence())]) as server:
            async with client_for(server, transport=httpx.AsyncHTTPTransport()) as client:
                took = await cancel_once(
                    partial(until, lambda: server.requests), partial(stream_to_end, client), server.port
                )
                await server.closed(0)
                await check_after(client)
        return took

    await best_of_tries(seconds, EXIT)
    gc.collect()


async def by_cancel(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        stream.cancel("enough")
        await trio.sleep_forever()


async def by_aclose(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.aclose()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("way", [by_cancel, by_aclose])
async def test_more_ways_to_leave(way: Use, tls: bool) -> None:
    await left_by(way, tls=tls)
    await left_by(way, tls=tls, script=BUSY)


async def test_leaving_does_not_wait_for_a_server_that_does_not_read() -> None:
    """Nor for TLS to say goodbye."""
    for context in (None, good_certificate(authority())):
        script = on(request(), CUT, wait(trio.Event()))
        async with WireServer([script], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority())) as client:
                with trio.fail_after(0.5):
                    await by_return(client)
                assert sockets_to(server.port) == 0


# Reuse.


@pytest.mark.parametrize("late", [b"", LAST_CHUNK[:2]])
async def test_while_reading_the_rest_of_the_last_answer(late: bytes) -> None:
    """A connection that is still ending is taken up by the next request: cancelled there, it is closed."""
    unfinished = on(request(), send(CHUNKED_HEAD, chunked(*BEGIN, *DELTAS, *END), late), silence())
    async with WireServer([unfinished]) as server, client_for(server) as client:
        assert (await read_to_end(client)).text == TEXT
        assert client.statistics().idle == 1
        with trio.move_on_after(0.01) as scope:
            await stream_to_end(client)
        assert scope.cancelled_caught
        assert client.statistics().active == 0
        assert len(server.peers) == 1
        await server.closed(0)
        await check_after(client)


async def test_a_cancelled_receive_loses_nothing() -> None:
    """Not even when it is cancelled in the step in which the event arrives."""
    events: list[str] = []
    parts = [CHUNKED_HEAD, *(chunked(item) for item in (*BEGIN, *DELTAS, *END)), LAST_CHUNK]

    async def slowly(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
            await trio.sleep(0.003)

    async with WireServer([on(slowly)]) as server, client_for(server) as client:
        whole = []
        async with client.messages.stream(**PARAMS) as stream:
            for seconds in range(10_000):
                with trio.move_on_after(0.0003 * (seconds % 7)):
                    try:
                        events.append((await stream.receive()).type)
                    except trio.EndOfChannel:
                        break
        async with client.messages.stream(**PARAMS) as stream:
            whole = [event.type async for event in stream]
    assert events == whole


async def test_nothing_is_left_by_any_of_it() -> None:
    """A whole program of cancelled streams, clients left open, and what was never entered."""
    with no_socket_left():
        async with WireServer(then=on(request(), CUT, silence())) as server:
            for _ in range(5):
                client = client_for(server, max_connections=2)
                with trio.move_on_after(0.02):
                    async with trio.open_nursery() as nursery:
                        for _ in range(4):
                            nursery.start_soon(stream_to_end, client)
                client.messages.stream(**PARAMS)
                del client
            gc.collect()
            assert sockets_to(server.port) == 0
