"""A server of MCP, made with the official package: ``server.py stdio``, or ``server.py http PORT``.

Its tools do what servers do on good days and on bad ones.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from mcp import MCPError
from mcp.server.mcpserver import Context, Image, MCPServer

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16

server = MCPServer("tests")


def write(log: str, text: str) -> None:
    with Path(log).open("a") as file:
        file.write(text)


@server.tool()
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
async def process_id() -> str:
    """Tell which process this is."""
    return str(os.getpid())


@server.tool()
async def fail() -> str:
    """Fail."""
    raise ValueError("no such file")


@server.tool()
async def refuse() -> str:
    """Refuse the call itself."""
    raise MCPError(code=-32001, message="not today")


@server.tool(structured_output=False)
async def draw() -> list[str | Image]:
    """Draw a picture."""
    return ["Here it is:", Image(data=PNG, format="png")]


@server.tool(structured_output=False)
async def slow(log: str, ctx: Context) -> str:
    """Report progress, then take very long."""
    await ctx.report_progress(1, 2, "half")
    try:
        await asyncio.sleep(3600)
    finally:
        write(log, "cancelled")
    return "done"


@server.tool()
async def note(log: str) -> str:
    """Write a line into a file."""
    write(log, "called\n")
    return "noted"


@server.tool()
async def die() -> str:
    """End this process."""
    os._exit(1)


@server.tool()
async def wedge() -> str:
    """Stop this process from doing anything else."""
    time.sleep(3600)  # noqa: ASYNC251
    return "awake"


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
