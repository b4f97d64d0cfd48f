"""`trio-stream batch` and `trio-stream merge`: input, output, flags, exit codes."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.forked import FORKS, SECONDS
from tests.processes import PYTHON
from tests.soak.form import LONG
from trio_stream.batch import FanOutStats, Outcome, read_journal
from trio_stream.cli._batch_check import Checker
from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_line import Pending, output_line
from trio_stream.cli._batch_part import Part, parse_shard, shard_of_job_array
from trio_stream.cli._batch_progress import Lines, Report
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._figures import count, duration
from trio_stream.cli._formats import place_of
from trio_stream.cli._input_text import InputError
from trio_stream.cli._open_rows import open_input
from trio_stream.cli._rows import JsonLine, MistakeError
from trio_stream.cli._serve import with_faults
from trio_stream.cli._template import Template
from trio_stream.testing import (
    Quota,
    RecordedRequest,
    ScriptedAPI,
    Step,
    call,
    disconnect,
    http_error,
    pause,
    say,
    scripted_model,
    stall,
    usage,
)

from .running import SECRET, Finished, Running, environment, program, run_cli, without_styles
from .test_serve import address_in


def prompt_of(request: RecordedRequest) -> str:
    return request.messages[0]["content"]


def echo(request: RecordedRequest) -> list[Step]:
    return [say(prompt_of(request))]


def lines_of(data: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def batch(
    *args: str, lines: list[Any], folder: Path, api: ScriptedAPI | None = None, output: str | None = "-", **env: str
) -> Finished:
    """Run it with an input of these lines, its output to standard output."""
    source = folder / "prompts.jsonl"
    source.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    api = api or ScriptedAPI(default=echo)
    where = [] if output is None else ["-o", output]
    async with api.serve() as server:
        done = await run_cli("batch", str(source), *where, *args, base_url=server.base_url, **env)
    assert SECRET not in done.out + done.err
    assert "Traceback" not in done.err, done
    return done


# Input.


@pytest.mark.parametrize(
    ("line", "args", "request_fields"),
    [
        ('"just a text"', [], {"messages": [{"role": "user", "content": "just a text"}], "max_tokens": 4096}),
        ({"prompt": "hi", "model": "other", "max_tokens": 5}, [], {"model": "other", "max_tokens": 5}),
        ({"messages": [{"role": "user", "content": "hi"}], "system": "own"}, [], {"system": "own"}),
        (
            {"custom_id": "a", "params": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}},
            [],
            {"max_tokens": 9},
        ),
        ({"prompt": "hi"}, ["--model", "m", "--max-tokens", "7"], {"model": "m", "max_tokens": 7}),
        (
            {"text": "abc", "n": {"a": 1}},
            ["--template", "Say {text} {{}} { n }"],
            {"messages": [{"role": "user", "content": 'Say abc {} {"a":1}'}]},
        ),
        ({"prompt": "hi", "thinking": {"type": "disabled"}}, [], {"thinking": {"type": "disabled"}}),
    ],
)
async def test_lines_and_requests(tmp_path: Path, line: Any, args: list[str], request_fields: dict[str, Any]) -> None:
    api = ScriptedAPI(default=echo)
    done = await batch(*args, lines=[line], folder=tmp_path, api=api)
    assert done.code == 0, done
    body = api.requests[0].body
    assert {name: body[name] for name in request_fields} == request_fields


async def test_the_system_prompt_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Be brief – très.\n", encoding="utf-8")
    api = ScriptedAPI(default=echo)
    done = await batch("--system", str(tmp_path / "system.txt"), lines=['"hi"'], folder=tmp_path, api=api)
    assert done.code == 0
    assert api.requests[0].body["system"] == "Be brief – très."


async def test_unknown_keys_pass_through_and_none_is_lost(tmp_path: Path) -> None:
    lines = [
        {"id": 7, "prompt": "hi", "topic": "t", "text": "mine", "nested": {"a": [1]}},
        {"prompt": "no id"},
        "",
        {"prompt": "no id"},
    ]
    done = await batch("--order", "input", lines=lines, folder=tmp_path)
    assert done.code == 0, done
    first, second, third = lines_of(done.out)
    assert (first["id"], first["index"], first["topic"], first["nested"]) == ("7", 0, "t", {"a": [1]})
    assert first["input"] == {"text": "mine"}
    assert (first["text"], first["status"], first["stop_reason"], first["error"]) == ("hi", "ok", "end_turn", None)
    assert first["output_tokens"] > 0
    assert first["attempts"] == 1
    assert "content" not in first
    assert re.fullmatch("[0-9a-f]{32}", second["id"])
    assert third["id"] == f"{second['id']}:2"
    assert (third["index"], third["text"]) == (2, "no id")


async def test_what_is_more_than_text_is_in_the_output_too(tmp_path: Path) -> None:
    api = ScriptedAPI(default=[say("Let me see."), call("look", {"a": 1})])
    done = await batch(lines=['"hi"'], folder=tmp_path, api=api)
    [row] = lines_of(done.out)
    assert row["text"] == "Let me see."
    assert row["stop_reason"] == "tool_use"
    assert row["content"][1]["input"] == {"a": 1}


@pytest.mark.parametrize(
    ("lines", "args", "sentence"),
    [
        (['"ok"', "{"], [], "prompts.jsonl, line 2, column 2: not JSON"),
        ([{"prompt": "x", "temperature": 1}], [], "line 1, column 17: `temperature` exists under anthropic-version"),
        ([{"prompt": "x", "no_parameter": {"a": 1}, "tools": 5}], [], ""),
        (['"x"'], ["--system", "/none"], "cannot read /none: No such file"),
        (['"x"'], ["--base-url", "nonsense"], "the base URL is not valid: 'nonsense'"),
    ],
)
async def test_what_cannot_work_is_told_before_anything_is_asked(
    tmp_path: Path, lines: list[Any], args: list[str], sentence: str
) -> None:
    api = ScriptedAPI(default=echo)
    done = await batch(*args, lines=lines, folder=tmp_path, api=api)
    if sentence:
        assert (done.code, done.out) == (2, ""), done
        assert sentence in done.err
        assert api.requests == []
    else:
        assert done.code == 3  # an item that the client refuses is an item that failed


@pytest.mark.parametrize(
    ("lines", "args", "sentence"),
    [
        (['"x"'], ["--model", "mine"], "say --price INPUT/OUTPUT, or --price mine=INPUT/OUTPUT"),
        ([{"prompt": "x"}, {"prompt": "y", "model": "its"}], [], "the prices of 'its'"),
    ],
)
async def test_a_budget_without_a_price(tmp_path: Path, lines: list[Any], args: list[str], sentence: str) -> None:
    """The exit code is 1, before anything is sent."""
    api = ScriptedAPI(default=echo)
    done = await batch("--max-cost", "1", *args, lines=lines, folder=tmp_path, api=api)
    assert (done.code, done.out, api.requests) == (1, "", [])
    assert sentence in done.err


async def test_what_cannot_work_for_other_reasons(tmp_path: Path) -> None:
    missing = await run_cli("batch", str(tmp_path / "none"), "-o", "-", ANTHROPIC_API_KEY=SECRET)
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "none: No such file" in missing.err
    (tmp_path / "p").write_text('"x"')
    no_key = await run_cli("batch", str(tmp_path / "p"), "-o", "-")
    assert (no_key.code, no_key.err) == (2, "trio-stream batch: no API key: export ANTHROPIC_API_KEY=sk-ant-...\n")
    no_output = await batch(lines=['"x"'], folder=tmp_path, output=None)
    assert no_output.code == 2
    assert "--output" in no_output.err
    other_file = tmp_path / "notes.txt"
    other_file.write_text("my notes\n")
    refused = await batch(lines=['"x"'], folder=tmp_path, output=str(other_file))
    assert refused.code == 2
    assert "is not an output of this command" in refused.err
    assert other_file.read_text() == "my notes\n"


async def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    """The first answer is there before the input has ended."""
    api = ScriptedAPI(default=echo)
    async with api.serve() as server:
        env = environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        process = FORKS.start(program("batch", "-", "-o", "-"), env=env)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(SECONDS):
            async with process:
                await process.stdin.send_all(b'"one"\n\n"tw')
                assert json.loads(await process.stdout.receive_some())["text"] == "one"
                await process.stdin.send_all(b'o"\n"three"')
                assert json.loads(await process.stdout.receive_some())["text"] == "two"
                await process.stdin.aclose()
                assert json.loads(await process.stdout.receive_some())["text"] == "three"
                assert await process.stdout.receive_some() == b""
                assert b"done 3 \xc2\xb7" in await process.stderr.receive_some()
                assert await process.wait() == 0


async def test_a_faulty_line_of_a_pipe_ends_it(tmp_path: Path) -> None:
    api = ScriptedAPI(default=echo)
    async with api.serve() as server:
        done = await run_cli("batch", "-", "-o", "-", stdin=b'"one"\n"two"\n{\n"four"\n', base_url=server.base_url)
    assert done.code == 2
    assert sorted(row["text"] for row in lines_of(done.out)) == ["one", "two"]
    assert "standard input, line 3, column 2: not JSON" in done.err
    assert "; the items before it are done" in done.err


# Which items.


def test_shards_limits_and_samples_are_parts_of_the_same_input(tmp_path: Path) -> None:
    source = tmp_path / "p.jsonl"
    source.write_text("".join(json.dumps({"id": f"q{n}", "prompt": f"{n}"}) + "\n\n" for n in range(20)))

    def indexes(**fields: Any) -> list[int]:
        found = open_input(
            place_of(str(source)), Checker(Recipe({"model": "m", "max_tokens": 1}, None)), Part(**fields)
        )
        assert isinstance(found, FileInput)
        chosen = [entry.index for entry in found.entries()]
        assert found.total == len(chosen)
        found.close()
        return chosen

    assert indexes() == list(range(20))
    assert indexes(limit=3) == [0, 1, 2]
    assert indexes(shard=(1, 3)) == list(range(1, 20, 3))
    assert indexes(shard=(1, 3), limit=6) == [1, 4]
    sample = indexes(sample=6)
    assert len(sample) == 6
    assert sample not in ([0, 1, 2, 3, 4, 5], list(range(14, 20)))
    assert indexes(sample=6) == sample
    assert sorted(indexes(sample=6, shard=(0, 2)) + indexes(sample=6, shard=(1, 2))) == sample


async def test_the_flags_for_parts(tmp_path: Path) -> None:
    lines = [{"id": f"q{n}", "prompt": f"{n}"} for n in range(20)]
    for args, env in (
        (["--shard", "1/3"], {}),
        ([], {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "4"}),
    ):
        done = await batch("--limit", "8", "--order", "input", *args, lines=lines, folder=tmp_path, **env)
        assert [row["index"] for row in lines_of(done.out)] == [1, 4, 7]
    done = await batch("--sample", "2", lines=lines, folder=tmp_path)
    assert len(lines_of(done.out)) == 2


@pytest.mark.parametrize(
    ("env", "shard"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "8"}, (0, 8)),
        ({"SLURM_ARRAY_TASK_ID": "8", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, (7, 8)),
        ({"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "8"}, None),
    ],
)
def test_shards_of_job_arrays(env: dict[str, str], shard: tuple[int, int] | None) -> None:
    assert shard_of_job_array(env) == shard


def test_a_job_array_with_gaps_is_refused() -> None:
    with pytest.raises(InputError):
        shard_of_job_array({"SLURM_ARRAY_TASK_ID": "30", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "10"})


@pytest.mark.parametrize("value", ["", "1", "1/0", "-1/2", "3/3", "1/2/3", "a/b"])
def test_what_is_no_shard(value: str) -> None:
    with pytest.raises(InputError):
        parse_shard(value)


def test_templates() -> None:
    assert Template("{a}{{a}}{b}").fill({"a": "x", "b": [1, None]}) == "x{a}[1,null]"
    with pytest.raises(MistakeError, match="no key `c`"):
        Template("{c}").fill({"a": 1})


async def test_sharded_runs_are_merged(tmp_path: Path) -> None:
    """Each shard has an output of its own, and merged they are as one run would have been."""
    lines = [{"id": f"q{n}", "prompt": f"{n}", "n": n} for n in range(11)]
    for shard in range(3):
        output = str(tmp_path / "a-{shard}.jsonl")
        done = await batch("--shard", f"{shard}/3", lines=lines, folder=tmp_path, output=output)
        assert done.code == 0, done
        assert f"shard {shard} of 3: {len(range(shard, 11, 3))} items" in done.err
    parts = [str(tmp_path / f"a-{shard}.jsonl") for shard in range(3)]
    merged = await run_cli("merge", *parts, "-o", str(tmp_path / "all.jsonl"))
    assert (merged.code, merged.err) == (0, "11 items from 3 files\n")
    rows = lines_of((tmp_path / "all.jsonl").read_bytes())
    assert [(row["id"], row["n"], row["text"]) for row in rows] == [(f"q{n}", n, f"{n}") for n in range(11)]
    journals = [f"{part}.journal" for part in parts]
    assert (await run_cli("merge", *journals, "-o", str(tmp_path / "all.jsonl.journal"))).code == 0
    assert [o.id for o in read_journal(tmp_path / "all.jsonl.journal")] == [f"q{n}" for n in range(11)]
    api = ScriptedAPI()
    again = await batch(lines=lines, folder=tmp_path, output=str(tmp_path / "all.jsonl"), api=api)
    assert (again.code, api.requests) == (0, []), "the merged run goes on as one"


async def test_merge_says_what_is_wrong(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    line = {"id": "q", "index": 0, "status": "ok", "text": "one", "hash": "a"}
    first.write_text(json.dumps(line) + "\n")
    second.write_text(json.dumps(line | {"hash": "b", "text": "two"}) + "\n")
    done = await run_cli("merge", str(first), str(second), "-o", "-")
    assert done.code == 3
    assert lines_of(done.out) == [line]
    assert "conflict: 'q' stands for different requests; the first file's was kept" in done.err
    exists = await run_cli("merge", str(first), "-o", str(second))
    assert (exists.code, exists.err) == (2, f"trio-stream merge: {second} exists: give another name, or --overwrite\n")
    (tmp_path / "readme").write_text("# Read me\n")
    refused = await run_cli("merge", str(tmp_path / "readme"), "-o", "-")
    assert refused.code == 2
    assert "neither a journal nor an output" in refused.err
    assert (await run_cli("merge", "-o", "-")).code == 2


# How it ends.


async def test_errors_of_items_are_exit_code_3_and_lines_of_the_output(tmp_path: Path) -> None:
    def answer(request: RecordedRequest) -> list[Step]:
        return [http_error(400, message="too odd")] if int(prompt_of(request)) % 2 else echo(request)

    summary = tmp_path / "summary.json"
    lines = [json.dumps(f"{n}") for n in range(10)]
    api = ScriptedAPI(default=answer)
    done = await batch("--summary", str(summary), lines=lines, folder=tmp_path, api=api)
    assert done.code == 3
    rows = lines_of(done.out)
    assert len(rows) == 10
    failed = [row for row in rows if row["status"] == "error"]
    assert sorted(row["index"] for row in failed) == [1, 3, 5, 7, 9]
    assert failed[0]["error"]["class"] == "BadRequestError"
    assert failed[0]["error"]["status_code"] == 400
    assert "too odd" in failed[0]["error"]["message"]
    assert done.err.count("item ") == 3
    assert "(further ones are in the output)" in done.err
    figures = json.loads(summary.read_text())
    assert {name: figures[name] for name in ("total", "done", "ok", "errors", "requests", "exit_code")} == {
        "total": 10, "done": 10, "ok": 5, "errors": 5, "requests": 10, "exit_code": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "most"), [(["--on-error", "stop"], 4), (["--max-errors", "3"], 7), (["--max-errors", "20%"], 30)]
)
async def test_it_stops_where_that_is_wanted(tmp_path: Path, args: list[str], most: int) -> None:
    api = ScriptedAPI(default=[http_error(400)])
    lines = [json.dumps(f"{n}") for n in range(60)]
    done = await batch("--concurrency", "2", *args, lines=lines, folder=tmp_path, api=api)
    assert done.code == 3
    assert "stopped: " in done.err
    assert 0 < len(api.requests) <= most


@pytest.mark.parametrize(
    "args", [["--max-output-tokens", "30"], ["--price", "0/999999", "--max-cost", "30", "--max-tokens", "15"]]
)
async def test_budgets_are_exit_code_4(tmp_path: Path, args: list[str]) -> None:
    api = ScriptedAPI(default=[say("one two three four five six seven eight nine ten")])
    lines = [json.dumps(f"{n}") for n in range(60)]
    done = await batch("--concurrency", "2", *args, lines=lines, folder=tmp_path, api=api)
    assert done.code == 4, done
    assert "stopped: the budget is used up" in done.err
    assert 1 < len(api.requests) < 10
    assert len(lines_of(done.out)) == len(api.requests)


async def test_a_spend_limit_is_exit_code_4_and_can_be_gone_on_from(tmp_path: Path) -> None:
    lines = [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(40)]
    output = tmp_path / "a.jsonl"
    api = ScriptedAPI(default=echo, quota=Quota(spend_limit=60))
    done = await batch("--concurrency", "2", lines=lines, folder=tmp_path, api=api, output=str(output))
    assert done.code == 4, done
    paid = len(lines_of(output.read_bytes()))
    assert 0 < paid < 40
    api = ScriptedAPI(default=echo)
    again = await batch(lines=lines, folder=tmp_path, api=api, output=str(output))
    assert (again.code, len(api.requests)) == (0, 40 - paid)


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (
            401,
            "authentication_error",
            "the API refuses the key: 401 authentication_error: no (.*); is ANTHROPIC_API_KEY",
        ),
        (403, "permission_error", "the API does not permit this: 403 permission_error: no (.*); once that is settled"),
    ],
)
async def test_a_refused_key_is_exit_code_1_and_can_be_gone_on_from(
    tmp_path: Path, status: int, kind: str, sentence: str
) -> None:
    lines = [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(5000)]
    output = tmp_path / "a.jsonl"
    api = ScriptedAPI(default=[http_error(status, kind, message="no")])
    done = await batch("--inflight", "skip", lines=lines, folder=tmp_path, api=api, output=str(output))
    assert (done.code, output.read_bytes()) == (1, b"")
    assert re.search(f"^trio-stream batch: stopped: {sentence}", done.err, re.MULTILINE)
    assert len(api.requests) <= 8
    api = ScriptedAPI(default=[say("x")])
    again = await batch(
        "--inflight", "skip", "--limit", "30", lines=lines, folder=tmp_path, api=api, output=str(output)
    )
    assert (again.code, len(api.requests), len(lines_of(output.read_bytes()))) == (0, 30, 30)


async def test_a_wrong_model_is_exit_code_1(tmp_path: Path) -> None:
    lines = [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(300)]
    output, summary = tmp_path / "a.jsonl", tmp_path / "s.json"
    api = ScriptedAPI(default=[http_error(404, message="model: sonet")])
    more = {"lines": lines, "folder": tmp_path, "output": str(output)}
    done = await batch("--model", "sonet", "--summary", str(summary), api=api, **more)
    assert done.code == 1
    assert "stopped: the first 10 items all failed alike: 404 not_found_error: model: sonet" in done.err
    assert "with --max-errors it would go on" in done.err
    assert len(api.requests) <= 20
    assert json.loads(summary.read_bytes())["stop_reason"] == "same_error"
    corrected = await batch("--model", "sonnet", api=ScriptedAPI(default=echo), **more)
    assert corrected.code == 2
    assert "begin again with --overwrite (there are no answers)" in corrected.err
    assert (await batch("--model", "sonnet", "--overwrite", api=ScriptedAPI(default=echo), **more)).code == 0
    on = await batch("--max-errors", "100%", "--overwrite", api=api, **more)
    assert (on.code, len(lines_of(output.read_bytes()))) == (3, 300)


async def test_faults_are_tried_again_and_clocks_are_set(tmp_path: Path) -> None:
    api = ScriptedAPI([http_error(529)], [say("cut", disconnect())], [say("x", stall())], default=echo)
    done = await batch("--silence-timeout", "0.2", "--max-attempts", "4", lines=['"hi"'], folder=tmp_path, api=api)
    assert done.code == 0, done
    assert (lines_of(done.out)[0]["text"], len(api.requests)) == ("hi", 4)
    for args, error in (
        (["--first-event-timeout", "0.2", "--max-attempts", "1"], "FirstEventTimeoutError"),
        (["--item-timeout", "0.2"], "TotalTimeoutError"),
    ):
        done = await batch(*args, lines=['"hi"'], folder=tmp_path, api=ScriptedAPI(default=[stall()]))
        [row] = lines_of(done.out)
        assert (done.code, row["status"], row["error"]["class"]) == (3, "timeout", error)


def cached(request: RecordedRequest) -> list[Step]:
    """An answer that reads what the first one wrote, where the prefix is marked."""
    blocks = [*request.body.get("system", ()), *request.messages[0]["content"]]
    marked = [block for block in blocks if isinstance(block, dict) and "cache_control" in block]
    first = request.number == 1
    written, read = (2000, 0) if first else (0, 2000)
    return [
        usage(cache_creation_input_tokens=written * len(marked), cache_read_input_tokens=read * len(marked)),
        say("x"),
    ]


async def test_a_prefix_is_cached(tmp_path: Path) -> None:
    """One item goes first; the mark is no part of what the journal knows the request by, the prefix is."""
    document = tmp_path / "document.txt"
    document.write_text("The document. " * 100)
    output, summary = tmp_path / "a.jsonl", tmp_path / "s.json"
    api = ScriptedAPI(default=cached)
    more = {"lines": [f'"{n}"' for n in range(30)], "folder": tmp_path, "output": str(output)}
    done = await batch("--prefix", str(document), "--summary", str(summary), "--cache", api=api, **more)
    assert done.code == 0, done
    assert "cache: 1 written, 29 read\n" in done.err
    blocks = api.requests[0].messages[0]["content"]
    assert blocks[0]["text"] == document.read_text().strip()
    assert blocks[0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert [block["text"] for block in blocks[1:]] == ["0"]
    figures = json.loads(summary.read_bytes())
    assert (figures["cache_writes"], figures["cache_hits"], figures["cache_misses"]) == (1, 29, 1)
    api = ScriptedAPI(default=cached)
    assert (await batch("--prefix", str(document), api=api, **more)).code == 0
    assert api.requests == []
    document.write_text("Another document.")
    assert (await batch("--prefix", str(document), api=api, **more)).code == 0
    assert len(api.requests) == 30
    plan = await batch("--prefix", str(document), "--dry-run", "--overwrite", api=api, **more)
    assert plan.code == 0, plan
    assert "Another document." in api.requests[-1].content.decode()


async def test_a_cache_that_is_good_for_nothing_is_told(tmp_path: Path) -> None:
    """Too short, nothing shared, and an empty file."""
    system = tmp_path / "system.txt"
    system.write_text("short")
    done = await batch("--system", str(system), "--cache", "1h", lines=['"a"', '"b"'], folder=tmp_path)
    assert (done.code, "the prefix is too short (the least is 512" in done.err) == (0, True)
    done = await batch("--cache", "1h", lines=['"a"', '"b"'], folder=tmp_path)
    assert (done.code, "cache: nothing is shared: give the prompts a --prefix" in done.err) == (0, True)
    system.write_text(" \n")
    done = await batch("--prefix", str(system), lines=['"a"'], folder=tmp_path)
    assert (done.code, "has no prefix: it is empty" in done.err) == (2, True)


async def test_warmup_starts_one_alone(tmp_path: Path) -> None:
    api = ScriptedAPI(default=lambda request: [pause(0.3), say(prompt_of(request))])
    done = await batch("--warmup", lines=['"a"', '"b"', '"c"'], folder=tmp_path, api=api)
    assert done.code == 0
    first, second, third = api.requests
    assert second.at - first.at > 0.25
    assert third.at - second.at < 0.2


async def test_own_rates_are_kept_to(tmp_path: Path) -> None:
    api = ScriptedAPI(default=echo)
    done = await batch("--rpm", "600", lines=[json.dumps(f"{n}") for n in range(20)], folder=tmp_path, api=api)
    assert done.code == 0
    assert 0.9 < api.requests[-1].at - api.requests[0].at < 4


async def test_the_order_of_the_input(tmp_path: Path) -> None:
    def slow_first(request: RecordedRequest) -> list[Step]:
        return [pause(0.4 - 0.1 * int(prompt_of(request))), say(prompt_of(request))]

    lines = [json.dumps(f"{n}") for n in range(4)]
    in_order = await batch("--order", "input", lines=lines, folder=tmp_path, api=ScriptedAPI(default=slow_first))
    assert [row["index"] for row in lines_of(in_order.out)] == [0, 1, 2, 3]
    as_done = await batch(lines=lines, folder=tmp_path, api=ScriptedAPI(default=slow_first))
    assert [row["index"] for row in lines_of(as_done.out)] == [3, 2, 1, 0]


async def test_the_reader_of_the_output_may_go_away(tmp_path: Path) -> None:
    source = tmp_path / "p.jsonl"
    source.write_text('"hi"\n' * 2000)
    api = ScriptedAPI(default=lambda _request: [say("word " * 500)])
    async with api.serve() as server:
        shell = (
            shlex.join([PYTHON, "-W", "error", *program("batch", str(source), "-o", "-")])
            + " | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}"
        )
        with trio.fail_after(SECONDS):
            done = await trio.run_process(
                ["bash", "-c", shell],
                capture_stderr=True,
                check=False,
                env=environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET),
            )
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
    assert len(api.requests) < 2000


# --dry-run.


async def test_dry_run(tmp_path: Path) -> None:
    lines = [{"id": f"q{n % 9}", "prompt": f"question {n}"} for n in range(10)]
    api = ScriptedAPI(default=echo)
    done = await batch(
        "--dry-run", "--price", "3/15", "--max-tokens", "1000", "--rpm", "5", lines=lines, folder=tmp_path, api=api
    )
    assert (done.code, done.err) == (0, "")
    assert {request.path for request in api.requests} == {"/v1/messages/count_tokens"}
    facts = dict(
        line.split(maxsplit=1) if not line.startswith("repeated") else ("repeated", line[13:].strip())
        for line in done.out.splitlines()
    )
    assert facts["items"] == "10"
    assert re.fullmatch(r"about \d+ tokens \(\d+ each, of 10 counted\)", facts["input"])
    assert facts["output"] == "at most 10k tokens (1000 each)"
    assert facts["cost"].startswith("$0.00 for the input, up to $0.15")
    assert facts["time"] == "2 m or more, by the limit of requests"
    assert facts["repeated"] == "1: q0"


async def test_dry_run_knows_the_journal_and_leaves_no_trace(tmp_path: Path) -> None:
    lines = [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(4)]
    output = str(tmp_path / "a.jsonl")
    before = await batch("--dry-run", "--model", "mine", lines=lines, folder=tmp_path, output=output)
    assert "not known: say what tokens cost" in before.out
    assert names(tmp_path) == ["prompts.jsonl"]
    await batch("--limit", "3", lines=lines, folder=tmp_path, output=output)
    after = await batch("--dry-run", lines=lines, folder=tmp_path, output=output)
    assert "4, 3 of them answered already" in after.out
    refused = await batch(
        "--dry-run", lines=lines, folder=tmp_path, api=ScriptedAPI(strict=True), ANTHROPIC_API_KEY=" "
    )
    assert refused.code == 2


# Progress.


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (999, "999"), (1200, "1.2k"), (240_000, "240k"), (1.2e6, "1.2M")]
)
def test_counts(number: float, shown: str) -> None:
    assert count(number) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0 s"), (89, "89 s"), (720, "12 m"), (9000, "2.5 h")])
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


async def test_the_line(autojump_clock: object) -> None:
    await trio.sleep(100)
    now = trio.current_time()
    stats = FanOutStats(
        done=813, cached=120, errors=2, timeouts=1, skipped=1, in_flight=47, window=52, input_tokens=1_200_000,
        output_tokens=240_000, cost=3.411, refused=2, seconds=0.0, paused_until=now + 4,
    )  # fmt: skip
    first = FanOutStats(done=120, cached=120, seconds=0.0)
    later = [first]
    report = Report(lambda: later[-1], total=5000, max_cost=20.0)
    report.line()
    later.append(type(stats)(**{name: getattr(stats, name) for name in stats.__struct_fields__} | {"seconds": 119.0}))
    report.eta(FanOutStats(done=120, cached=120, seconds=60.0))
    assert report.line() == (
        "done 812/5000 · 47 in flight (window 52) · 3 errors · cached 120 · in 1.2M out 240k tok · $3.41 of $20 · "
        "429 2 · 529 0 · paused 4 s · ETA 6 m"
    )
    assert report.rows(60)[0] == "done 812/5000 · 47 in flight (window 52) · 3 errors"
    assert max(map(len, report.rows(60))) <= 60
    assert Report(lambda: FanOutStats(done=3), total=None, max_cost=None).line().startswith("done 3 · 0 in flight")


async def test_a_line_every_ten_seconds(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, expected in ((False, 5), (True, 0)):
        with Lines(Report(FanOutStats, total=1, max_cost=None), quiet=quiet) as lines:
            with trio.move_on_after(35):
                await lines.run()
            lines.tell("something")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == expected


async def test_progress_is_on_standard_error_only(tmp_path: Path) -> None:
    done = await batch("--progress", "none", lines=['"a"'], folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    done = await batch(lines=['"a"'], folder=tmp_path)
    assert done.err.startswith("1 item, at most 100 at once\ndone 1/1 · 0 in flight (window ")
    assert len(lines_of(done.out)) == 1


async def test_on_a_terminal(tmp_path: Path) -> None:
    """A bar and the line below it, drawn again and again; Ctrl-C is a key; at the end it stays."""
    source, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(f'"{n}"\n' for n in range(12)))
    api = ScriptedAPI(default=lambda request: [pause(0.3), *echo(request)])
    async with (
        api.serve() as server,
        Running(
            program("batch", str(source), "-o", str(output), "--concurrency", "2"),
            terminal=(70, 12),
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ) as running,
    ):
        await running.read_until("done 2/12")
        await running.type(b"\x03")
        assert await running.finish() == 130
    shown = without_styles(running.out)
    assert "━━━━" in shown
    assert "finishing 2 streams, Ctrl-C again to abort\n" in shown
    last = shown[shown.rindex("━") + 1 :].splitlines()
    assert last[1].startswith("done 4/12 · 0 in flight")
    assert last[-2:] == [
        "next: the same command asks the 8 items left",
        f"next: trio-stream status {output} tells how it stands",
    ]
    assert max(map(len, last[:3])) < 70


# Against `serve`, with limits and faults.


async def test_against_serve_with_limits_and_faults_killed_and_gone_on(tmp_path: Path) -> None:
    """The walk-through of the documentation, smaller."""
    source, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps({"id": f"q{n}", "prompt": f"question {n}"}) + "\n" for n in range(240)))
    serve = ("--ttft", "0.02", "--tps", "0", "--rpm", "6000", "--otpm", "1000000", "--faults", "8")
    async with Running(program("serve", "--port", "0", *serve)) as server:
        await server.read_until("Hello!")
        env = {"ANTHROPIC_BASE_URL": address_in(server.out), "ANTHROPIC_API_KEY": "test"}
        command = program("batch", str(source), "-o", str(output))
        async with Running(command, **env) as running:
            with trio.fail_after(SECONDS):
                while not output.exists() or output.read_bytes().count(b"\n") < 60:
                    await trio.sleep(0.01)
            running.process.kill()
            await running.process.wait()
        known = output.read_bytes().count(b"\n")
        async with Running(command, **env) as running:
            assert await running.finish() == 0
        server.interrupt()
        await server.finish()
    assert 60 <= known < 240
    rows = lines_of(output.read_bytes())
    assert sorted(row["index"] for row in rows) == list(range(240))
    assert all(row["status"] == "ok" and row["text"] for row in rows)
    statuses = re.findall(r"claude-sonnet-5-5  (\d+)", server.out.partition("Hello!")[2])
    assert {"529", "500", "200"} <= set(statuses)
    shown = re.search(r"done 240/240 · .* · cached (\d+) ", running.err)
    assert shown is not None
    assert known <= int(shown[1]) < 240  # the journal is ahead of the output, which keeps the order of the input


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def wait_for_lines(path: Path, count: int) -> None:
    with trio.fail_after(SECONDS):
        while count_lines(path) < count:
            await trio.sleep(0.02)


@pytest.mark.skipif(not LONG, reason="takes half a minute: `make soak`")
@pytest.mark.timeout(600)
async def test_five_thousand_items_throttled_killed_resumed_and_merged(tmp_path: Path) -> None:
    """Two shards at once against one quota that they exceed, with faults; one is killed, and goes on."""
    count = 5000
    source, merged = tmp_path / "p.jsonl", tmp_path / "all.jsonl"
    outputs = [tmp_path / f"a-{shard}.jsonl" for shard in (0, 1)]
    source.write_text("".join(json.dumps({"id": f"q{n}", "text": f"document {n}"}) + "\n" for n in range(count)))
    quota = Quota(requests_per_minute=60_000, output_tokens_per_minute=1_500_000, burst=0.1)
    answer_or_fail = with_faults(scripted_model(ttft=0.02, tps=None), 0.03)
    asked = itertools.count(1)

    def answer(request: RecordedRequest) -> list[Step]:
        # A machine that is too slow to exceed the quota is refused as well.
        return [http_error(429, retry_after=1)] if next(asked) % 1000 == 0 else answer_or_fail(request)

    api = ScriptedAPI(default=answer, strict=True, quota=quota, keep_requests=2 * count)
    async with api.serve() as server:
        env = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "test"}
        shared = ("--template", "Summarise: {text}", "-o", str(tmp_path / "a-{shard}.jsonl"), "--progress", "plain")

        def shard(number: int) -> Running:
            return Running(program("batch", str(source), *shared, "--shard", f"{number}/2"), **env)

        with trio.fail_after(500):
            async with shard(0) as first:
                async with shard(1) as second:
                    await wait_for_lines(outputs[1], 600)
                    second.process.kill()
                    await second.process.wait()
                known = count_lines(outputs[1])
                async with shard(1) as again:
                    await again.process.wait()
                    assert await again.finish() == 0
                await first.process.wait()
                assert await first.finish() == 0
    merging = await run_cli("merge", *map(str, outputs), "-o", str(merged))
    journals = await run_cli("merge", *(f"{path}.journal" for path in outputs), "-o", f"{merged}.journal")
    assert (merging.code, journals.code) == (0, 0)
    rows = lines_of(merged.read_bytes())
    assert [row["index"] for row in rows] == list(range(count))
    assert all(row["status"] == "ok" and row["text"] for row in rows)
    assert [outcome.status for outcome in read_journal(f"{merged}.journal")] == ["ok"] * count

    cached = re.search(r"cached (\d+) ", again.err)
    assert cached is not None
    assert known <= int(cached[1]) < known + 200
    statuses = Counter(request.status for request in api.requests)
    assert {200, 429, 500, 529} <= set(statuses)
    # Paid twice: what was under way when it was killed. Beyond that only what was failed on purpose (a half of the
    # faults have the status 200).
    assert statuses[200] < count + 100 + 0.03 * 5300
    assert statuses[429] < 500


# The pieces.


def test_a_line_of_output_has_the_error_and_no_prompt() -> None:
    entry = Recipe({"model": "m", "max_tokens": 1}, None).read(
        JsonLine(4, b'{"prompt":"secret prompt","a":1}'), index=3
    )
    assert entry == Entry(
        index=3,
        id=None,
        request={"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "secret prompt"}]},
        others={"a": 1},
    )
    outcome = Outcome(status="error", error=ValueError("x"), attempts=2)
    row = json.loads(output_line(outcome, Pending(entry=entry, key="k", hash="h")))
    assert (row["id"], row["a"], row["status"], row["input_tokens"]) == ("k", 1, "error", None)
    assert row["error"] == {"class": "ValueError", "message": "x"}
    assert "secret prompt" not in json.dumps(row)
