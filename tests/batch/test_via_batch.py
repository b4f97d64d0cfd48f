"""`fan_out(via="batch")`: groups, the probe, what goes wrong with batches, and every way to end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.soak.form import LONG
from trio_stream.testing import Batches, http_error, say

from .api import PARAMS, Notes, echo, prompt_of
from .via import NEVER, Odd, api_of, asked, creations, is_creation, items_of, once, records, run, statuses, streamed

# As it should be.


async def test_items_are_answered_by_a_batch_after_one_probe(autojump_clock, tmp_path):
    """One item is streamed, the others are one batch, and all outcomes are whole."""
    client, api = api_of()
    outcomes, results = await run(client, items_of(20), journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 20}
    assert {outcome.id: outcome.text for outcome in outcomes} == {f"q{n}": f"<prompt {n}>" for n in range(20)}
    assert streamed(api) == ["prompt 0"]
    assert len(creations(api)) == 1
    assert set(asked(api).values()) == {1}
    assert [batch.processing_status for batch in results.batches] == ["ended"]
    stats = results.stats
    assert (stats.queued, stats.in_flight, stats.paid_twice, stats.requests) == (0, 0, 0, 20)
    first = outcomes[-1]
    assert first.message is not None
    assert (first.attempts, first.stop_reason, first.usage) == (1, "end_turn", first.message.usage)


@pytest.mark.no_cover
async def test_five_thousand_items_are_asked_once_each(autojump_clock, tmp_path):
    """Three batches, and the usage of this side is what the server bills."""
    client, api = api_of()
    outcomes, results = await run(
        client, items_of(5000), via=ts.ViaBatch(max_requests=2000), journal=tmp_path / "journal"
    )
    assert statuses(outcomes) == {"ok": 5000}
    assert len(creations(api)) == 3
    assert set(asked(api).values()) == {1}
    assert api.batches is not None
    billed = api.batches.billed
    assert len(billed) == 4999
    probe = next(outcome for outcome in outcomes if outcome.index == 0)
    assert probe.usage is not None
    assert (
        results.stats.output_tokens == sum(each.usage["output_tokens"] for each in billed) + probe.usage.output_tokens
    )
    assert results.stats.input_tokens == sum(each.usage["input_tokens"] for each in billed) + probe.usage.input_tokens


async def test_another_run_is_answered_by_the_journal(autojump_clock, tmp_path):
    """``via`` plays no part in the hash of a request: a run that streams finds what batches answered."""
    client, api = api_of()
    await run(client, items_of(5), journal=tmp_path / "j")
    before = len(api.requests)
    outcomes, _ = await run(client, items_of(5), journal=tmp_path / "j", via="stream")
    assert statuses(outcomes) == {"cached": 5}
    assert len(api.requests) == before


async def test_without_a_journal_and_without_a_probe(autojump_clock):
    """Both are optional."""
    client, api = api_of()
    outcomes, _ = await run(client, ["a", "b"], via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 2}
    assert streamed(api) == []


async def test_groups_by_betas_size_and_time(autojump_clock):
    """Items with other betas are in another batch; a group that is not full is sent after 30 seconds."""
    client, api = api_of()

    class Slow:
        async def __aiter__(self) -> Any:
            for number in range(3):
                yield {"messages": [{"role": "user", "content": f"{number}"}], "betas": ["x-2026"] if number else []}
            yield "3"
            await trio.sleep(100)
            yield "4"

    items = Slow().__aiter__()
    outcomes, _ = await run(client, items, via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 5}
    made = [(round(request.at), len(request.body["requests"])) for request in creations(api)]
    assert made == [(30, 2), (30, 2), (100, 1)]
    assert max(request.headers.get("anthropic-beta", "") for request in creations(api)).endswith("x-2026")


async def test_a_group_is_closed_when_its_bytes_are_full(autojump_clock, monkeypatch):
    """The API takes 256 MB."""
    monkeypatch.setattr("trio_stream.batch._via_batch_group.MOST_BYTES", 1000)
    client, api = api_of()
    outcomes, _ = await run(client, ["x" * 200] * 7, via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 7}
    assert len(creations(api)) == 4


async def test_items_are_taken_while_there_is_room(autojump_clock):
    """No more than ``max_queued`` items are under way."""
    client, api = api_of()
    most = 0

    def items() -> Any:
        nonlocal most
        for number in range(50):
            most = max(most, results.stats.in_flight)
            yield f"{number}"

    async with ts.fan_out(client, items(), via=ts.ViaBatch(probe=False, max_queued=10), **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    assert statuses(outcomes) == {"ok": 50}
    assert most == 9
    assert len(creations(api)) == 5


async def test_a_slow_consumer_slows_down_the_reading_of_results(autojump_clock, monkeypatch):
    """Outcomes that nobody takes do not pile up."""
    monkeypatch.setattr("trio_stream.batch._via_batch_life.MOST_UNREAD", 5)
    client, _ = api_of()
    most = 0
    async with ts.fan_out(client, [f"{n}" for n in range(40)], via=ts.ViaBatch(probe=False), **PARAMS) as results:
        async for _outcome in results:
            most = max(most, results.stats.unread)
            await trio.sleep(1)
    assert results.stats.ok == 40
    assert most <= 5


async def test_many_batches_are_watched_by_one_list(autojump_clock):
    """Above five batches nobody asks about each."""
    client, api = api_of(Batches(seconds=300))
    outcomes, _ = await run(client, [f"{n}" for n in range(8)], via=ts.ViaBatch(probe=False, max_requests=1))
    assert statuses(outcomes) == {"ok": 8}
    single = [request for request in api.requests if request.method == "GET" and request.path.count("/") == 4]
    assert not [request for request in single if not request.path.endswith("/results")]


# The probe.


async def test_three_probes_that_fail_alike_stop_the_job(autojump_clock):
    """No batch is made of requests that the API does not take."""
    client, api = api_of(default=lambda _: [http_error(400, message="no such thing")])
    outcomes, results = await run(client, items_of(10))
    assert statuses(outcomes) == {"error": 3, "skipped": 7}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "same_error"
    assert not creations(api)


async def test_probes_that_fail_in_different_ways_prove_nothing(autojump_clock):
    """Then the batch is made."""
    client, api = api_of(
        default=lambda request: (
            [http_error(400, message=prompt_of(request))] if "stream" in request.body else [say("fine")]
        )
    )
    outcomes, _ = await run(client, items_of(5))
    assert statuses(outcomes) == {"error": 3, "ok": 2}
    assert len(creations(api)) == 1


async def test_each_model_has_its_probe(autojump_clock):
    """Models are proven one by one."""
    client, api = api_of()
    items = [{"messages": [{"role": "user", "content": f"{n}"}], "model": f"model-{n % 2}"} for n in range(6)]
    outcomes, _ = await run(client, items)
    assert statuses(outcomes) == {"ok": 6}
    assert streamed(api) == ["0", "1"]


async def test_a_refused_key_stops_the_probe_and_the_job(autojump_clock):
    """It is the account's fault, so nothing else is tried."""
    client, api = api_of(default=lambda _: [http_error(401)])
    outcomes, results = await run(client, items_of(4))
    assert statuses(outcomes) == {"skipped": 4}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "authentication"
    assert len(api.requests) == 1


async def test_an_item_that_no_batch_takes_is_an_error_of_its_own(autojump_clock):
    """It does not spoil the batch of the others."""
    client, _ = api_of()
    items = ["a", {"messages": [{"role": "user", "content": "b"}], "speed": "fast"}, "c"]
    outcomes, _ = await run(client, items, via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"error": 1, "ok": 2}
    assert "speed" in str(next(outcome.error for outcome in outcomes if outcome.status == "error"))


# What goes wrong.


@pytest.mark.parametrize("fault", ["results_cut", "shuffled", "doubled", "missing", "not_found", "queue_full"])
async def test_faults_that_change_nothing(autojump_clock, tmp_path, fault):
    """Every item is answered once, whatever becomes of requests and results."""
    client, api = api_of(Batches(faults=[fault]))
    outcomes, _ = await run(client, items_of(9), journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 9}
    assert len({outcome.id for outcome in outcomes}) == 9
    assert api.batches is not None
    assert len(api.batches.billed) == 8
    assert api.batches.faults_left == []


@pytest.mark.parametrize("lag", [0, 120])
@pytest.mark.parametrize("foreign", [False, True])
async def test_a_lost_answer_makes_no_second_batch(autojump_clock, tmp_path, lag, foreign):
    """The batch is found in the list by its nonce, beside one of somebody else that is as large, and late."""
    client, api = api_of(Batches(list_lag=lag, faults=["lost_answer", *["foreign"] * foreign]))
    outcomes, _ = await run(client, items_of(9), journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 9}
    assert len(creations(api)) == 1
    kinds = [record["record"] for record in records(tmp_path / "j")]
    assert [kind for kind in kinds if kind not in ("start", "end")] == ["journal", "intent", "created", "collected"]


async def test_a_502_without_a_batch_is_asked_again_after_the_list_has_settled(autojump_clock, tmp_path):
    """It takes ``settle`` seconds to be sure that there is none."""
    client, api = api_of(Odd(once(is_creation, 502, "Bad Gateway")))
    outcomes, _ = await run(client, items_of(9), journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 9}
    first, second = creations(api)
    assert second.at - first.at >= 299
    kinds = [record["record"] for record in records(tmp_path / "j")]
    marks = [kind for kind in kinds if kind not in ("start", "end")]
    assert marks == ["journal", "intent", "refused", "intent", "created", "collected"]


async def test_a_line_that_never_comes_is_an_error_of_its_item(autojump_clock):
    """Results are read three times."""
    client, api = api_of(Batches(faults=["missing"] * 3))
    outcomes, _ = await run(client, items_of(9), via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 8, "error": 1}
    assert sum(request.path.endswith("/results") for request in api.requests) == 3


async def test_failures_of_the_api_go_into_another_batch(autojump_clock):
    """Twice, by default; then they are errors."""
    client, api = api_of(Batches(faults=["errored"] * 2))
    outcomes, results = await run(client, items_of(5), via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 5}
    assert [len(request.body["requests"]) for request in creations(api)] == [5, 1, 1]
    assert results.stats.retries == 2
    client, api = api_of(Batches(faults=["errored"] * 3))
    outcomes, _ = await run(client, items_of(5), via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"ok": 4, "error": 1}


async def test_an_invalid_request_in_a_batch_is_an_error(autojump_clock):
    """It would fail again."""
    client, _ = api_of(
        default=lambda request: [http_error(400, message="bad")] if prompt_of(request).endswith("3") else echo(request)
    )
    outcomes, _ = await run(client, items_of(5))
    assert statuses(outcomes) == {"ok": 4, "error": 1}
    assert isinstance(next(o.error for o in outcomes if o.status == "error"), ts.APIStatusError)


async def test_a_billing_error_in_a_batch_stops_the_job(autojump_clock):
    """The account is spent."""
    client, _ = api_of(default=lambda request: [http_error(402)] if prompt_of(request).endswith("3") else echo(request))
    outcomes, results = await run(client, items_of(5))
    assert statuses(outcomes) == {"ok": 4, "skipped": 1}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "spend_limit"


@pytest.mark.parametrize(("on_expired", "expected"), [("batch", "ok"), ("stream", "ok"), ("error", "error")])
async def test_items_that_expire(autojump_clock, on_expired, expected):
    """They go into another batch, or are streamed, or fail."""
    client, api = api_of(Batches(faults=["expired"]))
    outcomes, _ = await run(client, items_of(5), via=ts.ViaBatch(probe=False, on_expired=on_expired))
    assert statuses(outcomes) == Counter({"ok": 4}) + Counter({expected: 1})
    assert len(creations(api)) == (2 if on_expired == "batch" else 1)
    assert len(streamed(api)) == (1 if on_expired == "stream" else 0)


async def test_somebody_else_cancels_the_batch(autojump_clock):
    """Its items without an answer are errors."""
    client, _ = api_of(Batches(seconds=100))
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.sleep(45)
            (batch,) = results.batches
            await client.messages.batches.cancel(batch.id)

        nursery.start_soon(cancel)
        async with ts.fan_out(client, items_of(10), via=ts.ViaBatch(probe=False), **PARAMS) as results:
            outcomes = [outcome async for outcome in results]
    assert set(statuses(outcomes)) == {"ok", "error"}


# Leaving.


async def test_leaving_the_block_cancels_the_batches_and_the_next_run_collects_them(autojump_clock, tmp_path):
    """What had been answered is not asked again; the rest is."""
    client, api = api_of(Batches(seconds=100))
    journal = tmp_path / "j"
    with trio.move_on_after(50):
        await run(client, items_of(101), journal=journal, via=ts.ViaBatch(probe=False))
    assert [request.path.rpartition("/")[2] for request in api.requests][-1] == "cancel"
    outcomes, _ = await run(client, items_of(101), journal=journal, via=ts.ViaBatch(probe=False))
    found = statuses(outcomes)
    assert found["cached"] > 20
    assert found["cached"] + found["ok"] == 101
    assert api.batches is not None
    assert len(api.batches.billed) == 101


async def test_leaving_takes_five_seconds_at_most(autojump_clock):
    """A server that does not answer holds nobody up."""
    client, _ = api_of(Odd(lambda request: NEVER if request.path.endswith("/cancel") else None))
    with trio.move_on_after(20) as scope:
        await run(client, items_of(3), via=ts.ViaBatch(probe=False))
    assert scope.cancelled_caught
    assert 24.9 <= trio.current_time() <= 25.1


async def test_detached_batches_go_on_and_the_next_run_creates_none(autojump_clock, tmp_path):
    """All items are in a batch then."""
    client, api = api_of()
    async with ts.fan_out(client, items_of(20), journal=tmp_path / "j", via="batch", **PARAMS) as results:

        async def later() -> None:
            await trio.sleep(5)
            results.detach()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)
            outcomes = [outcome async for outcome in results]
    assert trio.current_time() < 30
    assert statuses(outcomes) == {"ok": 1, "skipped": 19}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "detach"
    assert len(creations(api)) == 1
    outcomes, _ = await run(client, items_of(20), journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 20}
    assert len(creations(api)) == 1
    assert not [request for request in api.requests if request.path.endswith("/cancel")]
    assert set(asked(api).values()) == {1}


async def test_detach_while_a_group_is_open_puts_it_into_a_batch(autojump_clock, tmp_path):
    """Nothing that was taken is lost."""
    client, api = api_of()

    def items() -> Any:
        yield from items_of(3)
        results.detach()

    async with ts.fan_out(client, items(), journal=tmp_path / "j", via=ts.ViaBatch(probe=False), **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    assert statuses(outcomes) == {"skipped": 3}
    assert len(creations(api)) == 1
    assert [record["record"] for record in records(tmp_path / "j")][-1] == "created"


async def test_detach_needs_batches_and_a_journal(autojump_clock):
    """Nobody would find the batches again."""
    client, _ = api_of()
    options: dict[str, Any]
    for options in ({"via": "batch"}, {}):
        async with ts.fan_out(client, [], **options, **PARAMS) as results:
            with pytest.raises(RuntimeError, match="has a journal"):
                results.detach()
        assert results.batches == ()


async def test_drain_finishes_the_batches_that_exist(autojump_clock):
    """And starts no other."""
    client, _ = api_of()
    async with ts.fan_out(client, items_of(9), via=ts.ViaBatch(probe=False), **PARAMS) as results:

        async def later() -> None:
            await trio.sleep(20)
            results.drain()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)
            outcomes = [outcome async for outcome in results]
    assert statuses(outcomes) == {"ok": 9}


async def test_drain_skips_what_is_in_no_batch_yet(autojump_clock):
    """It has not been sent."""
    client, api = api_of()

    def items() -> Any:
        yield "a"
        results.drain()
        yield "b"

    async with ts.fan_out(client, items(), via=ts.ViaBatch(probe=False), **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    assert set(statuses(outcomes)) == {"skipped"}
    assert not creations(api)


# The deadline.


async def test_at_the_deadline_the_rest_is_streamed(autojump_clock, tmp_path):
    """2,000 of 5,000 are done, 3,000 are streamed, and nothing is paid twice."""
    number = 5000 if LONG else 500
    client, api = api_of(Batches(seconds=5000))
    via = ts.ViaBatch(probe=False, deadline=2000)
    outcomes, results = await run(client, items_of(number), journal=tmp_path / "j", via=via, limit=200)
    assert statuses(outcomes) == {"ok": number}
    assert api.batches is not None
    assert abs(len(api.batches.billed) - number * 2 // 5) < 10
    assert len(streamed(api)) == number - len(api.batches.billed)
    assert results.stats.paid_twice == 0


async def test_a_run_that_is_killed_while_it_streams_the_rest(autojump_clock, tmp_path):
    """The streams that were under way have to be paid, so the next run counts them."""
    path = tmp_path / "j"
    client, api = api_of(Batches(seconds=1000))
    via = ts.ViaBatch(probe=False, deadline=500)
    async with ts.fan_out(client, items_of(10), via=via, journal=path, **PARAMS):
        while len(streamed(api)) < 5:
            await trio.sleep(0.25)  # each is answered after a second
        left_by_a_kill = path.read_bytes()
    path.write_bytes(left_by_a_kill)
    overview = ts.journal_overview(path)
    streams = [charge for charge in overview.charges if charge.estimated]
    assert api.batches is not None
    assert (overview.ok, overview.unfinished) == (5, 5)
    assert sum(charge.answers for charge in streams) == 5


async def test_a_batch_that_does_not_end_after_the_deadline_is_paid_twice(autojump_clock):
    """Nobody waits longer than ``cancel_wait``."""
    client, _ = api_of(Batches(seconds=5000, cancel_seconds=4000))
    via = ts.ViaBatch(probe=False, deadline=100, cancel_wait=50)
    outcomes, results = await run(client, items_of(10), via=via)
    assert statuses(outcomes) == {"ok": 10}
    assert results.stats.paid_twice == 10
    assert trio.current_time() < 200


async def test_items_after_the_deadline_are_streamed_at_once(autojump_clock):
    """Also those of a group that was open."""
    client, api = api_of(Batches(seconds=10))

    class Late:
        async def __aiter__(self) -> Any:
            yield "a"
            await trio.sleep(20)
            yield "b"

    outcomes, _ = await run(client, Late().__aiter__(), via=ts.ViaBatch(probe=False, deadline=10))
    assert statuses(outcomes) == {"ok": 2}
    assert sorted(streamed(api)) == ["a", "b"]
    assert not creations(api)


async def test_a_full_queue_at_the_deadline(autojump_clock):
    """What never came into a batch is streamed."""
    client, api = api_of(Batches(faults=["queue_full"] * 50))
    outcomes, _ = await run(client, items_of(3), via=ts.ViaBatch(probe=False, deadline=100))
    assert statuses(outcomes) == {"ok": 3}
    assert len(streamed(api)) == 3


# Options.


async def test_options_that_conflict():
    """Clocks of single items mean nothing in a batch, and another journal could not find batches again."""
    client, _ = api_of()
    with pytest.raises(TypeError, match="item_timeout"):
        ts.fan_out(client, [], via="batch", item_timeout=3, **PARAMS)
    with pytest.raises(ValueError, match="via must be"):
        ts.fan_out(client, [], via="bach", **PARAMS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="notes batches"):
        ts.fan_out(client, [], via="batch", journal=Notes(), **PARAMS)


@pytest.mark.parametrize(
    "options",
    [
        {"max_requests": 0},
        {"max_requests": 100_001},
        {"max_queued": 0},
        {"deadline": 0},
        {"cancel_wait": -1},
        {"resubmit": -1},
        {"settle": -1},
        {"on_expired": "again"},
    ],
)
def test_options_out_of_range(options):
    """Each has its range."""
    with pytest.raises(ValueError, match=next(iter(options))):
        ts.ViaBatch(**options)


# Money.


async def test_the_cost_is_what_the_server_bills(autojump_clock, tmp_path):
    """Half the price for what a batch answered, and the next run counts it as spent before."""
    client, api = api_of()
    _, results = await run(client, items_of(50), journal=tmp_path / "j", via=ts.ViaBatch(probe=False))
    prices = ts.Prices.of(PARAMS["model"])
    assert prices is not None
    assert api.batches is not None
    bill = sum(prices.cost(ts.Usage.from_wire(dict(each.usage))) for each in api.batches.billed)
    assert bill > 0
    assert results.stats.cost == pytest.approx(bill)
    assert results.stats.costs is not None
    assert results.stats.costs.saved_by_batch == pytest.approx(bill)
    _, results = await run(client, items_of(50), journal=tmp_path / "j", via=ts.ViaBatch(probe=False))
    assert results.stats.cost_before == pytest.approx(bill)


async def test_a_detached_batch_is_charged_once_to_the_run_that_collects_it(autojump_clock, tmp_path):
    """Until then nobody knows what it costs."""
    client, _ = api_of()

    def items() -> Any:
        yield from items_of(9)
        results.detach()

    async with ts.fan_out(client, items(), journal=tmp_path / "j", via=ts.ViaBatch(probe=False), **PARAMS) as results:
        assert [outcome async for outcome in results]
    _, second = await run(client, items_of(9), journal=tmp_path / "j")
    assert second.stats.cost_before == 0
    assert second.stats.cost
    _, third = await run(client, items_of(9), journal=tmp_path / "j")
    assert third.stats.cost_before == pytest.approx(second.stats.cost)


async def test_a_budget_is_spent_in_waves(autojump_clock):
    """It is exceeded by a tenth at most, or an answer."""
    client, _ = api_of()
    _, results = await run(client, items_of(1))
    assert results.stats.cost
    cost = 10 * results.stats.cost
    client, api = api_of()
    outcomes, results = await run(client, items_of(500), budget=ts.Budget(cost=cost), max_tokens=64)
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "budget"
    assert results.stats.cost is not None
    assert 0.5 * cost < results.stats.cost < 1.2 * cost
    assert statuses(outcomes)["skipped"] > 400
    assert len(creations(api)) > 1


async def test_a_budget_of_requests(autojump_clock):
    """Those in a batch count like any other."""
    client, _ = api_of()
    outcomes, results = await run(client, items_of(20), budget=ts.Budget(requests=7))
    assert statuses(outcomes) == {"ok": 7, "skipped": 13}
    assert results.stats.requests == 7


async def test_a_model_without_prices_and_a_budget(autojump_clock):
    """Its cost cannot be limited."""
    client, api = api_of()
    outcomes, _ = await run(
        client, items_of(2), budget=ts.Budget(cost=1), model="unheard-of", via=ts.ViaBatch(probe=False)
    )
    assert statuses(outcomes) == {"error": 2}
    assert not api.requests


async def test_a_budget_that_is_too_small_for_anything(autojump_clock):
    """Where nothing is under way and there is no room, the job stops."""
    client, api = api_of()
    outcomes, _ = await run(client, items_of(3), budget=ts.Budget(requests=0), via=ts.ViaBatch(probe=False))
    assert statuses(outcomes) == {"skipped": 3}
    assert not api.requests
