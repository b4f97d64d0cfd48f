"""The limiter of a named actor, without Ray: its account, and a fake of the actor."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_stream as ts
import trio_stream.ray._limiter as limiter_module
from trio_stream._limiter import Permit
from trio_stream.ray import ActorRateLimiter
from trio_stream.ray._lease_office import Amounts, LeaseOffice
from trio_stream.testing import ScriptedAPI, cancel_everywhere, http_error, say

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 256}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# The account.


def test_an_office_leases_what_the_rate_allows() -> None:
    """Ten seconds' worth at once, and then so much a second, in the order of asking."""
    clock = Clock()
    office = LeaseOffice((60.0, None, None), clock)
    assert office.lease((10.0, 1e9, 1e9)) == 0
    assert [office.lease((10.0, 0.0, 0.0)) for _ in range(3)] == [10, 20, 30]
    clock.now += 25
    assert office.lease((10.0, 0.0, 0.0)) == 15
    clock.now += 1000
    assert office.lease((10.0, 0.0, 0.0)) == 0


def test_every_rate_of_an_office_counts() -> None:
    for place in range(3):
        rates = tuple(60.0 if place == other else 1e9 for other in range(3))
        office = LeaseOffice(rates, Clock())  # type: ignore[arg-type]
        assert office.lease((10.0, 10.0, 10.0)) == 0
        assert office.lease((10.0, 10.0, 10.0)) == 10


def test_what_is_given_back_is_leased_again() -> None:
    office = LeaseOffice((60.0, 60.0, 60.0), Clock())
    office.lease((10.0, 10.0, 10.0))
    office.lease((-5.0, -5.0, -10.0))
    assert office.lease((5.0, 5.0, 5.0)) == 0
    assert office.lease((0.0, 0.0, 6.0)) == 1


def test_more_than_the_office_ever_has_is_leased_late() -> None:
    office = LeaseOffice((6.0, None, None), Clock())
    assert office.lease((10.0, 0.0, 0.0)) == 0
    assert office.lease((10.0, 0.0, 0.0)) == 100


def test_a_pause_holds_for_all() -> None:
    clock = Clock()
    office = LeaseOffice((60.0, None, None), clock)
    office.pause(30.0)
    office.pause(5.0)
    assert office.lease((1.0, 0.0, 0.0)) == 30
    clock.now += 31
    assert office.lease((1.0, 0.0, 0.0)) == 0


# The limiter.


class Reply:
    def __init__(self, future: Future[float]) -> None:
        self._future = future

    def future(self) -> Future[float]:
        return self._future


class Method:
    def __init__(self, call: Callable[..., Future[float]]) -> None:
        self.call = call

    def remote(self, *args: Any) -> Reply:
        return Reply(self.call(*args))


class FakeActor:
    """A handle of an actor; it answers when the test says so, or at once."""

    def __init__(self, office: LeaseOffice | None = None, *, error: Exception | None = None) -> None:
        self.office = office
        self.error = error
        self.leases: list[Amounts] = []
        self.pauses: list[float] = []
        self.waiting: list[Future[float]] = []
        self.lease = Method(self._lease)
        self.pause = Method(self._pause)

    def _lease(self, amounts: Amounts) -> Future[float]:
        self.leases.append(amounts)
        future: Future[float] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        elif self.office is not None:
            future.set_result(self.office.lease(amounts))
        else:
            self.waiting.append(future)
        return future

    def _pause(self, seconds: float) -> Future[float]:
        self.pauses.append(seconds)
        if self.office is not None:
            self.office.pause(seconds)
        return Future()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[FakeActor]:
    """The actors of that name, one after another as they are lost."""
    actors: list[FakeActor] = []
    started = itertools.count()
    monkeypatch.setattr(limiter_module, "_connect", lambda settings: actors[next(started)])
    return actors


async def test_permits_are_leased_by_tens(named: list[FakeActor], autojump_clock: object) -> None:
    named.append(FakeActor(LeaseOffice((600.0, None, None), trio.current_time)))
    limiter = ActorRateLimiter("a", requests_per_minute=600)
    api = ScriptedAPI(default=[say("fine")])
    async with ts.Client(api_key="test", transport=api) as client:
        await ts.gather_texts(client, ["q"] * 300, limiter=limiter, **PARAMS)
    assert len(named[0].leases) == 30
    # A hundred at once, and the others ten a second.
    assert 19 <= api.requests[-1].at - api.requests[0].at <= 22


@pytest.mark.no_cover
async def test_all_actors_together_stay_below_the_rate(named: list[FakeActor], autojump_clock: object) -> None:
    """Six of them, each with a copy; and what answers really use is what counts."""
    office = LeaseOffice((None, None, 60_000.0), trio.current_time)
    named.extend([FakeActor(office)] * 6)
    api = ScriptedAPI(default=[say("word " * 100)])

    tokens = 0

    async def actor() -> None:
        nonlocal tokens
        limiter = ActorRateLimiter("a", output_tokens_per_minute=60_000)
        async with ts.Client(api_key="test", transport=api) as client:
            for outcome in await ts.gather_outcomes(client, ["q"] * 100, limiter=limiter, **PARAMS):
                assert outcome.usage is not None
                tokens += outcome.usage.output_tokens

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(actor)
    seconds = api.requests[-1].at - api.requests[0].at
    assert tokens > 50_000
    # A thousand a second, the first ten seconds' worth at once.
    assert 0.95 * (tokens / 1000 - 10) <= seconds <= 1.05 * (tokens / 1000)


async def test_a_pause_that_one_is_told_holds_for_all(named: list[FakeActor], autojump_clock: object) -> None:
    office = LeaseOffice((60_000.0, None, None), trio.current_time)
    named.extend(FakeActor(office) for _ in range(2))
    refused, other = (ActorRateLimiter("a", requests_per_minute=60_000, per_lease=1) for _ in range(2))
    api = ScriptedAPI([http_error(429, retry_after=40)], default=[say("fine")])
    async with ts.Client(api_key="test", transport=api) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ts.gather_texts(client, ["q"], limiter=refused, **PARAMS))
            await trio.sleep(1)
            began_at = trio.current_time()
            await ts.gather_texts(client, ["q"], limiter=other, **PARAMS)
            assert 38 <= trio.current_time() - began_at <= 40
    assert named[0].pauses == [40]
    # What was refused is given back with the next.
    assert named[0].leases[1][0] == 0


async def test_a_wait_that_is_cancelled_takes_nothing(named: list[FakeActor], autojump_clock: object) -> None:
    """Neither while the named actor is asked, nor before the lease is good."""
    actor = FakeActor()
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=60, per_lease=2)
    for _ in range(2):
        with trio.move_on_after(1) as scope:
            await limiter.acquire(Permit(input_tokens=5, max_tokens=10))
        assert scope.cancelled_caught
    assert len(actor.leases) == 1, "one is asked for at a time"
    actor.waiting.pop().set_result(30.0)
    await wait_all_tasks_blocked()
    began_at = trio.current_time()
    with trio.move_on_after(1):
        await limiter.acquire(Permit(input_tokens=5, max_tokens=10))
    permits = [Permit(input_tokens=5, max_tokens=10) for _ in range(2)]
    for permit in permits:
        await limiter.acquire(permit)
    assert trio.current_time() - began_at == pytest.approx(30.0)
    assert len(actor.leases) == 1


async def test_what_was_leased_and_not_used_is_given_back(named: list[FakeActor], autojump_clock: object) -> None:
    actor = FakeActor(LeaseOffice((6000.0, None, None), trio.current_time))
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=6000, per_lease=1)
    for _ in range(2):
        permit = Permit(input_tokens=5, max_tokens=10)
        await limiter.acquire(permit)
        limiter.release(permit)
        limiter.release(permit)
    assert actor.leases == [(1.0, 5.0, 10.0), (1.0, 0.0, 0.0)]


async def test_another_actor_takes_the_place_of_one_that_is_lost(
    named: list[FakeActor], autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    office = LeaseOffice((60.0, None, None), trio.current_time)
    named.extend([FakeActor(error=OSError("lost")), FakeActor(office)])
    limiter = ActorRateLimiter("a", requests_per_minute=60)
    await limiter.acquire(Permit(input_tokens=5, max_tokens=10))
    assert named[0].leases == named[1].leases
    assert [record.getMessage() for record in caplog.records] == ["the actor 'a' is lost; another takes its place"]


async def test_if_they_are_lost_again_and_again_it_is_said(named: list[FakeActor], autojump_clock: object) -> None:
    error = OSError("lost")
    named.extend(FakeActor(error=error) for _ in range(4))
    limiter = ActorRateLimiter("a", requests_per_minute=60)
    for _ in range(2):
        with pytest.raises(OSError, match="lost") as raised:
            await limiter.acquire(Permit(input_tokens=5, max_tokens=10))
        assert raised.value is error
    named.append(FakeActor(error=error))


async def test_if_no_other_can_be_started_it_is_said(named: list[FakeActor], autojump_clock: object) -> None:
    named.append(FakeActor(error=OSError("lost")))
    limiter = ActorRateLimiter("a", requests_per_minute=60)
    with pytest.raises(IndexError):  # the fake's own way to have no other
        await limiter.acquire(Permit(input_tokens=5, max_tokens=10))


async def test_an_answer_after_the_end_of_the_loop_is_nobodys(named: list[FakeActor]) -> None:
    actor = FakeActor()
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=60)

    async def leave_early() -> None:
        with trio.move_on_after(0.01):
            await limiter.acquire(Permit(input_tokens=5, max_tokens=10))

    await trio.to_thread.run_sync(trio.run, leave_early)
    actor.waiting.pop().set_result(0.0)


async def test_people_get_the_next_permit_and_in_a_lane_first_come_is_first_served(
    named: list[FakeActor], autojump_clock: object
) -> None:
    """However many items wait for the lease."""
    named.append(FakeActor(LeaseOffice((60.0, None, None), trio.current_time)))
    limiter = ActorRateLimiter("a", requests_per_minute=60, per_lease=1, floor=0.0)
    came: list[str] = []

    async def ask(name: str, lane: ts.Lane) -> None:
        permit = Permit(input_tokens=5, max_tokens=10, lane=lane)
        await limiter.acquire(permit)
        limiter.release(permit)
        came.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(14):
            nursery.start_soon(ask, f"item {number}", "batch")
            await wait_all_tasks_blocked()
        assert came == [f"item {number}" for number in range(10)]
        assert (limiter.waiting(), limiter.waiting("batch"), limiter.waiting("interactive")) == (4, 4, 0)
        for number in range(2):
            nursery.start_soon(ask, f"person {number}", "interactive")
            await wait_all_tasks_blocked()
    assert came[10:] == ["person 0", "person 1", "item 10", "item 11", "item 12", "item 13"]


async def test_people_who_come_all_the_time_leave_the_floor(named: list[FakeActor], autojump_clock: object) -> None:
    named.append(FakeActor(LeaseOffice((60.0, None, None), trio.current_time)))
    limiter = ActorRateLimiter("a", requests_per_minute=60, per_lease=1, floor=0.2)
    count = {"batch": 0, "interactive": 0}

    async def ask(lane: ts.Lane) -> None:
        while True:
            permit = Permit(input_tokens=5, max_tokens=10, lane=lane)
            await limiter.acquire(permit)
            limiter.release(permit)
            count[lane] += 1

    with trio.move_on_after(120):
        async with trio.open_nursery() as nursery:
            for lane in ("batch", "interactive", "interactive"):
                nursery.start_soon(ask, lane)
    assert sum(count.values()) >= 120
    assert count["batch"] / sum(count.values()) == pytest.approx(0.2, abs=0.03)


async def test_cancelled_at_every_step_no_permit_is_lost(named: list[FakeActor], autojump_clock: object) -> None:
    office = LeaseOffice((60_000.0, None, None), trio.current_time)
    named.append(FakeActor(office))
    limiter = ActorRateLimiter("a", requests_per_minute=60_000, per_lease=3)
    taken = 0

    async def one(lane: ts.Lane) -> None:
        nonlocal taken
        request = Permit(input_tokens=5, max_tokens=10, lane=lane)
        await limiter.acquire(request)
        taken += 1
        try:
            await trio.sleep(1)
        finally:
            limiter.release(request)

    async def crowd() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, "interactive" if number % 2 else "batch")

    async def check() -> None:
        assert limiter.waiting() == 0
        for _ in range(4):
            await one("batch")
        assert 0 <= 3 * len(named[0].leases) - taken <= 3, "a lease is asked for when the one before has been used up"

    assert await cancel_everywhere(crowd, check) > 10


def test_it_goes_on_in_the_next_run(named: list[FakeActor]) -> None:
    """A lease that was asked for in a run that is over is asked for again; one that is good later is waited for."""
    actor = FakeActor()
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=60, per_lease=2)

    def run(function: Callable[[], Awaitable[float]], begins_at: float) -> float:
        clock = MockClock(autojump_threshold=0)
        clock.jump(begins_at)
        return trio.run(function, clock=clock)

    async def acquire(*, answer: bool) -> float:
        began_at = trio.current_time()
        with trio.move_on_after(1 if not answer else math.inf):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(limiter.acquire, Permit(input_tokens=5, max_tokens=10))
                await wait_all_tasks_blocked()
                if answer:
                    actor.waiting.pop().set_result(30.0)
        return trio.current_time() - began_at

    assert run(lambda: acquire(answer=False), 1e6) == 1.0
    assert run(lambda: acquire(answer=True), 5.0) == pytest.approx(30.0)
    assert len(actor.leases) == 2

    async def again() -> float:
        began_at = trio.current_time()
        await limiter.acquire(Permit(input_tokens=5, max_tokens=10))
        return trio.current_time() - began_at

    assert run(again, 1e5) == 0.0
    assert len(actor.leases) == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"requests_per_minute": 5, "reserve": 1},
        {"requests_per_minute": 5, "floor": -0.1},
        {"requests_per_minute": 0},
        {"input_tokens_per_minute": -1},
        {"output_tokens_per_minute": math.inf},
        {"requests_per_minute": 5, "per_lease": 0},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rate|per_lease|share"):
        ActorRateLimiter("a", **options)


class Handle:
    """What can be pickled, as a handle of Ray's can."""


def test_it_can_be_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "_connect", lambda settings: Handle())
    limiter = ActorRateLimiter("a", requests_per_minute=5)
    again = pickle.loads(pickle.dumps(limiter))
    assert isinstance(again, ActorRateLimiter)
    assert again.__getstate__()[0] == limiter.__getstate__()[0]


def test_without_ray_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError):
        ActorRateLimiter("a", requests_per_minute=5)


async def test_a_permit_is_kept_when_the_wait_for_the_headers_is_cancelled(
    named: list[FakeActor], autojump_clock: object
) -> None:
    actor = FakeActor(LeaseOffice((60_000.0, None, None), trio.current_time))
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=60_000, per_lease=2)
    api = ScriptedAPI([http_error(429, retry_after=40)], default=[say("fine")])
    async with ts.Client(api_key="test", transport=api) as client:
        with trio.move_on_after(5):
            await ts.gather_texts(client, ["q"], limiter=limiter, **PARAMS)
        assert limiter.paused_until is not None
        assert await ts.gather_texts(client, ["q"], limiter=limiter, **PARAMS) == ["fine"]
    assert limiter.paused_until is None
    assert len(api.requests) == 2
    assert len(actor.leases) == 1


async def test_permits_that_are_given_back_while_a_lease_is_asked_for_are_kept(
    named: list[FakeActor], autojump_clock: object
) -> None:
    """One of the two is taken at once, and the other is there beside the next lease."""
    actor = FakeActor()
    named.append(actor)
    limiter = ActorRateLimiter("a", requests_per_minute=60, per_lease=2)
    scopes = [trio.CancelScope() for _ in range(2)]

    async def acquire() -> Permit:
        permit = Permit(input_tokens=5, max_tokens=10)
        await limiter.acquire(permit)
        return permit

    async def give_up(scope: trio.CancelScope) -> None:
        with scope:
            await acquire()

    async def answer() -> None:
        await wait_all_tasks_blocked()
        actor.waiting.pop().set_result(0.0)
        await wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire)
        await answer()
    limiter.penalise(await acquire(), ts.RateLimitError("429", status_code=429, retry_after=10))
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(give_up, scope)
        await answer()
        nursery.start_soon(acquire)
        await wait_all_tasks_blocked()
        assert len(actor.leases) == 3
        for scope in scopes:
            scope.cancel(reason="the test")
        await answer()
    for _ in range(3):
        with trio.fail_after(1):
            await acquire()
    assert len(actor.leases) == 3
