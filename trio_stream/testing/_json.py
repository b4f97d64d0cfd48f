"""Reading decoded JSON whose shape nobody has checked.

What belongs here: turning what may be anything into lists and objects. What does not: judging it (`_strict`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard


def as_list(value: Any) -> list[Any]:
    """The list, or an empty one where it is none."""
    return value if _is_list(value) else []


def as_object(value: Any) -> Mapping[str, Any]:
    """The object, or an empty one where it is none."""
    return value if is_object(value) else {}


def at_path(value: Any, *names: str) -> Any:
    """What stands under these names, one inside the other; None where nothing does."""
    for name in names:
        value = as_object(value).get(name)
    return value


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is an object."""
    return isinstance(value, Mapping)
