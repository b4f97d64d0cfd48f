"""The prompt cache in message batches, by a server that plays it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import Batches, PromptCache, ScriptedAPI, http_error, say

from .api import PARAMS
from .via import creations, items_of, run, statuses, streamed

SYSTEM = "You are a judge. " * 300


def api_of(cache: PromptCache, *scripts: Any, seconds: float = 600.0) -> tuple[ts.Client, ScriptedAPI]:
    batches = Batches(seconds=seconds)
    api = ScriptedAPI(*scripts, default=[say("ok", ttft=1.0)], batches=batches, prompt_cache=cache)
    return ts.Client(api_key="test-key", transport=api), api


def sizes(api: ScriptedAPI) -> list[int]:
    return [len(request.body["requests"]) for request in creations(api)]


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize("how", ["system", "prefix"])
async def test_one_writes_and_all_others_read(autojump_clock, how, probe):
    """A batch of one goes first, an hour is asked for, and the probe marks nothing: its entry would be for streams."""
    cache = PromptCache()
    client, api = api_of(cache)
    more: dict[str, Any] = {"system": SYSTEM} if how == "system" else {"prompt_prefix": SYSTEM}
    via = ts.ViaBatch(probe=probe, max_requests=200)
    outcomes, results = await run(client, items_of(500 + probe), via=via, cache="5m", **more)
    assert statuses(outcomes) == {"ok": 500 + probe}
    assert (cache.writes, cache.reads) == (1, 499)
    assert sorted(sizes(api)) == [1, 100, 199, 200]
    stats = results.stats
    assert (stats.cache_writes, stats.cache_hits, stats.cache_misses) == (1, 499, 1)
    assert stats.cache_hit_rate is not None
    assert stats.cache_hit_rate > 0.9
    assert stats.costs is not None
    assert stats.costs.saved_by_cache > 0
    assert stats.costs.saved_by_batch > 0
    streams = [request for request in api.requests if request.path == "/v1/messages"]
    assert len(streams) == probe
    assert b"cache_control" not in b"".join(request.content for request in streams)
    assert all(request.content.count(b'"ttl":"1h"') == len(request.body["requests"]) for request in creations(api))


async def test_without_that_batch_many_would_write(autojump_clock):
    """What the server does to a batch that goes at once: its first requests do not find each other's entries."""
    cache = PromptCache()
    client, _ = api_of(cache)
    mark = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    await run(client, items_of(500), via=ts.ViaBatch(probe=False), system=mark)
    assert cache.writes > 1
    assert cache.writes + cache.reads == 500


async def test_what_is_too_short_is_waited_for_once(autojump_clock):
    """Nothing is written by the first, so no further one goes alone."""
    client, api = api_of(PromptCache())
    outcomes, results = await run(
        client, items_of(9), via=ts.ViaBatch(probe=False, max_requests=4), cache="1h", system="short"
    )
    assert statuses(outcomes) == {"ok": 9}
    assert sorted(sizes(api)) == [1, 1, 3, 4]
    assert results.stats.cache_useless


async def test_one_that_fails_is_followed_by_another(autojump_clock):
    """It has written nothing; each is an outcome of its own."""
    cache = PromptCache()
    client, api = api_of(cache, [http_error(400)], [http_error(400)])
    outcomes, _ = await run(client, items_of(9), via=ts.ViaBatch(probe=False), cache="1h", system=SYSTEM)
    assert statuses(outcomes) == {"ok": 7, "error": 2}
    assert sizes(api) == [1, 1, 1, 6]
    assert (cache.writes, cache.reads) == (1, 6)


async def test_after_three_that_fail_the_others_go_together(autojump_clock):
    """Otherwise each of thousands would take as long as a batch; the entry is written by one of the others."""
    cache = PromptCache()
    client, api = api_of(cache, [http_error(400)], [http_error(400)], [http_error(400)], [http_error(400)])
    outcomes, _ = await run(client, items_of(9), via=ts.ViaBatch(probe=False), cache="1h", system=SYSTEM)
    assert statuses(outcomes) == {"ok": 5, "error": 4}
    assert sizes(api) == [1, 1, 1, 6]
    assert cache.writes >= 1


async def test_a_group_of_one_model_waits_for_its_own_entry(autojump_clock):
    """Each model has one; items that share nothing wait for none."""
    cache = PromptCache()
    client, api = api_of(cache)
    items: list[Any] = [
        {"model": model, "system": SYSTEM, "messages": [{"role": "user", "content": str(n)}]}
        for n in range(10)
        for model in ("claude-sonnet-5-5", "claude-opus-5-5")
    ]
    outcomes, results = await run(client, [*items, "alone"], via=ts.ViaBatch(probe=False), cache="1h")
    assert statuses(outcomes) == {"ok": 21}
    assert (cache.writes, cache.reads) == (2, 18)
    assert sizes(api) == [1, 1, 19]
    assert (results.stats.cache_hits, results.stats.cache_misses) == (18, 2)


async def test_an_entry_that_has_ended_is_written_again(autojump_clock):
    """After more than an hour without a batch one goes alone again; before that none does."""
    cache = PromptCache()
    client, api = api_of(cache)

    async def items():
        for number in range(6):
            yield str(number)
            if number == 1:
                await trio.sleep(3000)
            if number == 3:
                await trio.sleep(6000)

    outcomes, _ = await run(client, items(), via=ts.ViaBatch(probe=False), cache="1h", system=SYSTEM)
    assert statuses(outcomes) == {"ok": 6}
    assert sizes(api) == [1, 1, 2, 1, 1]
    assert (cache.writes, cache.reads) == (2, 4)


@pytest.mark.parametrize("how", ["drain", "detach", "abort"])
async def test_stopping_while_one_goes_first(autojump_clock, tmp_path, how):
    """What waits is skipped by a drain; by a detach it is put into a batch at once, and collected by the next run."""
    client, api = api_of(PromptCache())
    options: dict[str, Any] = {"via": ts.ViaBatch(probe=False), "cache": "1h", "system": SYSTEM, **PARAMS}
    async with ts.fan_out(client, items_of(9), journal=tmp_path / "journal", **options) as results:
        await trio.sleep(100)
        assert sizes(api) == [1]
        getattr(results, how)()
        outcomes = [outcome async for outcome in results]
    assert (
        statuses(outcomes)
        == {
            "drain": {"ok": 1, "skipped": 8},
            "detach": {"skipped": 9},
            "abort": {"cancelled": 1, "skipped": 8},
        }[how]
    )
    assert sizes(api) == ([1, 8] if how == "detach" else [1])
    if how == "detach":
        outcomes, _ = await run(client, items_of(9), journal=tmp_path / "journal", **options)
        assert statuses(outcomes) == {"cached": 9}


async def test_what_is_streamed_at_the_deadline_warms_up_for_itself(autojump_clock):
    """Streams have an entry of their own, which one of them writes."""
    cache = PromptCache()
    client, api = api_of(cache, seconds=5000.0)
    via = ts.ViaBatch(probe=False, deadline=100)
    outcomes, results = await run(client, items_of(30), via=via, cache="1h", system=SYSTEM)
    assert statuses(outcomes) == {"ok": 30}
    assert len(streamed(api)) == 30
    assert (cache.writes, cache.reads) == (1, 29)
    assert (results.stats.cache_writes, results.stats.cache_hits) == (1, 29)


async def test_answers_of_a_type_that_do_not_fit_go_again_with_their_marks(autojump_clock):
    """The request comes from the disk each time."""
    cache = PromptCache()
    client, api = api_of(cache, [say("no JSON")], [say("nor is this")])
    outcomes, _ = await run(
        client,
        items_of(1),
        via=ts.ViaBatch(probe=False),
        cache="1h",
        system=SYSTEM,
        output=list[int],
        retry_invalid=1,
    )
    assert [outcome.status for outcome in outcomes] == ["invalid"]
    first, second = (request.body["requests"][0]["params"] for request in creations(api))
    assert first == second


async def test_the_only_item_of_a_model_fails_as_it_goes_first(autojump_clock):
    """Nobody is left who would wait for its entry; those of another model have theirs."""
    cache = PromptCache()

    def answer(request: Any) -> Any:
        return [http_error(400)] if request.body["model"] == "claude-opus-5-5" else [say("ok")]

    api = ScriptedAPI(default=answer, batches=Batches(), prompt_cache=cache)
    client = ts.Client(api_key="test-key", transport=api)
    models = ["claude-sonnet-5-5", "claude-opus-5-5", *["claude-sonnet-5-5"] * 3]
    items: list[Any] = [
        {"model": model, "system": SYSTEM, "messages": [{"role": "user", "content": str(number)}]}
        for number, model in enumerate(models)
    ]
    outcomes, _ = await run(client, items, via=ts.ViaBatch(probe=False), cache="1h")
    assert statuses(outcomes) == {"ok": 4, "error": 1}
    assert sizes(api) == [1, 1, 3]
    assert (cache.writes, cache.reads) == (1, 3)
