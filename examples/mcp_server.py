"""Let the model use the tools of an MCP server, which is a program of its own.

The server here is a few lines of Python. Put the command of any other in its place; a server that ends, hangs or cannot
be reached is told to the model in its results, and started again for the next call.
"""

from __future__ import annotations

import os
import sys

import mcp
import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")

NOTES_SERVER = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")
notes = {"shopping": "Milk, bread, a stream."}


@server.tool()
async def read_note(topic: str) -> str:
    "Read the note on a topic."
    return notes.get(topic, "There is no such note. There are: " + ", ".join(notes))


server.run("stdio")
"""


def connect() -> mcp.Client:
    return mcp.Client(mcp.StdioServerParameters(command=sys.executable, args=["-c", NOTES_SERVER]))


async def main() -> None:
    async with ts.Client() as client, ts.mcp.servers(ts.mcp.Server("notes", connect)) as tools:
        chat = ts.Conversation(client, model=MODEL, max_tokens=1024, tools=tools)
        async with chat.run("What do I have to buy?", max_turns=5) as run:
            async for event in run:
                if event.type == "text":
                    print(event.text, end="", flush=True)
                elif event.type == "tool_stop":
                    print(f"\n[{event.name}{' failed' if event.is_error else ''}]")
    print(f"\n{run.outcome} after {run.turns} turns, {chat.usage.output_tokens} output tokens")


if __name__ == "__main__":
    trio.run(main)
