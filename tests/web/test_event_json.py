"""Events as JSON: in the form of the API, and those of runs with what a page can use."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from trio_stream import web
from trio_stream.testing import call, event, say, think
from trio_stream.types import UnknownEvent
from trio_stream.web._event_json import event_data

ERROR = ts.OverloadedError("overloaded_error: the prompt, quoted", status_code=529, type="overloaded_error")
TEXT: Any = ts.ContentBlockDeltaEvent(0, ts.TextDelta("Hi"))

RUN_EVENTS: list[tuple[Any, dict[str, Any]]] = [
    (ts.TurnStartEvent(turn=1), {"type": "turn_start", "turn": 1}),
    (ts.TurnStopEvent(turn=1, message=None), {"type": "turn_stop", "turn": 1, "results": []}),
    (
        ts.TurnRestartEvent(turn=1, error=ERROR, delay=0.5),
        {
            "type": "turn_restart",
            "turn": 1,
            "error": {"type": "overloaded_error", "message": "The model is overloaded. Please try again in a moment."},
            "delay": 0.5,
        },
    ),
    (
        ts.ToolProgressEvent(id="t", name="f", progress=3 + 4j),  # no JSON
        {"type": "tool_progress", "id": "t", "name": "f", "progress": "(3+4j)"},
    ),
    (
        ts.ApprovalEvent(id="t", name="f", input={"a": 1}, answer=print),
        {"type": "approval", "id": "t", "name": "f", "input": {"a": 1}},
    ),
    (ts.SteerEvent(content="Stop.", when="now"), {"type": "steer", "content": "Stop.", "when": "now"}),
    (
        ts.NestedEvent(id="t", name="f", event=TEXT),
        {
            "type": "nested",
            "id": "t",
            "name": "f",
            "event": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        },
    ),
]


@pytest.mark.parametrize(("event", "json"), RUN_EVENTS, ids=[event.type for event, _ in RUN_EVENTS])
def test_the_events_of_runs(event, json):
    assert msgspec.json.decode(event_data(event)) == json


class Odd:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("told", "shown"),
    [("a\ud800", "a?"), (Odd(), "Odd"), ({1: {2.5, "\udfff"} - {2.5}}, {"1": ["?"]}), ([{"x": 1j}], [{"x": "1j"}])],
    ids=["half of a pair", "no text", "keys and a set", "a number that is none"],
)
def test_progress_of_any_kind(told: object, shown: object):
    """A tool may tell anything, and no answer fails for it."""
    progress = ts.ToolProgressEvent(id="t", name="f", progress=told)
    assert msgspec.json.decode(event_data(progress))["progress"] == shown


async def test_made_of_values_it_says_the_same_as_the_bytes_that_came():
    """But for nulls, which mean nothing."""
    client, _ = client_of(
        [think("hm"), say("Hello", citations=[_CITATION]), call("f", {"a": 1}), event({"type": "new"})]
    )
    manager = client.messages.stream(**PARAMS)
    manager.keep_raw_data()
    async with manager as stream:
        async for received in stream:
            if not hasattr(received, "made_of"):
                ours = msgspec.json.decode(event_data(received))  # type: ignore[arg-type]
                theirs = msgspec.json.decode(stream.raw_data or b"")
                assert without_nulls(ours) == without_nulls(theirs)
                assert ours.get("message", {}).keys() >= (
                    {"stop_reason"} if received.type == "message_start" else set()
                )


_CITATION = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": None,
    "file_id": None,
    "start_char_index": 0,
    "end_char_index": 1,
}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def test_a_line_end_in_an_unknown_name_is_no_line():
    """It would begin another field of the event stream."""
    frame = web.Anthropic().event(UnknownEvent(raw={"type": "a\nevent: b"}), None)[0]
    assert frame.split(b"\n")[0] == b"event: aevent: b"


def test_line_ends_between_the_tokens_of_json_are_spaces():
    """Data of several lines is one line of JSON; within a text there are none."""
    data = b'{"type":\n"message_stop"\r\n}'
    assert web.Anthropic().event(TEXT, data) == (b'event: content_block_delta\ndata: {"type": "message_stop"  }\n\n',)
    assert web.JSONLines().event(TEXT, data) == (b'{"type": "message_stop"  }\n',)


def test_an_encoder_can_be_renewed():
    assert type(web.Anthropic().renew()) is web.Anthropic
    assert type(web.JSONLines().renew()) is web.JSONLines
