"""A server that is not made with the Python package: the one of npm that has everything."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import trio

from tests.agent.mcp.use import Tools, stdio
from tests.processes import ROOT
from trio_stream.agent import ToolProgressEvent
from trio_stream.agent.mcp import Progress, Server, servers

PROGRAM = (
    Path(os.environ.get("TRIO_STREAM_SDK_NODE", ROOT / ".venv-sdk"))
    / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="no @modelcontextprotocol/server-everything: make sdk"),
]


async def test_server_everything() -> None:
    """Texts, structured results, pictures, resources, progress, errors, and a call that is cancelled."""
    async with servers(Server("every", stdio("node", str(PROGRAM), "stdio"))) as offered:
        tools = Tools(offered)
        assert await tools.call("every__echo", message="Hello.") == "Echo: Hello."
        assert await tools.call("every__get-sum", a=2, b=3) == "The sum of 2 and 3 is 5."
        before, image, after = await tools.call("every__get-tiny-image")
        assert (before["type"], image["source"]["media_type"], after["type"]) == ("text", "image/png", "text")
        weather = await tools.call("every__get-structured-content", location="New York")
        assert set(json.loads(weather)) == {"temperature", "conditions", "humidity"}
        links = await tools.call("every__get-resource-links", count=2)
        assert links[1]["text"].startswith("[resource Blob Resource 1: demo://resource/dynamic/blob/1 (")
        for kind in ("Text", "Blob"):
            blocks = await tools.call("every__get-resource-reference", resourceType=kind, resourceId=1)
            assert "Resource 1: This is a " in "\n".join(block["text"] for block in blocks)
        assert (await tools.call("every__echo")).startswith("error: MCP error -32602: Input validation error")
        done = await tools.call("every__trigger-long-running-operation", duration=0.2, steps=2)
        assert done.startswith("Long running operation completed.")
        assert [event.progress for event in tools.events if isinstance(event, ToolProgressEvent)] == [
            Progress(1, 2),
            Progress(2, 2),
        ]
        with trio.move_on_after(0.2) as scope:
            await tools.call("every__trigger-long-running-operation", duration=60, steps=2)
        assert scope.cancelled_caught
        assert await tools.call("every__echo", message="Still here?") == "Echo: Still here?"
