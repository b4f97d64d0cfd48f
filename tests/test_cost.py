"""What an event and a stream cost, without a clock: system calls, tasks, allocations, and objects for the collector.

What belongs here: counts that are the same on every machine, with bounds just above what they are today, so that a
slower path is noticed in review. What does not: times and ratios (``make bench``), and how the code is cut into
functions, which is nobody's business.

Whoever makes it cheaper lowers the bound. Whoever has to raise one says in the commit what it buys.
"""

from __future__ import annotations

import gc
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import CoroutineType, FrameType, FunctionType, MethodType
from typing import Any

import trio
import trio.testing

import trio_stream as ts
from tests.bench.scenarios import Scenario, render
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk
from tests.wire.server import Peer, serve

PACKAGE = str(Path(ts.__file__).parent)
PARAMS: Any = {"model": "claude-sonnet-5-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hi"}]}
DELTAS = 500


_EVENTS = render(Scenario(name="cost", streams=1, deltas=DELTAS))
START, ALL_DELTAS, END = _EVENTS[:2], _EVENTS[2:-3], _EVENTS[-3:]


class Costs:
    """What the package asks of the operating system and of Trio."""

    def __init__(self) -> None:
        self.system_calls: Counter[str] = Counter()  # on sockets
        self.tasks: list[str] = []
        self._waited = 0  # a wait is called twice: begun, and resumed

    @property
    def waits(self) -> int:
        """Waits for a socket."""
        return self._waited // 2

    def note(self, frame: FrameType, kind: str, argument: object) -> None:
        if kind == "c_call" and frame.f_code.co_filename.startswith(PACKAGE):
            owner = getattr(argument, "__self__", None)
            name = str(getattr(argument, "__name__", ""))
            if isinstance(owner, socket.socket) and name != "fileno":
                self.system_calls[name] += 1
        elif kind == "call" and frame.f_code.co_name in ("wait_readable", "wait_writable"):
            caller = frame.f_back
            self._waited += caller is not None and caller.f_code.co_filename.startswith(PACKAGE)


class TaskCounter(trio.abc.Instrument):
    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if "trio_stream" in task.name:
            self._costs.tasks.append(task.name)


@contextmanager
def counting() -> Iterator[Costs]:
    costs = Costs()
    tasks = TaskCounter(costs)
    trio.lowlevel.add_instrument(tasks)
    before = sys.getprofile()
    sys.setprofile(costs.note)
    try:
        yield costs
    finally:
        sys.setprofile(before)
        trio.lowlevel.remove_instrument(tasks)


async def one_by_one(peer: Peer) -> None:
    """Every event in a chunk and a packet of its own, once the one before it was read."""
    await peer.answer(CHUNKED_HEAD, *map(chunk, START))
    for delta in ALL_DELTAS:
        await peer.send(chunk(delta))
        await trio.testing.wait_all_tasks_blocked()
    await peer.send(b"".join(map(chunk, END)) + LAST_CHUNK)


async def all_at_once(peer: Peer) -> None:
    while True:
        await peer.answer(CHUNKED_HEAD, chunk(b"".join([*START, *ALL_DELTAS, *END])), LAST_CHUNK)


async def costs_of_deltas(script: Callable[[Peer], Any]) -> Costs:
    """The costs of reading the deltas of a stream, as events."""
    async with (
        serve(script) as server,
        ts.Client(api_key="k", base_url=server.base_url) as client,
        client.messages.stream(**PARAMS) as stream,
    ):
        deltas = 0
        async for received in stream:
            if received.type == "content_block_start":
                with counting() as costs:
                    async for further in stream:
                        deltas += further.type == "text"
                        if deltas == DELTAS:
                            break
    assert deltas == DELTAS
    return costs


async def test_an_event_that_was_waited_for():
    """One wait and one read, and nothing is tried in vain."""
    costs = await costs_of_deltas(one_by_one)
    assert set(costs.system_calls) == {"recv"}
    assert DELTAS - 1 <= costs.system_calls["recv"] <= DELTAS  # the first may have come with what began the block
    assert costs.waits == costs.system_calls["recv"]
    assert costs.tasks == []


async def test_an_event_of_a_burst():
    """A read takes what there is, up to 64 KiB, and an event that is there already costs no system call."""
    costs = await costs_of_deltas(all_at_once)
    reads = sum(map(len, ALL_DELTAS)) / 65536
    assert costs.system_calls["recv"] <= 2 * reads + 2  # the server's writes are cut where the kernel likes
    assert set(costs.system_calls) <= {"recv"}
    assert costs.waits <= costs.system_calls["recv"]
    assert costs.tasks == []


async def test_a_stream_on_a_kept_connection():
    """One write, and no more reads and waits than the answer arrives in; nothing is set up again."""
    async with serve(all_at_once) as server, ts.Client(api_key="k", base_url=server.base_url) as client:
        await client.messages.create(**PARAMS)
        with counting() as costs:
            await client.messages.create(**PARAMS)
        assert client.statistics().active == 0
    assert costs.system_calls["send"] == 1
    assert costs.system_calls["recv"] <= 2 * sum(map(len, _EVENTS)) / 65536 + 4
    assert costs.waits <= costs.system_calls["recv"]
    assert set(costs.system_calls) == {"send", "recv"}
    assert len(costs.tasks) == 1  # that watches the clocks


async def test_one_task_for_all_open_streams():
    """Opening a stream beside others starts no task."""
    async with serve(one_by_one) as server, ts.Client(api_key="k", base_url=server.base_url) as client:
        with counting() as costs:
            async with AsyncExitStack() as stack:
                for _ in range(20):
                    await stack.enter_async_context(client.messages.stream(**PARAMS))
                opened = list(costs.tasks)
    assert opened == ["trio_stream clocks"]


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
        await peer.answer(CHUNKED_HEAD, *map(chunk, START))
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
    assert objects / streams <= 32.5  # one of them is the list of the pieces of a block, which is a class of ours


def in_package(held: object) -> bool:
    """An object of this package, or one of its coroutines, functions or methods."""
    if isinstance(held, CoroutineType):
        return held.cr_code.co_filename.startswith(PACKAGE)
    if isinstance(held, FunctionType | MethodType):
        return str(held.__module__).startswith("trio_stream")
    return str(type(held).__module__).startswith("trio_stream")


async def test_a_stream_without_a_limiter_never_goes_near_one():
    """Not one function of that room is called, and nothing of it is made."""

    async def calls_of(**options: Any) -> Counter[str]:
        calls: Counter[str] = Counter()

        def note(frame: FrameType, kind: str, argument: object) -> None:
            if kind == "call" and frame.f_code.co_filename.startswith(f"{PACKAGE}/_limiter/"):
                calls[frame.f_code.co_name] += 1

        async with serve(all_at_once) as server, ts.Client(api_key="k", base_url=server.base_url, **options) as client:
            before = sys.getprofile()
            sys.setprofile(note)
            try:
                await client.messages.create(**PARAMS)
            finally:
                sys.setprofile(before)
        return calls

    assert await calls_of() == Counter()
    with_one = await calls_of(limiter=ts.HeaderRateLimiter())
    # And with one, nothing for each event: there are hundreds.
    assert 0 < max(with_one.values()) < 50
