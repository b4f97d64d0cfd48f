"""Answers for the encoders: the events that a stream delivers for a message, and what encoders make of them."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from trio_stream import ToolStartEvent, ToolStopEvent, TurnStartEvent, TurnStopEvent
from trio_stream._protocol import ErrorEvent, EventStreamParser, MessageAccumulator, RawEvent, decode_event
from trio_stream.types import Message
from trio_stream.web import Encoder, Failure, RelayedEvent
from trio_stream.web._condensed import Condensed

_RELAYED = typing.get_args(RelayedEvent)

OVERLOADED = Failure(status=503, type="overloaded_error", message="The model is overloaded.", retry_after=5)

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}


def reply(
    *blocks: dict[str, Any], stop_reason: str | None = "end_turn", message_id: str = "msg_1", piece: int = 4
) -> list[RelayedEvent]:
    """The events of a message with these blocks, of which text and input come in pieces of a few characters."""
    start = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "usage": USAGE,
    }
    raw = [_raw("message_start", message=start)]
    for index, block in enumerate(blocks):
        raw += _block(index, block, piece)
    raw.append(_raw("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 9}))
    raw.append(_raw("message_stop"))
    return list(_delivered(raw))


def recorded_events(data: bytes) -> list[RelayedEvent]:
    """The events of a recorded stream, up to an error in it."""
    return list(_delivered(EventStreamParser().feed(data)))


def _delivered(raw: Iterable[RawEvent]) -> Iterator[RelayedEvent]:
    accumulator = MessageAccumulator()
    for one in raw:
        event = decode_event(one)
        if isinstance(event, ErrorEvent):
            return
        yield from (said for said in accumulator.add(event) if isinstance(said, _RELAYED))


def _raw(kind: str, **fields: Any) -> RawEvent:
    return kind, msgspec.json.encode({"type": kind, **fields})


_GROWS = {
    "text": ("text", "text_delta", "text"),
    "thinking": ("thinking", "thinking_delta", "thinking"),
    "tool_use": ("input", "input_json_delta", "partial_json"),
    "server_tool_use": ("input", "input_json_delta", "partial_json"),
    "mcp_tool_use": ("input", "input_json_delta", "partial_json"),
}


def _block(index: int, block: dict[str, Any], piece: int) -> Iterator[RawEvent]:
    block = dict(block)
    deltas: list[dict[str, Any]] = []
    if (grows := _GROWS.get(block["type"])) is not None:
        field, kind, name = grows
        whole = block.pop(field)
        text = whole if isinstance(whole, str) else msgspec.json.encode(whole).decode() if whole else ""
        block[field] = {} if field == "input" else ""
        deltas += ({"type": kind, name: text[at : at + piece]} for at in range(0, len(text), piece))
    cited = block.pop("citations", None) or []
    # The API sends the citations of a text before the text.
    deltas = [{"type": "citations_delta", "citation": citation} for citation in cited] + deltas
    if signature := block["type"] == "thinking" and block.pop("signature", None):
        deltas.append({"type": "signature_delta", "signature": signature})
    yield _raw("content_block_start", index=index, content_block=block)
    for delta in deltas:
        yield _raw("content_block_delta", index=index, delta=delta)
    yield _raw("content_block_stop", index=index)


def text(value: str, *citations: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": value, "citations": list(citations)}


def call(call_id: str = "toolu_1", name: str = "search", kind: str = "tool_use", **given: Any) -> dict[str, Any]:
    return {"type": kind, "id": call_id, "name": name, "input": given}


def result(call: str, content: Any, kind: str = "web_search_tool_result", **fields: Any) -> dict[str, Any]:
    """The result of a tool that the API runs."""
    return {"type": kind, "tool_use_id": call, "content": content, **fields}


def started(call_id: str = "toolu_1", name: str = "search", **given: Any) -> ToolStartEvent:
    return ToolStartEvent(id=call_id, name=name, input=given)


def stopped(
    content: Any = "done", call_id: str = "toolu_1", name: str = "search", *, is_error: bool = False
) -> ToolStopEvent:
    """A call of a run has its result."""
    answer = {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": is_error}
    return ToolStopEvent(id=call_id, name=name, is_error=is_error, result=answer)


def turn(number: int, events: list[RelayedEvent], *then: RelayedEvent) -> list[RelayedEvent]:
    """A turn of a run."""
    message: Message | None = getattr(events[-1], "message", None)
    return [TurnStartEvent(turn=number), *events, *then, TurnStopEvent(turn=number, message=message)]


def condensed(encoder: Encoder, events: Iterable[RelayedEvent]) -> list[bytes]:
    """The frames with which a hub tells a new encoder the same in a shorter form."""
    short = Condensed()
    for event in events:
        short.add(event)
    return short.frames(encoder.renew())


def encoded(encoder: Encoder, events: Iterable[RelayedEvent], ending: str | None = "end") -> list[bytes]:
    """The frames for an answer: of its start, its events, and its ending, if it has one."""
    frames = list(encoder.start())
    for event in events:
        frames += encoder.event(event, None)
    return frames + end(encoder, ending)


def end(encoder: Encoder, ending: str | None = "end") -> list[bytes]:
    """The frames of an ending: ``end``, ``error``, ``abort``, or None for an answer that is cut."""
    if ending == "end":
        return list(encoder.end())
    if ending == "error":
        return list(encoder.error(OVERLOADED))
    return list(encoder.abort("the user pressed Stop")) if ending == "abort" else []
