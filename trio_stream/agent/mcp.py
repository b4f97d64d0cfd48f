"""Tools of MCP servers (https://modelcontextprotocol.io), for agents.

What belongs here: the public names of what needs the extra: ``pip install 'trio-stream[mcp]'``. What does not: the
names that do without it, which the face of the room has.

::

    import mcp
    import trio_stream as ts


    def files() -> mcp.Client:
        command = mcp.StdioServerParameters(command="npx", args=["-y", "@modelcontextprotocol/server-filesystem", "."])
        return mcp.Client(command)


    async with ts.mcp.servers(ts.mcp.Server("files", files)) as tools:
        chat = ts.Conversation(client, model=..., max_tokens=1024, tools=tools)
        print(await chat.ask("What is in README.md?"))
"""

from __future__ import annotations

from trio_stream.agent._mcp_servers import Server as Server, servers as servers
from trio_stream.agent._mcp_session import Progress as Progress, ServerUnreachableError as ServerUnreachableError
