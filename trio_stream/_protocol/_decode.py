"""Raw events to events: JSON in, Structs out, and what is to be done about JSON that is not as expected.

What belongs here: what one event must look like. What does not: which events may follow which (`_accumulator`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol._blocks import read_block
from trio_stream._protocol._deltas import (
    CitationsDelta,
    CompactionDelta,
    Delta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
)
from trio_stream._protocol._events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ErrorEvent,
    ErrorObject,
    MessageDeltaEvent,
    MessageStartEvent,
    PingEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    UnknownEvent,
    event_name,
)
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._message import Message
from trio_stream._protocol._sse import RawEvent
from trio_stream._protocol._values import by_tag, read_tagged

_LONGEST_MESSAGE: Final = 500  # characters of an error that is not JSON

# The events that are decoded in one step, if there is nothing unusual about them.
_SIMPLE_NAMES: Final = frozenset({"content_block_delta", "content_block_stop", "message_stop", ""})

# These may hold what this version does not know, so their decoding takes two steps.
_OPEN_DELTAS: Final = frozenset({CitationsDelta, UnknownDelta})

# Nearly all events are deltas that hold one str.
_SimpleEvent: TypeAlias = ContentBlockDeltaEvent | RawContentBlockStopEvent | RawMessageStopEvent | PingEvent
_decode_simple: Callable[[bytes], _SimpleEvent] = msgspec.json.Decoder(_SimpleEvent).decode

_DELTAS: Final = by_tag(TextDelta, InputJSONDelta, ThinkingDelta, SignatureDelta, CitationsDelta, CompactionDelta)


def decode_event(raw: RawEvent) -> RawMessageStreamEvent:
    """Make an event of a raw one.

    The ``type`` in the JSON counts, not the ``event:`` line; but ``event: error`` is an error even if its data
    is not JSON, or of a type that this version does not know.

    Args:
      raw: What `EventStreamParser.feed` returned.

    Returns:
      The event; an `UnknownEvent` when its ``type`` is one that this version does not know.

    Raises:
      InvalidResponseError: the data is not what such an event must hold. The message names the event and the
        reason, and quotes nothing of the data.
    """
    name, data = raw
    if name in _SIMPLE_NAMES:
        try:
            event = _decode_simple(data)
        except JSON_ERRORS:
            pass  # what is unusual about it is found out below
        else:
            if type(event) is not ContentBlockDeltaEvent or type(event.delta) not in _OPEN_DELTAS:
                return event
    return _decode_any_event(name, data)


def _decode_any_event(name: str, data: bytes) -> RawMessageStreamEvent:
    try:
        value = decode_json(data)
        if not isinstance(value, dict):
            raise msgspec.ValidationError("Expected `object`")
        return _read_event(name, cast("dict[str, Any]", value))
    except JSON_ERRORS as error:
        if name == "error":
            text = data.decode("utf-8", "replace")[:_LONGEST_MESSAGE]
            return ErrorEvent(error=ErrorObject(message=text))
        raise InvalidResponseError(f"invalid {event_name(name)} event ({len(data)} bytes): {_reason(error)}") from error


def _read_event(name: str, raw: Mapping[str, Any]) -> RawMessageStreamEvent:
    tag = raw.get("type")
    reader = _READERS.get(tag) if isinstance(tag, str) else None
    if reader is not None:
        return reader(raw)
    if name == "error":
        return _read_error(raw)
    if not isinstance(tag, str):
        raise msgspec.ValidationError("Object without a `type`")
    return UnknownEvent.from_wire(raw)


def _read_message_start(raw: Mapping[str, Any]) -> MessageStartEvent:
    return MessageStartEvent(Message.from_wire(_object(raw, "message")))


def _read_block_start(raw: Mapping[str, Any]) -> ContentBlockStartEvent:
    return ContentBlockStartEvent(_index(raw), read_block(_object(raw, "content_block")))


def _read_block_delta(raw: Mapping[str, Any]) -> ContentBlockDeltaEvent:
    delta = read_tagged(_DELTAS, UnknownDelta, _object(raw, "delta"))
    return ContentBlockDeltaEvent(_index(raw), cast("Delta", delta))


def _read_block_stop(raw: Mapping[str, Any]) -> RawContentBlockStopEvent:
    return RawContentBlockStopEvent(_index(raw))


def _read_message_stop(_: Mapping[str, Any]) -> RawMessageStopEvent:
    return RawMessageStopEvent()


def _read_ping(_: Mapping[str, Any]) -> PingEvent:
    return PingEvent()


def _read_error(raw: Mapping[str, Any]) -> ErrorEvent:
    """Make an error of whatever an ``error`` event holds. It never fails: an error must not be lost."""
    held = raw.get("error", raw)
    if not isinstance(held, dict):
        error = ErrorObject(message=held if isinstance(held, str) else "")
    else:
        fields = cast("dict[str, Any]", held)
        details = fields.get("details")
        error = ErrorObject(
            type=tag if (tag := _text(fields, "type")) != "error" else None,
            message=_text(fields, "message") or "",
            details=cast("dict[str, Any]", details) if isinstance(details, dict) else None,
        )
    return ErrorEvent(error=error, request_id=_text(raw, "request_id"))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], RawMessageStreamEvent]]] = {
    "message_start": _read_message_start,
    "content_block_start": _read_block_start,
    "content_block_delta": _read_block_delta,
    "content_block_stop": _read_block_stop,
    "message_delta": MessageDeltaEvent.from_wire,
    "message_stop": _read_message_stop,
    "ping": _read_ping,
    "error": _read_error,
}


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object` - at `$.{name}`")
    return cast("dict[str, Any]", value)


def _index(raw: Mapping[str, Any]) -> int:
    value = raw.get("index")
    if type(value) is not int or value < 0:
        raise msgspec.ValidationError("Expected `int` >= 0 - at `$.index`")
    return value


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
