"""Events as JSON, where the bytes of the API are not at hand: in the form that the API has for them.

What belongs here: the JSON of the events of messages and of runs. What does not: frames (`_frames`, the encoders).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from trio_stream._protocol import (
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
)
from trio_stream.agent import (
    ApprovalEvent,
    NestedEvent,
    SteerEvent,
    ToolProgressEvent,
    ToolStartEvent,
    ToolStopEvent,
    TurnRestartEvent,
    TurnStartEvent,
    TurnStopEvent,
)

from ._encoder import RelayedEvent
from ._failure import failure_of
from ._plain_json import plain_json


def event_data(event: RelayedEvent) -> bytes:
    """The JSON of an event, as bytes. What a tool tells of its progress may be no JSON: it goes out as text then."""
    return plain_json(event_json(event))


def error_data(kind: str, sentence: str) -> bytes:
    """An error in the shape in which the API tells errors."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": sentence}})


def data_of(value: Mapping[str, Any]) -> tuple[str, bytes]:
    """The ``type`` and the JSON of something that the program says itself.

    Raises:
      ValueError: It has no ``type``, or that is no text of one line.
      TypeError: It is not JSON.
    """
    kind = value.get("type")
    if not isinstance(kind, str) or not kind or not kind.isprintable():
        raise ValueError(f"what is sent needs a `type` that is a text of one line, not {kind!r}")
    return kind, msgspec.json.encode(value)


def event_json(event: RelayedEvent) -> dict[str, Any]:
    """The JSON of an event. Of the events of runs, what a page can use."""
    match event:
        case MessageStartEvent():
            out = event.to_dict()
            # The API writes these nulls, and its clients' types promise them.
            out["message"] = {"stop_reason": None, "stop_sequence": None, **out["message"]}
            return out
        case MessageDeltaEvent():
            out = event.to_dict()
            out["delta"] = {"stop_reason": None, "stop_sequence": None, **out["delta"]}
            return out
        case ContentBlockStopEvent():  # without the block: it has been said by now
            return {"type": event.type, "index": event.index, **event.extra}
        case MessageStopEvent():
            return {"type": event.type, **event.extra}
        case TurnStartEvent():
            return {"type": event.type, "turn": event.turn}
        case TurnStopEvent():
            return {"type": event.type, "turn": event.turn, "results": event.results}
        case TurnRestartEvent():
            failure = failure_of(event.error)
            error = {"type": failure.type, "message": failure.message}
            return {"type": event.type, "turn": event.turn, "error": error, "delay": event.delay}
        case ToolStartEvent() | ApprovalEvent():
            return {"type": event.type, "id": event.id, "name": event.name, "input": event.input}
        case ToolProgressEvent():
            return {"type": event.type, "id": event.id, "name": event.name, "progress": event.progress}
        case ToolStopEvent():
            said = {"is_error": event.is_error, "result": event.result}
            return {"type": event.type, "id": event.id, "name": event.name, **said}
        case SteerEvent():
            return {"type": event.type, "content": event.content, "when": event.when}
        case NestedEvent():
            inner = event_json(cast("RelayedEvent", event.event))
            return {"type": event.type, "id": event.id, "name": event.name, "event": inner}
        case _:
            return event.to_dict()
