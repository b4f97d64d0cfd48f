"""JSON that has not arrived completely: the value that is certain so far.

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
    """Follows a JSON text that arrives in pieces, and tells what it says so far.

    A string, a name without its value, and a literal that are not complete count for nothing; a number counts as
    far as it has come, if that is a number; open arrays and objects count as if they ended here. So do the
    snapshots of the official SDK.

    `feed` looks at every character once. `snapshot` costs as much as parsing what came.
    """

    __slots__ = ("_closers", "_cut", "_escaped", "_in_string", "_is_name", "_length", "_pieces", "_scalar")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._closers: list[str] = []  # what ends the arrays and objects that are open, outermost first
        # Up to here the text is JSON once the closers follow. Whatever opens or closes an array or object moves
        # this, so the closers always fit.
        self._cut = 0
        self._in_string = False
        self._escaped = False  # the last character was a backslash in a string
        self._is_name = False  # this string, or the next one, is a member's name and no value
        self._scalar: int | None = None  # where the number or literal began that may go on

    def feed(self, text: str) -> None:
        """Take more of the text, cut anywhere."""
        position = 0
        while position < len(text):
            position = self._string(text, position) if self._in_string else self._structure(text, position)
        self._pieces.append(text)
        self._length += len(text)

    def snapshot(self) -> object:
        """The value so far; an empty object while nothing is certain.

        Raises:
          ValueError: what came is not the beginning of JSON. It need not be noticed yet.
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
    """What the beginning of a tool's input says.

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
