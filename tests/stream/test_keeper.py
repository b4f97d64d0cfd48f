"""One task for the clocks of many streams: the same clocks, the same errors, as with a task for each."""

from __future__ import annotations

import pytest
import trio

import trio_stream as ts
from trio_stream._stream import ClockKeeper
from trio_stream.testing import pause, say, stall

from .api import PARAMS, client_of
from .test_clocks import SLOW_PINGS


@pytest.fixture
def keeper(nursery):
    keeper = ClockKeeper()
    nursery.start_soon(keeper.watch)
    return keeper


@pytest.mark.parametrize(
    ("script", "timeouts", "error", "after"),
    [
        ([say("Hello"), stall()], {"silence": 2}, ts.SilenceTimeoutError, 2),
        ([say("Hello"), *SLOW_PINGS], {"stall": 2, "silence": 1}, ts.StallTimeoutError, 2),
        ([say("Hello"), *SLOW_PINGS], {"total": 3}, ts.TotalTimeoutError, 3),
    ],
)
async def test_each_clock(script, timeouts, error, after, keeper, autojump_clock):
    client, api = client_of(script, timeout=ts.Timeouts(**timeouts))
    began = trio.current_time()
    with pytest.raises(error) as caught:
        async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
            assert stream.nursery.child_tasks == frozenset()
            await stream.until_done()
    assert trio.current_time() - began == pytest.approx(after, abs=0.51)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"
    assert api.open_streams == 0
    assert not keeper._watched


async def test_each_stream_by_its_own(keeper, autojump_clock):
    """Also one that is due before those that were there already, and one whose clock is set back all the time."""
    ended: dict[str, float] = {}

    async def one(name: str, **timeouts: float) -> None:
        script = [say(*["x", pause(0.4)] * 50)] if name == "lively" else [say("x"), stall()]
        client, _ = client_of(script, timeout=ts.Timeouts(**timeouts))
        try:
            async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
                await stream.until_done()
        except ts.APITimeoutError as error:
            name += f" {error.clock}"
        ended[name] = trio.current_time() - began

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: one("late", silence=8.0))
        nursery.start_soon(lambda: one("lively", silence=0.5))
        await trio.sleep(1)
        nursery.start_soon(lambda: one("early", silence=2.0))
    assert ended == pytest.approx({"early silence": 3, "late silence": 8, "lively": 20}, abs=0.1)
    assert next(iter(ended)) == "early silence"


async def test_a_slow_consumer_and_one_that_polls(keeper, autojump_clock):
    client, _ = client_of([say("one ", pause(0.5), "two")], [say("Hello"), stall()], timeout=ts.Timeouts(silence=1))
    async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
        async for _ in stream:
            await trio.sleep(30)
    assert stream.text == "one two"
    polls = 0
    with pytest.raises(ts.SilenceTimeoutError):
        async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
            while True:
                polls += 1
                with trio.move_on_after(0.1):
                    await stream.receive()
                await trio.sleep(5)
    assert 10 <= polls < 20


async def test_the_clocks_of_a_fan_out(autojump_clock):
    client, api = client_of([say("half", stall())], [say("half", *SLOW_PINGS)], [say("half", *SLOW_PINGS)])
    for timeouts, error in (
        ({"silence": 5}, ts.SilenceTimeoutError),
        ({"stall": 5}, ts.StallTimeoutError),
        ({"total": 5}, ts.TotalTimeoutError),
    ):
        [outcome] = await ts.gather_outcomes(
            client, ["q"], max_attempts=1, timeout=ts.Timeouts(**timeouts), model="m", max_tokens=10
        )
        assert (type(outcome.error), outcome.text) == (error, "half")
        assert outcome.seconds == pytest.approx(5, abs=0.51)
    assert api.open_streams == 0


# A stream without a task of its own, left by cancellation: nobody makes a group of it.


async def test_an_outer_cancellation_goes_on(keeper, autojump_clock):
    client, api = client_of([say("Hello"), stall()])
    after = False
    with trio.move_on_after(1) as scope:
        async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
            await stream.until_done()
        after = True
    assert scope.cancelled_caught
    assert not after
    assert (stream.text, api.open_streams) == ("Hello", 0)


@pytest.mark.parametrize("shield", [False, True])
async def test_its_own_cancellation_ends_the_block(shield, keeper, autojump_clock):
    client, _ = client_of([say("Hello"), stall()])
    after = False
    with trio.CancelScope() as outer:
        async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
            stream.nursery.cancel_scope.shield = shield
            stream.cancel("enough")
            if shield:
                outer.cancel(reason="the test")
            await stream.until_done()
        after = True
    assert after
    assert stream.cancel_reason == "enough"


async def test_both_cancellations_at_once(keeper, autojump_clock):
    client, _ = client_of([say("Hello"), stall()])
    with trio.CancelScope() as outer:
        async with client.messages.stream(**PARAMS)._kept_by(keeper) as stream:
            stream.cancel("enough")
            outer.cancel(reason="the test")
            await stream.until_done()
    assert outer.cancelled_caught
