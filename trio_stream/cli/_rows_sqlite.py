"""Rows of a table, a view or a query of an SQLite database, in; those of an output, as a table of one.

What belongs here: the database. What does not: what a row stands for (`_batch_recipe`), and when an output is written
(`_batch_table`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, final

import msgspec

from trio_stream.cli._input_text import InputError
from trio_stream.cli._rows import SHOWN, Row, TableRow

_SECONDS: Final = 10.0
"""How long a lock of another program is waited for."""

_SNAPSHOT: Final = '"rows of the input"'
_RENAMED: Final = re.compile(r"(.*):\d+")


@final
class SqliteReader:
    """The rows of a table, a view or a query, as they were when this object was made.

    The rows are copied to a temporary table on the disk, so that no lock is held while they are sent: the same database
    may take the answers.

    Args:
      path: The database.
      table: The table or the view; None for the only one that there is.
      query: A query in place of a table.

    Raises:
      InputError: There is no such database or table, or the query is wrong.
    """

    def __init__(self, path: str, *, table: str | None = None, query: str | None = None) -> None:
        self._name = path
        self._database = _open(path)
        try:
            source = _select(self._database, path, table) if query is None else query.strip().rstrip(";")
            rows = f"SELECT * FROM ({source}\n)"  # noqa: S608 - the query is the user's own, and nothing can be written
            self._columns = [str(name) for name, *_ in self._database.execute(f"{rows} LIMIT 0").description]
            _check_columns(self._columns, path)
            self._database.execute(f"CREATE TEMP TABLE {_SNAPSHOT} AS {rows}")
        except (sqlite3.Error, sqlite3.Warning) as error:
            self._database.close()
            raise InputError(f"{path}: {_why(error)}") from None
        except BaseException:
            self._database.close()
            raise

    def rows(self) -> Iterator[Row]:
        """Read the rows."""
        try:
            with closing(self._database.execute(f"SELECT * FROM temp.{_SNAPSHOT} ORDER BY rowid")) as cursor:  # noqa: S608
                for number, values in enumerate(cursor, 1):
                    yield TableRow(number, "row", self._columns, values)
        except sqlite3.Error as error:
            raise InputError(f"{self._name}: {_why(error)}") from None

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _open(path: str) -> sqlite3.Connection:
    try:
        with Path(path).open("rb"):  # SQLite does not say why it cannot
            pass
        database = _connect(Path(path))
        database.isolation_level = None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except sqlite3.Error as error:
        raise InputError(f"{path}: {_why(error)}") from None
    database.text_factory = _text
    return database


def _text(data: bytes) -> str | bytes:
    """Decode a text; one that is not UTF-8 stays bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _why(error: Exception) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "the database is locked by another program: try again when that has ended"
    if "not a database" in text:
        return "this is no SQLite database"
    if "malformed" in text:
        return "the database is damaged: see what `sqlite3 FILE .recover` finds"
    return text


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _select(database: sqlite3.Connection, path: str, table: str | None) -> str:
    """Return the query for a table.

    Raises:
      InputError: There is no such table; or none was named, and there are several.
    """
    found = tables_of(database)
    there = f"it has {', '.join(f'`{name[:SHOWN]}`' for name in found[:20])}" if found else "it has no tables"
    if table is None:
        if len(found) != 1:
            raise InputError(f"{path}: which table? ({there}): write {path}::TABLE, or --table TABLE, or --query SQL")
        table = found[0]
    elif table.lower() not in (name.lower() for name in found):
        raise InputError(f"{path} has no table `{table[:SHOWN]}` ({there})")
    return f"SELECT * FROM main.{_quoted(table)}"  # noqa: S608 - it is quoted


def tables_of(database: sqlite3.Connection) -> list[str]:
    """Return the names of the tables and views of a database."""
    found = database.execute(
        "SELECT name FROM main.sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY name"
    )
    return [str(name) for (name,) in found]


def _check_columns(columns: Sequence[str], path: str) -> None:
    """Look whether each column has a name of its own; SQLite adds a number to those that are repeated.

    Raises:
      InputError: One has not.
    """
    for number, name in enumerate(columns, 1):
        match = _RENAMED.fullmatch(name)
        if match is not None and match[1] in columns:
            raise InputError(
                f"{path}, column {number}: `{match[1][:SHOWN]}` is the name of column {columns.index(match[1]) + 1} "
                "too: name it with AS"
            )


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database that is there.

    Not as one that is only read: what a program that was killed has left half done has to be taken back before.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS)


def read_table(path: Path, table: str) -> Iterator[dict[str, Any]]:
    """Read the rows of a table that is an output.

    Raises:
      sqlite3.Error: That is not possible.
    """
    with closing(_connect(path)) as database:
        cursor = database.execute(f"SELECT * FROM main.{_quoted(table)}")  # noqa: S608
        names = [str(name) for name, *_ in cursor.description]
        for values in cursor:
            yield dict(zip(names, values, strict=True))


def columns_of(path: Path, table: str) -> list[str] | None:
    """Return the columns of a table; None if there is no such table.

    Raises:
      sqlite3.Error: That cannot be found out.
      TypeError: It is a view.
    """
    with closing(_connect(path)) as database:
        kinds = database.execute(
            "SELECT type FROM main.sqlite_master WHERE lower(name) = lower(?)", (table,)
        ).fetchall()
        if not kinds:
            return None
        if ("table",) not in kinds:
            raise TypeError(str(kinds[0][0]))
        return [str(row[1]) for row in database.execute(f"PRAGMA main.table_info({_quoted(table)})")]


_AFFINITY: Final = {"int": "INTEGER", "float": "REAL", "bool": "INTEGER", "text": "TEXT"}


def write_table(path: Path, table: str, columns: Mapping[str, str], rows: Iterator[Mapping[str, Any]]) -> None:
    """Replace the rows of a table in one transaction. The table stays, with its indexes; columns are added to it.

    Args:
      path: The database, which is made if it is not there.
      table: The table, likewise.
      columns: The kind of each column: int, float, bool or text.
      rows: The rows.

    Raises:
      sqlite3.Error: The database cannot be written. It is as it was.
    """
    with closing(sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            places = _without_case(columns)
            declared = [f"{_quoted(name)} {_AFFINITY[columns[keys[0]]]}" for name, keys in places.items()]
            name = f"main.{_quoted(table)}"
            database.execute(f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(declared)})")
            there = {str(row[1]).lower() for row in database.execute(f"PRAGMA main.table_info({_quoted(table)})")}
            for column, declaration in zip(places, declared, strict=True):
                if column.lower() not in there:
                    database.execute(f"ALTER TABLE {name} ADD COLUMN {declaration}")
            database.execute(f"DELETE FROM {name}")  # noqa: S608
            names, marks = ", ".join(map(_quoted, places)), ", ".join("?" * len(places))
            database.executemany(
                f"INSERT INTO {name} ({names}) VALUES ({marks})",  # noqa: S608
                ([_first(row, keys) for keys in places.values()] for row in rows),
            )
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise


def _without_case(columns: Iterable[str]) -> dict[str, list[str]]:
    """Find a column for each key: for SQLite, `Text` and `text` are the same name. Names in small letters are kept."""
    keys = [*columns]
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: key != key.lower()):
        name = f"{key}_2" if key.lower() in taken else key
        names[key] = taken.setdefault(name.lower(), name)
    places: dict[str, list[str]] = {}
    for key in keys:
        places.setdefault(names[key], []).append(key)
    return places


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of some keys that has one."""
    return next((_value(row[key]) for key in keys if row.get(key) is not None), None)


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return value
    return msgspec.json.encode(value).decode()
