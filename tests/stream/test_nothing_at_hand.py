"""A stream whose reader knows that it has to wait goes straight there: what that must not change.

What belongs here: cancellation, other tasks and closing where nothing has arrived. What does not: what it saves
(`tests/test_cost.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.bench.scenarios import Scenario, render
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk
from tests.wire.server import Peer, serve

PARAMS: Any = {"model": "claude-sonnet-5-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = render(Scenario(name="waiting", streams=1, deltas=3))
START, DELTAS, END = EVENTS[:2], EVENTS[2:-3], EVENTS[-3:]


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[ts.MessageStream, trio.Event]]:
    """A stream with nothing at hand but the first delta, and what lets the server send the rest."""
    go_on = trio.Event()

    async def answers(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD, *map(chunk, START), chunk(DELTAS[0]))
        await go_on.wait()
        for delta in DELTAS[1:]:
            await peer.send(chunk(delta))
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(b"".join(map(chunk, END)) + LAST_CHUNK)

    async with (
        serve(answers) as server,
        ts.Client(api_key="k", base_url=server.base_url) as client,
        client.messages.stream(**PARAMS) as stream,
    ):
        yield stream, go_on


def next_event(stream: ts.MessageStream) -> Callable[[], Any]:
    return stream.__anext__


def next_text(stream: ts.MessageStream) -> Callable[[], Any]:
    return stream.text_stream.__anext__


@pytest.mark.parametrize("reading", [next_event, next_text])
async def test_it_is_a_cancellation_point_and_nothing_is_lost(reading):
    """A call that would wait is cancelled, and all that comes afterwards is delivered."""
    async with opened() as (stream, go_on):
        async for event in stream:
            if event.type == "text":
                break
        receive = reading(stream)
        if reading is next_text:
            await receive()  # the view has the first text still before it
        with trio.CancelScope() as scope:
            scope.cancel(reason="test")
            await receive()
        assert scope.cancelled_caught
        with trio.move_on_after(0.05) as scope:
            await receive()
        assert scope.cancelled_caught
        go_on.set()
        received = [await receive()]
        while True:
            try:
                received.append(await receive())
            except StopAsyncIteration:
                break
    if reading is next_text:
        assert received == [" word1 of", " word2 of"]
    else:
        assert [event.type for event in received] == [
            *["content_block_delta", "text"] * 2,
            *["content_block_stop", "message_delta", "message_stop"],
        ]
    assert stream.text == " word0 of word1 of word2 of"


async def test_another_task_is_refused():
    """While one task waits, another one that would wait is told so, and the first is not disturbed."""
    async with opened() as (stream, go_on):
        async for event in stream:
            if event.type == "text":
                break
        received: list[str] = []

        async def waits() -> None:
            received.append((await stream.__anext__()).type)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.__anext__()
            go_on.set()
        assert received == ["content_block_delta"]


@pytest.mark.parametrize("reading", [next_event, next_text])
async def test_closed_where_nothing_was_at_hand(reading):
    """A stream that was closed says so, also where its next call would have waited."""
    async with opened() as (stream, _):
        async for event in stream:
            if event.type == "text":
                break
        receive = reading(stream)
        if reading is next_text:
            await receive()
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await receive()
