"""The frameworks, served by Hypercorn on real sockets: what their handlers return, and that it stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastapi
import litestar
import pytest
import quart
import quart_trio
import trio
from litestar.types import ASGIApp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from tests.stream.api import PARAMS, client_of
from tests.web.hosts import Tab, hypercorn
from tests.web.reading import names, text
from trio_stream import web
from trio_stream.testing import fail, http_error, pause, say, stall
from trio_stream.web import fastapi as web_fastapi, quart as web_quart

MakeResponse = Callable[[], Any]


def starlette_app(make: MakeResponse) -> Any:
    async def chat(request: Request) -> Any:
        await request.json()
        return make()

    return Starlette(routes=[Route("/", chat, methods=["POST"])])


def fastapi_app(make: MakeResponse) -> Any:
    app = fastapi.FastAPI()

    async def chat(body: dict[str, Any]) -> web_fastapi.RelayResponse:
        return web_fastapi.RelayResponse(make())

    app.post("/")(chat)
    return app


def litestar_app(make: MakeResponse) -> Any:
    async def chat(request: litestar.Request[Any, Any, Any]) -> ASGIApp:
        await request.json()
        return make()

    return litestar.Litestar([litestar.post("/", status_code=200)(chat)], logging_config=None)


def quart_app(make: MakeResponse) -> Any:
    app = quart_trio.QuartTrio("test")

    @app.post("/")
    async def chat() -> Any:
        await quart.request.get_json()
        return web_quart.RelayResponse(make())

    return app


APPS = {"starlette": starlette_app, "fastapi": fastapi_app, "litestar": litestar_app, "quart": quart_app}


@pytest.fixture(params=list(APPS))
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_an_answer(framework):
    client, _ = client_of([say("Hello ", pause(0.01), "there")])
    app = APPS[framework](lambda: web.Relay(client.messages.stream(**PARAMS), web.Anthropic()))
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        assert tab.status == 200
        head = tab.data.partition(b"\r\n\r\n")[0].lower()
        assert head.count(b"content-type: text/event-stream; charset=utf-8") == 1
        assert b"x-accel-buffering: no" in head
        assert b"content-length" not in head
        assert tab.ended
        assert text(tab.body) == "Hello there"
        assert names(tab.body)[-1] == "message_stop"
        await tab.stream.aclose()


async def test_a_closed_tab(framework):
    client, api = client_of([say("Hello ", stall())])
    app = APPS[framework](lambda: web.Relay(client.messages.stream(**PARAMS), web.Anthropic()))
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.until(b"Hello")
        tab.close()
        with trio.fail_after(2):
            while api.open_streams:
                await trio.sleep(0.001)


async def test_an_overload_in_mid_text(framework):
    client, _ = client_of([say("Hello ", fail("overloaded_error"))])
    app = APPS[framework](lambda: web.Relay(client.messages.stream(**PARAMS), web.Anthropic()))
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        assert tab.ended
        assert text(tab.body) == "Hello "
        assert names(tab.body)[-1] == "error"
        await tab.stream.aclose()


async def test_an_overload_before_anything_was_said(framework):
    """A status; with Quart, which sends the head first, an error of the protocol."""
    client, _ = client_of([http_error(529)])
    app = APPS[framework](lambda: web.Relay(client.messages.stream(**PARAMS), web.Anthropic()))
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        if framework == "quart":
            assert (tab.status, names(tab.body)) == (200, ["error"])
        else:
            assert tab.status == 503
        await tab.stream.aclose()


async def test_a_bug_cuts(framework):
    client, _ = client_of([say("Hello there")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await out.relay(stream)
        raise KeyError("a mistake")

    app = APPS[framework](lambda: web.Relay(answer, web.Anthropic()))
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        assert text(tab.body) == "Hello there"
        assert not tab.ended
        await tab.stream.aclose()


async def test_a_tab_of_a_hub(framework):
    """Reads, reloads, and is told that there is nothing."""
    client, _ = client_of([say("Hello ", pause(0.1), "there")])
    async with web.Hub() as hub:
        hub.start("chat", client.messages.stream(**PARAMS), web.Anthropic())
        keys = iter(["chat", "chat", "nobody"])
        async with hypercorn(APPS[framework](lambda: hub.attach(next(keys)))) as port:
            tab = await Tab.open(port)
            await tab.until(b"Hello")
            tab.close()
            tab = await Tab.open(port)
            await tab.to_end()
            assert text(tab.body) == "Hello there"
            await tab.stream.aclose()
            tab = await Tab.open(port)
            await tab.until(b"\r\n\r\n")
            assert tab.status == 204
            await tab.stream.aclose()


async def test_fastapi_headers_cookies_and_background_tasks():
    """Whatever the handler adds to it goes out with the head, and the task runs after the end."""
    client, _ = client_of([say("Hello")])
    app = fastapi.FastAPI()
    ran: list[str] = []

    async def chat(tasks: fastapi.BackgroundTasks) -> Any:
        tasks.add_task(ran.append, "task")
        mine = web_fastapi.RelayResponse(
            web.Relay(client.messages.stream(**PARAMS), web.Anthropic()), headers={"x-mine": "2"}
        )
        mine.set_cookie("session", "3")
        return mine

    app.post("/", response_model=None)(chat)
    async with hypercorn(app) as port:
        tab = await Tab.open(port)
        await tab.to_end()
        head = tab.data.partition(b"\r\n\r\n")[0]
        for line in (b"x-mine: 2", b"set-cookie: session=3"):
            assert line in head
        assert text(tab.body) == "Hello"
        await tab.stream.aclose()
    assert ran == ["task"]
