"""One server of the benchmark: Hypercorn with an application that hands the events of the API on, in one of six ways.

What belongs here: the applications, each as somebody would write it who wants no more than that. What does not: the
load (`__main__`, `tests.bench.traffic`).

Run as ``python -m tests.bench.relay.serving WAY API_URL``. It prints its port; for each line of standard input it
prints the seconds of CPU that it has used so far, and it ends with its standard input.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import hypercorn.trio
import trio
from hypercorn.config import Config

import trio_stream as ts
from trio_stream import web

REQUEST: Final[dict[str, Any]] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hi"}],
}
HEAD: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


def bare(client: ts.Client, hub: web.Hub) -> Any:
    """An ASGI application that sends each event, and looks after nothing else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        encoder = web.Anthropic()
        async with client.messages.stream(**REQUEST) as stream:
            await send({"type": "http.response.start", "status": 200, "headers": HEAD})
            async for event in stream:
                if not hasattr(event, "made_of"):
                    (frame,) = encoder.event(event, None)  # type: ignore[arg-type]
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def relay(client: ts.Client, hub: web.Hub, *, max_delay: float = 0.0) -> Any:
    """A `Relay`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = client.messages.stream(**REQUEST)
        await web.Relay(answer, web.Anthropic(), max_delay=max_delay)(scope, receive, send)

    return app


def from_hub(client: ts.Client, hub: web.Hub) -> Any:
    """A `Hub` with one tab for each run."""
    keys = map(str, itertools.count())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        key = next(keys)
        hub.start(key, client.messages.stream(**REQUEST), web.Anthropic())
        await hub.attach(key)(scope, receive, send)

    return app


async def frames(client: ts.Client) -> AsyncIterator[bytes]:
    """A generator round a stream, as everybody writes it. Fine as long as it is read to its end."""
    encoder = web.Anthropic()
    async with client.messages.stream(**REQUEST) as stream:
        async for event in stream:
            if not hasattr(event, "made_of"):
                yield encoder.event(event, None)[0]  # type: ignore[arg-type]


def starlette(client: ts.Client, hub: web.Hub) -> Any:
    """Starlette's own streaming response."""
    from starlette.responses import StreamingResponse

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await StreamingResponse(frames(client), media_type="text/event-stream")(scope, receive, send)

    return app


def sse_starlette(client: ts.Client, hub: web.Hub) -> Any:
    """The response of sse-starlette, which encodes events itself."""
    from sse_starlette import EventSourceResponse

    async def events() -> AsyncIterator[dict[str, str]]:
        async with client.messages.stream(**REQUEST) as stream:
            async for event in stream:
                if not hasattr(event, "made_of"):
                    (frame,) = web.JSONLines().event(event, None)  # type: ignore[arg-type]
                    yield {"event": event.type, "data": frame[:-1].decode()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await EventSourceResponse(events())(scope, receive, send)

    return app


WAYS: Final[dict[str, Callable[[ts.Client, web.Hub], Any]]] = {
    "bare": bare,
    "relay": relay,
    "relay-delay": functools.partial(relay, max_delay=0.1),
    "starlette": starlette,
    "sse-starlette": sse_starlette,
    "hub": from_hub,
}


async def main() -> None:
    """Serve."""
    way, api_url = sys.argv[1:]
    config = Config.from_mapping(bind=["127.0.0.1:0"], accesslog=None, errorlog=None, graceful_timeout=0.1)
    config.backlog = 4096
    stop = trio.Event()
    async with ts.Client(api_key="bench", base_url=api_url) as client, web.Hub(keep=0) as hub:
        app = WAYS[way](client, hub)
        async with trio.open_nursery() as nursery:
            run = functools.partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait, mode="asgi")
            binds: list[str] = await nursery.start(run)
            print(binds[0].rpartition(":")[2], flush=True)
            await tell_cpu()
            stop.set()


async def tell_cpu() -> None:
    """Answer each line with the CPU so far, until there are no more."""
    async with trio.lowlevel.FdStream(0) as lines:
        async for _ in lines:
            print(time.process_time(), flush=True)


if __name__ == "__main__":
    trio.run(main)
