"""One row of the input of ``trio-stream batch``, whichever format it was read from.

What belongs here: what a row is, what may be wrong with it and where, and values as tables have them. What does not:
reading rows from a file of some format (`_rows_json`, `_rows_csv`, `_rows_parquet`, `_rows_sqlite`), and the request
that a row stands for (`_batch_recipe`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast, final

import msgspec

from trio_stream._protocol import MessageCreateParams
from trio_stream.cli._input_json import column_of, why_not_json
from trio_stream.cli._input_text import BOM, InputError

API_PARAMS: Final = frozenset(MessageCreateParams.__annotations__)
"""The keys of a row that are parameters of its request."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a row. As a text: where, and why.

    Args:
      line: The number of the row, counted from 1. In a text file it is the line in which the row begins.
      column: The place in the row, counted from 1: in characters, or the number of the column in a table.
      reason: A sentence that contains nothing of the row but names of keys, and its id.
      unit: What ``line`` counts: ``line`` or ``row``.
    """

    line: int
    column: int
    reason: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.unit} {self.line}, column {self.column}: {self.reason}"


@final
class RowError(InputError):
    """A row of the input cannot be used.

    Attributes:
      fault: What is wrong with it.
    """

    fault: Fault

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@final
class MistakeError(Exception):
    """A row is wrong in one place: at a key, at a column, or as a whole.

    Attributes:
      key: The key; None where it is a column or the whole.
      column: The column, where there is no key.
    """

    key: str | None
    column: int

    def __init__(self, reason: str, key: str | None = None, *, column: int = 1) -> None:
        super().__init__(reason)
        self.key = key
        self.column = column


class Row(Protocol):
    """A row, as its reader gives it. Nothing of it is decoded before it is asked for."""

    @property
    def number(self) -> int:
        """Its number, counted from 1; of a text file the line in which it begins."""
        ...

    @property
    def unit(self) -> str:
        """What the number counts: ``line`` or ``row``."""
        ...

    @property
    def data(self) -> bytes:
        """The row as a line of JSON or, if it could not be read, as it stands in its file."""
        ...

    def fields(self) -> dict[str, Any]:
        """Make its keys and values, which belong to the caller.

        Raises:
          MistakeError: The row cannot be read.
        """
        ...

    def column_of(self, key: str) -> int:
        """Return the place of a key, counted from 1; 1 if it has no such key."""
        ...


class Reader(Protocol):
    """The rows of one file, which can be read several times."""

    def rows(self) -> Iterator[Row]:
        """Read the rows from the first one on. Empty lines are none.

        Raises:
          InputError: The file cannot be read any further.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def fault_of(row: Row, mistake: MistakeError) -> Fault:
    """Say where in its file a row is wrong."""
    column = mistake.column if mistake.key is None else row.column_of(mistake.key)
    return Fault(line=row.number, column=column, reason=str(mistake), unit=row.unit)


@final
class JsonLine:
    """A line of JSON: an object, or a text alone.

    Args:
      number: The number of the line, counted from 1.
      data: The line. A byte order mark before it says nothing.
    """

    unit: str = "line"

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = data

    def fields(self) -> dict[str, Any]:
        """Decode the object, or make the one that a text alone stands for."""
        line = self.data.removeprefix(BOM)
        try:
            value: object = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            column, reason = why_not_json(line)
            raise MistakeError(reason, column=column) from None
        if isinstance(value, str):
            return {"prompt": value}
        if not isinstance(value, dict):
            raise MistakeError("a line is a JSON object or a string")
        return cast("dict[str, Any]", value)

    def column_of(self, key: str) -> int:
        """Return the place of a key, in characters."""
        return column_of(self.data.removeprefix(BOM), key)


@final
class TableRow:
    """A row of a table. All rows of a table have the same columns, so what is missing is NULL or empty.

    Args:
      number: Its number, counted from 1.
      unit: What that counts.
      columns: The names of the columns.
      values: Its values, one for each column.
    """

    def __init__(self, number: int, unit: str, columns: Sequence[str], values: Sequence[Any]) -> None:
        self.number = number
        self.unit = unit
        self._columns = columns
        self._values = values

    @property
    def data(self) -> bytes:
        """The row as a line of JSON."""
        return msgspec.json.encode(self.fields()) + b"\n"

    def fields(self) -> dict[str, Any]:
        """Make the keys and values. Parameters and an id that are NULL or empty are left out."""
        fields: dict[str, Any] = {}
        for name, value in zip(self._columns, self._values, strict=True):
            value = plain(value)
            if name in _DECODED or name in _NAMES:
                value = _decoded(name, value)
                if value is None:
                    continue
            fields[name] = value
        return fields

    def column_of(self, key: str) -> int:
        """Return the number of a column."""
        return self._columns.index(key) + 1 if key in self._columns else 1


@final
class BadRow:
    """A row that cannot be read as one of its table.

    Args:
      number: Its number, counted from 1.
      unit: What that counts.
      mistake: What is wrong with it.
      data: The row as it stands in its file.
    """

    def __init__(self, number: int, unit: str, mistake: MistakeError, data: bytes) -> None:
        self.number = number
        self.unit = unit
        self.data = data
        self._mistake = mistake

    def fields(self) -> dict[str, Any]:
        """Raise what is wrong."""
        raise self._mistake

    def column_of(self, key: str) -> int:  # noqa: ARG002 - as of every row
        """Return 1: nothing of it could be read."""
        return 1


_NAMES: Final = frozenset({"id", "custom_id"})
_DECODED: Final = API_PARAMS | {"params"}
_NUMBERS: Final = frozenset({*_NAMES, "max_tokens", "top_k"})
"""Columns of whole numbers. Where some are missing, as in a column of pandas, the others are written as 7.0."""


def plain(value: Any) -> Any:
    """Make of a value in a table what JSON has: texts, numbers, lists, objects, null.

    Times become texts in ISO 8601, decimals texts with all their digits, NaN and infinities null. Bytes that are UTF-8
    become text; others stay bytes: they are written as base64, and cannot be part of a prompt.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    try:
        return msgspec.to_builtins(value, str_keys=True)
    except (TypeError, ValueError):
        return str(value)


def _decoded(name: str, value: Any) -> Any:
    """Give a parameter, an id or `params` the value that its cell stands for; None for an empty one."""
    if isinstance(value, str):
        stripped = value.strip()
        if not stripped:
            return None
        if name == "model" or name in _NAMES or (name == "system" and not stripped.startswith("[")):
            return value
        try:
            value = msgspec.json.decode(stripped)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return value
    if name in _NUMBERS and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def names_of(fields: Mapping[str, Any]) -> str:
    """Name the keys of a row, of which there may be many."""
    if not fields:
        return "it has no other keys"
    names = ", ".join(f"`{name[:SHOWN]}`" for name in [*fields][:_NAMED])
    return f"its keys: {names}{', ...' if len(fields) > _NAMED else ''}"


SHOWN: Final = 60
"""How many characters of a key are shown."""

_NAMED: Final = 8
