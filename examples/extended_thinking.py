"""Show the model's thinking before its answer, with a beta feature switched on.

`client.beta.messages` takes `betas=[...]` and is the same otherwise. Thinking comes as `thinking` events, or through
`thinking_stream`; newer models show it only when `display` asks for it.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with (
        ts.Client() as client,
        client.beta.messages.stream(
            model=MODEL,
            max_tokens=8192,
            thinking={"type": "adaptive", "display": "summarized"},
            betas=["interleaved-thinking-2025-05-14"],
            messages=[{"role": "user", "content": "Is 2027 a prime number? How can you tell?"}],
        ) as stream,
    ):
        part = ""
        async for event in stream:
            if event.type == "thinking":
                print("thinking: " if part != "thinking" else "", event.thinking, sep="", end="", flush=True)
                part = "thinking"
            elif event.type == "text":
                print("\n\nanswer: " if part != "text" else "", event.text, sep="", end="", flush=True)
                part = "text"
        print()


if __name__ == "__main__":
    trio.run(main)
