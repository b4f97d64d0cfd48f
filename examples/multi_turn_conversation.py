"""Hold a conversation.

A message goes back into `messages` as it is, thinking and tool blocks included, and the next turn is appended after
it.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

QUESTIONS = [
    "What is a nursery in Trio?",
    "And what happens to its tasks when one of them fails?",
    "Can I turn that off?",
]


async def main() -> None:
    messages: list[ts.MessageParam | ts.Message] = []
    async with ts.Client() as client:
        for question in QUESTIONS:
            print(f"you:   {question}")
            messages.append({"role": "user", "content": question})
            async with client.messages.stream(model=MODEL, max_tokens=512, messages=messages) as stream:
                print("model: ", end="")
                async for text in stream.text_stream:
                    print(text, end="", flush=True)
            print("\n")
            messages.append(stream.message)
    print(f"{len(messages)} messages")


if __name__ == "__main__":
    trio.run(main)
