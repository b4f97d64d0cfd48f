"""Run by the official SDK's own Python (see test_tool_runners.py): its tool runners do a task of two tools.

Usage: python tool_runners.py BASE_URL
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic  # type: ignore[import-not-found, unused-ignore]
import trio
import trio.lowlevel
from anthropic import beta_async_tool, beta_tool

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "How are the weather and the tides in Lisbon?"}],
}

called: list[list[str]] = []


def note(name: str, city: str) -> str:
    called[-1].append(name)
    return f"{name} of {city}"


@beta_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return note("get_weather", city)


@beta_tool
def get_tides(city: str) -> str:
    """The tides of a city."""
    return note("get_tides", city)


@beta_async_tool
async def get_weather_later(city: str) -> str:
    """The weather of a city."""
    await trio.lowlevel.checkpoint()
    return note("get_weather_later", city)


@beta_async_tool
async def get_tides_later(city: str) -> str:
    """The tides of a city."""
    await trio.lowlevel.checkpoint()
    return note("get_tides_later", city)


def whole(message: Any) -> list[str]:
    return [block.text for block in message.content if block.type == "text"]


def blocking(client: Any, **options: Any) -> list[str]:
    called.append([])
    return whole(client.beta.messages.tool_runner(tools=[get_weather, get_tides], **PARAMS, **options).until_done())


async def on_trio(base_url: str) -> list[str]:
    called.append([])
    async with anthropic.AsyncAnthropic(api_key="test", base_url=base_url, max_retries=0) as client:
        tools = [get_weather_later, get_tides_later]
        runner = client.beta.messages.tool_runner(tools=tools, **PARAMS, stream=True)
        return whole(await runner.until_done())


def main() -> None:
    base_url = sys.argv[1]
    with anthropic.Anthropic(api_key="test", base_url=base_url, max_retries=0) as client:
        answers = {
            "threads": blocking(client),
            "no threads": blocking(client, thread=False),
            "one at a time": blocking(client, tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
        }
    answers["streamed on trio"] = trio.run(on_trio, base_url)
    print(json.dumps({"answers": answers, "called": called}))


if __name__ == "__main__":
    main()
