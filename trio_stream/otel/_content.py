"""Prompts and answers in the form of the semantic conventions for generative AI.

What belongs here: messages, parts and tools as JSON, and its bounds. What does not: whether content is told at all.

Images and documents are never told, only that they were there. The JSON is bounded, because one span's attributes are
sent in one request: of too many messages the last are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard

import msgspec

from trio_stream import Message

MOST_BYTES: Final = 250_000
"""How large one attribute may be."""

FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_call",
}
"""The convention's words for the API's stop reasons; others are told as they are."""

CUT: Final = "error"
"""The finish reason of an answer that began and did not end."""


def finish_reason(message: Message, *, whole: bool) -> str:
    """Why an answer ended, in the convention's words."""
    if not whole or message.stop_reason is None:
        return CUT
    return FINISH_REASONS.get(message.stop_reason, message.stop_reason)


def input_messages(messages: object) -> str:
    """The ``messages`` of a request."""
    told: list[dict[str, Any]] = []
    for message in _objects(messages):
        told += _messages(str(message.get("role", "user")), _blocks(message.get("content")))
    return _bounded(told)


def output_messages(message: Message, *, whole: bool) -> str:
    """An answer."""
    parts = [_part(block.to_dict()) for block in message.content]
    # Deprecated where it stands, and needed: back-ends show nothing without it.
    return _bounded([{"role": "assistant", "parts": parts, "finish_reason": finish_reason(message, whole=whole)}])


def system_instructions(system: object) -> str:
    """The ``system`` of a request."""
    return _bounded([_part(block) for block in _blocks(system)])


def tool_definitions(tools: object) -> str:
    """The ``tools`` of a request."""
    return _bounded(
        [
            {
                "type": "function",
                "name": tool.get("name"),
                "description": tool.get("description"),
                "parameters": tool.get("input_schema"),
            }
            if "input_schema" in tool
            else {"type": tool.get("type"), "name": tool.get("name")}
            for tool in _objects(tools)
        ]
    )


def tool_input(value: object) -> str:
    """The input of a tool."""
    encoded = msgspec.json.encode(value)
    return (encoded if len(encoded) <= MOST_BYTES else _shortest(value)).decode()


def tool_result(content: object) -> str:
    """The ``content`` of a tool's result: a text as it is, anything else as JSON."""
    if isinstance(content, str):
        encoded = content.encode(errors="replace")
        return content if len(encoded) <= MOST_BYTES else encoded[: MOST_BYTES - 3].decode(errors="ignore") + "..."
    return _bounded(list(_objects(_without_data(content))))


def _messages(role: str, blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One message of the API: a message of its own for each result of a tool, and one for the rest."""
    told = [
        {"role": "tool", "parts": [_part(block)]} for block in blocks if str(block.get("type")).endswith("tool_result")
    ]
    rest = [_part(block) for block in blocks if not str(block.get("type")).endswith("tool_result")]
    return [*told, {"role": role, "parts": rest}] if rest or not told else told


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(block.get("type"))
    if kind == "text":
        return {"type": "text", "content": block.get("text")}
    if kind == "thinking":
        return {"type": "reasoning", "content": block.get("thinking")}
    if kind.endswith("tool_use"):
        return {
            "type": "tool_call",
            "id": block.get("id"),
            "name": block.get("name"),
            "arguments": block.get("input", block.get("input_json")),
        }
    if kind.endswith("tool_result"):
        return {
            "type": "tool_call_response",
            "id": block.get("tool_use_id"),
            "response": _without_data(block.get("content")),
        }
    if kind in ("image", "document"):
        source = block.get("source")
        return {"type": "blob", "modality": kind, "mime_type": source.get("media_type") if _is_object(source) else None}
    return {"type": kind}


def _without_data(value: object) -> object:
    """The content of a result; texts as parts, and images and documents only by what they are, wherever they stand."""
    if _is_list(value):
        return [_without_data(item) for item in value]
    if not _is_object(value):
        return value
    if value.get("type") in ("text", "image", "document"):
        return _part(value)
    return {key: _without_data(item) for key, item in value.items()}


def _blocks(content: object) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(_objects(content))


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if _is_object(item)] if _is_list(value) else ()


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _bounded(values: Sequence[Mapping[str, Any]]) -> str:
    """A list as JSON, without its first items where it would be too long; a last one that is too long is shortened."""
    encoded = [msgspec.json.encode(value) for value in values]
    size, first = 2, len(encoded)
    while first and size + len(encoded[first - 1]) + 1 <= MOST_BYTES:
        first -= 1
        size += len(encoded[first]) + 1
    if first and first == len(encoded):
        return _shortest([values[-1]]).decode()
    return "[" + b",".join(encoded[first:]).decode() + "]"


def _shortest(value: object) -> bytes:
    """A value as JSON, its texts and lists shortened until it is short enough."""
    encoded = b"null"
    for characters, items in _SHORTER:
        encoded = msgspec.json.encode(_shortened(value, characters, items))
        if len(encoded) <= MOST_BYTES:
            return encoded
    return b"null"  # it is deep beyond all measure


def _shortened(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= characters else value[:characters] + "..."
    if _is_object(value):
        kept = list(value.items())[:items]
        return {_shortened(key, characters, items): _shortened(item, characters, items) for key, item in kept}
    if _is_list(value):
        return [_shortened(item, characters, items) for item in value[:items]]
    return value


_SHORTER: Final = ((10_000, 20), (1_000, 20), (100, 10), (10, 3))
"""How many characters are kept of a text, and how many items of a list or an object: from much to little."""
