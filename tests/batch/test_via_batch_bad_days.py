"""`fan_out(via="batch")` on bad days: full queues, clocks that differ, gateways with habits, budgets over several lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio

import trio_stream as ts
from trio_stream.testing import Batches, ScriptedAPI, http_error, say, stall

from .api import PARAMS, echo, prompt_of
from .via import (
    NEVER,
    Odd,
    api_of,
    asked,
    creations,
    is_creation,
    is_list,
    items_of,
    reason_of,
    records,
    run,
    statuses,
    streamed,
)

AT_ONCE = ts.ViaBatch(probe=False)


def is_results(request: Any) -> bool:
    return request.path.endswith("/results")


def is_cancel(request: Any) -> bool:
    return request.path.endswith("/cancel")


async def test_a_queue_that_is_full_for_an_hour(autojump_clock, tmp_path):
    """It is waited for, as long as it takes; then each item is asked once."""
    client, api = api_of(Odd(lambda r: http_error(429) if is_creation(r) and r.at - began < 3600 else None))
    began = trio.current_time()
    outcomes, results = await run(client, items_of(20), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 20}
    assert results.stats.stopped is None
    assert api.batches.created == api.batches.created[:1]
    assert len(creations(api)) < 100
    assert len(api.batches.billed) == 20


async def test_half_of_a_batch_expires(autojump_clock, tmp_path):
    """Only that half goes into another batch."""
    once: set[str] = set()

    def answer(request: Any) -> Any:
        prompt = prompt_of(request)
        if int(prompt.split()[1]) % 2 and prompt not in once:
            once.add(prompt)
            return [stall()]
        return echo(request)

    client, api = api_of(default=answer)
    outcomes, results = await run(client, items_of(20), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 20}
    assert [len(request.body["requests"]) for request in creations(api)] == [20, 10]
    assert len(api.batches.billed) == 20
    assert results.stats.paid_twice == 0


@pytest.mark.parametrize("made", [True, False])
async def test_the_deadline_passes_while_a_batch_is_created(autojump_clock, tmp_path, made):
    """The answer never comes. Whether there is a batch nobody knows in time, so the items are streamed and counted."""

    class Silent(Odd):
        def answer(self, request: Any, *arguments: Any, **more: Any) -> Any:
            if made and is_creation(request):
                Batches.answer(self, request, *arguments, **more)
            return super().answer(request, *arguments, **more)

    client, _ = api_of(Silent(lambda r: NEVER if is_creation(r) else None, seconds=5000))
    via = ts.ViaBatch(probe=False, deadline=60, cancel_wait=30)
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 5}
    assert trio.current_time() < 200
    assert results.stats.paid_twice == 5
    outcomes, _ = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 5}


async def test_the_deadline_passes_before_a_batch_is_asked_for(autojump_clock, tmp_path):
    """Nothing was sent, so nothing is paid twice."""
    client, api = api_of(Odd(lambda r: NEVER if r.method == "GET" else None))
    outcomes, results = await run(
        client, items_of(5), via=ts.ViaBatch(probe=False, deadline=60), journal=tmp_path / "j"
    )
    assert statuses(outcomes) == {"ok": 5}
    assert (results.stats.paid_twice, creations(api)) == (0, [])
    assert trio.current_time() < 120


class Skewed(Batches):
    """Says another time than it goes by, or none."""

    def __init__(self, date: str | None, **options: Any) -> None:
        super().__init__(**options)
        self.date = date

    def _headers(self, *arguments: Any) -> Any:
        others = [(name, value) for name, value in super()._headers(*arguments) if name != "date"]
        return others if self.date is None else [*others, ("date", self.date)]


@pytest.mark.parametrize("date", [None, "yesterday", "", "Thu, 99 Foo 2026"])
@pytest.mark.parametrize("ahead", [0, 7200])
async def test_a_server_that_does_not_say_what_time_it_is(autojump_clock, tmp_path, monkeypatch, date, ahead):
    """Then our clock counts, which may be hours ahead: a batch whose creation was lost is found all the same."""
    real = time.time() - trio.current_time()
    monkeypatch.setattr("time.time", lambda: real + trio.current_time() + ahead)
    client, api = api_of(Skewed(date, faults=["lost_answer", "foreign"]))
    outcomes, results = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 5}
    assert (len(creations(api)), results.stats.paid_twice) == (1, 0)
    intents = [record for record in records(tmp_path / "j") if record["record"] == "intent"]
    assert [intent["dated"] for intent in intents] == [False]


async def test_dates_of_batches_that_cannot_be_read(autojump_clock, tmp_path):
    """Such a batch may be ours."""

    class Odder(Batches):
        def _page(self, *arguments: Any) -> Any:
            page = super()._page(*arguments)
            return {**page, "data": [{**batch, "created_at": "a while ago"} for batch in page["data"]]}

    client, api = api_of(Odder(faults=["lost_answer"]))
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 5}, 1)


async def test_a_list_whose_first_page_comes_again_and_again(autojump_clock, tmp_path, monkeypatch):
    """A gateway that does not know ``after_id``: neither the search nor the watch goes on for ever."""
    monkeypatch.setattr("trio_stream.batch._via_batch_calls._PAGE", 2)

    class Repeating(Batches):
        def _page(self, params: Any, *arguments: Any) -> Any:
            page = super()._page({"limit": params.get("limit", "20")}, *arguments)
            return {**page, "has_more": True}

    client, api = api_of(Repeating(faults=["lost_answer"], seconds=30))
    with trio.fail_after(5000):
        outcomes, _ = await run(
            client, items_of(9), via=ts.ViaBatch(probe=False, max_requests=9), journal=tmp_path / "j"
        )
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 9}, 1)
    with trio.fail_after(5000):
        outcomes, _ = await run(client, items_of(18), via=ts.ViaBatch(probe=False, max_requests=1, deadline=1000))
    assert statuses(outcomes) == {"ok": 18}


async def test_a_batch_that_is_not_found_for_a_minute(autojump_clock, tmp_path):
    """Neither it nor its results: that is no news."""
    began = trio.current_time()

    def odds(request: Any) -> Any:
        about = "msgbatch" in request.path and request.method == "GET"
        results = request.path.endswith("/results")
        since, until = (60, 130) if results else (0, 60)
        return http_error(404) if about and since <= request.at - began < until else None

    client, api = api_of(Odd(odds))
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"ok": 5}, 1)


async def test_results_whose_url_leads_elsewhere(autojump_clock):
    """They are asked for here, by the id of the batch."""

    class Elsewhere(Batches):
        def _json(self, fields: Any, *arguments: Any) -> Any:
            url = {"results_url": "http://elsewhere.invalid/steal"} if fields.get("results_url") else {}
            return super()._json({**fields, **url}, *arguments)

    client, api = api_of(Elsewhere())
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE)
    assert statuses(outcomes) == {"ok": 5}
    assert {request.headers["host"] for request in api.requests} == {"api.anthropic.com"}


async def test_no_key_is_in_the_journal(autojump_clock, tmp_path):
    """Headers of the items hold for their batch, so the journal has them, but for those that are secrets."""
    client, api = api_of(Batches(faults=["lost_answer"]))
    headers = {"x-tenant": "a", "Cookie": "hidden-1", "X-API-Key": "hidden-2"}
    outcomes, _ = await run(
        client, items_of(3), via=AT_ONCE, journal=tmp_path / "j", extra_headers=headers, model="claude-sonnet-5-5"
    )
    assert statuses(outcomes) == {"ok": 3}
    assert creations(api)[0].headers["cookie"] == "hidden-1"
    content = (tmp_path / "j").read_text()
    assert "hidden" not in content
    assert '"x-tenant":"a"' in content


async def test_the_block_is_left_twice_at_once(autojump_clock, tmp_path):
    """Cancelled while it cancels: five seconds at most, and nothing is left behind."""
    client, api = api_of(Odd(lambda r: NEVER if r.path.endswith("/cancel") else None, seconds=5000))
    with trio.CancelScope() as outer, trio.CancelScope() as inner:
        async with ts.fan_out(client, items_of(5), journal=tmp_path / "j", via=AT_ONCE, **PARAMS) as results:
            while not results.batches:
                await trio.sleep(1)
            before = trio.current_time()
            outer.deadline = before + 2
            inner.cancel()
            await trio.sleep(10)
    assert 4.9 < trio.current_time() - before < 5.1
    assert sum(request.path.endswith("/cancel") for request in api.requests) >= 1
    assert results.stats.in_flight == 0


# Budgets over several lives.


def long_items(count: int) -> Iterator[ts.Item]:
    for number in range(count):
        yield ts.Item(f"prompt {number}", id=f"q{number}")


def thousand(_: Any) -> list[Any]:
    """An answer of about a thousand tokens, a cent by the price of messages."""
    return [say("word " * 800, ttft=1.0)]


@pytest.mark.parametrize("how", ["batch", "mixed", "killed"])
async def test_a_budget_over_three_lives(autojump_clock, tmp_path, how):
    """It counts what batches and streams of earlier runs cost, whichever way each run goes and ends."""
    api = ScriptedAPI(default=thousand, batches=Batches(seconds=100))
    client = ts.Client(api_key="test-key", transport=api)
    budget = ts.Budget(cost=0.05)
    costs = list[float]()
    for life in range(3):
        via = AT_ONCE if how != "mixed" or life % 2 else "stream"
        with trio.move_on_after(5 if how == "killed" and not life else 10_000):
            async with ts.fan_out(
                client,
                long_items(60),
                journal=tmp_path / "j",
                via=via,
                budget=budget,
                model="claude-sonnet-5-5",
                max_tokens=1024,
            ) as results:
                async for _ in results:
                    pass
        stats = results.stats
        assert stats.cost is not None
        assert stats.cost_before is not None
        costs.append(stats.cost_before + stats.cost)
    assert costs[-1] <= 0.05 * 1.2
    assert costs[-1] >= 0.05 * 0.8
    assert costs == sorted(costs)


async def test_a_budget_that_batches_of_an_earlier_run_will_use(autojump_clock, tmp_path):
    """They have not ended, so nobody knows what they cost; but their money is gone."""
    api = ScriptedAPI(default=thousand, batches=Batches(seconds=10_000))
    client = ts.Client(api_key="test-key", transport=api)
    via = ts.ViaBatch(probe=False, detach=True)
    options: dict[str, Any] = {
        "journal": tmp_path / "j",
        "via": via,
        "budget": ts.Budget(cost=0.05),
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
    }
    await run(client, long_items(8), **options)
    for _ in range(2):
        await run(client, long_items(60), **options)
    queued = asked(api).total()
    assert queued <= 12
    await trio.sleep(10_000)
    outcomes, results = await run(client, long_items(queued), **{**options, "via": AT_ONCE})
    assert statuses(outcomes) == {"cached": queued}
    assert results.stats.cost is not None
    assert results.stats.cost_before is not None
    assert results.stats.cost + results.stats.cost_before <= 0.05 * 1.1


async def test_items_of_two_runs_that_one_journal_has(autojump_clock, tmp_path):
    """A second program is refused while the first has the journal open, whatever the way."""
    client, api = api_of()
    async with ts.fan_out(client, items_of(3), journal=tmp_path / "j", via=AT_ONCE, **PARAMS) as results:
        for via in (AT_ONCE, "stream"):
            with pytest.raises(ts.JournalError, match="in use"):
                await run(client, items_of(3), journal=tmp_path / "j", via=via)
        assert statuses([outcome async for outcome in results]) == {"ok": 3}
    assert (len(creations(api)), streamed(api)) == (1, [])


async def test_a_record_that_a_later_version_may_write_is_left_alone(autojump_clock, tmp_path):
    """Unknown fields and kinds of records do not keep a batch from being found."""
    client, api = api_of()
    via = ts.ViaBatch(probe=False, detach=True)
    await run(client, items_of(3), journal=tmp_path / "j", via=via)
    lines = (tmp_path / "j").read_bytes().splitlines()
    changed = [msgspec.json.encode({**msgspec.json.decode(line), "later": [1]}) for line in lines]
    changed.insert(2, b'{"record":"weather","nonce":"x"}')
    header = lines[0] + b"\n"
    (tmp_path / "j").write_bytes(header + b"\n".join(changed[1:]) + b"\n")
    outcomes, _ = await run(client, items_of(3), journal=tmp_path / "j", via=AT_ONCE)
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 3}, 1)


async def test_a_beta_that_no_header_can_carry(autojump_clock, tmp_path):
    """It is an error of the items; the journal says that nothing was sent, so no later run looks for a batch."""
    client, api = api_of()
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j", betas=["no\nbeta"])
    assert statuses(outcomes) == {"error": 3}
    assert creations(api) == []
    kinds = [record["record"] for record in records(tmp_path / "j") if "nonce" in record]
    assert kinds == ["intent", "refused"]


# Rate limits, refusals and outages of the calls about batches that exist.


@pytest.mark.parametrize("retry_after", ["0", "1e9"])
@pytest.mark.parametrize("call", ["retrieve", "results", "list"])
async def test_a_rate_limit_of_an_hour_on_calls_about_a_batch(autojump_clock, tmp_path, call, retry_after):
    """It is waited for, in this run and in the one that continues: the batch is there, and is paid."""

    def odds(request: Any) -> Any:
        wanted = {"retrieve": request.path.count("/") == 4, "results": is_results(request), "list": is_list(request)}
        late = began + 1 <= request.at < began + 3600
        return http_error(429, retry_after=retry_after) if request.method == "GET" and wanted[call] and late else None

    client, api = api_of(Odd(odds, faults=["lost_answer"] if call == "list" else []))
    for path in (tmp_path / "whole", tmp_path / "continued"):
        began = trio.current_time()
        requests = len(api.requests)
        if path.name == "continued":
            with trio.move_on_after(900):
                await run(client, items_of(5), via=AT_ONCE, journal=path)
        outcomes, results = await run(client, items_of(5), via=AT_ONCE, journal=path)
        assert statuses(outcomes) == {"ok" if path.name == "whole" else "cached": 5}
        assert results.stats.stopped is None
        assert len(api.requests) - requests < 400
        assert trio.current_time() - began < 7500
    assert len(creations(api)) == 2


async def test_a_rate_limit_that_outlasts_the_deadline(autojump_clock, tmp_path):
    """It is not waited for without end then; the next run reads what is there."""
    batches = Odd(lambda r: http_error(429, retry_after=9999) if is_results(r) else None)
    client, api = api_of(batches)
    via = ts.ViaBatch(probe=False, deadline=500)
    outcomes, _ = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"error": 5}
    assert 1000 < trio.current_time() < 1300
    batches.odds = lambda _: None
    outcomes, _ = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), len(creations(api))) == ({"cached": 5}, 1)


@pytest.mark.parametrize("continued", [False, True])
async def test_a_batch_is_cancelled_at_the_deadline_although_that_fails_at_first(autojump_clock, tmp_path, continued):
    """It is asked again: a batch that goes on is paid, and its items are streamed."""
    client, api = api_of(Odd(lambda r: http_error(503) if is_cancel(r) and r.at < broken else None, seconds=5000))
    via = ts.ViaBatch(probe=False, deadline=60, cancel_wait=300)
    broken = trio.current_time() + 170
    if continued:
        await run(client, items_of(5), via=ts.ViaBatch(probe=False, detach=True), journal=tmp_path / "j")
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"ok": 5}, 0)
    await trio.sleep(10_000)
    assert api.batches.billed == []


async def test_a_batch_whose_cancellation_is_not_answered_at_the_deadline(autojump_clock, tmp_path):
    """Waiting for it is over after `cancel_wait`, whatever is waited for."""
    client, _ = api_of(Odd(lambda r: NEVER if is_cancel(r) else None, seconds=5000))
    via = ts.ViaBatch(probe=False, deadline=60, cancel_wait=30)
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"ok": 5}, 5)
    assert trio.current_time() < 100


@pytest.mark.parametrize("fault", [http_error(503), NEVER], ids=["503", "silent"])
async def test_an_outage_while_many_batches_are_watched(autojump_clock, tmp_path, fault):
    """One list tells all of them that it failed, too: neither requests nor waits add up."""
    client, api = api_of(Odd(lambda r: fault if is_list(r) and r.at >= began + 5 else None))
    began = trio.current_time()
    via = ts.ViaBatch(probe=False, max_requests=1)
    outcomes, results = await run(client, items_of(40), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), reason_of(results)) == ({"skipped": 40}, "outage")
    assert trio.current_time() - began < 1300
    assert sum(map(is_list, api.requests)) < 40 + 200
    assert len(creations(api)) == 40


@pytest.mark.parametrize(("status", "reason"), [(401, "authentication"), (402, "spend_limit"), (503, "outage")])
async def test_detaching_from_batches_that_cannot_be_made(autojump_clock, tmp_path, status, reason):
    """It is told why there are none, rather than that they go on."""
    which = is_list if status == 503 else is_creation
    client, _ = api_of(Odd(lambda r: http_error(status) if which(r) else None))
    via = ts.ViaBatch(probe=False, detach=True)
    outcomes, results = await run(client, items_of(3), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), reason_of(results), results.batches) == ({"skipped": 3}, reason, ())
