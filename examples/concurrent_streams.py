"""Ask several questions at once, in a nursery.

The streams share the client's connections and each costs one task. When one fails, the nursery cancels the others
and their connections are closed before the error goes on.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

QUESTIONS = [
    "What is a nursery?",
    "What is a cancel scope?",
    "What is backpressure?",
    "What makes a good test of concurrent code?",
]


async def answer(client: ts.Client, question: str, answers: dict[str, str]) -> None:
    async with client.messages.stream(
        model=MODEL, max_tokens=512, messages=[{"role": "user", "content": question}]
    ) as stream:
        answers[question] = await stream.get_final_text()
    print(f"answered: {question} ({stream.message.usage.output_tokens} tokens)")


async def main() -> None:
    answers: dict[str, str] = {}
    async with ts.Client() as client, trio.open_nursery() as nursery:
        for question in QUESTIONS:
            nursery.start_soon(answer, client, question, answers)
    for question in QUESTIONS:
        print(f"\n{question}\n{answers[question]}")


if __name__ == "__main__":
    trio.run(main)
