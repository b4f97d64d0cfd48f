"""What `trio-stream batch` makes of one row: parameters, schemas, several models, repetitions, equal requests, retries."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trio_stream.cli._batch_again import Again, check_name
from trio_stream.cli._batch_commands import batch as batch_command
from trio_stream.cli._batch_params import read_params
from trio_stream.cli._rows import MistakeError
from trio_stream.cli._template import Template
from trio_stream.testing import Batches, RecordedRequest, ScriptedAPI, Step, http_error, say, stop

from .running import Finished, run_cli
from .test_input_mistakes import (
    Run,
    run as run,
)


def prompt_of(request: RecordedRequest) -> str:
    return str(request.messages[0]["content"])


def echo(request: RecordedRequest) -> list[Step]:
    return [say(f"{request.body['model']}: {prompt_of(request)}")]


def rows_of(data: str | Path) -> dict[str, dict[str, Any]]:
    lines = (data.read_text() if isinstance(data, Path) else data).splitlines()
    rows = [json.loads(line) for line in lines]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows), "an id is there twice"
    return found


async def batch(
    folder: Path, api: ScriptedAPI, *args: str | Path, rows: list[Any] | None = None, output: str | Path = "-"
) -> Finished:
    source = folder / "p.jsonl"
    if rows is not None:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with api.serve() as server:
        done = await run_cli("batch", str(source), "-o", str(output), *map(str, args), base_url=server.base_url)
        assert "Traceback" not in done.err, done
        return done
    raise AssertionError("the server hides no errors")


# Templates.


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{a.b}", "1"),
        ("{ a.b }{{}}", "1{}"),
        ("{items.0.name} {items.1.name}", "x y"),
        ("{items.1}", '{"name":"y"}'),
        ("{with.dot}", "whole"),
        ("{json.deep.0}", "7"),
        ("{nothing}.", "."),
    ],
)
def test_dotted_keys(template: str, expected: str) -> None:
    """They lead into objects and lists, also where those are texts in a column; null is written as nothing."""
    fields = {
        "a": {"b": 1},
        "items": [{"name": "x"}, {"name": "y"}],
        "with.dot": "whole",
        "with": {"dot": "inner"},
        "json": ' {"deep": [7]}',
        "nothing": None,
    }
    assert Template(template).fill(fields) == expected


@pytest.mark.parametrize(
    ("template", "words", "key"),
    [
        ("{a.c}", "it has no key `a.c`, which the template needs (`a` is an object; its keys: `b`)", "a"),
        ("{items.2.name}", "(`items` is a list of 1)", "items"),
        ("{items.first}", "(`items` is a list of 1)", "items"),
        ("{items.0.name.x}", "(`items.0.name` is a text)", "items"),
        ("{nothing.x}", "(`nothing` is null)", "nothing"),
        ("{n.x}", "(`n` is a number)", "n"),
        ("{broken.x}", "(`broken` is a text)", "broken"),
        ("{item.0}", "did you mean `items`?", None),
    ],
)
def test_dotted_keys_that_lead_nowhere(template: str, words: str, key: str | None) -> None:
    """It says how far the way goes."""
    fields = {"a": {"b": 1}, "items": [{"name": "x"}], "nothing": None, "n": 5, "broken": "{x"}
    with pytest.raises(MistakeError) as raised:
        Template(template).fill(fields)
    assert words in str(raised.value)
    assert raised.value.key == key


# Parameters.


def test_params() -> None:
    """Values are JSON, or else texts; dots lead into objects."""
    given = [
        "temperature=0.2", "thinking.type=enabled", "thinking.budget_tokens=2000", 'stop_sequences=["END"]',
        "metadata={}", "service_tier=auto", "metadata.user_id=a=b", "tool_choice.disable_parallel_tool_use=true",
    ]  # fmt: skip
    assert read_params(given) == {
        "temperature": 0.2, "thinking": {"type": "enabled", "budget_tokens": 2000}, "stop_sequences": ["END"],
        "metadata": {"user_id": "a=b"}, "service_tier": "auto", "tool_choice": {"disable_parallel_tool_use": True},
    }  # fmt: skip


PARAMS: dict[str, tuple[list[str], str]] = {
    "no value": (["temperature"], "is not KEY=VALUE"),
    "no key": (["=1"], "is not KEY=VALUE"),
    "unknown": (["temprature=1"], "'temprature' is not a parameter of the API: did you mean temperature?"),
    "quite unknown": (["xyz=1"], "'xyz' is not a parameter of the API"),
    "a text": (["temperature=hot"], 'temperature is a number from 0 to 1, not "hot"'),
    "too much": (["temperature=2"], "temperature is a number from 0 to 1, not 2"),
    "a boolean": (["top_k=true"], "top_k is a whole number"),
    "no list": (["stop_sequences=END"], "stop_sequences is a list of texts"),
    "no texts": (["stop_sequences=[1]"], "stop_sequences is a list of texts"),
    "no objects": (["tools=[1]"], "tools is a list of objects"),
    "no object": (["thinking=on"], "thinking is an object"),
    "a choice": (["service_tier=best"], "service_tier is auto or standard_only"),
    "broken JSON": (["metadata={"], "is not JSON"),
    "twice": (["top_p=1", "top_p=0"], "top_p is given twice"),
    "within a number": (["top_p=1", "top_p.x=0"], "top_p.x is a part of top_p, which is no object"),
    "an object that has parts": (["thinking.type=a", "thinking={}"], "thinking is given twice"),
    "an empty name": (["thinking..x=1"], "an empty name"),
    "a dot at the end": (["thinking.=1"], "an empty name"),
    "the model": (["model=x"], "use --model"),
    "the length": (["max_tokens=5"], "use --max-tokens"),
    "the messages": (["messages=[]"], "the prompts are in the input"),
    "the stream": (["stream=false"], "--via"),
    "the format": (["output_config.format.type=json_schema"], "use --schema"),
}


@pytest.mark.parametrize(("args", "words"), PARAMS.values(), ids=PARAMS)
def test_params_that_are_wrong(run: Run, args: list[str], words: str) -> None:
    """They are usage errors, before any file is looked at."""
    done = run("batch", "none.jsonl", "-o", "-", *(word for arg in args for word in ("--param", arg)))
    assert (done.code, done.out) == (2, "")
    assert words in " ".join(done.err.split())


async def test_params_are_in_every_request(tmp_path: Path) -> None:
    """A row's own comes first."""
    api = ScriptedAPI(default=echo, strict=True)
    rows = [{"prompt": "a"}, {"prompt": "b", "temperature": 0.9}]
    done = await batch(tmp_path, api, "--param", "temperature=0.2", "--param", "metadata.user_id=u", rows=rows)
    assert done.code == 0, done
    assert sorted(request.body["temperature"] for request in api.requests) == [0.2, 0.9]
    assert {request.body["metadata"]["user_id"] for request in api.requests} == {"u"}


# Schemas.

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}},
    "required": ["n", "kind"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


ANSWERS = {
    "good": ['{"n": 1, "kind": "a"}'],
    "second": ['{"n": "one", "kind": "a"}', '{"n": 2, "kind": "b"}'],
    "never": ['{"n": 1}'],
    "prose": ["It depends."],
}


@pytest.mark.parametrize("via", ["stream", "batch"])
async def test_answers_that_follow_a_schema(tmp_path: Path, schema: Path, via: str) -> None:
    """They are values in `json`; those that do not fit are `invalid`, and stay so until they are asked again."""
    output = tmp_path / "out.jsonl"
    rows = [{"id": name, "prompt": name} for name in ANSWERS]

    def answer(request: RecordedRequest) -> list[Step]:
        return [say(ANSWERS[prompt_of(request)][0])]

    api = ScriptedAPI(default=answer, batches=Batches(seconds=0))
    command = ("--schema", schema, "--via", via)
    done = await batch(tmp_path, api, *command, rows=rows, output=output)
    assert done.code == 3, done
    found = rows_of(output)
    assert {name: (row["status"], row["json"]) for name, row in found.items()} == {
        "good": ("ok", {"n": 1, "kind": "a"}), "second": ("invalid", None), "never": ("invalid", None),
        "prose": ("invalid", None),
    }  # fmt: skip
    assert found["never"]["text"] == '{"n": 1}'
    assert "`n`: expected integer, got string" in found["second"]["error"]["message"]
    assert "missing the key `kind`" in found["never"]["error"]["message"]
    if via == "batch":
        return  # looking for the end of a batch takes seconds
    count = len(api.requests)
    output.unlink()
    assert (await batch(tmp_path, api, *command, output=output)).code == 3
    again = rows_of(output)
    assert (len(api.requests), {name: (row["status"], row["json"]) for name, row in again.items()}) == (
        count, {name: (row["status"], row["json"]) for name, row in found.items()},
    )  # fmt: skip
    healed = ScriptedAPI(default=[say('{"n": 3, "kind": "b"}')], batches=Batches(seconds=0))
    assert (await batch(tmp_path, healed, *command, "--retry-errors=invalid", output=output)).code == 0
    assert {row["json"]["n"] for row in rows_of(output).values()} == {1, 3}


async def test_answers_that_do_not_fit_are_asked_again(tmp_path: Path, schema: Path) -> None:
    """As often as --retry-invalid says; the schema is in every request."""
    counts: Counter[str] = Counter()

    def answer(request: RecordedRequest) -> list[Step]:
        prompt = prompt_of(request)
        counts[prompt] += 1
        assert request.body["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
        texts = ANSWERS[prompt]
        return [say(texts[min(counts[prompt], len(texts)) - 1])]

    rows = [{"id": name, "prompt": name} for name in ANSWERS]
    done = await batch(tmp_path, ScriptedAPI(default=answer), "--schema", schema, "--retry-invalid", "2", rows=rows)
    assert done.code == 3, done
    assert counts == {"good": 1, "second": 2, "never": 3, "prose": 3}
    assert "items: 2 ok, 2 without a value\n" in done.err
    assert "2 errors" in done.err
    assert "item 3: the output cannot be used" in done.err
    assert rows_of(done.out)["second"]["json"] == {"n": 2, "kind": "b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ('{"type": "object", "properties": {}}', 'an object needs "additionalProperties": false'),
        ('{"type": "strng"}', "'strng' is no type"),
        ('{"type": "object", "properties": [], "additionalProperties": false}', "'properties' is not an object"),
        ('{"enum": 5}', "'enum' is not a list"),
    ],
)
def test_schemas_that_are_wrong(run: Run, tmp_path: Path, content: str | None, words: str) -> None:
    """They are told before anything is sent."""
    (tmp_path / "p").write_text('"x"\n')
    if content is not None:
        (tmp_path / "s").write_text(content)
    done = run("batch", tmp_path / "p", "-o", "-", "--schema", tmp_path / "s")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err


def test_a_row_with_a_format_of_its_own(run: Run, tmp_path: Path, schema: Path) -> None:
    """Only one of the two can be followed."""
    (tmp_path / "p").write_text('{"prompt": "x", "output_config": {"format": {"type": "json_schema", "schema": {}}}}\n')
    done = run("batch", tmp_path / "p", "-o", "-", "--schema", schema)
    assert done.code == 2
    assert "line 1, column 1: output and output_config.format both say" in done.err


# Several models, and repetitions.


async def test_answers_that_are_texts_in_a_table(tmp_path: Path) -> None:
    """They are JSON there too, so that the table can be read again."""
    (tmp_path / "s").write_text('{"enum": ["yes", "no"]}')
    rows = [{"id": "a", "prompt": "x"}]
    for _ in range(2):
        done = await batch(
            tmp_path,
            ScriptedAPI(default=[say('"yes"')]),
            "--schema",
            tmp_path / "s",
            rows=rows,
            output=tmp_path / "o.csv",
        )
        assert done.code == 0, done
        [row] = csv.DictReader((tmp_path / "o.csv").read_text().splitlines())
        assert row["json"] == '"yes"'


async def test_models_and_repetitions(tmp_path: Path) -> None:
    """Each has a row with its model and number; a greater number asks for what is missing, and nothing else."""
    rows = [{"id": "q", "prompt": "x"}, {"id": "r", "prompt": "x", "model": "own"}, {"prompt": "y"}]
    output = tmp_path / "out.jsonl"
    api = ScriptedAPI(default=echo)
    args = ("-m", "one", "-m", "two")
    done = await batch(tmp_path, api, *args, "--repeat", "2", rows=rows, output=output)
    assert done.code == 0, done
    found = rows_of(output)
    named = {name: (row["model"], row["repeat"], row["text"]) for name, row in found.items() if len(name) < 32}
    assert named == {
        "q@one": ("one", 1, "one: x"), "q@one#2": ("one", 2, "one: x"),
        "q@two": ("two", 1, "two: x"), "q@two#2": ("two", 2, "two: x"),
        "r": ("own", 1, "own: x"), "r#2": ("own", 2, "own: x"),
    }  # fmt: skip
    others = sorted((row["model"], row["repeat"]) for name, row in found.items() if len(name) >= 32)
    assert others == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
    assert len(api.requests) == 10
    done = await batch(tmp_path, api, *args, "--repeat", "3", output=output)
    assert (done.code, len(api.requests), len(rows_of(output))) == (0, 15, 15)
    assert (await batch(tmp_path, api, *args, "--repeat", "3", output=output)).code == 0
    assert len(api.requests) == 15


async def test_models_and_repetitions_are_counted(tmp_path: Path) -> None:
    """A dry run counts all of them, and a budget holds for all."""
    rows = [{"id": f"q{n}", "prompt": f"{n}"} for n in range(3)]
    api = ScriptedAPI(default=echo)
    args = ("-m", "claude-sonnet-5-5", "-m", "claude-haiku-5-5", "--repeat", "2")
    done = await batch(tmp_path, api, *args, "--dry-run", rows=rows)
    assert done.out.startswith("items         12\n"), done
    done = await batch(tmp_path, api, *args, "--max-cost", "5", output=tmp_path / "out")
    assert done.code == 0, done
    assert len(rows_of(tmp_path / "out")) == 12


def test_ids_that_are_made_and_there_already(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told before anything is sent, and so is a model that is given twice."""
    (tmp_path / "p").write_text('{"id": "q", "prompt": "x"}\n{"id": "q#2", "prompt": "y"}\n')
    done = run("batch", tmp_path / "p", "-o", "-", "--repeat", "2")
    assert done.code == 2
    assert "line 2, column 2: ids must be unique, as answers are matched by id: q#2 is repeated" in done.err
    monkeypatch.setenv("ANTHROPIC_MODEL", " ")
    assert run("batch", tmp_path / "p", "-o", "-").code == 2
    assert "'m' is given twice" in run("batch", tmp_path / "p", "-o", "-", "-m", "m", "-m", "m").err


# Equal requests.


@pytest.mark.parametrize("order", ["input", "completion"])
async def test_equal_requests_are_sent_once(tmp_path: Path, order: str) -> None:
    """Each row has the answer, and one of them what it cost; also after a run that has lost its output."""
    rows = [{"id": f"q{n}", "prompt": f"question {n % 3}", "n": n} for n in range(12)]
    rows[4]["prompt"] = rows[7]["prompt"] = "fails"

    def answer(request: RecordedRequest) -> list[Step]:
        return [http_error(400)] if prompt_of(request) == "fails" else echo(request)

    output, summary = tmp_path / "out.jsonl", tmp_path / "summary"
    api = ScriptedAPI(default=answer)
    args = ("--dedupe", "--order", order, "--summary", summary)
    done = await batch(tmp_path, api, *args, rows=rows, output=output)
    assert (done.code, len(api.requests)) == (3, 4), done
    assert "equal requests: 8 rows have the answer of another one" in done.err
    assert "done 4/4 " in done.err
    assert json.loads(summary.read_text())["deduplicated"] == 8
    found = rows_of(output)
    assert [row["n"] for row in found.values()] == (
        list(range(12)) if order == "input" else [row["n"] for row in found.values()]
    )
    for name, row in found.items():
        prompt = rows[row["n"]]["prompt"]
        assert row["status"] == ("error" if prompt == "fails" else "ok")
        assert row["text"] == ("" if prompt == "fails" else f"claude-sonnet-5-5: {prompt}")
        first = next(other["id"] for other in rows if other["prompt"] == prompt)
        assert (row.get("same_as"), row["output_tokens"] is None) == (
            (None if first == name else first), first != name or prompt == "fails",
        )  # fmt: skip
    kept = {name: row | {"seconds": 0, "ttft": 0, "attempts": 0} for name, row in found.items()}
    for lose in (lambda: None, output.unlink, lambda: output.write_text("")):
        lose()
        assert (await batch(tmp_path, api, *args, output=output)).code == 3
        again = {name: row | {"seconds": 0, "ttft": 0, "attempts": 0} for name, row in rows_of(output).items()}
        assert (len(api.requests), again) == (4, kept)
    write_first = [{"id": "new", "prompt": "question 0", "n": 0}, *rows]
    assert (await batch(tmp_path, api, *args, rows=write_first, output=output)).code == 3
    assert (len(api.requests), rows_of(output)["new"]["same_as"]) == (4, "q0")
    assert (await batch(tmp_path, ScriptedAPI(default=echo), *args, "--retry-errors", output=output)).code == 0
    assert {row["status"] for row in rows_of(output).values()} == {"ok"}


async def test_a_dry_run_counts_equal_requests_once(tmp_path: Path) -> None:
    """They are not paid for."""
    rows = [{"id": f"q{n}", "prompt": f"question {n % 3}"} for n in range(12)]
    done = await batch(tmp_path, ScriptedAPI(), "--dedupe", "--repeat", "2", "--dry-run", rows=rows)
    assert done.out.startswith("items         6\n"), done


async def test_equal_requests_without_a_journal(tmp_path: Path, schema: Path) -> None:
    """To standard output, with values of a schema; repetitions are not equal."""
    rows = [{"id": f"q{n}", "prompt": "x"} for n in range(3)]
    api = ScriptedAPI(default=[say('{"n": 1, "kind": "a"}')])
    args = ("--dedupe", "--repeat", "2", "--schema", schema)
    done = await batch(tmp_path, api, *args, rows=rows)
    assert (done.code, len(api.requests)) == (0, 2), done
    found = rows_of(done.out)
    assert {row["json"]["n"] for row in found.values()} == {1}
    assert {name: row.get("same_as") for name, row in found.items()} == {
        "q0": None, "q0#2": None, "q1": "q0", "q1#2": "q0#2", "q2": "q0", "q2#2": "q0#2",
    }  # fmt: skip
    api = ScriptedAPI(default=[say('{"n": 1, "kind": "a"}')])
    output = tmp_path / "out.csv"
    assert (await batch(tmp_path, api, *args, output=output)).code == 0
    assert (await batch(tmp_path, api, *args, "--limit", "1", output=output)).code == 0
    output.unlink()
    assert (await batch(tmp_path, api, *args, output=output)).code == 0
    assert (len(api.requests), output.read_text().count('""kind"":')) == (2, 12)


# What is sent again.


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("all", True), ("error", True), ("timeout", False), ("OverloadedError", True), ("APIStatusError", True),
        ("overloaded_error", True), ("529", True), ("429", False), ("RateLimitError", False), ("invalid", False),
        ("OverloadedErrors", None), ("p.jsonl", None), ("5290", None), ("", None),
    ],
)  # fmt: skip
def test_names_of_failures(name: str, fits: bool | None) -> None:
    """Classes with their subclasses, types, statuses; anything else is a usage error."""
    assert (check_name(name) is None) == (fits is not None)
    row = {"status": "error", "error": {"class": "OverloadedError", "type": "overloaded_error", "status_code": 529}}
    if fits is not None:
        assert Again(errors=(name,)).of_row(row) is fits
        assert Again(errors=("OSError", name)).of_row({"status": "error", "error": {"class": "OSError"}}) == (
            True
            if name in ("all", "error")
            else Again(errors=("OSError",)).of_row({"status": "error", "error": {"class": "OSError"}})
        )
    assert not Again(errors=(name,)).of_row({"status": "ok", "stop_reason": "max_tokens"})


def test_an_input_that_is_taken_for_a_class(run: Run) -> None:
    """It says how to write it."""
    done = run("batch", "--retry-errors", "p.jsonl", "-o", "-")
    assert done.code == 2
    assert "Before another argument write --retry-errors=all" in " ".join(done.err.split())


async def test_only_some_failures_are_sent_again(tmp_path: Path) -> None:
    """Those of a class, or of several; the others stay as they are."""
    errors = {"a": 400, "b": 413, "c": 422}
    rows = [{"id": name, "prompt": name} for name in (*errors, "d")]
    output = tmp_path / "out.jsonl"

    def fail(request: RecordedRequest) -> list[Step]:
        return [http_error(errors[prompt_of(request)])] if prompt_of(request) in errors else echo(request)

    assert (await batch(tmp_path, ScriptedAPI(default=fail), rows=rows, output=output)).code == 3
    api = ScriptedAPI(default=echo)
    args = ("--retry-errors", "BadRequestError", "--retry-errors=413")
    assert (await batch(tmp_path, api, *args, output=output)).code == 3
    assert {name: row["status"] for name, row in rows_of(output).items()} == {
        "a": "ok",
        "b": "ok",
        "c": "error",
        "d": "ok",
    }
    assert len(api.requests) == 2
    assert (await batch(tmp_path, api, "--retry-errors", output=output)).code == 0
    assert len(api.requests) == 3


@pytest.mark.parametrize("with_ids", [True, False])
async def test_answers_that_were_cut(tmp_path: Path, with_ids: bool) -> None:
    """They are sent again, with more tokens if that is said; whole answers stay, and nothing is doubled."""
    rows: list[dict[str, Any]] = [{"prompt": "short"}, {"prompt": "one two three four five six seven eight nine ten"}]
    if with_ids:
        rows = [{"id": f"q{n}", **row} for n, row in enumerate(rows)]
    output = tmp_path / "out.jsonl"

    def answer(request: RecordedRequest) -> list[Step]:
        words = prompt_of(request).split()
        most = request.body["max_tokens"]
        return [say(" ".join(words[:most])), stop("max_tokens" if len(words) > most else "end_turn")]

    api = ScriptedAPI(default=answer)
    assert (await batch(tmp_path, api, "--max-tokens", "5", rows=rows, output=output)).code == 0
    before = {row["index"]: row for row in rows_of(output).values()}
    assert [before[n]["stop_reason"] for n in (0, 1)] == ["end_turn", "max_tokens"]
    assert (await batch(tmp_path, api, "--max-tokens", "5", "--retry-truncated", output=output)).code == 0
    assert len(api.requests) == 3
    for _ in range(2):
        done = await batch(tmp_path, api, "--max-tokens", "50", "--retry-truncated", output=output)
        assert (done.code, len(api.requests)) == (0, 4), done
        after = {row["index"]: row for row in rows_of(output).values()}
        assert (after[0], after[1]["stop_reason"], after[1]["max_tokens"]) == (before[0], "end_turn", 50)
        assert len(rows_of(output)) == 2
    if with_ids:
        refused = await batch(tmp_path, api, "--max-tokens", "60", output=output)
        assert refused.code == 2
        assert "has q0 with another request" in refused.err
        rows[0]["prompt"] = "edited"
        refused = await batch(tmp_path, api, "--max-tokens", "60", "--retry-truncated", rows=rows, output=output)
        assert refused.code == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--retry-invalid", "1"], "--retry-invalid is for answers that do not fit a --schema"),
        (["--retry-truncated"], "--retry-truncated needs what an earlier run has left"),
        (["--format", "xml"], "'xml' is not one of"),
        (["--repeat", "0"], "0 is not in the range"),
        (["--output-format", "sqlite"], "sqlite cannot be written to standard output"),
    ],
)
def test_options_that_cannot_be(run: Run, tmp_path: Path, args: list[str], words: str) -> None:
    """Usage errors."""
    (tmp_path / "p").write_text('"x"\n')
    done = run("batch", tmp_path / "p", "-o", "-", *args)
    assert done.code == 2
    assert words in " ".join(done.err.split())


# The help.


def examples() -> list[str]:
    help_text = batch_command.help
    assert help_text is not None
    return [line.strip() for line in help_text.splitlines() if line.startswith("  trio-stream batch ")]


async def test_the_examples_in_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, one after another in one folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text('{"id": "a", "prompt": "x"}\n')
    (tmp_path / "texts.csv").write_text("id,text\na,x\n")
    (tmp_path / "letter.json").write_text('{"type": "object", "properties": {}, "additionalProperties": false}')
    with closing(sqlite3.connect(tmp_path / "data.db")) as db, db:
        db.execute("CREATE TABLE letters AS SELECT 1 AS id, 'Dear all' AS body")
    async with ScriptedAPI(default=[say("{}")]).serve() as server:
        for example in examples():
            done = await run_cli(*shlex.split(example)[1:], base_url=server.base_url)
            assert done.code == 0, (example, done)
    assert len(examples()) == 5


def test_the_help_has_every_option_under_a_heading(run: Run) -> None:
    """Nothing is left over but the help itself."""
    done = run("batch", "--help")
    assert done.code == 0
    headings = re.findall(r"^([A-Z][^\n]*):$", done.out, re.MULTILINE)
    assert headings == [
        "Input", "Requests", "Pace and retries", "Money", "Output", "Continuing a run", "Message batches", "What is shown",
        "Other",
    ]  # fmt: skip
    assert done.out.partition("\nOther:\n")[2].split()[-6:] == ["--help", "Show", "this", "message", "and", "exit."]
