"""A server that is a child process: what it says, and what becomes of calls when it ends or hangs."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import trio

from tests.agent.mcp.server import PNG
from tests.agent.mcp.use import Tools, stdio
from trio_stream.agent import ToolProgressEvent
from trio_stream.agent.mcp import Progress, Server, servers

UNKNOWN = "Whether it had effects is not known."


async def test_what_its_tools_say() -> None:
    """A text, a picture, an error of the tool's, and one of the server's."""
    async with servers(Server("tests", stdio())) as offered:
        (add, *_) = offered
        assert add.name == "tests__add"
        assert add.timeout == 300
        assert add.definition is not None
        assert add.definition["description"] == "Add two numbers."
        assert add.definition["input_schema"]["required"] == ["a", "b"]
        tools = Tools(offered)
        assert await tools.call("tests__add", a=1, b=2) == "3"
        assert await tools.call("tests__draw") == [
            {"type": "text", "text": "Here it is:"},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
            },
        ]
        assert (await tools.call("tests__fail")).startswith("error: Error executing tool fail")
        assert await tools.call("tests__refuse") == "error: not today (error -32001 of the server 'tests')"


async def test_progress_is_passed_on_and_a_cancelled_call_is_stopped(tmp_path: Path) -> None:
    """The tool does not wait for it, but its server learns of it."""
    log = tmp_path / "log"
    async with servers(Server("tests", stdio())) as offered, trio.open_nursery() as nursery:
        tools = Tools(offered)

        async def slow() -> None:
            await tools.call("tests__slow", log=str(log))

        nursery.start_soon(slow)
        with trio.fail_after(30):
            while not tools.events:
                await trio.sleep(0.01)
        (event,) = tools.events
        assert isinstance(event, ToolProgressEvent)
        assert event.progress == Progress(1, 2, "half")
        nursery.cancel_scope.cancel(reason="the test")
    with trio.fail_after(30):
        while not log.exists():
            await trio.sleep(0.01)
    assert log.read_text() == "cancelled"


async def test_a_server_that_dies_is_told_and_comes_back() -> None:
    """Under a call, that call is told so; while nobody calls, nobody is. The next call has a new process."""
    async with servers(Server("tests", stdio())) as offered:
        tools = Tools(offered)
        first = await tools.call("tests__process_id")
        assert await tools.call("tests__die") == (
            f"error: The server 'tests' ended while the call was running: Connection closed. {UNKNOWN}"
        )
        second = await tools.call("tests__process_id")
        os.kill(int(second), signal.SIGKILL)
        await trio.sleep(0.2)
        third = await tools.call("tests__process_id")
    assert len({first, second, third}) == 3


async def test_a_wedged_server_holds_nobody() -> None:
    """A call that is cancelled ends at once, and so do those that wait behind it; leaving the block ends the process."""
    async with servers(Server("tests", stdio())) as offered:
        tools = Tools(offered)
        process = int(await tools.call("tests__process_id"))
        for name, arguments in (("tests__wedge", {}), ("tests__add", {"a": 1, "b": 2})):
            with trio.move_on_after(0.2) as scope:
                await tools.call(name, **arguments)
            assert scope.cancelled_caught
            assert trio.current_time() - scope.deadline < 0.1
    with trio.fail_after(5):
        while is_running(process):
            await trio.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
