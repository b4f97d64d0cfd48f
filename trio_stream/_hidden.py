"""Values that no text may show: keys, tokens, headers, prompts.

What belongs here: how such a value appears in `repr`, in logs, and where tools print the local variables of a traceback
(Sentry, ``rich.traceback``, pytest). What does not: what is in it.

Such tools look into what they know: the items of anything that is a ``Mapping``, and the fields of a msgspec Struct
through its ``__rich_repr__``. So what is hidden is neither, or answers both.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable
from typing import Any, Protocol, final


class Hidden:
    """A base for classes whose instances are shown without what is in them. It comes before ``msgspec.Struct``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class HeaderItems(Protocol):
    """Headers, hidden or not."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""
        ...


@final
class HiddenHeaders(Hidden):
    """The headers of one request. On purpose no ``Mapping``: its items would be shown.

    Args:
      *layers: Headers by name. Later ones win over earlier ones of the same name.
    """

    __slots__ = ("_fields",)

    def __init__(self, *layers: HeaderItems) -> None:
        self._fields: dict[str, str] = {}
        for layer in layers:
            self._fields.update(layer.items())

    def items(self) -> ItemsView[str, str]:
        """Names and values, in their order."""
        return self._fields.items()
