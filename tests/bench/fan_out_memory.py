"""Memory of a fan-out over very many items: ``python -m tests.bench.fan_out_memory --items 300000``.

The streams are not ours but made up, and take no time: what is measured is the fan-out's own memory.
Prints the growth of the process from the first items to the last, in MB.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import trio

import trio_stream as ts
from trio_stream._client import ADMISSION
from trio_stream._instruments import Instruments
from trio_stream.batch import fan_out

_FIRST = 2_000
MESSAGE = ts.Message(content=(ts.TextBlock(text="x"),), stop_reason="end_turn", usage=ts.Usage(output_tokens=1))


class Stream:
    """A whole message, at once."""

    text = "x"
    message = partial = MESSAGE
    usage = MESSAGE.usage
    stats = ts.StreamStats()
    rate_limits = ts.RateLimits()
    request_id = None
    stop_reason = "end_turn"

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await trio.lowlevel.checkpoint()

    async def until_done(self) -> None:
        await trio.lowlevel.checkpoint()


class FakeClient:
    """Gives such streams."""

    instruments = Instruments()
    limiter = lane = None

    class messages:  # noqa: N801
        @staticmethod
        def stream(**params: Any) -> Stream:
            params[ADMISSION]().began(Stream.rate_limits, Stream.usage, lambda: 1)
            return Stream()


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def prompts(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"item {number} " + "x" * 1000


async def prompts_async(count: int) -> AsyncIterator[str]:
    for prompt in prompts(count):
        yield prompt


async def run(count: int, *, asynchronous: bool) -> float:
    client = cast("ts.Client", FakeClient())
    items = prompts_async(count) if asynchronous else prompts(count)
    before = done = 0.0
    async with fan_out(client, items, model="m", max_tokens=1) as results:
        async for _ in results:
            done += 1
            if done == _FIRST:
                before = resident()
    assert done == count
    return resident() - before


def main() -> None:
    """Print the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--async", dest="asynchronous", action="store_true")
    options = parser.parse_args()
    growth = trio.run(lambda: run(options.items, asynchronous=options.asynchronous))
    print(f"{growth:.1f} MB more after {options.items} items; {resident():.0f} MB in all")


if __name__ == "__main__":
    main()
