"""The limiter that listens to headers, by itself and behind a fan-out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

import trio_stream as ts
from tests.batch.api import NO_LIMITS, PARAMS, client_of
from trio_stream._limiter._estimates import estimate_input_tokens
from trio_stream.testing import Quota, RecordedRequest, Step, headers, http_error, say


def permit(input_tokens: int = 100, max_tokens: int = 100, **more: Any) -> ts.Permit:
    return ts.Permit(input_tokens=input_tokens, max_tokens=max_tokens, **more)


def limits(**remaining: tuple[int, int]) -> ts.RateLimits:
    """``kind=(limit, remaining)``."""
    return ts.RateLimits(**{k: ts.RateLimit(limit=limit, remaining=left) for k, (limit, left) in remaining.items()})


async def waited(limiter: ts.RateLimiter, request: ts.Permit) -> float:
    began = trio.current_time()
    await limiter.acquire(request)
    return trio.current_time() - began


def refusal(retry_after: float | None, **more: Any) -> ts.RateLimitError:
    return ts.RateLimitError("x", status_code=429, retry_after=retry_after, **more)


async def answered(limiter: ts.RateLimiter, request: ts.Permit, told: ts.RateLimits) -> None:
    """A request goes out, and its answer begins."""
    await limiter.acquire(request)
    request.began_at = trio.current_time()
    limiter.observe(request, told)


async def test_a_few_go_out_before_anything_is_known(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    first = [permit() for _ in range(8)]
    for request in first:
        assert await waited(limiter, request) == 0
    with trio.move_on_after(10) as scope:
        await limiter.acquire(permit())
    assert scope.cancelled_caught
    limiter.observe(first[0], ts.RateLimits())
    for _ in range(200):
        assert await waited(limiter, permit()) == 0


async def test_remaining_requests_less_those_sent_since(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    first, second = permit(), permit()
    await limiter.acquire(first)
    await limiter.acquire(second)
    limiter.observe(first, limits(requests=(60, 2)))
    # One of the two is the second request's, which the API had not seen.
    assert await waited(limiter, permit()) == 0
    assert await waited(limiter, permit()) == pytest.approx(1.0)


async def test_remaining_input(autojump_clock):
    """curator swaps the headers for input and output."""
    limiter = ts.HeaderRateLimiter()
    first = permit()
    await limiter.acquire(first)
    first.usage = ts.Usage(input_tokens=100, cache_read_input_tokens=1_000_000)
    limiter.observe(first, limits(input_tokens=(6000, 50), output_tokens=(10**9, 10**9)))
    assert await waited(limiter, permit(150)) == pytest.approx(1.0)


async def test_remaining_output_less_what_live_streams_will_produce(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    live = [permit(max_tokens=100) for _ in range(4)]
    for request in live:
        await limiter.acquire(request)
    live[0].began_at = trio.current_time()
    limiter.observe(live[0], limits(output_tokens=(6000, 500)))
    assert await waited(limiter, permit()) == 0
    assert await waited(limiter, permit()) == pytest.approx(1.0)


async def test_what_input_tokens_are_is_learned(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    for _ in range(60):
        request = permit(1000)
        await limiter.acquire(request)
        request.usage = ts.Usage(input_tokens=10)
        limiter.observe(request, limits(input_tokens=(60_000, 60_000)))
        limiter.release(request)
    request = permit(0)
    await limiter.acquire(request)
    limiter.observe(request, limits(input_tokens=(60_000, 100)))
    assert await waited(limiter, permit(1000)) == 0


@pytest.mark.parametrize("counted", [10, 3000])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
async def test_answers_in_any_order_tell_what_remains(order, counted, autojump_clock):
    """Whatever was estimated of the requests before and after: none of it is there twice, and none is missing."""
    limiter = ts.HeaderRateLimiter()
    requests = [permit(tokens) for tokens in (1000, 2000, 100)]
    for request in requests:
        await limiter.acquire(request)
    left = 50_000
    remaining = []
    for _ in requests:
        left -= counted
        remaining.append(left)
    for number in order:
        requests[number].usage = ts.Usage(input_tokens=counted)
        limiter.observe(requests[number], limits(input_tokens=(60_000, remaining[number])))
    # The last to be heard knew nothing of those that were sent after it, and their charges are right by now.
    probe = permit(0)
    await limiter.acquire(probe)
    ratio = 1.0
    for number in order:
        ratio += 0.1 * (counted / (1000, 2000, 100)[number] - ratio)
    assert await waited(limiter, permit(round(left / ratio))) == pytest.approx(0, abs=0.01)
    assert await waited(limiter, permit(round(2000 / ratio))) == pytest.approx(2, abs=0.01)


async def test_what_a_refused_request_gives_back_is_in_no_later_answer(autojump_clock):
    """It was sent before, and is not among what that answer says is left."""
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    refused, later = permit(5000), permit(100)
    await limiter.acquire(refused)
    await limiter.acquire(later)
    limiter.penalise(refused, refusal(1, rate_limits=limits(requests=(60, 0), input_tokens=(60_000, 0))))
    limiter.release(refused)
    later.usage = ts.Usage(input_tokens=100)
    later.began_at = trio.current_time()
    limiter.observe(later, limits(requests=(60, 1), input_tokens=(60_000, 1000)))
    assert await waited(limiter, permit(1000)) == pytest.approx(1.0), "the pause"
    assert await waited(limiter, permit(1500)) == pytest.approx(1.0 - 1.0 + 0.5, abs=0.01)


async def test_a_question_beside_a_cached_conversation_is_not_taken_for_as_small(autojump_clock):
    """The one counts for a hundredth of its length, the other for all of it."""
    limiter = ts.HeaderRateLimiter()
    for _ in range(80):
        request = permit(50_000, cached=True)
        await limiter.acquire(request)
        request.usage = ts.Usage(input_tokens=0, cache_read_input_tokens=50_000)
        limiter.observe(request, limits(input_tokens=(60_000, 60_000)))
        limiter.release(request)
    request = permit(0)
    await limiter.acquire(request)
    limiter.observe(request, limits(input_tokens=(60_000, 10_000)))
    assert await waited(limiter, permit(50_000, cached=True)) == 0
    assert await waited(limiter, permit(20_000)) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("content", ["Hi", 'Say "cache_control":{"type":"ephemeral"}'])
async def test_a_cached_prompt_is_told_by_its_marks(content, autojump_clock):
    """And not by what it speaks about."""
    permits: list[ts.Permit] = []

    class Note(ts.HeaderRateLimiter):
        async def acquire(self, permit: ts.Permit) -> None:
            permits.append(permit)
            await super().acquire(permit)

    client, _ = client_of(default=[say("x")])
    client = client.with_options(limiter=Note())
    await client.messages.create(**PARAMS, messages=[{"role": "user", "content": content}])
    mark: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
    text: dict[str, Any] = {"type": "text", "text": content}
    await client.messages.create(**PARAMS, messages=[{"role": "user", "content": [{**text, **mark}]}])
    await client.messages.create(**PARAMS, messages=[{"role": "user", "content": content}], **mark)
    assert [permit.cached for permit in permits] == [False, True, True]


async def test_a_refusal_pauses_everyone(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.5)
    request = permit()
    await limiter.acquire(request)
    limiter.penalise(request, refusal(20))
    assert limiter.paused_until == trio.current_time() + 21
    assert await waited(limiter, permit()) == pytest.approx(21)
    assert limiter.paused_until is None


@pytest.mark.parametrize("asked, pause", [(599, 599), (86_400, 600), (float("inf"), 600)])
async def test_a_pause_is_not_capped_below_ten_minutes(asked, pause, autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    request = permit()
    await limiter.acquire(request)
    limiter.penalise(request, refusal(asked))
    assert await waited(limiter, permit()) == pytest.approx(pause)


@pytest.mark.parametrize("asked", [None, 1e-9, 0.1])
async def test_refusals_without_retry_after_pause_longer_and_longer(asked, autojump_clock):
    """So do those with one that is nearly zero, which would be asked for again at once."""
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    pauses = []
    for _ in range(7):
        request = permit()
        pauses.append(await waited(limiter, request))
        limiter.penalise(request, refusal(asked))
        limiter.penalise(request, refusal(asked))  # of the same wave
        limiter.release(request)
    assert pauses == [0, 0.5, 1, 2, 4, 8, 8]


# What a refusal says, and any other error.


async def test_a_refusal_tells_the_limits(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    request = permit()
    await limiter.acquire(request)
    limiter.penalise(request, refusal(10, rate_limits=limits(requests=(60, 0))))
    # Then there is room for the one that was refused, and no more.
    assert await waited(limiter, permit()) == 10
    assert [await waited(limiter, permit()) for _ in range(20)] == [pytest.approx(1.0)] * 20


async def test_a_refusal_without_a_remaining_fills_no_bucket(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    request = permit()
    await answered(limiter, request, limits(requests=(60, 50)))
    limiter.penalise(request, refusal(10))
    assert await waited(limiter, permit()) == 10
    assert await waited(limiter, permit()) == pytest.approx(1.0)


async def test_which_limit_it_was_is_told_by_what_remains(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    request = permit()
    await answered(limiter, request, limits(requests=(60, 50), input_tokens=(6000, 6000)))
    told = limits(requests=(60, 50), input_tokens=(6000, 0))
    limiter.penalise(request, refusal(1, rate_limits=told))
    assert await waited(limiter, permit(100)) == 1
    assert await waited(limiter, permit(100)) == pytest.approx(1.0)
    for _ in range(40):
        assert await waited(limiter, permit(0)) == 0


async def test_an_error_tells_the_limits_too(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    request = permit()
    await limiter.acquire(request)
    limiter.observe(request, limits(requests=(60, 2)))
    limiter.release(request)
    assert [await waited(limiter, permit()) for _ in range(3)] == [0, 0, pytest.approx(1.0)]


@pytest.mark.parametrize("status", [429, 529])
async def test_the_headers_of_a_refused_answer_pace_a_fan_out(status, autojump_clock):
    """The first answers are refusals; what they tell is kept to from the first request that is taken."""
    told = {"anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-requests-remaining": "0"}
    refused = [http_error(status, retry_after=10, headers={**NO_LIMITS, **told})]
    client, api = client_of(*[refused] * 8, default=[headers(NO_LIMITS), say("x")])
    outcomes = await ts.gather_outcomes(client, map(str, range(30)), limit=30, **PARAMS)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    moments = [request.at for request in api.requests[8:]]
    assert len(moments) == 30
    for begin in moments:  # 60 a minute, and no more than ten that were saved up during the pause
        assert sum(begin <= moment < begin + 9.9 for moment in moments) <= 20


async def test_refusals_that_name_growth_pause_for_longer(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    pauses = []
    for _ in range(6):
        request = permit()
        pauses.append(await waited(limiter, request))
        limiter.penalise(request, refusal(None, error_code="ramp_limit_exceeded"))
        limiter.release(request)
    assert pauses == [0, 5, 10, 20, 40, 60]


# Limits of other kinds.


async def test_priority_capacity_holds_nothing_back(autojump_clock):
    """Beyond it requests go on in the standard tier: waiting for it would be waiting for nothing."""
    limiter = ts.HeaderRateLimiter()
    told = limits(input_tokens=(10**6, 10**6), priority_input_tokens=(6000, 0), priority_output_tokens=(6000, 0))
    await answered(limiter, permit(), told)
    assert [await waited(limiter, permit()) for _ in range(50)] == [0] * 50


async def test_fast_requests_have_limits_of_their_own(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    told = limits(input_tokens=(6000, 6000), fast_input_tokens=(600, 100), fast_output_tokens=(10**6, 10**6))
    await answered(limiter, permit(fast=True), told)
    await answered(limiter, permit(), told)
    assert await waited(limiter, permit(100, fast=True)) == 0
    for _ in range(20):
        assert await waited(limiter, permit(100)) == 0
    assert await waited(limiter, permit(100, fast=True)) == pytest.approx(10.0)


async def test_what_was_meant_to_be_fast_may_be_counted_as_any_other(autojump_clock):
    """Some models answer at the standard speed instead, and their headers tell of no other limit."""
    limiter = ts.HeaderRateLimiter()
    await answered(limiter, permit(fast=True), limits(input_tokens=(6000, 100)))
    assert await waited(limiter, permit(100, fast=True)) == 0
    assert await waited(limiter, permit(100, fast=True)) == pytest.approx(1.0)


async def test_each_model_has_its_limits(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    await answered(limiter, permit(model="large"), limits(requests=(60, 1)))
    await answered(limiter, permit(model="small"), limits(requests=(6000, 6000)))
    assert [await waited(limiter, permit(model="large")) for _ in range(2)] == [0, pytest.approx(1.0)]
    assert [await waited(limiter, permit(model="small")) for _ in range(100)] == [0] * 100


async def test_the_limits_of_a_fan_out_with_two_models(autojump_clock):
    quotas = {
        "large": Quota(requests_per_minute=60, burst=0.2),
        "small": Quota(requests_per_minute=6000, burst=0.2),
    }

    def answer(request: RecordedRequest) -> list[Step]:
        quota = quotas[request.body["model"]]
        refused = quota.refuse(request.body, under_way=1, now=trio.current_time())
        return [refused] if refused is not None else [headers(quota.headers(trio.current_time())), say("x")]

    client, api = client_of(default=answer)
    items = [{"model": name, "messages": [{"role": "user", "content": "q"}]} for name in ("large", "small") * 40]
    await ts.gather_texts(client, items, max_tokens=10, limit=ts.Adaptive(8, 80, 80))
    last = {name: max(r.at for r in api.requests if r.body["model"] == name) for name in ("large", "small")}
    assert quotas["large"].refused == quotas["small"].refused == 0
    assert 40 - 12 - 1 <= last["large"] - api.requests[0].at <= 40 - 12 + 2
    assert last["small"] - api.requests[0].at < 2


async def test_the_limit_of_all_tokens(autojump_clock):
    """A workspace's, for example: input and output together."""
    limiter = ts.HeaderRateLimiter()
    told = limits(input_tokens=(10**6, 10**6), output_tokens=(10**6, 10**6), tokens=(6000, 400))
    await answered(limiter, permit(100, max_tokens=100), told)
    # 100 are held back for what the first is still to produce.
    assert await waited(limiter, permit(100, max_tokens=100)) == 0
    assert await waited(limiter, permit(100, max_tokens=100)) == pytest.approx(1.0)


async def test_what_was_not_produced_is_given_back(autojump_clock):
    """After a storm a rate of one's own must not be used up by answers that never were."""
    limiter = ts.HeaderRateLimiter(output_tokens_per_minute=6000)
    for _ in range(50):
        request = permit(max_tokens=400)
        assert await waited(limiter, request) == 0
        limiter.observe(request, limits())
        limiter.release(request)


async def test_rates_of_ones_own(autojump_clock):
    limiter = ts.HeaderRateLimiter(requests_per_minute=60)
    began = trio.current_time()
    for number in range(100):
        request = permit()
        await limiter.acquire(request)
        if number == 0:
            limiter.observe(request, limits(requests=(10**6, 10**6)))
    assert trio.current_time() - began == pytest.approx(99, rel=0.01)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_rates_that_cannot_be(rate):
    with pytest.raises(ValueError, match="positive"):
        ts.HeaderRateLimiter(output_tokens_per_minute=rate)


async def test_a_cancelled_wait_takes_nothing(autojump_clock):
    limiter = ts.HeaderRateLimiter()
    first = permit()
    await limiter.acquire(first)
    limiter.observe(first, limits(requests=(60, 1)))
    await limiter.acquire(permit())
    for _ in range(5):
        with trio.move_on_after(0.1):
            await limiter.acquire(permit())
    assert await waited(limiter, permit()) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "params, tokens",
    [
        ({"messages": [{"role": "user", "content": "x" * 4000}]}, 1005),
        ({"messages": [{"content": [{"type": "image", "source": {"data": "x" * 10**6}}]}]}, 1603),
        (
            {"messages": [{"content": [{"type": "document", "source": {"type": "base64", "data": "x" * 10**6}}]}]},
            10_000,
        ),
        ({}, 1),
        ({"messages": [msgspec.Raw(b"x" * 400)]}, 102),
        ({"messages": [{"role": "user", "content": "x" * 400, "number": 5}]}, 107),
    ],
    ids=["text", "image", "document", "nothing", "JSON already", "a number"],
)
def test_estimates(params, tokens):
    assert estimate_input_tokens(params) == pytest.approx(tokens, rel=0.02)


class Counting(ts.RateLimiter):
    """A limiter of somebody else."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def acquire(self, permit: ts.Permit) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append("acquire")

    def observe(self, permit: ts.Permit, limits: ts.RateLimits) -> None:
        if permit.began_at is None:
            assert permit.usage is None
            self.calls.append(f"error {limits.requests.remaining}")
            return
        assert permit.usage is not None
        self.calls.append("ended" if permit.ended else f"began {limits.requests.remaining}")

    def penalise(self, permit: ts.Permit, error: ts.APIError) -> None:
        assert isinstance(error, ts.RateLimitError)
        assert error.rate_limits is not None
        self.calls.append(f"penalise {error.rate_limits.requests.remaining}")

    def release(self, permit: ts.Permit) -> None:
        self.calls.append("release")


async def test_a_limiter_of_ones_own_is_told_everything(autojump_clock):
    limiter = Counting()
    remaining = headers({"anthropic-ratelimit-requests-remaining": "17"})
    client, _ = client_of(
        [http_error(429, headers={"anthropic-ratelimit-requests-remaining": "0"})],
        [http_error(529, headers={"anthropic-ratelimit-requests-remaining": "1"})],
        [http_error(500, headers=NO_LIMITS)],
        [remaining, say("x")],
    )
    await ts.gather_texts(client, ["a"], limiter=limiter, **PARAMS)
    assert limiter.calls == [
        *("acquire", "penalise 0", "release"),
        *("acquire", "error 1", "release"),
        *("acquire", "release"),
        *("acquire", "began 17", "ended", "release"),
    ]


async def test_a_limiter_of_ones_own_need_not_know_of_pauses(autojump_clock):
    client, _ = client_of([http_error(429, retry_after=5)])
    async with ts.fan_out(client, ["a"], limiter=Counting(), **PARAMS) as results:
        await trio.sleep(1)
        assert results.stats.paused_until is None
        assert [outcome.status async for outcome in results] == ["ok"]


async def test_answers_that_tell_nothing_teach_nothing(autojump_clock):
    """No usage, no events, no estimate to compare with: the next request is paced as if there had been none."""
    limiter = ts.HeaderRateLimiter(input_tokens_per_minute=600, output_tokens_per_minute=600)
    silent = permit(input_tokens=0, max_tokens=50)
    await answered(limiter, silent, ts.RateLimits())
    silent.ended = True
    limiter.observe(silent, ts.RateLimits())
    limiter.release(silent)
    empty = permit(input_tokens=0, max_tokens=50)
    empty.usage = ts.Usage(input_tokens=0, output_tokens=0)
    await answered(limiter, empty, ts.RateLimits())
    empty.ended = True
    limiter.observe(empty, ts.RateLimits())
    limiter.release(empty)
    # A bucket of ten seconds, 100 tokens, is what a request of 100 tokens finds or waits for.
    assert await waited(limiter, permit(input_tokens=100, max_tokens=1)) <= 10
