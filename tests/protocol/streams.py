"""Event streams for tests, and feeding them through the whole of `_protocol`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from trio_stream._protocol import (
    ErrorEvent,
    EventStreamParser,
    Message,
    MessageAccumulator,
    MessageStreamEvent,
    RawEvent,
    decode_event,
)


def sse(*events: dict[str, Any]) -> bytes:
    """Events as the API writes them."""
    return b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events
    )


def raw(event: dict[str, Any]) -> RawEvent:
    """An event as the parser returns it."""
    return event["type"], json.dumps(event).encode()


def start(**fields: Any) -> dict[str, Any]:
    """``message_start``."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
        **fields,
    }
    return {"type": "message_start", "message": message}


def block(index: int, type: str = "text", **fields: Any) -> dict[str, Any]:  # noqa: A002
    """``content_block_start``."""
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"id": f"toolu_{index}", "name": "look", "input": {}},
        "server_tool_use": {"id": f"srvtoolu_{index}", "name": "web_search", "input": {}},
        "mcp_tool_use": {"id": f"mcptoolu_{index}", "name": "look", "server_name": "s", "input": {}},
        "compaction": {"content": None, "encrypted_content": None},
    }
    content_block = {"type": type, **empty.get(type, {}), **fields}
    return {"type": "content_block_start", "index": index, "content_block": content_block}


def delta(index: int, type: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
    """``content_block_delta``."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **fields}}


def text(index: int, piece: str) -> dict[str, Any]:
    """``content_block_delta`` with text."""
    return delta(index, "text_delta", text=piece)


def tool_json(index: int, piece: str) -> dict[str, Any]:
    """``content_block_delta`` with a piece of tool input."""
    return delta(index, "input_json_delta", partial_json=piece)


def end(index: int) -> dict[str, Any]:
    """``content_block_stop``."""
    return {"type": "content_block_stop", "index": index}


def change(stop_reason: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    """``message_delta``."""
    usage = {"output_tokens": 9}
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage, **fields}


STOP: dict[str, Any] = {"type": "message_stop"}
PING: dict[str, Any] = {"type": "ping"}


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
    events: Iterable[RawEvent | dict[str, Any]], accumulator: MessageAccumulator | None = None
) -> tuple[MessageAccumulator, list[MessageStreamEvent]]:
    """Decode and add events; what was delivered."""
    accumulator = accumulator or MessageAccumulator()
    delivered: list[MessageStreamEvent] = []
    for event in events:
        decoded = decode_event(raw(event) if isinstance(event, dict) else event)
        assert not isinstance(decoded, ErrorEvent)
        delivered.extend(accumulator.add(decoded))
    return accumulator, delivered


def final(*events: dict[str, Any]) -> Message:
    """The message of a stream with these events between its first and its last ones."""
    accumulator, _ = accumulate([start(), *events, change(), STOP])
    assert accumulator.complete
    message = accumulator.snapshot()
    assert message is not None
    return message
