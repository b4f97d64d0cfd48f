"""Raw events to events: the bytes of one event in, one Struct out.

What belongs here: finding the class of an event, and what is done about JSON that is not as expected. What does not:
the fields of each event (`_events`), and which events may follow which (`_accumulator`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol._blocks import BLOCKS
from trio_stream._protocol._events import (
    ContentBlockDeltaEvent,
    ErrorEvent,
    PingEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    UnknownEvent,
    event_name,
)
from trio_stream._protocol._growth import Append
from trio_stream._protocol._json import JSON_ERRORS, decode_any_number
from trio_stream._protocol._sse import RawEvent
from trio_stream._protocol._values import Value, members_by_tag

# Nearly all events are deltas that hold one str, and msgspec makes all of such an event in one step. What is unusual in
# any way (a kind, a field or a value within that this version does not know) fails there, and takes two steps.
_SimpleEvent: TypeAlias = ContentBlockDeltaEvent | RawContentBlockStopEvent | RawMessageStopEvent
_decode_simple: Callable[[bytes], _SimpleEvent] = msgspec.json.Decoder(_SimpleEvent).decode
_SIMPLE_NAMES: Final = frozenset({*members_by_tag(_SimpleEvent), ""})

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], RawMessageStreamEvent]]] = {
    tag: event.from_wire for tag, event in members_by_tag(RawMessageStreamEvent).items()
}

# WHATWG: an event without an ``event:`` line has the type "message", and some servers write that out.
_UNNAMED: Final = frozenset({"", "message"})

# The deltas whose text may be cut within a surrogate pair, and the field that has the text.
TEXT_FIELDS: Final[Mapping[type[Value], str]] = {
    delta: growth.piece
    for block in BLOCKS.values()
    for delta, growth in block.grows_by.items()
    if type(growth) is Append
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FIRST_HALF: Final = re.compile("[\ud800-\udbff]")
_SECOND_HALF: Final = re.compile("[\udc00-\udfff]")


def decode_event(raw: RawEvent) -> RawMessageStreamEvent:
    """Make an event from a raw event.

    The ``type`` in the JSON decides, not the ``event:`` line. But ``event: error`` is an error and ``event: ping`` a
    ping even if the data is not JSON, or of a ``type`` that this version does not know.

    The text of a delta may begin with the second half of a surrogate pair or end with the first: some servers cut their
    JSON there. `MessageAccumulator.add` joins the two.

    Args:
      raw: A raw event that `EventStreamParser.feed` returned.

    Returns:
      The event, which is an `UnknownEvent` if this version does not know its ``type`` or its name.

    Raises:
      InvalidResponseError: the data is not that of such an event. The text of the error names the event and the
        reason, and quotes nothing of the data.
    """
    name, data = raw
    if name in _SIMPLE_NAMES:
        try:
            return _decode_simple(data)
        except JSON_ERRORS:
            pass  # decoding it in two steps finds out what is unusual about it
    return _decode_any_event(name, data)


def _decode_any_event(name: str, data: bytes) -> RawMessageStreamEvent:
    try:
        value = decode_any_number(data)
    except JSON_ERRORS as error:
        return _read_text(name, data, error)
    if not isinstance(value, dict):
        return _read_text(name, data, msgspec.ValidationError("Expected `object`"))
    try:
        event = _read_event(name, cast("dict[str, Any]", value))
    except JSON_ERRORS as error:
        raise _invalid(name, data, error) from error
    if type(event) is ContentBlockDeltaEvent and b"\\ud" in data.lower():
        return _with_halves(event, data)
    return event


def _read_event(name: str, raw: Mapping[str, Any]) -> RawMessageStreamEvent:
    tag = raw.get("type")
    reader = _READERS.get(tag) if isinstance(tag, str) else None
    if reader is not None:
        return reader(raw)
    if name == "ping":
        return PingEvent()
    if name == "error":
        return ErrorEvent.from_wire(raw)
    if isinstance(tag, str):
        return UnknownEvent.from_wire(raw)
    if raw.get("error") and (name in _UNNAMED or name in _READERS):
        # Gateways break off like this, in the dialect of whatever they stand in front of.
        return ErrorEvent.from_wire(raw)
    if not name or name in _READERS:
        raise msgspec.ValidationError("Object without a `type`")
    return UnknownEvent(raw=dict(raw), name=name)


def _read_text(name: str, data: bytes, error: Exception) -> RawMessageStreamEvent:
    """Make an event from data that is not a JSON object."""
    text = data.decode("utf-8", "replace")
    if name == "ping":
        return PingEvent()
    if name == "error":
        return ErrorEvent.of_text(text)
    event = UnknownEvent(raw={}, name=name, data=text)
    # Without a name, or under one of ours, it may be a piece of the message.
    if event.ends_stream or (name and name not in _READERS):
        return event
    raise _invalid(name, data, error) from error


def _with_halves(event: ContentBlockDeltaEvent, data: bytes) -> ContentBlockDeltaEvent:
    """Put back the halves of surrogate pairs at the ends of a delta's text, for which decoding has put U+FFFD."""
    delta = event.delta
    name = TEXT_FIELDS.get(type(delta))
    if name is None:
        return event
    # Unlike msgspec, Python's decoder lets lone surrogates through. That it is JSON is known by now.
    text = cast("str", json.loads(data, parse_int=str)["delta"][name])
    inner = _SURROGATE.sub("\ufffd", text[1:-1])
    first, last = text[:1], text[-1:] if len(text) > 1 else ""
    if not _SECOND_HALF.match(first) and not (_FIRST_HALF.match(first) and not last):
        first = _SURROGATE.sub("\ufffd", first)
    if not _FIRST_HALF.match(last):
        last = _SURROGATE.sub("\ufffd", last)
    halved = first + inner + last
    return msgspec.structs.replace(event, delta=msgspec.structs.replace(delta, **{name: halved}))


def _invalid(name: str, data: bytes, error: Exception) -> InvalidResponseError:
    return InvalidResponseError(f"invalid {event_name(name)} event ({len(data)} bytes): {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
