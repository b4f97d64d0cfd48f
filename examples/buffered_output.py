"""Get the text in pieces that are pleasant to display or to speak.

`text_chunks` holds text back until there are `min_chars` characters and the end of a clause to cut at, but none for
longer than `max_delay` seconds. No text is dropped.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with (
        ts.Client() as client,
        client.messages.stream(
            model=MODEL,
            max_tokens=512,
            messages=[{"role": "user", "content": "Tell me about the river, in a few sentences."}],
        ) as stream,
    ):
        async for piece in stream.text_chunks(min_chars=20, at_punctuation=True, max_delay=2.0):
            print(f"> {piece.strip()}")


if __name__ == "__main__":
    trio.run(main)
