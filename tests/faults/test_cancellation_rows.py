"""The section "Cancellation": wherever it strikes, the socket is closed, the slot is free, and nothing is left.

The figures are about the code. The machine may be doing other things: each is held by the best of a few tries, and
everything else by every try.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

import httpx
import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme

import trio_stream as ts
from tests.faults.rows import PARAMS, Section, check_after, client_for, read_to_end
from tests.faults.server import (
    BEGIN,
    CHUNKED_HEAD,
    CUT_EVENTS,
    DELTAS,
    END,
    GOOD,
    GOOD_ANSWER,
    LAST_CHUNK,
    OK,
    TEXT,
    FaultServer,
    Peer,
    Script,
    answering,
    api_error,
    block_delta,
    block_start,
    block_stop,
    chunked,
    good_certificate,
    message_delta,
    message_start,
    message_stop,
    on,
    once,
    repeat,
    request,
    send,
    silence,
    sized,
    text_delta,
    trusting,
    wait,
)
from tests.faults.sockets import UnansweringPort, check_serves, no_socket_left, open_sockets, sockets_to
from tests.soak.churn import churn
from tests.soak.every_step import CONNECTIONS, every_step
from tests.soak.interrupts import interrupt

CANCELLATION = Section("Cancellation")
row = CANCELLATION.row

EXIT = 0.010
UPLOAD_EXIT = 0.020
SEEN = 0.020
TRIES = 5

Use = Callable[[ts.Client], Awaitable[Any]]


@cache
def authority() -> trustme.CA:
    return trustme.CA()


async def best_of_tries(seconds_of: Callable[[], Awaitable[float]], most: float) -> None:
    """Try until it took at most so long, some times at most."""
    took = []
    for _ in range(TRIES):
        took.append(await seconds_of())
        if took[-1] <= most:
            return
    pytest.fail(f"at best {min(took):.4f} s; {most:g} s are allowed")


async def until(condition: Callable[[], object]) -> None:
    """Look every millisecond."""
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.001)


async def cancel_once(ready: Callable[[], Awaitable[None]], use: Callable[[], Awaitable[Any]], port: int) -> float:
    """Use something in a task of its own, cancel it when ``ready`` returns, and look what is left.

    Returns:
      Seconds from the cancel to having left the scope.
    """
    scope = trio.CancelScope()
    left_at = sockets_left = None
    sockets_before = sockets_to(port)

    async def use_it() -> None:
        nonlocal left_at, sockets_left
        with scope:
            await use()
        # No checkpoint since: this is what there is when the block has been left.
        left_at = trio.current_time()
        sockets_left = sockets_to(port)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use_it)
        with trio.fail_after(5):
            await ready()
        cancelled_at = trio.current_time()
        scope.cancel(reason="the row")
    assert scope.cancelled_caught
    assert sockets_left == sockets_before
    assert left_at is not None
    return left_at - cancelled_at


async def stream_to_end(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            pass


FLOOD = repeat(chunked(text_delta("more ")) * 200)
CUT = send(CHUNKED_HEAD, chunked(*CUT_EVENTS))


async def cancelled_in(
    script: Script,
    use: Use = stream_to_end,
    *,
    tls: bool = False,
    most: float = EXIT,
    ready: Callable[[FaultServer], object] = lambda server: server.requests,
    then: float = 0.02,
) -> None:
    """Cancel a request on its way: it ends at once, the server sees it at once, and the one connection serves again.

    Args:
      script: Of the request's connection.
      use: What is cancelled.
      tls: Over TLS.
      most: Seconds until it has ended.
      ready: Cancel when this is true,
      then: and so many seconds later.
    """
    context = good_certificate(authority()) if tls else None

    async def seconds() -> float:
        async with FaultServer([script], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority()), timeout=ts.Timeouts()) as client:

                async def is_ready() -> None:
                    await until(lambda: ready(server))
                    await trio.sleep(then)

                took = await cancel_once(is_ready, partial(use, client), server.port)
                ended_at = trio.current_time()
                seen = await server.closed(0) - ended_at
                await check_after(client)
        # The worse of the two, each by its own measure.
        return max(took / most, seen / SEEN)

    await best_of_tries(seconds, 1.0)
    gc.collect()


# Before there is an answer.


@row("a cancel while connecting (SYN unanswered)")
async def while_connecting() -> None:
    async def seconds() -> float:
        with UnansweringPort(ignores=True) as port:
            async with client_for(None, base_url=port.url) as client:
                before = open_sockets()
                took = await cancel_once(partial(trio.sleep, 0.05), partial(stream_to_end, client), port.port)
                assert open_sockets() == before
                await check_serves(port, client)
        return took

    await best_of_tries(seconds, EXIT)


@row("a2 cancel in the TLS handshake")
async def in_the_handshake() -> None:
    async def seconds() -> float:
        async with FaultServer([on(silence())], scheme="https") as server:
            async with client_for(server, ssl_context=trusting(authority())) as client:

                async def ready() -> None:
                    await until(lambda: server.peers and server.peers[0].bytes_received)

                took = await cancel_once(ready, partial(stream_to_end, client), server.port)
                ended_at = trio.current_time()
                seen = await server.closed(0) - ended_at
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


async def with_two_streams(client: ts.Client) -> None:
    """One within the other: of a client without a bound, the second on another connection."""
    async with client.messages.stream(**PARAMS) as stream:
        try:
            await stream.until_done()
        finally:
            assert stream.partial is not None


@pytest.mark.parametrize("flood", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize(
    "use",
    [with_text_stream, with_text_chunks, with_create, with_raw_events, with_a_child, with_a_cleanup, with_two_streams],
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
        async with FaultServer([on(request(), CUT, silence())]) as server:
            async with client_for(server, transport=httpx.AsyncHTTPTransport()) as client:
                took = await cancel_once(
                    partial(until, lambda: server.requests), partial(stream_to_end, client), server.port
                )
                await server.closed(0)
                await check_after(client)
        return took

    await best_of_tries(seconds, EXIT)
    gc.collect()


# Leaving.


async def left_by(leave: Use, *, tls: bool = False, script: Script | None = None) -> None:
    """Leave a block in some way: the socket is closed before ``__aexit__`` returns."""
    context = good_certificate(authority()) if tls else None

    async def seconds() -> float:
        async with FaultServer([script or on(request(), CUT, silence())], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority()), timeout=ts.Timeouts()) as client:
                await leave(client)
                assert sockets_to(server.port) == 0
                left_at = trio.current_time()
                seen = await server.closed(0) - left_at
                await check_after(client)
        return seen

    await best_of_tries(seconds, SEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


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


async def by_cancel(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        stream.cancel("enough")
        await trio.sleep_forever()


async def by_aclose(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.aclose()


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


BUSY = on(request(), CUT, FLOOD)


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


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("way", [by_cancel, by_aclose])
async def test_more_ways_to_leave(way: Use, tls: bool) -> None:
    await left_by(way, tls=tls)
    await left_by(way, tls=tls, script=BUSY)


async def test_leaving_does_not_wait_for_a_server_that_does_not_read() -> None:
    """Nor for TLS to say goodbye."""
    for context in (None, good_certificate(authority())):
        script = on(request(), CUT, wait(trio.Event()))
        async with FaultServer([script], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority())) as client:
                with trio.fail_after(0.5):
                    await by_return(client)
                assert sockets_to(server.port) == 0


# Many at once.


async def hundred_siblings() -> float:
    """Cancel all; how long until the server has seen the last one close."""
    async with FaultServer(then=on(request(), CUT, silence())) as server:
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
            last = max([await server.closed(number) for number in range(100)])
            assert client.statistics() == ts.ConnectionStatistics(active=0, idle=0, waiting=0)
    return last - cancelled_at


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
    async with FaultServer(then=on(drips)) as server, client_for(server, max_connections=2) as client:
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
    async with FaultServer() as server, client_for(server) as client:
        for messages in (client.messages, client.beta.messages):
            stream = await messages.create(**PARAMS, stream=True)
            with pytest.raises(RuntimeError, match="async with"):
                await stream.receive()
            with pytest.raises(RuntimeError, match="async with"):
                async for _ in stream:
                    pass
            manager = messages.stream(**PARAMS)
            for name in ("receive", "__anext__", "__aiter__", "text_stream", "aclose"):
                assert not hasattr(manager, name)
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
        async with FaultServer() as server, client_for(server) as client:
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
        async with FaultServer([once(overloaded)]) as server, client_for(server, max_retries=2) as client:

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
            async with FaultServer([script], tls=context) as server:
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
        async with FaultServer([slow]) as server, client_for(server) as client:
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


# Reuse.


@pytest.mark.parametrize("late", [b"", LAST_CHUNK[:2]])
async def test_while_reading_the_rest_of_the_last_answer(late: bytes) -> None:
    """A connection that is still ending is taken up by the next request: cancelled there, it is closed."""
    unfinished = on(request(), send(CHUNKED_HEAD, chunked(*BEGIN, *DELTAS, *END), late), silence())
    async with FaultServer([unfinished]) as server, client_for(server) as client:
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

    async with FaultServer([on(slowly)]) as server, client_for(server) as client:
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


# Checkpoints.


THINKING = [
    message_start(),
    block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
    *[block_delta({"type": "thinking_delta", "thinking": "hm "})] * 20,
    block_stop(0),
    block_start(1),
    *[text_delta("word. ", 1)] * 20,
    block_stop(1),
    message_delta(),
    message_stop(),
]


async def opened(client: ts.Client) -> tuple[Any, ts.MessageStream]:
    manager = client.messages.stream(**PARAMS)
    return manager, await manager.__aenter__()


COMPLETE: dict[str, Callable[[ts.MessageStream], Awaitable[Any]]] = {
    "until_done": lambda stream: stream.until_done(),
    "get_final_message": lambda stream: stream.get_final_message(),
    "get_final_text": lambda stream: stream.get_final_text(),
    "aclose": lambda stream: stream.aclose(),
    "close": lambda stream: stream.close(),
}
"""Full checkpoints on every call, whatever has arrived."""

STEPS: dict[str, Callable[[ts.MessageStream], Awaitable[Any]]] = {
    "receive": lambda stream: stream.receive(),
    "__anext__": lambda stream: stream.__anext__(),
    "text_stream": lambda stream: stream.text_stream.__anext__(),
    "thinking_stream": lambda stream: stream.thinking_stream.__anext__(),
    "texts": lambda stream: stream.texts().__anext__(),
    "text_chunks": lambda stream: stream.text_chunks(min_chars=3).__anext__(),
}
"""Cancellation points on every call; schedule points where they wait, and otherwise once a millisecond."""


async def on_streams(check: Callable[[ts.MessageStream], Awaitable[None]]) -> None:
    """Once each on a stream that has just been opened, is complete, was closed, and was left."""
    answer = CHUNKED_HEAD + chunked(*THINKING, last=True)
    async with FaultServer(then=answering(answer)) as server, client_for(server, max_connections=None) as client:
        for state in ("open", "complete", "closed", "complete and left", "left"):
            async with client.messages.stream(**PARAMS) as stream:
                if state == "complete":
                    await stream.until_done()
                if state == "closed":
                    await stream.aclose()
                if state in ("open", "complete", "closed"):
                    await check(stream)
                if state == "complete and left":
                    await stream.until_done()
            if "left" in state:
                await check(stream)


ENDS = (ts.IncompleteStreamError, trio.ClosedResourceError, trio.EndOfChannel, StopAsyncIteration)


@pytest.mark.parametrize("name", COMPLETE)
async def test_checkpoints(name: str) -> None:
    """Also when there is nothing left to wait for, or to close."""

    async def check(stream: ts.MessageStream) -> None:
        for _ in range(2):
            try:
                with trio.testing.assert_checkpoints():
                    await COMPLETE[name](stream)
            except ENDS:
                return

    await on_streams(check)


@pytest.mark.parametrize("name", [*COMPLETE, *STEPS])
async def test_cancellation_points(name: str) -> None:
    """Every call, also one that has what it needs: nothing is taken when it is cancelled."""

    async def check(stream: ts.MessageStream) -> None:
        before = stream.text, len(stream._ready)
        with trio.CancelScope() as scope:
            scope.cancel(reason="the row")
            try:
                await (COMPLETE | STEPS)[name](stream)
            except ENDS:
                pytest.fail("it should have noticed the cancellation first")
        assert scope.cancelled_caught
        assert (stream.text, len(stream._ready)) == before or "close" in name

    await on_streams(check)


@row("`assert_checkpoints` on every public async function")
async def checkpoints() -> None:
    for name in COMPLETE:
        await test_checkpoints(name)
    for name in STEPS:
        await test_cancellation_points(name)
    async with FaultServer() as server:
        client = client_for(server)
        with trio.testing.assert_checkpoints():
            await client.__aenter__()
        for messages in (client.messages, client.beta.messages):
            with trio.testing.assert_checkpoints():
                await messages.create(**PARAMS)
            with trio.testing.assert_checkpoints():
                stream = await messages.create(**PARAMS, stream=True)
            with trio.testing.assert_checkpoints():
                await stream.__aenter__()
            for method in (stream.until_done, stream.aclose, stream.close):
                with trio.testing.assert_checkpoints():
                    await method()
            await stream.__aexit__(None, None, None)
            manager = messages.stream(**PARAMS)
            with trio.testing.assert_checkpoints():
                await manager.__aenter__()
            await manager.__aexit__(None, None, None)
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await client.aclose()
        client = client_for(server)
        with trio.testing.assert_checkpoints():
            await client.__aexit__(None, None, None)
    count = sized(b'{"input_tokens": 1}', content_type=b"application/json")
    async with FaultServer(then=answering(count)) as server, client_for(server) as client:
        for messages in (client.messages, client.beta.messages):
            with trio.testing.assert_checkpoints():
                await messages.count_tokens(model="m", messages=PARAMS["messages"])


class Steps(trio.abc.Instrument):
    """Counts the steps of one task."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def test_schedule_points() -> None:
    """A receive that waits is one; and decoding what has arrived goes on for a millisecond or so at a time."""
    events = [*BEGIN, *[text_delta("word ")] * 20_000, *END]
    for answer in (chunked(b"".join(events), last=True), b"".join(chunked(item) for item in events) + LAST_CHUNK):
        async with FaultServer([once(CHUNKED_HEAD, answer)]) as server, client_for(server) as client:
            async with client.messages.stream(**PARAMS) as stream:
                steps = Steps()
                trio.lowlevel.add_instrument(steps)
                began = trio.current_time()
                async for _ in stream:
                    pass
                seconds = trio.current_time() - began
                trio.lowlevel.remove_instrument(steps)
            assert stream.message.text == "word " * 20_000
        assert steps.count >= seconds / 0.010, f"{steps.count} steps in {seconds:.3f} s"


async def test_siblings_run_meanwhile() -> None:
    """A flood of events is no reason for other tasks to stand still."""
    gaps: list[float] = []

    async def tick() -> None:
        last = trio.current_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            gaps.append(now - last)
            last = now

    async with FaultServer([on(request(), CUT, FLOOD)], then=GOOD) as server, client_for(server) as client:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                await stream_to_end(client)
    # The median is the code's; the longest may be the machine's.
    assert sorted(gaps)[len(gaps) // 2] < 0.010
    assert len(gaps) >= 50


async def test_nothing_is_left_by_any_of_it() -> None:
    """A whole program of cancelled streams, clients left open, and what was never entered."""
    with no_socket_left():
        async with FaultServer(then=on(request(), CUT, silence())) as server:
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
    assert GOOD_ANSWER


@pytest.mark.parametrize("check", CANCELLATION.checks())
async def test_cancellation(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    CANCELLATION.check_complete()
