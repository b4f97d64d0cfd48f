"""Three tools, one of which has to be allowed.

The model calls them, and each call is answered: by the tool, by its error, or by why it was not allowed.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec
import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

STOCK = {"tea": 12, "coffee": 0}


class Order(msgspec.Struct):
    """One line of an order."""

    article: Literal["tea", "coffee"]
    number: int


@ts.tool(timeout=5)
async def stock(article: Literal["tea", "coffee"]) -> int:
    """How many packets of an article are in stock."""
    await trio.sleep(0.1)
    return STOCK[article]


@ts.tool(timeout=5)
async def price(article: Literal["tea", "coffee"]) -> float:
    """The price of a packet, in euros."""
    await trio.sleep(0.1)
    if article == "coffee":
        raise ts.ToolError("there is no price for coffee at the moment")
    return 4.5


@ts.tool(approve=True, exclusive=True, on_cancel="finish", timeout=5)
async def order(lines: list[Order], ctx: ts.ToolContext) -> str:
    """Order packets. They are paid for at once."""
    ctx.progress(f"ordering {len(lines)} lines")
    await trio.sleep(0.1)  # a real shop would take ctx.call_id, so that nothing is ordered twice
    return f"ordered: {', '.join(f'{line.number} x {line.article}' for line in lines)}"


async def allow(call: ts.ToolCall) -> Literal[True] | str:
    """Allow small orders. A person could be asked here just as well."""
    await trio.sleep(0.1)  # somebody thinks about it
    packets = sum(line.get("number", 0) for line in call.input.get("lines", []))
    return True if packets <= 10 else f"{packets} packets are too many: 10 at most"


async def main() -> None:
    async with ts.Client() as client:
        chat = ts.Conversation(client, model=MODEL, max_tokens=1024, tools=[stock, price, order])
        async with chat.run("Order some tea and coffee, if it is cheap.", approve=allow, max_turns=10) as run:
            async for event in run:
                match event:
                    case ts.ToolProgressEvent(name=name, progress=progress):
                        print(f"{name}: {progress}")
                    case ts.ToolStopEvent(name=name, is_error=is_error, result=result):
                        print(f"{name}: {'failed: ' if is_error else ''}{result['content']}")
                    case _:
                        pass
    print(f"{run.outcome}: {run.message.text if run.message else ''}")


if __name__ == "__main__":
    trio.run(main)
