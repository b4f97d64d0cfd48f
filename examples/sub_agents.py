"""Sub-agents: an editor has a researcher find out about each city.

Both are conversations. Two researchers work at once, and all of them share one budget.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

FACTS = {"Lisbon": "the capital, 545,796 people, at the Tejo", "Porto": "231,800 people, at the Douro"}


@ts.tool(timeout=5)
async def look_up(city: str) -> str:
    """Look up a city in the encyclopedia."""
    await trio.sleep(0.1)
    return FACTS.get(city, "nothing is known about it")


async def main() -> None:
    meter = ts.Meter(cost=0.50, requests=20, prices=ts.Prices(input=3, output=15))
    async with ts.Client() as client:
        researcher = ts.Conversation(
            client, model=MODEL, max_tokens=1024, system="Find out what is asked, in one sentence.", tools=[look_up]
        )
        editor = ts.Conversation(
            client,
            model=MODEL,
            max_tokens=1024,
            system="Let the researcher find out about each city, then compare them.",
            tools=[researcher.as_tool("research", "Finds out about one city.")],
        )
        async with editor.run("Compare Lisbon and Porto.", meter=meter) as run:
            async for event in run:
                match event:
                    case ts.NestedEvent(event=ts.ToolStartEvent(name=name, input=given)):
                        print(f"  the researcher looks up {given.get('city')} with {name}")
                    case ts.ToolStopEvent(name=name):
                        print(f"{name} is done")
                    case _:
                        pass
        print(run.message.text if run.message else run.reason)
        print(f"{run.outcome}; {meter.requests} requests and {meter.tool_calls} calls for ${meter.cost:.4f}")


if __name__ == "__main__":
    trio.run(main)
