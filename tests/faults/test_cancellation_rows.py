"""The section "Cancellation": wherever it strikes, the socket is closed, the slot is free, and nothing is left."""

from __future__ import annotations

import gc
import warnings
from functools import partial
from typing import Any

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
    SEEN,
    UPLOAD_EXIT,
    Use,
    authority,
    best_of_tries,
    cancel_once,
    cancelled_in,
    left_by,
    stream_to_end,
    until,
)
from tests.faults.rows import PARAMS, Section, check_after, check_serves, client_for, read_to_end
from tests.faults.test_checkpoints import check_every_public_function
from tests.soak.churn import churn
from tests.soak.every_step import CONNECTIONS, every_step
from tests.soak.interrupts import interrupt
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, OK, api_error, chunked
from tests.wire.events import BEGIN, DELTAS, END, TEXT
from tests.wire.server import Peer, WireServer, on, once, repeat, request, send, silence, wait
from tests.wire.sockets import UnansweringPort, open_sockets, sockets_to
from tests.wire.tls import good_certificate, trusting

CANCELLATION = Section("Cancellation")
row = CANCELLATION.row


# Before there is an answer.


@row("a cancel while connecting (SYN unanswered)")
async def while_connecting() -> None:
    async def seconds() -> float:
        with UnansweringPort(ignores=True) as port:
            async with client_for(None, base_url=port.base_url) as client:
                before = open_sockets()
                took = await cancel_once(partial(trio.sleep, 0.05), partial(stream_to_end, client), port.port)
                assert open_sockets() == before
                await check_serves(port, client)
        return took

    await best_of_tries(seconds, EXIT)


@row("a2 cancel in the TLS handshake")
async def in_the_handshake() -> None:
    async def seconds() -> float:
        async with WireServer([on(silence())], scheme="https") as server:
            async with client_for(server, ssl_context=trusting(authority())) as client:

                async def ready() -> None:
                    await until(lambda: server.peers and server.peers[0].bytes_received)

                took = await cancel_once(ready, partial(stream_to_end, client), server.port)
                ended_at = trio.current_time()
                await server.closed(0)
                seen = trio.current_time() - ended_at
                assert client.statistics().active == client.statistics().waiting == 0
        return max(took / EXIT, seen / SEEN)

    await best_of_tries(seconds, 1.0)
    gc.collect()


@row("b cancel while waiting for headers")
async def while_waiting_for_headers() -> None:
    for tls in (False, True):
        await cancelled_in(on(request(), silence()), tls=tls)
        await cancelled_in(on(request(), send(OK), silence()), tls=tls)
        await cancelled_in(on(request(), send(CHUNKED_HEAD), silence()), tls=tls)


@row("c cancel while reading (idle, busy, TLS)")
async def while_reading() -> None:
    for tls in (False, True):
        await cancelled_in(on(request(), CUT, silence()), tls=tls)
        await cancelled_in(on(request(), CUT, FLOOD), tls=tls)


# Leaving.


async def in_a_cancelled_scope(client: ts.Client) -> None:
    with trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            scope.cancel(reason="the row")


async def in_a_scope_whose_deadline_is_past(client: ts.Client) -> None:
    with trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            scope.deadline = float("-inf")


async def in_a_cancelled_scope_with_a_child(client: ts.Client) -> None:
    with trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(trio.sleep_forever)
            stream.nursery.start_soon(stream.until_done)
            await trio.sleep(0.01)
            scope.cancel(reason="the row")


async def by_break(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            break


async def by_break_out_of_the_text(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream.text_stream:
            break


async def by_return(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS):
        return


async def raw_by_break(client: ts.Client) -> None:
    async with await client.messages.create(**PARAMS, stream=True) as stream:
        async for _ in stream:
            break


class LeaveError(Exception):
    pass


async def by_exception(client: ts.Client) -> None:
    error = LeaveError("of the program")
    with pytest.raises(LeaveError) as raised:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            raise error
    assert raised.value is error
    assert error.__cause__ is error.__context__ is None


async def by_exception_of_a_child(client: ts.Client) -> None:
    error = LeaveError("of the program")

    async def fail() -> None:
        raise error

    with pytest.raises(LeaveError) as raised:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(fail)
            await stream.until_done()
    assert raised.value is error


async def by_exception_in_a_cancelled_scope(client: ts.Client) -> None:
    error = LeaveError("of the program")
    with pytest.raises(LeaveError) as raised, trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS):
            scope.cancel(reason="the row")
            raise error
    assert raised.value is error


@row(
    "d __aexit__ in an already cancelled scope (and deadline -inf)",
    in_a_cancelled_scope,
    in_a_scope_whose_deadline_is_past,
    in_a_cancelled_scope_with_a_child,
)
@row("e break / return without reading", by_break, by_return, by_break_out_of_the_text, raw_by_break)
@row("f exception in the body", by_exception, by_exception_of_a_child, by_exception_in_a_cancelled_scope)
async def leave(*ways: Use) -> None:
    for way in ways:
        await left_by(way)
        await left_by(way, tls=True)
        await left_by(way, script=BUSY)


# Many at once.


async def hundred_siblings() -> float:
    """Cancel all; how long until the server has seen the last one close."""
    async with WireServer(then=on(request(), CUT, silence())) as server:
        async with client_for(server, max_connections=None, timeout=ts.Timeouts()) as client:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    for _ in range(100):
                        nursery.start_soon(stream_to_end, client)
                    await until(lambda: len(server.requests) == 100)
                    await trio.sleep(0.05)
                    scope.cancel(reason="the row")
                    cancelled_at = trio.current_time()
            assert scope.cancelled_caught
            assert sockets_to(server.port) == 0
            for number in range(100):
                await server.closed(number)
            took = trio.current_time() - cancelled_at
            assert client.statistics() == ts.ConnectionStatistics(active=0, idle=0, waiting=0)
    return took


@row("g 100 sibling streams cancelled")
async def siblings() -> None:
    await best_of_tries(hundred_siblings, 0.1)
    gc.collect()


async def drips(peer: Peer) -> None:
    while True:
        await peer.request()
        for part in (CHUNKED_HEAD, chunked(*BEGIN), chunked(*DELTAS), chunked(*END), LAST_CHUNK):
            await peer.send(part)
            await trio.lowlevel.checkpoint()


@row("g2 20 siblings on a pool of 2, 50 rounds")
async def siblings_in_rounds() -> None:
    """Cancelled a little later each round: first none has a connection yet, in the end some have their message."""
    async with WireServer(then=on(drips)) as server, client_for(server, max_connections=2) as client:
        for number in range(50):
            with trio.move_on_after(number * 0.0004):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(stream_to_end, client)
            now = client.statistics()
            assert (now.active, now.waiting) == (0, 0), number
            assert now.idle <= 2
            assert sockets_to(server.port) == now.idle
            with trio.fail_after(2):
                assert (await read_to_end(client)).text == TEXT
    gc.collect()


@row("h KeyboardInterrupt (SIGINT) idle and busy, 10 of 10")
async def keyboard_interrupt() -> None:
    """Ten times each in the long form of `tests.soak`."""
    for how in ("idle", "busy"):
        await interrupt(how, times=1)


# What does not exist.


@row("i stream object cannot exist without `async with`")
async def no_open_stream() -> None:
    """What calls return has no connection that somebody would have to close."""
    async with WireServer() as server, client_for(server) as client:
        for messages in (client.messages, client.beta.messages):
            stream = await messages.create(**PARAMS, stream=True)
            with pytest.raises(RuntimeError, match="async with"):
                await stream.receive()
            with pytest.raises(RuntimeError, match="async with"):
                async for _ in stream:
                    pass
            manager = messages.stream(**PARAMS)
            for name in ("receive", "__anext__", "text_stream", "aclose"):
                assert not hasattr(manager, name)
            with pytest.raises(TypeError, match="not the stream yet"):
                async for _ in manager:  # type: ignore[attr-defined]
                    pass
            del stream, manager
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()
        assert server.peers == []
        assert client.statistics() == ts.ConnectionStatistics(active=0, idle=0, waiting=0)


@row("j manager made and never entered")
async def never_entered() -> None:
    """No coroutine, no connection; and it can still be entered later."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with WireServer() as server, client_for(server) as client:
            client.messages.stream(**PARAMS)
            client.beta.messages.stream(**PARAMS)
            manager = client.messages.stream(**PARAMS)
            gc.collect()
            await trio.testing.wait_all_tasks_blocked()
            assert server.peers == []
            async with manager as stream:
                assert await stream.get_final_text() == TEXT
        gc.collect()
    assert [str(item.message) for item in warned] == []


# Between attempts, while sending, while waiting, in an error.


@row("k cancel in the retry sleep")
async def in_the_retry_sleep() -> None:
    async def seconds() -> float:
        overloaded = api_error(b"529 Overloaded", "overloaded_error", b"retry-after: 30")
        async with WireServer([once(overloaded)]) as server, client_for(server, max_retries=2) as client:

            async def ready() -> None:
                await until(lambda: server.requests and client.statistics().idle)
                await trio.sleep(0.01)

            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def use() -> None:
                    with scope:
                        await stream_to_end(client)

                nursery.start_soon(use)
                await ready()
                scope.cancel(reason="the row")
                cancelled_at = trio.current_time()
            took = trio.current_time() - cancelled_at
            assert scope.cancelled_caught
            assert len(server.requests) == 1
            # The sleep holds no slot, and the answer was read to its end: its connection is kept.
            assert client.statistics() == ts.ConnectionStatistics(active=0, idle=1, waiting=0)
            await check_after(client)
            assert len(server.peers) == 1
        return took

    await best_of_tries(seconds, EXIT)


UPLOAD = {**PARAMS, "messages": [{"role": "user", "content": "x" * 16_000_000}]}


@row("m cancel while uploading")
async def while_uploading() -> None:
    for tls in (False, True):
        context = good_certificate(authority()) if tls else None

        async def seconds(context: Any = context) -> float:
            reads = trio.Event()
            script = on(wait(reads), reads=False)
            # A server that does not read cannot do its part of the handshake, either: over TLS it reads slowly.
            if context is not None:
                script = on(silence())
            async with WireServer([script], tls=context) as server:
                async with client_for(server, ssl_context=trusting(authority())) as client:
                    manager = client.messages.stream(**UPLOAD)

                    async def use() -> None:
                        async with manager:
                            pytest.fail("there is no answer")

                    async def ready() -> None:
                        if context is None:
                            await trio.sleep(0.1)
                        else:
                            await until(lambda: server.peers and server.peers[0].bytes_received > 100_000)

                    took = await cancel_once(ready, use, server.port)
                    reads.set()
                    await server.closed(0)
                    await check_after(client)
            return took

        await best_of_tries(seconds, UPLOAD_EXIT)
    gc.collect()


@row("n cancel while waiting for a free slot")
async def while_waiting_for_a_slot() -> None:
    """The slot goes to whoever waits next, whether the one before was cancelled while waiting or just then."""

    async def seconds() -> float:
        finish = trio.Event()
        slow = on(request(), CUT, wait(finish), send(chunked(*END, last=True)))
        async with WireServer([slow]) as server, client_for(server) as client:
            texts: list[str] = []

            async def use() -> None:
                texts.append((await read_to_end(client)).text)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(use)
                await until(lambda: server.requests)
                cancelled = [trio.CancelScope() for _ in range(3)]
                left: list[float] = []

                async def use_until_cancelled(scope: trio.CancelScope) -> None:
                    with scope:
                        await use()
                    left.append(trio.current_time())

                for scope in cancelled:
                    nursery.start_soon(use_until_cancelled, scope)
                    nursery.start_soon(use)
                await until(lambda: client.statistics().waiting == 6)
                cancelled_at = trio.current_time()
                cancelled[0].cancel(reason="the row")
                cancelled[1].cancel(reason="the row")
                await until(lambda: len(left) == 2)
                took = max(left) - cancelled_at
                assert client.statistics().waiting == 4
                # And one that is cancelled in the very step in which the slot becomes free.
                finish.set()
                await until(lambda: texts)
                cancelled[2].cancel(reason="the row")
            assert len(texts) in (4, 5)
            assert set(texts) == {TEXT}
            now = client.statistics()
            assert (now.active, now.waiting) == (0, 0)
            await check_after(client)
        return took

    await best_of_tries(seconds, EXIT)


@row("o cancel while reading an error body")
async def in_an_error_body() -> None:
    head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"
    endless = b"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n"
    for tls in (False, True):
        await cancelled_in(on(request(), send(head, b"what went wrong: "), silence()), tls=tls)
        await cancelled_in(on(request(), send(head), silence()), tls=tls)
        await cancelled_in(on(request(), send(endless), repeat(b"1\r\nx\r\n", seconds=0.001)), tls=tls)


# Cancelled anywhere. The long forms of these are in `tests.soak`.


@row("x cancel at EVERY scheduler step (before/after), HTTP, keep-alive and TLS, pool of 1")
async def at_every_step() -> None:
    for connection in CONNECTIONS:
        steps = await every_step(
            "message",
            connection,
            server_context=good_certificate(authority()),
            client_context=trusting(authority()),
        )
        assert steps >= 12


@row("y churn: 20 s of random cancels (0-12 ms), 12 workers / pool 2 and 20 / 10, HTTP and TLS")
async def random_cancels() -> None:
    contexts = {"server_context": good_certificate(authority()), "client_context": trusting(authority())}
    for workers, pool in ((12, 2), (20, 10)):
        await churn(workers=workers, pool=pool, seconds=0.4)
        await churn(workers=workers, pool=pool, seconds=0.4, **contexts)


row("`assert_checkpoints` on every public async function")(check_every_public_function)


@pytest.mark.parametrize("check", CANCELLATION.checks())
async def test_cancellation(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    CANCELLATION.check_complete()
