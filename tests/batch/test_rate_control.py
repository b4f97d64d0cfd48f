"""Rate control against the documented token buckets: what fan-outs do at a quota, in storms, and at spend limits.

The scenarios at their full size, against other strategies: ``python -m tests.bench.rate_control``.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio

import trio_stream as ts
from tests.bench import rate_control
from tests.soak.form import LONG
from trio_stream.testing import Quota, RecordedRequest, Step, headers, http_error, pause, say

from .api import NO_LIMITS, PARAMS, client_of, prompt_of

# Where the answers are long, what is left to do at the end is too large a part of a shorter run.
OF_THE_SIZE = (
    rate_control.scenarios(1500) if LONG else [*rate_control.scenarios(1500)[:1], *rate_control.scenarios(500)[1:]]
)
QUOTAS = [
    pytest.param(scenario, burst, id=f"{scenario.name}-{burst}")
    for number, scenario in enumerate(OF_THE_SIZE)
    for burst in (1.0, 0.2)
    if LONG or (burst == 1.0) is (number % 2 == 0)  # each of them with one or the other in every run
]


@pytest.mark.no_cover
@pytest.mark.parametrize(("scenario", "burst"), QUOTAS)
def test_the_quota_is_used_and_hardly_ever_exceeded(scenario, burst):
    quota = {**scenario.quota, "burst": burst}
    result, ideal = rate_control.play(scenario._replace(quota=quota), rate_control.ours)
    assert result.failed == 0
    assert result.refused <= scenario.most_refusals
    assert ideal / result.seconds >= scenario.least_share


@pytest.mark.no_cover
@pytest.mark.parametrize("strategy", [rate_control.each_by_itself, rate_control.shared_pause])
def test_simpler_ways_are_refused_all_the_time(strategy):
    """The comparison means something only if the scripted quota really refuses."""
    scenario = rate_control.scenarios(100)[2]
    result, _ = rate_control.play(scenario, strategy)
    assert result.refused > 100


@pytest.mark.no_cover
async def test_a_storm_of_529_never_cuts_the_window(autojump_clock):
    quota = Quota(storm=(20, 140))
    client, _ = client_of(default=lambda request: [say("x", pause(10))], quota=quota)
    async with ts.fan_out(client, map(str, range(400)), limit=ts.Adaptive(2, 8, 50), **PARAMS) as results:
        windows = []
        async for outcome in results:
            assert outcome.status == "ok"
            windows.append(results.stats.window)
    assert windows == sorted(windows)
    assert windows[-1] == 50
    # The breaker held back: without it 50 items would have asked every 8 seconds, 750 times.
    assert quota.overloaded < 150
    # 80 s of work, 20 s of growing at the start, and the storm.
    assert results.stats.seconds < 80 + 20 + 120 + 5


async def test_the_breaker_opens_and_probes(autojump_clock):
    quota = Quota(storm=(0, 100))
    client, _ = client_of(default=[say("x")], quota=quota)
    async with ts.fan_out(client, map(str, range(20)), **PARAMS) as results:
        await trio.sleep(50)
        assert results.stats.breaker_open
        before = quota.overloaded
        await trio.sleep(40)
        assert 15 <= quota.overloaded - before <= 21
        assert [outcome.status async for outcome in results] == ["ok"] * 20
    assert not results.stats.breaker_open
    assert results.stats.seconds < 115


async def test_a_spend_limit_stops_the_job_within_one_item(autojump_clock):
    """promptfoo and langchain retry a spent month."""
    quota = Quota(spend_limit=300)
    client, api = client_of(default=[say("word " * 40, pause(5))], quota=quota)
    outcomes = await ts.gather_outcomes(client, map(str, range(200)), limit=1, **PARAMS)
    statuses = [outcome.status for outcome in outcomes]
    done = statuses.count("ok")
    assert 0 < done < 10
    assert statuses == ["ok"] * done + ["skipped"] * (200 - done)
    assert len(api.requests) == done + 1
    assert isinstance(outcomes[done].error, ts.RateLimitError)
    stop = outcomes[-1].error
    assert isinstance(stop, ts.FanOutStoppedError)
    assert (stop.reason, stop.__cause__) == ("spend_limit", outcomes[done].error)


@pytest.mark.parametrize(
    "status, code",
    [
        (429, "enforced_spend_limit_reached"),
        (429, "contract_spend_limit_reached"),
        (402, "linked_organization_spend_limit_reached"),
        (400, "organization_on_hold"),
    ],
)
async def test_every_code_that_stops_a_job(status, code, autojump_clock):
    body = b'{"type":"error","error":{"type":"x","message":"m","details":{"error_code":"%s"}}}' % code.encode()
    client, api = client_of(default=[http_error(status, body=body)])
    with pytest.raises(ts.APIStatusError) as caught:
        await ts.gather_texts(client, map(str, range(50)), **PARAMS)
    assert caught.value.error_code == code
    assert len(api.requests) <= 8
    async with ts.fan_out(client, iter(map(str, range(10**9))), limit=1, **PARAMS) as results:
        assert [outcome.status async for outcome in results] == ["skipped"]
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "spend_limit"


async def test_a_refusal_without_headers_is_survived(autojump_clock):
    quota = Quota(concurrent=5)
    client, _ = client_of(default=[say("x", pause(5))], quota=quota)
    async with ts.fan_out(client, map(str, range(200)), limit=ts.Adaptive(2, 8, 100), **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert results.stats.window < 12
    assert results.stats.seconds < 200 * 5 / 5 * 1.5
    assert quota.refused < 100


class GrowthLimit:
    """Refuses when ten seconds bring a quarter more requests than any such slot of the minute before."""

    def __init__(self) -> None:
        self.taken: Counter[int] = Counter()
        self.refused: list[float] = []

    def answer(self, request: RecordedRequest) -> list[Step]:
        slot = int(trio.current_time() // 10)
        most = max(self.taken[earlier] for earlier in range(slot - 6, slot))
        if self.taken[slot] >= max(10, 1.25 * most):
            self.refused.append(trio.current_time())
            body = b'{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"%s"}}}'
            return [http_error(429, body=body % b"ramp_limit_exceeded", headers=NO_LIMITS)]
        self.taken[slot] += 1
        return [headers(NO_LIMITS), say("x", pause(random.uniform(3, 7)))]


@pytest.mark.no_cover
async def test_growth_that_is_too_fast_pauses_and_goes_on_slowly(autojump_clock):
    limit = GrowthLimit()
    client, api = client_of(default=limit.answer)
    async with ts.fan_out(client, map(str, range(600)), limit=ts.Adaptive(2, 8, 100), **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert 1 <= len(limit.refused) <= 20
    assert results.stats.refused == len(limit.refused)
    # The API says nothing of how long: the first pause is five seconds, for everyone.
    first = limit.refused[0]
    wave = [moment for moment in limit.refused if moment < first + 1]
    assert not [r for r in api.requests if wave[-1] < r.at < first + 5]
    assert results.stats.seconds < 500


async def test_a_long_retry_after_does_not_freeze_the_window(autojump_clock):
    """inspect-ai let one long retry-after freeze its window."""
    client, _ = client_of([http_error(429, retry_after=300)], default=[say("x", pause(1))])
    async with ts.fan_out(client, map(str, range(300)), limit=ts.Adaptive(2, 8, 20), **PARAMS) as results:
        await trio.sleep(1)
        at_first = results.stats.window
        assert {outcome.status async for outcome in results} == {"ok"}
    # It was cut once, and growing began with the first success, not after another five minutes.
    assert results.stats.window > at_first
    assert results.stats.seconds < 300 * 1.1 + 60


async def test_a_ramp_limit_pauses_and_goes_slowly(autojump_clock):
    body = b'{"type":"error","error":{"type":"x","message":"m","details":{"error_code":"ramp_limit_exceeded"}}}'
    client, _ = client_of(
        *[[say("x", pause(1))]] * 40, [http_error(429, body=body, retry_after=30)], default=[say("x", pause(1))]
    )
    sizes: list[int] = []
    results = ts.fan_out(
        client,
        map(str, range(150)),
        limit=ts.Adaptive(2, 8, 100),
        on_event=lambda item, event: sizes.append(results.stats.window),
        **PARAMS,
    )
    async with results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert sizes[-1] < max(sizes)
    assert results.stats.seconds > 30


async def test_one_limiter_for_two_fan_outs(autojump_clock):
    quota = Quota(requests_per_minute=60, burst=0.1)
    client, _ = client_of(default=[say("x")], quota=quota)
    limiter = ts.HeaderRateLimiter()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name in "ab":
            items = [f"{name}{number}" for number in range(60)]
            nursery.start_soon(lambda items=items: ts.gather_texts(client, items, limiter=limiter, **PARAMS))
    assert quota.refused <= 12
    assert trio.current_time() - began < 120 * 1.1


async def test_a_pause_of_the_shared_kind_spares_refusals(autojump_clock):
    """The item that was refused and all others wait for the same moment."""
    random.seed(1)
    client, api = client_of([http_error(429, retry_after=50)], default=[say("x")])
    await ts.gather_texts(client, map(str, range(20)), limit=1, **PARAMS)
    times = [request.at - api.requests[0].at for request in api.requests]
    assert times[0] == 0
    assert 50 <= times[1] <= 55
    assert prompt_of(api.requests[1]) == prompt_of(api.requests[0])
