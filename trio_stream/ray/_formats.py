"""Batches as Ray Data gives them, in each of its formats.

What belongs here: reading columns of a batch, and adding columns. What does not: their contents (`_stream_batch`).

Ray's formats are dictionaries of NumPy arrays (its default), pandas data frames and PyArrow tables. None of these
packages is imported here: whoever has a batch in such a format has imported the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import msgspec

Columns: TypeAlias = Mapping[str, list[str] | list[int]]
"""Columns to add. They contain no None: a block with nothing but None would get another type than the others."""


class Batch(msgspec.Struct, frozen=True):
    """A batch in any of the formats.

    Args:
      names: The names of its columns.
      column: A function that returns the values of a column as plain Python values.
      add: A function that returns a batch of the same format with further columns.
    """

    names: tuple[str, ...]
    column: Callable[[str], list[Any]]
    add: Callable[[Columns], Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows as plain Python values."""
        columns = [self.column(name) for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]


def open_batch(batch: object) -> Batch:
    """Read a batch.

    Raises:
      TypeError: The batch is in none of Ray's formats.
    """
    if isinstance(batch, dict):
        return _of_arrays(cast("dict[str, Any]", batch))
    package = type(batch).__module__.partition(".")[0]
    if package == "pandas":
        return _of_pandas(batch)
    if package == "pyarrow":
        return _of_arrow(batch)
    kind = f"{type(batch).__module__}.{type(batch).__qualname__}"
    raise TypeError(f"batch_format must be 'numpy' (the default), 'pandas' or 'pyarrow': a batch is no {kind}")


def _of_arrays(batch: dict[str, Any]) -> Batch:
    return Batch(
        names=tuple(batch),
        column=lambda name: cast("list[Any]", plain(batch[name])),
        add=lambda columns: {**batch, **columns},
    )


def _of_pandas(frame: Any) -> Batch:
    return Batch(
        names=tuple(map(str, frame.columns)),
        column=lambda name: cast("list[Any]", plain(list(frame[name]))),
        add=lambda columns: frame.assign(**columns),
    )


def _of_arrow(table: Any) -> Batch:
    def add(columns: Columns) -> Any:
        arrow: Any = sys.modules["pyarrow"]
        longer = table
        for name, values in columns.items():
            longer = longer.append_column(name, arrow.array(values))
        return longer

    return Batch(
        names=tuple(table.column_names),
        column=lambda name: cast("list[Any]", table.column(name).to_pylist()),
        add=add,
    )


def plain(value: Any) -> Any:
    """Replace everything of NumPy in a value, at any depth, by plain Python values: requests have to be JSON."""
    if isinstance(value, (str, bytes, int, float)) and type(value).__module__ == "builtins":
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    tolist = getattr(value, "tolist", None)
    # The elements of an array of objects may be arrays again.
    return value if tolist is None else plain(tolist())
