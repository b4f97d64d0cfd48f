"""What the requests of a fan-out share, and marking it for the prompt cache.

What belongs here: the text that leads every prompt, and where `cache_control` is put. What does not: sending one
request before the others (`_warmup`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

CacheDuration: TypeAlias = Literal["5m", "1h"]
"""How long an entry of the prompt cache lasts after it was last read."""

_MOST_MARKS: Final = 4
"""How many blocks of a request may have a ``cache_control``."""

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
    ``tools``. Marks of the caller's own stay as they are: on that block there is no other then, between others the new
    one lasts as long as the API allows there, and where they are as many as it allows there is no new one.

    The parameters that are given are not changed, and should be those that are hashed: whether an answer came by the
    cache does not make it another request.

    Args:
      params: The parameters of a request.
      duration: How long the entry is to last.
      prefixed: Whether `with_prefix` made them.

    Returns:
      None if nothing is shared.
    """
    tools, system, messages = _list(params.get("tools")), _system(params), _list(params.get("messages"))
    if prefixed:
        first, *others = messages
        content = first["content"]
        blocks = _marked(content[:1], duration, before=[*tools, *system], after=_rest(params, [*content[1:], *others]))
        assert blocks is not None
        return {**params, "messages": [{**first, "content": [*blocks, *content[1:]]}, *others]}
    for name, value, before, after in (
        ("system", system, tools, messages),
        ("tools", tools, [], [*system, *messages]),
    ):
        blocks = _marked(value, duration, before=before, after=_rest(params, after))
        if blocks is not None:
            return {**params, name: blocks}
    return None


def _list(value: object) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else []


def _system(params: Mapping[str, Any]) -> list[Any]:
    system = params.get("system")
    return [_text(system)] if isinstance(system, str) and system else _list(system)


def _rest(params: Mapping[str, Any], blocks: list[Any]) -> list[Any]:
    """Add the automatic mark of a request to the blocks at its end; it is on the last of them, if that has none."""
    automatic = params.get("cache_control")
    last = blocks[-1] if blocks else None
    while isinstance(last, Mapping) and (content := _list(cast("Mapping[str, Any]", last).get("content"))):
        last = content[-1]
    is_free = automatic and not next(_durations([last]), None)
    return [*blocks, {"cache_control": automatic}] if is_free else blocks


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _marked(blocks: list[Any], duration: CacheDuration, *, before: list[Any], after: list[Any]) -> list[Any] | None:
    """Return the blocks with a mark on the last one; None if there is none to mark."""
    if not blocks or not isinstance(blocks[-1], Mapping):
        return None
    *others, last = blocks
    if "cache_control" in last:
        return blocks
    earlier, later = [*_durations([*before, *others])], [*_durations([last, *after])]
    if len(earlier) + len(later) >= _MOST_MARKS:
        return blocks
    # An entry must not last longer than one that comes before it in the prompt.
    if "5m" in earlier:
        duration = "5m"
    elif "1h" in later:
        duration = "1h"
    mark = {"cache_control": {"type": "ephemeral", "ttl": duration}}
    return [*others, {**mark, **last}]


def _durations(blocks: Iterable[Any]) -> Iterator[str]:
    """How long the entries last that are marked in blocks, or in messages, in the order of the prompt."""
    for block in blocks:
        if not isinstance(block, Mapping):
            continue
        fields = cast("Mapping[str, Any]", block)
        yield from _durations(_list(fields.get("content")))
        control = fields.get("cache_control")
        if isinstance(control, Mapping):
            yield str(cast("Mapping[str, Any]", control).get("ttl") or "5m")
