"""Press Ctrl-C in the middle of an answer and keep what has arrived.

The block closes the connection on its way out, so the model stops writing; `partial` and `text` outlive it.
"""

from __future__ import annotations

import os
import sys

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    stream: ts.MessageStream | None = None
    async with ts.Client() as client:
        try:
            async with client.messages.stream(
                model=MODEL,
                max_tokens=4096,
                messages=[{"role": "user", "content": "Tell me a long story about a river."}],
            ) as stream:
                async for text in stream.text_stream:
                    print(text, end="", flush=True)
        except KeyboardInterrupt:
            if stream is None or stream.partial is None:
                sys.exit("\ninterrupted before anything had arrived")
            print(f"\n\ninterrupted; kept {len(stream.text)} characters of {stream.partial.id}")
        else:
            print(f"\n\ncomplete; {len(stream.text)} characters")


if __name__ == "__main__":
    trio.run(main)
