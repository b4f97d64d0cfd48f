"""JSON that has not arrived completely: the part of the value that is certain so far.

What belongs here: finding where a JSON text can be cut and closed. What does not: JSON itself (`_json`).
"""

from __future__ import annotations

import re
from typing import Final, final

from trio_stream._errors import InvalidToolInputError
from trio_stream._protocol._json import JSON_ERRORS, decode_json

_STRING_STOP: Final = re.compile(r'["\\]')
_TOKEN: Final = re.compile(r'[{}\[\],:"]|[^\s{}\[\],:"]+')
_WHOLE_SCALAR: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@final
class PartialJSON:
    """Follows a JSON text that arrives in pieces, and has the value of what has arrived.

    Open arrays and objects are closed where the text ends. A string or a literal that is not complete is left out, and
    so is a name without its value. A number is taken as far as it has arrived, if that is a number. The snapshots of
    the official SDK follow the same rules.

    `feed` looks at every character once. `snapshot` costs as much as parsing all that has arrived.
    """

    __slots__ = ("_closers", "_cut", "_escaped", "_in_string", "_is_name", "_length", "_pieces", "_scalar")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._closers: list[str] = []  # the ends of the arrays and objects that are open, outermost first
        # Up to here the text is JSON once the closers follow. Whatever opens or closes an array or object moves
        # this, so the closers always fit.
        self._cut = 0
        self._in_string = False
        self._escaped = False  # the last character was a backslash in a string
        self._is_name = False  # the string that is open, or else the next one, is the name of a member
        self._scalar: int | None = None  # where the number or literal began that may not be complete

    def feed(self, text: str) -> None:
        """Take the next piece of the text, which may be cut anywhere."""
        position = 0
        while position < len(text):
            position = self._string(text, position) if self._in_string else self._structure(text, position)
        self._pieces.append(text)
        self._length += len(text)

    def snapshot(self) -> object:
        """The value so far; an empty object while nothing is certain.

        Raises:
          ValueError: what has arrived is not the beginning of JSON. Not every such text is noticed at once.
        """
        text = "".join(self._pieces)
        cut = self._cut
        if self._scalar is not None and _WHOLE_SCALAR.fullmatch(text, self._scalar):
            cut = self._length
        if not cut:
            return {}
        return decode_json((text[:cut] + "".join(reversed(self._closers))).encode())

    def _string(self, text: str, position: int) -> int:
        if self._escaped:
            self._escaped = False
            return position + 1
        stop = _STRING_STOP.search(text, position)
        if stop is None:
            return len(text)
        if stop[0] == "\\":
            self._escaped = True
        else:
            self._in_string = False
            if not self._is_name:
                self._cut = self._length + stop.end()
        return stop.end()

    def _structure(self, text: str, position: int) -> int:
        token = _TOKEN.search(text, position)
        kind = "" if token is None else token[0]
        scalar_goes_on = token is not None and token.start() == position and kind not in '{}[],:"'
        if self._scalar is not None and not scalar_goes_on:
            self._scalar = None
            self._cut = self._length + position
        if token is None:
            return len(text)
        end = token.end()
        match kind:
            case '"':
                self._in_string = True
            case "{" | "[":
                self._closers.append("}" if kind == "{" else "]")
                self._cut = self._length + end
                self._is_name = kind == "{"
            case "}" | "]":
                del self._closers[-1:]
                self._cut = self._length + end
            case ",":
                self._is_name = self._closers[-1:] == ["}"]
            case ":":
                self._is_name = False
            case _:
                if self._scalar is None:
                    self._scalar = self._length + token.start()
        return end


def parse_partial_json(text: str) -> object:
    """Parse the beginning of the input of a tool.

    Raises:
      InvalidToolInputError: it is not the beginning of JSON.
    """
    partial = PartialJSON()
    partial.feed(text)
    try:
        return partial.snapshot()
    except JSON_ERRORS as error:
        raise InvalidToolInputError(
            "the tool input so far is not the beginning of valid JSON", input_json=text, incomplete=True
        ) from error
