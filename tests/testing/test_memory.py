"""Answers in memory: when bytes arrive, what a cancellation loses (nothing), how waiting ends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio
import trio.testing

from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream.testing import ScriptedAPI, Step, disconnect, headers, pause, raw, say, stall, stop
from trio_stream.testing._memory import ConnectionCut, ScriptedBody
from trio_stream.testing._requests import RecordedRequest

from .answers import BODY, KEY, events, kinds


def request_to(api: ScriptedAPI) -> RecordedRequest:
    import json

    content = json.dumps(BODY).encode()
    return api.record(method="POST", path="/v1/messages", params={}, headers=KEY.items(), content=content)


async def open_body(*steps: Step) -> tuple[ScriptedAPI, ScriptedBody]:
    api = ScriptedAPI(steps)
    _, body = await api.answer(request_to(api))
    return api, body


async def read_all(body: ScriptedBody) -> bytes:
    parts: list[bytes] = []
    while data := await body.receive_some():
        parts.append(data)
    return b"".join(parts)


async def test_bytes_arrive_when_they_are_due(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    _, body = await open_body(say("a b c", ttft=0.2, tps=10))
    times: list[float] = []
    assert trio.current_time() - start == pytest.approx(0.2)
    while await body.receive_some():
        times.append(trio.current_time() - start)
    assert times == pytest.approx([0.2, 0.3, 0.4])
    body.finish()


async def test_a_slow_reader_finds_what_became_due(autojump_clock: trio.testing.MockClock) -> None:
    _, body = await open_body(say("a b c d e f", tps=10))
    await trio.sleep(10)
    assert kinds(events(await body.receive_some()))[-1] == "message_stop"
    assert await body.receive_some() == b""
    assert await body.receive_some() == b""
    body.finish()


async def test_what_has_arrived_is_taken_without_a_checkpoint() -> None:
    _, body = await open_body(say("a"))
    with trio.testing.assert_no_checkpoints():
        assert await body.receive_some()
        assert await body.receive_some() == b""
    body.finish()


async def test_a_cancelled_wait_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    steps = [say("one two three", tps=1), say("four", ttft=1)]
    _, whole = await open_body(*steps)
    expected = await read_all(whole)
    whole.finish()
    _, body = await open_body(*steps)
    parts: list[bytes] = []
    cancelled = 0
    while True:
        with trio.move_on_after(0.3) as scope:
            data = await body.receive_some()
            if not data:
                break
            parts.append(data)
        cancelled += scope.cancelled_caught
    assert b"".join(parts) == expected
    assert cancelled > 6
    body.finish()


async def test_close_wakes_the_one_who_waits(autojump_clock: trio.testing.MockClock) -> None:
    api, body = await open_body(headers(), stall())
    assert api.open_streams == 1

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await body.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await body.receive_some()
        await trio.sleep(1000)
        with trio.testing.assert_no_checkpoints():
            await body.aclose()
    assert api.open_streams == 0
    with pytest.raises(trio.ClosedResourceError):
        await body.receive_some()
    [request] = api.requests
    assert request.closed_by == "close"
    assert request.closed_at == trio.current_time()
    assert api.disconnects == [request]


async def test_the_first_of_finish_and_close_counts() -> None:
    api, body = await open_body(say("x"))
    body.finish()
    body.close()
    assert api.requests[0].closed_by == "finish"
    assert api.open_streams == 0
    assert api.disconnects == []


def test_a_body_can_be_closed_after_the_run() -> None:
    api, body = trio.run(open_body, say("x"))
    body.close()
    assert api.open_streams == 0
    assert api.requests[0].closed_at is None


@pytest.mark.parametrize(
    ("end", "error"),
    [(disconnect(), IncompleteStreamError), (disconnect(reset=True), APIConnectionError)],
)
async def test_cut_answers(end: Step, error: type[Exception]) -> None:
    api, body = await open_body(say("x"), end)
    assert events(await body.receive_some())
    for _ in range(2):
        with pytest.raises(error):
            await body.receive_some()
    body.close()
    assert api.disconnects == []  # it was the server's doing


async def test_a_clean_end_in_the_middle_of_a_message() -> None:
    _, body = await open_body(say("x"), disconnect(clean=True))
    assert kinds(events(await read_all(body)))[-1] == "content_block_delta"
    body.close()


@pytest.mark.parametrize("reset", [True, False])
async def test_cut_before_the_head(reset: bool) -> None:
    api = ScriptedAPI([disconnect(reset=reset)])
    with pytest.raises(ConnectionCut) as caught:
        await api.answer(request_to(api))
    assert caught.value.reset is reset
    assert api.open_streams == 0
    api.assert_done()


async def test_waiting_for_the_head_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI([stall(), say("never")], [pause(5), say("late")])
    for _ in range(2):
        with trio.move_on_after(1) as scope:
            await api.answer(request_to(api))
        assert scope.cancelled_caught
    assert [request.closed_at for request in api.requests] == [1.0, 2.0]
    assert api.disconnects == api.requests
    assert api.open_streams == 0
    api.assert_done()


async def test_waiting_for_the_head_is_a_checkpoint() -> None:
    api = ScriptedAPI([pause(0), say("x")])
    with trio.testing.assert_checkpoints():
        _, body = await api.answer(request_to(api))
    body.close()


async def test_one_read_of_an_endless_answer_is_bounded() -> None:
    api = ScriptedAPI(raw(b"x" * 1000) for _ in iter(int, 1))
    _, body = await api.answer(request_to(api))
    assert 60_000 < len(await body.receive_some()) < 70_000
    body.close()


async def test_a_mistake_in_a_script_is_not_an_end() -> None:
    def steps() -> Iterable[Step]:
        yield say("x")
        yield stop()
        yield say("too late")

    api = ScriptedAPI(steps())
    _, body = await api.answer(request_to(api))
    for _ in range(2):
        with pytest.raises(ValueError, match="after the end"):
            await body.receive_some()
    body.close()


async def test_two_tasks_cannot_wait_at_once() -> None:
    _, body = await open_body(say("a"), stall())
    while body.receive_nowait():
        pass
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await body.wait()
        nursery.cancel_scope.cancel(reason="seen")
    body.close()
