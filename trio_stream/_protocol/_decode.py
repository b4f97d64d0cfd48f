"""Raw events to events: the bytes of one event in, one Struct out.

What belongs here: finding the class of an event, and what is done about JSON that is not as expected. What does not:
the fields of each event (`_events`), and which events may follow which (`_accumulator`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, get_args

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol._deltas import Delta
from trio_stream._protocol._events import (
    ContentBlockDeltaEvent,
    ErrorEvent,
    ErrorObject,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    UnknownEvent,
    event_name,
)
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._sse import RawEvent
from trio_stream._protocol._values import Unknown, holds_values, members_by_tag

_LONGEST_MESSAGE: Final = 500  # characters that are kept of an error that is not JSON

# Nearly all events are deltas that hold one str, and msgspec makes all of such an event in one step. What is unusual in
# any way (a kind, a field or a value within that this version does not know) fails there, and takes two steps.
_SimpleEvent: TypeAlias = ContentBlockDeltaEvent | RawContentBlockStopEvent | RawMessageStopEvent
_decode_simple: Callable[[bytes], _SimpleEvent] = msgspec.json.Decoder(_SimpleEvent).decode
_SIMPLE_NAMES: Final = frozenset({*members_by_tag(_SimpleEvent), ""})

# What these hold may be of a kind that this version does not know, without failing in one step.
_OPEN_DELTAS: Final = frozenset(delta for delta in get_args(Delta) if issubclass(delta, Unknown) or holds_values(delta))

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], RawMessageStreamEvent]]] = {
    tag: event.from_wire for tag, event in members_by_tag(RawMessageStreamEvent).items()
}


def decode_event(raw: RawEvent) -> RawMessageStreamEvent:
    """Make an event from a raw event.

    The ``type`` in the JSON decides, not the ``event:`` line; but ``event: error`` is an error even if its data is not
    JSON, or of a ``type`` that this version does not know.

    Args:
      raw: A raw event that `EventStreamParser.feed` returned.

    Returns:
      The event, which is an `UnknownEvent` if this version does not know its ``type``.

    Raises:
      InvalidResponseError: the data is not that of such an event. The text of the error names the event and the
        reason, and quotes nothing of the data.
    """
    name, data = raw
    if name in _SIMPLE_NAMES:
        try:
            event = _decode_simple(data)
        except JSON_ERRORS:
            pass  # decoding it in two steps finds out what is unusual about it
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
        return ErrorEvent.from_wire(raw)
    if not isinstance(tag, str):
        raise msgspec.ValidationError("Object without a `type`")
    return UnknownEvent.from_wire(raw)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
