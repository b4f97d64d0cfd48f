"""`ViaBatch(detach=True)`: a run that leaves its batches, and those that look whether they have ended."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import Batches, http_error

from .via import Odd, api_of, asked, creations, is_creation, is_list, items_of, run, statuses

DETACH = ts.ViaBatch(detach=True)
WAIT = ts.ViaBatch()


async def test_until_the_batches_have_ended_nothing_is_waited_for(autojump_clock, tmp_path):
    """The first run creates, the second finds nothing new, the third collects; each item is asked once."""
    client, api = api_of(Batches(seconds=3600))
    outcomes, results = await run(client, items_of(20), journal=tmp_path / "j", via=DETACH)
    assert statuses(outcomes) == {"ok": 1, "skipped": 19}
    for _ in range(2):
        before = trio.current_time()
        outcomes, results = await run(client, items_of(20), journal=tmp_path / "j", via=DETACH)
        assert statuses(outcomes) == {"cached": 1, "skipped": 19}
        assert trio.current_time() - before < 1
        assert results.stats.stopped is not None
        assert results.stats.stopped.reason == "detach"
        assert [batch.ended for batch in results.batches] == [False]
    await trio.sleep(3600)
    outcomes, results = await run(client, items_of(20), journal=tmp_path / "j", via=DETACH)
    assert statuses(outcomes) == {"cached": 20}
    assert len(creations(api)) == 1
    assert set(asked(api).values()) == {1}


async def test_without_it_the_next_run_waits(autojump_clock, tmp_path):
    """As any run that finds a batch does."""
    client, api = api_of(Batches(seconds=3600))
    await run(client, items_of(5), journal=tmp_path / "j", via=DETACH)
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=WAIT)
    assert statuses(outcomes) == {"cached": 5}
    assert 3600 < trio.current_time() < 3700
    assert len(creations(api)) == 1


async def test_what_has_ended_is_collected_and_the_rest_left(autojump_clock, tmp_path):
    """Of two batches; and items that are new go into a third."""
    batches = Batches(seconds=100)
    client, api = api_of(batches)
    via = ts.ViaBatch(detach=True, probe=False, max_requests=5)
    await run(client, items_of(5), journal=tmp_path / "j", via=via)
    await trio.sleep(60)
    await run(client, items_of(10), journal=tmp_path / "j", via=via)
    await trio.sleep(60)
    outcomes, _ = await run(client, items_of(12), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"cached": 5, "skipped": 7}
    assert [len(request.body["requests"]) for request in creations(api)] == [5, 5, 2]
    await trio.sleep(200)
    outcomes, _ = await run(client, items_of(12), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"cached": 12}
    assert set(asked(api).values()) == {1}


@pytest.mark.parametrize("lag", [0.0, 120.0])
async def test_a_creation_whose_end_is_unknown(autojump_clock, tmp_path, lag):
    """A list does not tell at once whose a batch is, so its items are held; nothing is created a second time."""
    client, api = api_of(Batches(seconds=1000, list_lag=lag, faults=["lost_answer", "foreign"]))
    via = ts.ViaBatch(detach=True, probe=False)
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"skipped": 5}
    for _ in range(3):
        outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
        assert statuses(outcomes) == {"skipped": 5}
    await trio.sleep(1000)
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"cached": 5}
    assert len(creations(api)) == 1


async def test_a_creation_that_made_none(autojump_clock, tmp_path):
    """Once the list has settled its items go into a batch."""
    left = [1]

    def odds(request: Any) -> Any:
        return http_error(502) if is_creation(request) and left and left.pop() else None

    client, api = api_of(Odd(odds, seconds=50))
    via = ts.ViaBatch(detach=True, probe=False)
    await run(client, items_of(5), journal=tmp_path / "j", via=via)
    await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert len(creations(api)) == 1
    await trio.sleep(301)
    await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert len(creations(api)) == 2
    await trio.sleep(60)
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"cached": 5}


@pytest.mark.parametrize("what", ["retrieve", "list"])
async def test_no_news_leaves_everything_as_it_is(autojump_clock, tmp_path, what):
    """A 404 of a batch that is there, a list that fails."""
    failing = False

    def odds(request: Any) -> Any:
        about = is_list(request) if what == "list" else request.path.endswith("0001") or "msgbatch" in request.path
        return http_error(503 if what == "list" else 404) if failing and request.method == "GET" and about else None

    client, api = api_of(Odd(odds, seconds=50, faults=["lost_answer"] if what == "list" else []))
    via = ts.ViaBatch(detach=True, probe=False)
    await run(client, items_of(5), journal=tmp_path / "j", via=via)
    await trio.sleep(100)
    failing = True
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"skipped": 5}
    failing = False
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via=via)
    assert statuses(outcomes) == {"cached": 5}
    assert len(creations(api)) == 1


async def test_a_refused_key_is_said(autojump_clock, tmp_path):
    """It is not taken for no news."""
    refusing = False

    def odds(request: Any) -> Any:
        return http_error(401) if refusing and request.method == "GET" else None

    client, _ = api_of(Odd(odds))
    via = ts.ViaBatch(detach=True, probe=False)
    await run(client, items_of(2), journal=tmp_path / "j", via=via)
    refusing = True
    _, results = await run(client, items_of(2), journal=tmp_path / "j", via=via)
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "authentication"


async def test_it_needs_a_journal(autojump_clock):
    """Nobody would find the batches again."""
    client, _ = api_of()
    with pytest.raises(TypeError, match="needs a journal"):
        await run(client, items_of(2), via=DETACH)
