"""JSON that has not arrived completely: the part of the value that is certain so far.

What belongs here: following a JSON text piece by piece, and its value as of any piece. What does not: JSON that is
complete (`_json`), and which texts of a message are JSON (`_events`).

The scanner keeps the value that it has read, and reads only what is new. What has been closed never changes any more.
So a snapshot copies the *spine*, which is the arrays and objects that are still open, and shares the rest.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, NoReturn, TypeAlias, TypeGuard, cast, final

from trio_stream._protocol._json import JSON_ERRORS, decode_json

_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN: Final = r'[^{}\[\]"]++'
_FLAT: Final = rf"\{{(?:{_PLAIN}|{_STRING})*+\}}|\[(?:{_PLAIN}|{_STRING})*+\]"
_DEEPER: Final = rf"\{{(?:{_PLAIN}|{_STRING}|{_FLAT})*+\}}|\[(?:{_PLAIN}|{_STRING}|{_FLAT})*+\]"
_TOKEN: Final = re.compile(
    r"[ \t\n\r]*+(?:"
    # Arrays and objects that are closed, and hold nothing deeper than one more level of them, are decoded as a whole:
    # 100 kB at once in 3.6 ms, and token by token in 24. From each bracket this looks no further than three levels, so
    # that it is linear.
    rf"(?P<closed>{_DEEPER})"
    r"|(?P<mark>[{}\[\],:])"
    r'|"(?P<plain>[^"\\\x00-\x1f]*+)"|(?P<quote>")'
    r'|(?P<scalar>[^ \t\n\r{}\[\],:"]++))',
    re.DOTALL,
)
_STRING_STOP: Final = re.compile(r'["\\]')
_SCALAR_GOES_ON: Final = re.compile(r'[^ \t\n\r{}\[\],:"]*')
_WHOLE_SCALAR: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HALF_AN_ESCAPE: Final = re.compile(
    # An even number of backslashes is whole escapes. The first half of a surrogate pair waits for the other one.
    r"(?<!\\)(?P<whole>(?:\\\\)*)(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z"
)

_MOST_OPEN: Final = 500
"""How many arrays and objects may be open at once. Decoding the complete text refuses about as many."""

_Container: TypeAlias = list[Any] | dict[str, Any]


class _Next(Enum):
    """What may come next."""

    VALUE = "a value"
    VALUE_OR_END = "a value or a closing bracket"
    NAME = "a name"
    NAME_OR_END = "a name or a closing brace"
    COLON = "a colon"
    COMMA_OR_END = "a comma, or the end of what is open"
    NOTHING = "nothing more"


_OPENING: Final = (_Next.VALUE, _Next.VALUE_OR_END)
_NAMING: Final = (_Next.NAME, _Next.NAME_OR_END)


@final
class PartialJSON:
    """Follows a JSON text that arrives in pieces, and has the value of what has arrived.

    Open arrays and objects are closed where the text ends. A string or a literal that is not complete is left out, and
    so is a name without its value. A number is taken as far as it has arrived, if that is a number. The snapshots of
    the official SDK follow the same rules.

    `feed` looks at every character once. `snapshot` copies what is open, and not what is closed.
    """

    __slots__ = ("_escaped", "_fault", "_first_array", "_names", "_next", "_open", "_root", "_started", "_token")

    def __init__(self) -> None:
        self._root: Any = None
        self._started = False  # whether there is a root
        self._open: list[_Container] = []  # the spine, from the root inwards; each is in the one before
        self._names: list[str] = []  # of the member that is being read, for each of `_open`; unused for arrays
        self._next = _Next.VALUE
        self._token: list[str] = []  # the pieces of the string or scalar that may go on; of a string the first is "
        self._escaped = False  # the last character of the string that is open is a backslash that begins an escape
        self._fault: str | None = None  # why this is not JSON
        self._first_array: list[Any] | None = None

    @property
    def first_array(self) -> tuple[list[Any], int]:
        """The first array of the text, and how many of its elements are closed. It is not a copy."""
        first = self._first_array
        if first is None:
            return [], 0
        # Its last element is open if something is open within it.
        return first, len(first) - any(container is first for container in self._open[:-1])

    @property
    def complete(self) -> bool:
        """Whether the text is a whole value, as far as that can be told: a number may go on."""
        return self._fault is None and self._next is _Next.NOTHING

    @property
    def fault(self) -> str | None:
        """Why the text is not the beginning of JSON; None while it may be. Not every such text is noticed at once."""
        return self._fault

    def feed(self, text: str) -> None:
        """Take the next piece of the text, which may be cut anywhere."""
        try:
            if self._fault is None:
                text.encode()  # half of a surrogate pair cannot be sent or stored
                self._read(text)
        except JSON_ERRORS as error:
            self._fault = str(error)

    def snapshot(self, *, trailing_strings: bool = False) -> object:
        """The value so far; an empty object while nothing is certain.

        The arrays and objects that are open are copies. What is closed within them is shared with other snapshots, so
        it is to be read and not changed.

        Args:
          trailing_strings: Whether a string that is not complete is taken as far as it has arrived.

        Raises:
          ValueError: what has arrived is not the beginning of JSON. Not every such text is noticed at once.
        """
        if self._fault is not None:
            raise ValueError(self._fault)
        pending = self._pending(trailing_strings=trailing_strings)
        if not self._open:
            return self._root if self._started else pending[0] if pending else {}
        copies = [container.copy() for container in self._open]
        for outer, name, inner in zip(copies, self._names, copies[1:], strict=False):
            if isinstance(outer, dict):
                outer[name] = inner
            else:
                outer[-1] = inner
        for value in pending:
            _put(copies[-1], self._names[-1], value)
        return copies[0]

    def _pending(self, *, trailing_strings: bool) -> tuple[()] | tuple[Any]:
        """The value of the string or scalar that may go on, if it has one."""
        is_string = self._token[:1] == ['"']
        if is_string and (not trailing_strings or self._next in _NAMING):
            return ()
        token = "".join(self._token)
        if not is_string:
            return (_decode(token),) if _WHOLE_SCALAR.fullmatch(token) else ()
        return (_decode(_HALF_AN_ESCAPE.sub(r"\g<whole>", token, count=1) + '"'),)

    def _read(self, text: str) -> None:
        position = self._go_on(text) if self._token else 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                return  # white space
            position = token.end()
            match token.lastgroup:
                case "mark":
                    self._take_mark(token["mark"])
                case "closed":
                    self._take_closed(token["closed"])
                case "plain":
                    self._take_string(token["plain"])
                case "quote":
                    self._check(*_OPENING, *_NAMING, found='"')
                    self._token.append('"')
                    position = self._go_on(text, position)
                case _:
                    self._check(*_OPENING, found=token["scalar"][0])
                    self._token.append(token["scalar"])
                    if position < len(text):
                        self._end_scalar()

    def _go_on(self, text: str, position: int = 0) -> int:
        """Read more of the string or scalar that may go on; return where it ends."""
        if self._token[0] != '"':
            end = _end_of(_SCALAR_GOES_ON.match(text, position))
            self._token.append(text[position:end])
            if end < len(text):
                self._end_scalar()
            return end
        start = position
        while position < len(text):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            stop = _STRING_STOP.search(text, position)
            if stop is None:
                break
            position = stop.end()
            if stop[0] == "\\":
                self._escaped = True
                continue
            raw = "".join((*self._token, text[start:position]))
            self._token.clear()
            self._take_string(_decode(raw))
            return position
        self._token.append(text[start:])
        return len(text)

    def _end_scalar(self) -> None:
        raw = "".join(self._token)
        self._token.clear()
        if not _WHOLE_SCALAR.fullmatch(raw):
            raise ValueError("there is something that is neither a number nor true, false or null")
        self._take_value(_decode(raw))

    def _take_closed(self, raw: str) -> None:
        self._check(*_OPENING, found=raw[0])
        value = _decode(raw)
        if self._first_array is None:
            self._first_array = _find_array(value)
        self._take_value(value)

    def _take_mark(self, mark: str) -> None:
        match mark:
            case "{" | "[":
                self._check(*_OPENING, found=mark)
                self._begin({} if mark == "{" else [])
            case "}":
                self._check(_Next.NAME_OR_END, _Next.COMMA_OR_END, found=mark, within=dict)
                self._end()
            case "]":
                self._check(_Next.VALUE_OR_END, _Next.COMMA_OR_END, found=mark, within=list)
                self._end()
            case ",":
                self._check(_Next.COMMA_OR_END, found=mark)
                self._next = _Next.NAME if isinstance(self._open[-1], dict) else _Next.VALUE
            case _:
                self._check(_Next.COLON, found=mark)
                self._next = _Next.VALUE

    def _take_string(self, value: str) -> None:
        if self._next in _NAMING:
            self._names[-1] = value
            self._next = _Next.COLON
        else:
            self._check(*_OPENING, found='"')
            self._take_value(value)

    def _take_value(self, value: Any) -> None:
        if self._open:
            _put(self._open[-1], self._names[-1], value)
            self._next = _Next.COMMA_OR_END
        else:
            self._root, self._started = value, True
            self._next = _Next.NOTHING

    def _begin(self, container: _Container) -> None:
        if len(self._open) == _MOST_OPEN:
            raise ValueError("it is nested too deeply")
        if self._first_array is None and isinstance(container, list):
            self._first_array = container
        self._take_value(container)
        self._open.append(container)
        self._names.append("")
        self._next = _Next.NAME_OR_END if isinstance(container, dict) else _Next.VALUE_OR_END

    def _end(self) -> None:
        self._open.pop()
        self._names.pop()
        self._next = _Next.COMMA_OR_END if self._open else _Next.NOTHING

    def _check(self, *expected: _Next, found: str, within: type[_Container] | None = None) -> None:
        if self._next not in expected or (within is not None and not isinstance(self._open[-1], within)):
            self._refuse(found)

    def _refuse(self, found: str) -> NoReturn:
        raise ValueError(f"there is {found!r} where there should be {self._next.value}")


def _find_array(value: object) -> list[Any] | None:
    """The first array in a value, from the outside."""
    if _is_array(value):
        return value
    for member in cast("dict[str, object]", value).values() if isinstance(value, dict) else ():
        found = _find_array(member)
        if found is not None:
            return found
    return None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _put(container: _Container, name: str, value: Any) -> None:
    if isinstance(container, dict):
        container[name] = value
    else:
        container.append(value)


def _decode(raw: str) -> Any:
    return decode_json(raw.encode())


def _end_of(match: re.Match[str] | None) -> int:
    assert match is not None  # it matches the empty text too
    return match.end()


class Pieces(list[str]):
    """The pieces of the text of a block, shared with its events; and, once one was asked for, the value in them.

    Attributes:
      scanner: Has read the first pieces.
      scanned: How many it has read.
    """

    __slots__ = ("scanned", "scanner")

    scanner: PartialJSON
    scanned: int

    def __init__(self) -> None:
        super().__init__()
        self.scanned = 0

    def value(self, count: int, *, trailing_strings: bool = False) -> object:
        """The JSON value of the first pieces.

        It takes as long as reading what has arrived since the last look. A look back at an earlier event reads all
        that had arrived by then.

        Raises:
          ValueError, RecursionError: they are not the beginning of JSON.
        """
        if not self.scanned:
            self.scanner = PartialJSON()
        scanner, scanned = self.scanner, self.scanned
        if count < scanned:
            scanner, scanned = PartialJSON(), 0
        else:
            self.scanned = count
        scanner.feed("".join(self[scanned:count]))
        return scanner.snapshot(trailing_strings=trailing_strings)
