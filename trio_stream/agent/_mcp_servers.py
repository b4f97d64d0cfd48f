"""The block of MCP servers: a session for each, and the tools that are made of what they offer.

What belongs here: which servers there are, and when a session is opened again. What does not: what happens within a
session (`_mcp_session`), and the form of tools and results (`_mcp_content`).
"""

from __future__ import annotations

import functools
import logging
import re
import types
from collections.abc import Callable, Collection
from typing import Any, Final, final

import trio
from mcp import Client

from trio_stream._nursery import NurseryBlock
from trio_stream.agent._mcp_content import content_of, definition_of
from trio_stream.agent._mcp_session import Session
from trio_stream.agent._tool import NeedsApproval, Tool
from trio_stream.agent._tool_context import ToolContext, ToolError
from trio_stream.agent._tool_result import MOST_CHARACTERS

_log = logging.getLogger("trio_stream")

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@final
class Server:
    """A server, and how to reach it.

    Attributes:
      name: The name that its tools begin with: ``files__read``.
      connect: Makes a client that has not been entered. It is called again when a session has ended.
      required: Whether it is an error if the server cannot be reached; without it, it has no tools then.
      only: The names of the tools to be offered, as the server calls them; None for all.
      approve: Whether calls need approval, as for `Tool`.
      timeout: Seconds that a call may run.
      connect_timeout: Seconds for opening a session and listing the tools.
      max_result: Characters of text of a result that the model is shown.
    """

    __slots__ = ("approve", "connect", "connect_timeout", "max_result", "name", "only", "required", "timeout")

    def __init__(
        self,
        name: str,
        connect: Callable[[], Client],
        *,
        required: bool = True,
        only: Collection[str] | None = None,
        approve: NeedsApproval = False,
        timeout: float = 300.0,
        connect_timeout: float = 30.0,
        max_result: int = MOST_CHARACTERS,
    ) -> None:
        """Describe a server; nothing is opened yet.

        Args:
          name: As the attribute; so are the others.
          connect: See above.
          required: See above.
          only: See above.
          approve: See above.
          timeout: See above.
          connect_timeout: See above.
          max_result: See above.

        Raises:
          ValueError: The name holds other characters than letters, digits, ``_`` and ``-``, or more than 64.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"a server's name has letters, digits, _ and -, at most 64 of them, unlike {name!r}")
        self.name = name
        self.connect = connect
        self.required = required
        self.only = only
        self.approve: NeedsApproval = approve
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.max_result = max_result

    def __repr__(self) -> str:
        return f"<Server {self.name!r}>"


@final
class servers:  # noqa: N801 - it is used as a function is: ``async with servers(...) as tools``
    """The tools of MCP servers, for as long as the block lasts.

    ::

        async with ts.mcp.servers(ts.mcp.Server("files", connect)) as tools: ...

    ``tools`` is a list of `Tool`, to be handed to a `Conversation` or a `ToolRunner`, alone or among others. Their
    names are those of the server and the tool: ``files__read``. Which tools there are is settled when the block is
    entered. All servers are reached at the same time.

    Whatever happens to a server is told to the model in the result of a call, and never raised: that it ended while the
    call was running, or that it cannot be reached any more. The next call opens a new session. No call is made twice,
    with one exception: a server that has forgotten the session has not run the call, so it is made once more in a new
    session.

    A call that is cancelled ends at once, whatever the server does; the server is told. What a server reports on the
    way becomes a `ToolProgressEvent` with a `Progress`.

    Entering is a checkpoint; if it is cancelled, everything is closed. Leaving waits until the sessions are closed,
    which is bounded: by 5 seconds for a server that answers slowly, and by about 10 for a process that neither reads
    nor ends, which the client of MCP kills. The block owns a nursery, and follows the contract of `NurseryBlock`.

    Args:
      servers: The servers.

    Raises:
      ServerUnreachableError: On entering, if a server that is ``required`` cannot be reached.
      ValueError: Two servers have one name.
    """

    def __init__(self, *servers: Server) -> None:
        names = [server.name for server in servers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two servers have the name {name!r}")
        self._servers = servers
        self._links: list[_Link] = []
        self._block: NurseryBlock | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> list[Tool]:
        if self._block is not None:
            raise RuntimeError("this block has been entered before: make another")
        self._block = NurseryBlock("MCP servers")
        await self._block.enter()
        self._links = [_Link(server, self._block.nursery) for server in self._servers]
        try:
            tools: dict[str, Tool] = {}
            for link in self._links:
                await link.add_tools(tools)
            return list(tools.values())
        except BaseException as error:
            await self._block.exit(error)  # noqa: ASYNC102 - a nursery ends what is in it, whatever is cancelled
            raise

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        assert self._block is not None
        for link in self._links:
            link.close()
        self._block.check_may_leave()
        # Nobody cancels the nursery from within, so no exception of the body ends here.
        await self._block.exit(error)  # noqa: ASYNC102 - the sessions bound themselves


@final
class _Link:
    """A server, and the session with it: the one there is, until the next call needs another."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self._server = server
        self._nursery = nursery
        self._session = self._start()
        self._closed = False

    def _start(self) -> Session:
        session = Session(self._server.name, self._server.connect, self._server.connect_timeout)
        self._nursery.start_soon(session.run, name=f"MCP server {self._server.name}")
        return session

    def close(self) -> None:
        """Let the session end, and start no other."""
        self._closed = True
        self._session.leave()

    async def add_tools(self, tools: dict[str, Tool]) -> None:
        """Add the tools that the server offers to others, by their names.

        Raises:
          ServerUnreachableError: It cannot be reached, and is required.
        """
        server = self._server
        await self._session.opened.wait()
        unreachable = self._session.unreachable
        if unreachable is not None:
            if server.required:
                raise unreachable
            _log.warning("%s, so it has no tools", unreachable)
        for offered in self._session.offered:
            if server.only is None or offered.name in server.only:
                definition = definition_of(offered, server.name, tools)
                tools[definition["name"]] = Tool(
                    definition=definition,
                    call=functools.partial(self._call, offered.name),
                    approve=server.approve,
                    timeout=server.timeout,
                    max_result=server.max_result,
                )

    async def _call(self, name: str, arguments: dict[str, Any], ctx: ToolContext) -> Any:
        result = await (await self._opened()).call(name, arguments, ctx)
        if result is None:
            # The server has forgotten the session, so it has not run the call. The session has retired.
            result = await (await self._opened()).call(name, arguments, ctx)
            if result is None:
                raise ToolError(f"not started: the server {self._server.name!r} forgets its sessions at once.")
        content = content_of(result)
        if result.is_error:
            raise ToolError(content)
        return content

    async def _opened(self) -> Session:
        """An open session: the one there is, or a new one if that takes no more calls."""
        if self._closed:
            raise ToolError(f"not started: the server {self._server.name!r} has been closed.")
        if not self._session.takes_calls:
            self._session.retire()
            self._session = self._start()
        session = self._session
        await session.opened.wait()
        if session.unreachable is not None:
            raise ToolError(f"not started: {session.unreachable}")
        return session
