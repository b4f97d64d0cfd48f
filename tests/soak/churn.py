"""Random cancels under contention: no slot is lost, no socket orphaned, and the pool serves afterwards.

What belongs here: the churn and its checks. What does not: for how long (`test_churn`, and the fault matrix).
"""

from __future__ import annotations

import random
import ssl

import trio

import trio_stream as ts
from tests.soak.form import PARAMS, client_at, in_packets
from tests.wire.events import TEXT
from tests.wire.server import WireServer
from tests.wire.sockets import sockets_to

LATEST_CANCEL = 0.012
"""Seconds. Each phase is hit: waiting for a connection, opening one, and every part of the answer."""

PATIENT = 0.02
"""How many are not cancelled, so that there are idle connections too, and used ones."""


async def churn(
    *,
    workers: int,
    pool: int,
    seconds: float,
    server_context: ssl.SSLContext | None = None,
    client_context: ssl.SSLContext | None = None,
) -> None:
    """Let workers stream and be cancelled for some time, then look at what is left."""
    seed = random.randrange(1 << 32)
    cancelled = complete = 0
    async with WireServer(then=in_packets(), tls=server_context) as server:
        async with client_at(server.base_url, ssl_context=client_context, max_connections=pool) as client:
            ends_at = trio.current_time() + seconds

            async def work(number: int) -> None:
                nonlocal cancelled, complete
                dice = random.Random(seed + number)
                # On a busy machine a little longer, until enough has happened.
                while trio.current_time() < ends_at or complete < seconds or cancelled < 50 * seconds:
                    patient = dice.random() < PATIENT
                    with trio.move_on_after(10 if patient else dice.uniform(0, LATEST_CANCEL)) as scope:
                        async with client.messages.stream(**PARAMS) as stream:
                            await stream.until_done()
                        assert stream.message.text == TEXT
                        complete += 1
                    cancelled += scope.cancelled_caught

            with trio.fail_after(10 * seconds + 60):
                async with trio.open_nursery() as nursery:
                    for number in range(workers):
                        nursery.start_soon(work, number)

            told = f"seed {seed}, {cancelled} cancelled, {complete} complete"
            now = client.statistics()
            assert (now.active, now.waiting) == (0, 0), told
            assert now.idle <= pool, told
            assert sockets_to(server.port) == now.idle, told
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for _ in range(3 * pool):
                        nursery.start_soon(complete_one, client)
        assert sockets_to(server.port) == 0, told
        for number in range(len(server.peers)):
            await server.closed(number)
    assert cancelled >= 50 * seconds, told
    assert complete >= seconds, told


async def complete_one(client: ts.Client) -> None:
    """Stream one message that nobody cancels."""
    assert (await client.messages.create(**PARAMS)).text == TEXT
