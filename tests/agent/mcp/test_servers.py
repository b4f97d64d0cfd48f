"""The block of MCP servers: which servers have tools, and how it is entered and left. The servers are in this process."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import mcp
import mcp_types
import pytest
import trio
import trio.testing
from mcp.server.mcpserver import MCPServer

import trio_stream as ts
from tests.agent.mcp.use import Tools, stdio
from tests.processes import PYTHON, environment
from trio_stream.agent import Tool, ToolContext, ToolError
from trio_stream.agent.mcp import Server, ServerUnreachableError, servers

MISSING = stdio("trio-stream-no-such-program")


class Here:
    """A server in this process, and what its tools do."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.connected = 0
        server = self._server = MCPServer("here")

        @server.tool()
        async def echo(text: str) -> str:
            """Say it again."""
            return text

        @server.tool()
        async def sleep() -> str:
            """Take long."""
            self.log.append("begin")
            try:
                await trio.sleep(100)
            finally:
                self.log.append("end")
            return "slept"

    def connect(self) -> mcp.Client:
        """A new client."""
        self.connected += 1
        return mcp.Client(self._server)


async def test_the_tools_of_several_servers(autojump_clock: trio.testing.MockClock) -> None:
    """Each has its server's name before its own; what is offered can be chosen, and how it is called."""
    here, there = Here(), Here()
    chosen = Server("there", there.connect, only=["echo"], approve=True, timeout=5, max_result=3)
    async with servers(Server("here", here.connect), chosen) as tools:
        assert [tool.name for tool in tools] == ["here__echo", "here__sleep", "there__echo"]
        assert [(tool.timeout, tool.approve, tool.max_result) for tool in tools][1:] == [
            (300, False, 200_000),
            (5, True, 3),
        ]
        assert await Tools(tools).call("there__echo", text="Hello.") == "Hello."
    assert (here.connected, there.connected) == (1, 1)


async def test_names_are_one_tools_each(autojump_clock: trio.testing.MockClock) -> None:
    """Also where the names of servers and tools run into each other."""

    class Odd(Strange):
        async def list_tools(self, cursor: str | None) -> mcp_types.ListToolsResult:
            tools = [mcp_types.Tool(name=name, input_schema={"type": "object"}) for name in ("b__c", "c", "c")]
            return mcp_types.ListToolsResult(tools=tools)

    async with servers(Server("a", Odd(well).connect), Server("a__b", Odd(well).connect)) as tools:
        assert [tool.name for tool in tools] == [
            "a__b__c",
            "a__c",
            "a__c_2",
            "a__b__b__c",
            "a__b__c_2",
            "a__b__c_3",
        ]


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65])
def test_names_of_servers(name: str) -> None:
    """They become part of a tool's name."""
    with pytest.raises(ValueError, match=r"letters, digits, _ and -"):
        Server(name, MISSING)


def test_two_servers_of_one_name() -> None:
    """Their tools could not be told apart."""
    with pytest.raises(ValueError, match="two servers have the name 'a'"):
        servers(Server("a", MISSING), Server("b", MISSING), Server("a", MISSING))
    assert repr(Server("a", MISSING)) == "<Server 'a'>"


async def test_a_server_that_is_not_required_has_no_tools_if_it_cannot_be_reached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The tools of the others work, and a warning tells."""
    here = Here()
    async with servers(Server("gone", MISSING, required=False), Server("here", here.connect)) as tools:
        assert [tool.name for tool in tools] == ["here__echo", "here__sleep"]
        assert await Tools(tools).call("here__echo", text="Hello.") == "Hello."
    (record,) = records_of(caplog)
    assert record.startswith("WARNING: the server 'gone' cannot be reached: FileNotFoundError: ")
    assert record.endswith(", so it has no tools")


async def test_a_server_that_is_required_has_to_be_reached() -> None:
    """The error names the server and says why, and is no group."""
    here = Here()
    with pytest.raises(
        ServerUnreachableError, match=r"^the server 'gone' cannot be reached: FileNotFoundError"
    ) as caught:
        async with servers(Server("here", here.connect), Server("gone", MISSING)):
            pytest.fail("entered")
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


class Silent:
    """A transport to a server that says nothing."""

    def __init__(self) -> None:
        self.open = 0

    def connect(self) -> mcp.Client:
        return mcp.Client(self._transport())

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        self.open += 1
        send, receive = trio.testing.memory_stream_pair()
        to_client, from_server = trio.open_memory_channel[Any](0)
        to_server, from_client = trio.open_memory_channel[Any](1000)
        try:
            yield Stream(from_server), Stream(to_server)
        finally:
            self.open -= 1
            for end in (send, receive, to_client, from_server, to_server, from_client):
                await end.aclose()


class Stream:
    """A channel with the method names of anyio."""

    def __init__(self, channel: Any) -> None:
        self.send = getattr(channel, "send", None)
        self.receive = getattr(channel, "receive", None)
        self._channel = channel

    def __aiter__(self) -> Any:
        return self._channel.__aiter__()

    async def aclose(self) -> None:
        self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def test_a_server_that_says_nothing_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """After its time for connecting."""
    silent = Silent()
    with pytest.raises(ServerUnreachableError, match="it took longer than 3 seconds"):
        async with servers(Server("silent", silent.connect, connect_timeout=3)):
            pytest.fail("entered")
    assert trio.current_time() == pytest.approx(3)
    assert silent.open == 0


async def test_entering_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing stays open."""
    silent = Silent()
    with trio.move_on_after(1) as scope:
        async with servers(Server("silent", silent.connect), Server("here", Here().connect)):
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert silent.open == 0


async def test_a_call_that_is_cancelled_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """And its server's task with it; other calls go on."""
    here = Here()
    async with servers(Server("here", here.connect)) as offered, trio.open_nursery() as nursery:
        tools = Tools(offered)
        with trio.move_on_after(1):
            await tools.call("here__sleep")
        await trio.testing.wait_all_tasks_blocked()
        assert here.log == ["begin", "end"]
        nursery.start_soon(tools.call, "here__sleep")
        await trio.sleep(1)
        assert await tools.call("here__echo", text="Hello.") == "Hello."
        nursery.cancel_scope.cancel(reason="seen")


async def test_the_block_has_the_contract_of_others(autojump_clock: trio.testing.MockClock) -> None:
    """An exception of the body leaves as itself; the block is entered once, and left by the task that entered it."""
    block = servers(Server("here", Here().connect))
    error = ValueError("of the body")
    with pytest.raises(ValueError, match="of the body") as caught:
        async with block:
            raise error
    assert caught.value is error
    with pytest.raises(RuntimeError, match="entered before"):
        async with block:
            pytest.fail("entered")


async def test_calls_after_the_block(autojump_clock: trio.testing.MockClock) -> None:
    """They are told so, and so are those that are under way when it is left."""
    here = Here()
    said: list[str] = []

    async def sleep(tools: Tools) -> None:
        said.append(await tools.call("here__sleep"))

    async with trio.open_nursery() as nursery:
        async with servers(Server("here", here.connect)) as offered:
            tools = Tools(offered)
            nursery.start_soon(sleep, tools)
            await trio.sleep(1)
        assert await tools.call("here__echo", text="x") == "error: not started: the server 'here' has been closed."
    assert said == [
        "error: The server 'here' ended while the call was running: it was closed. Whether it had effects is not known."
    ]
    assert here.connected == 1


class Strange:
    """A client that is none: what a session is asked for, answered by the test."""

    def __init__(self, call: Callable[[int], Any], leave: Callable[[], Any] = lambda: None) -> None:
        self.calls = 0
        self.connected = 0
        self._call = call
        self._leave = leave

    def connect(self) -> Any:
        self.connected += 1
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def list_tools(self, cursor: str | None) -> mcp_types.ListToolsResult:
        number = int(cursor or 0)
        tool = mcp_types.Tool(name=f"tool{number}", input_schema={"type": "object"})
        return mcp_types.ListToolsResult(tools=[tool], next_cursor=str(number + 1))

    async def call_tool(self, name: str, arguments: Any, progress_callback: Any) -> mcp_types.CallToolResult:
        self.calls += 1
        number = self.calls
        self.progress = progress_callback
        await trio.sleep(number)
        return self._call(number)


def well(number: int) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=str(number))])


async def test_a_list_of_tools_without_an_end(autojump_clock: trio.testing.MockClock) -> None:
    """It is read page by page, and a hundred of them are enough."""
    async with servers(Server("s", Strange(well).connect)) as tools:
        assert len(tools) == 100


@pytest.mark.parametrize(
    "says",
    [
        "Session terminated",
        "Session not found",
        "session expired",
        "Bad Request: No valid session ID provided",
        "Bad Request: Server not initialized",
        "Invalid session ID",
        "MCP session is unknown",
    ],
)
async def test_a_server_that_forgets_every_session(autojump_clock: trio.testing.MockClock, says: str) -> None:
    """The call is made once more, and not a third time."""

    def call(number: int) -> Any:
        raise mcp.MCPError(-32600, says)

    strange = Strange(call)
    async with servers(Server("s", strange.connect)) as tools:
        answer = await Tools(tools).call("s__tool0")
    assert answer == "error: not started: the server 's' forgets its sessions at once."
    assert strange.calls == strange.connected == 2


async def test_a_forgotten_session_ends_with_its_last_call(autojump_clock: trio.testing.MockClock) -> None:
    """What else is under way in it has its own answer, and new calls go to the new session."""

    def call(number: int) -> Any:
        if number == 1:
            raise mcp.MCPError(-32600, "Session not found")
        return well(number)

    left: list[float] = []
    strange = Strange(call, lambda: left.append(trio.current_time()))
    async with servers(Server("s", strange.connect)) as offered:
        tools = Tools(offered)
        said: list[str] = []

        async def ask(delay: float) -> None:
            await trio.sleep(delay)
            said.append(await tools.call("s__tool0"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)  # forgotten after 1 second, and made again
            nursery.start_soon(ask, 0.5)
        assert said == ["2", "3"]
        assert left == [2.5]
    assert strange.connected == 2


async def test_what_the_client_raises_is_an_error_of_the_tool(autojump_clock: trio.testing.MockClock) -> None:
    """For the runner of tools to tell, as any other."""

    def call(number: int) -> Any:
        raise RuntimeError("Invalid structured content")

    async with servers(Server("s", Strange(call).connect)) as tools:
        with pytest.raises(RuntimeError, match="Invalid structured content"):
            await Tools(tools).call("s__tool0")


async def test_progress_that_comes_late_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """The client hands it out in a task of its own, maybe after the result."""
    strange = Strange(well)
    async with servers(Server("s", strange.connect)) as offered:
        tools = Tools(offered)
        await tools.call("s__tool0")
        await strange.progress(1, None, None)
        assert tools.events == []


async def test_a_server_that_takes_no_leave_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """After 5 seconds."""

    class Clinging(Strange):
        async def __aexit__(self, *_: object) -> None:
            await trio.sleep_forever()

    async with servers(Server("s", Clinging(well).connect)) as tools:
        assert tools
    assert trio.current_time() == pytest.approx(5)


class Failing(Strange):
    """A client whose transport fails: a task of it, when ``cut`` is set or it is closed."""

    def __init__(self, *, at_the_end: bool) -> None:
        super().__init__(well)
        self.cut = trio.Event()
        self._at_the_end = at_the_end

    def connect(self) -> Any:
        self.connected += 1
        return self._transport()

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Self]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            yield self
            if self._at_the_end:
                self.cut.set()
            else:
                nursery.cancel_scope.cancel(reason="closed")

    async def _fail(self) -> None:
        await self.cut.wait()
        self.cut = trio.Event()
        raise OSError("the wire is cut")


def records_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname}: {record.getMessage()}" for record in caplog.records if record.name == "trio_stream"]


async def test_a_transport_that_fails_under_a_call(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The call is told, the block goes on, and the next call has another session."""
    failing = Failing(at_the_end=False)
    async with servers(Server("s", failing.connect)) as offered, trio.open_nursery() as nursery:
        tools = Tools(offered)

        @nursery.start_soon
        async def cut() -> None:
            await trio.sleep(0.5)
            failing.cut.set()

        assert await tools.call("s__tool0") == (
            "error: The server 's' ended while the call was running: OSError: the wire is cut. "
            "Whether it had effects is not known."
        )
        assert await tools.call("s__tool0") == "2"
    assert failing.connected == 2
    assert records_of(caplog) == ["WARNING: the MCP server 's' ended: OSError: the wire is cut"]


async def test_a_transport_that_fails_when_it_is_closed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no matter any more."""
    caplog.set_level(logging.DEBUG, "trio_stream")
    async with servers(Server("s", Failing(at_the_end=True).connect)) as offered:
        assert await Tools(offered).call("s__tool0") == "1"
    assert records_of(caplog) == ["DEBUG: closing the MCP server 's' failed: OSError: the wire is cut"]


def session_of(tool: Tool) -> Any:
    call: Any = tool._call
    return call.func.__self__._session


async def test_a_session_that_ends_between_two_steps(autojump_clock: trio.testing.MockClock) -> None:
    """A call that was waiting for it to open is told that it was not started."""
    strange = Strange(well)
    async with servers(Server("s", strange.connect)) as offered:
        session = session_of(offered[0])
        session.leave()
        await trio.sleep(1)
        with pytest.raises(ToolError, match="not started: the server 's' has just ended"):
            await session.call("tool0", {}, ToolContext(call_id="t", name="n", emit=lambda event: None))
        assert await Tools(offered).call("s__tool0") == "1"
    assert strange.connected == 2


async def test_leaving_while_a_session_is_opened_again(autojump_clock: trio.testing.MockClock) -> None:
    """The call that waits for it is told, and nothing stays open."""
    silent = Silent()
    strange = Strange(well)
    connects = iter([strange.connect, silent.connect])

    def connect() -> mcp.Client:
        return next(connects)()

    said: list[str] = []
    async with trio.open_nursery() as nursery:
        async with servers(Server("s", connect)) as offered:
            tools = Tools(offered)
            session_of(offered[0]).leave()
            await trio.sleep(1)

            @nursery.start_soon
            async def ask() -> None:
                said.append(await tools.call("s__tool0"))

            await trio.testing.wait_all_tasks_blocked()
            assert silent.open == 1
    assert said == ["error: not started: the server 's' cannot be reached: the block was left"]
    assert silent.open == 0


def test_it_is_found_below_the_package() -> None:
    """`trio_stream.mcp` is this module; other names that there are not stay errors."""
    assert ts.mcp.servers is servers
    with pytest.raises(AttributeError, match="module 'trio_stream' has no attribute 'mpc'"):
        ts.mpc  # type: ignore[attr-defined]  # noqa: B018


def test_nobody_imports_it_who_does_not_use_it() -> None:
    """Its package is an extra, and slow to import."""
    program = "import sys, trio_stream; sys.exit(any(name.startswith(('mcp', 'pydantic')) for name in sys.modules))"
    assert subprocess.run([PYTHON, "-c", program], env=environment(), check=False).returncode == 0
