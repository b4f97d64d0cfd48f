"""Docstrings in Google style.

What belongs here: the description and the arguments in one. What does not: what becomes of them (`_parameters`).
"""

from __future__ import annotations

import inspect
import re
from typing import Final, final

import msgspec

_HEADING: Final = re.compile(r"(?P<name>[A-Z][a-zA-Z ]*):\s*")
_SECTIONS: Final = frozenset(
    {
        *("Args", "Arguments", "Parameters", "Keyword Args", "Keyword Arguments", "Attributes", "Other Parameters"),
        *("Returns", "Return", "Yields", "Yield", "Raises", "Warns"),
        *("Example", "Examples", "Note", "Notes", "See Also", "References", "Todo", "Warning", "Warnings"),
    }
)
_OF_ARGUMENTS: Final = frozenset({"Args", "Arguments", "Parameters", "Keyword Args", "Keyword Arguments"})
_ARGUMENT: Final = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)", re.DOTALL)


@final
class Docstring(msgspec.Struct, frozen=True):
    """What a docstring says.

    Attributes:
      description: All before the first section.
      arguments: What it says about each argument.
    """

    description: str
    arguments: dict[str, str]


def read_docstring(doc: str | None) -> Docstring:
    """Read a docstring in Google style; of another style all is the description."""
    description: list[str] = []
    arguments: list[list[str]] = []
    section: str | None = None
    margin: int | None = None  # of the arguments
    for line in inspect.cleandoc(doc or "").splitlines():
        heading = _HEADING.fullmatch(line)
        if heading is not None and heading["name"] in _SECTIONS:
            section, margin = heading["name"], None
        elif section is None:
            description.append(line)
        elif section in _OF_ARGUMENTS and line.strip():
            indent = len(line) - len(line.lstrip())
            margin = indent if margin is None else margin
            if indent <= margin or not arguments:
                arguments.append([])
            arguments[-1].append(line.strip())
    found = (_ARGUMENT.fullmatch(" ".join(lines)) for lines in arguments)
    told = {match["name"]: match["text"].strip() for match in found if match is not None}
    return Docstring("\n".join(description).strip(), told)
