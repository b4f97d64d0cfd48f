"""Set the temperature.

The API takes `temperature`, `top_p` and `top_k` only under the older `anthropic-version`. Under the newest one they
are refused before a request is made.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with ts.Client() as client:
        try:
            client.messages.stream(
                model=MODEL, max_tokens=512, temperature=0.2, messages=[{"role": "user", "content": "Hello!"}]
            )
        except ValueError as error:
            print(f"newest version: {error}")

        older = client.with_options(anthropic_version="2023-06-01")
        async with older.messages.stream(
            model=MODEL, max_tokens=512, temperature=0.2, messages=[{"role": "user", "content": "Hello!"}]
        ) as stream:
            print(f"older version: {await stream.get_final_text()}")


if __name__ == "__main__":
    trio.run(main)
