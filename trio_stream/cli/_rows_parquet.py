"""Rows of Parquet, in and out, by pyarrow, which is the extra ``tables``.

What belongs here: the format of such a file. What does not: what a row stands for (`_batch_recipe`), and when an output
is written (`_batch_table`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, final

import msgspec

from trio_stream.cli._input_text import InputError
from trio_stream.cli._rows import SHOWN, Row, TableRow

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_AT_ONCE: Final = 512
"""How many rows are in memory."""

_BUFFER: Final = 1 << 20
"""How many bytes of each column are read at once. Without a buffer it is a row group, which may be the whole file."""


class TablesMissingError(InputError):
    """Parquet is needed, and pyarrow is not installed."""


def check_pyarrow() -> None:
    """Load pyarrow, which takes a moment.

    Raises:
      TablesMissingError: It is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise TablesMissingError(f"Parquet needs pyarrow: pip install 'trio-stream[tables]' ({error})") from None


@final
class ParquetReader:
    """The rows of a Parquet file. Some hundred of them are in memory at once.

    Args:
      file: The file, which is closed with this object.
      name: Its name, for messages.

    Raises:
      InputError: It is no Parquet file, or pyarrow is missing, or two columns have the same name.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        check_pyarrow()
        self._file = file
        self._name = name
        names = self._open().schema_arrow.names
        for number, column in enumerate(names):
            if column in names[:number]:
                first = names.index(column) + 1
                raise InputError(f"{name}, column {number + 1}: `{column[:SHOWN]}` is the name of column {first} too")

    def rows(self) -> Iterator[Row]:
        """Read the rows."""
        number = 0
        found = self._open()
        columns = list(found.schema_arrow.names)
        try:
            for batch in found.iter_batches(batch_size=_AT_ONCE, use_threads=False):
                for values in _values(batch):
                    number += 1
                    yield TableRow(number, "row", columns, values)
        except (OSError, ValueError, NotImplementedError, MemoryError) as error:  # pyarrow's are subclasses
            raise InputError(f"{self._name}, row {number + 1}: {_why(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            self._file.seek(0)
            return pq.ParquetFile(self._file, pre_buffer=False, buffer_size=_BUFFER)
        except (OSError, ValueError, NotImplementedError, MemoryError) as error:
            raise InputError(
                f"{self._name}: this is no Parquet file, or it was cut or damaged: {_why(error)}"
            ) from None


def _why(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _values(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Make the values of the rows of a batch."""
    columns: list[list[Any]] = []
    for column in batch.columns:
        wanted = _without_nanoseconds(column.type)
        if wanted != column.type:
            column = column.cast(wanted, safe=False)
        columns.append(column.to_pylist(maps_as_pydicts="lossy"))
    yield from zip(*columns, strict=True)


def _without_nanoseconds(kind: pa.DataType) -> pa.DataType:
    """The type in which times are of microseconds, which is what Python has."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_list(kind):
        return pa.list_(_without_nanoseconds(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _without_nanoseconds(field.type)) for field in kind.fields])
    return kind


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a file.

    Raises:
      OSError: It is no Parquet file, or damaged.
      ValueError: Likewise.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    with pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a file that is an output.

    Raises:
      OSError: It cannot be read any further.
      ValueError: Likewise.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
        for batch in file.iter_batches(batch_size=_AT_ONCE, use_threads=False):
            yield from batch.to_pylist()


def write_parquet(path: Path, columns: Mapping[str, str], rows: Iterator[Mapping[str, Any]]) -> None:
    """Write rows to a new file.

    Args:
      path: The file.
      columns: The kind of each column: int, float, bool or text.
      rows: The rows.

    Raises:
      OSError: The file cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows:
            waiting.append({name: _value(row.get(name), kind) for name, kind in columns.items()})
            if len(waiting) == _AT_ONCE:
                writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
                waiting = []
        if waiting:
            writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return float(value) if kind == "float" else value
