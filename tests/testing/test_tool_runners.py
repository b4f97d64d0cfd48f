"""Both official tool runners, Python and TypeScript, complete a task of two tools against ``trio-stream serve``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.running import Running, program
from tests.cli.test_serve import address_in

from .test_official_sdk import HERE, ROOT, sdk_python


def node_modules() -> Path | None:
    """The folder with ``node_modules`` in which the TypeScript SDK is."""
    named = os.environ.get("TRIO_STREAM_SDK_NODE")
    folder = Path(named) if named else ROOT / ".venv-sdk"
    return folder if (folder / "node_modules" / "@anthropic-ai" / "sdk").exists() else None


async def run_against_serve(*command: str) -> tuple[Any, str]:
    """What a program reports that is given the address of ``trio-stream serve``, and what that has logged."""
    async with Running(program("serve", "--port", "0", "--tps", "0", "--ttft", "0")) as server:
        await server.read_until("Hello!")
        arguments = [argument or address_in(server.out) for argument in command]
        with trio.fail_after(60):
            done: subprocess.CompletedProcess[bytes] = await trio.run_process(
                arguments, capture_stdout=True, capture_stderr=True, check=False
            )
        assert done.returncode == 0, done.stderr.decode()
        server.interrupt()
        assert await server.finish() == 0
    return json.loads(done.stdout), server.out.partition("Hello!")[2]


def check(report: Any, ways: list[str]) -> None:
    """Each way of running it has called both tools, once, and its answer was made with the results."""
    assert list(report["answers"]) == ways
    for way, calls in zip(ways, report["called"], strict=True):
        first, second = (f"{name} of Lisbon" for name in calls)
        (answer,) = report["answers"][way]
        told = second if way == "one at a time" else f"{first}; {second}"
        assert answer.startswith(f"The tool says: {told}"), way


@pytest.mark.skipif(sdk_python() is None, reason="no official Python SDK: make sdk")
async def test_the_python_tool_runner() -> None:
    report, log = await run_against_serve(str(sdk_python()), str(HERE / "tool_runners.py"), "")
    check(report, ["threads", "no threads", "one at a time", "streamed on trio"])
    assert "  400  " not in log
    assert "  404  " not in log


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(node_modules() is None, reason="no official TypeScript SDK: make sdk, where npm is")
async def test_the_typescript_tool_runner() -> None:
    report, log = await run_against_serve("node", str(HERE / "tool_runners.mjs"), "", str(node_modules()))
    check(report, ["threads", "no threads", "one at a time", "streamed"])
    assert "  400  " not in log
    assert "  404  " not in log
