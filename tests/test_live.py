"""`Live`: what every call is doing at any moment."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

import trio_stream as ts
from trio_stream import LiveState
from trio_stream.testing import ScriptedAPI, Step, call, disconnect, http_error, pause, ping, say, stall, think

PARAMS: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "hello there"}],
}


async def follow(live: ts.Live, script: list[Step], *more: list[Step], **options: Any) -> None:
    """One call to its end."""
    api = ScriptedAPI(script, *more)
    async with ts.Client(api_key="k", transport=api, instruments=[live], **options) as client:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()


async def test_the_states_of_a_call(autojump_clock: trio.testing.MockClock) -> None:
    """Waiting, streaming, backing off: each with how long it has been quiet, and nothing is left at the end."""
    live = ts.Live()
    script = [[pause(3), http_error(529, retry_after=4)], [say("one two three four", ttft=2, tps=1), pause(9)]]
    async with trio.open_nursery() as nursery:
        assert live.snapshot().calls == ()
        nursery.start_soon(lambda: follow(live, *script))
        await trio.sleep(1)
        (waiting,) = live.snapshot().calls
        assert (waiting.state, waiting.quiet, waiting.age, waiting.attempts) == (LiveState.WAITING, 1, 1, 1)
        assert (waiting.item, waiting.lane, waiting.model) == (None, "interactive", "claude-opus-5")
        assert (waiting.error, waiting.back_off, waiting.tokens_per_second) == (None, None, None)
        await trio.sleep(3)
        (backing_off,) = live.snapshot().calls
        assert (backing_off.state, backing_off.error) == (LiveState.BACKING_OFF, "OverloadedError")
        assert backing_off.back_off == pytest.approx(3, abs=0.5)
        assert live.snapshot().models[0].retries == 1
        await trio.sleep(8)
        snapshot = live.snapshot()
        (streaming,) = snapshot.calls
        assert (streaming.state, streaming.attempts, streaming.back_off) == (LiveState.STREAMING, 2, None)
        assert streaming.output_tokens > 0
        assert streaming.tokens_per_second is not None
        assert streaming.pace is None  # nothing is normal yet
        assert snapshot.models[0].states == {LiveState.STREAMING: 1}
        assert snapshot.models[0].tokens_per_second == streaming.tokens_per_second
        await trio.sleep(5)
        assert live.snapshot().calls[0].quiet >= 3
    after = live.snapshot()
    assert after.calls == ()
    assert after.models[0].outcomes == {ts.CallOutcome.COMPLETED: 1}
    assert after.models[0].normal is not None


async def test_pings_are_quiet(autojump_clock: trio.testing.MockClock) -> None:
    live = ts.Live()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: follow(live, [say("one", *[pause(10), ping()] * 5)]))
        await trio.sleep(45)
        assert live.snapshot().calls[0].quiet == 45


async def test_the_share_of_the_normal_speed(autojump_clock: trio.testing.MockClock) -> None:
    """A stream that slows down is told as a share of the median of complete answers, over the last seconds."""
    live = ts.Live()
    words = [f" word{number:03}" for number in range(200)]
    for _ in range(3):
        await follow(live, [think(*words[:20], tps=10), say(*words, tps=10), call("f", {"a": "b" * 80}, tps=10)])
    normal = live.snapshot().models[0].normal
    assert normal == pytest.approx(20, rel=0.1)  # each piece is two tokens
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: follow(live, [say(*words[:100], tps=10), say(*words, tps=0.5)]))
        await trio.sleep(9)
        assert live.snapshot().calls[0].pace == pytest.approx(1, rel=0.25)
        await trio.sleep(31)
        (slow,) = live.snapshot().calls
        assert slow.pace == pytest.approx(0.05, rel=0.4)
        assert slow.output_tokens == pytest.approx(232, rel=0.2)
        nursery.cancel_scope.cancel(reason="seen enough")
    assert live.snapshot().models[0].outcomes == {ts.CallOutcome.COMPLETED: 3, ts.CallOutcome.CANCELLED: 1}


async def test_the_quietest_first_and_items_by_name(autojump_clock: trio.testing.MockClock) -> None:
    """Calls of a fan-out have their item's id, and a pause of all is told."""
    live = ts.Live()

    def answer(request: Any) -> list[Step]:
        number = int(str(request.messages[-1]["content"])[-1])
        return [pause(number), say("a", " b"), stall()]

    items = [ts.Item({"messages": [{"role": "user", "content": f"n{n}"}]}, id=f"item-{n}") for n in range(4)]
    async with ts.Client(api_key="k", transport=ScriptedAPI(default=answer), instruments=[live]) as client:
        with trio.move_on_after(10):
            async with ts.fan_out(client, items, model="claude-opus-5", max_tokens=10, limit=4) as results:
                await trio.sleep(5)
                calls = live.snapshot().calls
                assert [one.item for one in calls] == ["item-0", "item-1", "item-2", "item-3"]
                assert [one.lane for one in calls] == ["batch"] * 4
                assert [one.quiet for one in calls] == [5, 4, 3, 2]
                async for _ in results:
                    pass
    assert live.snapshot().calls == ()


async def test_pauses(autojump_clock: trio.testing.MockClock) -> None:
    """While the API has all requests wait, the snapshot says for how long; at the end of the job nothing is left."""
    live = ts.Live()
    api = ScriptedAPI([http_error(429, retry_after=30)], default=[say("Hello")])
    async with ts.Client(api_key="k", transport=api, instruments=[live]) as client:
        async with ts.fan_out(client, ["one", "two"], model="claude-opus-5", max_tokens=10) as results:
            await trio.sleep(5)
            assert live.snapshot().paused == pytest.approx(26.5, abs=2)
            async for _ in results:
                pass
            assert live.snapshot().paused is None
    assert not live._paused


async def test_calls_that_began_before(autojump_clock: trio.testing.MockClock) -> None:
    """Moments of a call whose beginning was not told are ignored; failed calls only count."""
    live = ts.Live()
    moments: list[ts.Moment] = []
    api = ScriptedAPI([say("a", disconnect())])
    async with ts.Client(api_key="k", transport=api, instruments=[moments.append]) as client:
        with pytest.raises(ts.IncompleteStreamError):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
    for moment in moments[1:]:
        live(moment)
    assert live.snapshot().models == ()
    for moment in moments:
        live(moment)
    (model,) = live.snapshot().models
    assert (model.outcomes, model.normal) == ({ts.CallOutcome.FAILED: 1}, None)


async def test_an_answer_at_once_has_no_speed(autojump_clock: trio.testing.MockClock) -> None:
    live = ts.Live()
    await follow(live, [say("Hello there")])
    assert live.snapshot().models[0].normal is None


def test_clients_in_other_threads() -> None:
    """A snapshot can be taken while calls of other threads begin and end."""
    live = ts.Live()
    done = threading.Event()

    async def many() -> None:
        for _ in range(30):
            await follow(live, [say("Hello there")])

    def run() -> None:
        trio.run(many)
        done.set()

    async def watch() -> None:
        while not done.is_set():
            live.snapshot()
            await trio.lowlevel.checkpoint()

    thread = threading.Thread(target=run)
    thread.start()
    trio.run(watch)
    thread.join()

    async def look() -> ts.LiveSnapshot:
        return live.snapshot()

    assert trio.run(look).models[0].outcomes == {ts.CallOutcome.COMPLETED: 30}
