"""Let the model use a tool: a round of two turns.

The first answer ends with `tool_use` blocks whose `input` is parsed and checked. It goes back into the conversation
together with the tool's results, and the second answer makes use of them. A message that was cut goes back too.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

TOOLS: list[ts.ToolParam] = [
    {
        "name": "get_weather",
        "description": "The current weather of a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "For example Lisbon"}},
            "required": ["city"],
        },
    }
]


async def get_weather(city: str) -> str:
    await trio.sleep(0.1)  # a real one would ask a weather service
    return f"18 °C and a light breeze in {city}"


async def run_tool(call: ts.ToolUseBlock) -> str:
    try:
        return await get_weather(**call.input)
    except (ts.InvalidToolInputError, TypeError) as error:
        return f"this input cannot be used: {error}"  # the model reads it, and tries again


async def one_turn(client: ts.Client, messages: list[ts.MessageParam | ts.Message]) -> ts.Message:
    async with client.messages.stream(model=MODEL, max_tokens=1024, tools=TOOLS, messages=messages) as stream:
        async for event in stream:
            if event.type == "text":
                print(event.text, end="", flush=True)
            elif event.type == "content_block_stop" and event.content_block.type == "tool_use":
                print(f"\n[{event.content_block.name}({event.content_block.input_json})]")
    return stream.message


async def main() -> None:
    messages: list[ts.MessageParam | ts.Message] = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    async with ts.Client() as client:
        while True:
            message = await one_turn(client, messages)
            results: dict[str, str] = {}
            if message.stop_reason == "tool_use":
                for block in message.content:
                    if block.type == "tool_use":
                        results[block.id] = await run_tool(block)
            # Also right if the message was cut: then the call that was cut is left out.
            messages += message.as_history(results)
            if message.stop_reason != "tool_use":
                break
    print()


if __name__ == "__main__":
    trio.run(main)
