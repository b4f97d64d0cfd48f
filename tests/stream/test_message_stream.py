"""What a `MessageStream` delivers: events in the SDK's order, snapshots, views, final results, stats."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import call, event, pause, ping, say, stall, think

from .api import PARAMS, client_of

SCRIPT = [
    think("Let me see.", tps=20),
    ping(),
    say("Hello there, ", tps=20),
    call("get_weather", {"city": "Paris", "unit": "C"}, tps=20),
]
PARAMS_WITH_TOOL = {
    **PARAMS,
    "max_tokens": 4096,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
}


async def test_events_in_the_order_of_the_sdk(autojump_clock):
    """Wire events, and right after a delta the event that is easier to use."""
    client, _ = client_of(SCRIPT)
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert "ping" not in kinds
    for index, received in enumerate(events):
        if received.type == "content_block_delta":
            helper = {
                "text_delta": "text",
                "thinking_delta": "thinking",
                "input_json_delta": "input_json",
                "signature_delta": "signature",
            }[received.delta.type]
            assert kinds[index + 1] == helper
    assert [e.content_block.type for e in events if e.type == "content_block_stop"] == ["thinking", "text", "tool_use"]
    last = events[-1]
    assert last.type == "message_stop"
    assert last.message == stream.message
    tool = stream.message.content[2]
    assert tool.type == "tool_use"
    assert tool.input == {"city": "Paris", "unit": "C"}
    assert stream.message.stop_reason == "tool_use"


async def test_snapshots_are_right_for_their_moment(autojump_clock):
    """Also when they are looked at after the stream."""
    client, _ = client_of([say("one two three four", tps=10)])
    async with client.messages.stream(**PARAMS) as stream:
        events = [event async for event in stream if event.type == "text"]
    so_far = ""
    assert len(events) > 2
    for received in events:
        so_far += received.text
        assert received.snapshot == so_far


async def test_kept_events_keep_no_copy_of_the_text(autojump_clock):
    """An event refers to the pieces of its block: no event holds a string as long as the text."""
    client, _ = client_of([say("word " * 500)])
    async with client.messages.stream(**PARAMS) as stream:
        events = [event async for event in stream]
    longest = max(
        (len(found) for received in events[:-3] for found in gc.get_referents(received) if isinstance(found, str)),
        default=0,
    )
    assert longest < 20


async def test_text_stream(autojump_clock):
    client, _ = client_of(SCRIPT)
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        assert "".join([text async for text in stream.text_stream]) == "Hello there, "
        assert stream.text_stream is stream.text_stream
        assert [text async for text in stream.text_stream] == []
        assert "".join([text async for text in stream.texts()]) == "Hello there, "
        assert "".join([text async for text in stream.thinking_stream]) == "Let me see."
        assert stream.thinking_stream is stream.thinking_stream
    assert "".join([text async for text in stream.texts()]) == "Hello there, "


async def test_events_may_be_read_before_and_between(autojump_clock):
    """The text view has a cursor of its own, so no text is lost."""
    client, _ = client_of([say("one two three four five six", tps=10)])
    async with client.messages.stream(**PARAMS) as stream:
        for _ in range(5):
            await stream.receive()
        texts = [await anext(stream.text_stream)]
        texts.append(await anext(stream.text_stream))
        for _ in range(3):
            await stream.receive()
        texts += [text async for text in stream.text_stream]
    assert "".join(texts) == "one two three four five six"


async def test_what_a_view_pulled_is_not_delivered_again(autojump_clock):
    client, _ = client_of([say("one two", tps=10)])
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream.text_stream:
            pass
        assert [event async for event in stream] == []
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()


@pytest.mark.parametrize("how", ["receive", "anext", "text_stream"])
async def test_a_cancelled_wait_loses_nothing(how, autojump_clock):
    """Polling with a deadline gives the same as waiting."""
    script = [say("one two three four five", tps=1)]
    client, _ = client_of(script, script)
    async with client.messages.stream(**PARAMS) as stream:
        whole = [event.type async for event in stream]
    polled = []
    async with client.messages.stream(**PARAMS) as stream:
        while True:
            with trio.move_on_after(0.3):
                try:
                    if how == "receive":
                        polled.append((await stream.receive()).type)
                    elif how == "anext":
                        polled.append((await anext(stream)).type)
                    else:
                        polled.append(await anext(stream.text_stream))
                except (StopAsyncIteration, trio.EndOfChannel):
                    break
    assert polled == whole if how != "text_stream" else "".join(polled) == "one two three four five"


async def test_every_receive_is_a_cancellation_point(autojump_clock):
    """At most one further event is delivered after a cancellation, however much has arrived."""
    client, _ = client_of([say("word " * 300)])
    async with client.messages.stream(**PARAMS) as stream:
        with trio.CancelScope() as scope:
            delivered_after = -1
            async for _ in stream:
                if scope.cancel_called:
                    delivered_after += 1
                scope.cancel(reason="test")
        assert scope.cancelled_caught
        assert delivered_after <= 0
        await stream.until_done()
    assert stream.message.text == "word " * 300


async def test_a_burst_lets_other_tasks_run(autojump_clock):
    """Decoding what has already arrived yields about every millisecond."""
    client, _ = client_of([say("word " * 20_000)])
    ticks = 0
    async with client.messages.stream(**PARAMS) as stream:

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await trio.lowlevel.checkpoint()

        stream.nursery.start_soon(tick)
        await stream.until_done()
        assert ticks >= 5
        stream.nursery.cancel_scope.cancel(reason="test")


async def test_text_chunks_by_size(autojump_clock):
    client, _ = client_of([say("one two three four five six seven", tps=10)])
    async with client.messages.stream(**PARAMS) as stream:
        chunks = [chunk async for chunk in stream.text_chunks(min_chars=10)]
    assert "".join(chunks) == "one two three four five six seven"
    assert all(len(chunk) >= 10 for chunk in chunks[:-1])


async def test_text_chunks_at_punctuation(autojump_clock):
    text = "First sentence. Second one, longer! And a third? No end"
    client, _ = client_of([say(text, tps=10)])
    async with client.messages.stream(**PARAMS) as stream:
        chunks = [chunk async for chunk in stream.text_chunks(at_punctuation=True)]
    assert chunks == ["First sentence.", " Second one, longer!", " And a third?", " No end"]


async def test_text_chunks_keep_what_follows_the_punctuation(autojump_clock):
    """One piece may end a sentence and begin the next, whose time begins with that piece."""
    delta = {"type": "text_delta", "text": " one. Sec"}
    piece = event({"type": "content_block_delta", "index": 0, "delta": delta})
    client, _ = client_of([say("First", pause(3), piece, pause(9), "ond")])
    chunks = []
    async with client.messages.stream(**PARAMS) as stream:
        began = trio.current_time()
        async for chunk in stream.text_chunks(at_punctuation=True, max_delay=5):
            chunks.append((chunk, round(trio.current_time() - began)))
    assert chunks == [("First one.", 3), (" Sec", 8), ("ond", 12)]


async def test_text_chunks_by_time(autojump_clock):
    """A character waits no longer than it may, and nothing is lost by not waiting."""
    client, _ = client_of([say("one"), pause(5), say(" two"), pause(0.2), say(" three")])
    times = []
    async with client.messages.stream(**PARAMS) as stream:
        began = trio.current_time()
        chunks = []
        async for chunk in stream.text_chunks(min_chars=100, max_delay=1):
            chunks.append(chunk)
            times.append(trio.current_time() - began)
    assert chunks == ["one", " two three"]
    assert times[0] == pytest.approx(1, abs=0.1)


async def test_text_chunks_give_what_they_hold_before_an_error(autojump_clock):
    client, _ = client_of([say("held back"), ts.testing.disconnect()])
    async with client.messages.stream(**PARAMS) as stream:
        chunks = stream.text_chunks(min_chars=1000)
        assert await anext(chunks) == "held back"
        for _ in range(2):
            with pytest.raises(ts.IncompleteStreamError):
                await anext(chunks)


@pytest.mark.parametrize("options", [{"min_chars": 0}, {"max_delay": -1}])
async def test_text_chunks_refuse_nonsense(options, autojump_clock):
    client, _ = client_of([say("x")])
    async with client.messages.stream(**PARAMS) as stream:
        with pytest.raises(ValueError, match="m"):
            stream.text_chunks(**options)


async def test_final_text_without_text(autojump_clock):
    client, _ = client_of([call("get_weather", {})])
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        with pytest.raises(RuntimeError, match="tool_use"):
            await stream.get_final_text()
    assert stream.text == ""


async def test_current_message_snapshot(autojump_clock):
    client, _ = client_of([say("one two", tps=10)])
    lengths = []
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            lengths.append(len(stream.current_message_snapshot.text))
    assert lengths == sorted(lengths)
    assert lengths[-1] == len("one two")


async def test_unknown_events_come_through(autojump_clock):
    """An event this library does not know is delivered with its JSON, also as the first one."""
    client, _ = client_of([event({"type": "weather_report", "sky": "clear"}), say("Hello")])
    async with client.messages.stream(**PARAMS) as stream:
        events = [received async for received in stream]
    unknown = [received for received in events if received.type == "weather_report"]
    assert len(unknown) == 1
    assert isinstance(unknown[0], ts.UnknownEvent)
    assert unknown[0].raw["sky"] == "clear"
    assert stream.message.text == "Hello"


async def test_stats(autojump_clock):
    client, _ = client_of([pause(2), think("hm", tps=1), pause(3), say("Hello", ttft=1), pause(5), say(" there")])
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        before = stream.stats
        await stream.until_done()
    stats = stream.stats
    assert before.time_to_first_text is None
    assert stats.time_to_first_byte is not None
    assert stats.time_to_first_event is not None
    assert stats.time_to_first_text is not None
    assert stats.time_to_first_byte <= stats.time_to_first_event <= stats.time_to_first_text
    assert stats.time_to_first_text >= 5
    assert stats.longest_gap == pytest.approx(5, abs=0.5)
    assert stats.events > 8
    assert stats.bytes > 500
    assert stats.attempts == 1


async def test_stats_of_a_slow_consumer(autojump_clock):
    """What came first came when it was read, not when more was found beside it."""
    client, _ = client_of([say("Hello"), pause(1), say(" there")])
    async with client.messages.stream(**PARAMS) as stream:
        while stream.text != "Hello":
            await stream.receive()
        await trio.sleep(10)
        await stream.until_done()
    assert stream.stats.time_to_first_event == pytest.approx(0, abs=0.5)
    assert stream.stats.time_to_first_text == pytest.approx(0, abs=0.5)


async def test_stats_after_a_cancelled_wait(autojump_clock):
    """The wait ended before there was anything, so what is found later did not come when it ended."""
    client, _ = client_of([think("hm"), pause(5), say("Hello")])
    async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        with trio.move_on_after(1):
            await stream.until_done()
        await trio.sleep(10)
        await stream.until_done()
    assert stream.stats.time_to_first_text == pytest.approx(11, abs=0.5)


async def test_raw_events(autojump_clock):
    """`create(stream=True)`: the wire events alone, and the message all the same."""
    client, _ = client_of(SCRIPT)
    async with await client.messages.create(**PARAMS_WITH_TOOL, stream=True) as stream:
        kinds = [received.type async for received in stream]
    assert set(kinds) == {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
    assert stream.message.stop_reason == "tool_use"


async def test_create(autojump_clock):
    client, api = client_of([say("Hello", tps=1)])
    message = await client.messages.create(**PARAMS)
    assert message.text == "Hello"
    assert api.requests[0].stream is True


async def test_checkpoints(autojump_clock):
    client, _ = client_of([say("Hello there", tps=1)], [say("x")])
    async with client.messages.stream(**PARAMS) as stream:
        with trio.testing.assert_checkpoints():
            await stream.until_done()
        with trio.testing.assert_checkpoints():
            await stream.aclose()
    with trio.testing.assert_checkpoints():
        await client.messages.create(**PARAMS, stream=True)


async def test_leaving_does_not_wait(autojump_clock):
    """Leaving in the middle takes no time at all, whatever the peer does."""
    client, _ = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.receive()
        began = trio.current_time()
    assert trio.current_time() == began
