"""The official SDK's tool runner on Trio, and a loop by hand beside it. Run by the SDK's own Python.

Usage: client_sdk.py BASE_URL TASK default|eager [TURNS]; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import anthropic  # type: ignore[import-not-found, unused-ignore]
import trio
import trio.lowlevel
from anthropic import beta_async_tool

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 1024}
PROMPT = {"role": "user", "content": "What is there?"}


@beta_async_tool
async def slow(number: int) -> str:
    """Takes a second."""
    await trio.sleep(1)
    return f"{number} is done"


@beta_async_tool
async def quick(number: int) -> str:
    """Takes no time."""
    await trio.lowlevel.checkpoint()
    return f"{number} is done"


TOOLS = [slow, quick]


def make_runner(client: Any, way: str, **options: Any) -> Any:
    # thread=False: the history is here and not on the server, as with any other way of keeping a conversation.
    return client.beta.messages.tool_runner(
        tools=TOOLS,
        messages=[PROMPT],
        stream=True,
        thread=False,
        run_tools_eagerly=way == "eager",
        **PARAMS,
        **options,
    )


async def run_to_end(runner: Any) -> None:
    async for stream in runner:
        async for _ in stream:
            pass


async def three_tools(client: Any, way: str) -> dict[str, Any]:
    began = time.perf_counter()
    await run_to_end(make_runner(client, way))
    return {"seconds": time.perf_counter() - began}


async def cancelled(client: Any, way: str) -> dict[str, Any]:
    runner = make_runner(client, way)
    with trio.move_on_after(0.5):
        await run_to_end(runner)
    kept: list[Any] = []

    def look(params: Any) -> Any:
        kept.extend(params["messages"])
        return params

    runner.set_messages_params(look)
    return {"messages": json.loads(json.dumps(kept, default=lambda value: value.model_dump(exclude_none=True)))}


async def turns(client: Any, way: str, number: int) -> dict[str, Any]:
    began = time.process_time()
    await run_to_end(make_runner(client, way, max_iterations=number))
    return {"cpu": (time.process_time() - began) / number}


async def by_hand(client: Any, number: int) -> dict[str, Any]:
    definitions = [tool.to_dict() for tool in TOOLS]
    messages: list[Any] = [PROMPT]
    began = time.process_time()
    for _ in range(number):
        async with client.beta.messages.stream(tools=definitions, messages=messages, **PARAMS) as stream:
            async for _ in stream:
                pass
            message = await stream.get_final_message()
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": await quick.call(block.input)}
            for block in message.content
            if block.type == "tool_use"
        ]
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    return {"cpu": (time.process_time() - began) / number}


async def main() -> None:
    base_url, task, way, *rest = sys.argv[1:]
    async with anthropic.AsyncAnthropic(api_key="test", base_url=base_url, max_retries=0) as client:
        match task:
            case "three tools":
                result = await three_tools(client, way)
            case "cancelled":
                result = await cancelled(client, way)
            case "turns":
                result = await turns(client, way, int(rest[0]))
            case _:
                result = await by_hand(client, int(rest[0]))
        print(json.dumps(result), flush=True)
        if task == "cancelled":
            # The client is still open while the benchmark looks which answers were left open.
            await trio.to_thread.run_sync(sys.stdin.readline)


trio.run(main)
