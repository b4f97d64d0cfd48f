"""What people give to the commands by mistake: files of other kinds, lines that are wrong, bytes that are no text.

The commands run in this process: nothing is to be sent, so there is no server.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

import trio_stream as ts
from trio_stream.cli import _ask, _serve
from trio_stream.cli._commands import commands

GOOD = b'{"id": "a", "prompt": "x"}\n'


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that cannot reach anything."""
    for name in [*os.environ]:
        if name.startswith("ANTHROPIC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

    def run(*args: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands([str(arg) for arg in args], prog_name="trio-stream")
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    return run


@contextmanager
def piped(data: bytes) -> Iterator[Any]:
    """A standard input that is a pipe with these bytes."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(data)
    with os.fdopen(reading, "r") as stdin:
        yield stdin


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("p.jsonl", GOOD)
    return file.getvalue()


FILES: dict[str, tuple[bytes, str, str]] = {
    "gzip": (
        gzip.compress(GOOD),
        "line 1, column 1",
        "this is gzip: gunzip it, or pipe `zcat FILE |`; its rows are read if its name ends with .gz, or with --format",
    ),
    "bzip2": (bz2.compress(GOOD), "line 1, column 1", "bzcat FILE |"),
    "xz": (lzma.compress(GOOD), "line 1, column 1", "xzcat FILE |"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00\n", "line 1, column 1", "zstdcat FILE |"),
    "zip": (zipped(), "line 1, column 1", "a ZIP archive"),
    "Parquet": (b"PAR1\x15\x04\n", "line 1, column 1", "or with --format parquet"),
    "SQLite": (b"SQLite format 3\0\x10\n", "line 1, column 1", "or with --format sqlite"),
    "UTF-16 with its mark": (GOOD.decode().encode("utf-16"), "line 1, column 1", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16, big end first": (b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), "line 1, column 1", "UTF-16"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "line 1, column 1", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without a mark, big": (GOOD.decode().encode("utf-16-be"), "line 1, column 1", "this is UTF-16"),
    "UTF-32": (GOOD.decode().encode("utf-32"), "line 1, column 1", "iconv -f UTF-32 -t UTF-8"),
    "UTF-32 without a mark": (GOOD.decode().encode("utf-32-le"), "line 1, column 1", "this is UTF-32"),
    "binary": (b"\x7fELF\x02\x01\x01\0\0\0\n" * 5, "line 1, column 1", "this is binary data"),
    "an array in one line": (b'[{"prompt": "x"}, {"prompt": "y"}]', "line 1, column 1", "jq -c '.[]' FILE |"),
    "an array in many lines": (b'\n[\n  {"prompt": "x"}\n]\n', "line 1, column 1", "this is a JSON array"),
    "a page": (b"<!DOCTYPE html>\n<html>", "line 1, column 1", "HTML or XML"),
    "an object in many lines": (b'{\n  "prompt": "x"\n}\n', "line 1, column 2", "`jq -c . FILE |`"),
    "CSV": (b"id,prompt\n1,hello\n", "line 1, column 1", "CSV has a name that ends with .csv, or --format csv"),
    "CSV with quotes": (b'"id","prompt"\n1,hello\n', "line 1, column 5", "a comma after the value"),
    "TSV": (b"id\tprompt\n1\thello\n", "line 1, column 1", "--format csv"),
    "plain text": (b"Why is the sky blue?\nWhy?\n", "line 1, column 1", "`jq -R . FILE |`"),
    "YAML": (b"- prompt: x\n", "line 1, column 1", "a line is a JSON object or a string"),
    "two values in a line": (b'{"prompt": "x"} {"prompt": "y"}', "line 1, column 17", "a line of its own"),
    "commas between lines": (b'{"prompt": "x"},\n{"prompt": "y"}', "line 1, column 16", "nothing between them"),
    "CR alone": (b'{"prompt": "x"}\r{"prompt": "y"}\r', "line 1, column 17", r"tr '\r' '\n'"),
    "record separators": (b'\x1e{"prompt": "x"}\n', "line 1, column 1", "record separator"),
    "NaN": (GOOD + b'{"prompt": "y", "score": NaN}', "line 2, column 26", "write null"),
    "NaN in lower case": (b'{"prompt": "y", "score": nan}', "line 1, column 26", "write null"),
    "-Infinity": (GOOD + b'\n{"score": -Infinity, "prompt": "\xc3\xa9"}', "line 3, column 11", "write null"),
    "NaN after a text with NaN": (b'{"prompt": "\xc3\xa9 NaN", "a": NaN}', "line 1, column 26", "no NaN"),
    "None": (b'{"prompt": None}', "line 1, column 12", "null, true and false"),
    "single quotes": (b"{'prompt': 'x'}", "line 1, column 2", "double quotes"),
    "typographic quotes": ("{“prompt”: “x”}".encode(), "line 1, column 2", "plain double quotes"),
    "a comment": (b'{"prompt": "x" // why\n}', "line 1, column 16", "no comments"),
    "a comma too many": (GOOD + b'"y"\n' + b'{"prompt": "x",}', "line 3, column 16", "that nothing follows"),
    "a tab in a text": (b'{"prompt": "a\tb"}', "line 1, column 14", r"write \t"),
    "cut": (GOOD + b'{"prompt": "x', "line 2, column 12", "ends before the JSON does"),
    "no quotes": (b"{prompt: 1}", "line 1, column 2", "double quotes"),
    "a leading zero": (b'{"prompt": "x", "n": 01}', "line 1, column 23", "delimiter"),
    "out of range": (b'{"prompt": "x", "n": -1e999}', "line 1, column 22", "out of range"),
    "half a character": (rb'{"prompt": "\ud83d\ude00 \\ud83d \ud83d"}', "line 1, column 34", "cut in two"),
    "its other half": (rb'{"prompt": "a\ude00"}', "line 1, column 14", "cut in two"),
    "too deep": (b'{"prompt": ' + b"[" * 100_000, "line 1, column 1", "nested too deeply"),
    "Latin-1": (GOOD + b'{"prompt": "caf\xe9"}', "line 2, column 16", "0xe9 is not UTF-8"),
    "Latin-1 after wider characters": ('{"é": "'.encode() + b'\xfc\xe4"}', "line 1, column 8", "0xfc is not UTF-8"),
    "a number": (b"7", "line 1, column 1", "a JSON object or a string"),
    "an array in a later line": (GOOD + b'["x"]', "line 2, column 1", "a JSON object or a string"),
    "empty": (b"", "", "it is empty"),
    "blank lines": (b"\n \r\n\n", "", "all its lines are blank"),
    "a byte order mark alone": (b"\xef\xbb\xbf\n", "", "all its lines are blank"),
    "no prompt": (GOOD + b'{"text": "x", "n": 1}', "line 2, column 1", "(its keys: `text`, `n`)"),
    "nothing": (b"{}", "line 1, column 1", "it has no other keys"),
    "many keys": (json.dumps(dict.fromkeys("abcdefghij")).encode(), "line 1, column 1", "`h`, ...)"),
    "a prompt that is no text": (b'{"x": {"prompt": 1},\t"prompt": 7}', "line 1, column 22", "`prompt` is not a text"),
    "a blank text": (GOOD + b'" "', "line 2, column 1", "`prompt` is not a text"),
    "a number of 5000 digits": (b'{"n": ' + b"9" * 5000 + b', "m": NaN}', "line 1, column 7", "out of range"),
    "a number of 300 digits before it": (b'{"n":' + b"9" * 300 + b',"prompt":7}', "line 1, column 307", "not a text"),
    "an id that is a fraction": (b'{"prompt": "x", "id": 1.5}', "line 1, column 17", "`id` is neither"),
    "custom_id": (b'{"params": {"messages": [1]}, "custom_id": []}', "line 1, column 31", "`custom_id` is neither"),
    "params": (b'{"params": 7}', "line 1, column 2", "`params` is not an object"),
    "messages": (b'{"messages": "Hello"}', "line 1, column 2", "`messages` is not a list"),
    "messages and a prompt": (b'{"prompt": "x", "messages": [1]}', "line 1, column 17", "both a prompt and"),
    "max_tokens": (b'{"prompt": "x", "max_tokens": "5"}', "line 1, column 17", "`max_tokens` is not a whole number"),
    "max_tokens of params": (b'{"params": {"max_tokens": true}}', "line 1, column 1", "`max_tokens` is not"),
    "model": (b'{"prompt": "x", "model": 5}', "line 1, column 17", "`model` is not a text"),
    "max_tokens: null": (GOOD + b'{"prompt": "x", "max_tokens": null}', "line 2, column 17", "not a whole number"),
    "max_tokens: 0": (GOOD + b'{"prompt": "x", "max_tokens": 0}', "line 2, column 17", "less than 1"),
    "a blank model": (b'{"prompt": "x", "model": " "}', "line 1, column 17", "`model` is blank"),
    "a message that is none": (
        b'{"messages": [{"role": "user", "content": "x"}, {"role": "user"}]}',
        "line 1, column 2",
        "`messages[1]` is not an object with `role` and `content`",
    ),
    "repeated ids": (GOOD + b"\n" + GOOD, "line 3, column 2", "a is repeated (lines 1 and 3)"),
    "a repeated custom_id": (
        b'{"custom_id": "a", "params": {"messages": [{"role": "user", "content": "x"}]}}\n{"prompt": "x", "id": "a"}',
        "line 2, column 17",
        "a is repeated (lines 1 and 2)",
    ),
}


@pytest.mark.parametrize(("data", "place", "words"), FILES.values(), ids=FILES)
def test_files(run: Run, tmp_path: Path, data: bytes, place: str, words: str) -> None:
    """One line with the file, the line, the column, and what to do; nothing is written."""
    source = tmp_path / "p.jsonl"
    source.write_bytes(data)
    done = run("batch", source, "-o", tmp_path / "out")
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith(f"trio-stream batch: {source}{', ' + place if place else ''}"), done.err
    first, *others = done.err.splitlines()
    assert words in first
    if others:
        *others, last = others
        assert last.startswith(f"trio-stream batch: {len(others) + 1} of ")
        assert all(re.match(f"trio-stream batch: {source}, line [0-9]+, column", line) for line in others)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "kind", ["gzip", "UTF-16 without a mark", "an array in one line", "CSV", "NaN", "Latin-1", "empty", "blank lines"]
)
def test_pipes(run: Run, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The same of standard input, where the mistake is not in a later line."""
    data, place, words = FILES[kind]
    with piped(data.removeprefix(GOOD)) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run("batch", "-", "-o", "-", "--progress", "none")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"trio-stream batch: standard input{', ' + place.replace('2', '1', 1) if place else ''}")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_pipe_with_a_name(run: Run, tmp_path: Path) -> None:
    """As with ``<(zcat p.jsonl.gz)``: it is read as it comes."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(b"nonsense\n")
    done = run("batch", f"/dev/fd/{reading}", "-o", "-", "--progress", "none")
    os.close(reading)
    assert done.code == 2
    assert f"/dev/fd/{reading}, line 1, column 1: not JSON" in done.err


def test_what_cannot_be_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory, a file that is not there, standard input that is closed or a directory."""
    done = run("batch", tmp_path, "-o", "-")
    assert done.code == 2
    assert f"{tmp_path} is a directory: name a file, or pipe `cat {tmp_path}/*.jsonl |` into `-`" in done.err
    done = run("batch", tmp_path / "none", "-o", "-")
    assert (done.code, done.err) == (2, f"trio-stream batch: cannot read {tmp_path}/none: No such file or directory\n")
    monkeypatch.setattr(sys, "stdin", None)
    done = run("batch", "-", "-o", "-")
    assert done.code == 2
    assert "standard input is closed" in done.err
    folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(sys, "stdin", Stdin(folder))
    done = run("batch", "-", "-o", "-")
    assert done.code == 2
    assert "standard input is a directory" in done.err
    done = run("ask")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot read standard input: Is a directory" in done.err
    os.close(folder)


class Stdin:
    """A standard input that is any descriptor: Python itself makes no file of a directory."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.buffer = self

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return False

    def read(self) -> bytes:
        return os.read(self._number, 1)


TEMPLATES: dict[str, tuple[str, str]] = {
    "{txt}": ("line 1, column 1: it has no key `txt`, which the template needs", "did you mean `text`?"),
    "{qqq}": ("line 1, column 1: it has no key `qqq`", "its keys: `id`, `text`"),
    "{text.body}": ("line 1, column 11: it has no key `text.body`", "(`text` is a text)"),
    "{TEXT}": ("line 1, column 1: it has no key `TEXT`", ""),
    "{text!r}": ("line 1, column 1: it has no key `text!r`", "did you mean `text`?"),
    "no key": ("the template has no key", "'Summarise: {text}'"),
    "$text": ("the template has no key", "'Summarise: {text}'"),
    "{{text}}": ("the template has no key", "two braces stand for one brace"),
    "{text} {": ("the template, column 8", "write {{ for one"),
    "é } {text}": ("the template, column 3", "write {{ for one"),
    "{text} {}": ("the template, column 8", "belongs to no key"),
    "{ }": ("the template, column 1", "belongs to no key"),
    "{{{}}} {text}": ("the template, column 3", "belongs to no key"),
}


@pytest.mark.parametrize(("template", "words"), TEMPLATES.items(), ids=TEMPLATES)
def test_templates(run: Run, tmp_path: Path, template: str, words: tuple[str, str]) -> None:
    """The key that is wrong, and those that there are; or the column of a brace."""
    source = tmp_path / "p.jsonl"
    source.write_text('{"id": 1, "text": "x"}\n')
    done = run("batch", source, "-o", "-", "--template", template)
    assert done.code == 2
    for word in words:
        assert word in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"caf\xe9", "line 1, column 4: 0xe9 is not UTF-8"),
        (b"one\n\xc3\xa9\xff\xfe", "line 2, column 2: 0xff is not UTF-8"),
        ("Be brief.".encode("utf-16"), "this is UTF-16"),
        (gzip.compress(b"Be brief.", mtime=0), "this is gzip"),
        (b"%PDF-1.7\n%\xb5\xb5\n", "make text of it"),
        (b"some\0thing", "this is binary data"),
        (b"", "no system prompt"),
        (b"\xef\xbb\xbf \n", "no system prompt"),
        (None, "No such file"),
    ],
)
def test_system_prompts(run: Run, tmp_path: Path, data: bytes | None, words: str) -> None:
    """A file that is no text, or has none."""
    (tmp_path / "p").write_bytes(GOOD)
    system = tmp_path / "system"
    if data is not None:
        system.write_bytes(data)
    done = run("batch", tmp_path / "p", "-o", "-", "--system", system)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert str(system) in done.err
    assert words in done.err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"caf\xe9 \xe9", "standard input, line 1, column 4: 0xe9 is not UTF-8"),
        (b"Hello\n\n\xf0\x9f\x98\x80 \xf0\x9f!", "standard input, line 3, column 3: 0xf0 0x9f is not UTF-8"),
        ("Hello".encode("utf-16"), "this is UTF-16: convert it, or pipe `iconv"),
        ("Hello".encode("utf-16-be"), "this is UTF-16"),
        (gzip.compress(b"Hello", mtime=0), "this is gzip"),
        (b"a tar archive\0\0\0", "this is binary data"),
        (b"\xef\xbb\xbf", "no prompt"),
    ],
)
def test_prompts(run: Run, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str) -> None:
    """Standard input that is no text says where, and which bytes."""
    with piped(data) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run("ask", "-")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert words in done.err


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfHello", b"Hello", "\ufeffHello".encode()])
def test_a_byte_order_mark_is_no_part_of_a_prompt(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Programs on Windows put it in front of any text."""
    with piped(data) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert _ask.read_prompt(()) == "Hello"


def test_byte_order_marks_of_lines(tmp_path: Path) -> None:
    """Files that were joined with ``cat`` have one in the middle."""
    from trio_stream.cli._batch_check import Checker
    from trio_stream.cli._batch_part import Part
    from trio_stream.cli._batch_recipe import Recipe
    from trio_stream.cli._formats import place_of
    from trio_stream.cli._open_rows import open_input

    source = tmp_path / "p.jsonl"
    source.write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\r\n\xef\xbb\xbf\n\xef\xbb\xbf"b"')
    found = open_input(place_of(str(source)), Checker(Recipe({"model": "m", "max_tokens": 1}, None)), Part())
    assert [entry.request["messages"][0]["content"] for entry in found.entries()] == ["a", "b"]
    found.close()


def test_a_template_sees_the_whole_line() -> None:
    """Also the id, and what is a parameter of the request."""
    from trio_stream.cli._batch_recipe import Recipe
    from trio_stream.cli._rows import JsonLine

    row = JsonLine(1, b'{"id": 5, "model": "m", "text": "x"}')
    entry = Recipe({}, "{id}/{model}: {text}").read(row, index=0)
    assert entry.request["messages"] == [{"role": "user", "content": "5/m: x"}]
    assert (entry.id, entry.request["model"], entry.others) == ("5", "m", {"text": "x"})


@pytest.mark.parametrize("option", ["--output", "--journal", "--summary"])
def test_the_input_is_not_written(run: Run, tmp_path: Path, option: str) -> None:
    """By whatever name, and not with ``--overwrite`` either."""
    source, other = tmp_path / "p", tmp_path / "folder" / ".." / "p"
    (tmp_path / "folder").mkdir()
    source.write_bytes(GOOD)
    more = [] if option == "--output" else ["--output", tmp_path / "out"]
    for name in (source, other):
        done = run("batch", source, option, name, *more, "--overwrite")
        assert (done.code, done.err) == (2, f"trio-stream batch: {option} {name} is the input: name another file\n")
        assert source.read_bytes() == GOOD


USAGE: dict[str, list[str]] = {
    "no command": ["nonsense"],
    "ask, option": ["ask", "--nonsense", "hi"],
    "ask, number": ["ask", "--max-tokens", "0", "hi"],
    "ask, timeout": ["ask", "--timeout", "nan", "hi"],
    "ask, endless timeout": ["ask", "--timeout", "inf", "hi"],
    "ask, model": ["ask", "--model", " ", "hi"],
    "ask, bytes of the prompt": ["ask", "one", "caf\udce9"],
    "ask, bytes of the system prompt": ["ask", "--system", "\udcff", "hi"],
    "ask, bytes of the model": ["ask", "--model", "m\udce9", "hi"],
    "ask, base URL": ["ask", "--base-url", "127.0.0.1:5", "hi"],
    "ask, bytes of the base URL": ["ask", "--base-url", "http://caf\udce9", "hi"],
    "ask, thinking": ["ask", "--thinking", "hi"],
    "batch, no input": ["batch"],
    "batch, no output": ["batch", "p"],
    "batch, option": ["batch", "p", "-o", "-", "--nonsense"],
    "batch, choice": ["batch", "p", "-o", "-", "--order", "random"],
    "batch, cost": ["batch", "p", "-o", "-", "--max-cost", "1"],
    "batch, cost that is none": ["batch", "p", "-o", "-", "--price", "1/1", "--max-cost", "nan"],
    "batch, price": ["batch", "p", "-o", "-", "--price", "nan/1"],
    "batch, seconds": ["batch", "p", "-o", "-", "--item-timeout", "nan"],
    "batch, shard": ["batch", "p", "-o", "-", "--shard", "5/5"],
    "batch, errors": ["batch", "p", "-o", "-", "--max-errors", "200%"],
    "batch, concurrency": ["batch", "p", "-o", "-", "--concurrency", "0"],
    "batch, template bytes": ["batch", "p", "-o", "-", "--template", "{a} \udce9"],
    "batch, model": ["batch", "p", "-o", "-", "--model", ""],
    "batch, base URL": ["batch", "p", "-o", "-", "--base-url", "nowhere"],
    "merge, no files": ["merge", "-o", "x"],
    "merge, no output": ["merge", "x"],
    "merge, choice": ["merge", "x", "-o", "y", "--order", "z"],
    "merge, no such file": ["merge", "/none", "-o", "-"],
    "serve, port": ["serve", "--port", "65536"],
    "serve, host": ["serve", "--host", "0.0.0.0"],
    "serve, seconds": ["serve", "--ttft", "nan"],
    "serve, tokens": ["serve", "--tps", "-1"],
    "serve, share": ["serve", "--faults", "nan"],
    "demo, streams": ["demo", "--streams", "0"],
    "demo, words": ["demo", "now"],
}


@pytest.mark.parametrize("args", USAGE.values(), ids=USAGE)
def test_usage_errors_exit_with_2_everywhere(run: Run, args: list[str]) -> None:
    """Whichever command it is, and whichever of its options; without a traceback."""
    done = run(*args)
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err
    assert done.err.startswith(("Usage:", "trio-stream "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTHROPIC_MODEL", "m\udce9"),
        ("ANTHROPIC_BASE_URL", "http://caf\udce9"),
        ("ANTHROPIC_API_KEY", "k\udce9"),
        ("ANTHROPIC_CUSTOM_HEADERS", "x-a: \udce9"),
    ],
)
@pytest.mark.parametrize("command", [["ask", "hi"], ["batch", "p", "-o", "-"]])
def test_bytes_in_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, command: list[str]
) -> None:
    """What is not UTF-8 is told before anything is sent, without what it is."""
    monkeypatch.setenv(name, value)
    done = run(*command)
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err


def test_which_bytes_of_an_argument(run: Run) -> None:
    """The column, and the bytes."""
    assert "column 4: 0xe9 0xff is not UTF-8" in run("ask", "one", "caf\udce9\udcff au lait").err


def test_files_that_cannot_be_merged(run: Run, tmp_path: Path) -> None:
    """It says what they are; files that are written are another matter."""
    output = tmp_path / "out"
    for data, words in ((gzip.compress(GOOD), "this is gzip"), (b"[1]\n", "a JSON array"), (b"prompt\n", "neither")):
        (tmp_path / "in").write_bytes(data)
        done = run("merge", tmp_path / "in", "-o", output)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert words in done.err
    done = run("merge", tmp_path, "-o", output)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Is a directory" in done.err
    output.write_text("")
    assert run("merge", tmp_path / "in", "-o", output).code == 2
    (tmp_path / "in").write_text("")
    done = run("merge", tmp_path / "in", "-o", tmp_path / "none" / "out")
    assert (done.code, done.err.count("\n")) == (1, 1)


def test_a_host_that_is_none_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken is not."""

    def fail_with(error: OSError) -> None:
        async def serve(*args: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(_serve, "_serve", serve)

    fail_with(socket.gaierror(-2, "Name or service not known"))
    done = run("serve", "--host", "no.such.host", "--allow-remote")
    assert (done.code, done.err.count("\n")) == (2, 1)
    fail_with(OSError(98, "Address already in use"))
    assert run("serve").code == 1


@pytest.mark.parametrize(
    ("error", "thinking", "code", "words"),
    [
        ("thinking.type: enabled is not supported by this model", "2000", 2, "takes no number of tokens"),
        ("`thinking.budget_tokens`: not permitted", "2000", 2, "give --thinking alone"),
        ("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024", "5", 1, "greater than"),
        ("thinking is not supported", "adaptive", 1, "not supported"),
        ("messages: at least one message is required", "2000", 1, "messages"),
    ],
)
def test_a_model_that_takes_no_budget(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: str, thinking: str, code: int, words: str
) -> None:
    """It is the command that says so, and what to do."""

    class Refusing:
        def __init__(self, *args: object) -> None: ...

        async def run(self, client: ts.Client) -> None:
            body = {"type": "error", "error": {"type": "invalid_request_error", "message": error}}
            raise ts.BadRequestError(error, status_code=400, body=body)

        def end(self) -> None: ...

    monkeypatch.setattr(_ask, "_Asking", Refusing)
    with piped(b"") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run("ask", f"--thinking={thinking}", "--model", "some-model", "hi")
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert words in done.err
    assert ("some-model takes no number" in done.err) == (code == 2)


def test_click_names_the_option() -> None:
    """A parameter of ours says no less than one of click's."""
    with pytest.raises(click.BadParameter, match=r"Invalid value for '--model'|blank") as raised:
        commands.main(["ask", "--model", "", "hi"], standalone_mode=False)
    assert "--model" in raised.value.format_message()
