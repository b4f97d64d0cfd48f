"""Ask what a generator gives, however much that is, until the money is spent.

Items are taken one at a time, when there is room. When the budget, in dollars, is used up nothing new is started, and
what is under way is finished.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def riddles() -> Iterator[ts.Item]:
    for number in itertools.count(1):
        yield ts.Item(f"Riddle number {number}, please.", id=f"riddle-{number}")


async def main() -> None:
    async with ts.Client() as client:
        async with ts.fan_out(
            client,
            riddles(),
            limit=ts.Adaptive(2, 4, 16),
            budget=ts.Budget(cost=0.02),
            model=MODEL,
            max_tokens=256,
        ) as results:
            async for outcome in results:
                if outcome.finished:
                    print(f"{outcome.id}: {outcome.text[:70]}")
        stats = results.stats
    spent = "an unknown amount" if stats.cost is None else f"${stats.cost:.3f}"
    print(f"{stats.ok} riddles for {spent}; stopped: {stats.stopped}")


if __name__ == "__main__":
    trio.run(main)
