"""Print a message while it is written.

`text_stream` gives the pieces of text as they arrive. Leaving the block closes the connection, or hands it back for
the next request when the message is complete.
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
            messages=[{"role": "user", "content": "Say hello, in a sentence or two."}],
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    trio.run(main)
