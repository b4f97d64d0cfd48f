"""Give the model a role.

`system` stands before the conversation. As a list of text blocks it can be cached by the API, so that a long one is
not paid for again with each request.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with ts.Client() as client:
        async with client.messages.stream(
            model=MODEL,
            max_tokens=512,
            system=[
                {
                    "type": "text",
                    "text": "You are a lighthouse keeper. Answer in a few calm sentences.",
                    "cache_control": {"type": "ephemeral"},
                }
            ],
            messages=[{"role": "user", "content": "How was the weather last night?"}],
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    trio.run(main)
