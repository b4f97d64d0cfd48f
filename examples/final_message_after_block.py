"""Use the whole message after its block.

`stream.message` outlives the block, and is there only when the message is complete: had the stream ended early, it
would raise instead of handing out half an answer.
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
            messages=[{"role": "user", "content": "Why are Trio's nurseries called nurseries?"}],
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print("\n")

    message = stream.message
    print(f"{message.id} by {message.model}")
    print(f"{len(message.content)} content blocks, {len(message.text)} characters of text")
    print(f"stop reason {message.stop_reason}, {message.usage.output_tokens} output tokens")


if __name__ == "__main__":
    trio.run(main)
