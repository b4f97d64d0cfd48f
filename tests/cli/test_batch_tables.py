"""Outputs of `trio-stream batch` that are tables: what is in them, and what they are while it runs and after it was killed."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio

from tests.forked import FORKS, SECONDS
from tests.processes import PYTHON
from trio_stream.batch import read_journal
from trio_stream.cli._batch_line import OURS
from trio_stream.cli._batch_table import Table
from trio_stream.cli._formats import place_of
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, http_error, pause, say

from .running import SECRET, Finished, Running, environment, program, run_cli
from .test_input_mistakes import (
    GOOD,
    Run,
    run as run,
)

KINDS = ["csv", "csv.gz", "tsv", "jsonl.gz", "parquet", "db"]


def echo(request: RecordedRequest) -> list[Step]:
    prompt = request.messages[0]["content"]
    return [http_error(400, message="no")] if prompt == "fails" else [say(f"<{prompt}>")]


def output_of(folder: Path, kind: str) -> str:
    return f"{folder / f'out.{kind}'}{'::mine' if kind == 'db' else ''}"


def rows_of(path: str) -> list[dict[str, Any]]:
    """The rows of an output, by id, texts or values as its format has them."""
    name, _, table = path.partition("::")
    if table:
        with closing(sqlite3.connect(name)) as db:
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, values, strict=True)) for values in cursor]
    elif name.endswith(".parquet"):
        rows = pq.read_table(name).to_pylist()
    else:
        with gzip.open(name, "rt", newline="") if name.endswith(".gz") else Path(name).open(newline="") as file:
            if ".jsonl" in name:
                rows = [json.loads(line) for line in file]
            else:
                rows = list(csv.DictReader(file, delimiter="\t" if ".tsv" in name else ","))
    return sorted(rows, key=lambda row: str(row["id"]))


async def batch(api: ScriptedAPI, *args: str | Path, **options: Any) -> Finished:
    async with api.serve() as server:
        done = await run_cli("batch", *map(str, args), base_url=server.base_url, **options)
        assert "Traceback" not in done.err, done
        return done
    raise AssertionError("the server hides no errors")


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "prompt": 'one, "two"\nthree',
        "n": 1,
        "x": 0.5,
        "flag": True,
        "tags": ["t"],
        "mixed": 1,
        "status": "s",
    },
    {"id": "b", "prompt": "é😀", "n": None, "x": 2, "flag": False, "tags": [], "mixed": "m"},
    {"id": "c", "prompt": "fails", "late": "only here", " ": 1, "a\nb": 2, "": 3},
]


@pytest.mark.parametrize("kind", KINDS)
async def test_columns_and_their_types(tmp_path: Path, kind: str) -> None:
    """Numbers are numbers where the format has them; a column may come with a late row; nested values are JSON."""
    source, output = write_rows(tmp_path / "p.jsonl", *ROWS), output_of(tmp_path, kind)
    done = await batch(ScriptedAPI(default=echo), source, "-o", output)
    assert done.code == 3, done
    a, b, c = rows_of(output)
    assert (a["text"], b["text"]) == ('<one, "two"\nthree>', "<é😀>")
    assert (a["status"], c["status"], c["late"]) == ("ok", "error", "only here")
    error, hidden = c["error"], a["input"]
    if kind != "jsonl.gz":
        error, hidden = json.loads(error), json.loads(hidden)
        assert [*a][:: len(a) - 1] == ["id", "hash"]
        ours = [name for name in a if name in OURS]
        assert ours == [name for name in OURS if name in ours]
    assert (error["class"], hidden) == ("BadRequestError", {"status": "s"})
    typed = (a["n"], b["n"], a["x"], b["x"], a["index"], c["index"])
    if kind in ("parquet", "db"):
        assert typed == (1, None, 0.5, 2.0, 0, 2)
        assert (a["flag"], a["tags"], a["mixed"], b["mixed"]) == (
            True,
            '["t"]',
            "1" if kind == "parquet" else 1,
            "m",
        ) or (kind == "db")
    elif kind != "jsonl.gz":
        assert typed == ("1", "", "0.5", "2", "0", "2")
        assert (a["flag"], a["tags"], a["mixed"], b["mixed"], a["late"]) == ("true", '["t"]', "1", "m", "")
    left = files_in(tmp_path) - {"p.jsonl"}
    assert left == {Path(output.partition("::")[0]).name, f"out.{kind}{'.mine' if kind == 'db' else ''}.journal"}


@pytest.mark.parametrize(
    ("kind", "order"), [("csv", "completion"), ("jsonl.gz", "input"), ("parquet", "input"), ("db", "completion")]
)
async def test_going_on(tmp_path: Path, kind: str, order: str) -> None:
    """More rows, errors that are tried again, and rows that are no longer in the input: nothing is lost or doubled."""
    source, output = write_rows(tmp_path / "p.jsonl", *ROWS), output_of(tmp_path, kind)
    api = ScriptedAPI(default=echo)
    command = (source, "-o", output, "--order", order)
    assert (await batch(api, *command)).code == 3
    before = rows_of(output)
    assert (await batch(api, *command)).code == 3
    assert (len(api.requests), rows_of(output)) == (3, before)
    write_rows(source, ROWS[0], {**ROWS[2], "prompt": "fails"}, {"id": "d", "prompt": "new", "more": 5})
    healed = ScriptedAPI(default=[say("answer")])
    done = await batch(healed, *command, "--retry-errors")
    assert (done.code, len(healed.requests)) == (0, 2), done
    rows = rows_of(output)
    assert [(row["id"], row["status"], row["text"]) for row in rows] == [
        ("a", "ok", before[0]["text"]), ("b", "ok", "<é😀>"), ("c", "ok", "answer"), ("d", "ok", "answer"),
    ]  # fmt: skip
    kept = {name: value for name, value in before[1].items() if name in rows[1]}
    assert {name: rows[1][name] for name in kept} == kept


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def remove(name: str) -> None:
    Path(name).unlink()


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("csv", cut), ("parquet", cut), ("csv.gz", cut), ("parquet", halve), ("jsonl.gz", halve),
        ("tsv", Path.unlink), ("parquet", Path.unlink),
    ],
)  # fmt: skip
async def test_a_table_that_is_damaged_is_made_again(tmp_path: Path, kind: str, damage: Callable[[Path], None]) -> None:
    """From the journal, without a request; and the journal from the table, if that was lost."""
    rows = [{"id": f"q{n}", "prompt": f"question {n} \n {n * 7919 % 104729}", "n": n} for n in range(40)]
    source, output = write_rows(tmp_path / "p.jsonl", *rows), output_of(tmp_path, kind)
    api = ScriptedAPI(default=echo)
    command = (source, "-o", output)
    assert (await batch(api, *command)).code == 0
    before = rows_of(output)
    damage(Path(output))
    done = await batch(api, *command)
    assert (done.code, len(api.requests)) == (0, 40), done
    assert rows_of(output) == before
    if damage is Path.unlink:
        assert "damaged" not in done.err
        remove(f"{output}.journal")
        done = await batch(api, *command)
        assert (done.code, len(api.requests), rows_of(output)) == (0, 40, before)
        assert sorted(o.text for o in read_journal(f"{output}.journal")) == sorted(row["text"] for row in before)
    else:
        assert f"{output} is damaged: what cannot be read of it is written again from the journal" in done.err


async def test_one_database_for_both(tmp_path: Path) -> None:
    """The table of the answers is made, and made again; that of the prompts, indexes and other tables stay."""
    path = tmp_path / "d.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE prompts (id INTEGER PRIMARY KEY, prompt TEXT, Text TEXT)")
        db.executemany("INSERT INTO prompts (prompt, Text) VALUES (?, ?)", [("x", "mine"), ("y", None)])
    api = ScriptedAPI(default=echo)
    command = (f"{path}::prompts", "-o", f"{path}::answers")
    assert (await batch(api, *command)).code == 0
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE INDEX by_status ON answers (status)")
        db.execute("INSERT INTO prompts VALUES (3, 'z', 'third')")
        db.execute("ALTER TABLE prompts ADD COLUMN late INT")
    assert (await batch(api, *command)).code == 0
    rows = rows_of(f"{path}::answers")
    assert [(row["id"], row["text"], row["Text_2"]) for row in rows] == [
        ("1", "<x>", "mine"), ("2", "<y>", None), ("3", "<z>", "third"),
    ]  # fmt: skip
    assert len(api.requests) == 3
    assert "late" in rows[0]
    with closing(sqlite3.connect(path)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert names == {"prompts", "answers", "by_status"}


async def test_a_database_that_is_locked_at_the_end(tmp_path: Path) -> None:
    """The rows are kept, the exit code is 1, and the same command writes them."""
    path = tmp_path / "d.db"
    source = write_rows(tmp_path / "p.jsonl", *ROWS[:2])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE notes (a)")
        api = ScriptedAPI(default=echo)
        async with api.serve() as server:
            env = environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
            impatient = tmp_path / "impatient.py"
            impatient.write_text(
                "import sys, trio_stream.cli as cli, trio_stream.cli._rows_sqlite as s\ns._SECONDS = 0.05\nsys.exit(cli.main())"
            )
            other.execute("BEGIN IMMEDIATE")
            args = [str(impatient), "batch", str(source), "-o", f"{path}::answers", "--progress", "none"]
            with trio.fail_after(SECONDS):
                done = Finished(await FORKS.run(args, env=env))
            assert done.code == 1, done
            assert (
                f"{path}::answers cannot be written: database is locked; {path}.answers.rows has its rows" in done.err
            )
            other.execute("ROLLBACK")
            assert (await run_cli("batch", str(source), "-o", f"{path}::answers", base_url=server.base_url)).code == 0
    assert [row["text"] for row in rows_of(f"{path}::answers")] == ['<one, "two"\nthree>', "<é😀>"]
    assert len(api.requests) == 2


@pytest.mark.parametrize("kind", ["csv", "parquet", "db"])
async def test_while_it_runs_and_killed(tmp_path: Path, kind: str) -> None:
    """Its rows are in a file beside the table, which appears with the end; a run that was killed goes on with it."""
    source = write_rows(tmp_path / "p.jsonl", *({"id": f"q{n}", "prompt": f"{n}"} for n in range(30)))
    output = output_of(tmp_path, kind)
    file = Path(output.partition("::")[0])
    lines = Path(f"{output.replace('::', '.')}.rows")
    slow = ScriptedAPI(default=lambda request: [pause(0.02), *echo(request)])
    args = program("batch", str(source), "-o", output, "--concurrency", "4", "--progress", "none")
    async with slow.serve() as server:
        env = environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        async with FORKS.start(args, env=env) as process:
            with trio.fail_after(SECONDS):
                while count_lines(lines) < 9:
                    await trio.sleep(0.002)
            process.kill()
            await process.wait()
        assert {file.name, lines.name} & files_in(tmp_path) == {lines.name}
        known = count_lines(lines)
        async with Running(args, ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running:
            with trio.fail_after(SECONDS):
                while count_lines(lines) < known + 4:
                    await trio.sleep(0.002)
            running.interrupt()
            assert await running.finish() == 130
        assert {file.name, lines.name} & files_in(tmp_path) == {file.name}
        part = rows_of(output)
        assert known + 4 <= len(part) < 30
        done = await run_cli(*args[2:], base_url=server.base_url)
    assert done.code == 0, done
    rows = rows_of(output)
    assert sorted(row["id"] for row in rows) == sorted(f"q{n}" for n in range(30))
    assert all(row["text"] == f"<{row['id'][1:]}>" for row in rows)
    assert len(slow.requests) <= 30 + 4


def test_killed_while_a_database_is_written(tmp_path: Path) -> None:
    """What the run had written is taken back by the next one, as soon as that looks at the table."""
    path, lines = tmp_path / "d.db", tmp_path / "lines"
    lines.write_text(
        "".join(
            json.dumps({"id": f"q{n}", "status": "ok", "text": "x" * 999, "hash": "0" * 32}) + "\n" for n in range(99)
        )
    )
    table = Table(place_of(f"{path}::t"))
    table.pack(lines)
    half = (
        f"import os, sqlite3; db = sqlite3.connect({str(path)!r}, isolation_level=None); db.execute('PRAGMA cache_size=1');"
        "db.execute('BEGIN'); db.execute('DELETE FROM t WHERE rowid > 9'); "
        "db.execute('UPDATE t SET text = zeroblob(5000)'); os._exit(9)"
    )
    assert subprocess.run([PYTHON, "-c", half], check=False).returncode == 9
    assert (tmp_path / "d.db-journal").exists()
    table.check_is_ours(has_journal=True)
    table.unpack(tmp_path / "again")
    assert (tmp_path / "again").read_bytes().count(b"x" * 999) == 99
    assert not (tmp_path / "d.db-journal").exists()


def test_tables_of_many_rows(tmp_path: Path) -> None:
    """They are written and read some hundred rows at a time; a link to one stays a link."""
    count = 1100
    lines = tmp_path / "lines"
    row = {"status": "ok", "index": 0, "text": "é", "hash": "0" * 32, "big": 1 << 70}
    lines.write_bytes(
        b"".join(msgspec.json.encode({"id": f"q{n}", **row}) + b"\n" for n in range(count)) + b'{"id":"torn'
    )
    for kind in ("parquet", "csv", "db"):
        link, path = tmp_path / f"link.{kind}", tmp_path / f"real.{kind}"
        link.symlink_to(path)
        table = Table(place_of(str(link)))
        table.pack(lines)
        table.check_is_ours(has_journal=False)
        again = tmp_path / f"again.{kind}"
        table.unpack(again)
        assert (link.is_symlink(), table.damaged) == (True, False)
        found = [json.loads(line) for line in again.read_bytes().splitlines()]
        assert [one["id"] for one in found] == [f"q{n}" for n in range(count)]
        assert (found[0]["text"], found[0]["index"], found[0]["big"]) == ("é", 0, str(1 << 70))


async def test_two_at_once(tmp_path: Path) -> None:
    """The second says so, and the first goes on."""
    source = write_rows(tmp_path / "p.jsonl", {"id": "a", "prompt": "x"})
    command = program("batch", str(source), "-o", str(tmp_path / "out.csv"), "--progress", "none")
    api = ScriptedAPI(default=[say("slow", pause(0.5))])
    async with api.serve() as server:
        async with Running(command, ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running:
            with trio.fail_after(SECONDS):
                while not api.requests:
                    await trio.sleep(0.005)
            done = await run_cli(*command[2:], base_url=server.base_url)
            assert done.code == 1
            assert "is in use: another run is writing it" in done.err
            assert await running.finish() == 0
    assert [row["text"] for row in rows_of(str(tmp_path / "out.csv"))] == ["slow"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "db"])
async def test_shards_and_tables_of_nothing(tmp_path: Path, kind: str) -> None:
    """A run that is stopped has a table too, of what there is: even of nothing."""
    source = write_rows(tmp_path / "p.jsonl", *({"id": f"q{n}", "prompt": f"{n}"} for n in range(9)))
    output = str(tmp_path / f"out-{{shard}}.{kind}")
    args = (source, "-o", output, "--shard", "1/3")
    stopped = await batch(ScriptedAPI(default=[http_error(401, "authentication_error")]), *args)
    assert stopped.code == 1, stopped
    name = f"{output.format(shard=1)}{'::answers' if kind == 'db' else ''}"
    assert rows_of(name) == []
    assert (await batch(ScriptedAPI(default=echo), *args)).code == 0
    assert [row["id"] for row in rows_of(name)] == ["q1", "q4", "q7"]


async def test_standard_output(tmp_path: Path) -> None:
    """CSV comes when all columns are known: at the end, also of a run that is interrupted."""
    source = write_rows(tmp_path / "p.jsonl", *ROWS[:2])
    done = await batch(ScriptedAPI(default=echo), source, "-o", "-", "--output-format", "csv", "--progress", "none")
    assert done.code == 0, done
    assert sorted(row["text"] for row in csv.DictReader(done.out.splitlines(keepends=True))) == [
        '<one, "two"\nthree>',
        "<é😀>",
    ]
    refused = await batch(ScriptedAPI(), source, "-o", "-", "--output-format", "parquet")
    assert refused.code == 2
    assert "parquet cannot be written to standard output: name a file" in refused.err


def foreign_csv(path: Path) -> str:
    path.with_suffix(".csv").write_text("id,name\n1,x\n")
    return str(path.with_suffix(".csv"))


def foreign_parquet(path: Path) -> str:
    pq.write_table(pa.table({"id": [1]}), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def cut_parquet(path: Path) -> str:
    name = foreign_parquet(path)
    cut(Path(name))
    return name


def foreign_gzip(path: Path) -> str:
    with gzip.open(path.with_suffix(".jsonl.gz"), "wb") as file:
        file.write(GOOD)
    return str(path.with_suffix(".jsonl.gz"))


def foreign_table(path: Path) -> str:
    with closing(sqlite3.connect(path.with_suffix(".db"))) as db:
        db.execute("CREATE TABLE t (id, name)")
        db.execute("CREATE VIEW v AS SELECT * FROM t")
    return f"{path.with_suffix('.db')}::t"


def a_view(path: Path) -> str:
    return foreign_table(path).replace("::t", "::v")


def no_database(path: Path) -> str:
    path.with_suffix(".db").write_bytes(b"my notes\n" * 200)
    return str(path.with_suffix(".db"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign_csv, "exists and is not an output of this command"),
        (foreign_parquet, "exists and is not an output of this command"),
        (cut_parquet, "exists and is not an output of this command"),
        (foreign_gzip, "exists and is not an output of this command"),
        (foreign_table, "::t exists and is not an output of this command"),
        (a_view, "::v is a view, not a table"),
        (no_database, "cannot be used: file is not a database"),
    ],
)
def test_a_table_of_another_kind_stays(run: Run, tmp_path: Path, make: Callable[[Path], str], words: str) -> None:
    """With ``--overwrite`` too."""
    (tmp_path / "p").write_bytes(GOOD)
    name = make(tmp_path / "other")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for more in ([], ["--overwrite"]):
        done = run("batch", tmp_path / "p", "-o", name, *more)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert words in done.err
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_input_is_not_the_output(run: Run, tmp_path: Path) -> None:
    """A file, a table, and the file for the rows of a table."""
    (tmp_path / "p.csv").write_text("prompt\nx\n")
    done = run("batch", tmp_path / "p.csv", "-o", tmp_path / "p.csv")
    assert "p.csv is the input: name another file" in done.err
    with closing(sqlite3.connect(tmp_path / "d.db")) as db:
        db.execute("CREATE TABLE t (prompt)")
    for args in ([f"{tmp_path / 'd.db'}::t"], [tmp_path / "d.db", "--table", "T"]):
        done = run("batch", *args, "-o", f"{tmp_path / 'd.db'}::t")
        assert done.code == 2
        assert "is the input: name another" in done.err
    rows = tmp_path / "out.csv.rows"
    rows.write_text('{"prompt": "x"}\n')
    done = run("batch", rows, "-o", tmp_path / "out.csv")
    assert f"--output {rows} is the input: name another file" in done.err


def test_a_run_that_cannot_begin_leaves_the_table(run: Run, tmp_path: Path) -> None:
    """And no file with its rows beside it."""
    output = tmp_path / "out.csv"
    output.write_text(f"id,status,text,hash\na,ok,x,{'0' * 32}\n")
    (tmp_path / "p").write_text("{\n")
    before = output.read_bytes()
    assert run("batch", tmp_path / "p", "-o", output).code == 2
    assert output.read_bytes() == before
    assert files_in(tmp_path) == {"p", "out.csv", "out.csv.journal"}
