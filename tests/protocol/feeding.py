"""Feeding event streams through the whole of `_protocol`.

What belongs here: from bytes and events to what is delivered. What does not: the events themselves (`tests.wire`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

from tests.wire.events import STOP, Event, message_delta, message_start
from trio_stream._protocol import (
    ErrorEvent,
    EventStreamParser,
    Message,
    MessageAccumulator,
    MessageStreamEvent,
    RawEvent,
    decode_event,
)


def raw(event: Event) -> RawEvent:
    """An event as the parser returns it."""
    return event["type"], json.dumps(event).encode()


def without_nulls(value: object) -> object:
    """JSON without its null members, which mean the same to the API as missing ones."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: without_nulls(item) for name, item in members.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in cast("list[object]", value)]
    return value


def parse(data: bytes) -> list[RawEvent]:
    """All events of a stream, fed at once."""
    return EventStreamParser().feed(data)


def parse_pieces(pieces: Iterable[bytes]) -> list[RawEvent]:
    """All events of a stream, fed in pieces."""
    parser = EventStreamParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def one_by_one(data: bytes) -> Iterable[bytes]:
    """The bytes, one at a time."""
    return (data[index : index + 1] for index in range(len(data)))


def accumulate(
    events: Iterable[RawEvent | Event], accumulator: MessageAccumulator | None = None
) -> tuple[MessageAccumulator, list[MessageStreamEvent]]:
    """Decode and add events; what was delivered."""
    accumulator = accumulator or MessageAccumulator()
    delivered: list[MessageStreamEvent] = []
    for event in events:
        decoded = decode_event(raw(event) if isinstance(event, dict) else event)
        assert not isinstance(decoded, ErrorEvent)
        delivered.extend(accumulator.add(decoded))
    return accumulator, delivered


def final(*events: Event) -> Message:
    """The message of a stream with these events between its first and its last ones."""
    accumulator, _ = accumulate([message_start(), *events, message_delta(), STOP])
    assert accumulator.complete
    message = accumulator.snapshot()
    assert message is not None
    return message
