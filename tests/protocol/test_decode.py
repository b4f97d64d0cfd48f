"""`_decode`: what one event must look like, and what happens when it does not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from tests.protocol.feeding import accumulate, raw
from tests.wire.events import PING, STOP, block_delta, block_start, block_stop, message_delta, message_start, text_delta
from trio_stream import InvalidResponseError
from trio_stream._protocol import ErrorEvent, PingEvent, TextBlock, Usage, decode_event
from trio_stream._protocol._values import UnknownObject
from trio_stream.types import (
    CitationCharLocation,
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ErrorObject,
    InputJSONDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
)

CITATION = {"type": "char_location", "cited_text": "c", "document_index": 2, "document_title": None}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("event", "value"),
    [
        (text_delta("hi", 3), ContentBlockDeltaEvent(3, TextDelta("hi"))),
        (text_delta("\0\u2028\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")), None),
        (block_delta("thinking_delta", thinking=""), ContentBlockDeltaEvent(0, ThinkingDelta(""))),
        (
            block_delta("thinking_delta", thinking="a", estimated_tokens=5),
            ContentBlockDeltaEvent(0, ThinkingDelta("a", 5)),
        ),
        (block_delta("signature_delta", signature="s"), ContentBlockDeltaEvent(0, SignatureDelta("s"))),
        (block_delta("input_json_delta", partial_json="{"), ContentBlockDeltaEvent(0, InputJSONDelta("{"))),
        (
            block_delta("compaction_delta", content="c", encrypted_content=None),
            ContentBlockDeltaEvent(0, CompactionDelta("c")),
        ),
        (
            block_delta("citations_delta", citation=CITATION),
            ContentBlockDeltaEvent(0, CitationsDelta(CitationCharLocation(cited_text="c", document_index=2))),
        ),
        (
            block_delta("citations_delta", citation={**CITATION, "new": 1}),
            ContentBlockDeltaEvent(
                0, CitationsDelta(CitationCharLocation(cited_text="c", document_index=2, extra={"new": 1}))
            ),
        ),
        (
            block_delta("citations_delta", citation={"type": "new", "x": None}),
            ContentBlockDeltaEvent(0, CitationsDelta(UnknownObject(raw={"type": "new", "x": None}))),
        ),
        (
            block_delta("new_delta", text=5),
            ContentBlockDeltaEvent(0, UnknownDelta(raw={"type": "new_delta", "text": 5})),
        ),
        (
            block_delta("(unknown)", raw={}),
            ContentBlockDeltaEvent(0, UnknownDelta(raw={"type": "(unknown)", "raw": {}})),
        ),
        (block_stop(2), RawContentBlockStopEvent(2)),
        ({**block_stop(2), "new": [1]}, RawContentBlockStopEvent(2, extra={"new": [1]})),
        (STOP, RawMessageStopEvent()),
        ({**STOP, "new": {"index": None}}, RawMessageStopEvent(extra={"new": {"index": None}})),
        (PING, PingEvent()),
        ({**PING, "new": [1]}, PingEvent(extra={"new": [1]})),
        ({"type": "new_event", "x": None}, UnknownEvent(raw={"type": "new_event", "x": None})),
        (block_start(0, text="a", new=1), ContentBlockStartEvent(0, TextBlock(text="a", extra={"new": 1}))),
        (
            block_start(1, "new_block", y=None),
            ContentBlockStartEvent(1, UnknownBlock(raw={"type": "new_block", "y": None})),
        ),
    ],
)
def test_events(event: dict[str, Any], value: object, *, named: bool) -> None:
    """Known and unknown events, with and without an ``event:`` line."""
    name, data = raw(event)
    decoded = decode_event((name if named else "", data))
    if value is None:
        assert decoded == ContentBlockDeltaEvent(0, TextDelta(event["delta"]["text"]))
    else:
        assert decoded == value
    assert decoded.type == event["type"]


def test_unknown_things_are_kept() -> None:
    """Their ``type`` is the API's, and their JSON is all there."""
    event = decode_event(raw({"type": "new_event", "x": {"y": [1.5, None]}}))
    assert isinstance(event, UnknownEvent)
    assert str(event.type) == "new_event"
    assert event.raw == event.to_dict() == {"type": "new_event", "x": {"y": [1.5, None]}}


def test_message_start() -> None:
    """A message as the API begins it; unknown fields are kept."""
    event = decode_event(raw(message_start(new=1, container=None)))
    assert isinstance(event, MessageStartEvent)
    assert event.message.id == "msg_1"
    assert event.message.content == ()
    assert event.message.usage == Usage(input_tokens=7, output_tokens=1)
    assert event.message.extra == {"new": 1}


@pytest.mark.parametrize("message", [{}, {"usage": None, "content": None, "id": None}])
def test_message_start_of_a_gateway(message: dict[str, Any]) -> None:
    """Whatever is missing or null has its default."""
    event = decode_event(raw({"type": "message_start", "message": message}))
    assert isinstance(event, MessageStartEvent)
    assert event.message.usage == Usage(input_tokens=0, output_tokens=0)
    assert event.message.role == "assistant"


def test_message_delta() -> None:
    """All that it may say, and what it says about things that this version does not know."""
    event = decode_event(
        raw(
            message_delta(
                "new_reason",
                usage={
                    "output_tokens": 3,
                    "server_tool_use": {"web_search_requests": 1},
                    "new": 2,
                    "input_tokens": None,
                },
                context_management={"applied_edits": [{"type": "clear_thinking_20251015"}, {"type": "new"}]},
                input_transformations=[{"type": "thinking_dropped", "path": "p", "reason": "r"}],
            )
        )
    )
    assert isinstance(event, MessageDeltaEvent)
    assert event.delta.stop_reason == "new_reason"
    assert event.usage.output_tokens == 3
    assert event.usage.input_tokens is None
    assert event.usage.server_tool_use is not None
    assert event.usage.server_tool_use.web_search_requests == 1
    assert event.usage.extra == {"new": 2}
    assert event.context_management is not None
    assert [edit.type for edit in event.context_management.applied_edits] == ["clear_thinking_20251015", "new"]
    assert event.input_transformations is not None
    assert event.input_transformations[0].path == "p"


def test_message_delta_without_usage() -> None:
    """It says nothing about the usage."""
    event = decode_event(raw({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}))
    assert isinstance(event, MessageDeltaEvent)
    assert event.usage.output_tokens is None


D = "content_block_delta"


@pytest.mark.parametrize("name", [D, ""])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"type": "content_block_delta", "index": 0, "delta": {', id="malformed"),
        pytest.param(b"hello", id="not JSON"),
        pytest.param(b"", id="empty"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"null", id="null"),
        pytest.param(b"17", id="number"),
        pytest.param(b'"content_block_delta"', id="string"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"{}", id="no type"),
        pytest.param(b'{"type": null}', id="null type"),
        pytest.param(b'{"type": 5}', id="number for a type"),
        pytest.param(b'{"type": "content_block_delta", "index": 0}', id="no delta"),
        pytest.param(b'{"type": "content_block_delta", "index": 0, "delta": null}', id="null delta"),
        pytest.param(b'{"type": "content_block_delta", "index": 0, "delta": []}', id="array for a delta"),
        pytest.param(b'{"type": "content_block_delta", "index": 0, "delta": {}}', id="delta without type"),
        pytest.param(b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}', id="no text"),
        pytest.param(
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
            id="number for text",
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": null}}',
            id="null text",
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": -1, "delta": {"type": "text_delta", "text": ""}}', id="index -1"
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": "0", "delta": {"type": "text_delta", "text": ""}}',
            id="index text",
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": true, "delta": {"type": "text_delta", "text": ""}}',
            id="index true",
        ),
        pytest.param(b'{"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}', id="no index"),
        pytest.param(
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\x01"}}',
            id="control",
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\xff"}}', id="0xff"
        ),
        pytest.param(
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": 5}}',
            id="number for a citation",
        ),
        pytest.param(b'{"type": "x", "y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep"),
        pytest.param(b'{"type": "message_start"}', id="no message"),
        pytest.param(b'{"type": "message_start", "message": {"content": "x"}}', id="text for content"),
        pytest.param(b'{"type": "message_start", "message": {"content": [null]}}', id="null for a block"),
        pytest.param(b'{"type": "content_block_start", "index": 0}', id="no block"),
        pytest.param(b'{"type": "content_block_start", "index": 0, "content_block": {}}', id="block without type"),
        pytest.param(
            b'{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": {}}}',
            id="object for text",
        ),
        pytest.param(b'{"type": "content_block_stop"}', id="stop without index"),
        pytest.param(b'{"type": "content_block_stop", "index": -1}', id="stop -1"),
        pytest.param(b'{"type": "message_delta"}', id="no message delta"),
        pytest.param(b'{"type": "message_delta", "delta": {"stop_reason": 5}}', id="number for stop_reason"),
    ],
)
def test_not_what_it_must_be(name: str, data: bytes) -> None:
    """Our error, with a cause, naming the event and the reason, without a word of the data."""
    with pytest.raises(InvalidResponseError) as caught:
        decode_event((name, data))
    assert isinstance(caught.value.__cause__, msgspec.MsgspecError | UnicodeDecodeError | RecursionError)
    assert str(caught.value).startswith(f"invalid {name or 'unnamed'} event ({len(data)} bytes): ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [b"{", b"hello", b"", b"NaN", b"null", b"17", b'"content_block_delta"', b"[]", b'"\x01"', b"\xff", b"[" * 100_000],
)
@pytest.mark.parametrize("name", ["new", "message", "keepalive"])
def test_unknown_name_without_an_object(name: str, data: bytes) -> None:
    """Kept as text: whoever sent it did not send a piece of the message."""
    event = decode_event((name, data))
    assert event == UnknownEvent(raw={}, name=name, data=data.decode("utf-8", "replace"))
    assert str(event.type) == name
    assert event.to_dict() == {"type": name, "data": data.decode("utf-8", "replace")}


@pytest.mark.parametrize("given", [{}, {"type": None}, {"type": 5}, {"x": [1]}, {"error": None}, {"error": ""}])
@pytest.mark.parametrize("name", ["new", "message"])
def test_unknown_name_and_no_type(name: str, given: dict[str, Any]) -> None:
    """Kept as JSON."""
    event = decode_event((name, json.dumps(given).encode()))
    assert event == UnknownEvent(raw=given, name=name)
    assert str(event.type) == name
    assert event.to_dict() == {"type": name, **given}


@pytest.mark.parametrize("data", [b"{}", b"", b"hello", b"17", b"null", b'{"type": "new"}', b'{"type": 5}', b"[1"])
def test_ping_by_its_name(data: bytes) -> None:
    """Whatever its data is."""
    assert decode_event(("ping", data)) == PingEvent()


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        ({"message": "m"}, "m", None),
        ("m", "m", None),
        ({"message": "m", "type": "server_error", "code": "c", "param": None}, "m", "server_error"),
        ({"code": 5, "msg": "m"}, "m", None),
        ({"error": {"message": "m"}}, "m", None),
        ([{"message": "m"}], "m", None),
        ({"type": "overloaded_error", "message": "m"}, "m", "overloaded_error"),
    ],
)
@pytest.mark.parametrize("name", ["", "message", D, "message_stop"])
def test_an_object_with_an_error(name: str, error: object, message: str, kind: str | None) -> None:
    """It is an error without a ``type`` too, unless its name says that it is something else."""
    for body in ({"error": error}, {"error": error, "type": None, "status": 500}):
        event = decode_event((name, json.dumps(body).encode()))
        assert isinstance(event, ErrorEvent)
        assert (event.error.message, event.error.type) == (message, kind)
        assert event.body == body
        assert isinstance(decode_event(("new", json.dumps(body).encode())), UnknownEvent)


@pytest.mark.parametrize("data", [b"[DONE]", b" [DONE] ", b'"[DONE]"'])
@pytest.mark.parametrize("name", ["", "message", "message_stop", "done"])
def test_done(name: str, data: bytes) -> None:
    """The end of a stream in the dialect of other APIs, under any name."""
    event = decode_event((name, data))
    assert isinstance(event, UnknownEvent)
    assert event.ends_stream


def test_errors_quote_nothing() -> None:
    """The text of an answer is no part of an error; neither is a long event type."""
    data = b'{"type": "content_block_delta", "index": 0, "delta": {"type": "my secret"}, "delta": "my secret"}'
    with pytest.raises(InvalidResponseError) as caught:
        decode_event(("x" * 1000, data))
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_thousands_of_digits() -> None:
    """In a field that nobody knows they do no harm."""
    digits = b"1" * 5000
    event = decode_event(
        (
            D,
            b'{"type": "content_block_delta", "index": 0, "new": %s, "delta": {"type": "text_delta", "text": "a"}}'
            % digits,
        )
    )
    assert event == ContentBlockDeltaEvent(0, TextDelta("a"), extra={"new": "1" * 5000})
    many = b"[1, -2.5, 1e400, %s]" % digits
    ping = decode_event(("ping", b'{"type": "ping", "new": %s}' % many))
    assert ping == PingEvent(extra={"new": [1, -2.5, "1e400", "1" * 5000]})
    with pytest.raises(InvalidResponseError):
        decode_event((D, b'{"new": %s, "type": NaN}' % digits))


@pytest.mark.parametrize("name", [D, ""])
def test_lone_surrogate(name: str) -> None:
    """It becomes U+FFFD: every str that is delivered can be encoded."""
    data = rb'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a\ud83d"}}'
    accumulator, events = accumulate([message_start(), block_start(0), (name, data), block_stop(0)])
    assert accumulator.text == "a\ufffd"
    for event in events:
        assert json.dumps(event.to_dict(), ensure_ascii=False).encode()


def test_type_in_the_json_counts() -> None:
    """The ``event:`` line may say something else."""
    for name in ("ping", D, "new", "", "error"):
        assert decode_event((name, b'{"type": "message_stop"}')) == RawMessageStopEvent()
        assert decode_event((name, raw(text_delta("a"))[1])) == ContentBlockDeltaEvent(0, TextDelta("a"))


@pytest.mark.parametrize(
    ("data", "error", "request_id"),
    [
        (
            (
                b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "details": null}, '
                b'"request_id": "req_1"}'
            ),
            ErrorObject(type="overloaded_error", message="Overloaded"),
            "req_1",
        ),
        (
            b'{"type": "error", "error": {"type": "api_error", "message": "m", "details": {"error_code": "c"}}}',
            ErrorObject(type="api_error", message="m", details={"error_code": "c"}),
            None,
        ),
        (b'{"error": {"type": "api_error"}}', ErrorObject(type="api_error"), None),
        (b'{"type": "api_error", "message": "m"}', ErrorObject(type="api_error", message="m"), None),
        (b'{"type": "error", "message": "m"}', ErrorObject(message="m"), None),
        (b'{"type": "error", "error": "boom"}', ErrorObject(message="boom"), None),
        (b'{"type": "error", "error": null, "request_id": 5}', ErrorObject(), None),
        (b'{"type": "error", "error": {"type": 5, "message": [], "details": 1}}', ErrorObject(), None),
        (b"Internal Server Error", ErrorObject(message="Internal Server Error"), None),
        (b"x" * 1000, ErrorObject(message="x" * 500), None),
        (b"\xff", ErrorObject(message="\ufffd"), None),
        (b"", ErrorObject(), None),
        (b'"text"', ErrorObject(message='"text"'), None),
    ],
)
def test_errors(data: bytes, error: ErrorObject, request_id: str | None) -> None:
    """An error is never lost, whatever its event looks like."""
    event = decode_event(("error", data))
    assert isinstance(event, ErrorEvent)
    assert (event.error.type, event.error.message, event.error.details) == (error.type, error.message, error.details)
    assert event.request_id == request_id
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    assert event.body == (body if isinstance(body, dict) else data.decode("utf-8", "replace") or None)


def test_error_by_its_json_alone() -> None:
    """Without an ``event:`` line."""
    event = decode_event(("", b'{"type": "error", "error": {"type": "api_error", "message": "m"}}'))
    assert isinstance(event, ErrorEvent)
    assert event.error == ErrorObject(type="api_error", message="m")


NAMES = st.sampled_from([D, "", "error", "message_start", "new"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["text", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "delta", "text", "content", "message", "usage", "content_block", "error", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
TYPES = st.sampled_from(
    [
        event["type"]
        for event in (message_start(), block_start(0), text_delta(""), block_stop(0), message_delta(), STOP, PING)
    ]
)


@given(NAMES, st.binary(max_size=60))
def test_any_bytes(name: str, data: bytes) -> None:
    """A value or `InvalidResponseError`, nothing else."""
    try:
        event = decode_event((name, data))
    except InvalidResponseError:
        return
    msgspec.json.encode(event)


@given(
    NAMES,
    TYPES,
    st.dictionaries(st.sampled_from(["index", "delta", "message", "content_block", "usage"]), JSON, max_size=4),
)
def test_any_json(name: str, event_type: str, fields: dict[str, Any]) -> None:
    """The same for JSON that looks more like an event."""
    data = json.dumps({"type": event_type, **fields}).encode()
    try:
        event = decode_event((name, data))
    except InvalidResponseError:
        return
    msgspec.json.encode(event)
    json.dumps(event.to_dict()).encode()
