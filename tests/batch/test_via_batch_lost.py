"""`fan_out` and message batches that somebody has deleted, or whose creation or results meet what goes on for long."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import Batches, ScriptedAPI, http_error

from .api import PARAMS, echo
from .via import (
    NEVER,
    Odd,
    always,
    api_of,
    asked,
    creations,
    is_creation,
    items_of,
    once,
    reason_of,
    records,
    run,
    statuses,
    streamed,
)

AT_ONCE = ts.ViaBatch(probe=False)
DETACH = ts.ViaBatch(probe=False, detach=True)


async def leave_a_batch(client: ts.Client, journal: Path, count: int = 5) -> None:
    outcomes, _ = await run(client, items_of(count), via=DETACH, journal=journal)
    assert statuses(outcomes) == {"skipped": count}


def is_results(request: Any) -> bool:
    return request.path.endswith("/results")


class Deleted(Batches):
    """Its first batch is deleted as soon as it has ended, before anybody has read its results."""

    batch = 0

    def _find(self, batch_id: str, call: str) -> Any:
        batch = self._batches[self.batch]
        batch.deleted = batch.deleted or batch.has_ended(trio.current_time())
        return super()._find(batch_id, call)

    def _page(self, params: Any, now: float) -> Any:
        if self._batches:
            batch = self._batches[self.batch]
            batch.deleted = batch.deleted or batch.has_ended(now)
        return super()._page(params, now)


# Batches that are not there any more.


@pytest.mark.parametrize("resubmit", [2, 0])
async def test_a_batch_that_somebody_deletes(autojump_clock, tmp_path, resubmit):
    """After ten minutes its items go into another one, as often as ``resubmit`` says; that is told, and counted."""
    client, api = api_of(Deleted(seconds=50))
    via = ts.ViaBatch(probe=False, resubmit=resubmit)
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == ({"ok": 5} if resubmit else {"error": 5})
    assert results.stats.paid_twice == (5 if resubmit else 0)
    assert results.gone_batches == (api.batches.created[0],)
    assert 600 < trio.current_time() < 800
    assert [batch.id for batch in results.batches] == api.batches.created[1:]
    collected = [record for record in records(tmp_path / "j") if record["record"] == "collected"]
    assert [record.get("gone") for record in collected] == ([True, None] if resubmit else [True])
    before = trio.current_time()
    outcomes, _ = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == ({"cached": 5} if resubmit else {"error": 5})
    assert trio.current_time() - before < 1


@pytest.mark.parametrize(("age", "most"), [(100, 900), (700, 80)])
@pytest.mark.parametrize("via", [AT_ONCE, "stream"], ids=["batch", "stream"])
async def test_a_batch_of_an_earlier_run_that_somebody_deletes(autojump_clock, tmp_path, via, age, most):
    """It does not block the journal for ever: the run that waits for it asks its items, and the next one waits no more.

    One that is old is not waited for at all.
    """
    client, api = api_of(Deleted(seconds=50))
    await leave_a_batch(client, tmp_path / "j")
    await trio.sleep(age)
    before = trio.current_time()
    outcomes, results = await run(client, items_of(7), via=via, journal=tmp_path / "j")
    assert (trio.current_time() - before < 600) is (age > 600)
    assert trio.current_time() - before < most
    assert (statuses(outcomes), results.stats.paid_twice) == ({"ok": 7}, 5)
    assert results.gone_batches == (api.batches.created[0],)
    assert len(streamed(api)) == (7 if via == "stream" else 0)
    assert ts.journal_overview(tmp_path / "j").batches == ()
    outcomes, results = await run(client, items_of(7), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice, results.gone_batches) == ({"cached": 7}, 0, ())


async def test_a_run_that_waits_for_nothing_finds_that_a_batch_is_gone(autojump_clock, tmp_path):
    """At once if the batch is old; what is young may only be late."""
    client, api = api_of(Deleted(seconds=50))
    await leave_a_batch(client, tmp_path / "j")
    await trio.sleep(100)
    outcomes, _ = await run(client, items_of(5), via=DETACH, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"skipped": 5}, 1)
    await trio.sleep(600)
    before = trio.current_time()
    _, results = await run(client, items_of(5), via=DETACH, journal=tmp_path / "j")
    assert (results.stats.paid_twice, len(creations(api))) == (5, 2)
    assert trio.current_time() - before < 1
    await trio.sleep(60)
    outcomes, _ = await run(client, items_of(5), via=DETACH, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 5}, 2)


@pytest.mark.parametrize("status", [404, 501])
async def test_a_run_that_streams_from_a_server_without_batches(autojump_clock, tmp_path, status):
    """It says at once what to do: whether the batch of an earlier run goes on cannot be found out there."""
    batches = Odd(lambda _: None)
    client, api = api_of(batches)
    await leave_a_batch(client, tmp_path / "j")
    await trio.sleep(700)
    batches.odds = lambda request: http_error(status)
    before = trio.current_time()
    with pytest.raises(ts.APIError, match="base URL" if status == 404 else None):
        await run(client, items_of(7), via="stream", journal=tmp_path / "j")
    assert trio.current_time() - before < 60
    batches.odds = lambda _: None
    outcomes, _ = await run(client, items_of(7), via="stream", journal=tmp_path / "j")
    assert (statuses(outcomes), len(streamed(api))) == ({"cached": 5, "ok": 2}, 2)


async def test_an_old_batch_that_cannot_be_looked_at_at_first(autojump_clock, tmp_path):
    """That is no news, as always."""
    batches = Odd(lambda _: None)
    client, api = api_of(batches)
    await leave_a_batch(client, tmp_path / "j")
    await trio.sleep(700)
    began = trio.current_time()
    batches.odds = lambda _: http_error(503) if trio.current_time() - began < 30 else None
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 5}, 1)


async def test_what_was_read_of_a_batch_before_it_was_deleted_is_not_asked_again(autojump_clock, tmp_path):
    """The rest alone is."""
    client, api = api_of(Batches(seconds=50, faults=["results_cut"]))
    with trio.move_on_after(55):  # between the first reading and the second
        await run(client, items_of(10), via=AT_ONCE, journal=tmp_path / "j")
    await trio.sleep(100)
    await client.messages.batches.delete(api.batches.created[0])
    outcomes, results = await run(client, items_of(10), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"cached": 5, "ok": 5}, 5)


async def test_one_of_many_batches_is_deleted(autojump_clock, tmp_path):
    """Where one list tells of all, it is noticed that one is missing there."""
    client, api = api_of(Deleted(seconds=50))
    via = ts.ViaBatch(probe=False, max_requests=1)
    outcomes, results = await run(client, items_of(8), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"ok": 8}, 1)
    assert sorted(asked(api).values()) == [1] * 7 + [2]


async def test_results_that_were_removed(autojump_clock, tmp_path):
    """After 29 days a batch is there without them."""

    class Archived(Odd):
        def _json(self, fields: Any, *arguments: Any) -> Any:
            old = {"archived_at": "2026-11-29T00:00:00Z", "results_url": None}
            return super()._json({**fields, **old} if fields.get("id") in self.created[:1] else fields, *arguments)

    client, api = api_of(
        Archived(lambda r: http_error(404) if is_results(r) and api.batches.created[0] in r.path else None)
    )
    outcomes, results = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice, len(creations(api))) == ({"ok": 3}, 3, 2)


async def test_a_batch_that_only_the_list_has(autojump_clock, tmp_path):
    """It is not gone, so it is not bought again."""
    client, api = api_of(Odd(always(lambda r: r.method == "GET" and r.path.count("/") == 4, 404)))
    outcomes, results = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice, len(creations(api))) == ({"error": 3}, 0, 1)
    assert ts.journal_overview(tmp_path / "j").batches == tuple(api.batches.created)


async def test_results_that_are_not_found_although_the_batch_is_there(autojump_clock, tmp_path):
    """Something on the way does not find them: nothing is bought again, and the next run reads them."""
    batches = Odd(always(is_results, 404))
    client, api = api_of(batches)
    outcomes, results = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"error": 3}, 0)
    with pytest.raises(ts.NotFoundError):
        await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    batches.odds = lambda _: None
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 3}, 1)


@pytest.mark.parametrize("detach", [False, True])
async def test_a_key_of_another_workspace(autojump_clock, tmp_path, detach):
    """There no batch of ours is found. It is not taken for gone: with the right key the next run collects it."""

    class Elsewhere(Batches):
        workspace = "wrkspc_ours"

        def _headers(self, *arguments: Any) -> Any:
            return [*super()._headers(*arguments), ("anthropic-workspace-id", self.workspace)]

        def _find(self, batch_id: str, call: str) -> Any:
            return super()._find(batch_id if self.workspace == "wrkspc_ours" else "none", call)

        def _page(self, params: Any, now: float) -> Any:
            page = super()._page(params, now)
            return page if self.workspace == "wrkspc_ours" else {**page, "data": []}

    batches = Elsewhere()
    client, api = api_of(batches)
    await leave_a_batch(client, tmp_path / "j")
    await trio.sleep(1000)
    batches.workspace = "wrkspc_theirs"
    with pytest.raises(ts.APIError, match="another workspace"):
        await run(client, items_of(5), via=DETACH if detach else AT_ONCE, journal=tmp_path / "j")
    batches.workspace = "wrkspc_ours"
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 5}, 1)


class Nameless(Batches):
    """A server that does not say whose workspace it is, as gateways are."""

    def _headers(self, *arguments: Any) -> Any:
        named = ("anthropic-workspace-id", "anthropic-organization-id")
        return [header for header in super()._headers(*arguments) if header[0].lower() not in named]


@pytest.mark.parametrize("lost", [False, True], ids=["a batch", "perhaps a batch"])
@pytest.mark.parametrize("via", [AT_ONCE, DETACH, "stream"], ids=["batch", "detach", "stream"])
async def test_the_server_of_somebody_else(autojump_clock, tmp_path, via, lost):
    """It has no batch of ours, which says nothing about where that is: nothing is bought again there."""

    def client_at(host: str, api: ScriptedAPI) -> ts.Client:
        return ts.Client(api_key="test-key", transport=api, base_url=f"https://{host}")

    here, elsewhere = ScriptedAPI(default=echo, batches=Nameless()), ScriptedAPI(default=echo, batches=Nameless())
    ours, theirs = client_at("one.example", here), client_at("two.example", elsewhere)
    if lost:
        assert here.batches is not None
        here.batches._faults["lost_answer"] = 1
        with trio.move_on_after(5):
            await run(ours, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    else:
        await leave_a_batch(ours, tmp_path / "j")
    await trio.sleep(1000)
    began_at = trio.current_time()
    with pytest.raises(ts.APIError, match=r"another workspace \(one.example\)"):
        await run(theirs, items_of(5), via=via, journal=tmp_path / "j")
    assert trio.current_time() - began_at < 60
    assert not asked(elsewhere)
    outcomes, results = await run(ours, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(here)), results.stats.paid_twice) == ({"cached": 5}, 1, 0)


async def test_a_deleted_batch_after_the_deadline_and_after_a_stop(autojump_clock, tmp_path):
    """Its items are streamed, or left to the next run."""
    client, api = api_of(Deleted(seconds=50))
    via = ts.ViaBatch(probe=False, deadline=300, cancel_wait=2000)
    outcomes, results = await run(client, items_of(3), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), len(streamed(api)), results.stats.paid_twice) == ({"ok": 3}, 3, 3)
    assert results.gone_batches == (api.batches.created[0],)
    client, api = api_of(Deleted(seconds=50))
    async with ts.fan_out(client, items_of(3), via=AT_ONCE, journal=tmp_path / "k", **PARAMS) as results:
        await trio.sleep(100)
        results.drain()
        outcomes = [outcome async for outcome in results]
    assert (statuses(outcomes), results.stats.paid_twice) == ({"skipped": 3}, 0)
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "k")
    assert statuses(outcomes) == {"ok": 3}


# Creations whose end is unknown.


class Ahead(Batches):
    """Something on the way writes dates by a clock of its own."""

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.ahead = timedelta(seconds=seconds)

    def _headers(self, context: Any, now: float) -> Any:
        others = [(name, value) for name, value in super()._headers(context, now) if name != "date"]
        date = self._find_epoch(now) + timedelta(seconds=now) + self.ahead
        return [*others, ("date", format_datetime(date, usegmt=True))]


@pytest.mark.parametrize("earlier", [0, 1], ids=["first", "another"])
@pytest.mark.parametrize("ahead", [86_400 * 30, 3600, -3600])
async def test_dates_by_another_clock_than_that_of_the_batches(autojump_clock, tmp_path, ahead, earlier):
    """A batch whose creation was lost is found all the same, whether or not there was one before it."""
    client, api = api_of(Ahead(ahead, faults=["foreign"]))
    for _ in range(earlier):
        await run(client, ["an earlier one"], via=AT_ONCE)
        await trio.sleep(5000)
    api.batches._faults["lost_answer"] = 1
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 5}, 1 + earlier)


@pytest.mark.parametrize("archived", [True, False])
async def test_a_batch_of_somebody_else_whose_results_cannot_be_read(autojump_clock, tmp_path, archived):
    """It keeps nobody from finding the one that is ours."""

    class Unreadable(Odd):
        def _create(self, request: Any, *arguments: Any) -> Any:
            batch = super()._create(request, *arguments)
            self._faults["foreign"] = 1
            super()._create(request, *arguments).foreign = True
            return batch

        def _json(self, fields: Any, *arguments: Any) -> Any:
            if archived and fields.get("data"):
                others = [dict(batch) for batch in fields["data"]]
                for batch in others:
                    if batch["id"] not in self.created:
                        batch["archived_at"] = "2026-11-29T00:00:00Z"
                fields = {**fields, "data": others}
            return super()._json(fields, *arguments)

    def odds(request: Any) -> Any:
        theirs = is_results(request) and not any(ours in request.path for ours in api.batches.created)
        return http_error(404) if theirs else None

    client, api = api_of(Unreadable(odds, faults=["lost_answer"]))
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 5}, 1)


async def test_a_batch_that_may_be_ours_and_whose_results_cannot_be_read(autojump_clock, tmp_path):
    """Nothing is bought before it is known whose it is."""
    batches = Odd(lambda _: None)
    client, api = api_of(batches)
    params = {**PARAMS, "messages": [{"role": "user", "content": "theirs"}]}

    def odds(request: Any) -> Any:
        return http_error(404) if is_results(request) else http_error(502) if is_creation(request) else None

    await client.messages.batches.create([{"custom_id": "theirs", "params": params}])
    batches.odds = odds
    outcomes, _ = await run(client, items_of(1), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"error": 1}
    batches.odds = lambda _: None
    with ts.Journal(tmp_path / "j", retry_errors=True) as journal:
        outcomes, _ = await run(client, items_of(1), via=AT_ONCE, journal=journal)
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 1}, 3)


@pytest.mark.parametrize("created_at", [None, "a while ago"])
async def test_batches_whose_times_cannot_be_read(autojump_clock, tmp_path, created_at):
    """Nor can that of the newest one before the creation: then the API's own time counts."""

    class Timeless(Batches):
        def _page(self, params: Any, now: float) -> Any:
            page = super()._page(params, now)
            return {**page, "data": [{**batch, "created_at": created_at} for batch in page["data"]]}

    client, api = api_of(Timeless())
    await run(client, ["an earlier one"], via=AT_ONCE)
    api.batches._faults["lost_answer"] = 1
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 5}, 2)


async def test_batches_whose_requests_nobody_has_counted(autojump_clock, tmp_path):
    """Some gateways leave the counts out, and have no results at first: the batch is found all the same."""
    empty = [True] * 2

    class Uncounted(Batches):
        def _json(self, fields: Any, *arguments: Any) -> Any:
            batches = [{**batch, "request_counts": None} for batch in fields.get("data", [])]
            return super()._json({**fields, "data": batches} if batches else fields, *arguments)

        def _results(self, *arguments: Any) -> Any:
            moments = super()._results(*arguments)
            return iter([next(moments)]) if empty and empty.pop() else moments

    client, api = api_of(Uncounted(faults=["lost_answer", "foreign"]))
    outcomes, _ = await run(client, items_of(4), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api)), empty) == ({"ok": 4}, 1, [])


async def test_the_deadline_passes_while_nobody_answers_a_creation(autojump_clock, tmp_path):
    """If the list shows soon enough that there is no batch, nothing is paid twice."""
    client, api = api_of(Odd(lambda request: NEVER if is_creation(request) else None))
    via = ts.ViaBatch(probe=False, deadline=100, cancel_wait=600)
    outcomes, results = await run(client, items_of(3), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), len(streamed(api)), results.stats.paid_twice) == ({"ok": 3}, 3, 0)


async def test_a_creation_that_fails_again_and_again(autojump_clock, tmp_path):
    """Whether there is a batch is unknown each time. It is not tried for ever, and the next run goes on."""
    batches = Odd(always(is_creation, 502))
    client, api = api_of(batches)
    outcomes, results = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), reason_of(results), len(creations(api))) == ({"skipped": 3}, "outage", 3)
    batches.odds = lambda _: None
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 3}


@pytest.mark.parametrize(("how", "seconds"), [("drain", 0), ("detach", 7200)])
async def test_a_full_queue_that_is_to_be_waited_for(autojump_clock, tmp_path, how, seconds):
    """Hours are not waited for after a drain; to leave batches they have to be made."""
    full = http_error(429, headers={"retry-after": "7200"})
    client, api = api_of(Odd(lambda r: full if is_creation(r) and trio.current_time() - began < 7200 else None))
    async with ts.fan_out(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:
        began = trio.current_time()
        await trio.sleep(60)
        getattr(results, how)()
        assert statuses([outcome async for outcome in results]) == {"skipped": 3}
    assert trio.current_time() - began == pytest.approx(60 + seconds, abs=60)
    assert len(api.batches.created) == (how == "detach")


@pytest.mark.parametrize("seconds", ["1e400", "86400000"])
async def test_a_full_queue_that_asks_to_wait_for_ever(autojump_clock, seconds):
    """It is asked again in an hour."""
    client, api = api_of(Odd(once(is_creation, 429, "full", headers={"retry-after": seconds})))
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE)
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 3}, 2)
    assert trio.current_time() < 4000


# Results.


async def test_results_that_break_off_again_and_again(autojump_clock, tmp_path):
    """They are read until they do not: what was paid is not given up."""
    client, api = api_of(Batches(faults=["results_cut"] * 7))
    outcomes, _ = await run(client, items_of(20), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 20}, 1)


async def test_results_that_break_off_for_ever(autojump_clock, tmp_path):
    """After ten minutes the batch is for the next run."""
    batches = Batches(faults=["results_cut"] * 1000)
    client, api = api_of(batches)
    outcomes, results = await run(client, items_of(20), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), reason_of(results)) == ({"ok": 10, "skipped": 10}, "outage")
    batches._faults.clear()
    outcomes, _ = await run(client, items_of(20), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 20}, 1)


async def test_results_without_any_line(autojump_clock, tmp_path):
    """A file that ends in order and is empty is not there yet."""
    empty = [True] * 5

    class Empty(Batches):
        def _results(self, *arguments: Any) -> Any:
            moments = super()._results(*arguments)
            return iter([next(moments)]) if empty and empty.pop() else moments

    client, api = api_of(Empty())
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api)), empty) == ({"ok": 5}, 1, [])


async def test_a_line_that_cannot_be_read(autojump_clock, tmp_path):
    """What comes after it is an error of its items; nobody waits ten minutes for it to become better."""
    from trio_stream.testing._timeline import Data

    class Garbled(Batches):
        def _results(self, *arguments: Any) -> Any:
            moments = list(super()._results(*arguments))
            moments[2] = Data(b"<html>\n")
            return iter(moments)

    client, _ = api_of(Garbled())
    before = trio.current_time()
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 1, "error": 2}
    assert trio.current_time() - before < 200


# Both ways, and a stop.


@pytest.mark.parametrize("detach", [False, True])
async def test_answers_that_name_a_model_of_a_gateway(autojump_clock, tmp_path, detach):
    """They are charged by the model that was asked, also by a later run: else there would be no budget any more."""

    class Renamed(Batches):
        def _results(self, batch: Any, context: Any, now: float) -> Any:
            for line in batch.results(now):
                line["result"]["message"]["model"] = "gateway/model"
            return super()._results(batch, context, now)

    client, _ = api_of(Renamed())
    options: dict[str, Any] = {"journal": tmp_path / "j", "model": "claude-sonnet-5-5", "budget": ts.Budget(cost=3)}
    if detach:
        await run(client, items_of(5), via=DETACH, **options)
        await trio.sleep(100)
    outcomes, results = await run(client, items_of(5), via=AT_ONCE, **options)
    assert statuses(outcomes) == {"cached" if detach else "ok": 5}
    assert (results.stats.cost, reason_of(results)) == (pytest.approx(5 * 2.7e-5), None)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_run_that_streams_collects_batches_first(autojump_clock, tmp_path, lost):
    """Whatever earlier runs have asked in batches is not asked again."""
    client, api = api_of(Batches(seconds=1000, faults=["lost_answer", "foreign"] if lost else []))
    await leave_a_batch(client, tmp_path / "j")
    outcomes, results = await run(client, items_of(7), via="stream", journal=tmp_path / "j")
    assert (statuses(outcomes), len(streamed(api))) == ({"cached": 5, "ok": 2}, 2)
    assert set(asked(api).values()) == {1}
    assert [batch.ended for batch in results.batches] == [True]
    assert results.stats.cost is not None
    assert results.stats.cost > 0


async def test_a_run_that_streams_stops_waiting_when_it_is_drained(autojump_clock, tmp_path):
    """The batches are for the next run."""
    client, api = api_of(Batches(seconds=8000))
    await leave_a_batch(client, tmp_path / "j")
    async with ts.fan_out(client, iter(items_of(5)), journal=tmp_path / "j", **PARAMS) as results:
        await trio.sleep(100)
        results.drain()
        assert [outcome async for outcome in results] == []
    assert trio.current_time() < 200
    assert streamed(api) == []
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 5}


async def test_what_may_be_answered_next_time_is_no_error_of_a_run_that_stops(autojump_clock, tmp_path):
    """A failure of the API, and an item that expired: the next run asks both."""
    client, _ = api_of(Batches(seconds=100, faults=["errored", "expired"]))
    async with ts.fan_out(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:
        await trio.sleep(50)
        results.drain()
        outcomes = [outcome async for outcome in results]
    assert statuses(outcomes) == {"ok": 3, "skipped": 2}
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 3, "ok": 2}


@pytest.mark.parametrize("inflight", ["skip", "partial"])
@pytest.mark.parametrize("how", ["cancelled", "refused", "unsent", "absent", "absent-detach"])
async def test_what_was_certainly_not_answered_was_not_under_way(autojump_clock, tmp_path, inflight, how):
    """A run that leaves out what was under way when the last one ended asks it."""
    path = tmp_path / "j"
    batches = Odd(lambda _: None, seconds=400, cancel_seconds=5)
    client, _ = api_of(batches)
    if how == "refused":
        batches.odds = always(is_creation, 429)
    elif how != "cancelled":
        batches.odds = always(is_creation, 502)
    with trio.move_on_after(200):
        await run(client, items_of(10), via=AT_ONCE, journal=path)
    if how == "unsent":
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"intent"' not in line))
    batches.odds = lambda _: None
    await trio.sleep(400)
    with ts.Journal(path, inflight=inflight) as journal:
        outcomes, _ = await run(client, items_of(10), via=DETACH if "detach" in how else AT_ONCE, journal=journal)
    if "detach" in how:
        await trio.sleep(400)
        outcomes, _ = await run(client, items_of(10), via=AT_ONCE, journal=path)
        assert statuses(outcomes) == {"cached": 10}
    else:
        assert statuses(outcomes) == ({"cached": 5, "ok": 5} if how == "cancelled" else {"ok": 10})


def test_an_answer_outlives_a_batch_that_was_refused(tmp_path):
    """An item that is asked again, being cut, keeps the answer that it has."""
    path = tmp_path / "j"
    with ts.Journal(path) as journal:
        journal.start("a", "hash", index=0)
        journal.end("a", ts.Outcome(id="a", index=0, status="ok", text="cut"))
        journal.start("a", "hash", index=0, custom_id="x-0")
        journal.start("b", "hash", index=1, custom_id="x-1")
        journal.note_batch({"record": "intent", "nonce": "x", "n": 2, "since": 1.0, "call": {}})
        journal.note_batch({"record": "refused", "nonce": "x"})
    with ts.Journal(path) as journal:
        assert (journal.is_answered("a"), len(journal)) == (True, 1)
