"""What an event and a stream cost, without a clock: calls, allocations, and objects for the garbage collector.

What belongs here: counts that are the same on every machine, with bounds just above what they are today, so that a
slower hot path is noticed in review. What does not: times and ratios (``make bench``).

Whoever makes it cheaper lowers the bound. Whoever has to raise one says in the commit what it buys.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CoroutineType, FrameType, FunctionType, MethodType
from typing import Any

import trio
import trio.testing

import trio_stream as ts
from tests.bench.scenarios import Scenario, render
from tests.http.wire_server import CHUNKED, LAST_CHUNK, Peer, chunk, serve

PACKAGE = str(Path(ts.__file__).parent)
PARAMS: Any = {"model": "claude-sonnet-5-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hi"}]}
DELTAS = 500


_EVENTS = render(Scenario(name="cost", streams=1, deltas=DELTAS))
START, ALL_DELTAS, END = _EVENTS[:2], _EVENTS[2:-3], _EVENTS[-3:]


class Calls:
    """Calls of this package's functions, and of C functions by them. Resuming a coroutine is a call, too."""

    def __init__(self) -> None:
        self.python = 0
        self.c = 0

    @property
    def per_delta(self) -> tuple[float, float]:
        return self.python / DELTAS, self.c / DELTAS

    def note(self, frame: FrameType, kind: str, _argument: object) -> None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            self.python += kind == "call"
            self.c += kind == "c_call"


@contextmanager
def counting() -> Iterator[Calls]:
    calls = Calls()
    before = sys.getprofile()
    sys.setprofile(calls.note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


async def one_by_one(peer: Peer) -> None:
    """Every event in a chunk and a packet of its own, once the one before it was read."""
    await peer.answer(CHUNKED, *map(chunk, START))
    for delta in ALL_DELTAS:
        await peer.send(chunk(delta))
        await trio.testing.wait_all_tasks_blocked()
    await peer.send(b"".join(map(chunk, END)) + LAST_CHUNK)


async def all_at_once(peer: Peer) -> None:
    while True:
        await peer.answer(CHUNKED, chunk(b"".join([*START, *ALL_DELTAS, *END])), LAST_CHUNK)


async def calls_per_delta(script: Callable[[Peer], Any]) -> tuple[float, float]:
    async with (
        serve(script) as server,
        ts.Client(api_key="k", base_url=server.base_url) as client,
        client.messages.stream(**PARAMS) as stream,
    ):
        deltas = 0
        async for received in stream:
            if received.type == "content_block_start":
                with counting() as calls:
                    async for further in stream:
                        deltas += further.type == "text"
                        if deltas == DELTAS:
                            break
    assert deltas == DELTAS
    return calls.per_delta


async def test_an_event_that_was_waited_for():
    python, c = await calls_per_delta(one_by_one)
    assert python <= 20.1
    assert c <= 23.1


async def test_an_event_of_a_burst():
    python, c = await calls_per_delta(all_at_once)
    assert python <= 6.5
    assert c <= 11.1


async def test_allocations_of_an_event():
    """An event that is not kept leaves its piece of text; one that is kept has no copy of the text before it."""
    for keep, most in ((False, 1.2), (True, 4.7)):
        kept: list[object] = []
        async with (
            serve(one_by_one) as server,
            ts.Client(api_key="k", base_url=server.base_url) as client,
            client.messages.stream(**PARAMS) as stream,
        ):
            async for received in stream:
                if received.type == "text":
                    break
            before = sys.getallocatedblocks()
            async for received in stream:
                if received.type == "content_block_stop":
                    break
                if keep:
                    kept.append(received)
            grown = sys.getallocatedblocks() - before
        assert grown / DELTAS <= most


async def test_objects_of_an_open_stream():
    """What the garbage collector looks through again and again, for every stream that is open."""
    streams = 50
    opened = 0

    async def answers(peer: Peer) -> None:
        await peer.answer(CHUNKED, *map(chunk, START))
        await peer.until_closed()

    async def reads() -> None:
        nonlocal opened
        async with client.messages.stream(**PARAMS) as stream:
            async for _ in stream:
                opened += 1

    async with serve(answers) as server, ts.Client(api_key="k", base_url=server.base_url) as client:
        async with trio.open_nursery() as nursery:
            gc.collect()
            before = sum(1 for held in gc.get_objects() if in_package(held))
            for _ in range(streams):
                nursery.start_soon(reads)
            while opened < 2 * streams:
                await trio.sleep(0.01)
            gc.collect()
            objects = sum(1 for held in gc.get_objects() if in_package(held)) - before
            nursery.cancel_scope.cancel()
    assert objects / streams <= 31.5


def in_package(held: object) -> bool:
    """An object of this package, or one of its coroutines, functions or methods."""
    if isinstance(held, CoroutineType):
        return held.cr_code.co_filename.startswith(PACKAGE)
    if isinstance(held, FunctionType | MethodType):
        return str(held.__module__).startswith("trio_stream")
    return str(type(held).__module__).startswith("trio_stream")
