"""The template of ``trio-stream batch``: a prompt with keys of the input in braces.

What belongs here: the notation, and filling it in. What does not: which fields a row has (`_rows`), and the request
that is made with the prompt (`_batch_recipe`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, final

import msgspec

from trio_stream.cli._input_text import InputError
from trio_stream.cli._rows import SHOWN, MistakeError, names_of

_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


@final
class Template:
    """A template, with its notation checked.

    ``{text}`` is the value of a key, ``{items.0.name}`` that of a key within it: names of objects and numbers of
    elements, with dots between them. A key that has the whole name, dots and all, comes first. Two braces stand for
    one.

    Args:
      text: The template.

    Raises:
      InputError: A brace is not closed or contains no key, or there is no key at all.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        # What belongs to a key becomes blanks, so that what is left stands where it stood.
        rest = _PLACEHOLDER.sub(lambda match: " " * len(match[0]), text)
        places = [match for match in _PLACEHOLDER.finditer(text) if match[1] is not None]
        brace = re.search(r"[{}]", rest) or next((match for match in places if not match[1].strip()), None)
        if brace is not None:
            raise InputError(
                f"the template, column {brace.start() + 1}: a brace that belongs to no key (write {{{{ for one)"
                f": {text!r}"
            )
        if not places:
            other = " (two braces stand for one brace)" if "{{" in text else ""
            raise InputError(f"the template has no key of the input, as in 'Summarise: {{text}}'{other}: {text!r}")

    def fill(self, fields: Mapping[str, Any]) -> str:
        """Put the values of a row into the template. Null is written as nothing; what is no text is written as JSON.

        Raises:
          MistakeError: The row does not have one of the keys, or has bytes there.
        """

        def value(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            key = match[1].strip()
            return _text_of(key, fields[key] if key in fields else _look_up(key, fields))

        return _PLACEHOLDER.sub(value, self._text)


def _text_of(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        raise MistakeError(f"`{key[:SHOWN]}`, which the template needs, is binary data", key.partition(".")[0])
    return msgspec.json.encode(value).decode()


def _look_up(key: str, fields: Mapping[str, Any]) -> Any:
    """Follow a dotted key.

    Raises:
      MistakeError: There is nothing at its end.
    """
    first, *rest = key.split(".")
    if first not in fields:
        raise MistakeError(_missing(key, first, fields))
    value: Any = fields[first]
    path = first
    for name in rest:
        value = _within(value)
        if isinstance(value, dict) and name in value:
            value = cast("dict[str, Any]", value)[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(_elements(value)):
            value = _elements(value)[int(name)]
        else:
            raise MistakeError(
                f"it has no key `{key[:SHOWN]}`, which the template needs (`{path[:SHOWN]}` is {_kind(value)})", first
            )
        path = f"{path}.{name}"
    return value


def _within(value: Any) -> Any:
    """Return the object or the list that a text is, as in a column of a table; else the value."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return value


def _missing(key: str, first: str, fields: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(first, fields, n=1)
    meant = f"did you mean `{close[0][:SHOWN]}`?" if close else names_of(fields)
    return f"it has no key `{key[:SHOWN]}`, which the template needs ({meant})"


def _elements(value: Any) -> Sequence[Any]:
    return cast("list[Any]", value)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object; {names_of(cast('dict[str, Any]', value))}"
    if isinstance(value, list):
        return f"a list of {len(_elements(value))}"
    return "null" if value is None else "a number" if isinstance(value, (int, float)) else "a text"
