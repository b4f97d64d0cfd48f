"""Get just the text of an answer.

`get_final_text` reads to the end and returns the text. The answer is streamed all the same, so a long one meets no
idle limit on its way.
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
            messages=[{"role": "user", "content": "Name one good thing about deadlines."}],
        ) as stream,
    ):
        print(await stream.get_final_text())


if __name__ == "__main__":
    trio.run(main)
