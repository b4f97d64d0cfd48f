"""The events of the Messages API as JSON values, and the standard message "Hello there, world.".

What belongs here: plain functions from values to events; each returns a new `dict`. What does not: their bytes
(`answers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Event = dict[str, Any]

PIECES = ("Hello", " there,", " world.")
TEXT = "".join(PIECES)
"""The text of the standard message."""


def typed(kind: str, **fields: Any) -> Event:
    """An event of any type."""
    return {"type": kind, **fields}


def message_start(message_id: str = "msg_1", **fields: Any) -> Event:
    """``message_start`` of an empty message."""
    message = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
        **fields,
    }
    return typed("message_start", message=message)


def block_start(index: int = 0, block: str | Mapping[str, Any] = "text", **fields: Any) -> Event:
    """``content_block_start``, of an empty block of a kind, or of the block that is given."""
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"id": f"toolu_{index}", "name": "look", "input": {}},
        "server_tool_use": {"id": f"srvtoolu_{index}", "name": "web_search", "input": {}},
        "mcp_tool_use": {"id": f"mcptoolu_{index}", "name": "look", "server_name": "s", "input": {}},
        "compaction": {"content": None, "encrypted_content": None},
    }
    if isinstance(block, str):
        block = {"type": block, **empty.get(block, {})}
    return typed("content_block_start", index=index, content_block={**block, **fields})


def block_delta(delta: str | Mapping[str, Any], index: int = 0, **fields: Any) -> Event:
    """``content_block_delta`` of a kind with these fields, or with the delta that is given."""
    begun = {"type": delta} if isinstance(delta, str) else dict(delta)
    return typed("content_block_delta", index=index, delta={**begun, **fields})


def text_delta(text: str, index: int = 0) -> Event:
    """A piece of text."""
    return block_delta("text_delta", index, text=text)


def json_delta(partial_json: str, index: int = 0) -> Event:
    """A piece of a tool's input."""
    return block_delta("input_json_delta", index, partial_json=partial_json)


def block_stop(index: int = 0) -> Event:
    """``content_block_stop``."""
    return typed("content_block_stop", index=index)


def message_delta(stop_reason: str | None = "end_turn", **fields: Any) -> Event:
    """``message_delta``, with a usage of 9 output tokens unless another is given."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return typed("message_delta", **{"delta": delta, "usage": {"output_tokens": 9}, **fields})


def message_stop() -> Event:
    """``message_stop``."""
    return typed("message_stop")


def ping() -> Event:
    """``ping``."""
    return typed("ping")


def error_event(kind: str, message: str = "What the API says", **fields: Any) -> Event:
    """An ``error`` event."""
    return typed("error", error={"type": kind, "message": message, "details": None, **fields})


STOP = message_stop()
PING = ping()

BEGIN = (message_start(), block_start())
DELTAS = tuple(map(text_delta, PIECES))
END = (block_stop(), message_delta(), message_stop())


def message_events(pieces: Iterable[str] = PIECES) -> list[Event]:
    """A whole message of one text block, event by event."""
    return [*BEGIN, *map(text_delta, pieces), *END]


CUT_EVENTS = (*BEGIN, *DELTAS)
"""The standard message up to its third delta."""
