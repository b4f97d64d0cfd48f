"""What tests of MCP share: servers as processes, and calling a tool by its name.

What belongs here: starting and reaching servers. What does not: what servers do (`server`), and what is expected.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import mcp
import trio
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.processes import environment
from trio_stream.agent import Tool, ToolContext, ToolError
from trio_stream.agent._agent_events import RunEvent

SERVER = str(Path(__file__).with_name("server.py"))


def stdio(*command: str) -> Callable[[], mcp.Client]:
    """Connect to a server that is a child process; without a command, to `server`."""
    program, *arguments = command or (sys.executable, SERVER, "stdio")
    parameters = mcp.StdioServerParameters(command=program, args=arguments, env=environment())

    def connect() -> mcp.Client:
        return mcp.Client(stdio_client(parameters, errlog=_NOWHERE))

    return connect


_NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the tests run; pytest's own stderr is no file


def http(port: int, mode: str = "auto") -> Callable[[], mcp.Client]:
    """Connect to `server` on a port. ``mode="legacy"`` is the protocol that has sessions."""

    def connect() -> mcp.Client:
        return mcp.Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp"), mode=mode)

    return connect


@final
class HTTPServer:
    """`server` on a port, which can end and come back."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, where it was before if it was."""
        self.kill()
        if not self.port:
            with trio.socket.socket() as free:
                await free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes milliseconds
            [sys.executable, SERVER, "http", str(self.port)],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(60):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self.port)
                except OSError:
                    assert self._process.poll() is None
                    await trio.sleep(0.05)
                else:
                    await stream.aclose()
                    return

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@asynccontextmanager
async def http_server() -> AsyncIterator[HTTPServer]:
    """`server` on a port, for as long as the block lasts."""
    server = HTTPServer()
    try:
        await server.start()
        yield server
    finally:
        server.kill()


@final
class Tools:
    """Calls tools by their names, without an agent.

    Attributes:
      events: What they reported on the way.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.events: list[RunEvent] = []

    def __iter__(self) -> Any:
        return iter(self._tools)

    async def call(self, name: str, **arguments: Any) -> Any:
        """Call a tool: its only text, its blocks, or the error that the model is told."""
        ctx = ToolContext(call_id="t1", name=name, emit=self.events.append)
        try:
            content = await self._tools[name].run(arguments, ctx)
        except ToolError as error:
            return f"error: {text_of(error.content)}"
        return text_of(content)


def text_of(content: Any) -> Any:
    """The text of content that is one text, otherwise the content."""
    if isinstance(content, list) and [block["type"] for block in content] == ["text"]:
        return content[0]["text"]
    return content
