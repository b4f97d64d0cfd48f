"""Opening the input of ``trio-stream batch``, of whichever format.

What belongs here: which reader an input has, and what becomes of pipes. What does not: the formats (`_rows_json` and
its like) and going through the rows (`_batch_input`).
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from typing import BinaryIO, TextIO, cast

from trio_stream.cli._batch_check import Checker, Rejections
from trio_stream.cli._batch_input import FileInput, Input, PipeInput
from trio_stream.cli._batch_part import Part
from trio_stream.cli._formats import Format, Place
from trio_stream.cli._input_text import InputError, check_is_no_directory, unreadable
from trio_stream.cli._line_file import LineFile
from trio_stream.cli._rows import Reader
from trio_stream.cli._rows_csv import CsvReader
from trio_stream.cli._rows_json import JsonLinesReader
from trio_stream.cli._rows_parquet import ParquetReader
from trio_stream.cli._rows_sqlite import SqliteReader


def open_input(
    place: Place,
    checker: Checker,
    part: Part,
    rejections: Rejections | None = None,
    *,
    table: str | None = None,
    query: str | None = None,
) -> Input:
    """Open the input that the command line names, and check all of it if it is a file.

    Lines of JSON that come through a pipe are sent as they arrive. Other formats are read to the end of the pipe first,
    into a temporary file.

    Args:
      place: The input; ``-`` is standard input.
      checker: Makes items of its rows.
      part: Which rows belong to this run.
      rejections: Where rows go that cannot be used. None if there must be none.
      table: The table of a database.
      query: A query in place of a table.

    Raises:
      InputError: The input cannot be read, or rows of it cannot be used.
    """
    name = "standard input" if place.path == "-" else place.path
    try:
        if place.format is Format.SQLITE:
            if place.path == "-":
                raise InputError("an SQLite database cannot be read from standard input: name its file")
            mode = os.stat(place.path).st_mode  # noqa: PTH116
            check_is_no_directory(name, mode)
            if not stat.S_ISREG(mode):
                raise InputError(f"{name} is no file, and an SQLite database is one")
            reader: Reader = SqliteReader(place.path, table=place.table or table, query=query)
        else:
            number = _stdin() if place.path == "-" else os.open(place.path, os.O_RDONLY)
            mode = os.fstat(number).st_mode
            check_is_no_directory(name, mode)
            if not stat.S_ISREG(mode) and place.format is Format.JSON_LINES and not place.gzipped:
                return PipeInput(number, checker, part, rejections=rejections, name=name)
            file: BinaryIO = open(os.dup(number) if place.path == "-" else number, "rb")  # noqa: SIM115, PTH123
            reader = _reader(file if stat.S_ISREG(mode) else _spooled(file), place, name)
    except OSError as error:
        raise InputError(unreadable(name, error)) from None
    found = FileInput(reader, checker, part, name=name)
    try:
        found.check(rejections)
    except BaseException:
        found.close()
        raise
    return found


def _reader(file: BinaryIO, place: Place, name: str) -> Reader:
    try:
        if place.format is Format.PARQUET:
            return ParquetReader(file, name)
        lines = LineFile(file, name, gzipped=place.gzipped)
        if place.format is Format.JSON_LINES:
            return JsonLinesReader(lines)
        return CsvReader(lines, tabs=place.format is Format.TSV)
    except BaseException:
        file.close()
        raise


def _spooled(pipe: BinaryIO) -> BinaryIO:
    """Read a pipe to its end, into a file that has no name."""
    with pipe:
        file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - its reader closes it
        shutil.copyfileobj(pipe, file)
        file.seek(0)
        return file


def _stdin() -> int:
    stdin: TextIO | None = sys.stdin  # None if it is closed
    if stdin is None:
        raise InputError("standard input is closed: name a file, or pipe the items in")
    return stdin.fileno()
