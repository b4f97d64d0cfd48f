"""Look at the message as far as it has come.

`current_message_snapshot` is a whole `Message` at any moment; `text` is the text so far. Both cost nothing until they
are looked at.
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
            messages=[{"role": "user", "content": "Why does structured concurrency matter?"}],
        ) as stream,
    ):
        seen = 0
        async for event in stream:
            if event.type == "text":
                seen += 1
                if seen % 10 == 0:
                    snapshot = stream.current_message_snapshot
                    print(f"{len(snapshot.text):4} characters, ends with {snapshot.text[-20:]!r}")
        snapshot = stream.current_message_snapshot
        print(f"{len(snapshot.text):4} characters, stopped because of {snapshot.stop_reason}")


if __name__ == "__main__":
    trio.run(main)
