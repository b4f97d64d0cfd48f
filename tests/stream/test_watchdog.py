"""One task for the clocks of all streams of a client: in whose nursery it is, and that none goes unwatched."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import pause, say, stall

from .api import PARAMS, client_of
from .test_clocks import SLOW_PINGS


def hosts(*streams: ts.MessageStream) -> list[int]:
    """Which of these streams have the watchdog in their nursery."""
    return [n for n, stream in enumerate(streams) if stream.nursery.child_tasks]


async def test_it_moves_when_its_stream_is_left(autojump_clock):
    client, _ = client_of(*[[say("Hello"), stall()]] * 6, timeout=ts.Timeouts(silence=5))
    began = trio.current_time()
    with pytest.raises(ts.SilenceTimeoutError):
        async with client.messages.stream(**PARAMS) as first:
            async with client.messages.stream(**PARAMS) as second:
                assert hosts(first, second) == [0]
                async with client.messages.stream(**PARAMS) as third:
                    await first.aclose()
                    await trio.testing.wait_all_tasks_blocked()
                    assert hosts(first, second, third) == [2]
                    third.cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert hosts(first, second) == [1]
                await second.until_done()
    assert trio.current_time() - began == pytest.approx(5, abs=0.1)
    # The next stream finds nobody there.
    async with client.messages.stream(**PARAMS) as stream:
        assert hosts(stream) == [0]


async def test_it_moves_when_its_stream_is_cancelled(autojump_clock):
    """Also while the cancelled ones, which cannot have it any more, are held up."""
    client, _ = client_of(*[[say("Hello"), stall()]] * 6, timeout=ts.Timeouts(silence=5))
    ended: list[float] = []

    async def held_up() -> None:
        async with client.messages.stream(**PARAMS) as stream:
            try:
                await stream.until_done()
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 100):
                    await trio.sleep(50)

    async def reads() -> None:
        with pytest.raises(ts.SilenceTimeoutError):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
        ended.append(trio.current_time() - began)

    began = trio.current_time()
    async with trio.open_nursery() as nursery, trio.open_nursery() as cancelled:
        for task in (held_up, held_up, reads, held_up, held_up):
            (nursery if task is reads else cancelled).start_soon(task)
            await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel(reason="the test")
    assert ended == [pytest.approx(5, abs=0.1)]


async def test_all_that_could_have_it_are_cancelled(autojump_clock):
    """It stays with one of them, and watches the next stream too."""
    client, _ = client_of(*[[say("Hello"), stall()]] * 6, timeout=ts.Timeouts(silence=5))
    with trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS), client.messages.stream(**PARAMS):
            scope.cancel(reason="the test")
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 100):
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                with pytest.raises(ts.SilenceTimeoutError):
                    async with client.messages.stream(**PARAMS) as shielded:
                        assert hosts(shielded) == []
                        await shielded.until_done()
                assert trio.current_time() - began == pytest.approx(5, abs=0.1)


async def test_two_runs_of_one_client():
    """The second begins anew, whatever time it was in the first."""
    client, _ = client_of(*[[say("Hello"), stall()]] * 6, timeout=ts.Timeouts(silence=5))

    async def run() -> float:
        began = trio.current_time()
        with pytest.raises(ts.SilenceTimeoutError):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
        return trio.current_time() - began

    def in_a_run_of_its_own() -> float:
        return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))

    for _ in range(2):
        assert await trio.to_thread.run_sync(in_a_run_of_its_own) == pytest.approx(5, abs=0.1)


async def test_each_stream_by_its_own_clocks(autojump_clock):
    """Also one that is due before those that were there already, and one whose clock is set back all the time."""
    client, _ = client_of([say("x"), stall()], [say(*["x", pause(0.4)] * 50)], [say("x"), *SLOW_PINGS])
    ended: dict[str, float] = {}

    async def one(name: str, timeouts: ts.Timeouts) -> None:
        try:
            async with client.messages.stream(**PARAMS, timeout=timeouts) as stream:
                await stream.until_done()
        except ts.APITimeoutError as error:
            name += f" {error.clock}"
        ended[name] = trio.current_time() - began

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name, timeouts in (
            ("late", ts.Timeouts(silence=8)),
            ("lively", ts.Timeouts(silence=0.5)),
            ("early", ts.Timeouts(silence=5, stall=2)),
        ):
            nursery.start_soon(one, name, timeouts)
            await trio.testing.wait_all_tasks_blocked()
    assert ended == pytest.approx({"early stall": 2, "late silence": 8, "lively": 20}, abs=0.6)
    assert next(iter(ended)) == "early stall"


async def test_a_slow_consumer_and_one_that_polls(autojump_clock):
    client, _ = client_of([say("one ", pause(0.5), "two")], [say("Hello"), stall()], timeout=ts.Timeouts(silence=1))
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            await trio.sleep(30)
    assert stream.text == "one two"
    polls = 0
    with pytest.raises(ts.SilenceTimeoutError):
        async with client.messages.stream(**PARAMS) as stream:
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


# Left by cancellation, with the watchdog in the stream's nursery and without any task in it: then nobody makes a group.

WITHOUT_AND_WITH = pytest.mark.parametrize("silence", [None, 300.0])


@WITHOUT_AND_WITH
async def test_an_outer_cancellation_goes_on(silence, autojump_clock):
    client, api = client_of([say("Hello"), stall()], timeout=ts.Timeouts(silence=silence))
    after = False
    with trio.move_on_after(1) as scope:
        async with client.messages.stream(**PARAMS) as stream:
            assert hosts(stream) == ([] if silence is None else [0])
            await stream.until_done()
        after = True
    assert scope.cancelled_caught
    assert not after
    assert (stream.text, api.open_streams) == ("Hello", 0)


@WITHOUT_AND_WITH
@pytest.mark.parametrize("shield", [False, True])
async def test_its_own_cancellation_ends_the_block(shield, silence, autojump_clock):
    client, _ = client_of([say("Hello"), stall()], timeout=ts.Timeouts(silence=silence))
    after = False
    with trio.CancelScope() as outer:
        async with client.messages.stream(**PARAMS) as stream:
            assert hosts(stream) == ([] if silence is None else [0])
            stream.nursery.cancel_scope.shield = shield
            stream.cancel("enough")
            if shield:
                outer.cancel(reason="the test")
            await stream.until_done()
        after = True
    assert after
    assert stream.cancel_reason == "enough"


@WITHOUT_AND_WITH
async def test_both_cancellations_at_once(silence, autojump_clock):
    client, _ = client_of([say("Hello"), stall()], timeout=ts.Timeouts(silence=silence))
    with trio.CancelScope() as outer:
        async with client.messages.stream(**PARAMS) as stream:
            assert hosts(stream) == ([] if silence is None else [0])
            stream.cancel("enough")
            outer.cancel(reason="the test")
            await stream.until_done()
    assert outer.cancelled_caught


CLOCKS = [
    pytest.param(ts.Timeouts(silence=5), ts.SilenceTimeoutError, [stall()], id="silence"),
    pytest.param(ts.Timeouts(stall=5), ts.StallTimeoutError, SLOW_PINGS, id="stall"),
    pytest.param(ts.Timeouts(total=5), ts.TotalTimeoutError, [pause(1), say("x")] * 20, id="total"),
]


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("began_before", [True, False], ids=["the wait began before", "the wait begins after"])
@pytest.mark.parametrize("how", ["stream.cancel", "outer scope", "the nursery's scope", "a failing child"])
@pytest.mark.parametrize(("timeouts", "kind", "rest"), CLOCKS)
async def test_clocks_run_on_for_a_reader_in_a_shield(timeouts, kind, rest, how, began_before, others, autojump_clock):
    """Whatever cancels the stream's nursery: the task that watches is no victim of it."""
    client, _ = client_of(*[[say("Hello"), *rest]] * 3, timeout=timeouts)
    seen: list[BaseException] = []

    async def read_on(stream: ts.MessageStream) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 100), pytest.raises(kind) as caught:
            await stream.until_done()
        seen.append(caught.value)

    async def fail() -> None:
        raise ZeroDivisionError

    def cancel(stream: ts.MessageStream, outer: trio.CancelScope) -> None:
        if how == "stream.cancel":
            stream.cancel()
        elif how == "outer scope":
            outer.cancel(reason="the test")
        elif how == "a failing child":
            stream.nursery.start_soon(fail)
        else:
            stream.nursery.cancel_scope.cancel(reason="the test")

    began = trio.current_time()
    with trio.CancelScope() as outer:
        try:
            async with contextlib.AsyncExitStack() as before:
                for _ in range(others):
                    await before.enter_async_context(client.messages.stream(**PARAMS))
                async with client.messages.stream(**PARAMS) as stream:
                    if began_before:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(read_on, stream)
                            await trio.testing.wait_all_tasks_blocked()
                            cancel(stream, outer)
                    else:
                        cancel(stream, outer)
                        await read_on(stream)
        except ZeroDivisionError:
            assert how == "a failing child"
    assert trio.current_time() - began == pytest.approx(5, abs=0.2)
    assert len(seen) == 1


async def test_cancelled_streams_are_left_at_once(autojump_clock):
    """The task that does not mind a cancellation ends with the stream all the same."""
    client, _ = client_of(*[[say("Hello"), stall()]] * 3, timeout=ts.Timeouts(silence=5))
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(1):
        async with client.messages.stream(**PARAMS), client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
    assert trio.current_time() == pytest.approx(1, abs=0.1)
    assert trio.lowlevel.current_statistics().tasks_living == before
