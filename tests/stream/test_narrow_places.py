"""Places where two things happen at once, each found by looking for it."""

from __future__ import annotations

import signal
import traceback
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream._http import BODY_EXTENSION, ResponseBody
from trio_stream._protocol import EventStreamParser, MessageAccumulator
from trio_stream.testing import ScriptedAPI, http_error, pause, say, stall

from .api import PARAMS, client_of
from .test_message_stream import PARAMS_WITH_TOOL


def test_a_caught_interrupt_takes_nothing_with_it(monkeypatch):
    """Promise 3: a Ctrl-C between reading and keeping must not leave a hole in a complete message."""
    feed = EventStreamParser.feed
    calls = 0

    def feed_and_interrupt(self: EventStreamParser, data: bytes) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)
        return feed(self, data)

    monkeypatch.setattr(EventStreamParser, "feed", feed_and_interrupt)
    interrupts = 0

    async def main() -> str:
        nonlocal interrupts
        client, _ = client_of([say("I owe you ", pause(1), "NOT ", pause(1), "100 dollars")])
        async with client.messages.stream(**PARAMS) as stream:
            while True:
                try:
                    await stream.receive()
                except KeyboardInterrupt:
                    interrupts += 1
                except trio.EndOfChannel:
                    return stream.message.text

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == "I owe you NOT 100 dollars"
    assert interrupts == 1


async def test_closed_before_it_was_entered():
    client, api = client_of([say("x")])
    stream = await client.messages.create(**PARAMS, stream=True)
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.__aenter__()
    assert api.requests == []


class HookedBody(ResponseBody):
    """Gives one piece, calling a hook right before, and then waits."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.hook: Any = lambda: None
        self.closed = trio.Event()

    def receive_nowait(self) -> bytes | None:
        if self.closed.is_set():
            raise trio.ClosedResourceError
        if not self.data:
            return None
        data, self.data = self.data, b""
        self.hook()
        return data

    async def wait(self) -> None:
        await self.closed.wait()

    def close(self) -> None:
        self.closed.set()

    def finish(self) -> None:
        self.closed.set()


MESSAGE_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"x","role":"assistant",'
    b'"content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
)


def client_with(body: ResponseBody) -> ts.Client:
    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, extensions={BODY_EXTENSION: body}))
    return ts.Client(api_key="k", transport=transport, max_retries=0)


async def test_closed_in_the_moment_in_which_it_was_opened():
    body = HookedBody(MESSAGE_START)
    stream = await client_with(body).messages.create(**PARAMS, stream=True)
    body.hook = stream._stream.close_now
    with pytest.raises(trio.ClosedResourceError):
        await stream.__aenter__()
    assert body.closed.is_set()


async def test_closed_by_another_task_while_this_one_let_it_run(autojump_clock):
    client, _ = client_of([say("word " * 3000)])
    async with client.messages.stream(**PARAMS) as stream:

        async def close_soon() -> None:
            await stream.aclose()

        stream.nursery.start_soon(close_soon)
        with pytest.raises(trio.ClosedResourceError):
            await stream.until_done()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
async def test_an_interrupt_while_the_body_is_closed(interrupt):
    """Leaves through the nursery like any other exception: Trio's stack of nurseries stays whole."""

    class InterruptedBody(HookedBody):
        async def aclose(self) -> None:
            self.close()
            raise interrupt

    before = list(trio.lowlevel.current_task().child_nurseries)
    with pytest.raises(interrupt):
        async with client_with(InterruptedBody(MESSAGE_START)).messages.stream(**PARAMS):
            pass
    assert trio.lowlevel.current_task().child_nurseries == before


async def test_what_a_view_pulled_is_not_delivered_in_the_middle(autojump_clock):
    client, _ = client_of([say("a", pause(1), "b")])
    async with client.messages.stream(**PARAMS) as stream:
        assert await anext(stream.text_stream) == "a"
        event = await stream.receive()
        assert event.type == "content_block_delta"
        assert isinstance(event.delta, ts.TextDelta)
        assert event.delta.text == "b"


@pytest.mark.parametrize("view", ["text_stream", "until_done"])
async def test_a_cancelled_view_takes_no_event(view, autojump_clock):
    client, _ = client_of([say("a", pause(9), "b")])
    async with client.messages.stream(**PARAMS) as stream:
        for _ in range(3):
            await stream.receive()  # up to the delta of "a"; its text event is ready
        with trio.move_on_after(1) as scope:
            await (stream.until_done() if view == "until_done" else stream.thinking_stream.__anext__())
        assert scope.cancelled_caught
        assert (await stream.receive()).type == "text"


async def test_stall_counts_from_the_first_event(autojump_clock):
    client, _ = client_of([pause(5), say("a", pause(4), "b", pause(4), "c")], timeout=ts.Timeouts(stall=6))
    async with client.messages.stream(**PARAMS) as stream:
        assert await stream.get_final_text() == "abc"


async def test_stall_does_not_count_failed_attempts(autojump_clock):
    client, _ = client_of(
        [pause(4), http_error(529)], [say("a", pause(4), "b")], timeout=ts.Timeouts(stall=5), max_retries=1
    )
    async with client.messages.stream(**PARAMS) as stream:
        assert await stream.get_final_text() == "ab"


async def test_looking_at_message_keeps_the_traceback_of_the_error(autojump_clock):
    client, _ = client_of([say("Hel"), ts.testing.disconnect()])
    with pytest.raises(ts.IncompleteStreamError) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            try:
                await stream.until_done()
            finally:
                with pytest.raises(ts.IncompleteStreamError):
                    _ = stream.message
    assert "until_done" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


async def test_usage_joins_nothing(monkeypatch, autojump_clock):
    """Looking at the usage after every event costs no snapshot."""
    client, _ = client_of([say("word " * 50)])
    async with client.messages.stream(**PARAMS) as stream:
        with monkeypatch.context() as patch:
            patch.setattr(MessageAccumulator, "snapshot", lambda _: pytest.fail("a snapshot was built"))
            for _ in range(40):
                await stream.receive()
                assert stream.usage is not None


async def test_a_mixed_group_with_an_outer_cancellation(autojump_clock):
    """Both go on, in the same object, as they would from a nursery."""
    client, _ = client_of([say("x"), stall()])
    raised: list[BaseException] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        with trio.CancelScope() as scope:
            async with client.messages.stream(**PARAMS):
                scope.cancel(reason="test")
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as cancelled:
                    group = BaseExceptionGroup("both", [ValueError("x"), cancelled])
                    raised.append(group)
                    raise group from None
    assert scope.cancelled_caught
    assert caught.group_contains(ValueError)
    assert not caught.group_contains(trio.Cancelled)


async def test_total_keeps_what_is_known(autojump_clock):
    """The request id of the answer that was being opened, and the error of the attempt before it."""
    api = ScriptedAPI([http_error(529)], [ts.testing.headers(), stall()])
    client = ts.Client(api_key="k", transport=api, max_retries=3, timeout=ts.Timeouts(total=5))
    with pytest.raises(ts.TotalTimeoutError) as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert caught.value.request_id == api.requests[1].request_id
    assert isinstance(caught.value.__cause__, ts.OverloadedError)


async def test_after_a_cut_the_rest_waits_from_its_own_arrival(autojump_clock):
    client, _ = client_of([say("one", pause(0.9), " two. foo", pause(5), "bar")])
    times: list[tuple[str, float]] = []
    async with client.messages.stream(**PARAMS) as stream:
        began = trio.current_time()
        async for chunk in stream.text_chunks(at_punctuation=True, max_delay=1):
            times.append((chunk, round(trio.current_time() - began, 1)))
    assert [chunk for chunk, _ in times] == ["one two.", " foo", "bar"]
    assert times[1][1] == pytest.approx(1.9, abs=0.11)


async def test_longest_gap_is_the_networks(autojump_clock):
    client, _ = client_of([say("a", pause(0.5), "b")])
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            await trio.sleep(30)
    assert stream.stats.longest_gap < 1


@pytest.mark.parametrize(
    ("old", "options", "expected"),
    [
        ({"x-api-key": "HDR"}, {"api_key": "NEW"}, {"x-api-key": "NEW"}),
        ({"Authorization": "Bearer old"}, {"api_key": "NEW"}, {"x-api-key": "NEW"}),
        ({"X-Team": "a"}, {"default_headers": {"x-team": "b"}}, {"x-api-key": "first", "x-team": "b"}),
        ({"Authorization": "Bearer old"}, {"default_headers": {"x-api-key": "H"}}, {"x-api-key": "H"}),
    ],
)
async def test_with_options_replaces_what_it_names(old, options, expected, autojump_clock):
    api = ScriptedAPI([say("x")])
    client = ts.Client(api_key="first", transport=api, default_headers=old).with_options(**options)
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        await stream.until_done()
    sent = api.requests[0].headers
    assert {name: sent[name] for name in ("x-api-key", "authorization", "x-team") if name in sent} == expected


async def test_cancelled_while_the_body_is_closed():
    """By the block's own cancellation: it ends there, as it does anywhere else in the block."""

    class SlowToClose(HookedBody):
        async def aclose(self) -> None:
            self.close()
            await trio.lowlevel.checkpoint()

    async with client_with(SlowToClose(MESSAGE_START)).messages.stream(**PARAMS) as stream:
        stream.cancel("enough")
    assert stream.cancel_reason == "enough"


class BodyOfPieces(HookedBody):
    """Gives one piece after another, calling the hook right before the second."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(b"")
        self.pieces = list(pieces)

    def receive_nowait(self) -> bytes | None:
        if len(self.pieces) == 1:
            self.hook()
        if self.closed.is_set() and not self.pieces:
            raise trio.ClosedResourceError
        return self.pieces.pop(0) if self.pieces else None


async def test_closed_in_the_moment_in_which_a_broken_event_comes():
    """Who closed the stream is told that, and not what was wrong with the rest."""
    body = BodyOfPieces(MESSAGE_START, b"event: message_delta\ndata: {\n\n")
    async with client_with(body).messages.stream(**PARAMS) as stream:
        await stream.receive()
        body.hook = stream._stream.close_now
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()


async def test_a_body_that_was_closed_beneath_the_stream():
    body = HookedBody(MESSAGE_START)
    async with client_with(body).messages.stream(**PARAMS) as stream:
        await stream.receive()
        body.hook = body.close
        body.close()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()


async def test_a_clock_that_ends_one_stream_while_it_ends_another(autojump_clock):
    """Both clocks run out at once, and whoever is told of the one closes the other first."""
    streams: list[ts.MessageStream] = []

    class CloseTheOther(ts.Instrument):
        def __call__(self, moment: ts.Moment) -> None:
            if isinstance(moment, ts.CallEnd):
                streams[1]._stream.close_now()

    api = ScriptedAPI(default=[say("x"), stall()])
    client = ts.Client(api_key="k", transport=api, max_retries=0, timeout=5)
    errors: list[type[BaseException]] = []

    async def read(opened: trio.Event, *, instruments: list[Any]) -> None:
        try:
            async with client.with_options(instruments=instruments).messages.stream(**PARAMS) as stream:
                streams.append(stream)
                opened.set()
                await stream.until_done()
        except (ts.APITimeoutError, trio.ClosedResourceError) as error:
            errors.append(type(error))

    async with trio.open_nursery() as nursery:
        for instruments in ([CloseTheOther()], []):
            opened = trio.Event()
            nursery.start_soon(lambda i=instruments, o=opened: read(o, instruments=i))
            await opened.wait()
    assert sorted(error.__name__ for error in errors) == ["ClosedResourceError", "SilenceTimeoutError"]


async def test_nothing_is_read_before_it_is_received():
    """An event that is unknown to this version may come first."""
    body = BodyOfPieces(b'event: prelude\ndata: {"type":"prelude"}\n\n', MESSAGE_START)
    async with client_with(body).messages.stream(**PARAMS) as stream:
        with pytest.raises(ts.IncompleteStreamError, match="has been read yet"):
            _ = stream.current_message_snapshot
        assert (await stream.receive()).type == "prelude"
        assert (await stream.receive()).type == "message_start"
        assert stream.current_message_snapshot.id == "m"


async def test_a_body_that_fails_because_it_is_closed():
    """As those of other transports may: who closed the stream is told just that."""

    class FailsWhenClosed(HookedBody):
        async def wait(self) -> None:
            await self.closed.wait()
            raise ts.APIConnectionError("cut")

    async with client_with(FailsWhenClosed(MESSAGE_START)).messages.stream(**PARAMS) as stream:
        await stream.receive()
        stream.nursery.start_soon(stream.aclose)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()


async def test_closed_by_whoever_is_told_of_the_first_event():
    """That is the last thing that happens while it is opened: nothing waits any more that could be cancelled."""
    body = HookedBody(MESSAGE_START)

    def close(moment: ts.Moment) -> None:
        if isinstance(moment, ts.FirstEvent):
            stream._stream.close_now()

    stream = await client_with(body).with_options(instruments=[close]).messages.create(**PARAMS, stream=True)
    with pytest.raises(trio.ClosedResourceError):
        await stream.__aenter__()
    assert body.closed.is_set()
