"""What async generators cost streams: ``python -m tests.bench.generators``.

What belongs here: looking for a generator on entering a block, beside entering and leaving a whole stream; and a wait in
a generator, beside a wait elsewhere. What does not: any network; the scripted API is in memory.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import trio
import trio.testing

import trio_stream as ts
from trio_stream._generators import suspending_generator
from trio_stream.testing import ScriptedAPI, pause, say

CALLS = 500
ROUNDS = 200
STREAMS = 200
WAITS = 2000

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
}


def microseconds(call: Callable[[], object]) -> float:
    """The least CPU time of a call, in microseconds, over some rounds: others use this machine too."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        least = min(least, time.process_time() - began)
    return least / CALLS * 1e6


class Looks:
    """A block that looks for a generator, many times."""

    async def __aenter__(self) -> float:
        return microseconds(suspending_generator)

    async def __aexit__(self, *exc: object) -> None:
        pass


async def look_at_depth(depth: int) -> float:
    """The time of a search so many functions below the first of the task."""
    if depth > 1:
        return await look_at_depth(depth - 1)
    async with Looks() as found:
        return found


async def open_and_leave() -> float:
    """The time of a whole stream, from entering to leaving."""
    client = ts.Client(api_key="test-key", transport=ScriptedAPI(default=[say("x")], keep_requests=1))
    least = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(STREAMS):
            async with client.messages.stream(**PARAMS):
                pass
        least = min(least, time.process_time() - began)
    return least / STREAMS * 1e6


async def wait_for_events(*, in_generator: bool) -> float:
    """The time of an event that had to be waited for."""
    script = [step for _ in range(WAITS) for step in (say("x"), pause(0.01))]
    client = ts.Client(api_key="test-key", transport=ScriptedAPI(script))

    async def texts() -> AsyncGenerator[None]:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
            yield

    began = time.process_time()
    if in_generator:
        async for _ in texts():
            pass
    else:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
    return (time.process_time() - began) / WAITS * 1e6


async def main() -> None:
    """Measure, and print a table."""
    opened = await open_and_leave()
    for depth in (1, 20):
        looked = await look_at_depth(depth)
        print(
            f"looking for a generator, depth {depth:2}: {looked:6.2f} us, {looked / opened:.2%} of a stream in memory"
        )
    outside = min([await wait_for_events(in_generator=False) for _ in range(3)])
    inside = min([await wait_for_events(in_generator=True) for _ in range(3)])
    print(f"a wait in a generator: {inside - outside:6.2f} us more ({inside:.0f} us, scripted API included)")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
