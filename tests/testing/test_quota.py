"""The scripted rate limits are those that the API documents."""

from __future__ import annotations

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import Quota, ScriptedAPI, pause, raw, say

PARAMS = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}


def client_of(quota: Quota, script=None) -> ts.Client:
    api = ScriptedAPI(default=script or [say("word")], quota=quota)
    return ts.Client(api_key="test", transport=api, max_retries=0)


async def ask(client: ts.Client, **more):
    async with client.messages.stream(**{**PARAMS, **more}) as stream:
        await stream.until_done()
    return stream


async def test_requests_refill_continuously(autojump_clock):
    quota = Quota(requests_per_minute=60, burst=1 / 30)
    client = client_of(quota)
    stream = await ask(client)
    assert (stream.rate_limits.requests.limit, stream.rate_limits.requests.remaining) == (60, 1)
    await ask(client)
    with pytest.raises(ts.RateLimitError, match="60 requests per minute") as caught:
        await ask(client)
    assert caught.value.retry_after == 1
    await trio.sleep(1)
    await ask(client)
    await trio.sleep(3600)
    assert (await ask(client)).rate_limits.requests.remaining == 1
    assert (quota.taken, quota.refused) == (4, 1)


async def test_input_is_taken_at_the_start(autojump_clock):
    client = client_of(Quota(input_tokens_per_minute=60_000))
    content = "x" * 4 * 40_000
    stream = await ask(client, messages=[{"role": "user", "content": content}])
    assert stream.rate_limits.input_tokens.remaining == 20_000
    assert stream.rate_limits.requests.limit is None
    with pytest.raises(ts.RateLimitError, match="input tokens") as caught:
        await ask(client, messages=[{"role": "user", "content": content}])
    assert caught.value.retry_after == 21


async def test_output_is_taken_as_it_is_produced(autojump_clock):
    quota = Quota(output_tokens_per_minute=600)
    client = client_of(quota, [say(*["word" * 3, pause(1)] * 100)])
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, client)
        await trio.sleep(61)
        assert 500 <= quota.output_tokens <= 600
        # 600 at first, 10 a second since, 9 a second taken: there is some left.
        nursery.start_soon(ask, client)
    assert quota.output_tokens == 1200
    assert quota.refused == 0


async def test_a_live_stream_is_never_cut(autojump_clock):
    client = client_of(Quota(output_tokens_per_minute=60), [say("word" * 3000)])
    await ask(client)
    with pytest.raises(ts.RateLimitError) as caught:
        await ask(client)
    assert caught.value.retry_after == 2941


async def test_concurrency_storms_and_money(autojump_clock):
    quota = Quota(concurrent=1, storm=(10, 20), spend_limit=30)
    client = client_of(quota)
    async with client.messages.stream(**PARAMS):
        with pytest.raises(ts.RateLimitError, match="concurrent") as caught:
            await ask(client)
        assert caught.value.retry_after is None
    await trio.sleep(10)
    with pytest.raises(ts.OverloadedError):
        await ask(client)
    await trio.sleep(10)
    await ask(client)
    await ask(client)
    with pytest.raises(ts.RateLimitError) as caught:
        await ask(client)
    assert caught.value.error_code == "enforced_spend_limit_reached"
    assert caught.value.should_retry is False


@pytest.mark.parametrize("options", [{"requests_per_minute": 0}, {"burst": 0}, {"output_tokens_per_minute": -1}])
def test_quotas_that_cannot_be(options):
    with pytest.raises(ValueError, match="must be a positive"):
        Quota(**options)


async def test_output_that_is_not_json_uses_nothing(autojump_clock):
    """A script may send anything; the quota counts what it understands."""
    quota = Quota(output_tokens_per_minute=600)
    client = client_of(quota, [say("word"), raw(b"event: content_block_delta\ndata: {content_block_delta\n\n")])
    with pytest.raises(ts.InvalidResponseError):
        await ask(client)
    assert quota.refused == 0
