"""The limiter that listens to headers, by itself and behind a fan-out."""

from __future__ import annotations

import pytest
import trio

import trio_stream as ts
from trio_stream.batch._limiter import estimate_input_tokens
from trio_stream.testing import headers, http_error, say

from .api import PARAMS, client_of


def permit(input_tokens: int = 100, max_tokens: int = 100) -> ts.Permit:
    return ts.Permit(input_tokens=input_tokens, max_tokens=max_tokens)


def limits(**remaining: tuple[int, int]) -> ts.RateLimits:
    """``kind=(limit, remaining)``."""
    return ts.RateLimits(**{k: ts.RateLimit(limit=limit, remaining=left) for k, (limit, left) in remaining.items()})


async def waited(limiter: ts.RateLimiter, request: ts.Permit) -> float:
    began = trio.current_time()
    await limiter.acquire(request)
    return trio.current_time() - began


def refusal(retry_after: float | None) -> ts.RateLimitError:
    return ts.RateLimitError("x", status_code=429, retry_after=retry_after)


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


async def test_refusals_without_retry_after_pause_longer_and_longer(autojump_clock):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    pauses = []
    for _ in range(7):
        request = permit()
        pauses.append(await waited(limiter, request))
        limiter.penalise(request, refusal(None))
        limiter.penalise(request, refusal(None))  # of the same wave
        limiter.release(request)
    assert pauses == [0, 0.5, 1, 2, 4, 8, 8]


async def test_rates_of_ones_own(autojump_clock):
    limiter = ts.HeaderRateLimiter(requests_per_minute=60)
    began = trio.current_time()
    for number in range(100):
        request = permit()
        await limiter.acquire(request)
        if number == 0:
            limiter.observe(request, limits(requests=(10**6, 10**6)))
    assert trio.current_time() - began == pytest.approx(90)


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
    ],
    ids=["text", "image", "document", "nothing"],
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
        assert permit.usage is not None
        self.calls.append("ended" if permit.ended else f"began {limits.requests.remaining}")

    def penalise(self, permit: ts.Permit, error: ts.APIError) -> None:
        self.calls.append(f"penalise {type(error).__name__}")

    def release(self, permit: ts.Permit) -> None:
        self.calls.append("release")


async def test_a_limiter_of_ones_own_is_told_everything(autojump_clock):
    limiter = Counting()
    remaining = headers({"anthropic-ratelimit-requests-remaining": "17"})
    client, _ = client_of([http_error(429)], [http_error(529)], [remaining, say("x")])
    await ts.gather_texts(client, ["a"], limiter=limiter, **PARAMS)
    assert limiter.calls == [
        *("acquire", "penalise RateLimitError", "release"),
        *("acquire", "release"),
        *("acquire", "began 17", "ended", "release"),
    ]
