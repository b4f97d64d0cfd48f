"""The clocks of a stream, on `MockClock`: each names itself, measures waiting only, and keeps what arrived."""

from __future__ import annotations

import os
import time

import httpx
import pytest
import trio

import trio_stream as ts
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, MESSAGE, chunk, sse
from tests.wire.events import PING, TEXT
from tests.wire.server import Peer, serve
from trio_stream.testing import http_error, pause, ping, raw, say, stall, stop

from .api import PARAMS, client_of

SLOW_PINGS = [step for _ in range(200) for step in (pause(0.5), ping())]


@pytest.mark.parametrize(
    ("script", "timeouts", "error", "after", "text"),
    [
        ([stall()], {"first_event": 2}, ts.FirstEventTimeoutError, 2, None),
        ([pause(5), say("late")], {"first_event": 2}, ts.FirstEventTimeoutError, 2, None),
        ([raw(b": head\n\n"), stall()], {"silence": 2, "first_event": 60}, ts.SilenceTimeoutError, 2, None),
        ([say("Hello"), stall()], {"silence": 2}, ts.SilenceTimeoutError, 2, "Hello"),
        ([say("Hello"), *SLOW_PINGS], {"stall": 2, "silence": 1}, ts.StallTimeoutError, 2, "Hello"),
        ([say("Hello"), *SLOW_PINGS], {"total": 3}, ts.TotalTimeoutError, 3, "Hello"),
        ([pause(9), say("late")], {"total": 3}, ts.TotalTimeoutError, 3, None),
    ],
)
async def test_each_clock(script, timeouts, error, after, text, autojump_clock):
    client, api = client_of(script, timeout=ts.Timeouts(**timeouts))
    began = trio.current_time()
    with pytest.raises(error) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
    clock = error.clock
    assert isinstance(caught.value, ts.APITimeoutError)
    assert isinstance(caught.value, trio.TooSlowError)
    assert isinstance(caught.value, ts.APIConnectionError)
    assert str(caught.value).startswith(f"{clock}: ")
    assert caught.value.seconds == timeouts[clock]
    assert trio.current_time() - began == pytest.approx(after, abs=0.51)
    assert (caught.value.partial.text if caught.value.partial else None) == text
    assert api.open_streams == 0


async def test_pings_are_bytes_but_no_progress(autojump_clock):
    """Long thinking is silent but for pings: `silence` allows it, for ever by default."""
    client, _ = client_of([*SLOW_PINGS, say("done")], timeout=ts.Timeouts(silence=1))
    async with client.messages.stream(**PARAMS) as stream:
        assert await stream.get_final_text() == "done"


async def test_a_slow_consumer_is_not_the_network(autojump_clock):
    """The clocks of waiting do not run while nobody waits."""
    client, _ = client_of(
        [say("one "), pause(0.5), say("two "), pause(0.5), say("three")], timeout=ts.Timeouts(silence=1, stall=1)
    )
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            await trio.sleep(30)
    assert stream.message.text == "one two three"


async def test_polling_does_not_outwit_a_clock(autojump_clock):
    """Waits that were cancelled add up."""
    client, _ = client_of([say("Hello"), stall()], timeout=ts.Timeouts(silence=5))
    polls = 0
    with pytest.raises(ts.SilenceTimeoutError):
        async with client.messages.stream(**PARAMS) as stream:
            while True:
                polls += 1
                with trio.move_on_after(0.7):
                    await stream.receive()
    assert 7 <= polls < 60


async def test_total_is_raised_by_the_next_receive(autojump_clock):
    """`total` counts the consumer too, and does not interrupt the body."""
    client, api = client_of([say("Hello"), stall()], timeout=ts.Timeouts(total=5))
    async with client.messages.stream(**PARAMS) as stream:
        await stream.receive()
        await trio.sleep(20)
        assert api.open_streams == 0  # the connection is closed when the clock runs out, though nobody waits
        with pytest.raises(ts.TotalTimeoutError) as first:
            await stream.receive()
        with pytest.raises(ts.TotalTimeoutError) as second:
            await stream.receive()
    assert first.value is second.value
    assert first.value.partial is not None


async def test_total_does_not_touch_a_complete_message(autojump_clock):
    client, _ = client_of([say("Hello")], timeout=ts.Timeouts(total=5))
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
        await trio.sleep(20)
    assert stream.message.text == "Hello"


async def test_total_includes_retries(autojump_clock):
    client, _ = client_of(*[[http_error(529)]] * 9, max_retries=8, timeout=ts.Timeouts(total=4))
    began = trio.current_time()
    with pytest.raises(ts.TotalTimeoutError):
        async with client.messages.stream(**PARAMS):
            pass
    assert trio.current_time() - began == pytest.approx(4)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, ts.Timeouts(connect=5, send=5, first_event=5, silence=5)),
        (None, ts.Timeouts(connect=None, send=None, first_event=None, silence=None)),
        (float("inf"), ts.Timeouts(connect=None, send=None, first_event=None, silence=None)),
        (ts.Timeouts(stall=7), ts.Timeouts(stall=7)),
    ],
)
def test_timeouts_of(given, expected):
    assert ts.Timeouts.of(given) == expected


@pytest.mark.parametrize("bad", [True, "5", [1]])
def test_timeouts_of_refuses(bad):
    with pytest.raises(TypeError, match="timeout must be"):
        ts.Timeouts.of(bad)


@pytest.mark.parametrize("bad", [0, -1, float("nan")])
def test_timeouts_must_be_positive(bad):
    with pytest.raises(ValueError, match=r"Timeouts\.silence"):
        ts.Timeouts(silence=bad)


async def test_per_call_timeout(autojump_clock):
    client, _ = client_of([stall()])
    with pytest.raises(ts.FirstEventTimeoutError) as caught:
        async with client.messages.stream(**PARAMS, timeout=ts.Timeouts(first_event=1)):
            pass
    assert caught.value.may_have_been_accepted


async def test_a_stop_after_a_pause_still_completes(autojump_clock):
    client, _ = client_of([say("a"), pause(200), stop("end_turn")])
    async with client.messages.stream(**PARAMS) as stream:
        assert (await stream.get_final_message()).stop_reason == "end_turn"


async def test_the_clock_that_ran_out_keeps_its_name_after_a_stall_of_the_program():
    """A ping and a clock are due in the same turn: what the ping would set the clocks to is no longer of interest."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await trio.sleep(0.1)
        os.write(peer.tcp.socket.fileno(), chunk(b'event: ping\ndata: {"type": "ping"}\n\n'))
        time.sleep(0.15)  # noqa: ASYNC251 - this is the stall
        await peer.until_closed()

    timeouts = ts.Timeouts(first_event=None, silence=0.2, total=0.4)
    async with serve(script) as server:
        client = ts.Client(api_key="test-key", base_url=server.base_url, max_retries=0, timeout=timeouts)
        with pytest.raises(ts.SilenceTimeoutError):
            async with client.messages.stream(**PARAMS):
                pass


async def test_pings_without_end_before_the_first_event_let_others_run():
    """Decoding them takes longer than a task may run for, and the clock that runs then is not that of silence."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await trio.sleep(0.05)
        await peer.send(chunk(sse(PING) * 40_000), chunk(MESSAGE), LAST_CHUNK)

    timeouts = ts.Timeouts(first_event=100, silence=20)
    async with serve(script) as server, trio.open_nursery() as nursery:
        client = ts.Client(api_key="test-key", base_url=server.base_url, max_retries=0, timeout=timeouts)
        nursery.start_soon(others)
        async with client.messages.stream(**PARAMS) as stream:
            assert await stream.get_final_text() == TEXT
        assert turns > 10
        nursery.cancel_scope.cancel(reason="seen")


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_first_event_bounds_all_attempts_together(max_retries, autojump_clock):
    """No headers for ever: the clock runs out once, whatever the number of retries."""
    client, api = client_of(*[[stall()]] * 5, max_retries=max_retries, timeout=ts.Timeouts(first_event=600))
    began = trio.current_time()
    with pytest.raises(ts.FirstEventTimeoutError) as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert trio.current_time() - began == pytest.approx(600, abs=1)
    assert caught.value.may_have_been_accepted
    assert len(api.requests) == 1


async def test_first_event_counts_what_earlier_attempts_waited(autojump_clock):
    """And not the waits between them, which the server asked for."""
    refusal = [pause(4), http_error(529, "overloaded_error", headers={"retry-after": "30"})]
    client, api = client_of(refusal, refusal, [stall()], max_retries=5, timeout=ts.Timeouts(first_event=10))
    began = trio.current_time()
    with pytest.raises(ts.FirstEventTimeoutError):
        async with client.messages.stream(**PARAMS):
            pass
    assert trio.current_time() - began == pytest.approx(70, abs=1)
    assert len(api.requests) == 3


async def test_first_event_of_a_count_of_tokens(autojump_clock):
    asked: list[float] = []

    async def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(trio.current_time())
        await trio.sleep(400)
        return httpx.Response(503)

    client = ts.Client(api_key="k", transport=httpx.MockTransport(answer), max_retries=5)
    began = trio.current_time()
    with pytest.raises(ts.FirstEventTimeoutError) as caught:
        await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
    assert caught.value.may_have_been_accepted
    assert trio.current_time() - began == pytest.approx(600, abs=3)  # the wait between the two included
    assert len(asked) == 2
