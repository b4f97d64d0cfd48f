"""One limiter in several runs of Trio: one after another it goes on, at the same time it is refused."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream._errors import APIStatusError
from trio_stream.testing import ScriptedAPI, say

REFUSAL = APIStatusError("refused", status_code=429, retry_after=40)


def clock_at(time: float) -> trio.testing.MockClock:
    """Trio's own begins at a random number in each run."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(time)
    return clock


def permit(tokens: int = 100) -> ts.Permit:
    return ts.Permit(input_tokens=tokens, max_tokens=10)


async def seconds(limiter: ts.RateLimiter, times: int = 1, *, tokens: int = 100) -> float:
    began_at = trio.current_time()
    for _ in range(times):
        request = permit(tokens)
        await limiter.acquire(request)
        limiter.release(request)
    return trio.current_time() - began_at


@pytest.mark.parametrize("begins_at", [[9e5, 3.0, 5e5], [3.0, 9e5, 1e4]], ids=["back", "forth"])
def test_a_rate_of_ones_own_holds_over_all_runs(begins_at):
    """A script that calls `trio.run` for each of its questions."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=60)
    first, *more = (trio.run(seconds, limiter, 10, clock=clock_at(at)) for at in begins_at)
    assert first == pytest.approx(9, abs=0.2)
    assert more == pytest.approx([10, 10], abs=0.2)


@pytest.mark.parametrize("begins_at", [3.0, 9e5], ids=["back", "forth"])
def test_a_pause_holds_in_the_next_run(begins_at):
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)

    async def refused() -> None:
        request = permit()
        await limiter.acquire(request)
        limiter.penalise(request, REFUSAL)
        limiter.release(request)
        await trio.sleep(10)
        assert limiter.paused_until == trio.current_time() + 30

    async def again() -> float:
        assert limiter.paused_until == pytest.approx(trio.current_time() + 30, abs=0.5)
        return await seconds(limiter)

    trio.run(refused, clock=clock_at(5e4))
    assert trio.run(again, clock=clock_at(begins_at)) == pytest.approx(30, abs=0.5)
    assert trio.run(seconds, limiter, clock=clock_at(5e4)) == 0


def test_what_the_headers_told_is_kept_to_in_the_next_run():
    """And how long answers take is learned from one run, not across two."""
    limiter = ts.HeaderRateLimiter()

    async def answered() -> None:
        request = permit(0)
        await limiter.acquire(request)
        request.began_at = trio.current_time()
        limiter.observe(request, ts.RateLimits(input_tokens=ts.RateLimit(limit=6000, remaining=0)))
        limiter.release(request)

    trio.run(answered, clock=clock_at(7e5))
    assert trio.run(lambda: seconds(limiter, tokens=1000), clock=clock_at(2.0)) == pytest.approx(10, abs=0.2)


@contextmanager
def another_run(limiter: ts.RateLimiter) -> Generator[trio.lowlevel.TrioToken]:
    """A run of Trio in another thread, which has used the limiter."""
    tokens: list[trio.lowlevel.TrioToken] = []
    used, over = threading.Event(), trio.Event()

    async def main() -> None:
        await seconds(limiter)
        tokens.append(trio.lowlevel.current_trio_token())
        used.set()
        await over.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    used.wait()
    try:
        yield tokens[0]
    finally:
        tokens[0].run_sync_soon(over.set)
        thread.join()


def test_two_runs_at_once_are_refused():
    """Whoever waits would be woken in the wrong thread, and Trio would end with an internal error."""
    limiter = ts.HeaderRateLimiter()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="this limiter is in use in another run of Trio"):
            await limiter.acquire(permit())
        with pytest.raises(RuntimeError, match="this limiter is in use in another run of Trio"):
            assert limiter.paused_until
        async with ts.Client(api_key="k", transport=ScriptedAPI(default=[say("x")]), limiter=limiter) as client:
            with pytest.raises(RuntimeError, match="this limiter is in use in another run of Trio"):
                await ts.gather_outcomes(client, ["Hi"], model="claude-sonnet-5-5", max_tokens=5)

    with another_run(limiter):
        trio.run(main)
    assert trio.run(seconds, limiter) < 5


def test_a_run_that_was_inherited_by_a_fork_is_over(monkeypatch):
    """It goes on in the parent. In the child nobody waits behind who waits there."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=60)

    async def wait_in_the_parent() -> None:
        for _ in range(100):
            await limiter.acquire(permit())

    with another_run(limiter) as token:
        token.run_sync_soon(lambda: trio.lowlevel.spawn_system_task(wait_in_the_parent) and None)
        while not limiter.waiting():
            time.sleep(0.001)
        monkeypatch.setattr(os, "getpid", lambda: 0)
        assert 0 <= trio.run(seconds, limiter, clock=clock_at(5.0)) < 5
        assert limiter.waiting() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_crashed_is_over():
    """Trio itself failed (`trio.TrioInternalError`): everything is closed, but nobody noted that it is over."""
    limiter = ts.HeaderRateLimiter()

    async def crash() -> None:
        await seconds(limiter)
        with trio.move_on_after(0):
            await trio.lowlevel.wait_task_rescheduled(lambda _: None)  # type: ignore[arg-type,return-value]

    with pytest.raises(trio.TrioInternalError):
        trio.run(crash)
    assert trio.run(seconds, limiter) < 5
    gc.collect()  # what it has left is not noticed by another test
