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
from trio_stream import agent
from trio_stream.agent import mcp
from trio_stream.testing import ScriptedAPI, say

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

# Further entrances, each of which says itself that there is no Trio.


async def asks_for_betas(client: ts.Client) -> None:
    await client.beta.messages.create(**PARAMS, betas=["some-beta"])


async def parses(client: ts.Client) -> None:
    await client.messages.parse(**PARAMS, output=int)


async def lists_batches(client: ts.Client) -> None:
    async for _ in client.messages.batches.list():
        pass


async def gets_a_page_of_batches(client: ts.Client) -> None:
    await client.messages.batches.list()


async def creates_a_batch(client: ts.Client) -> None:
    await client.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}])


async def reads_results(client: ts.Client) -> None:
    async with client.messages.batches.results("batch"):
        pass


async def closes_raw_events(client: ts.Client) -> None:
    await (await client.messages.create(**PARAMS, stream=True)).aclose()


async def races(client: ts.Client) -> None:
    await ts.race(client, [PARAMS])


async def hedges(client: ts.Client) -> None:
    await ts.hedge(client, PARAMS, after=1)


async def gathers_texts(client: ts.Client) -> None:
    await ts.gather_texts(client, [PARAMS])


async def gathers_outcomes(client: ts.Client) -> None:
    await ts.gather_outcomes(client, [PARAMS])


async def runs_an_agent(client: ts.Client) -> None:
    async with agent.Conversation(client, model="m", max_tokens=9).run("Hi"):
        pass


async def asks_an_agent(client: ts.Client) -> None:
    await agent.Conversation(client, model="m", max_tokens=9).ask("Hi")


async def compacts(client: ts.Client) -> None:
    chat = agent.Conversation(client, model="m", max_tokens=9)
    chat.append({"role": "user", "content": "Hi"})
    await chat.compact()


async def opens_servers_of_mcp(client: ts.Client) -> None:
    async with mcp.servers():
        pass


async def makes_a_block(client: ts.Client) -> None:
    await ts.NurseryBlock("ticker").enter()


async def serves_scripts(client: ts.Client) -> None:
    async with ScriptedAPI().serve():
        pass


WITHOUT_TRIO = [
    *CALLS,
    asks_for_betas,
    parses,
    lists_batches,
    gets_a_page_of_batches,
    creates_a_batch,
    reads_results,
    closes_raw_events,
    races,
    hedges,
    gathers_texts,
    gathers_outcomes,
    runs_an_agent,
    asks_an_agent,
    compacts,
    opens_servers_of_mcp,
    makes_a_block,
    serves_scripts,
]


@pytest.mark.parametrize("call", WITHOUT_TRIO)
def test_under_asyncio(call: Call) -> None:
    """Nothing is sent, and the sentence names the client that works there."""
    client, api = client_of([say("x")])

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"trio_stream needs Trio.*trio_stream\.blocking"):
            await call(client)

    asyncio.run(main())
    assert api.requests == []


@pytest.mark.parametrize("call", WITHOUT_TRIO)
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
