"""Cancelling requests, and looking at what is left: what the rows of the section "Cancellation" have in common.

What belongs here: the ways to cancel, and the checks. What does not: where it strikes (the test modules).

The figures are about the code. The machine may be doing other things: so the tests run by a clock of their own
(`tests.own_time`), each figure is held by the best of some tries, and everything else by every try.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme

import trio_stream as ts
from tests.faults.rows import PARAMS, check_after, client_for
from tests.wire.answers import CHUNKED_HEAD, chunked
from tests.wire.events import CUT_EVENTS, text_delta
from tests.wire.server import Script, WireServer, on, repeat, request, send, silence
from tests.wire.sockets import sockets_to
from tests.wire.tls import good_certificate, trusting

EXIT = 0.010
UPLOAD_EXIT = 0.020
SEEN = 0.020
TRIES = 20

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
    ready: Callable[[WireServer], object] = lambda server: server.requests,
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
        async with WireServer([script], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority()), timeout=ts.Timeouts()) as client:

                async def is_ready() -> None:
                    await until(lambda: ready(server))
                    await trio.sleep(then)

                took = await cancel_once(is_ready, partial(use, client), server.port)
                ended_at = trio.current_time()
                await server.closed(0)
                seen = trio.current_time() - ended_at
                await check_after(client)
        # The worse of the two, each by its own measure.
        return max(took / most, seen / SEEN)

    await best_of_tries(seconds, 1.0)
    gc.collect()


async def left_by(leave: Use, *, tls: bool = False, script: Script | None = None) -> None:
    """Leave a block in some way: the socket is closed before ``__aexit__`` returns."""
    context = good_certificate(authority()) if tls else None

    async def seconds() -> float:
        async with WireServer([script or on(request(), CUT, silence())], tls=context) as server:
            async with client_for(server, ssl_context=trusting(authority()), timeout=ts.Timeouts()) as client:
                await leave(client)
                assert sockets_to(server.port) == 0
                left_at = trio.current_time()
                await server.closed(0)
                seen = trio.current_time() - left_at
                await check_after(client)
        return seen

    await best_of_tries(seconds, SEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


BUSY = on(request(), CUT, FLOOD)
