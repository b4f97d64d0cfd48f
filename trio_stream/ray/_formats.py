"""Batches as Ray Data gives them, in each of its formats.

What belongs here: taking columns out of a batch, and adding some. What does not: what is in them (`_stream_batch`).

Ray's formats are dictionaries of NumPy arrays (its default), pandas data frames and PyArrow tables. None of these
packages is imported here: who has a batch of one has the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import msgspec

Columns: TypeAlias = Mapping[str, list[str] | list[int]]
"""Columns to add. There is no None in them: a block with nothing but None would have a type of its own."""


class Batch(msgspec.Struct, frozen=True):
    """A batch of any format.

    Args:
      names: Its columns.
      column: Gives the values of a column, as plain Python.
      add: Gives a batch of the same format with further columns.
    """

    names: tuple[str, ...]
    column: Callable[[str], list[Any]]
    add: Callable[[Columns], Any]

    def rows(self) -> list[dict[str, Any]]:
        """All rows, as plain Python."""
        columns = [self.column(name) for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]


def open_batch(batch: object) -> Batch:
    """Read a batch.

    Raises:
      TypeError: It is of no format that is known.
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
    """A value without anything of NumPy in it, at any depth: requests are JSON."""
    if isinstance(value, (str, bytes, int, float)) and type(value).__module__ == "builtins":
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    tolist = getattr(value, "tolist", None)
    # An array of objects gives these, and they may be arrays again.
    return value if tolist is None else plain(tolist())
