"""One session with an MCP server, in a task of its own, and the calls in it.

What belongs here: opening a session, keeping it, the calls that run in it, and its end. What does not: when a session
is opened again, and the tools that are made of it (`_mcp_servers`).

The session and its calls have tasks of their own for two reasons. What the client of MCP opens has to be closed in the
reverse order, and a transport that fails cancels everything inside its block: neither may reach the tasks of an agent.
And a call that is cancelled tells its server so, for which the client waits up to 5 seconds, shielded, if the server is
wedged: whoever waits for the call does not.

The states::

    OPENING ---> OPEN ---> RETIRED ---> ENDED
       |           +----------------------^    the block is left, or the transport fails
       +----------------------------------^    it could not be opened

A session retires when its server has forgotten it or its connection is gone: it takes no new calls, and ends with the
last one.
"""

from __future__ import annotations

import enum
import logging
import math
import re
from collections.abc import Callable
from typing import Any, Final, cast, final

import mcp_types
import msgspec
import trio
from mcp import Client, MCPError

from trio_stream.agent._tool_context import ToolContext, ToolError
from trio_stream.agent._tool_result import failed

_log = logging.getLogger("trio_stream")

_CLOSE_SECONDS: Final = 5.0
"""Seconds for a session to say goodbye to its server when the block is left."""

_FORGOTTEN: Final = re.compile(
    r"(bad request: )?(no valid session|(invalid|unknown) (mcp )?session|server not initialized"
    r"|(mcp )?session( id)? (is )?(terminated|not found|expired|unknown|invalid))",
    re.IGNORECASE,
)
"""What servers, and the client, say of a session that is not known."""

_MOST_PAGES: Final = 100
"""Pages of a list of tools: a server whose list never ends must not hang the program."""


class Progress(msgspec.Struct, frozen=True):
    """How far a call of an MCP tool is, as its server says: what a `ToolProgressEvent` holds.

    Attributes:
      progress: What has been done so far, in units of the server's.
      total: What there is to do, or None if the server does not know.
      message: A description for people, or None.
    """

    progress: float
    total: float | None = None
    message: str | None = None


class ServerUnreachableError(ConnectionError):
    """A session with an MCP server could not be opened. Its ``__cause__`` is what the client of MCP raised."""


class _State(enum.Enum):
    OPENING = enum.auto()
    OPEN = enum.auto()
    RETIRED = enum.auto()
    ENDED = enum.auto()


@final
class _Call:
    """A call on its way.

    Attributes:
      scope: What it runs in; cancelled when nobody waits for it any more.
      done: Set when it has ended.
      result: Its result.
      error: What it raised. With neither, the session ended under it.
    """

    __slots__ = ("arguments", "ctx", "done", "error", "name", "result", "scope")

    def __init__(self, name: str, arguments: dict[str, Any], ctx: ToolContext) -> None:
        self.name = name
        self.arguments = arguments
        self.ctx = ctx
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.result: mcp_types.CallToolResult | None = None
        self.error: Exception | None = None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        if not self.done.is_set():  # the client hands it out in a task of its own, so it may come late
            self.ctx.progress(Progress(progress, total, message))


@final
class Session:
    """A session with a server, from opening it to its end.

    Args:
      name: The name of the server.
      connect: Makes the client.
      connect_timeout: Seconds for opening the session and listing the tools.

    Attributes:
      opened: Set when it is open, or has ended without.
      offered: The tools that the server offers.
      unreachable: Why it was never opened; None if it was.
    """

    def __init__(self, name: str, connect: Callable[[], Client], connect_timeout: float) -> None:
        self._name = name
        self._connect = connect
        self._connect_timeout = connect_timeout
        self._state = _State.OPENING
        self._leave = trio.Event()
        self._scope = trio.CancelScope()
        self._client: Client | None = None
        self._nursery: trio.Nursery | None = None
        self._calls: set[_Call] = set()
        self._failure = "it was closed"
        self.opened = trio.Event()
        self.offered: list[mcp_types.Tool] = []
        self.unreachable: ServerUnreachableError | None = None

    @property
    def takes_calls(self) -> bool:
        """Whether calls can be made, now or once it is open."""
        return self._state in (_State.OPENING, _State.OPEN) and not _is_disconnected(self._client)

    def retire(self) -> None:
        """Take no more calls, and end with the last one."""
        if self._state is _State.OPEN:
            self._state = _State.RETIRED
        self._end_with_the_last_call()

    def _end_with_the_last_call(self) -> None:
        if self._state is _State.RETIRED and not self._calls:
            self.leave()

    def leave(self) -> None:
        """End the session now. Calls that are under way are told so."""
        if self._state is _State.OPENING:
            self._scope.cancel(reason="the block of the MCP servers is left")
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + _CLOSE_SECONDS)
        self._leave.set()

    async def run(self) -> None:
        """Open the session, keep it, and close it. Never raises: what failed is told to whoever has a call here."""
        try:
            self._scope.deadline = trio.current_time() + self._connect_timeout
            with self._scope:
                await self._keep()
            if not self.opened.is_set():
                seconds = f"it took longer than {self._connect_timeout:g} seconds"
                self._fail("the block was left" if self._leave.is_set() else seconds, None)
        except* Exception as errors:  # noqa: BLE001 - this task is one among those of a program, and ends nobody else
            self._fail(str(failed(errors).content), _alone(errors))
        finally:
            self._state = _State.ENDED
            self.opened.set()
            for call in self._calls:
                call.done.set()

    async def _keep(self) -> None:
        async with self._connect() as client:
            self.offered = await _list_tools(client)
            async with trio.open_nursery() as self._nursery:
                self._client = client
                self._scope.deadline = math.inf
                self._state = _State.OPEN
                self.opened.set()
                await self._leave.wait()
                self._nursery.cancel_scope.cancel(reason=f"the MCP server {self._name} is closed")
            # Closing the connection may take a while, and nothing can be started in this nursery any more.
            self._state = _State.ENDED

    def _fail(self, why: str, cause: Exception | None) -> None:
        self._failure = why
        if not self.opened.is_set():
            self.unreachable = ServerUnreachableError(f"the server {self._name!r} cannot be reached: {why}")
            self.unreachable.__cause__ = cause
        elif self._leave.is_set():
            _log.debug("closing the MCP server %r failed: %s", self._name, why)
        else:
            _log.warning("the MCP server %r ended: %s", self._name, why)

    async def call(self, name: str, arguments: dict[str, Any], ctx: ToolContext) -> mcp_types.CallToolResult | None:
        """Make a call, and wait for its result; None if the server has forgotten the session.

        A checkpoint. If it is cancelled, it ends at once, and the server is told behind its back.

        Raises:
          ToolError: The server refused the call, or ended under it.
          Exception: Whatever the client raises for a result that it does not take.
        """
        if self._state is not _State.OPEN:
            raise ToolError(f"not started: the server {self._name!r} has just ended.")
        assert self._nursery is not None
        call = _Call(name, arguments, ctx)
        self._calls.add(call)
        self._nursery.start_soon(self._perform, call, name=f"MCP call {name}")
        try:
            await call.done.wait()
        finally:
            call.scope.cancel(reason="nobody waits for the call any more")
            self._calls.discard(call)
            self._end_with_the_last_call()
        if call.result is not None:
            return call.result
        if call.error is None:
            raise ToolError(self._ended_under(self._failure))
        if not isinstance(call.error, MCPError):
            raise call.error
        if _is_forgotten(call.error):
            return None
        if call.error.code == mcp_types.CONNECTION_CLOSED:
            raise ToolError(self._ended_under(call.error.message))
        raise ToolError(f"{call.error.message} (error {call.error.code} of the server {self._name!r})")

    def _ended_under(self, why: str) -> str:
        return (
            f"The server {self._name!r} ended while the call was running: {why.rstrip('.')}. "
            "Whether it had effects is not known."
        )

    async def _perform(self, call: _Call) -> None:
        assert self._client is not None
        try:
            with call.scope:
                call.result = await self._client.call_tool(call.name, call.arguments, progress_callback=call.progress)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the call
            call.error = error
            if isinstance(error, MCPError) and (_is_forgotten(error) or _is_disconnected(self._client)):
                self.retire()
        call.done.set()


def _alone(error: Exception) -> Exception:
    """The exception, out of groups that hold nothing else."""
    if not isinstance(error, ExceptionGroup):
        return error
    group = cast("ExceptionGroup[Exception]", error)
    return _alone(group.exceptions[0]) if len(group.exceptions) == 1 else group


def _is_disconnected(client: Client | None) -> bool:
    """Whether the connection of a session that was open is gone.

    The client of MCP tells nobody when its server ends, only the next call. Should a later version not have these
    attributes, that call is told so, and the one after it opens a new session.
    """
    dispatcher: object = getattr(getattr(client, "_session", None), "_dispatcher", None)
    return getattr(dispatcher, "_closed", False) is True


def _is_forgotten(error: MCPError) -> bool:
    """Whether a server does not know the session, so that it has not run the call.

    Over HTTP that is a 404, which the client of MCP does not pass on: only what the server said about it, or words of
    its own.
    """
    return _FORGOTTEN.match(error.message) is not None


async def _list_tools(client: Client) -> list[mcp_types.Tool]:
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools
