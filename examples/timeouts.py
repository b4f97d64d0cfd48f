"""Give up in time, in two ways.

`Timeouts` has a clock for each thing that can take too long, and each raises its own error. Trio's cancel scopes
work as well, and a cancelled wait loses nothing: go on reading where it was interrupted.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with ts.Client(timeout=ts.Timeouts(connect=5, first_event=60, silence=60)) as client:
        try:
            async with client.messages.stream(
                model=MODEL,
                max_tokens=4096,
                messages=[{"role": "user", "content": "Tell me a long story about a storm."}],
                timeout=ts.Timeouts(total=2.0),
            ) as stream:
                await stream.until_done()
            print("the story came in less than two seconds")
        except ts.APITimeoutError as error:
            print(f"the clock {error.clock!r} ran out after {error.seconds:g} s")
            print(f"until then: {error.partial.text if error.partial else ''!r}")

        async with client.messages.stream(
            model=MODEL,
            max_tokens=4096,
            messages=[{"role": "user", "content": "Tell me a long story about the sea."}],
        ) as stream:
            with trio.move_on_after(0.5):
                await stream.until_done()
            print(f"after half a second: {len(stream.text)} characters")
            with trio.move_on_after(0.5):
                await stream.until_done()
            print(f"after another half: {len(stream.text)} characters")


if __name__ == "__main__":
    trio.run(main)
