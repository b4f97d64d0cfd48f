"""A client belongs to one run of Trio at a time, and every call says so where there is none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from tests.wire.answers import GOOD_ANSWER
from tests.wire.events import TEXT
from tests.wire.server import answering, serve
from trio_stream.testing import say

Call = Callable[[ts.Client], Awaitable[object]]


async def enters_the_client(client: ts.Client) -> None:
    async with client:
        pass


async def streams(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()


async def streams_raw_events(client: ts.Client) -> None:
    async with await client.messages.create(**PARAMS, stream=True):
        pass


async def creates(client: ts.Client) -> None:
    await client.messages.create(**PARAMS)


async def counts(client: ts.Client) -> None:
    await client.messages.count_tokens(model="m", messages=PARAMS["messages"])


async def fans_out(client: ts.Client) -> None:
    async with ts.fan_out(client, [PARAMS]) as job:
        async for outcome in job:
            if outcome.error is not None:
                raise outcome.error


async def closes(client: ts.Client) -> None:
    await client.aclose()


CALLS = [enters_the_client, streams, streams_raw_events, creates, counts, fans_out, closes]


@pytest.mark.parametrize("call", CALLS)
def test_under_asyncio(call: Call) -> None:
    client, api = client_of([say("x")])

    async def main() -> None:
        with pytest.raises(RuntimeError, match="trio_stream needs Trio"):
            await call(client)

    asyncio.run(main())
    assert api.requests == []


@pytest.mark.parametrize("call", CALLS)
def test_under_no_loop(call: Call) -> None:
    client, _ = client_of([say("x")])
    with pytest.raises(RuntimeError, match="trio_stream needs Trio"):
        call(client).__await__().send(None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("call", CALLS)
async def test_a_second_run_in_another_thread(call: Call) -> None:
    """It is told at its first call, and the first run goes on with its streams and connections."""
    async with serve(answering(GOOD_ANSWER)) as server, ts.Client(api_key="k", base_url=server.base_url) as client:
        await client.messages.create(**PARAMS)
        async with client.messages.stream(**PARAMS) as stream:

            def second() -> None:
                with pytest.raises(RuntimeError, match="another run of Trio, in another thread"):
                    trio.run(call, client)

            await trio.to_thread.run_sync(second)
            await stream.until_done()
            assert stream.text == TEXT
        await client.messages.create(**PARAMS)
        assert len(server.peers) == 1


def test_runs_one_after_the_other() -> None:
    client, api = client_of(*[[say("x")]] * 3)
    for _ in range(3):
        thread = threading.Thread(target=trio.run, args=(streams, client))
        thread.start()
        thread.join()
    assert len(api.requests) == 3
