"""The whole client over any bytes: a message, or one of our errors with the text that had come; nothing else."""

from __future__ import annotations

import json
from typing import Any

import jiter
import pytest
from hypothesis import given, strategies as st

import trio_stream as ts
from tests.fuzz.pairs import stream_over
from tests.fuzz.seeds import TOOL_MESSAGE, recorded
from tests.fuzz.strategies import BOUNDED, mutated, pieces
from tests.wire.answers import (
    CHUNKED_HEAD,
    CLOSE_HEAD,
    GOOD_ANSWER,
    LAST_CHUNK,
    MESSAGE,
    api_error,
    chunk,
    chunked,
    event,
    sized,
)
from tests.wire.events import (
    TEXT,
    block_start,
    block_stop,
    error_event,
    json_delta,
    message_delta,
    message_events,
    message_start,
    message_stop,
)

FRAMED = (
    GOOD_ANSWER,
    CLOSE_HEAD + MESSAGE,
    sized(MESSAGE, content_type=b"text/event-stream"),
    CHUNKED_HEAD + chunked(MESSAGE.replace(b"\n", b"\r\n"), last=True),
)
"""The standard message in every framing there is."""

ANSWERS = (
    *FRAMED,
    CHUNKED_HEAD + chunked(TOOL_MESSAGE, last=True),
    CHUNKED_HEAD + chunked(*message_events()[:4], error_event("overloaded_error"), last=True),
    api_error(b"529 Overloaded", "overloaded_error", b"retry-after: 3"),
    *(CHUNKED_HEAD + chunk(data) + LAST_CHUNK for data in recorded() if len(data) < 3000),
)

pytestmark = pytest.mark.no_cover  # nothing is covered here alone: it would only take longer


@BOUNDED
@given(st.data())
def test_cut_anywhere(data: st.DataObject) -> None:
    """The end comes after any byte: what is delivered is a beginning of the text, and complete means all of it."""
    answer = data.draw(st.sampled_from(FRAMED))
    got = answer[: data.draw(st.integers(0, len(answer)))]
    outcome = stream_over(data.draw(pieces(got)))
    assert TEXT.startswith(outcome.text)
    if outcome.error is None:
        assert outcome.text == TEXT
        assert b"message_stop" in got
    elif b"\r\n\r\n" in got:
        assert issubclass(outcome.error, ts.IncompleteStreamError)
    else:
        assert issubclass(outcome.error, ts.APIConnectionError)


@BOUNDED
@given(st.data(), mutated(ANSWERS))
def test_any_mistake(data: st.DataObject, answer: bytes) -> None:
    """A message or one of our errors (`pairs` looks at it), and the same however the bytes are cut."""
    whole = stream_over([answer] if answer else [])
    assert stream_over(data.draw(pieces(answer))) == whole


@BOUNDED
@given(st.data(), st.binary(max_size=200))
def test_any_body(data: st.DataObject, body: bytes) -> None:
    """Bytes that are no event stream do not become a message."""
    head = data.draw(st.sampled_from((CHUNKED_HEAD, CHUNKED_HEAD + chunked(*message_events()[:4]), b"")))
    framed = chunked(body, last=True) if head and body else body
    outcome = stream_over(data.draw(pieces(head + framed)))
    assert outcome.error is not None
    assert "Hello there,".startswith(outcome.text)


VALUES = st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))


@BOUNDED
@given(st.integers(200, 999), st.binary(max_size=100), VALUES)
def test_any_status(status: int, body: bytes, value: bytes) -> None:
    """Any status, body, and header value: an error that knows the status."""
    headers = (b"content-type: " + value, b"request-id: " + value, b"retry-after: " + value, b"location: " + value)
    outcome = stream_over([sized(body, *headers, status=b"%d X" % status)])
    assert outcome.error is not None
    if status > 200 and not issubclass(outcome.error, ts.InvalidResponseError | ts.IncompleteStreamError):
        assert str(status) in outcome.sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def tool_answer(deltas: list[str], stop_reason: str) -> bytes:
    tool: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    events = [message_start(), block_start(0, tool), *map(json_delta, deltas), block_stop(), message_delta(stop_reason)]
    return CHUNKED_HEAD + chunked(*events, message_stop(), last=True)


@BOUNDED
@given(st.data(), st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.booleans())
def test_tool_input(data: st.DataObject, value: dict[str, Any], ascii_only: bool) -> None:
    """At each piece the snapshot is jiter's; in the end the input is what was written, and never if it was cut."""
    written = json.dumps(value, ensure_ascii=ascii_only)
    got = written[: data.draw(st.integers(0, len(written)) | st.just(len(written)))]
    points = sorted(data.draw(st.lists(st.integers(0, len(got)), max_size=6)))
    deltas = [got[begin:end] for begin, end in zip([0, *points], [*points, len(got)], strict=True)]
    stop_reason = data.draw(st.sampled_from(("tool_use", "max_tokens")))
    outcome = stream_over(data.draw(pieces(tool_answer(deltas, stop_reason))))
    assert [text for text, _ in outcome.inputs] == ["".join(deltas[: i + 1]) for i in range(len(deltas))]
    for text, snapshot in outcome.inputs:
        assert snapshot == (jiter.from_json(text.encode(), partial_mode=True) if text.strip() else {})
    assert outcome.message is not None
    (block,) = outcome.message.content
    assert isinstance(block, ts.ToolUseBlock)
    assert block.input_json == got
    if got == written:
        assert block.input == value
    elif got:
        try:
            invented = block.input
        except ts.InvalidToolInputError as error:
            assert error.incomplete is (stop_reason == "max_tokens")
        else:
            raise AssertionError(invented)


@BOUNDED
@given(st.data(), st.sampled_from(range(2, 6)), st.text(max_size=8), st.text(max_size=20))
def test_an_event_too_many(data: st.DataObject, at: int, name: str, content: str) -> None:
    """An event that nobody knows, or that is none, in the middle: the text is whole, or right as far as it went."""
    name = "".join(name.splitlines())
    extra = event(name, data.draw(st.sampled_from((json.dumps({"type": name, "x": content}), content))).encode())
    events = message_events()
    answer = CHUNKED_HEAD + chunked(*events[:at], extra, *events[at:], last=True)
    outcome = stream_over(data.draw(pieces(answer)))
    assert TEXT.startswith(outcome.text)
    assert outcome.error is not None or outcome.text == TEXT
