"""Responses through Hypercorn's Trio worker, on real sockets: HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from tests.web.hosts import Tab, TabOfHTTP2, hypercorn
from tests.web.reading import names, text
from trio_stream import web
from trio_stream.testing import Step, disconnect, fail, http_error, pause, say, stall

SOON = 2.0
"""Seconds. What the table of docs/web.md says in milliseconds is measured by `python -m tests.bench.relay`."""


class Server:
    """An application whose every response is a relay of one scripted API."""

    def __init__(self, *scripts: list[Step], **options: Any) -> None:
        self.client, self.api = client_of(*scripts)
        self.options = options
        self.relays: list[web.Relay] = []
        self.returned = 0  # calls of the application that have returned

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "as Hypercorn finds out that there is no `lifespan`"
        relay = web.Relay(self.client.messages.stream(**PARAMS), web.Anthropic(), **self.options)
        self.relays.append(relay)
        try:
            await relay(scope, receive, send)
        finally:
            self.returned += 1

    async def model_closed(self) -> None:
        """Wait until the API has no answer open."""
        with trio.fail_after(SOON):
            while self.api.open_streams or not self.api.requests or self.api.requests[-1].closed_at is None:
                await trio.sleep(0.001)

    async def app_returned(self) -> None:
        with trio.fail_after(SOON):
            while not self.returned:
                await trio.sleep(0.001)


def words_without_end() -> Any:
    while True:
        yield say(*["word "] * 200)


@pytest.mark.parametrize("tab_kind", [Tab, TabOfHTTP2])
async def test_an_answer(tab_kind: Any):
    server = Server([say("Hello ", pause(0.01), "there")])
    async with hypercorn(server) as port:
        tab = await tab_kind.open(port)
        await tab.to_end()
        assert tab.status == 200
        assert tab.ended
        assert text(tab.body) == "Hello there"
        assert names(tab.body)[-1] == "message_stop"
        await tab.stream.aclose()
    assert server.relays[0].outcome == "complete"


async def test_the_connection_serves_another_request():
    """The response has ended as it should, so the browser may go on with its connection."""
    server = Server([say("one")], [say("two")])
    async with hypercorn(server) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        assert text(tab.body) == "one"
        tab.data = b""
        from tests.web.hosts import REQUEST

        await tab.stream.send_all(REQUEST)
        await tab.to_end()
        assert text(tab.body) == "two"
        await tab.stream.aclose()


async def test_a_tab_closed_while_text_arrives():
    server = Server([say("Hello ", stall())])
    async with hypercorn(server) as port:
        tab = await Tab.open(port)
        await tab.until(b"Hello")
        tab.close()
        await server.model_closed()
        await server.app_returned()
    assert server.relays[0].outcome == "disconnected"


async def test_a_tab_closed_before_the_first_event():
    server = Server([stall()])
    async with hypercorn(server) as port:
        tab = await Tab.open(port)
        with trio.fail_after(SOON):
            while not server.api.requests:
                await trio.sleep(0.001)
        tab.close()
        with trio.fail_after(SOON):
            while server.api.requests[0].closed_at is None:
                await trio.sleep(0.001)
        await server.app_returned()
    assert server.relays[0].outcome == "disconnected"


async def test_a_tab_closed_while_a_send_is_blocked():
    """It holds a full window and reads nothing."""
    server = Server(words_without_end())
    async with hypercorn(server) as port:
        tab = await Tab.open(port, window=4096)
        await tab.until(b"word")
        await blocked(server)
        tab.close()
        await server.model_closed()
        await server.app_returned()
    assert server.relays[0].outcome == "disconnected"


async def blocked(server: Server) -> None:
    """Wait until nothing more is read from the model, because the tab does not read."""
    before = -1
    stream = server.relays[0].stream
    assert isinstance(stream, ts.MessageStream)
    with trio.fail_after(10):
        while before != (before := stream.stats.bytes):
            await trio.sleep(0.1)


async def test_a_tab_that_reads_nothing():
    """The model is closed after `send_timeout`, though Hypercorn shields the `send` that waits."""
    server = Server(words_without_end(), send_timeout=0.5)
    async with hypercorn(server) as port:
        tab = await Tab.open(port, window=4096)
        await tab.until(b"word")
        await blocked(server)
        await server.model_closed()
        tab.close()
        await server.app_returned()
    assert server.relays[0].outcome == "not_reading"


async def test_a_tab_of_http2_that_is_closed():
    server = Server([say("Hello ", stall())])
    async with hypercorn(server) as port:
        tab = await TabOfHTTP2.open(port)
        await tab.until(b"Hello")
        await tab.leave()
        await server.model_closed()
        await server.app_returned()
        await tab.stream.aclose()
    assert server.relays[0].outcome == "disconnected"


@pytest.mark.parametrize("tab_kind", [Tab, TabOfHTTP2])
@pytest.mark.parametrize("break_off", [fail("overloaded_error"), disconnect()], ids=["overloaded", "cut"])
async def test_an_answer_that_breaks_off(tab_kind: Any, break_off: Step):
    """The text is kept, and the last frame says that it is not all of it."""
    server = Server([say("Hello ", pause(0.01), break_off)])
    async with hypercorn(server) as port:
        tab = await tab_kind.open(port)
        await tab.to_end()
        assert tab.ended
        assert text(tab.body) == "Hello "
        assert names(tab.body)[-1] == "error"
        await tab.stream.aclose()


@pytest.mark.parametrize("tab_kind", [Tab, TabOfHTTP2])
async def test_an_overload_before_anything_was_said(tab_kind: Any):
    server = Server([http_error(529)])
    async with hypercorn(server) as port:
        tab = await tab_kind.open(port)
        await tab.to_end()
        assert tab.status == 503
        await tab.stream.aclose()


@pytest.mark.parametrize("tab_kind", [Tab, TabOfHTTP2])
async def test_a_bug_cuts(tab_kind: Any):
    """The peer sees that the response did not end."""
    client, _ = client_of([say("Hello there")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await out.relay(stream)
        raise KeyError("a mistake")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await web.Relay(answer, web.Anthropic())(scope, receive, send)

    async with hypercorn(app) as port:
        tab = await tab_kind.open(port)
        await tab.to_end()
        assert text(tab.body) == "Hello there"
        assert not tab.ended
        await tab.stream.aclose()


@pytest.mark.parametrize("tab_kind", [Tab, TabOfHTTP2])
async def test_a_shutdown_cuts(tab_kind: Any):
    """Of the server, with the grace that it gives."""
    server = Server([say("Hello ", stall())])
    async with hypercorn(server) as port:
        tab = await tab_kind.open(port)
        await tab.until(b"Hello")
    assert server.api.open_streams == 0
    assert server.relays[0].outcome is None
    await tab.to_end()
    assert not tab.ended
    await tab.stream.aclose()


async def test_a_disconnect_while_the_response_ends():
    """Hypercorn says `http.disconnect` while it ends a response; the connection must be closed all the same."""
    server = Server(*[[say("Hello")]] * 20)
    async with hypercorn(server) as port:
        for _ in range(20):
            tab = await Tab.open(
                port, request=b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            with trio.fail_after(SOON):
                while more := await tab.stream.receive_some():
                    tab.data += more
            assert text(tab.body) == "Hello"
            await tab.stream.aclose()
    assert [relay.outcome for relay in server.relays] == ["complete"] * 20
