"""Ask a list of questions at once, and get the texts in their order.

`gather_texts` raises the first error and cancels the rest. `gather_outcomes` never raises for a question: each has an
outcome that says how it ended.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

QUESTIONS = [
    "What is 2+2?",
    "What is a nursery?",
    "Why is the sky blue?",
]


async def main() -> None:
    async with ts.Client() as client:
        texts = await ts.gather_texts(client, QUESTIONS, model=MODEL, max_tokens=512)
        for question, text in zip(QUESTIONS, texts, strict=True):
            print(f"{question}\n{text}\n")

        outcomes = await ts.gather_outcomes(client, QUESTIONS, model=MODEL, max_tokens=512)
    for outcome in outcomes:
        print(f"{outcome.index}: {outcome.status}, {outcome.attempts} requests, {outcome.seconds:.1f} s")


if __name__ == "__main__":
    trio.run(main)
