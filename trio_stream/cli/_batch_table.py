"""Outputs of ``trio-stream batch`` that are no plain JSON lines: CSV, TSV, Parquet, SQLite, and what gzip compresses.

What belongs here: when such an output is read and written, and whether one that is there may be replaced. What does
not: the formats (`_rows_csv`, `_rows_parquet`, `_rows_sqlite`), and the rows (`_batch_line`).

Nothing can be appended to a Parquet file, and a column of a table may come with its last row. So the rows of a run are
lines of JSON in a file beside the table (``answers.csv.rows``), which `_batch_output` keeps as it keeps an output of
that format: a run that dies leaves it, and the next one goes on with it. When a run ends, in whatever way short of
dying, the table is made of it, whole or not at all, and the file is removed. A later run makes it again of the table.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import re
import sqlite3
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import msgspec

from trio_stream.cli import _rows_parquet, _rows_sqlite
from trio_stream.cli._batch_line import AS_JSON, NEEDED, OURS, fields_of, is_output_line
from trio_stream.cli._batch_output import OutputError, TargetError
from trio_stream.cli._formats import TABLE, Format, Place
from trio_stream.cli._input_text import InputError
from trio_stream.cli._line_file import LineFile
from trio_stream.cli._rows import MistakeError
from trio_stream.cli._rows_csv import CsvReader, TextSink, write_csv
from trio_stream.cli._rows_json import JsonLinesReader

_HASH: Final = re.compile("[0-9a-f]{32}")
_NUMBERS: Final = frozenset(
    {
        *("index", "repeat", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("attempts", "ttft", "seconds", "max_tokens"),
    }
)
_BROKEN: Final = (OSError, EOFError, zlib.error, ValueError, NotImplementedError, sqlite3.Error)
"""What reading a damaged table raises, whichever its format is."""


@final
class Table:
    """An output that is a table.

    Args:
      place: Where it is; ``-`` for standard output.

    Attributes:
      name: What it is called in messages.
      format: Its format.
      table: Its name in a database.
      path: The file; None for standard output.
      damaged: Whether it could not be read whole, so that rows of it are made again from the journal.

    Raises:
      InputError: Its format needs pyarrow, which is missing.
      TargetError: Its format cannot be written to standard output.
    """

    def __init__(self, place: Place) -> None:
        self.path: Path | None = None if place.path == "-" else Path(place.path)
        self.damaged = False
        self._place = place
        self.format: Format = place.format
        self.table: str = place.table or TABLE
        self.name: str = place.name
        if place.format is Format.PARQUET:
            _rows_parquet.check_pyarrow()
        if self.path is None and place.format in (Format.PARQUET, Format.SQLITE):
            raise TargetError(f"{place.format.value} cannot be written to standard output: name a file")

    @property
    def stem(self) -> str:
        """How the names of the files beside it begin."""
        return self._place.stem

    @property
    def exists(self) -> bool:
        """Whether it is there, with something in it."""
        if self.path is None or not self.path.is_file() or not self.path.stat().st_size:
            return False
        if self.format is not Format.SQLITE:
            return True
        try:
            return _rows_sqlite.columns_of(self.path, self.table) is not None
        except (sqlite3.Error, TypeError):
            return True

    def check_is_ours(self, *, has_journal: bool) -> None:
        """Look whether a table that is there was written by this command, so that it may be replaced.

        Args:
          has_journal: Whether there is a journal of the same name. Then a file that is damaged can be made again.

        Raises:
          TargetError: It was not.
        """
        if not self.exists:
            return
        assert self.path is not None
        try:
            columns = self._columns()
        except TypeError as kind:
            raise TargetError(f"{self.name} is a {kind}, not a table: name another one") from None
        except (sqlite3.Error, InputError) as error:
            if self.format is Format.SQLITE:
                raise TargetError(f"--output {self.path} cannot be used: {error}") from None
            columns = None
        except _BROKEN:
            columns = None
        if columns is None and has_journal and self._begins_as_its_format():
            self.damaged = True
        elif columns is None or not columns >= NEEDED:
            raise TargetError(f"--output {self.name} exists and is not an output of this command: name another file")

    def _columns(self) -> frozenset[str]:
        """Return the names of the columns."""
        assert self.path is not None
        if self.format is Format.SQLITE:
            return frozenset(_rows_sqlite.columns_of(self.path, self.table) or ())
        if self.format is Format.PARQUET:
            return frozenset(_rows_parquet.columns_of(self.path))
        with contextlib.closing(self._reader()) as reader:
            rows = reader.rows()
            if self.format is Format.JSON_LINES:
                return NEEDED if is_output_line(next(rows).data) else frozenset()
            assert isinstance(reader, CsvReader)
            return frozenset(reader.columns())

    def _begins_as_its_format(self) -> bool:
        assert self.path is not None
        with self.path.open("rb") as file:
            head = file.read(4)
        return head == b"PAR1" if self.format is Format.PARQUET else head[:2] == b"\x1f\x8b"

    def unpack(self, path: Path) -> None:
        """Make the lines of the table. What cannot be read of it is left out, and it is ``damaged``.

        Args:
          path: The file for them, which does not exist.

        Raises:
          OutputError: They cannot be written.
        """
        beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        rows = self._rows()
        try:
            with beside.open("wb") as file:
                while True:
                    try:
                        row = next(rows)
                    except StopIteration:
                        break
                    except _BROKEN:  # the journal has the rest
                        self.damaged = True
                        break
                    line = _line(row)
                    if line is None:
                        self.damaged = True
                    else:
                        file.write(line)
            beside.replace(path)
        except OSError as error:
            raise self._error(error.strerror or str(error), path) from None
        finally:
            beside.unlink(missing_ok=True)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        """Read the rows of the table; those that cannot be read are empty."""
        assert self.path is not None
        if self.format is Format.SQLITE:
            yield from _rows_sqlite.read_table(self.path, self.table)
        elif self.format is Format.PARQUET:
            yield from _rows_parquet.read_parquet(self.path)
        else:
            with contextlib.closing(self._reader()) as reader:
                for row in reader.rows():
                    try:
                        yield row.fields()
                    except MistakeError:
                        yield {}

    def _reader(self) -> CsvReader | JsonLinesReader:
        assert self.path is not None
        lines = LineFile(self.path.open("rb"), str(self.path), gzipped=self._place.gzipped)
        if self.format is Format.JSON_LINES:
            return JsonLinesReader(lines)
        return CsvReader(lines, tabs=self.format is Format.TSV, ours=True)

    def pack(self, lines: Path) -> None:
        """Make the table of lines, whole or not at all.

        Args:
          lines: The file of the lines.

        Raises:
          OutputError: It cannot be written. The lines are still there.
          BrokenPipeError: The reader of standard output went away.
        """
        columns = _columns_of(lines)
        rows = _read(lines) if self.format is Format.JSON_LINES else map(_as_cells, _read(lines))
        if self.path is None:
            sys.stdout.flush()
            self._write(codecs.getwriter("utf-8")(sys.stdout.buffer), columns, rows)
            sys.stdout.buffer.flush()
            return
        try:
            if self.format is Format.SQLITE:
                _rows_sqlite.write_table(self.path, self.table, columns, rows)
                return
            path = self.path.resolve()  # a link stays one
            beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            try:
                if self.format is Format.PARQUET:
                    _rows_parquet.write_parquet(beside, columns, rows)
                elif self._place.gzipped:
                    with gzip.open(beside, "wt", encoding="utf-8", newline="") as compressed:
                        self._write(compressed, columns, rows)
                else:
                    with beside.open("w", encoding="utf-8", newline="") as plain:
                        self._write(plain, columns, rows)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._error(getattr(error, "strerror", None) or str(error), lines) from None

    def _write(self, file: TextSink, columns: Mapping[str, str], rows: Iterator[dict[str, Any]]) -> None:
        if self.format is Format.JSON_LINES:
            for row in rows:
                file.write(f"{msgspec.json.encode(row).decode()}\n")
        else:
            write_csv(file, [*columns], rows, tabs=self.format is Format.TSV)

    def _error(self, why: str, lines: Path) -> OutputError:
        return OutputError(
            f"{self.name} cannot be written: {why}; {lines} has its rows, and the same command goes on from there"
        )


def _line(row: Mapping[str, Any]) -> bytes | None:
    """Make the line of a row of a table; None if it is damaged."""
    if not isinstance(row.get("id"), str) or not row.get("status") or not _HASH.fullmatch(str(row.get("hash"))):
        return None
    line = {name: _restored(name, value) for name, value in row.items()}
    return msgspec.json.encode({"id": row["id"], **line}) + b"\n"


def _restored(name: str, value: Any) -> Any:
    """Give a value of ours its type, where a table has it as text."""
    if not isinstance(value, str) or name not in OURS or name in ("text", "status", "hash"):
        return "" if value is None and name == "text" else value
    if not value:
        return None
    if name in AS_JSON or name in _NUMBERS:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return value


def _as_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Write the answer as JSON even if it is a text alone, so that it can be read again."""
    answer = row.get("json")
    return row if not isinstance(answer, str) else {**row, "json": msgspec.json.encode(answer).decode()}


def _read(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open("rb") as file:
        for line in file:
            fields = fields_of(line) if line.endswith(b"\n") else None
            if fields is not None:
                yield fields


def _columns_of(lines: Path) -> dict[str, str]:
    """Find the columns of a table, and the kind of values that each of them has: int, float, bool or text."""
    kinds: dict[str, set[str]] = {name: set() for name in ("id", *OURS) if name in _COLUMNS}
    for row in _read(lines):
        for name, value in row.items():
            kinds.setdefault(name, set()).add(_kind(value))
    others = [name for name in kinds if name != "id" and name not in OURS]
    ours = [name for name in OURS if name in kinds]
    return {name: _kind_of_all(name, kinds[name] - {""}) for name in ("id", *others, *ours)}


_COLUMNS: Final = frozenset({"id", *OURS}) - {"repeat", "json", "content", "input", "same_as"}
"""The columns that every table has."""

_KINDS: Final = {
    **dict.fromkeys(_NUMBERS, "int"),
    "ttft": "float",
    "seconds": "float",
}


def _kind(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(1 << 63) <= value < 1 << 63 else "text"
    return "float" if isinstance(value, float) else "text"


def _kind_of_all(name: str, kinds: set[str]) -> str:
    if name in ("id", *OURS):
        return _KINDS.get(name, "text")
    if len(kinds) == 1:
        return kinds.pop()
    return "float" if kinds == {"int", "float"} else "text"
