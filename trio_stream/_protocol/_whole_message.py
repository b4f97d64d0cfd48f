"""A whole message as the events in which it would have been streamed.

What belongs here: telling a message by its JSON, and taking it apart. What does not: reading the body that has it
(`_stream`), and putting events together (`_accumulator`).

Gateways that cannot stream answer a request for a stream with the whole message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard, cast

import msgspec

from trio_stream._protocol._blocks import BLOCKS
from trio_stream._protocol._growth import Append
from trio_stream._protocol._sse import RawEvent


def is_message(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether decoded JSON is a message, and not an error or an answer of another API."""
    if not isinstance(value, dict):
        return False
    raw = cast("dict[str, Any]", value)
    kind = raw.get("type", "message")
    return kind == "message" and isinstance(raw.get("content"), list) and not raw.get("error")


def events_of_message(raw: Mapping[str, Any]) -> list[RawEvent]:
    """The events of a message, such that accumulating them makes the same message, fields that are unknown included."""
    content: list[object] = raw["content"]
    start: dict[str, object] = {**raw, "content": [], "stop_reason": None, "stop_sequence": None}
    events = [_event("message_start", message=start)]
    for index, block in enumerate(content):
        events += _events_of_block(index, block)
    end = {"stop_reason": raw.get("stop_reason"), "stop_sequence": raw.get("stop_sequence")}
    return [*events, _event("message_delta", delta=end), _event("message_stop")]


def _events_of_block(index: int, block: object) -> Iterator[RawEvent]:
    deltas: list[dict[str, str]] = []
    if isinstance(block, dict):
        raw = cast("dict[str, Any]", block)
        block = dict(raw)
        known = BLOCKS.get(raw.get("type", ""))
        for delta, growth in known.grows_by.items() if known else ():
            if type(growth) is not Append:
                continue
            field = "input" if growth.field == "input_json" else growth.field
            held: object = raw.get(field)
            piece = held if isinstance(held, str) else msgspec.json.encode(held).decode() if held else ""
            if piece and (field == "input" or isinstance(held, str)):
                block[field] = {} if field == "input" else ""
                deltas.append({"type": cast("str", delta.__struct_config__.tag), growth.piece: piece})
    yield _event("content_block_start", index=index, content_block=block)
    for piece_of in deltas:
        yield _event("content_block_delta", index=index, delta=piece_of)
    yield _event("content_block_stop", index=index)


def _event(name: str, **fields: object) -> RawEvent:
    return name, msgspec.json.encode({"type": name, **fields})
