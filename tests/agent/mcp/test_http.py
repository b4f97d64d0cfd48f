"""A server on a port: what becomes of calls when it goes and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.mcp.use import Tools, http, http_server
from trio_stream.agent.mcp import Server, servers

# The client's own: on Trio it leaves iterators of httpx2 to the garbage collector, where a response is left early.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http(x|core)2:ResourceWarning")

UNKNOWN = "Whether it had effects is not known."


async def test_a_server_that_goes_and_comes_back() -> None:
    """The call under which it went is told so, those that find it gone too, and later ones work again.

    With the protocol of today, and with that which has sessions.
    """
    async with (
        http_server() as server,
        servers(Server("now", http(server.port)), Server("once", http(server.port, "legacy"))) as offered,
    ):
        tools = Tools(offered)
        for name in ("now", "once"):
            assert await tools.call(f"{name}__add", a=1, b=2) == "3"
        died = await tools.call("now__die")
        assert died.startswith("error: The server 'now' ended while the call was running: ")
        assert died.endswith(UNKNOWN)
        for name in ("now", "once"):
            gone = [await tools.call(f"{name}__add", a=1, b=2) for _ in range(3)]
            assert all(text.startswith("error: ") for text in gone)
            assert gone[-1].startswith(f"error: not started: the server '{name}' cannot be reached: ConnectError")
        await server.start()
        for name in ("now", "once"):
            assert await tools.call(f"{name}__add", a=3, b=4) == "7"


async def test_a_session_that_the_server_forgot_is_opened_again(tmp_path: Path) -> None:
    """The call is made once more, because it has not been run: it has its effect once."""
    log = tmp_path / "log"
    async with http_server() as server, servers(Server("tests", http(server.port, "legacy"))) as offered:
        tools = Tools(offered)
        assert await tools.call("tests__add", a=1, b=2) == "3"
        server.kill()
        await server.start()
        assert await tools.call("tests__note", log=str(log)) == "noted"
        assert log.read_text() == "called\n"
        assert await tools.call("tests__note", log=str(log)) == "noted"
    assert log.read_text() == "called\ncalled\n"
