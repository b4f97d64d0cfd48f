"""Cancelled at every scheduler step, with a pool of one: nothing is left, and the next request works.

What belongs here: what is cancelled, over which connections, and the checks after every step. What does not: which of
it is run when (`test_every_step`, and the fault matrix).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio

import trio_stream as ts
from tests.soak.form import PARAMS, client_at, in_packets
from tests.wire.answers import CHUNKED_HEAD, api_error, chunked
from tests.wire.events import CUT_EVENTS, TEXT, error_event
from tests.wire.server import Peer, Script, WireServer, on
from tests.wire.sockets import sockets_to
from trio_stream.testing import cancel_everywhere


async def one_message(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            pass


async def whole_message(client: ts.Client) -> None:
    await client.messages.create(**PARAMS)


async def raw_events(client: ts.Client) -> None:
    async with await client.messages.create(**PARAMS, stream=True) as stream:
        await stream.until_done()


async def left_early(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.receive()


async def child_in_the_nursery(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        read = trio.Event()

        async def child() -> None:
            await stream.until_done()
            read.set()

        stream.nursery.start_soon(child)
        await read.wait()


async def retried(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS, max_retries=1) as stream:
        await stream.until_done()


async def refused(client: ts.Client) -> None:
    with pytest.raises(ts.OverloadedError):
        await client.messages.create(**PARAMS)


async def three_at_once(client: ts.Client) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one_message, client)


async def closed_by_a_sibling(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        with pytest.raises((trio.ClosedResourceError, trio.EndOfChannel)):
            while True:
                await stream.receive()


OVERLOADED = api_error(b"529 Overloaded", "overloaded_error", b"retry-after-ms: 1")


def every_second(bad: bytes) -> Script:
    """Answer requests in turn badly and well, whatever connection they come on."""
    asked = 0
    good = in_packets(0).steps[0]

    async def step(peer: Peer) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            await peer.request()
            await peer.send(bad)
        await good(peer)

    return on(step)


def always(answer: bytes) -> Script:
    async def step(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    return on(step)


Scenario = tuple[Callable[[ts.Client], Awaitable[None]], Script]

SCENARIOS: dict[str, Scenario] = {
    "message": (one_message, in_packets()),
    "create": (whole_message, in_packets()),
    "raw events": (raw_events, in_packets()),
    "left early": (left_early, in_packets()),
    "read by a child": (child_in_the_nursery, in_packets()),
    "closed by a sibling": (closed_by_a_sibling, in_packets()),
    "three on one connection": (three_at_once, in_packets(0)),
    "529, then a message": (retried, every_second(OVERLOADED)),
    "error event first": (refused, always(CHUNKED_HEAD + chunked(error_event("overloaded_error"), last=True))),
    "error event": (refused, always(CHUNKED_HEAD + chunked(*CUT_EVENTS, error_event("overloaded_error")))),
    "error body": (refused, always(OVERLOADED)),
}


CONNECTIONS = ("http", "http keep-alive", "tls", "tls keep-alive")


async def every_step(
    scenario: str, connection: str, *, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> int:
    """Run a scenario again and again, cancelled one step later each time, before and after the step.

    Returns:
      How often it was cancelled.
    """
    use, script = SCENARIOS[scenario]
    keeps = "keep-alive" in connection
    context = server_context if connection.startswith("tls") else None
    async with WireServer(then=script, tls=context) as server:
        client = client_at(server.base_url, ssl_context=client_context, max_connections=1)

        async def check() -> None:
            now = client.statistics()
            assert (now.active, now.waiting) == (0, 0)
            with trio.fail_after(60):
                if use is refused:
                    await use(client)
                else:
                    assert (await client.messages.create(**PARAMS, max_retries=1)).text == TEXT
            assert sockets_to(server.port) == (client.statistics().idle if keeps else 0)

        async with AsyncExitStack() as stack:
            # Without `async with` a client keeps no connection, so that each request opens one.
            if keeps:
                await stack.enter_async_context(client)
            return await cancel_everywhere(lambda: use(client), check)
