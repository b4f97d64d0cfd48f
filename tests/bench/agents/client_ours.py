"""`Conversation`, and a loop by hand beside it.

Usage: client_ours.py BASE_URL TASK [TURNS]; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import trio

import trio_stream as ts

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 1024}
PROMPT = "What is there?"


@ts.tool
async def slow(number: int) -> str:
    """Takes a second."""
    await trio.sleep(1)
    return f"{number} is done"


@ts.tool
async def quick(number: int) -> str:
    """Takes no time."""
    await trio.lowlevel.checkpoint()
    return f"{number} is done"


TOOLS = [slow, quick]


async def three_tools(client: ts.Client) -> dict[str, Any]:
    chat = ts.Conversation(client, tools=TOOLS, **PARAMS)
    began = time.perf_counter()
    await chat.ask(PROMPT)
    return {"seconds": time.perf_counter() - began}


async def cancelled(client: ts.Client) -> dict[str, Any]:
    chat = ts.Conversation(client, tools=TOOLS, **PARAMS)
    with trio.move_on_after(0.5):
        async with chat.run(PROMPT) as run:
            async for _ in run:
                pass
    return {"messages": chat.messages}


async def turns(client: ts.Client, number: int) -> dict[str, Any]:
    chat = ts.Conversation(client, tools=TOOLS, **PARAMS)
    began = time.process_time()
    async with chat.run(PROMPT, max_turns=number) as run:
        async for _ in run:
            pass
    return {"cpu": (time.process_time() - began) / number}


async def by_hand(client: ts.Client, number: int) -> dict[str, Any]:
    definitions: Any = [tool.definition for tool in TOOLS]
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    began = time.process_time()
    for _ in range(number):
        async with client.messages.stream(tools=definitions, messages=messages, **PARAMS) as stream:
            async for _ in stream:
                pass
        results = {
            block.id: await quick(**block.input)
            for block in stream.message.content
            if isinstance(block, ts.ToolUseBlock)
        }
        messages += stream.message.as_history(results)
    return {"cpu": (time.process_time() - began) / number}


async def main() -> None:
    base_url, task, *rest = sys.argv[1:]
    async with ts.Client(base_url=base_url, api_key="test", max_retries=0) as client:
        match task:
            case "three tools":
                result = await three_tools(client)
            case "cancelled":
                result = await cancelled(client)
            case "turns":
                result = await turns(client, int(rest[0]))
            case _:
                result = await by_hand(client, int(rest[0]))
        print(json.dumps(result), flush=True)
        if task == "cancelled":
            # The client is still open while the benchmark looks which answers were left open.
            await trio.to_thread.run_sync(sys.stdin.readline)


trio.run(main)
