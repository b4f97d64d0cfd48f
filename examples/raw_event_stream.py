"""Read the events exactly as the API sends them.

`create(stream=True)` gives the wire events alone, without the helper events of `messages.stream`. The request goes out
at `async with`, which also sees to it that the connection is closed.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with ts.Client() as client:
        events = await client.messages.create(
            model=MODEL,
            max_tokens=512,
            messages=[{"role": "user", "content": "What comes over the wire?"}],
            stream=True,
        )
        async with events:
            async for event in events:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    print(event.delta.text, end="", flush=True)
                else:
                    print(f"[{event.type}]")


if __name__ == "__main__":
    trio.run(main)
