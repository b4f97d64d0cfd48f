"""Rows that are lines of JSON.

What belongs here: reading them from a file. What does not: what is in a line (`_rows`), and reading them as they arrive
through a pipe (`_batch_input`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from trio_stream.cli._input_json import what_it_is
from trio_stream.cli._input_text import BOM, InputError
from trio_stream.cli._line_file import LineFile
from trio_stream.cli._rows import JsonLine, Row

_NAMED: Final = {
    "gzip": "; its rows are read if its name ends with .gz, or with --format jsonl.gz",
    "Parquet": "; its rows are read if its name ends with .parquet, or with --format parquet",
    "SQLite": "; its rows are read if its name ends with .db, or with --format sqlite",
}
"""What to say of formats that can be read, and are not expected."""


@final
class JsonLinesReader:
    """The rows of a file of JSON lines.

    Args:
      file: The file.
    """

    def __init__(self, file: LineFile) -> None:
        self._file = file

    def rows(self) -> Iterator[Row]:
        """Read the lines that are not blank."""
        head = self._file.head()
        try:
            check_head(head)
        except InputError as error:
            raise InputError(f"{self._file.name}, {error}") from None
        for number, line in enumerate(self._file.lines(), 1):
            if line.removeprefix(BOM).strip():
                yield JsonLine(number, line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check_head(data: bytes) -> None:
    """Look whether the first bytes are those of something else than JSON lines.

    Raises:
      InputError: They are.
    """
    what = what_it_is(data)
    if what is not None:
        named = next((named for kind, named in _NAMED.items() if kind in what), "")
        raise InputError(f"line 1, column 1: {what}{named}")
