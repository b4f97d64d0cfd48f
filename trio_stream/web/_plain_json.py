"""Any value as JSON, for what the program's own code has said: a tool may report any object as its progress.

What belongs here: writing such a value without failing. What does not: the JSON of events (`_event_json`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

import msgspec

_DEEPEST: Final = 50
"""How many levels of a value are written where it is nested too deeply to be written as it is."""

_encode = msgspec.json.encode


def plain_json(value: object) -> bytes:
    """A value as JSON on one line.

    What has no form in JSON is its text, and a lone surrogate is a question mark. What is nested too deeply is left
    out.
    """
    try:
        return _encode(value, enc_hook=_text)
    except (TypeError, ValueError, RecursionError):
        return _encode(_plain(value, _DEEPEST))


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, object]", value)
        return {_text(name): _plain(item, depth - 1) for name, item in fields.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in cast("Iterable[object]", value)]
    return _text(value)


def _text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a broken `__str__` of somebody's object hides nothing else
        text = type(value).__name__
    return text.encode("utf-8", "replace").decode()
