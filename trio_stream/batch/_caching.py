"""What the requests of a fan-out share, and marking it for the prompt cache.

What belongs here: the text that leads every prompt, and where `cache_control` is put. What does not: sending one
request before the others (`_warmup`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

CacheDuration: TypeAlias = Literal["5m", "1h"]
"""How long an entry of the prompt cache lasts after it was last read."""

SECONDS: Final[Mapping[CacheDuration, float]] = {"5m": 300.0, "1h": 3600.0}


def with_prefix(params: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return parameters whose first message begins with a text block of its own, the same for all items.

    Args:
      params: The parameters of a request.
      prefix: The text.

    Raises:
      TypeError: The first message is not a mapping with a ``content`` that is a str or a list.
    """
    messages: object = params.get("messages")
    turns = cast("Sequence[object]", messages) if isinstance(messages, (list, tuple)) else ()
    first: Mapping[str, Any] = cast("Any", turns[0]) if turns and isinstance(turns[0], Mapping) else {}
    content = first.get("content")
    if not isinstance(content, (str, list, tuple)):
        raise TypeError("a prefix needs messages whose first one has content: a str, or a list of blocks")
    own = [_text(content)] if isinstance(content, str) else list(cast("Sequence[Any]", content))
    lead = {**first, "content": [_text(prefix), *own]}
    return {**params, "messages": [lead, *turns[1:]]}


def mark_shared(params: Mapping[str, Any], duration: CacheDuration, *, prefixed: bool) -> dict[str, Any] | None:
    """Return parameters whose last shared block has a ``cache_control``, so that the API caches everything up to it.

    That block is the prefix that `with_prefix` has put there, or else the end of ``system``, or else the last of the
    ``tools``. One that has a ``cache_control`` already keeps it. The parameters that are given are not changed, and
    should be those that are hashed: whether an answer came by the cache does not make it another request.

    Args:
      params: The parameters of a request.
      duration: How long the entry is to last.
      prefixed: Whether `with_prefix` made them.

    Returns:
      None if nothing is shared.
    """
    if prefixed:
        first, *others = cast("Sequence[Any]", params["messages"])
        blocks = _marked(first["content"][:1], duration)
        assert blocks is not None
        return {**params, "messages": [{**first, "content": [*blocks, *first["content"][1:]]}, *others]}
    system = params.get("system")
    for name, value in (
        ("system", [_text(system)] if isinstance(system, str) and system else system),
        ("tools", params.get("tools")),
    ):
        blocks = _marked(value, duration)
        if blocks is not None:
            return {**params, name: blocks}
    return None


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _marked(blocks: object, duration: CacheDuration) -> list[Any] | None:
    """Return the blocks with a mark on the last one; None if there is none to mark."""
    if not isinstance(blocks, (list, tuple)) or not blocks:
        return None
    *others, last = cast("Sequence[Any]", blocks)
    if not isinstance(last, Mapping):
        return None
    mark = {"cache_control": {"type": "ephemeral", "ttl": duration}}
    return [*others, {**mark, **cast("Mapping[str, Any]", last)}]
