"""A program that sends items via message batches (`python -m tests.soak.killed URL JOURNAL ROUND`), until it is killed.

What belongs here: what the program does. What does not: who kills it, and what must hold then (`test_killed`). Its
pauses are a hundredth of what they are in earnest.
"""

from __future__ import annotations

import sys

import trio

import trio_stream as ts
from trio_stream.batch import _via_batch, _via_batch_calls

ITEMS = 30
MODEL = "claude-sonnet-5-5"


def hurry() -> None:
    """Make the pauses short."""
    _via_batch._OPEN_SECONDS = 0.05  # type: ignore[misc]
    _via_batch_calls._FIRST_LOOK_SECONDS = 0.05  # type: ignore[misc]
    _via_batch_calls._LONGEST_PAUSE_SECONDS = 0.1  # type: ignore[misc]


def prompts_of(number: int) -> list[str]:
    """The prompts of a round."""
    return [f"prompt {number}.{place}" for place in range(ITEMS)]


async def main(url: str, journal: str, number: str) -> None:
    items = [ts.Item(prompt, id=prompt) for prompt in prompts_of(int(number))]
    via = ts.ViaBatch(probe=False, max_requests=10, settle=2.0)
    client = ts.Client(api_key="test-key", base_url=url)
    async with ts.fan_out(client, items, via=via, journal=journal, model=MODEL, max_tokens=64) as results:
        async for outcome in results:
            outcome.unwrap()


if __name__ == "__main__":
    hurry()
    trio.run(main, *sys.argv[1:])
