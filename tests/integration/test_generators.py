"""Async generators in whole programs: what needs tasks warns in them, and web frameworks take them."""

from __future__ import annotations

import functools
import gc
import io
import logging
import math
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.agent.talking import conversation
from tests.stream.api import PARAMS, client_of
from trio_stream.testing import ScriptedAPI, pause, say

# What cannot do without tasks.


async def fan_out(client: ts.Client) -> AsyncGenerator[str]:
    async with ts.fan_out(client, [PARAMS, PARAMS]) as results:
        async for outcome in results:
            yield outcome.text


async def run_of_an_agent(client: ts.Client) -> AsyncGenerator[str]:
    api = ScriptedAPI([say("Hello")])
    async with conversation(api).run("Hi") as run:
        async for event in run:
            yield event.type


async def block_of_a_user(client: ts.Client) -> AsyncGenerator[str]:
    block = ts.NurseryBlock("ticker")
    async with Entered(block):
        block.nursery.start_soon(trio.lowlevel.checkpoint)
        yield "tick"


class Entered:
    def __init__(self, block: ts.NurseryBlock) -> None:
        self.block = block

    async def __aenter__(self) -> None:
        await self.block.enter()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return await self.block.exit(error)


BLOCKS = {"fan-out": fan_out, "run": run_of_an_agent, "ticker": block_of_a_user}


@pytest.mark.parametrize("owner", BLOCKS)
async def test_what_needs_tasks_warns_once(owner: str) -> None:
    """At the line of the block, with what to do; and it works, if the generator is taken to its end."""
    client, _ = client_of(default=[say("Hello")])
    generator = BLOCKS[owner]
    with pytest.warns(
        RuntimeWarning, match=rf"^this {owner} needs tasks.*{generator.__name__}.*@trio\.as_safe_channel"
    ) as caught:
        items = [item async for item in generator(client)]
    assert items
    [warning] = caught
    assert warning.filename == __file__
    lines = range(generator.__code__.co_firstlineno, generator.__code__.co_firstlineno + 6)
    assert warning.lineno in lines


@pytest.mark.parametrize("owner", BLOCKS)
async def test_in_a_channel_it_does_not_warn(owner: str) -> None:
    client, api = client_of(default=[say("Hello")])
    async with trio.as_safe_channel(BLOCKS[owner])(client) as items:
        async for _ in items:
            break
    assert api.open_streams == 0


async def test_what_is_over_when_it_returns_does_not_warn() -> None:
    """A race, a hedge, or texts that are gathered: their tasks have ended before the generator goes on."""
    client, api = client_of(default=[say("Hello")])
    shared: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 9}

    async def generator() -> AsyncGenerator[Any]:
        yield (await ts.race(client, ["a", "b"], **shared)).text
        yield (await ts.hedge(client, "a", after=1, **shared)).text
        yield await ts.gather_texts(client, ["a", "b"], **shared)
        yield (await client.messages.create(**PARAMS)).text

    assert [item async for item in generator()] == ["Hello", "Hello", ["Hello", "Hello"], "Hello"]
    assert api.open_streams == 0


# Under a web server.

WORDS = [f"word-{number}" for number in range(20)]


class Endpoints:
    """The three ways in which people write an endpoint with `yield`, and a dependency."""

    def __init__(self, client: ts.Client) -> None:
        fastapi = pytest.importorskip("fastapi")
        self.app = fastapi.FastAPI()

        async def texts() -> AsyncIterator[str]:
            async with client.messages.stream(**PARAMS) as stream:
                async for text in stream.text_stream:
                    yield text

        async def events() -> AsyncIterator[str]:
            async for text in texts():
                yield f"data: {text}\n\n"

        async def opened() -> AsyncIterator[ts.MessageStream]:
            async with client.messages.stream(**PARAMS) as stream:
                yield stream

        @self.app.get("/response")
        async def response() -> fastapi.responses.StreamingResponse:
            return fastapi.responses.StreamingResponse(events(), media_type="text/event-stream")

        @self.app.get("/yield", response_class=fastapi.sse.EventSourceResponse)
        async def endpoint() -> AsyncIterator[str]:
            async with client.messages.stream(**PARAMS) as stream:
                async for text in stream.text_stream:
                    yield text

        @self.app.get("/dependency")
        async def dependency(stream=fastapi.Depends(opened)) -> str:  # noqa: B008
            stream.nursery.start_soon(trio.lowlevel.checkpoint)
            await stream.until_done()
            return stream.text


async def get(port: int, path: str, *, leave_after: float = math.inf) -> bytes:
    """The answer to a request to its last word, or what had arrived when the tab was closed."""
    received = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as tab:
        await tab.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with trio.move_on_after(leave_after):
            while WORDS[-1].encode() not in received:
                data = await tab.receive_some()
                assert data, received
                received += data
    return received


@pytest.mark.parametrize("path", ["/response", "/yield", "/dependency"])
def test_an_endpoint_of_fastapi(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tabs that are closed, at any moment, do not disturb those that are not, and Trio's scopes stay whole."""
    hypercorn = pytest.importorskip("hypercorn.trio")
    config = pytest.importorskip("hypercorn.config").Config()
    client, api = client_of(default=[step for word in WORDS for step in (say(word), pause(0.02))])
    app = Endpoints(client).app
    config.bind = ["127.0.0.1:0"]
    config.errorlog = log = logging.getLogger("tests.hypercorn")
    errors = io.StringIO()
    monkeypatch.setattr(log, "propagate", False)  # else pytest keeps what is logged, and its frames the generators
    monkeypatch.setattr(log, "handlers", [logging.StreamHandler(errors)])

    async def serve(task_status: trio.TaskStatus[list[str]]) -> None:
        await hypercorn.serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)

    async def main() -> None:
        answers: list[bytes] = []

        async def stay() -> None:
            answers.append(await get(port, path))

        async with client, trio.open_nursery() as nursery:
            [address] = await nursery.start(serve)
            port = int(address.rpartition(":")[2])
            async with trio.open_nursery() as tabs:
                for number in range(10):
                    tabs.start_soon(stay)
                    tabs.start_soon(functools.partial(get, port, path, leave_after=0.04 * number))
            for answer in answers:
                assert [word for word in WORDS if word.encode() not in answer] == []
            with trio.fail_after(5):
                while api.open_streams:
                    await trio.sleep(0.01)
                    gc.collect()
            nursery.cancel_scope.cancel()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Trio's, of a generator that FastAPI has dropped
        trio.run(main)
    # What FastAPI 0.165 logs at a tab that is closed, of its own channel, is not ours to prevent.
    assert "corrupt" not in errors.getvalue()
    assert path == "/yield" or errors.getvalue() == ""
