"""Ask many questions at half the price, as one message batch.

The batch goes on when this program ends. Its id is printed: give it as an argument to come back for the results.
"""

from __future__ import annotations

import os
import sys

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")
SECONDS_BETWEEN_LOOKS = 30

QUESTIONS = {
    "sum": "What is 2+2?",
    "nursery": "What is a nursery?",
    "sky": "Why is the sky blue?",
}


def request_for(name: str) -> ts.BatchRequest:
    message: ts.MessageParam = {"role": "user", "content": QUESTIONS[name]}
    return {"custom_id": name, "params": {"model": MODEL, "max_tokens": 512, "messages": [message]}}


async def main() -> None:
    async with ts.Client() as client:
        batches = client.messages.batches
        if len(sys.argv) > 1:
            batch = await batches.retrieve(sys.argv[1])
        else:
            batch = await batches.create(map(request_for, QUESTIONS))
            print(f"created {batch.id}")

        while not batch.ended:
            await trio.sleep(SECONDS_BETWEEN_LOOKS)
            batch = await batches.retrieve(batch.id)

        async with batches.results(batch) as lines:
            async for line in lines:
                if line.result.type == "succeeded":
                    print(f"{line.custom_id}: {line.result.message.text}")
                else:
                    print(f"{line.custom_id}: {line.result.type}")


if __name__ == "__main__":
    trio.run(main)
