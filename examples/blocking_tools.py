"""Hold a conversation with a tool, without async.

The model asks for the tool, the program runs it and sends the result, and that goes on until the model is done.
"""

from __future__ import annotations

import os

import trio_stream as ts
from trio_stream import blocking

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


def get_weather(city: str) -> str:
    return f"18 °C and a light breeze in {city}"


def run_tool(call: ts.ToolUseBlock) -> str:
    try:
        return get_weather(**call.input)
    except (ts.InvalidToolInputError, TypeError) as error:
        return f"this input cannot be used: {error}"  # the model reads it, and tries again


def main() -> None:
    messages: list[ts.MessageParam | ts.Message] = []
    with blocking.Client() as client:
        for question in ("What is the weather in Lisbon?", "Do I need a coat?"):
            print(f"you: {question}")
            messages.append({"role": "user", "content": question})
            while True:
                with client.messages.stream(model=MODEL, max_tokens=1024, tools=TOOLS, messages=messages) as stream:
                    for text in stream.text_stream:
                        print(text, end="", flush=True)
                print()
                calls = [block for block in stream.message.content if block.type == "tool_use"]
                # Also right if the message was cut: then the call that was cut is left out.
                messages += stream.message.as_history({call.id: run_tool(call) for call in calls})
                if stream.message.stop_reason != "tool_use":
                    break
    print(f"{len(messages)} messages")


if __name__ == "__main__":
    main()
