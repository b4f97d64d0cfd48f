"""Breakpoints of the prompt cache in the messages of a request.

What belongs here: where they go. What does not: keeping messages (`_transcript`); the breakpoints stand in requests
alone, never in the conversation.

The API's automatic breakpoint is at the last block of a request. A request looks for what an earlier one has written in
the 20 blocks before each of its breakpoints, so a turn that adds more blocks than that, as one with a dozen calls does,
would find nothing and write everything again. Up to three more breakpoints, 18 blocks apart, reach back over 74 blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from trio_stream._protocol import encode_json
from trio_stream.agent._transcript import Entry

Lifetime: TypeAlias = Literal["5m", "1h"]
"""How long what is written to the cache lasts."""

_APART: Final = 18
_MOST: Final = 4
"""The breakpoints that a request may have, the automatic one among them."""

_UNMARKABLE: Final = frozenset({"thinking", "redacted_thinking"})


def cache_breakpoint(lifetime: Lifetime) -> dict[str, Any]:
    """A breakpoint, as ``cache_control`` has it."""
    return {"type": "ephemeral", "ttl": lifetime} if lifetime != "5m" else {"type": "ephemeral"}


def mark(entries: Sequence[Entry], lifetime: Lifetime, *, elsewhere: int) -> list[msgspec.Raw]:
    """The messages of a request, with breakpoints.

    Args:
      entries: The messages.
      lifetime: How long what is written lasts.
      elsewhere: How many breakpoints the request has outside of its messages, the automatic one not counted.
    """
    raws = [entry.raw for entry in entries]
    left = _MOST - 1 - elsewhere - sum(entry.breakpoints for entry in entries)
    distance = 0  # from the last block of the request to the last one of the message
    wanted = _APART
    for number in range(len(entries) - 1, -1, -1):
        if left <= 0:
            break
        entry = entries[number]
        places: list[int] = []
        while left > 0 and wanted < distance + entry.blocks:
            places.append(entry.blocks - 1 - (wanted - distance))
            wanted += _APART
            left -= 1
        if places:
            raws[number] = _mark_message(entry.raw, places, cache_breakpoint(lifetime))
        distance += entry.blocks
    return raws


def _mark_message(raw: msgspec.Raw, places: Sequence[int], control: dict[str, Any]) -> msgspec.Raw:
    message: dict[str, Any] = msgspec.json.decode(raw)
    content = message["content"]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for place in places:
        # Thinking cannot be marked. What is before it in the same message is as good, within two blocks.
        for earlier in range(place, max(place - 3, -1), -1):
            block = blocks[earlier]
            if block.get("type") not in _UNMARKABLE and (block.get("type") != "text" or block["text"].strip()):
                block.setdefault("cache_control", control)
                break
    return encode_json({**message, "content": blocks}, "message")
