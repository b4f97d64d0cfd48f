"""The rows that `trio-stream batch` reads: CSV, TSV, Parquet, SQLite, gzip; what is right, odd or wrong in them."""

from __future__ import annotations

import datetime
import decimal
import gzip
import os
import random
import sqlite3
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trio_stream.cli._batch_check import Checker
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._batch_rejects import RejectsFile
from trio_stream.cli._formats import NAMES, Format, place_of
from trio_stream.cli._input_text import InputError
from trio_stream.cli._open_rows import open_input
from trio_stream.cli._rows_parquet import TablesMissingError

from .test_input_mistakes import (
    Run,
    piped,
    run as run,
)


def read(
    name: Path | str,
    template: str | None = None,
    *,
    named: str | None = None,
    rejects: RejectsFile | None = None,
    defaults: dict[str, Any] | None = None,
    **where: str,
) -> list[Entry]:
    """Read an input as the command does: check it, and then go through it again."""
    checker = Checker(Recipe({"model": "m", "max_tokens": 9} | (defaults or {}), template))
    found = open_input(place_of(str(name), named), checker, Part(), rejects, **where)
    entries = found.entries()
    assert isinstance(entries, Iterator)
    try:
        return list(entries)
    finally:
        found.close()


def prompts(*args: Any, **options: Any) -> list[str]:
    return [entry.request["messages"][0]["content"] for entry in read(*args, **options)]


@pytest.mark.parametrize(
    ("name", "named", "path", "kind", "gzipped", "table"),
    [
        ("a.jsonl", None, "a.jsonl", "jsonl", False, None),
        ("a", None, "a", "jsonl", False, None),
        ("A.CSV", None, "A.CSV", "csv", False, None),
        ("a.csv.gz", None, "a.csv.gz", "csv", True, None),
        ("a.gz", None, "a.gz", "jsonl", True, None),
        ("a.tab", None, "a.tab", "tsv", False, None),
        ("a.pq", None, "a.pq", "parquet", False, None),
        ("x/a.sqlite3::t u", None, "x/a.sqlite3", "sqlite", False, "t u"),
        ("a::b.db", None, "a::b.db", "sqlite", False, None),
        ("a::b.csv", None, "a::b.csv", "csv", False, None),
        ("-", None, "-", "jsonl", False, None),
        ("-", "tsv.gz", "-", "tsv", True, None),
        ("a.csv", "jsonl", "a.csv", "jsonl", False, None),
        ("data::t", "sqlite", "data", "sqlite", False, "t"),
        ("data::", "sqlite", "data::", "sqlite", False, None),
    ],
)
def test_formats_by_name(name: str, named: str | None, path: str, kind: str, gzipped: bool, table: str | None) -> None:
    """The ending says it, or the option."""
    place = place_of(name, named)
    assert (place.path, place.format, place.gzipped, place.table) == (path, Format(kind), gzipped, table)


# CSV.

CSV: dict[str, tuple[bytes, list[str]]] = {
    "plain": (b"id,text\na,x\nb,y\n", ["x", "y"]),
    "a byte order mark, CRLF, no end": (b"\xef\xbb\xbftext,id\r\nx,a\r\ny,b", ["x", "y"]),
    "quotes and lines in cells": (b'id,text\na,"say ""hi"",\nthen go"\n"b","y"\n', ['say "hi",\nthen go', "y"]),
    "CRLF in cells": (b'id,text\r\na,"1\r\n2"\r\n', ["1\r\n2"]),
    "semicolons": (b"id;text\na;x, y\n", ["x, y"]),
    "tabs in a .csv": (b"id\ttext\na\tx, y\n", ["x, y"]),
    "blank lines": (b"\n\nid,text\n\na,x\n\n", ["x"]),
    "one column": (b"text\nx\n", ["x"]),
    "blanks around names": (b"id, text \na,x\n", ["x"]),
    "quoted names": (b'"id","text"\na,x\n', ["x"]),
    "wide characters": ("id,text\na,😀é\n".encode(), ["😀é"]),
}


@pytest.mark.parametrize(("data", "expected"), CSV.values(), ids=CSV)
def test_csv(tmp_path: Path, data: bytes, expected: list[str]) -> None:
    """As spreadsheets, databases and pandas write it."""
    source = tmp_path / "p.csv"
    source.write_bytes(data)
    assert prompts(source, "{text}") == expected
    with gzip.open(tmp_path / "p.csv.gz", "wb") as file:
        file.write(data)
    assert prompts(tmp_path / "p.csv.gz", "{text}") == expected


def test_tsv(tmp_path: Path) -> None:
    """Tabs separate, and commas do not."""
    (tmp_path / "p.tsv").write_text("id\tprompt\na\tx, y\n")
    assert prompts(tmp_path / "p.tsv") == ["x, y"]


def test_cells_that_are_parameters(tmp_path: Path) -> None:
    """They have the types that the API wants; empty ones are left out; ids and other columns stay texts."""
    source = tmp_path / "p.csv"
    source.write_text(
        "id,prompt,model,max_tokens,temperature,stop_sequences,system,n,thinking\n"
        '007,5,123,100,0.5,"[""END""]",42,7,"{""type"": ""disabled""}"\n'
        ",x,,,,,,,\n"
        'c,x,,12.0,,,"[{""type"": ""text"", ""text"": ""s""}]",,\n'
    )
    first, second, third = read(source, defaults={"temperature": 1.0})
    assert (first.id, first.others) == ("007", {"n": "7"})
    assert {name: value for name, value in first.request.items() if name != "messages"} == {
        "model": "123", "max_tokens": 100, "temperature": 0.5, "stop_sequences": ["END"], "system": "42",
        "thinking": {"type": "disabled"},
    }  # fmt: skip
    assert (second.id, second.others, second.request.keys()) == (
        None,
        {"n": ""},
        {"model", "max_tokens", "temperature", "messages"},
    )
    assert (third.request["max_tokens"], third.request["system"][0]["text"]) == (12, "s")


MISTAKES: dict[str, tuple[str, bytes, str, str]] = {
    "ragged": ("csv", b"id,prompt\na,x\nb\nc,y,z\n", "line 3, column 2: ", "it has 1 cell, and the header has 2"),
    "a column twice": ("csv", b"id,prompt,id\na,x,b\n", "line 1, column 3: ", "`id` is the name of column 1 too"),
    "a column without a name": ("csv", b",prompt\n0,x\n", "line 1, column 1: ", "pandas"),
    "nothing": ("csv", b"", "", "it is empty"),
    "a header alone": ("csv", b"id,prompt\n", "", "no items"),
    "UTF-16": ("csv", "id,prompt\n".encode("utf-16"), "line 1, column 1: ", "iconv -f UTF-16"),
    "UTF-16 without a mark": ("tsv", "id\tprompt\n".encode("utf-16-le"), "line 1, column 1: ", "iconv -f UTF-16"),
    "gzip by another name": ("csv", gzip.compress(b"id\n"), "line 1, column 1: ", "this is gzip"),
    "Latin-1": ("csv", b"id,prompt\na,caf\xe9\n", "line 2, column 2: ", "0xe9 is not UTF-8"),
    "Latin-1 in the header": ("csv", b"id,caf\xe9\n", "line 1, column 2: ", "0xe9 is not UTF-8"),
    "a quote that is open": ("csv", b'id,prompt\na,"x\ny\n', "line 2, column 1: ", "is never closed"),
    "a quote in the header": ("csv", b'"id,prompt\na,x\n', "line 1, column 1: ", "is never closed"),
    "text after a quote": ("csv", b'id,prompt\na,"x"y\nb,z\n', "line 2, column 1: ", "two quotation marks"),
    "CR alone": ("csv", b"id,prompt\ra,x\r", "line 1, column 1: ", "CR alone"),
    "JSON lines": ("csv", b'{"prompt": "x"}\n', "line 1, column 1: ", "this is JSON"),
    "no prompt": ("csv", b"id,text\na,x\n", "line 2, column 1: ", "(its keys: `text`)"),
    "max_tokens": ("csv", b"id,prompt,max_tokens\na,x,many\n", "line 2, column 3: ", "is not a whole number"),
    "an empty prompt": ("csv", b"id,prompt\na, \n", "line 2, column 2: ", "`prompt` is not a text"),
    "an id twice": ("csv", b'id,prompt\na,"1\n2"\na,x\n', "line 4, column 1: ", "a is repeated (lines 2 and 4)"),
    "the line of a later row": ("csv", b'id,prompt\na,"1\n2\n3"\nb,\n', "line 5, column 2: ", "is not a text"),
    "no gzip": ("csv.gz", b"id,prompt\na,x\n", "", "this is not gzip: name it without .gz"),
    "gzip that was cut": (
        "csv.gz",
        gzip.compress(random.Random(1).randbytes(999).hex().encode())[:600],
        "line 1",
        "cut",
    ),
    "gzip that is damaged": ("jsonl.gz", gzip.compress(b'"x"\n')[:-5] + b"12345", "line 1: ", "damaged"),
    "gzip with something after it": ("jsonl.gz", gzip.compress(b'"x"\n') + b"more", "line 1: ", "damaged"),
    "no Parquet": ("parquet", b"id,prompt\na,x\n", "", "this is no Parquet file, or it was cut"),
    "an empty Parquet": ("parquet", b"", "", "this is no Parquet file"),
    "no database": ("db", b"id,prompt\na,x\n" * 99, "", "this is no SQLite database"),
    "an empty database": ("db", b"", "", "it has no tables"),
}


@pytest.mark.parametrize(("ending", "data", "place", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(run: Run, tmp_path: Path, ending: str, data: bytes, place: str, words: str) -> None:
    """They are told as those of JSON lines are: the file, the line or row, the column, what to do. Nothing is written."""
    source = tmp_path / f"p.{ending}"
    source.write_bytes(data)
    done = run("batch", source, "-o", tmp_path / "out.csv")
    assert (done.code, done.out) == (2, ""), done.err
    first = done.err.splitlines()[0]
    assert first.startswith(f"trio-stream batch: {source}"), first
    assert place in first
    assert words in first
    assert list(tmp_path.iterdir()) == [source]


def test_rows_that_are_left_out(tmp_path: Path) -> None:
    """What follows a row that cannot be read can be; the file for rejected rows has it as it stands."""
    source = tmp_path / "p.csv"
    source.write_bytes(b'id,prompt\na,x\nb\nc,"y\nz"q\nd,caf\xe9\n,\ne,w\n')
    rejects = RejectsFile(tmp_path / "rejects")
    assert prompts(source, rejects=rejects) == ["x", "w"]
    rejects.close()
    rows = (tmp_path / "rejects").read_text().splitlines()
    assert len(rows) == 4
    assert r'"text":"c,\"y\nz\"q"' in rows[1]
    assert r"caf\\xe9" in rows[2]
    assert r'"text":"{\"prompt\":\"\"}"' in rows[3]


def test_a_quote_that_is_open_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell has a largest size."""
    monkeypatch.setattr("trio_stream.cli._rows_csv._LARGEST_CELL", 1000)
    source = tmp_path / "p.csv"
    source.write_text('id,prompt\na,"x\n' + "b,y\n" * 2000)
    with pytest.raises(InputError, match="line 2, column 1: a cell is larger than any request"):
        read(source)


def test_members_of_gzip(tmp_path: Path) -> None:
    """As ``cat a.gz b.gz`` makes them."""
    source = tmp_path / "p.jsonl.gz"
    source.write_bytes(gzip.compress(b'"x"\n') + gzip.compress(b'"y"\n') + b"\0" * 10)
    assert prompts(source) == ["x", "y"]


# Parquet.


def test_the_types_of_parquet(tmp_path: Path) -> None:
    """Numbers stay numbers, lists and structs can be led into, times and decimals are texts, NaN is null."""
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
    columns: dict[str, Any] = {
        "id": pa.array([1, 2]),
        "text": pa.array(["x", "y"]),
        "nested": pa.array([{"a": {"b": 5}}] * 2),
        "items": pa.array([[{"name": "n0", "at": 1_700_000_000_123_456_789}]] * 2,
                          pa.list_(pa.struct([("name", pa.string()), ("at", pa.timestamp("ns"))]))),
        "kind": pa.array(["u", "v"]).dictionary_encode(),
        "price": pa.array([decimal.Decimal("1.50")] * 2, pa.decimal128(9, 2)),
        "at": pa.array([int(at.timestamp() * 1e6) * 1000 + 123] * 2, pa.timestamp("ns", "UTC")),
        "day": pa.array([datetime.date(2026, 1, 2)] * 2),
        "took": pa.array([1_500_000_000] * 2, pa.duration("ns")),
        "clock": pa.array([1_000] * 2, pa.time64("ns")),
        "legacy": pa.array([b"caf\xc3\xa9"] * 2),
        "binary": pa.array([b"\xff\0"] * 2),
        "map": pa.array([[("k", 1)]] * 2, pa.map_(pa.string(), pa.int64())),
        "score": pa.array([float("nan"), 1.5]),
        "flag": pa.array([True, False]),
        "nothing": pa.array([None, None], pa.null()),
        "max_tokens": pa.array([100.0, float("nan")]),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=1)
    template = "{text}|{nested.a.b}|{items.0.name}|{kind}|{price}|{day}|{legacy}|{map.k}|{score}|{nothing}"
    first, second = read(tmp_path / "p.parquet", template)
    assert first.request["messages"][0]["content"] == "x|5|n0|u|1.50|2026-01-02|café|1||"
    assert second.request["messages"][0]["content"] == "y|5|n0|v|1.50|2026-01-02|café|1|1.5|"
    assert (first.id, first.request["max_tokens"], second.request["max_tokens"]) == ("1", 100, 9)
    others = first.others
    assert others["at"].startswith("2026-01-02T03:04:05.6789")
    assert (others["flag"], others["score"], others["nothing"], others["binary"]) == (True, None, None, b"\xff\0")
    assert others["items"][0]["at"].startswith("2023-11-14T22:13:20.123456")
    assert (others["took"], others["nested"]) == ("PT1.5S", {"a": {"b": 5}})


def write_parquet(path: Path, rows: int = 3, **options: Any) -> Path:
    table = pa.table({"id": [f"q{n}" for n in range(rows)], "prompt": [f"question {n}" for n in range(rows)]})
    pq.write_table(table, path, **options)
    return path


def test_parquet_that_is_wrong(run: Run, tmp_path: Path) -> None:
    """No rows, a footer that was lost or overwritten, data that are damaged, names that are there twice, bytes."""
    source = tmp_path / "p.parquet"
    whole = write_parquet(source, 2000, compression="none", use_dictionary=False).read_bytes()
    damaged = bytearray(whole)
    damaged[4:60] = b"\xff" * 56
    wrong: dict[bytes, str] = {
        write_parquet(source, 0).read_bytes(): "has no items",
        whole[:-9]: "this is no Parquet file, or it was cut",
        whole[:-8] + b"\xff" * 4 + b"PAR1": "this is no Parquet file, or it was cut",
        bytes(damaged): "row 1: ",
    }
    for data, words in wrong.items():
        source.write_bytes(data)
        done = run("batch", source, "-o", "-")
        assert done.code == 2
        assert done.err.startswith(f"trio-stream batch: {source}")
        assert words in done.err
    pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 2, ["prompt", "prompt"]), source)
    assert "column 2: `prompt` is the name of column 1 too" in run("batch", source, "-o", "-").err
    pq.write_table(pa.table({"prompt": [b"\xff"], "text": [b"\xff"], "system": [b"\xff"], "id": [1]}), source)
    assert "row 1, column 1: `prompt` is not a text" in run("batch", source, "-o", "-").err
    done = run("batch", source, "-o", "-", "--template", "{text}")
    assert "row 1, column 2: `text`, which the template needs, is binary data" in done.err
    done = run("batch", source, "-o", "-", "--template", "{id}")
    assert "row 1, column 3: `system` is binary data" in done.err


def test_without_pyarrow(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install, for input and for output."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    source = write_parquet(tmp_path / "p.parquet")
    with pytest.raises(TablesMissingError):
        read(source)
    (tmp_path / "p.csv").write_text("prompt\nx\n")
    for args in ([source, "-o", "-"], [tmp_path / "p.csv", "-o", tmp_path / "out.parquet"]):
        done = run("batch", *args)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "Parquet needs pyarrow: pip install 'trio-stream[tables]'" in done.err


# SQLite.


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "d.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE prompts (id INTEGER PRIMARY KEY, prompt TEXT, n, b BLOB, meta TEXT);"
            """INSERT INTO prompts VALUES (1, 'x', 1.5, x'ff', '{"a": [{"b": "deep"}]}'), (2, 'y', NULL, NULL, NULL);"""
            "CREATE TABLE keyed (id TEXT PRIMARY KEY, prompt TEXT, max_tokens INT) WITHOUT ROWID;"
            "INSERT INTO keyed VALUES ('b', 'second', NULL), ('a', 'first', 5);"
            "CREATE VIEW few AS SELECT id, upper(prompt) AS prompt FROM prompts;"
            'CREATE TABLE "odd ""name" (prompt); INSERT INTO "odd ""name" VALUES (\'z\');'
            "CREATE TABLE bad (prompt TEXT); INSERT INTO bad VALUES (CAST(x'ff' AS TEXT));"
            "CREATE TABLE none (prompt TEXT);"
        )
    return path


def test_tables_views_and_queries(database: Path) -> None:
    """By the name of the file, by an option, or by a query; typed."""
    assert prompts(f"{database}::prompts") == ["x", "y"]
    assert prompts(database, table="PROMPTS") == ["x", "y"]
    assert prompts(f"{database}::few") == ["X", "Y"]
    assert prompts(f'{database}::odd "name') == ["z"]
    assert prompts(database, query="WITH q AS (SELECT 'a' AS prompt) SELECT * FROM q -- all;\n;") == ["a"]
    assert prompts(database, "{meta.a.0.b}", query="SELECT * FROM prompts WHERE id = 1") == ["deep"]
    first, second = read(f"{database}::prompts")
    assert (first.id, first.others["n"], first.others["b"]) == ("1", 1.5, b"\xff")
    assert (second.id, second.others) == ("2", {"n": None, "b": None, "meta": None})
    a, b = read(f"{database}::keyed")
    assert (a.id, a.request["max_tokens"], b.id, b.request["max_tokens"]) == ("a", 5, "b", 9)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{}"], 'which table? (it has `bad`, `few`, `keyed`, `none`, `odd "name`, `prompts`): write {}::TABLE'),
        (["{}::prompt"], "{} has no table `prompt` (it has `bad`"),
        (["{}", "--query", "SELECT c FROM prompts"], "{}: no such column: c"),
        (["{}", "--query", "DELETE FROM prompts"], '{}: near "DELETE": syntax error'),
        (["{}", "--query", "SELECT 1 AS prompt; DROP TABLE prompts"], "{}: "),
        (["{}", "--query", "SELECT * FROM prompts JOIN keyed"], "column 6: `id` is the name of column 1 too: name it with AS"),
        (["{}::none"], "{} has no items"),
        (["{}::bad"], "{}, row 1, column 1: `prompt` is not a text"),
        (["{}", "--table", "x", "--query", "y"], "only one can be given"),
        (["{}::x", "--table", "x"], "only one can be given"),
        (["p.jsonl", "--table", "x"], "are for an input that is an SQLite database"),
        (["{}x"], "cannot read {}x: No such file"),
        (["-", "--format", "sqlite"], "an SQLite database cannot be read from standard input"),
    ],
)  # fmt: skip
def test_queries_that_are_wrong(run: Run, database: Path, args: list[str], words: str) -> None:
    """Before anything is sent; and nothing can be written by a query."""
    before = database.read_bytes()
    done = run("batch", *(arg.replace("{}", str(database)) for arg in args), "-o", "-")
    assert done.code == 2
    assert words.replace("{}", str(database)) in done.err
    assert database.read_bytes() == before


def test_a_database_that_is_locked(run: Run, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and then told; while rows are sent nobody is locked out."""
    monkeypatch.setattr("trio_stream.cli._rows_sqlite._SECONDS", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = run("batch", f"{database}::prompts", "-o", "-")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "the database is locked by another program" in done.err
        other.execute("COMMIT")
        found = open_input(
            place_of(f"{database}::prompts"), Checker(Recipe({"model": "m", "max_tokens": 1}, None)), Part()
        )
        entries = found.entries()
        assert isinstance(entries, Iterator)
        next(entries)
        other.execute("DELETE FROM prompts")
        assert [entry.id for entry in entries] == ["2"], "the rows are those of the beginning"
        found.close()


# Pipes, and memory.


@pytest.mark.parametrize("named", [name for name in NAMES if name not in ("jsonl", "sqlite")])
def test_tables_through_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    """They are read to the end first, so that they are checked as a file is."""
    if named == "parquet":
        data = write_parquet(tmp_path / "p", 1).read_bytes()
    else:
        kind, _, gzipped = named.partition(".")
        text = {
            "jsonl": '{"prompt": "question 0"}',
            "csv": "id,prompt\na,question 0",
            "tsv": "id\tprompt\na\tquestion 0",
        }
        data = text[kind].encode()
        data = gzip.compress(data) if gzipped else data
    with piped(data) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert prompts("-", named=named) == ["question 0"]
    source = tmp_path / "file"
    source.write_bytes(data)
    with source.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert prompts("-", named=named) == ["question 0"]


def test_a_fifo_is_no_database(tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "p.db")
    with pytest.raises(InputError, match=r"p\.db is no file, and an SQLite database is one"):
        read(f"{tmp_path / 'p.db'}::t")


def test_a_fifo(tmp_path: Path) -> None:
    """As with ``<(...)``, if it has an ending."""
    source = tmp_path / "p.csv"
    os.mkfifo(source)
    writer = threading.Thread(target=source.write_text, args=("id,prompt\na,x\n",))
    writer.start()
    assert prompts(source) == ["x"]
    writer.join()


def many_csv(path: Path, rows: int) -> str:
    path.write_text("id,prompt\n" + "".join(f"q{n},{'word ' * 200}\n" for n in range(rows)))
    return str(path)


def many_rows_of_sqlite(path: Path, rows: int) -> str:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (id, prompt)")
        db.executemany("INSERT INTO t VALUES (?, ?)", ((f"q{n}", "word " * 200) for n in range(rows)))
    return f"{path}::t"


@pytest.mark.parametrize(("name", "make"), [("p.csv", many_csv), ("p.db", many_rows_of_sqlite)])
def test_large_tables_need_little_memory(tmp_path: Path, name: str, make: Callable[[Path, int], str]) -> None:
    """Of their rows only the ids are kept."""
    source = make(tmp_path / name, 500)
    tracemalloc.start()
    try:
        checker = Checker(Recipe({"model": "m", "max_tokens": 9}, None))
        found = open_input(place_of(source), checker, Part())
        entries = found.entries()
        assert isinstance(entries, Iterator)
        assert sum(1 for _ in entries) == 500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    found.close()
    assert peak < 300_000 < 500_000 < (tmp_path / name).stat().st_size
