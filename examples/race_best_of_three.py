"""Ask the same in three ways, and take the answer that begins first.

The others are cancelled, and their connections closed. An error or an empty answer never wins.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

REQUESTS = [
    "Tell me a short story about the sea.",
    "Tell me a very short story about the sea.",
    "Tell me a story about the sea, in one sentence.",
]


async def main() -> None:
    async with ts.Client() as client:
        winner = await ts.race(client, REQUESTS, stagger=0.5, win_on="first_text", model=MODEL, max_tokens=512)
    print(winner.unwrap())
    print(f"\nwon: request {winner.index}, first text after {winner.ttft or 0.0:.2f} s")


if __name__ == "__main__":
    trio.run(main)
