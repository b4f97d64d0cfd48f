"""Look at every event of a message.

Wire events come in the order the API sent them, and right after a delta comes the event that is easier to use:
`text`, `thinking`, `input_json`, `citation`. Comparing `event.type` tells the type checker which one it is.
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
            messages=[{"role": "user", "content": "What is a server-sent event?"}],
        ) as stream,
    ):
        async for event in stream:
            if event.type == "message_start":
                print(f"message_start        {event.message.id}")
            elif event.type == "content_block_start":
                print(f"content_block_start  {event.index}: {event.content_block.type}")
            elif event.type == "content_block_delta":
                print(f"content_block_delta  {event.index}: {event.delta.type}")
            elif event.type == "text":
                print(f"text                 {event.text!r}, {len(event.snapshot)} characters so far")
            elif event.type == "content_block_stop":
                print(f"content_block_stop   {event.index}: {event.content_block.type}, complete")
            elif event.type == "message_delta":
                print(f"message_delta        {event.delta.stop_reason}, {event.usage.output_tokens} output tokens")
            elif event.type == "message_stop":
                print(f"message_stop         {len(event.message.content)} content blocks")
            else:
                print(event.type)  # new types of events may come: they are not an error


if __name__ == "__main__":
    trio.run(main)
