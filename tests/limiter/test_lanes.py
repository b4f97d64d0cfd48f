"""Two lanes in front of one limit: who goes first, what is kept for whom, and what a cancelled request leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import cancel_everywhere


def permit(lane: ts.Lane = "interactive", tokens: int = 100, **more: Any) -> ts.Permit:
    return ts.Permit(input_tokens=tokens, max_tokens=more.pop("max_tokens", 10), lane=lane, **more)


def batch(tokens: int = 100, **more: Any) -> ts.Permit:
    return permit("batch", tokens, **more)


async def begin(limiter: ts.RateLimiter, *, model: str = "", **limits: tuple[int, int]) -> None:
    """An answer that tells limits: ``kind=(limit, remaining)``."""
    first = permit(tokens=0, model=model)
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    told = {kind: ts.RateLimit(limit=limit, remaining=left) for kind, (limit, left) in limits.items()}
    limiter.observe(first, ts.RateLimits(**told))
    limiter.release(first)


class Order:
    """Who was let through, in order, and when."""

    def __init__(self, limiter: ts.RateLimiter) -> None:
        self.limiter = limiter
        self.names: list[str] = []
        self.moments: list[float] = []

    async def ask(self, name: str, request: ts.Permit) -> None:
        await self.limiter.acquire(request)
        self.names.append(name)
        self.moments.append(trio.current_time())

    async def all(self, *requests: tuple[str, ts.Permit]) -> list[str]:
        """Let them ask one after another, and wait for all."""
        async with trio.open_nursery() as nursery:
            for name, request in requests:
                nursery.start_soon(self.ask, name, request)
                await trio.testing.wait_all_tasks_blocked()
        return self.names


async def seconds(act: Callable[[], Awaitable[object]]) -> float:
    began = trio.current_time()
    await act()
    return trio.current_time() - began


# Who goes first.


async def test_first_come_first_served_in_each_lane_and_people_first(autojump_clock):
    """Whatever they need."""
    limiter = ts.HeaderRateLimiter(floor=0.0)
    await begin(limiter, input_tokens=(6000, 0))
    order = Order(limiter)
    requests = [
        ("b1", batch(900)),
        ("b2", batch(100)),
        ("i1", permit(tokens=800)),
        ("b3", batch(10)),
        ("i2", permit(tokens=10)),
        ("i3", permit(tokens=500)),
    ]
    assert await order.all(*requests) == ["i1", "i2", "i3", "b1", "b2", "b3"]
    assert limiter.waiting() == 0


async def test_a_person_who_comes_overtakes_the_next_item(autojump_clock):
    """Also while that sleeps until its time."""
    limiter = ts.HeaderRateLimiter(floor=0.0)
    await begin(limiter, input_tokens=(6000, 0))
    order = Order(limiter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(order.ask, "item", batch(500))
        await trio.sleep(4.9)
        nursery.start_soon(order.ask, "person", permit(tokens=500))
    assert order.names == ["person", "item"]
    assert order.moments[1] - order.moments[0] == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("tokens", [1000, 1100, 3000])
async def test_two_fan_outs_get_the_same_number_of_turns(tokens, autojump_clock):
    """Before there was a queue, items of 1,100 tokens beside 1,000 got 47 turns in the first minute, and then none."""
    limiter = ts.HeaderRateLimiter()
    await begin(limiter, input_tokens=(100_000, 100_000))
    turns = {"small": 0, "large": 0}

    async def work(name: str, size: int) -> None:
        while True:
            request = batch(size)
            await limiter.acquire(request)
            turns[name] += 1
            limiter.release(request)

    with trio.move_on_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, "small", 1000)
            nursery.start_soon(work, "large", tokens)
    assert turns["small"] == pytest.approx(turns["large"], abs=1)
    assert turns["small"] + turns["large"] == pytest.approx(2 * 600_000 / (1000 + tokens), rel=0.02)


# What is kept for people.


@pytest.mark.parametrize("kind", ["input_tokens", "output_tokens", "tokens", "requests"])
async def test_a_batch_leaves_the_reserve_of_each_bucket(kind, autojump_clock):
    """People may use it."""
    limiter = ts.HeaderRateLimiter(reserve=0.25)
    await begin(limiter, **{kind: (60, 60)})
    amounts = {"input_tokens": (1, 0), "output_tokens": (0, 1), "tokens": (1, 0), "requests": (0, 0)}[kind]
    taken = 0
    with trio.move_on_after(0.01):
        while True:
            await limiter.acquire(batch(amounts[0], max_tokens=amounts[1]))
            taken += 1
    assert taken == 45
    for _ in range(15):
        assert await seconds(lambda: limiter.acquire(permit(tokens=amounts[0], max_tokens=amounts[1]))) == 0
    assert await seconds(lambda: limiter.acquire(permit(tokens=amounts[0], max_tokens=amounts[1]))) == pytest.approx(
        1, abs=0.02
    )
    # All that was used of the reserve has to be there again before the next item.
    assert await seconds(lambda: limiter.acquire(batch(amounts[0], max_tokens=amounts[1]))) == pytest.approx(
        16, abs=0.1
    )


async def test_an_item_that_needs_more_than_the_reserve_leaves_waits_for_a_full_bucket(autojump_clock):
    """And not for ever."""
    limiter = ts.HeaderRateLimiter(reserve=0.25)
    await begin(limiter, input_tokens=(6000, 0))
    assert await seconds(lambda: limiter.acquire(batch(5000))) == pytest.approx(60)


@pytest.mark.parametrize("burst", [0.1, 0.5, 1.0, 3.0])
async def test_where_bursts_are_short_the_reserve_is_a_share_of_them(burst, autojump_clock):
    """As the time of `reset` tells. A batch that waited for more than there can be would be slowed down by each item."""
    limiter = ts.HeaderRateLimiter(reserve=0.2)
    first = permit(tokens=0)
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    full = datetime.now(UTC) + timedelta(seconds=60 * burst)
    limiter.observe(first, ts.RateLimits(input_tokens=ts.RateLimit(limit=6000, remaining=0, reset=full)))
    reserve = 0.2 * 6000 * min(burst, 1.0)
    assert await seconds(lambda: limiter.acquire(batch(100))) == pytest.approx((100 + reserve) / 100, abs=0.1)


async def test_a_reset_of_another_time_says_nothing(autojump_clock):
    """Of a recording, or of a machine whose clock is wrong."""
    limiter = ts.HeaderRateLimiter(reserve=0.2)
    first = permit(tokens=0)
    await limiter.acquire(first)
    first.began_at = trio.current_time()
    past = datetime.now(UTC) - timedelta(hours=1)
    limiter.observe(first, ts.RateLimits(input_tokens=ts.RateLimit(limit=6000, remaining=10, reset=past)))
    assert await seconds(lambda: limiter.acquire(batch(100))) == pytest.approx((100 + 1200 - 10) / 100, abs=0.1)


async def test_an_item_that_is_larger_than_the_bucket_waits_for_no_reserve_of_tokens(autojump_clock):
    """It is sent at once, as ever: no waiting helps it."""
    limiter = ts.HeaderRateLimiter(reserve=0.25)
    await begin(limiter, input_tokens=(6000, 0))
    large = batch(7000)
    assert await seconds(lambda: limiter.acquire(large)) == 0
    assert large.oversize


# What is kept for a batch.


async def flood(limiter: ts.HeaderRateLimiter, *, minutes: int = 20, model: str = "") -> tuple[float, float]:
    """More people than the limit is enough for, beside a batch: tokens a minute of either."""
    tokens = {"person": 0, "item": 0}

    async def work(name: str, lane: ts.Lane, size: int, model: str) -> None:
        while True:
            request = permit(lane, size, max_tokens=0, model=model)
            await limiter.acquire(request)
            tokens[name] += size
            limiter.release(request)

    with trio.move_on_after(60 * minutes):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(work, "person", "interactive", 10_000, "")
            nursery.start_soon(work, "item", "batch", 1000, model)
    return tokens["person"] / minutes, tokens["item"] / minutes


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.3])
async def test_a_flood_leaves_the_floor_of_the_tokens(floor, autojump_clock):
    """Of the tokens: of the requests a tenth would be one item for nine people."""
    limiter = ts.HeaderRateLimiter(reserve=0.1, floor=floor)
    await begin(limiter, input_tokens=(100_000, 0))
    people, items = await flood(limiter)
    assert people + items == pytest.approx(100_000, rel=0.1)
    assert items / (people + items) == pytest.approx(floor, abs=0.01)


async def test_people_who_hardly_wait_leave_the_floor_too(autojump_clock):
    """They use up what the reserve is filled with, so an item that waited for it would wait for ever."""
    limiter = ts.HeaderRateLimiter(reserve=0.1, floor=0.1)
    await begin(limiter, input_tokens=(100_000, 5_000))
    items = 0
    waits: list[float] = []

    async def people() -> None:
        while True:
            request = permit(tokens=950)
            began = trio.current_time()
            await limiter.acquire(request)
            waits.append(trio.current_time() - began)
            limiter.release(request)
            await trio.sleep(0.6)

    with trio.move_on_after(600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people)
            while True:
                await limiter.acquire(batch(1000))
                items += 1
    assert items == pytest.approx(100, abs=10)
    assert max(waits) < 1.3  # as long as the tokens of one and of an item take, and not those of the reserve


@pytest.mark.parametrize("own", [False, True], ids=["the API's limits", "rates of one's own"])
async def test_what_is_owed_is_not_saved_up(own, autojump_clock):
    """A batch that comes after an hour of people has not been kept waiting."""
    limiter = ts.HeaderRateLimiter(floor=0.5, input_tokens_per_minute=60_000 if own else None)
    await begin(limiter, input_tokens=(60_000, 60_000))
    for _ in range(100):
        await limiter.acquire(permit(tokens=100))
    await limiter.acquire(permit(tokens=49_990))
    order = Order(limiter)
    people = [(f"i{number}", permit(tokens=1000)) for number in range(3)]
    items = [(f"b{number}", batch(1000, model="other" if own else "")) for number in range(2)]
    assert await order.all(*items, *people) == ["i0", "b0", "i1", "b1", "i2"]


# Pauses, models, and rates of one's own.


async def test_a_pause_holds_all(autojump_clock):
    """Both lanes, and every model."""
    limiter = ts.HeaderRateLimiter(rng=lambda: 0.0)
    refused = permit(model="a")
    await limiter.acquire(refused)
    limiter.penalise(refused, ts.RateLimitError("x", status_code=429, retry_after=20))
    limiter.release(refused)
    order = Order(limiter)
    began = trio.current_time()
    await order.all(("b", batch(model="a")), ("i", permit(model="a")), ("other", permit(model="b")))
    assert order.moments == [began + 20] * 3
    assert order.names.index("i") < order.names.index("b")


async def test_a_rate_of_ones_own_has_the_lanes_of_all_models(autojump_clock):
    """People who ask one model go before the items for another."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=60, floor=0.0)
    await limiter.acquire(permit())
    order = Order(limiter)
    requests = [
        ("b1", batch(model="a")),
        ("b2", batch(model="b")),
        ("i1", permit(model="b")),
        ("i2", permit(model="c")),
        ("b3", batch(model="a")),
    ]
    assert await order.all(*requests) == ["i1", "i2", "b1", "b2", "b3"]


async def test_a_rate_of_ones_own_leaves_the_floor_to_the_batch_of_another_model(autojump_clock):
    """The limit is shared, and so is what is kept of it."""
    limiter = ts.HeaderRateLimiter(input_tokens_per_minute=100_000, floor=0.2)
    people, items = await flood(limiter, model="other")
    assert items / (people + items) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("refused", [False, True], ids=["by an answer", "by a refusal"])
async def test_whoever_is_held_back_again_does_not_hold_up_others(refused, autojump_clock):
    """Two models wait for a rate of one's own. Then an answer says that the API has no room for the one that is next."""
    limiter = ts.HeaderRateLimiter(requests_per_minute=6, rng=lambda: 0.0)
    first = permit(model="a")
    await limiter.acquire(first)
    began = first.began_at = trio.current_time()
    order = Order(limiter)

    async def observe() -> None:
        await trio.sleep(5)
        told = ts.RateLimits(requests=ts.RateLimit(limit=1, remaining=0))
        if refused:
            limiter.penalise(first, ts.RateLimitError("x", status_code=429, retry_after=30, rate_limits=told))
        else:
            limiter.observe(first, told)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(observe)
        nursery.start_soon(order.ask, "a1", permit(model="a"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(order.ask, "a2", permit(model="a"))
        nursery.start_soon(order.ask, "b", permit(model="b"))
    assert order.names == ["b", "a1", "a2"]
    assert [moment - began for moment in order.moments] == pytest.approx([35 if refused else 10, 65, 125], abs=0.2)


# Leaving.


async def test_who_is_cancelled_already_takes_nothing(autojump_clock):
    """Although there is room."""
    limiter = ts.HeaderRateLimiter()
    await begin(limiter, requests=(60, 1))
    with trio.CancelScope() as scope:
        scope.cancel(reason="the test")
        await limiter.acquire(permit())
    assert scope.cancelled_caught
    assert await seconds(lambda: limiter.acquire(permit())) == 0


async def test_the_end_of_a_request_without_an_answer_lets_another_one_through(autojump_clock):
    """As long as nothing is known, a few are under way."""
    limiter = ts.HeaderRateLimiter()
    first = [permit() for _ in range(8)]
    for request in first:
        await limiter.acquire(request)
    order = Order(limiter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(order.ask, "the ninth", permit())
        await trio.sleep(10)
        assert order.names == []
        limiter.release(first[0])
        await trio.testing.wait_all_tasks_blocked()
        assert order.names == ["the ninth"]


async def test_a_cancelled_request_leaves_its_lane_without_a_trace(autojump_clock):
    """From the front, the middle and the end; the others go when they would have gone without it."""
    limiter = ts.HeaderRateLimiter()
    await begin(limiter, requests=(60, 0))
    order = Order(limiter)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(6)]

        async def ask(number: int) -> None:
            with scopes[number]:
                await order.ask(str(number), batch() if number % 2 else permit())

        for number in range(6):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        assert (limiter.waiting("interactive"), limiter.waiting("batch"), limiter.waiting()) == (3, 3, 6)
        for number in (0, 3, 4):
            scopes[number].cancel(reason="the test")
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.waiting() == 3
    assert order.names == ["2", "1", "5"]
    assert [moment - began for moment in order.moments] == pytest.approx([1, 2, 3])
    assert limiter.waiting() == 0


@pytest.mark.parametrize("own", [False, True], ids=["the API's limits", "rates of one's own"])
async def test_cancelled_at_every_step_nothing_is_lost_and_nobody_starves(own, autojump_clock):
    """Whoever was cancelled has taken nothing or gives it back, and the next one is told."""
    limiter = ts.HeaderRateLimiter(reserve=0.2, floor=0.2, requests_per_minute=120 if own else None)
    for model in "ab":
        await begin(limiter, model=model, requests=(120, 2))
    taken = 0

    async def fn() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(one, "interactive" if number % 2 else "batch", "ab"[number // 2])

    async def one(lane: ts.Lane, model: str) -> None:
        nonlocal taken
        request = permit(lane, model=model)
        await limiter.acquire(request)
        taken += 1
        limiter.release(request)

    async def check() -> None:
        nonlocal taken
        assert limiter.waiting() == 0
        # All that the buckets have is there for whoever comes next, and no more than that.
        for model in "ab":
            for lane in ("batch", "interactive"):
                with trio.fail_after(60):
                    await one(lane, model)
        taken = 0

    with trio.fail_after(100_000):
        assert await cancel_everywhere(fn, check) > 20


async def test_a_cancelled_crowd_gives_back_every_place(autojump_clock):
    """After a thousand cancellations exactly as much is let through as if nobody had been there."""
    limiter = ts.HeaderRateLimiter()
    await begin(limiter, requests=(60, 0))

    async def come_and_go(number: int) -> None:
        with trio.move_on_after(0.0005 * number):
            await limiter.acquire(batch() if number % 2 else permit())
            raise AssertionError("there was nothing to be had")

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(come_and_go, number)
    began = trio.current_time()
    for _ in range(10):
        await limiter.acquire(batch())
    assert trio.current_time() - began == pytest.approx(10 - 0.5, abs=0.01)


# Options.


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["reserve", "floor"])
def test_shares_that_cannot_be(name, share):
    """With all of it in reserve a batch could send nothing ever."""
    with pytest.raises(ValueError, match=f"{name} must be a share"):
        ts.HeaderRateLimiter(**{name: share})


def test_there_are_two_lanes():
    """A third is a mistake."""
    with pytest.raises(ValueError, match="lane must be 'interactive' or 'batch', not 'urgent'"):
        permit("urgent")  # type: ignore[arg-type]
