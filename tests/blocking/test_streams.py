"""Blocking streams: the same events, texts and messages as the asynchronous ones, each exactly as of its moment."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.blocking import _batch
from trio_stream.testing import call, event, fail, http_error, pause, raw, say, stall, think

from .api import PARAMS, client_of, until

SCRIPT = [think("Let me see."), say("Hello ", "there, "), call("get_weather", {"city": "Paris"}), say("bye.")]
PARAMS_WITH_TOOL = {
    **PARAMS,
    "max_tokens": 4096,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
}


def what_is_seen(stream: Any) -> Any:
    return stream.text, stream.usage, stream.stop_reason, stream.partial


async def seen_by_the_asynchronous_client(script: list[Any]) -> list[Any]:
    async with ts.Client(api_key="k", transport=ts.testing.ScriptedAPI(script)) as client:
        async with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
            return [(event.type, what_is_seen(stream)) async for event in stream]


def without_ids(seen: list[Any]) -> Any:
    return [(kind, *rest[:3], partial and partial.to_dict()["content"]) for kind, (*rest, partial) in seen]


@pytest.mark.parametrize("most", [1, 2, 3, 256])
def test_each_event_sees_the_message_of_its_moment(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events were handed over at once, as with the asynchronous client."""
    monkeypatch.setattr(_batch, "MOST_EVENTS", most)
    expected = trio.run(seen_by_the_asynchronous_client, SCRIPT)
    with client_of(SCRIPT) as (client, _), client.messages.stream(**PARAMS_WITH_TOOL) as stream:
        seen = [(event.type, what_is_seen(stream)) for event in stream]
        assert list(stream) == []
        assert stream.message.text == "Hello there, bye."
        assert stream.message == stream.partial == stream.current_message_snapshot
        assert stream.get_final_message() == stream.message
    assert without_ids(seen) == without_ids(expected)
    assert stream.message.text == stream.text == "Hello there, bye."
    assert list(stream) == []


def test_views() -> None:
    """Each has its own cursor over the text; what a view pulled is not delivered again."""
    with client_of(SCRIPT, SCRIPT, SCRIPT) as (client, _):
        with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
            assert "".join(stream.text_stream) == "Hello there, bye."
            assert stream.text_stream is stream.text_stream
            assert stream.thinking_stream is stream.thinking_stream
            assert list(stream.text_stream) == []
            assert "".join(stream.texts()) == "Hello there, bye."
            assert "".join(stream.thinking_stream) == "Let me see."
            assert list(stream) == []
        with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
            for event in stream:
                if event.type == "text":
                    break
            view = stream.texts()
            assert next(view) == stream.text == "Hello"
            assert next(view) == " "
            assert stream.text == "Hello "
            event = next(stream)
            assert event.type == "content_block_delta"
            assert next(stream).type == "text"
            assert next(view) == "there,"
            assert "".join(view) == " bye."
        with client.messages.stream(**PARAMS_WITH_TOOL) as stream:
            assert stream.get_final_text() == "Hello there, bye."
            stream.until_done()
            assert stream.get_final_text() == "Hello there, bye."


def test_leaving_early() -> None:
    """What was taken stays, what was not is gone; the connection is closed, and views give what there is."""
    with client_of([say("one two three four")], [say("one two"), stall()]) as (client, api):
        with client.messages.stream(**PARAMS) as stream:
            for text in stream.text_stream:
                if text == " two":
                    break
        assert stream.text == "one two"
        assert stream.partial is not None
        assert stream.partial.text == "one two"
        with pytest.raises(ts.IncompleteStreamError, match="left before message_stop") as caught:
            stream.message  # noqa: B018
        assert caught.value.partial == stream.partial
        with pytest.raises(ts.IncompleteStreamError):
            stream.get_final_message()
        with pytest.raises(trio.ClosedResourceError):
            next(stream)
        view = stream.texts()
        assert [next(view), next(view)] == ["one", " two"]
        with pytest.raises(trio.ClosedResourceError):
            next(view)
        with client.messages.stream(**PARAMS) as stream:
            with pytest.raises(ts.IncompleteStreamError, match="not complete yet"):
                stream.message  # noqa: B018
            assert next(stream).type == "message_start"
        assert api.requests[1].closed_by == "close"
        assert stream.request_id == stream.response.headers["request-id"]
        assert stream.rate_limits is not None
        assert stream.stats.events >= 1


def test_close_from_another_thread() -> None:
    """A thread that waits is told; so is the next call; closing what is complete changes nothing."""
    with client_of([say("one"), stall()], [say("whole")]) as (client, _):
        with client.messages.stream(**PARAMS) as stream:
            errors: list[BaseException] = []

            def read() -> None:
                try:
                    stream.until_done()
                except BaseException as error:  # noqa: BLE001
                    errors.append(error)

            thread = threading.Thread(target=read)
            thread.start()
            until(lambda: stream.text == "one")
            until(lambda: stream._reading.feed._read and not stream._reading.feed._read.done)
            for ask in (lambda: next(stream), stream.until_done, stream.receive_nowait):
                with pytest.raises(trio.BusyResourceError):
                    ask()
            stream.close()
            thread.join()
            assert isinstance(errors[0], trio.ClosedResourceError)
            with pytest.raises(trio.ClosedResourceError):
                next(stream)
        with client.messages.stream(**PARAMS) as stream:
            stream.until_done()
            stream.close()
            assert list(stream) == []
        assert stream.message.text == "whole"


def test_errors() -> None:
    """The same object again and again, with what came before it; the events before it come first."""
    with client_of([say("Hello"), fail("overloaded_error")], [http_error(529)]) as (client, _):
        texts = []
        with pytest.raises(ts.OverloadedError) as caught:
            with client.messages.stream(**PARAMS) as stream:
                for text in stream.text_stream:
                    texts.append(text)
        assert texts == ["Hello"]
        assert caught.value.partial is not None
        assert caught.value.partial.text == stream.text == "Hello"
        with pytest.raises(ts.OverloadedError) as again:
            next(stream)
        assert again.value is caught.value
        with pytest.raises(ts.OverloadedError) as again:
            stream.message  # noqa: B018
        assert again.value is caught.value
        with pytest.raises(ts.OverloadedError), client.messages.stream(**PARAMS):
            raise AssertionError
        assert client.statistics().active == 0


def test_an_exception_of_the_block_leaves_as_itself() -> None:
    """The stream is closed by then, and nothing keeps the exception."""
    error = ValueError()
    with client_of([say("one"), stall()]) as (client, api):
        with pytest.raises(ValueError) as caught, client.messages.stream(**PARAMS):  # noqa: PT011
            raise error
        assert caught.value is error
        assert error.__context__ is None
        assert api.open_streams == 0


def test_receive_and_receive_nowait() -> None:
    with client_of([say("one"), pause(0.5), say("two")]) as (client, _), client.messages.stream(**PARAMS) as stream:
        assert stream.receive().type == "message_start"
        kinds = []
        with pytest.raises(trio.WouldBlock):
            while True:
                kinds.append(stream.receive_nowait().type)
        assert kinds[0] == "content_block_start"
        assert stream.text == "one"
        assert stream.receive().type == "content_block_stop"
        stream.until_done()
        for ask in (stream.receive, stream.receive_nowait):
            with pytest.raises(trio.EndOfChannel):
                ask()


def test_raw_events_with_and_without_a_block() -> None:
    """They are read as the official SDK's are, and the block is there for who leaves early."""
    with client_of([say("Hello")], [say("Hello")], [say("Hello"), stall()]) as (client, api):
        raw_events = client.messages.create(**PARAMS, stream=True)
        assert raw_events.partial is None
        assert raw_events.text == ""
        assert raw_events.usage is raw_events.stop_reason is raw_events.request_id is raw_events.rate_limits is None
        assert raw_events.stats.events == 0
        with pytest.raises(RuntimeError, match="no response"):
            raw_events.response  # noqa: B018
        with pytest.raises(ts.IncompleteStreamError):
            raw_events.message  # noqa: B018
        assert len(api.requests) == 0
        kinds = [event.type for event in raw_events]
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        assert "text" not in kinds
        assert raw_events.message.text == "Hello"
        with client.messages.create(**PARAMS, stream=True) as raw_events:
            raw_events.until_done()
            with pytest.raises(RuntimeError, match="entered before"):
                raw_events.__enter__()
        assert raw_events.message.text == "Hello"
        dropped = client.messages.create(**PARAMS, stream=True)
        next(dropped)
        assert api.open_streams == 1
        del dropped
        until(lambda: api.open_streams == 0)
        with pytest.raises(RuntimeError, match="never entered"):
            client.messages.create(**PARAMS, stream=True).__exit__(None, None, None)


def test_enter_and_exit_by_hand() -> None:
    """Each entry of a manager is a request of its own, and each exit leaves the last one of its thread."""
    with client_of([say("one"), stall()], [say("two"), stall()]) as (client, api):
        manager = client.messages.stream(**PARAMS)
        with pytest.raises(RuntimeError, match="never entered"):
            manager.__exit__(None, None, None)
        first = manager.__enter__()
        second = manager.__enter__()
        assert next(first.text_stream) == "one"
        assert next(second.text_stream) == "two"
        manager.__exit__(None, None, None)
        assert api.open_streams == 1
        thread = threading.Thread(target=manager.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        assert api.open_streams == 0
        with pytest.raises(AttributeError, match="use `with client"):
            manager.text_stream  # noqa: B018
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            manager.nothing  # noqa: B018
        with pytest.raises(TypeError, match="not the stream yet"):
            iter(manager)


def test_a_dropped_stream_is_closed() -> None:
    """Not while a view of it is still read."""
    with client_of([say("one"), pause(0.01), say("two"), stall()]) as (client, api):
        view = client.messages.stream(**PARAMS).__enter__().text_stream
        assert [next(view), next(view)] == ["one", "two"]
        del view
        until(lambda: api.open_streams == 0)


@pytest.mark.parametrize(
    ("options", "chunks"),
    [
        ({"min_chars": 5}, ["Hello.", " This", " is. A", " sentence", " longer"]),
        ({"min_chars": 5, "at_punctuation": True}, ["Hello.", " This is.", " A sentence longer"]),
        ({"min_chars": 1000}, ["Hello. This is. A sentence longer"]),
    ],
)
def test_text_chunks(options: dict[str, Any], chunks: list[str]) -> None:
    with client_of([say("Hello. This is. A sentence longer")]) as (client, _):
        with client.messages.stream(**PARAMS) as stream:
            assert list(stream.text_chunks(**options)) == chunks
            assert list(stream.text_chunks(**options)) == chunks


def test_text_chunks_within_a_piece_and_in_time() -> None:
    """What is left after the last mark begins the next piece; what waits too long is given; and all before an error."""
    script = [*begun(), delta("One. Two"), pause(0.3), delta(" three"), fail("overloaded_error")]
    chunks = []
    with client_of(script) as (client, _), pytest.raises(ts.OverloadedError):
        with client.messages.stream(**PARAMS) as stream:
            for chunk in stream.text_chunks(min_chars=4, at_punctuation=True, max_delay=0.05):
                chunks.append(chunk)
    assert chunks == ["One.", " Two", " three"]
    with client_of([say("Hello")]) as (client, _), client.messages.stream(**PARAMS) as stream:
        with pytest.raises(ValueError, match="min_chars"):
            stream.text_chunks(min_chars=0)
        with pytest.raises(ValueError, match="max_delay"):
            stream.text_chunks(max_delay=-1)


def begun() -> list[Any]:
    """The beginning of a message with a text block."""
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [event({"type": "message_start", "message": message}), event(block)]


def delta(text: str) -> Any:
    """A piece of text, whole."""
    return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


def ended() -> list[Any]:
    """The end of the message."""
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        event({"type": "content_block_stop", "index": 0}),
        event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}),
        event({"type": "message_stop"}),
    ]


def test_half_a_character_at_the_end_of_a_block() -> None:
    """What the stream puts in its place is in all views of the text."""
    half = r'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi \ud83d"}}'
    script = [*begun(), raw(f"event: content_block_delta\ndata: {half}\n\n"), *ended()]
    with client_of(script) as (client, _), client.messages.stream(**PARAMS) as stream:
        assert "".join(stream.text_stream) == "Hi \ufffd" == stream.text


def test_before_the_message_has_begun() -> None:
    """An unknown event may come first, and then there is nothing of a message yet."""
    script = [event({"type": "new_event"}), pause(0.1), *begun(), delta("Hi"), *ended()]
    with client_of(script) as (client, _), client.messages.stream(**PARAMS) as stream:
        assert next(stream).type == "new_event"
        assert stream.partial is stream.usage is stream.stop_reason is None
        with pytest.raises(ts.IncompleteStreamError, match="no message_start"):
            stream.current_message_snapshot  # noqa: B018
        assert stream.get_final_text() == "Hi"


def test_waiting_for_so_long() -> None:
    """And not twice as long, although the loop had begun to wait before."""
    with client_of([say("one"), stall()]) as (client, _), client.messages.stream(**PARAMS) as stream:
        stream._reading.feed.batch.take_all()
        began = time.monotonic()
        stream._reading.wait(0.5)
        assert 0.5 <= time.monotonic() - began < 1
        assert stream.text == "one"


def test_polling() -> None:
    """What arrives between two looks is found, and so are the end and an error."""
    with client_of([say("one"), pause(0.03), say("two")], [say("x"), pause(0.03), fail("api_error")]) as (client, _):
        with client.messages.stream(**PARAMS) as stream:
            found = []
            with pytest.raises(trio.EndOfChannel):
                while True:
                    try:
                        found.append(stream.receive_nowait().type)
                    except trio.WouldBlock:
                        time.sleep(0.005)
            assert found.count("text") == 2
            assert found[-1] == "message_stop"
            assert list(stream.texts()) == ["one", "two"]
        with pytest.raises(ts.APIStatusError), client.messages.stream(**PARAMS) as stream:
            while True:
                try:
                    stream.receive_nowait()
                except trio.WouldBlock:
                    time.sleep(0.005)
        with pytest.raises(RuntimeError, match="write `with stream:`"):
            client.messages.create(**PARAMS, stream=True).receive_nowait()
