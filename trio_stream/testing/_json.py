"""Reading decoded JSON whose shape nobody has checked.

What belongs here: turning what may be anything into lists and objects. What does not: judging it (`_strict`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, otherwise an empty list."""
    return value if is_list(value) else []


def as_object(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, otherwise an empty object."""
    return value if is_object(value) else {}


def at_path(value: Any, *names: str) -> Any:
    """The value under these names, each inside the one before, or None if there is none."""
    for name in names:
        value = as_object(value).get(name)
    return value


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether the value is a JSON array."""
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether the value is a JSON object."""
    return isinstance(value, Mapping)
