"""Lists in the reference that follow from the unions of the API's values, so that nobody keeps them by hand.

What belongs here: the directive ``.. union::``, as text that becomes other text. What does not: how values are shown
(`conf`). The tests expand the pages with this too, to find what is documented.

::

    .. union:: ContentBlock
       :beta: no
       :show-inheritance:

is an ``autoclass`` of each member of ``trio_stream.types.ContentBlock`` that fits the conditions, with what other
options there are. The conditions, each with ``yes`` or ``no``:

* ``beta``: the docstring says "Beta.";
* ``helper``: it is an event that a stream makes of a delta;
* ``raw``: it is an event of the wire only.

Members for an unknown ``type`` are never among them.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from typing import Any

import trio_stream
import trio_stream.types

_UNION = re.compile(r"^\.\. union:: (\w+)\n((?:   :.*\n)*)", re.MULTILINE)
_CONDITION = re.compile(r"   :(beta|helper|raw): (yes|no)\n")


def _is_beta(member: Any) -> bool:
    return "Beta." in (member.__doc__ or "")


def _is_helper(member: Any) -> bool:
    return hasattr(member, "made_of")


def _is_raw(member: Any) -> bool:
    return member not in typing.get_args(trio_stream.types.MessageStreamEvent)


_CONDITIONS: dict[str, Callable[[Any], bool]] = {"beta": _is_beta, "helper": _is_helper, "raw": _is_raw}


def expand(page: str) -> str:
    """Put the members of unions in place of the directives."""
    return _UNION.sub(_list_members, page)


def _list_members(directive: re.Match[str]) -> str:
    conditions = _CONDITION.findall(directive[2])
    options = _CONDITION.sub("", directive[2])
    return "\n".join(
        f".. autoclass:: {place_of(member.__name__)}\n{options}"
        for member in typing.get_args(getattr(trio_stream.types, directive[1]))
        if not member.__name__.startswith("Unknown")
        and all(_CONDITIONS[name](member) is (answer == "yes") for name, answer in conditions)
    )


def place_of(name: str) -> str:
    """The module in which a value is documented: the one that is easier to reach."""
    return f"trio_stream.{name}" if hasattr(trio_stream, name) else f"trio_stream.types.{name}"
