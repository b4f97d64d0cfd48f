"""What the Messages API refuses about cache breakpoints.

What belongs here: how many there may be, and in which order. What does not: what is cached (`_prompt_cache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from trio_stream.testing._faults import Fault, Fields
from trio_stream.testing._json import as_list, as_object

_MOST_BREAKPOINTS: Final = 4

_NOT_CACHEABLE: Final = frozenset({"thinking", "redacted_thinking"})
"""The blocks on which the automatic breakpoint cannot be."""


class _Block(NamedTuple):
    """A tool or a block, and where it is."""

    path: str
    fields: Fields


def check_breakpoints(body: Fields) -> None:
    """Check the breakpoints of a request: those in its blocks, and the automatic one of its ``cache_control``.

    Raises:
      Fault: The first that was found.
    """
    blocks = list(_blocks(body))
    marked = [block for block in blocks if block.fields.get("cache_control")]
    found = len(marked)
    automatic = as_object(body.get("cache_control"))
    last = next((block for block in reversed(blocks) if _is_cacheable(block.fields)), None)
    if automatic and last is not None:
        own = as_object(last.fields.get("cache_control"))
        if not own:
            marked.append(_Block(last.path, {"cache_control": automatic}))
            found += 1
        elif _ttl(own) != _ttl(automatic):
            raise Fault("cache_control.ttl", f"the last block has a breakpoint with another ttl: {last.path}")
    if found > _MOST_BREAKPOINTS:
        raise Fault(
            "messages",
            f"A maximum of {_MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {found}.",
        )
    _check_order(marked)


def _check_order(marked: list[_Block]) -> None:
    shorter = False
    for path, fields in marked:
        if _ttl(as_object(fields["cache_control"])) == "5m":
            shorter = True
        elif shorter:
            raise Fault(
                f"{path}.cache_control.ttl",
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks "
                "are processed in the following order: `tools`, `system`, `messages`.",
            )


def _ttl(control: Fields) -> str:
    return str(control.get("ttl") or "5m")


def _is_cacheable(fields: Fields) -> bool:
    return fields.get("type") not in _NOT_CACHEABLE and fields.get("text") != ""


def _blocks(body: Fields) -> Iterator[_Block]:
    """Everything that may have a breakpoint, in the order in which it is cached."""
    yield from _numbered("tools", body.get("tools"))
    yield from _content("system", body.get("system"))
    for number, message in enumerate(as_list(body.get("messages"))):
        yield from _content(f"messages.{number}.content", as_object(message).get("content"))


def _content(path: str, content: Any) -> Iterator[_Block]:
    if isinstance(content, str):
        yield _Block(path, {"type": "text", "text": content})
        return
    for block in _numbered(path, content):
        yield from _content(f"{block.path}.content", as_list(block.fields.get("content")))
        yield block


def _numbered(path: str, items: Any) -> Iterator[_Block]:
    for index, item in enumerate(as_list(items)):
        yield _Block(f"{path}.{index}", as_object(item))
