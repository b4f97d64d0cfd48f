"""Bad days and odd servers: outages, items that no limit allows, and headers that mean something else.

The figures are those of the specification; ``python -m tests.bench.odd_servers`` prints the whole table.
"""

from __future__ import annotations

import bisect
import itertools
import random
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.bench import odd_servers
from trio_stream.batch._outage import Outage, Retries, says_out_of_order
from trio_stream.testing import RecordedRequest, Step, disconnect, fail, headers, http_error, pause, say

from .api import NO_LIMITS, PARAMS, client_of, prompt_of

# The table.


@pytest.mark.no_cover
@pytest.mark.parametrize(("seconds", "failed"), [(90, 144), (600, 400)])
def test_an_outage_costs_no_item_and_few_requests(seconds, failed):
    """A hundred are cut as it begins; then there is a probe every two seconds."""
    result = odd_servers.play(odd_servers.outage(seconds, items=1200))
    assert result.lost == 0
    assert result.failed == pytest.approx(failed, rel=0.1)


def test_an_item_that_is_larger_than_the_bucket_holds_up_nobody():
    """It is sent at once, and once; its own error says why it has no answer."""
    result = odd_servers.play(odd_servers.oversize())
    assert dict(result.statuses) == {"ok": 200, "error": 1}
    assert result.requests == 201
    assert result.seconds == pytest.approx(181, rel=0.1)


@pytest.mark.no_cover
def test_retry_after_zero_loses_nothing():
    """Taken at its word, an item would be refused a hundred times within seconds."""
    result = odd_servers.play(odd_servers.retry_after_zero())
    assert dict(result.statuses) == {"ok": 200}


@pytest.mark.no_cover
def test_a_limit_of_zero_holds_nothing_back():
    """Taken at its word, nothing could be sent ever."""
    result = odd_servers.play(odd_servers.limit_zero())
    assert dict(result.statuses) == {"ok": 600}
    assert result.seconds == pytest.approx(394, rel=0.1)


@pytest.mark.no_cover
def test_the_window_opens_when_answers_begin():
    """Not when they end, which takes a minute here."""
    result = odd_servers.play(odd_servers.long_answers())
    assert dict(result.statuses) == {"ok": 600}
    assert result.seconds == pytest.approx(375, rel=0.05)


# Outages.


OUTAGES: dict[str, list[Step]] = {
    "500": [http_error(500)],
    "502": [http_error(502, body=b"<html>")],
    "529": [http_error(529)],
    "connection": [disconnect()],
    "reset": [disconnect(reset=True)],
    "first event": [fail("api_error")],
}


@pytest.mark.parametrize("kind", OUTAGES)
async def test_no_attempt_is_spent_while_nothing_is_answered(kind, autojump_clock):
    """Whatever form it has."""
    began = trio.current_time()
    client, _ = client_of(
        default=lambda request: OUTAGES[kind] if 2 < request.at - began < 300 else [say("x", pause(1))]
    )
    statuses: list[str] = []

    async def collect(results: ts.FanOut) -> None:
        statuses.extend([outcome.status async for outcome in results])

    async with (
        ts.fan_out(client, map(str, range(100)), max_attempts=2, limit=10, **PARAMS) as results,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(collect, results)
        await trio.sleep(20)
        assert results.stats.breaker_open
    assert statuses == ["ok"] * 100
    assert results.stats.stopped is None
    assert results.stats.requests < 100 + 10 + 8 + 150


@pytest.mark.no_cover
async def test_an_item_that_fails_while_others_are_answered_spends_its_attempts(autojump_clock):
    """A prompt that the server stumbles over is no outage."""
    client, _ = client_of(
        default=lambda request: [pause(0.3), http_error(500)] if prompt_of(request) == "bad" else [say("x", pause(0.1))]
    )
    outcomes = await ts.gather_outcomes(client, ["bad", *map(str, range(500))], limit=5, max_attempts=4, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["error"] + ["ok"] * 500
    assert outcomes[0].attempts == 4


async def test_an_item_alone_spends_its_attempts(autojump_clock):
    """There is nothing to compare it with."""
    client, _ = client_of(default=[http_error(500)])
    (outcome,) = await ts.gather_outcomes(client, ["a"], max_attempts=3, **PARAMS)
    assert (outcome.status, outcome.attempts) == ("error", 3)


@pytest.mark.parametrize("script", [[http_error(400)], [http_error(429, retry_after=1)]], ids=["400", "429"])
async def test_a_refusal_shows_that_the_api_is_there(script, autojump_clock):
    """So what fails beside it spends its attempts, and the breaker closes."""
    client, _ = client_of(
        default=lambda request: (
            [pause(0.5), http_error(500)] if prompt_of(request).startswith("bad") else [pause(0.3), *script]
        )
    )
    items = ["bad 1", "bad 2", *map(str, range(40))]
    async with ts.fan_out(client, items, limit=4, max_attempts=3, max_errors=1.0, **PARAMS) as results:
        bad: list[ts.Outcome] = []
        async for outcome in results:
            bad.extend([outcome] if outcome.index < 2 else [])
            if len(bad) == 2:
                break  # the others are refused, again and again
    assert [outcome.status for outcome in bad] == ["error"] * 2
    assert all(3 <= outcome.attempts <= 6 for outcome in bad)  # a few count for less, as half of the last requests fail


@pytest.mark.parametrize("answered", [True, False], ids=["answered before", "never answered"])
async def test_an_outage_stops_the_job_in_the_end(answered, autojump_clock):
    """After half an hour; after a minute where nothing was ever answered."""
    began = trio.current_time()

    def answer(request: RecordedRequest) -> list[Step]:
        return [say("x", pause(1))] if answered and request.at - began < 10 else [disconnect()]

    client, api = client_of(default=answer)
    async with ts.fan_out(client, [str(number) for number in range(500)], limit=10, **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    stop = results.stats.stopped
    assert stop is not None
    assert stop.reason == "outage"
    assert isinstance(stop.__cause__, ts.APIConnectionError)
    assert results.stats.seconds == pytest.approx(1810 if answered else 60, abs=5)
    statuses = [outcome.status for outcome in outcomes]
    assert set(statuses) == ({"ok", "skipped"} if answered else {"skipped"})
    assert len(outcomes) == 500
    # Those that wait to be tried again are not sent once more each.
    last = api.requests[-1].at - began
    assert results.stats.seconds - last < 0.1
    # Such an item says what it has failed with itself, if it was the one that found out.
    assert sum(isinstance(outcome.error, ts.APIConnectionError) for outcome in outcomes) == 1


async def test_an_outage_raises_what_the_last_request_failed_with(autojump_clock):
    """As the other stops do, where errors are raised."""
    client, _ = client_of(default=[http_error(503)])
    with pytest.raises(ts.APIStatusError, match="503"):
        await ts.gather_texts(client, map(str, range(50)), **PARAMS)


async def test_what_is_skipped_in_an_outage_is_asked_again(tmp_path, autojump_clock):
    """By the next run with the same journal."""
    path = tmp_path / "journal"
    client, _ = client_of(default=[disconnect()])
    outcomes = await ts.gather_outcomes(client, ["a", "b", "c"], journal=path, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["skipped"] * 3
    client, api = client_of()
    outcomes = await ts.gather_outcomes(client, ["a", "b", "c"], journal=path, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3
    assert len(api.requests) == 3


async def test_an_outage_does_not_stop_a_clock_of_an_item(autojump_clock):
    """Whoever sets one gets the item back by then."""
    client, _ = client_of(default=[http_error(503)])
    outcomes = await ts.gather_outcomes(client, ["a", "b"], item_timeout=5, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["timeout"] * 2


def test_what_says_that_the_api_is_out_of_order():
    """Errors that are about the request say nothing of the kind."""

    def says(error: ts.APIError) -> bool:
        from trio_stream._protocol import judge

        return says_out_of_order(error, judge(error).verdict)

    assert says(ts.APIConnectionError("x"))
    assert says(ts.IncompleteStreamError("x"))
    assert [status for status in (400, 401, 408, 409, 429, 500, 501, 502, 503, 529) if says(_answer(status))] == [
        *(500, 502, 503, 529)
    ]
    assert not says(_answer(400, should_retry=True))
    assert not says(_answer(500, should_retry=False))


def _answer(status: int, **more: Any) -> ts.APIStatusError:
    return ts.APIStatusError("x", status_code=status, **more)


def test_an_outage_begins_with_the_first_failure_after_an_answer():
    """Each answer is a new beginning."""
    outage, error = Outage(), ts.APIConnectionError("x")
    assert outage.too_long(error, 0.0) is None
    outage.failed(0.0, heard=False)
    outage.failed(50.0, heard=False)
    assert outage.too_long(error, 59.0) is None
    stop = outage.too_long(error, 60.0)
    assert stop is not None
    assert (stop.reason, str(stop)) == ("outage", "the API is out of order, nothing was ever answered: x")
    outage.alive()
    assert outage.too_long(error, 10_000.0) is None
    outage.failed(10_000.0, heard=False)
    assert outage.too_long(error, 11_799.0) is None
    stop = outage.too_long(error, 11_800.0)
    assert stop is not None
    assert str(stop) == "the API is out of order, nothing has been answered for 1800 s: x"


# Items that are larger than a limit.


@pytest.mark.parametrize("kind", ["input_tokens", "tokens"])
async def test_what_is_larger_than_the_bucket_is_sent_at_once(kind, autojump_clock):
    """Only the limit of requests still counts for it."""
    limiter = ts.HeaderRateLimiter()
    first = ts.Permit(input_tokens=10, max_tokens=10)
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    told = {kind: ts.RateLimit(limit=6000, remaining=0), "requests": ts.RateLimit(limit=60, remaining=0)}
    limiter.observe(first, ts.RateLimits(**told))
    began = trio.current_time()
    large = ts.Permit(input_tokens=7000, max_tokens=10)
    await limiter.acquire(large)
    assert trio.current_time() - began == pytest.approx(1.0)
    assert large.oversize
    assert not first.oversize
    # It was refused: nobody pauses, and what it was charged is there again.
    limiter.penalise(large, ts.RateLimitError("x", status_code=429, retry_after=300))
    limiter.release(large)
    assert limiter.paused_until is None
    small = ts.Permit(input_tokens=100, max_tokens=10)
    await limiter.acquire(small)
    assert trio.current_time() - began < 4


@pytest.mark.parametrize("kind", ["input-tokens", "tokens"])
async def test_a_refusal_tells_that_its_request_is_larger_than_the_bucket(kind, autojump_clock):
    """No limit is known when the first requests are sent."""
    told = {f"anthropic-ratelimit-{kind}-limit": "1000", f"anthropic-ratelimit-{kind}-remaining": "1000"}

    def answer(request: RecordedRequest) -> list[Step]:
        if len(prompt_of(request)) > 4000:
            return [http_error(429, retry_after=300, headers={**NO_LIMITS, **told})]
        return [headers({**NO_LIMITS, **told}), say("x")]

    client, api = client_of(default=answer)
    async with ts.fan_out(client, ["b" * 8000, "a", "c"], limit=2, **PARAMS) as results:
        outcomes = {outcome.index: outcome async for outcome in results}
    assert [outcomes[index].status for index in range(3)] == ["error", "ok", "ok"]
    assert results.stats.seconds < 1
    assert len(api.requests) == 3


async def test_what_is_larger_than_the_bucket_may_be_taken(autojump_clock):
    """The estimate may be wrong; then it is an item like any other."""
    told = {"anthropic-ratelimit-input-tokens-limit": "1000", "anthropic-ratelimit-input-tokens-remaining": "1000"}
    client, api = client_of(default=[headers({**NO_LIMITS, **told}), say("x")])
    outcomes = await ts.gather_outcomes(client, ["a", "b" * 8000, "c"], limit=1, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3
    assert len(api.requests) == 3


async def test_what_is_larger_than_the_bucket_is_tried_again_after_other_failures(autojump_clock):
    """Only a refusal is final."""
    told = {"anthropic-ratelimit-input-tokens-limit": "1000", "anthropic-ratelimit-input-tokens-remaining": "1000"}
    scripts = [
        [headers({**NO_LIMITS, **told}), say("x")],
        [http_error(500, headers={**NO_LIMITS, **told})],
        [http_error(429, retry_after=100)],
    ]
    client, _ = client_of(*scripts)
    async with ts.fan_out(client, ["a", "b" * 8000], limit=1, **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    assert [(outcome.status, outcome.attempts) for outcome in outcomes] == [("ok", 1), ("error", 2)]
    assert isinstance(outcomes[1].error, ts.RateLimitError)
    assert (results.stats.refused, results.stats.window) == (1, 1)
    assert results.stats.seconds < 5


# Headers.


async def test_a_limit_of_zero_changes_nothing_that_is_known(autojump_clock):
    """One answer in between that came by another way."""
    limiter = ts.HeaderRateLimiter()
    for limit in (60, 0):
        permit = ts.Permit(input_tokens=10, max_tokens=10)
        await limiter.acquire(permit)
        permit.began_at = trio.current_time()
        limiter.observe(permit, ts.RateLimits(requests=ts.RateLimit(limit=limit, remaining=limit)))
    began = trio.current_time()
    for _ in range(60):
        await limiter.acquire(ts.Permit(input_tokens=10, max_tokens=10))
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)


# Rates of one's own.


@pytest.mark.no_cover
@pytest.mark.parametrize("rate", [6, 60, 600, 3000])
async def test_a_rate_is_kept_in_every_minute(rate, autojump_clock):
    """The first one too, and the one after a pause."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=rate)
    moments = []
    began = trio.current_time()
    for number in range(3 * rate):
        if number == rate // 2:
            await trio.sleep(100)
        permit = ts.Permit(input_tokens=10, max_tokens=10)
        await limiter.acquire(permit)
        moments.append(trio.current_time())
        permit.began_at = trio.current_time()
        limiter.observe(permit, ts.RateLimits())
        limiter.release(permit)
    most = max(index - bisect.bisect_right(moments, moment - 60) + 1 for index, moment in enumerate(moments))
    assert most <= rate
    assert moments[-1] - began < 100 + 180 * 1.02


async def test_refused_requests_count_for_a_rate_of_ones_own(autojump_clock):
    """They were made."""
    client, api = client_of(*[[http_error(429, retry_after=1, headers=NO_LIMITS)]] * 20)
    limiter = ts.HeaderRateLimiter(requests_per_minute=60)
    await ts.gather_texts(client, map(str, range(40)), limiter=limiter, limit=20, **PARAMS)
    moments = [request.at for request in api.requests]
    for begin in moments:
        assert sum(begin <= moment < begin + 60 for moment in moments) <= 60


# Queues.


@pytest.mark.parametrize("own", [False, True], ids=["the API's limits", "rates of one's own"])
async def test_requests_are_let_through_in_the_order_in_which_they_came(own, autojump_clock):
    """Those that need less do not overtake, else two fan-outs that share a limiter starve the one with longer prompts."""
    limiter = ts.HeaderRateLimiter(input_tokens_per_minute=6000 if own else None)
    first = ts.Permit(input_tokens=1000, max_tokens=10)
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    if not own:
        limiter.observe(first, ts.RateLimits(input_tokens=ts.RateLimit(limit=6000, remaining=0)))
    order: list[int] = []

    async def ask(number: int) -> None:
        model = str(number % 2) if own else ""
        await limiter.acquire(ts.Permit(input_tokens=1100 - 100 * (number % 5), max_tokens=10, model=model))
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(14):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == list(range(14))


async def test_a_request_that_the_api_holds_back_does_not_hold_up_other_models(autojump_clock):
    """Although both wait for the same rate of one's own."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=6000)
    first = ts.Permit(input_tokens=10, max_tokens=10, model="slow")
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    limiter.observe(first, ts.RateLimits(requests=ts.RateLimit(limit=1, remaining=0)))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limiter.acquire, ts.Permit(input_tokens=10, max_tokens=10, model="slow"))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            permit = ts.Permit(input_tokens=10, max_tokens=10, model="quick")
            await limiter.acquire(permit)
            limiter.release(permit)
        assert trio.current_time() - began < 1
    assert trio.current_time() - began == pytest.approx(60, rel=0.02)


async def test_a_pause_that_begins_while_waiting_for_ones_own_rate_is_kept(autojump_clock):
    """The API's limits are looked at again when the rate lets the request through."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=6, rng=lambda: 0.0)
    first = ts.Permit(input_tokens=10, max_tokens=10)
    await limiter.acquire(first)
    began = trio.current_time()

    async def refuse() -> None:
        await trio.sleep(5)
        limiter.penalise(first, ts.RateLimitError("x", status_code=429, retry_after=60))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        await limiter.acquire(ts.Permit(input_tokens=10, max_tokens=10))
    assert trio.current_time() - began == pytest.approx(65)


@pytest.mark.no_cover
async def test_no_item_is_lost_when_half_of_the_answers_fail(autojump_clock):
    """A bad day that is no outage: it goes on, more slowly."""
    random.seed(3)
    client, _ = client_of(default=lambda request: [http_error(500)] if random.random() < 0.5 else [say("x", pause(1))])
    outcomes = await ts.gather_outcomes(client, map(str, range(300)), max_attempts=40, **PARAMS)
    assert {outcome.status for outcome in outcomes} == {"ok"}


async def test_a_half_outage_costs_no_item(autojump_clock):
    """One machine of two is dead behind a server: of so many items some fail as often in a row as they may."""
    requests = itertools.count()
    client, _ = client_of(default=lambda request: [http_error(502)] if next(requests) % 2 else [say("x", pause(20))])
    outcomes = await ts.gather_outcomes(client, [str(n) for n in range(200)], max_attempts=8, **PARAMS)
    assert {outcome.status for outcome in outcomes} == {"ok"}


@pytest.mark.parametrize(("every", "items"), [(2, 60), (10, 60), (5, 200)])
async def test_prompts_that_always_fail_are_no_outage(every, items, autojump_clock):
    """However many they are: at the end of the job they are alone, but have failed while others were answered.

    Nor are they a half-outage, in which they would be asked four times as often, and keep the others waiting.
    """
    began = trio.current_time()
    client, api = client_of(
        default=lambda request: [http_error(500)] if int(prompt_of(request)) % every == 1 else [say("x", pause(1))]
    )
    outcomes = await ts.gather_outcomes(client, [str(n) for n in range(items)], max_attempts=5, **PARAMS)
    assert [outcome.status == "error" for outcome in outcomes] == [n % every == 1 for n in range(items)]
    assert len(api.requests) < items * (1 + 7 / every) + 90  # those at the end are alone for two minutes
    assert trio.current_time() - began < 600


def test_what_tells_a_half_outage():
    """Among the last retries many have failed, and not all; a few tell nothing."""

    def show(*, failed: int, answered: int) -> bool:
        retries = Retries()
        for number in range(failed + answered):
            retries.note(failed=number < failed)
        return retries.show_half_outage

    assert not show(failed=6, answered=5)
    assert show(failed=6, answered=6)
    assert not show(failed=30, answered=70)
    assert show(failed=90, answered=10)
    assert not show(failed=96, answered=4)
    assert not show(failed=500, answered=4)
    assert show(failed=500, answered=50)


async def test_an_outage_that_tells_when_it_will_be_over(autojump_clock):
    """Answers 503 may say an hour; an item waits for a minute at most, and is asked again."""
    began = trio.current_time()
    down = [http_error(503, retry_after=3600)]
    client, _ = client_of(
        default=lambda request: down if 5 < trio.current_time() - began < 95 else [say("x", pause(10))]
    )
    outcomes = await ts.gather_outcomes(client, [str(n) for n in range(200)], **PARAMS)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert trio.current_time() - began < 240


async def test_a_single_answer_that_asks_for_an_hour(autojump_clock):
    """While others are answered: the item is asked again after a minute, and is not given up."""
    requests = itertools.count()
    client, _ = client_of(
        default=lambda request: [http_error(503, retry_after=3600)] if next(requests) == 3 else [say("x", pause(5))]
    )
    outcomes = await ts.gather_outcomes(client, list("abcdefgh"), **PARAMS)
    assert {outcome.status for outcome in outcomes} == {"ok"}
