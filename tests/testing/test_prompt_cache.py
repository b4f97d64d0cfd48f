"""The prompt cache of the scripted API."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import PromptCache, ScriptedAPI, http_error, say

LONG = "You are a judge. " * 300
TOKENS = 1_285  # of the block, at four bytes each
CALL: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 10}


def marked(text: str = LONG, **control: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", **control}}]


async def ask(client: ts.Client, **params: Any) -> tuple[int, int]:
    """Ask, and return the tokens that were written and read."""
    params = {**CALL, "messages": [{"role": "user", "content": "x"}], **params}
    usage = (await client.messages.create(**params)).usage
    return usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0


def client_of(cache: PromptCache, *scripts: Any) -> ts.Client:
    api = ScriptedAPI(*scripts, default=[say("ok", ttft=1.0)], prompt_cache=cache)
    return ts.Client(api_key="test", transport=api, max_retries=0)


async def test_what_is_written_is_read_for_as_long_as_it_is_used(autojump_clock):
    """An entry ends five minutes after its last use; it spreads a while after the first event of its writer."""
    cache = PromptCache(spread=1.5)
    client = client_of(cache)
    assert await ask(client, system=marked()) == (TOKENS, 0)
    assert await ask(client, system=marked()) == (TOKENS, 0)  # it is not everywhere yet
    await trio.sleep(2)
    for _ in range(2):
        assert await ask(client, system=marked()) == (0, TOKENS)
        await trio.sleep(250)
    await trio.sleep(60)
    assert await ask(client, system=marked()) == (TOKENS, 0)
    assert (cache.writes, cache.reads) == (3, 2)
    assert repr(cache) == "<PromptCache: 3 writes, 2 reads>"


async def test_an_hour(autojump_clock):
    """The usage says for how long it was written."""
    client = client_of(PromptCache())
    message = await client.messages.create(**CALL, system=marked(ttl="1h"), messages=[{"role": "user", "content": "x"}])
    assert message.usage.cache_creation is not None
    assert message.usage.cache_creation.ephemeral_1h_input_tokens == TOKENS
    assert message.usage.input_tokens < 30
    await trio.sleep(3000)
    assert await ask(client, system=marked(ttl="1h")) == (0, TOKENS)


async def test_what_is_not_cached(autojump_clock):
    """Nothing without a mark, nothing that is too short for its model, nothing that another model has written."""
    client = client_of(PromptCache(spread=0))
    assert await ask(client, system=LONG) == (0, 0)
    assert await ask(client, system=marked(LONG[:2000])) == (0, 0)
    assert await ask(client, system=marked(), model="claude-haiku-4-5") == (0, 0)
    assert await ask(client, system=marked(LONG[:3000]), model="claude-sonnet-5-5") != (0, 0)
    assert await ask(client, system=marked()) == (TOKENS, 0)
    assert await ask(client, system=marked(), model="claude-unknown") == (TOKENS, 0)


async def test_the_longest_part_is_read_and_the_rest_is_written(autojump_clock):
    """A conversation that grows."""
    client = client_of(PromptCache(spread=0))
    turns: list[dict[str, Any]] = [{"role": "user", "content": marked()}]
    first = await ask(client, messages=turns)
    turns += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": marked("No. " * 200)}]
    turns[0]["content"][0].pop("cache_control")
    written, read = await ask(client, messages=turns)
    assert read == first[0]
    assert 150 < written < 300
    assert await ask(client, messages=turns, tools=[{"name": "t", "input_schema": {"type": "object"}}]) != (0, 0)


async def test_an_answer_that_never_begins_writes_nothing(autojump_clock):
    """The entry exists from the first event on."""
    cache = PromptCache(spread=0)
    client = client_of(cache, [http_error(500)])
    with pytest.raises(ts.APIStatusError):
        await ask(client, system=marked())
    assert cache.writes == 0
    assert await ask(client, system=marked()) == (TOKENS, 0)


async def test_batches_have_entries_of_their_own(autojump_clock):
    """They read nothing that messages have written, and the other way round."""
    client = client_of(PromptCache(spread=0))
    await ask(client, system=marked(ttl="1h"))
    params: Any = {**CALL, "system": marked(ttl="1h"), "messages": [{"role": "user", "content": "x"}]}
    for expected in ([TOKENS, 0], [0, TOKENS]):
        batch = await client.messages.batches.create([{"custom_id": "a", "params": params}])
        await trio.sleep(60)
        async with client.messages.batches.results(batch.id) as lines:
            usages = [line.result.message.usage async for line in lines]  # type: ignore[union-attr]
        assert [usages[0].cache_creation_input_tokens, usages[0].cache_read_input_tokens] == expected


def test_options():
    """A spread is no negative number."""
    with pytest.raises(ValueError, match="spread"):
        PromptCache(spread=-1)
