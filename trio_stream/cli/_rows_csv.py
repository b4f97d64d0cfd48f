"""Rows of CSV and TSV, in and out.

What belongs here: the format of such a file. What does not: bytes and gzip (`_line_file`), what a row stands for
(`_batch_recipe`), and when an output is written (`_batch_table`).

What is read is what spreadsheets, databases and pandas write: RFC 4180, with or without a byte order mark; in a file
whose first line has no comma, semicolons or tabs separate the cells.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, final

import msgspec

from trio_stream.cli._input_text import BOM, InputError, foreign_format, not_utf_8
from trio_stream.cli._line_file import LineFile
from trio_stream.cli._rows import BadRow, MistakeError, Row, TableRow, names_of

_LARGEST_CELL: Final = 32_000_000
"""Characters. No request may be larger, and a quote that is never closed would make one cell of the whole file."""


class TextSink(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object:
        """Write a text."""
        ...


@final
class CsvReader:
    """The rows of a file of comma-separated values with a header.

    Args:
      file: The file.
      tabs: Whether tabs separate the cells. Otherwise the first line says what does: commas, semicolons or tabs.
      ours: Whether it was written by `write_csv`, so that the names of its columns are right as they are.
    """

    def __init__(self, file: LineFile, *, tabs: bool, ours: bool = False) -> None:
        self._file = file
        self._ours = ours
        self._tabs = tabs

    def columns(self) -> list[str]:
        """Read the names of the columns.

        Raises:
          InputError: They cannot be read, one is missing, or one is there twice.
        """
        return self._begin()[2]

    def rows(self) -> Iterator[Row]:
        """Read the rows after the header. Empty lines are none."""
        text, reader, columns = self._begin()
        while True:
            number = text.count + 1
            text.taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                mistake = MistakeError(_reason(error))
            except MistakeError as error:
                mistake = error
            else:
                if len(cells) == len(columns):
                    yield TableRow(number, "line", columns, cells)
                    continue
                if not cells:
                    continue
                mistake = MistakeError(
                    f"it has {len(cells)} cell{'' if len(cells) == 1 else 's'}, and the header has {len(columns)}",
                    column=min(len(cells), len(columns)) + 1,
                )
            yield BadRow(number, "line", mistake, b"".join(text.taken))

    def _begin(self) -> tuple[_Text, Iterator[list[str]], list[str]]:
        """Begin to read the file, up to the header."""
        name = self._file.name
        head = self._file.head()
        what = foreign_format(head)
        if what is not None:
            raise InputError(f"{name}, line 1, column 1: this is {what}")
        if head.removeprefix(BOM).lstrip()[:2] in (b'{"', b"[{"):
            raise InputError(f"{name}, line 1, column 1: this is JSON: name it .jsonl, or say --format jsonl")
        delimiter = "\t" if self._tabs else _delimiter(head)
        csv.field_size_limit(_LARGEST_CELL)
        text = _Text(self._file.lines(), delimiter)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            number = text.count + 1
            try:
                cells = next(reader)
            except StopIteration:
                raise InputError(f"{name} has no rows: it is empty, or all its lines are blank") from None
            except (csv.Error, MistakeError) as error:
                column = error.column if isinstance(error, MistakeError) else 1
                why = _reason(error) if isinstance(error, csv.Error) else str(error)
                raise InputError(f"{name}, line {number}, column {column}: {why}") from None
            if cells:
                return text, reader, cells if self._ours else _header(cells, f"{name}, line {number}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@final
class _Text:
    """Lines as text, for a reader of CSV; it remembers those of one row.

    Attributes:
      count: How many lines have been taken.
      taken: The lines of the present row.
    """

    def __init__(self, lines: Iterator[bytes], delimiter: str) -> None:
        self.count = 0
        self.taken: list[bytes] = []
        self._lines = lines
        self._delimiter = delimiter

    def __iter__(self) -> _Text:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self.taken.append(line)
        try:
            return line.removeprefix(BOM).decode() if self.count == 1 else line.decode()
        except UnicodeDecodeError as error:
            before = line[: error.start].decode()
            raise MistakeError(not_utf_8(line, error), column=before.count(self._delimiter) + 1) from None


def _delimiter(head: bytes) -> str:
    first = head.partition(b"\n")[0].decode(errors="replace")
    return "," if "," in first else next((mark for mark in ";\t" if mark in first), ",")


def _header(cells: Sequence[str], place: str) -> list[str]:
    """Check the names of the columns.

    Raises:
      InputError: One is missing, or is there twice.
    """
    names = [cell.strip() for cell in cells]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise InputError(
                f"{place}, column {number}: the column has no name: give it one, or leave it out (pandas writes one "
                "without a name unless it is told index=False)"
            )
        if name in seen:
            raise InputError(
                f"{place}, column {number}: {names_of({name: None}).removeprefix('its keys: ')} is the name of column "
                f"{seen[name]} too"
            )
        seen[name] = number
    return names


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return 'a quotation mark (") is never closed: two of them stand for one within a cell'
    if "field larger than" in text:
        return 'a cell is larger than any request may be: is a quotation mark (") not closed?'
    if "new-line character" in text:
        return r"the lines end with CR alone: pipe `tr '\r' '\n' < FILE |`"
    return f"{text}: two quotation marks stand for one within a cell that has quotation marks around it"


def write_csv(file: TextSink, columns: Sequence[str], rows: Iterator[Mapping[str, Any]], *, tabs: bool) -> None:
    """Write rows as CSV or TSV. What is no text is written as JSON, and null as an empty cell.

    Raises:
      OSError: The file cannot be written.
    """
    writer = csv.writer(file, delimiter="\t" if tabs else ",", lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell_of(row.get(name)) for name in columns])


def cell_of(value: Any) -> str:
    """Write a value as the text of a cell."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
