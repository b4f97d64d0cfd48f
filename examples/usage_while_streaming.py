"""See what a message costs while it is written, and how fast it comes.

`message_start` tells the input tokens and `message_delta` the output tokens. `stream.usage` is always the latest of
both, and `stream.stats` has the timings.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with ts.Client() as client:
        began = trio.current_time()
        async with client.messages.stream(
            model=MODEL,
            max_tokens=512,
            messages=[{"role": "user", "content": "Describe backpressure to a plumber."}],
        ) as stream:
            async for event in stream:
                if event.type == "message_start":
                    print(f"input tokens:  {event.message.usage.input_tokens}")
                elif event.type == "message_delta":
                    print(f"output tokens: {event.usage.output_tokens}")
        took = trio.current_time() - began

    usage, stats = stream.message.usage, stream.stats
    print(f"from the cache: {usage.cache_read_input_tokens or 0} tokens")
    print(f"first text after {stats.time_to_first_text or 0:.2f} s, longest gap {stats.longest_gap:.2f} s")
    print(f"{stats.events} events, {usage.output_tokens / took:.0f} tokens/s")


if __name__ == "__main__":
    trio.run(main)
