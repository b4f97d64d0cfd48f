"""Every public async function is a checkpoint; one step of a stream is a cancellation point, and often enough more."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

import trio_stream as ts
from tests.faults.cancelling import (
    CUT,
    FLOOD,
    stream_to_end,
)
from tests.faults.rows import PARAMS, client_for
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunked, sized, sse
from tests.wire.events import (
    BEGIN,
    END,
    block_delta,
    block_start,
    block_stop,
    message_delta,
    message_start,
    message_stop,
    text_delta,
)
from tests.wire.server import GOOD, WireServer, answering, on, once, request

THINKING = [
    message_start(),
    block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
    *[block_delta({"type": "thinking_delta", "thinking": "hm "})] * 20,
    block_stop(0),
    block_start(1),
    *[text_delta("word. ", 1)] * 20,
    block_stop(1),
    message_delta(),
    message_stop(),
]


COMPLETE: dict[str, Callable[[ts.MessageStream], Awaitable[Any]]] = {
    "until_done": lambda stream: stream.until_done(),
    "get_final_message": lambda stream: stream.get_final_message(),
    "get_final_text": lambda stream: stream.get_final_text(),
    "aclose": lambda stream: stream.aclose(),
    "close": lambda stream: stream.close(),
}
"""Full checkpoints on every call, whatever has arrived."""

STEPS: dict[str, Callable[[ts.MessageStream], Awaitable[Any]]] = {
    "receive": lambda stream: stream.receive(),
    "__anext__": lambda stream: stream.__anext__(),
    "text_stream": lambda stream: stream.text_stream.__anext__(),
    "thinking_stream": lambda stream: stream.thinking_stream.__anext__(),
    "texts": lambda stream: stream.texts().__anext__(),
    "text_chunks": lambda stream: stream.text_chunks(min_chars=3).__anext__(),
}
"""Cancellation points on every call; schedule points where they wait, and otherwise once a millisecond."""


async def on_streams(check: Callable[[ts.MessageStream], Awaitable[None]]) -> None:
    """Once each on a stream that has just been opened, is complete, was closed, and was left."""
    answer = CHUNKED_HEAD + chunked(*THINKING, last=True)
    async with WireServer(then=answering(answer)) as server, client_for(server, max_connections=None) as client:
        for state in ("open", "complete", "closed", "complete and left", "left"):
            async with client.messages.stream(**PARAMS) as stream:
                if state == "complete":
                    await stream.until_done()
                if state == "closed":
                    await stream.aclose()
                if state in ("open", "complete", "closed"):
                    await check(stream)
                if state == "complete and left":
                    await stream.until_done()
            if "left" in state:
                await check(stream)


ENDS = (ts.IncompleteStreamError, trio.ClosedResourceError, trio.EndOfChannel, StopAsyncIteration)


@pytest.mark.parametrize("name", COMPLETE)
async def test_checkpoints(name: str) -> None:
    """Also when there is nothing left to wait for, or to close."""

    async def check(stream: ts.MessageStream) -> None:
        for _ in range(2):
            try:
                with trio.testing.assert_checkpoints():
                    await COMPLETE[name](stream)
            except ENDS:
                return

    await on_streams(check)


@pytest.mark.parametrize("name", [*COMPLETE, *STEPS])
async def test_cancellation_points(name: str) -> None:
    """Every call, also one that has what it needs: nothing is taken when it is cancelled."""

    async def check(stream: ts.MessageStream) -> None:
        before = stream.text, stream._stream.kept
        with trio.CancelScope() as scope:
            scope.cancel(reason="the row")
            try:
                await (COMPLETE | STEPS)[name](stream)
            except ENDS:
                pytest.fail("it should have noticed the cancellation first")
        assert scope.cancelled_caught
        assert (stream.text, stream._stream.kept) == before or "close" in name

    await on_streams(check)


async def check_every_public_function() -> None:
    for name in COMPLETE:
        await test_checkpoints(name)
    for name in STEPS:
        await test_cancellation_points(name)
    async with WireServer() as server:
        client = client_for(server)
        with trio.testing.assert_checkpoints():
            await client.__aenter__()
        for messages in (client.messages, client.beta.messages):
            with trio.testing.assert_checkpoints():
                await messages.create(**PARAMS)
            with trio.testing.assert_checkpoints():
                stream = await messages.create(**PARAMS, stream=True)
            with trio.testing.assert_checkpoints():
                await stream.__aenter__()
            for method in (stream.until_done, stream.aclose, stream.close):
                with trio.testing.assert_checkpoints():
                    await method()
            await stream.__aexit__(None, None, None)
            manager = messages.stream(**PARAMS)
            with trio.testing.assert_checkpoints():
                await manager.__aenter__()
            await manager.__aexit__(None, None, None)
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await client.aclose()
        client = client_for(server)
        with trio.testing.assert_checkpoints():
            await client.__aexit__(None, None, None)
    count = sized(b'{"input_tokens": 1}', content_type=b"application/json")
    async with WireServer(then=answering(count)) as server, client_for(server) as client:
        for messages in (client.messages, client.beta.messages):
            with trio.testing.assert_checkpoints():
                await messages.count_tokens(model="m", messages=PARAMS["messages"])


class Steps(trio.abc.Instrument):
    """Counts the steps of one task."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def test_schedule_points() -> None:
    """A receive that waits is one; and decoding what has arrived goes on for a millisecond or so at a time."""
    events = [*BEGIN, *[text_delta("word ")] * 20_000, *END]
    for answer in (chunked(sse(*events), last=True), b"".join(chunked(item) for item in events) + LAST_CHUNK):
        async with WireServer([once(CHUNKED_HEAD, answer)]) as server, client_for(server) as client:
            async with client.messages.stream(**PARAMS) as stream:
                steps = Steps()
                trio.lowlevel.add_instrument(steps)
                began = time.thread_time()
                async for _ in stream:
                    pass
                seconds = time.thread_time() - began
                trio.lowlevel.remove_instrument(steps)
            assert stream.message.text == "word " * 20_000
        assert steps.count >= seconds / 0.010, f"{steps.count} steps in {seconds:.3f} s"


async def test_siblings_run_meanwhile() -> None:
    """A flood of events is no reason for other tasks to stand still."""
    gaps: list[float] = []

    async def tick() -> None:
        last = time.thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    async with WireServer([on(request(), CUT, FLOOD)], then=GOOD) as server, client_for(server) as client:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                await stream_to_end(client)
    assert sorted(gaps)[len(gaps) // 2] < 0.010
    assert len(gaps) >= 50
