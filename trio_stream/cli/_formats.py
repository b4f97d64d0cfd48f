"""The formats of the rows that ``trio-stream batch`` reads and writes, told by the endings of names.

What belongs here: which format a name stands for, and what a name says besides. What does not: the formats themselves
(`_rows_json`, `_rows_csv`, `_rows_parquet`, `_rows_sqlite`).
"""

from __future__ import annotations

import enum
import os
from typing import Final

import msgspec


class Format(enum.Enum):
    """A format of rows."""

    JSON_LINES = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    SQLITE = "sqlite"


_ENDINGS: Final = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".db": Format.SQLITE,
    ".sqlite": Format.SQLITE,
    ".sqlite3": Format.SQLITE,
}
"""All other files are of JSON lines."""

_GZIP: Final = ".gz"
_TABLE: Final = "::"

TABLE: Final = "answers"
"""The table of a database that is an output and names none."""

NAMES: Final = ("jsonl", "csv", "tsv", "parquet", "sqlite", "jsonl.gz", "csv.gz", "tsv.gz")
"""What ``--format`` and ``--output-format`` may be."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows are, or go to.

    Args:
      path: The path of the file; ``-`` for standard input or output.
      format: Its format.
      gzipped: Whether it is compressed by gzip.
      table: The table that the name has after ``::``; None without one.
    """

    path: str
    format: Format
    gzipped: bool = False
    table: str | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.path}::{self.table or TABLE}" if self.format is Format.SQLITE else self.path

    @property
    def stem(self) -> str:
        """How the names of the files beside an output begin, such as its journal.

        Under whichever name of a link an output is given, it is the same job, and what was paid for must be found.
        """
        is_link = os.path.islink(self.path)  # noqa: PTH114 - a name that is too long is told later, and raises nothing here
        path = os.path.realpath(self.path) if is_link else self.path
        return f"{path}.{self.table or TABLE}" if self.format is Format.SQLITE else path

    @property
    def journal(self) -> str:
        """The journal beside an output."""
        return f"{self.stem}.journal"


def place_of(name: str, named: str | None = None) -> Place:
    """Find out what a name on the command line says.

    Args:
      name: The name of a file, perhaps with ``::TABLE`` after that of a database.
      named: The format, one of `NAMES`, where it was said; None to tell it by the ending.
    """
    if named is not None:
        plain = named.removesuffix(_GZIP)
        path, table = _split(name) if plain == "sqlite" else (name, None)
        return Place(path=path, format=Format(plain), gzipped=plain != named, table=table)
    path, table = _split(name)
    if _by_ending(path) is Format.SQLITE:
        return Place(path=path, format=Format.SQLITE, table=table)
    gzipped = name.lower().endswith(_GZIP)
    plain = name[: -len(_GZIP)] if gzipped else name
    return Place(path=name, format=_by_ending(plain), gzipped=gzipped)


def _split(name: str) -> tuple[str, str | None]:
    path, mark, table = name.rpartition(_TABLE)
    return (path, table) if mark and path and table else (name, None)


def _by_ending(path: str) -> Format:
    lower = path.lower()
    return next((kind for ending, kind in _ENDINGS.items() if lower.endswith(ending)), Format.JSON_LINES)
