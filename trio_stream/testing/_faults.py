"""A fault of a request, and reading parts of one that nobody has checked.

What belongs here: what the modules of strictness share. What does not: any rule (`_strict` and its kin).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from trio_stream.testing._json import as_list, as_object

Fields: TypeAlias = Mapping[str, Any]

EXTRA = "Extra inputs are not permitted"


class Fault(Exception):  # noqa: N818 - a finding; turned into a sentence
    """What the API would refuse, with its place as the API writes it; None for a sentence without a place."""

    def __init__(self, path: str | None, problem: str) -> None:
        super().__init__(problem if path is None else f"{path}: {problem}")


class Placed(NamedTuple):
    """A block of a conversation whose own form has been found right.

    Attributes:
      path: Where it is, as the API writes it.
      role: The role of its message.
      block: The block.
    """

    path: str
    role: str
    block: Fields

    @property
    def message(self) -> str:
        """The place of its message, as the API writes it."""
        return self.path.partition(".content")[0]


class Betas(msgspec.Struct, frozen=True):
    """The betas of a request.

    Attributes:
      any: Whether fields and blocks of betas are allowed.
      names: The names in ``anthropic-beta``. If they are not known, every beta is taken as asked for.
    """

    any: bool = False
    names: frozenset[str] = frozenset()

    def has(self, feature: str) -> bool:
        """Whether a beta is asked for, by its name without the date."""
        return self.any and (not self.names or any(name.startswith(f"{feature}-") for name in self.names))


def list_of(value: Any, path: str) -> list[Any]:
    """The value, which has to be a list."""
    if not isinstance(value, list):
        raise Fault(path, "Input should be a valid list")
    return as_list(value)


def fields_of(value: Any, path: str) -> Fields:
    """The value, which has to be an object."""
    if not isinstance(value, Mapping):
        raise Fault(path, "Input should be an object")
    return as_object(value)


def check_str(value: Any, path: str) -> None:
    """Refuse what is not a string."""
    if not isinstance(value, str):
        raise Fault(path, "Input should be a valid string")


def check_known(fields: Fields, known: Collection[str], path: str) -> None:
    """Refuse fields that the API does not know."""
    for name in fields:
        if name not in known:
            raise Fault(f"{path}.{name}", EXTRA)


def check_choice(value: Any, choices: Collection[str], path: str) -> None:
    """Refuse what is not one of the choices."""
    if not isinstance(value, str) or value not in choices:
        *most, last = (f"'{choice}'" for choice in choices)
        raise Fault(path, f"Input should be {', '.join(most)} or {last}" if most else f"Input should be {last}")
