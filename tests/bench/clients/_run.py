"""What the clients of the benchmark share: reading the scenario, and measuring one process.

What belongs here: CPU time, memory, wall time and lateness around a load. What does not: any client.

Imports nothing but what every client's environment has.
"""

from __future__ import annotations

import abc
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from tests.bench.scenarios import Scenario

WIRE_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)
CANCEL_AT = 1000  # texts
TICK_SECONDS = 0.001


class Reader(abc.ABC):
    """Reads streams as the users of one library do."""

    @abc.abstractmethod
    async def read(self) -> int:
        """Read one stream to its end, all events and the final message; return the number of wire events."""

    async def read_texts(self, note: Callable[[str], None]) -> None:
        """Read one stream to its end, and note each text as soon as its event is there."""
        raise NotImplementedError

    async def read_and_keep(self) -> list[Any]:
        """Read one stream to its end, and keep all events."""
        raise NotImplementedError


def scenario_and_url() -> tuple[Scenario, str, str]:
    """The scenario, the base URL, and the path of a certificate authority to trust ("" for none)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return msgspec.json.decode(sys.argv[1], type=Scenario), sys.argv[2], sys.argv[3]


async def measure(scenario: Scenario, reader: Reader) -> None:
    """Do the scenario's task, and print what came of it as one line of JSON."""
    await reader.read()  # the server's short answer: what is imported or compiled at first use is by now
    tasks = {"read": read_all, "keep": keep_all, "latency": latency, "tick": tick, "cancel": cancel}
    result = await tasks[scenario.task](scenario, reader)
    print(json.dumps(result))


def resident_bytes() -> int:
    """The memory this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def read_all(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Read all streams at once, as often as the scenario says."""
    turns = [await read_once(scenario, reader) for _ in range(scenario.repeats)]
    result = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    # The memory of an earlier time may serve a later one, so it is the first that shows what is needed.
    return {**result, "kb_per_stream": turns[0]["kb_per_stream"]}


async def read_once(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Read all streams at once."""
    counts: list[int] = []

    async def one() -> None:
        counts.append(await reader.read())

    async def watch_memory() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident_bytes())
            await trio.sleep(0.25)

    gc.collect()
    peak = memory = resident_bytes()
    cpu, wall = time.process_time(), time.perf_counter()
    async with trio.open_nursery() as watching:
        watching.start_soon(watch_memory)
        async with trio.open_nursery() as nursery:
            for _ in range(scenario.streams):
                nursery.start_soon(one)
        watching.cancel_scope.cancel()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = max(peak, resident_bytes())
    assert len(counts) == scenario.streams
    assert sum(counts) == scenario.events, (sum(counts), scenario.events)
    return {
        "cpu_us_per_event": cpu / scenario.events * 1e6,
        "wall_s": wall,
        "kb_per_stream": (peak - memory) / scenario.streams / 1e3,
    }


async def keep_all(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Keep the events of one stream."""
    gc.collect()
    memory = resident_bytes()
    cpu = time.process_time()
    kept = await reader.read_and_keep()
    cpu = time.process_time() - cpu
    gc.collect()
    memory = resident_bytes() - memory
    assert len(kept) >= scenario.events
    return {"kept_kb": memory / 1e3, "cpu_us_per_event": cpu / scenario.events * 1e6}


async def latency(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Measure how long events are on their way: their text is the time at which they were sent."""
    delays: list[float] = []

    def note(text: str) -> None:
        now = time.perf_counter()  # the same clock in all processes
        if text[:1].isdigit():
            delays.append(now - float(text))

    async with trio.open_nursery() as nursery:
        for _ in range(scenario.streams):
            nursery.start_soon(reader.read_texts, note)
    delays.sort()
    assert len(delays) > scenario.events * 0.8
    return {"median_ms": delays[len(delays) // 2] * 1e3, "p99_ms": delays[len(delays) * 99 // 100] * 1e3}


async def tick(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Read a burst beside a task that is to run every millisecond."""
    latest = 0.0
    ticks = 0

    async def ticking() -> None:
        nonlocal latest, ticks
        due = time.perf_counter()
        while True:
            due += TICK_SECONDS
            await trio.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            latest = max(latest, now - due)
            due = now
            ticks += 1

    def note(_text: str) -> None:
        pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticking)
        for _ in range(scenario.streams):
            await reader.read_texts(note)
        await trio.sleep(3 * TICK_SECONDS)  # if it was kept from running until now, it says so
        nursery.cancel_scope.cancel()
    return {"latest_tick_ms": latest * 1e3, "ticks": ticks}


async def cancel(scenario: Scenario, reader: Reader) -> dict[str, float]:
    """Cancel the reading task in the middle of a burst, and count what it is still given."""
    texts = 0

    def note(_text: str) -> None:
        nonlocal texts
        texts += 1
        if texts == CANCEL_AT:
            scope.cancel()

    with trio.CancelScope() as scope:
        await reader.read_texts(note)
    return {"after_cancel": texts - CANCEL_AT}
