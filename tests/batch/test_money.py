"""What a fan-out costs, and budgets that hold: at once, over retries, and over all runs of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import trio_stream as ts
from tests.bench import budgets
from trio_stream._money import ChargeSums
from trio_stream.batch import Journal
from trio_stream.testing import (
    Batches,
    PromptCache,
    RecordedRequest,
    ScriptedAPI,
    Step,
    disconnect,
    event,
    fail,
    http_error,
    pause,
    say,
    stall,
    usage,
)

from .api import PARAMS, Notes, client_of, echo, prompt_of

MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None, "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip


async def run(client: ts.Client, items: Any, **options: Any) -> tuple[list[ts.Outcome], Any]:
    async with ts.fan_out(client, items, **{**PARAMS, **options}) as results:
        outcomes = [outcome async for outcome in results]
    return outcomes, results.stats


@pytest.mark.no_cover
@pytest.mark.parametrize(("cost", "least", "most"), [(0.1, 0.6, 1.2), (1.0, 0.9, 1.1)])
@pytest.mark.parametrize("seed", [1, 2])
def test_budgets_hold_with_a_hundred_at_once(cost: float, least: float, most: float, seed: int):
    """A sample of ``python -m tests.bench.budgets``: without reservations $0.10 spent $1.09."""
    assert least < budgets.play(cost, seed=seed).spent / cost < most


async def test_the_worst_case_is_a_tenth_more(autojump_clock):
    """After many short answers all others are as long as they may be: the limit is exceeded by a tenth at most."""

    def answer(request: RecordedRequest) -> list[Step]:
        tokens = 10 if int(prompt_of(request)) < 200 else 256
        return [say("x" * tokens, pause(1)), usage(input_tokens=0, output_tokens=tokens)]

    client, _ = client_of(default=answer)
    prices = ts.Prices(input=0, output=1e6)
    outcomes, stats = await run(client, map(str, range(10**6)), limit=100, budget=ts.Budget(cost=6000), prices=prices)
    assert 6000 * 0.9 < stats.cost <= 6000 * 1.1
    assert [outcome.status for outcome in outcomes].count("skipped") <= 1


async def test_cost_by_the_built_in_prices(autojump_clock):
    """Each answer is charged by the prices of the model that answered, with what its usage says."""
    fields: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 100, "inference_geo": "us"}
    client, _ = client_of(default=[say("x"), usage(cache_read_input_tokens=5000, **fields)])
    [outcome], stats = await run(client, ["a"], model="claude-opus-5-5")
    expected = (1000 * 4 + 100 * 20 + 5000 * 0.2) * 1.1e-6
    assert stats.cost == pytest.approx(expected)
    assert stats.costs.saved_by_cache == pytest.approx(5000 * 3.8 * 1.1e-6)
    assert (stats.cost_before, stats.cost_failed, stats.cost_estimated) == (0, 0, 0)
    assert outcome.charges == (
        ts.Charge(model="claude-opus-5-5", input=1000, output=100, cache_read=5000, tier="standard", geo="us"),
    )


async def test_prices_of_ones_own(autojump_clock):
    """``prices`` may be a function; what it does not know has no cost, and the whole has none then."""
    client, _ = client_of(default=[say("x"), usage(input_tokens=0, output_tokens=1000)])
    mine = {"mine": ts.Prices(input=1, output=7)}
    _, stats = await run(client, ["a"], model="mine", prices=mine.get)
    assert stats.cost == pytest.approx(0.007)
    _, stats = await run(client, ["a"], prices=mine.get)
    assert (stats.cost, stats.cost_before, stats.cost_failed, stats.cost_estimated, stats.costs) == (None,) * 5


async def test_a_budget_sends_nothing_whose_cost_is_unknown(autojump_clock):
    """An item for a model without a price is an error, and the others go on."""
    client, api = client_of()
    items = ["a", {"messages": [{"role": "user", "content": "b"}], "model": "mine"}, "c"]
    outcomes, stats = await run(client, items, budget=ts.Budget(cost=5.0))
    by_index = {outcome.index: outcome for outcome in outcomes}
    assert [by_index[index].status for index in range(3)] == ["ok", "error", "ok"]
    assert "the prices of the model 'mine' are not known" in str(by_index[1].error)
    assert len(api.requests) == 2
    assert stats.cost is not None


async def test_answers_of_a_gateway_with_names_of_its_own(autojump_clock):
    """They are charged by the model that was asked: a budget must not take them to be free."""
    start = {"type": "message_start", "message": {**MESSAGE, "model": "gateway/sonnet"}}
    client, _ = client_of(default=[event(start), say("x"), usage(output_tokens=100)])
    [outcome], stats = await run(client, ["a"])
    assert outcome.message is not None
    assert (outcome.message.model, outcome.charges[0].model) == ("gateway/sonnet", PARAMS["model"])
    assert stats.cost > 0


async def test_answers_that_were_cut_are_estimated(autojump_clock):
    """The API tells their tokens last, so characters are counted, at the rate of the model's whole answers."""
    text = "x" * 600
    client, _ = client_of(
        [say(text), usage(input_tokens=10, output_tokens=300)],  # two characters a token
        [say("y" * 500, disconnect())],
        default=[say(text), usage(input_tokens=10, output_tokens=300)],
    )
    outcomes, stats = await run(client, ["a", "b"], limit=1)
    cut = outcomes[1].charges[0]
    assert (cut.estimated, cut.output) == (True, 250)
    assert not outcomes[1].charges[1].estimated
    failed = (cut.input * 2 + 250 * 10) / 1e6
    assert stats.cost_failed == stats.cost_estimated == pytest.approx(failed)
    assert stats.cost == pytest.approx(failed + 2 * (10 * 2 + 300 * 10) / 1e6)


async def test_an_answer_that_fails_after_its_usage_is_not_estimated(autojump_clock):
    """Its tokens were told before it failed."""
    told = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 77}}
    client, _ = client_of([say("x"), event(told), disconnect()], default=echo)
    [outcome], stats = await run(client, ["a"])
    assert [charge.estimated for charge in outcome.charges] == [False, False]
    assert (outcome.charges[0].output, stats.cost_estimated) == (77, 0)
    assert stats.cost_failed > 0


@pytest.mark.no_cover
async def test_thirty_in_a_hundred_cut(autojump_clock):
    """The estimate comes within 5 % of what the server counted."""
    counted = 0

    def answer(request: RecordedRequest) -> list[Step]:
        nonlocal counted
        number = int(prompt_of(request))
        tokens = 100 + number * 7 % 400
        first = number % 10 < 3 and sum(prompt_of(other) == prompt_of(request) for other in api.requests) == 1
        sent = tokens * 9 // 10 if first else tokens
        counted += sent
        steps: list[Step] = [say("abc" * sent, *([fail("overloaded_error")] if first else []))]
        return [*steps, usage(input_tokens=0, output_tokens=1 if first else tokens)]

    client, api = client_of(default=answer, keep_requests=10_000)
    outcomes, stats = await run(client, map(str, range(300)), max_tokens=1000)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert stats.requests == 390
    assert stats.output_tokens == pytest.approx(counted, rel=0.05)
    assert 0 < stats.cost_estimated == stats.cost_failed < stats.cost


# All runs of a job.


def answers(tokens: int = 100) -> list[Step]:
    return [say("abc" * tokens, pause(1)), usage(input_tokens=0, output_tokens=tokens)]


ITEMS = [ts.Item(str(number), id=f"q{number}") for number in range(40)]
PRICES = ts.Prices(input=0, output=1e6, cache_read=0)


async def test_a_budget_holds_for_all_runs(autojump_clock, tmp_path: Path):
    """Later runs count what the journal remembers, so a budget that is used up stays so; a larger one goes on."""
    path = tmp_path / "j"
    client, api = client_of(default=answers())
    for cost, total in ((1500, 1500), (1500, 1500), (2500, 2500)):
        _, stats = await run(client, ITEMS, journal=path, budget=ts.Budget(cost=cost), prices=PRICES, max_tokens=100)
        assert stats.cost + stats.cost_before == pytest.approx(total)
        assert stats.stopped.reason == "budget"
    assert len(api.requests) == 25
    _, stats = await run(client, ITEMS, journal=path, prices=PRICES, max_tokens=100)
    assert (stats.cost_before, stats.cost, stats.cached) == (2500, 1500, 25)


async def test_the_journal_has_the_tokens_of_all_attempts(autojump_clock, tmp_path: Path):
    """Of failed attempts too, each with model, tier and whether it is an estimate."""
    path = tmp_path / "j"
    client, _ = client_of([say("x" * 27, disconnect())], default=[say("x"), usage(input_tokens=0, output_tokens=5)])
    await run(client, ITEMS[:1], journal=path)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [record["record"] for record in records] == ["journal", "start", "end"]
    first, second = records[2]["charges"]
    assert first == {**first, "model": PARAMS["model"], "output": 10, "tier": "standard", "estimated": True}
    assert second == {"model": PARAMS["model"], "output": 5, "tier": "standard", "geo": "global"}
    outcome = next(ts.read_journal(path))
    assert [charge.output for charge in outcome.charges] == [10, 5]


async def test_what_was_cancelled_costs_too(autojump_clock, tmp_path: Path):
    """An abort notes what had arrived and what it cost, as an estimate; the next run counts it."""
    path = tmp_path / "j"
    client, _ = client_of(default=[say("x" * 270, stall())])
    async with ts.fan_out(client, ITEMS[:3], journal=path, prices=PRICES, **PARAMS) as results:
        await trio.sleep(1)
        results.abort()
        outcomes = [outcome async for outcome in results]
    assert {outcome.charges[0].output for outcome in outcomes} == {100}
    first = results.stats
    assert first.cost_failed == first.cost_estimated == first.cost == pytest.approx(300)
    client, _ = client_of(default=answers())
    _, stats = await run(client, ITEMS[:3], journal=path, prices=PRICES)
    assert (stats.cost_before, stats.cost) == pytest.approx((300, 300))


async def test_what_was_under_way_when_a_run_was_killed(autojump_clock, tmp_path: Path):
    """Nothing is known of it, so it is taken to have cost what the others did."""
    path = tmp_path / "j"
    client, _ = client_of(default=answers())
    await run(client, ITEMS[:4], journal=path, prices=PRICES)
    with Journal(path) as journal:
        assert sum(charge.output for charge in journal.charges) == 400
        journal.start("q7", "0" * 32, index=7)  # a run that died here
    with Journal(path) as journal:
        estimated = [charge for charge in journal.charges if charge.estimated]
        assert [(charge.output, charge.answers) for charge in estimated] == [(100, 1)]
        journal.start("q7", "0" * 32, index=7)  # and another
    with Journal(path) as journal:
        assert sum(charge.output for charge in journal.charges) == 600
        note = ts.Outcome(status="ok", charges=(ts.Charge(model="m", output=200),))
        journal.start("q7", "0" * 32, index=7)
        journal.end("q7", note)
        assert journal.charges[-1] == ts.Charge(model="m", output=200)
    with Journal(path) as journal:  # 600 of five answers, and two that died, like most of these
        assert sum(charge.output for charge in journal.charges) == 800


async def test_what_was_under_way_when_nothing_had_ended_yet(autojump_clock, tmp_path: Path):
    """No answer tells what it cost: at first each may have been as long as it may, then as long as those that end."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        for number in range(4):
            journal.start(f"q{number}", "0" * 32, index=number)
    with Journal(path) as journal:
        assert (journal.charges, journal.uncounted) == ((), 4)
    client, api = client_of(default=answers(50))
    options: dict[str, Any] = {**PARAMS, "budget": ts.Budget(cost=600), "prices": PRICES, "max_tokens": 100}
    async with ts.fan_out(client, ITEMS[10:], journal=path, **options) as results:
        await trio.sleep(0.5)
        assert (len(api.requests), results.stats.cost_before) == (2, 0)
        async for _ in results:
            pass
    stats = results.stats
    assert (stats.cost, stats.cost_before) == pytest.approx((350, 200))  # the next may cost 56
    with Journal(path) as journal:
        assert (sum(charge.output for charge in journal.charges), journal.uncounted) == (550, 0)
    _, stats = await run(client, ITEMS[20:], journal=path, **options)
    assert (stats.cost, stats.cost_before) == pytest.approx((0, 550))


async def test_what_was_under_way_counts_for_a_budget_of_tokens(autojump_clock, tmp_path: Path):
    """Likewise."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.start("q1", "0" * 32, index=1)
    client, api = client_of(default=answers())
    _, stats = await run(client, ITEMS[10:], journal=path, budget=ts.Budget(output_tokens=1000), max_tokens=100)
    assert (len(api.requests), stats.output_tokens) == (9, 900)


@pytest.mark.parametrize("via", ["stream", "batch"])
async def test_a_budget_expects_prompts_to_be_read_from_the_cache(autojump_clock, via: Any):
    """One is written at full price; the others cost a twentieth of what their length makes them look like."""
    cache = PromptCache()
    api = ScriptedAPI(default=[say("x"), usage(output_tokens=10)], batches=Batches(), prompt_cache=cache)
    async with ts.Client(api_key="test", transport=api) as client:
        items = [ts.Item(str(number)) for number in range(400)]
        options: dict[str, Any] = {"budget": ts.Budget(cost=0.2), "system": "word " * 12_000, "cache": "5m", "via": via}
        _, stats = await run(client, items, **options)
    assert stats.stopped.reason == "budget"
    assert 0.2 * 0.97 < stats.cost <= 0.2 * 1.05
    assert (cache.writes, stats.cache_hits > 50) == (1, True)


def test_long_prompts_stay_long_when_charges_are_added_up():
    """Those of a job that is continued cost what they cost, and those that a kill left under way too."""
    prices = ts.Prices.of("claude-haiku-5-5")
    assert prices is not None
    charges = [ts.Charge(model="claude-haiku-5-5", input=tokens) for tokens in (100_000, 100_001, 108_000, 9_000)]
    sums = ChargeSums()
    sums.add(charges)
    exact = sum(prices.costs(charge).total for charge in charges)
    assert sum(prices.costs(charge).total for charge in sums.totals()) == pytest.approx(exact)
    sums.add_unknown(4)
    assert sum(prices.costs(charge).total for charge in sums.totals()) == pytest.approx(2 * exact)


async def test_a_journal_of_an_earlier_version(autojump_clock, tmp_path: Path):
    """It has no charges: the usage of the last attempt is counted."""
    path = tmp_path / "j"
    client, _ = client_of(default=answers())
    await run(client, ITEMS[:3], journal=path)
    records: list[dict[str, Any]] = [json.loads(line) for line in path.read_bytes().splitlines()]
    for record in records:
        record.pop("charges", None)
    records.append({"record": "end", "key": "q8", "status": "error"})  # it never had an answer
    lines = [json.dumps(record).encode() for record in records]
    lines.append(b'{"record":"end","key":"q9","status":"error","text":"\xff"}')
    lines.append(b'{"record":"end","key":"q10","status":"error","charges":[{"output":"many"}]}')
    path.write_bytes(b"\n".join(lines) + b"\n")
    with Journal(path) as journal:
        [charge] = journal.charges
        assert (charge.model, charge.output, charge.tier, charge.answers) == (PARAMS["model"], 300, "standard", 3)


async def test_a_journal_that_knows_nothing_of_charges(autojump_clock):
    """`JournalLike` is enough; then a budget holds for one run."""
    client, _ = client_of(default=[say("half", stall())])
    notes = Notes()
    async with ts.fan_out(client, ITEMS[:1], journal=notes, **PARAMS) as results:
        await trio.sleep(1)
    assert notes.partials == {"q0": "half"}
    assert results.stats.cost_before == 0


async def test_a_retry_asks_the_budget_again(autojump_clock):
    """An attempt that the budget has no room for is not made; its item is skipped."""
    client, api = client_of([say("abc" * 90, disconnect())], default=[http_error(500)])
    [outcome], stats = await run(client, ["a"], budget=ts.Budget(cost=100), prices=PRICES, max_tokens=100)
    assert (outcome.status, len(api.requests)) == ("skipped", 1)
    assert stats.stopped.reason == "budget"
    assert outcome.charges[0].output == 100


async def test_an_item_that_waits_for_the_budget_can_be_drained(autojump_clock):
    """No other item is taken meanwhile, and nothing is sent for the one that waits."""
    client, api = client_of(default=answers())
    items = [{"messages": [{"role": "user", "content": "x"}], "max_tokens": most} for most in (10, 150, 10, 10)]
    async with ts.fan_out(client, items, budget=ts.Budget(cost=155), prices=PRICES, **PARAMS) as results:
        await trio.sleep(0.5)
        assert (results.stats.pulled, len(api.requests)) == (2, 1)
        results.drain()
        outcomes = [outcome async for outcome in results]
    assert [outcome.status for outcome in outcomes] == ["skipped", "ok"]


async def test_leaving_while_an_item_waits_for_the_limiter(autojump_clock):
    """What it had reserved is given back."""
    client, api = client_of([http_error(429, retry_after=50)], default=answers())
    async with ts.fan_out(client, ["a", "b"], limit=1, budget=ts.Budget(cost=1), **PARAMS) as results:
        await trio.sleep(5)
    assert results.stats.live == 0
    assert len(api.requests) == 1


def test_charges_are_small_in_a_journal():
    """What has its default is not written."""
    assert msgspec.json.encode(ts.Charge(model="m", output=5)) == b'{"model":"m","output":5}'
