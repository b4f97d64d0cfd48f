"""What a person does around a run: estimates, looks at it, compacts it, draws it, goes on."""

from __future__ import annotations

import csv
import html
import importlib.util
import io
import itertools
import json
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from rich.console import Console

import trio_stream as ts
from tests.forked import SECONDS
from tests.soak.form import LONG
from trio_stream.batch import Journal, Outcome
from trio_stream.cli import _report
from trio_stream.cli._batch_live import live_view
from trio_stream.cli._canvas import Canvas
from trio_stream.cli._commands import commands
from trio_stream.cli._next_step import Standing, next_steps
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, http_error, pause, say, stop, usage

from .running import SECRET, Finished, Running, program, run_cli, without_styles
from .test_batch import batch, echo, lines_of, names, prompt_of, wait_for_lines

PAID = ts.Charge(model="claude-sonnet-5-5", input=1000, output=500)


def facts_of(done: Finished) -> dict[str, str]:
    """What ``status`` and ``--dry-run`` print, by the names of the rows."""
    assert done.code == 0, done
    return {line[:13].strip(): line[13:].strip() for line in done.out.splitlines()}


# Dry runs.


async def test_a_dry_run_of_items_that_are_most_unequal(tmp_path: Path) -> None:
    """Two in a hundred rows have nearly all of the text: the estimate is right within 5 %, as are two models' costs."""
    rows = [
        {"id": n, "prompt": "word " * (4000 if n % 50 == 7 else 3), "model": "claude-haiku-5-5" if n % 3 else "claude-opus-5"}
        for n in range(600)
    ]  # fmt: skip
    counted: list[int] = []
    api = ScriptedAPI(default=echo)
    async with ts.Client(api_key="k", transport=ScriptedAPI()) as client:
        for row in rows:
            messages: Any = [{"role": "user", "content": row["prompt"]}]
            counted.append((await client.messages.count_tokens(model=row["model"], messages=messages)).input_tokens)
    price = ("--price", "claude-haiku=10/0", "--price", "claude-opus=1000/0")
    done = await batch("--dry-run", *price, lines=rows, folder=tmp_path, api=api)
    facts = facts_of(done)
    cost = sum(
        n * (10 if row["model"] == "claude-haiku-5-5" else 1000) / 1e6 for n, row in zip(counted, rows, strict=True)
    )
    told = re.match(r"\$([0-9.]+) for the input", facts["cost"])
    assert told is not None
    assert float(told[1]) == pytest.approx(cost, rel=0.05)
    tokens = re.match(r"about (\d+)k tokens", facts["input"])
    assert tokens is not None
    assert int(tokens[1]) * 1000 == pytest.approx(sum(counted), rel=0.05)


def long_answers(request: RecordedRequest) -> list[Step]:
    number = int(prompt_of(request).split()[-1])
    return [say("x"), usage(input_tokens=100, output_tokens=100 + number % 2 * 20)]


async def test_a_sample_of_real_answers(tmp_path: Path) -> None:
    """It says beforehand what it may cost, then what the run costs; the run does not pay for those answers again."""
    api = ScriptedAPI(default=long_answers)
    more: dict[str, Any] = {
        "lines": [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(40)],
        "folder": tmp_path,
        "output": str(tmp_path / "a.jsonl"),
        "api": api,
    }
    args = ("--dry-run", "--sample", "8", "--price", "0/1000", "--max-tokens", "1000")
    done = await batch(*args, **more)
    assert done.err == "asking 8 of 40 items, which costs money: at most $8.00\n"
    facts = facts_of(done)
    answered = [request for request in api.requests if request.path == "/v1/messages"]
    assert len(answered) == 8
    assert facts["items"] == "40, 8 of them answered already"
    assert re.match(r"about 3\.\dk tokens \(1\d\d ±\d% each, of 8 answers\); at most 32k tokens", facts["output"])
    assert re.match(r"about \$3\.\d\d: \$0\.00 for the input, \$3\.\d\d for the output; up to \$32\.00", facts["cost"])
    assert re.match(r"\d+ s or more, at 32 at once, \d\.\d s each", facts["time"])
    assert re.fullmatch(r"8 asked now for \$0\.\d\d; the run does not ask them again", facts["sample"])
    assert names(tmp_path) == ["a.jsonl.journal", "prompts.jsonl"]
    again = await batch(*args, **more)
    assert again.err == "all 8 items of the sample are answered already: this costs nothing\n"
    assert facts_of(again)["sample"] == "0 asked now for $0.00, 8 answered before; the run does not ask them again"
    run = await batch("--max-tokens", "1000", **more)
    assert run.code == 0
    assert run.err.startswith("40 items, 8 done before, at most 100 at once, about $")
    assert sum(request.path == "/v1/messages" for request in api.requests) == 40
    assert len(lines_of((tmp_path / "a.jsonl").read_text())) == 40


async def test_samples_that_fail_and_that_nothing_keeps(tmp_path: Path) -> None:
    """Without a journal the answers are not kept; without a price nothing is said of money; errors are counted."""
    api = ScriptedAPI(default=lambda request: [http_error(400)] if prompt_of(request) == "0" else [say("yes")])
    lines = [json.dumps(f"{n}") for n in range(3)]
    done = await batch("--dry-run", "--sample", "9", "--model", "mine", lines=lines, folder=tmp_path, api=api)
    assert done.err == "asking 3 of 3 items, which costs money: how much is not known, without --price\n"
    facts = facts_of(done)
    assert (
        facts["sample"] == "3 asked now, 1 without a whole answer; nothing keeps their answers: the run asks them again"
    )
    assert facts["cost"].startswith("not known")
    only = await batch("--dry-run", "--sample", "1", lines=['"0"'], folder=tmp_path, api=api)
    assert facts_of(only)["output"] == "at most 4.1k tokens (4096 each)"
    args = ("--dry-run", "--sample", "2", "--overwrite")
    wrong = await batch(*args, lines=lines, folder=tmp_path, output=str(tmp_path / "a"), api=api)
    assert wrong.code == 2
    assert "--overwrite would discard them" in wrong.err


async def test_a_sample_of_two_models_for_message_batches(tmp_path: Path) -> None:
    """Both are measured; the answers cost what streams do, and the run half of it, in the time that batches take."""
    api = ScriptedAPI(default=long_answers)
    args = ("-m", "a", "-m", "b", "--via", "batch", "--dry-run", "--sample", "8", "--price", "0/1000")
    rows = [{"id": f"q{n}", "prompt": f"question {n}"} for n in range(40)]
    facts = facts_of(await batch(*args, lines=rows, folder=tmp_path, api=api, output=str(tmp_path / "a.jsonl")))
    asked = [request.body["model"] for request in api.requests if request.path == "/v1/messages"]
    assert (len(asked), set(asked)) == (8, {"a", "b"})
    assert re.match(r"about \$[34]\.\d\d: ", facts["cost"])
    assert facts["time"] == "that of message batches: up to 24 hours, mostly much less"
    assert re.match(r"8 asked now for \$0\.[89]\d; ", facts["sample"])


async def test_a_sample_spends_no_more_than_it_said(tmp_path: Path) -> None:
    """A server that bills more than was asked for is stopped by the budget."""
    api = ScriptedAPI(default=[say("x"), usage(input_tokens=10, output_tokens=50_000)])
    lines = [json.dumps(f"{n}") for n in range(30)]
    args = ("--dry-run", "--sample", "30", "--max-tokens", "100", "--price", "0/1000", "--concurrency", "1")
    done = await batch(*args, lines=lines, folder=tmp_path, api=api)
    assert done.err.endswith("at most $3.00\n")
    assert sum(request.path == "/v1/messages" for request in api.requests) == 1
    assert "29 without a whole answer" in facts_of(done)["sample"]


# Status.


def write_job(path: Path, *, items: int | None = 6, failed: bool = True) -> None:
    with Journal(path) as journal:
        journal.note_run(items)
        for number in range(5):
            journal.start(f"q{number}", "", index=number)
        error = ts.OverloadedError("<b>full</b>", status_code=529)
        ends: list[dict[str, Any]] = [
            {"status": "ok", "stop_reason": "end_turn", "seconds": 2.5, "ttft": 0.5},
            {"status": "ok", "stop_reason": "max_tokens", "seconds": 1.0, "ttft": 0.25},
            {"status": "error" if failed else "ok", "error": error if failed else None, "seconds": 9.0},
            {"status": "refused" if failed else "ok"},
        ]
        for number, end in enumerate(ends):
            journal.end(f"q{number}", Outcome(id=f"q{number}", index=number, charges=(PAID,), **end))


async def test_status(tmp_path: Path) -> None:
    """By the output or by the journal; in words and as JSON; with what to run next."""
    path = tmp_path / "a.jsonl.journal"
    write_job(path)
    done = await run_cli("status", str(tmp_path / "a.jsonl"), "--price", "1/2")
    assert done.out.splitlines()[-3:] == [
        "next         the same command asks the 2 items left",
        "             with --retry-errors it asks the 2 items again that failed",
        "             with --retry-truncated and a greater --max-tokens the 1 answer again that were cut",
    ]
    facts = facts_of(done)
    assert re.fullmatch(rf"{re.escape(str(path))}: no run has it open, last written \d+ s ago", facts["journal"])
    assert facts["items"] == "2 of 6 done, 1 failed, 1 without a value, 2 left"
    assert (facts["failed"], facts["invalid"]) == ("1 OverloadedError", "1 refused")
    assert facts["tokens"] == "5.0k in, 2.5k out"  # the killed one counts as the others
    assert facts["cost"] == "$0.01, in all runs, $0.002 of it estimated"
    figures = json.loads((await run_cli("status", str(path), "--json")).out)
    assert (figures["ok"], figures["left"], figures["unfinished"], figures["failed"]) == (
        2,
        2,
        1,
        {"OverloadedError": 1},
    )
    assert figures["cost"] == pytest.approx(5 * (1000 * 2 + 500 * 10) / 1e6)
    assert (figures["in_use"], len(figures["next"])) == (False, 3)
    with Journal(path):
        running = await run_cli("status", str(path))
        assert "a run has it open" in running.out
        assert "next         nothing: a run is working on it\n" in running.out
    with path.open("ab") as file:
        file.write(b"what\n")
    assert "damaged      1 lines cannot be read" in (await run_cli("status", str(path))).out


async def test_status_of_other_jobs(tmp_path: Path) -> None:
    """Tables, jobs that are done, items of unknown number, prices that are not known, batches, and no journal."""
    write_job(tmp_path / "data.db.answers.journal", items=5, failed=False)
    with Journal(tmp_path / "data.db.answers.journal") as journal:
        journal.start("q4", "", index=4)
        journal.end("q4", Outcome(id="q4", index=4, status="ok", charges=(ts.Charge(model="mine", input=1),)))
    done = await run_cli("status", f"{tmp_path / 'data.db'}::answers")
    assert facts_of(done)["items"] == "5 of 5 done"
    assert "prices of mine are not; say --price" in done.out
    with Journal(tmp_path / "b") as journal:
        journal.start("q", "", index=0, custom_id="n-0")
        journal.note_batch({"record": "intent", "nonce": "n", "n": 1, "since": 1.0, "call": {}})
        journal.note_batch({"record": "created", "nonce": "n", "batch": "msgbatch_7"})
    facts = facts_of(await run_cli("status", str(tmp_path / "b")))
    assert (facts["batches"], facts["next"]) == (
        "not collected: msgbatch_7",
        "the same command collects 1 message batch",
    )
    assert (facts["items"], facts["tokens"]) == ("0 done, 1 unfinished", "none")
    for name, words in (("missing", "there is no"), ("p.jsonl", "is not a journal, and there is no")):
        if name != "missing":
            (tmp_path / name).write_text("{}\n")
        for command in (["status"], ["compact"], ["report", "-o", str(tmp_path / "r.html")]):
            none = await run_cli(*command, str(tmp_path / name))
            assert (none.code, words in none.err) == (2, True), none


def test_what_to_run_next() -> None:
    assert next_steps(Standing()) == []
    assert next_steps(Standing(left=None)) == ["the same command asks what is left of its input, if anything is"]
    assert next_steps(Standing(left=1)) == ["the same command asks the 1 item left"]
    assert next_steps(Standing(batches=2, left=5)) == ["the same command collects 2 message batches"]


# Compaction.


async def test_compact(tmp_path: Path) -> None:
    """The next run finds everything; refused while a run has it, and where it cannot be written."""
    api = ScriptedAPI([http_error(400)], default=echo)
    more: dict[str, Any] = {
        "lines": ['"a"', '"b"', '"c"'],
        "folder": tmp_path,
        "output": str(tmp_path / "a.jsonl"),
        "api": api,
    }
    assert (await batch(**more)).code == 3
    assert (await batch("--retry-errors", **more)).code == 0
    path = tmp_path / "a.jsonl.journal"
    before = json.loads((await run_cli("status", str(path), "--json")).out)
    with Journal(path):
        refused = await run_cli("compact", str(path))
        assert (refused.code, "in use" in refused.err) == (2, True)
    done = await run_cli("compact", str(tmp_path / "a.jsonl"))
    assert (done.code, done.out) == (0, "")
    assert re.search(r"journal: 3 items, 5 records left out, [0-9.k]+B before, [0-9.k]+B now\n", done.err), done
    after = json.loads((await run_cli("status", str(path), "--json")).out)
    assert {**before, "written_at": 0} == {**after, "written_at": 0}
    again = await batch(**more)
    assert "3 items, 3 done before" in again.err
    assert sum(request.path == "/v1/messages" for request in api.requests) == 4
    with path.open("ab") as file:
        file.write(b"what\n")
    assert "1 lines could not be read" in (await run_cli("compact", str(path))).err


# The report.


class Page(HTMLParser):
    """The elements of a page, and whatever would make a browser ask for something or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.dangers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            outside = name in ("src", "href", "xlink:href", "action", "data") and not (value or "").startswith("#")
            if outside or name.startswith("on") or ("url(" in (value or "") and "url(#" not in (value or "")):
                self.dangers.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


HOSTILE = (
    "<script>alert(1)</script>", "<img src=https://x.example onerror=alert(1)>", "</td></table><h1>", '" onload="x',
    "$\\frac{1}{0$", "&lt;b&gt;", "\x00\x1b[2J", "\ud800", "a" * 5000,
)  # fmt: skip


def test_nothing_that_was_said_becomes_html(tmp_path: Path) -> None:
    """Ids, classes of errors, models and names of files that were meant to harm are shown as they are."""
    path = tmp_path / "<i>a.journal"
    with Journal(path) as journal:
        for number, words in enumerate(HOSTILE):
            words = words.encode(errors="replace").decode()
            journal.start(words, "", index=0)
            error = ts.RecordedError(words, type=words)
            charges = (ts.Charge(model=words, input=1),)
            journal.end(words, Outcome(id=words, status="error", error=error, seconds=number, charges=charges))
    _report.write_report(path, tmp_path / "r.html", ts.Prices.of)
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.dangers == []
    assert page.names.isdisjoint({"script", "img", "h1 ", "iframe", "object", "link", "base", "form", "a", "i"})
    words = " ".join(page.words)
    assert "<script>alert(1)</script>" in words
    assert "&lt;b&gt;" in words
    assert "a" * 81 not in words
    assert "<i>a: how it went" in words
    assert not re.search(r"https?://(?!www\.w3\.org/)", html.unescape(re.sub(r"<td.*", "", text)))
    assert "default-src 'none'" in text
    assert text.count("<svg") == 4


async def test_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a run, and afterwards: the same page; its figures and tables are those of the job."""
    api = ScriptedAPI([http_error(400)], default=[pause(0.02), say("yes"), usage(input_tokens=7, output_tokens=5)])
    more: dict[str, Any] = {
        "lines": [{"id": f"q{n}", "prompt": f"{n}"} for n in range(5)],
        "folder": tmp_path, "output": str(tmp_path / "a.jsonl"), "api": api,
    }  # fmt: skip
    page = tmp_path / "r.html"
    assert (await batch("--report", str(page), **more)).code == 3
    later = tmp_path / "later.html"
    assert _report.run(str(tmp_path / "a.jsonl"), output=str(later), prices=()) == 0
    assert later.read_text() == page.read_text()
    words = [word.strip() for word in Page(page.read_text()).words if word.strip()]
    told = dict(itertools.pairwise(words))
    assert (told["answered"], told["failed"], told["output tokens"]) == ("4 of 5", "1", "20")
    assert told["BadRequestError"] == "1"
    assert sum(word in ("q0", "q1", "q2", "q3", "q4") for word in words) == 5
    assert _report.run(str(tmp_path / "a.jsonl"), output=str(tmp_path), prices=()) == 1
    assert "cannot write" in capsys.readouterr().err
    folder = await batch("--report", str(tmp_path), **more)
    assert (folder.code, "is a directory" in folder.err) == (2, True)
    gone = await batch("--report", str(tmp_path / "no" / "r.html"), **more)
    assert (gone.code, "there is no" in gone.err) == (2, True)
    nothing = await batch("--report", str(page), lines=['"a"'], folder=tmp_path)
    assert (nothing.code, "made of the journal" in nothing.err) == (2, True)


def test_a_report_of_nothing_and_of_what_was_left_out(tmp_path: Path) -> None:
    """An empty journal; one that was compacted; pauses; a line that cannot be read."""
    path, page = tmp_path / "j", tmp_path / "r.html"
    with Journal(path):
        pass
    _report.write_report(path, page, ts.Prices.of)
    assert "Nothing has ended yet" in page.read_text()
    os.mkfifo(tmp_path / "pipe")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as end:
        _report.write_report(path, tmp_path / "pipe", ts.Prices.of)
        assert end.read() == page.read_bytes()  # it goes through a pipe, and does not take its place
    assert "Nothing has been noted yet" in page.read_text()
    write_job(path)
    write_job(path)
    ts.compact_journal(path)
    with path.open("ab") as file:
        file.write(b'[]\nwhat\n{"record":"end","key":"late","status":"ok","at":4000000000,"seconds":1}\n')
    _report.write_report(path, page, ts.Prices.of)
    text = page.read_text()
    assert "left out of the journal" in text
    assert "Dashed lines" in text


def test_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What to install is told before anything is sent."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    for args in (["report", "a", "-o", "r"], ["batch", "a.jsonl", "-o", str(tmp_path / "a"), "--report", "r"]):
        with pytest.raises(SystemExit) as exit_:
            commands(args, standalone_mode=False)
        assert exit_.value.code == 2
        assert "pip install 'trio-stream[report]'" in capsys.readouterr().err


# On a terminal.


def on_paper(width: int = 60, height: int = 12) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, height=height, force_terminal=True, color_system=None), file


def test_a_canvas_draws_in_place() -> None:
    """The cursor waits at the first line; nothing wraps; what is printed above stays; at the end a new line begins."""
    console, file = on_paper()
    canvas = Canvas(console)
    canvas.begin()
    canvas.draw("one\ntwo")
    assert file.getvalue() == "\r\x1b[?7lone\x1b[K\ntwo\x1b[J\x1b[?7h\x1b[1A\r"
    file.truncate(file.seek(0))
    canvas.print_above("told")
    canvas.draw("x" * 99)
    assert file.getvalue() == f"\rtold\x1b[K\n\x1b[J\r\x1b[?7l{'x' * 59}\x1b[J\x1b[?7h\r"
    file.truncate(file.seek(0))
    canvas.leave_screen()
    canvas.finish()
    canvas.finish()
    assert file.getvalue() == "\n"


def test_a_canvas_that_has_the_whole_screen() -> None:
    """It is given back as it was, and what was told is printed then."""
    console, file = on_paper(height=3)
    canvas = Canvas(console, whole=True)
    canvas.begin()
    canvas.draw("1\n2\n3\n4")
    canvas.print_above("told")
    canvas.leave_screen()
    assert file.getvalue() == (
        "\x1b[?1049h" + "\x1b[H\x1b[?7l1\x1b[K\n2\x1b[J\x1b[?7h\x1b[1A\r" + "\x1b[?1049l" + "told\n"
    )


def call_of(number: int, **changes: Any) -> ts.LiveCall:
    fields: dict[str, Any] = {
        "id": number, "item": f"q{number}", "model": "m", "path": "", "lane": "batch", "state": ts.LiveState.STREAMING,
        "age": 9.0, "quiet": 1.5, "attempts": 1, "back_off": None, "error": None, "output_tokens": 12,
        "tokens_per_second": 8.0, "pace": 0.2,
    }  # fmt: skip
    return ts.LiveCall(**fields | changes)


def test_the_table_of_calls() -> None:
    """As many as there is room for; ids are no markup, and cannot move the cursor."""
    back_off = {
        "state": ts.LiveState.BACKING_OFF,
        "back_off": 3.0,
        "error": "OverloadedError",
        "tokens_per_second": None,
    }
    calls = [call_of(1, item="[red]\x1b[2J" + "x" * 50, **back_off, pace=None), *map(call_of, range(2, 30))]
    model = ts.LiveModel(
        model="m", states={ts.LiveState.STREAMING: 28, ts.LiveState.BACKING_OFF: 1}, tokens_per_second=1234.0,
        normal=40.0, retries=3, outcomes={},
    )  # fmt: skip
    snapshot = ts.LiveSnapshot(at=0.0, calls=tuple(calls), models=(model,), paused=None)
    console, file = on_paper(width=130)
    console.print(live_view(snapshot, height=6))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines[0] == "m: 28 streaming, 1 backing off · 1.2k tokens/s · normal is 40/s each · 3 retries"
    assert lines[1].split()[:3] == ["item", "state", "quiet"]
    assert lines[2].startswith("[red]␛[2Jxxx")
    assert "backing off 3 s  1.5 s" in lines[2]
    assert lines[2].endswith("OverloadedError")
    assert lines[3].split() == ["q2", "streaming", "1.5", "s", "9", "s", "1", "12", "8", "20%"]
    assert lines[5:] == ["and 26 more"]
    file.truncate(file.seek(0))
    two = ts.LiveSnapshot(at=0.0, calls=(call_of(1), call_of(2, model="n", item=None)), models=(), paused=None)
    console.print(live_view(two, height=20))
    assert " model  " in file.getvalue()
    file.truncate(file.seek(0))
    none = ts.LiveModel(model="", states={}, tokens_per_second=0.0, normal=None, retries=0, outcomes={})
    console.print(live_view(ts.LiveSnapshot(at=0.0, calls=(), models=(none,), paused=None), height=2))
    assert file.getvalue().strip() == "no model: none under way · 0 tokens/s"


async def test_live_on_a_terminal(tmp_path: Path) -> None:
    """The table has the whole screen while it runs; then the first line, what was told, and the report are there."""
    source = tmp_path / "p.jsonl"
    source.write_text("".join(f'{{"id": "q{n}", "prompt": "{n}"}}\n' for n in range(6)))
    api = ScriptedAPI([http_error(400)], default=lambda request: [say("one"), pause(1.2), *echo(request)])
    where = {"ANTHROPIC_BASE_URL": "", "ANTHROPIC_API_KEY": SECRET, "NO_COLOR": "1"}
    async with api.serve() as server:
        command = program("batch", str(source), "-o", str(tmp_path / "a.jsonl"), "--live")
        async with Running(command, terminal=(120, 30), **where | {"ANTHROPIC_BASE_URL": server.base_url}) as running:
            await running.read_until("of normal")
            assert await running.finish() == 3
    during, _, after = running.out.partition("\x1b[?1049l")
    assert during.startswith("\x1b[?1049h")
    assert re.search(r"q\d +streaming", without_styles(during))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", running.out), "there are colours"
    shown = without_styles(after).splitlines()
    assert shown[0] == "6 items, at most 100 at once"
    assert shown[1].startswith("item ")
    assert "next: with --retry-errors it asks the 1 item again that failed" in shown
    assert "streaming" not in after


async def test_live_needs_a_terminal_of_its_own(tmp_path: Path) -> None:
    """Elsewhere it is lines; with --progress plain it is a mistake."""
    done = await batch("--live", lines=['"a"'], folder=tmp_path)
    assert done.code == 0
    assert done.err.startswith("--live needs a terminal of its own: lines instead\n1 item, at most 100 at once\n")
    wrong = await batch("--live", "--progress", "plain", lines=['"a"'], folder=tmp_path)
    assert (wrong.code, "leave out --progress" in wrong.err) == (2, True)


async def test_answers_on_the_same_terminal(tmp_path: Path) -> None:
    """Where answers and progress share a terminal nothing is drawn between the answers, and each is a line."""
    source = tmp_path / "p.jsonl"
    source.write_text('"a"\n"b"\n')
    async with ScriptedAPI(default=echo).serve() as server:
        command = program("batch", str(source), "-o", "-")
        where = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": SECRET}
        async with Running(command, terminal=(200, 20), **where) as running:
            assert await running.finish() == 0
    shown = running.out.replace("\r", "").splitlines()
    assert "\x1b" not in running.out
    assert shown[0] == "2 items, at most 100 at once"
    assert [json.loads(line)["status"] for line in shown[1:3]] == ["ok", "ok"]
    assert shown[3].startswith("done 2/2")


# Help.


def test_the_examples_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of status, compact and report run as they stand."""
    monkeypatch.chdir(tmp_path)
    write_job(tmp_path / "answers.jsonl.journal", failed=False)
    write_job(tmp_path / "data.db.answers.journal")
    ran = 0
    for name in ("status", "compact", "report"):
        command = commands.commands[name]
        for example in re.findall(r"^  (trio-stream .*)$", command.help or "", re.MULTILINE):
            with pytest.raises(SystemExit) as exit_:
                commands(shlex.split(example)[1:], standalone_mode=False)
            assert exit_.value.code == 0, example
            ran += 1
        assert all(len(line) <= 100 for line in command.get_help(click.Context(command)).splitlines())
    assert ran == 4


# A day.


def row_of(request: RecordedRequest) -> list[Step]:
    return [pause(0.01), say('{"words": 3}'), usage(input_tokens=50, output_tokens=9), stop("end_turn")]


async def test_a_day(tmp_path: Path) -> None:
    """A table, a dry run, a run with a schema that is killed, a look at it, going on, and a report."""
    count = 2000 if LONG else 120
    source, output, page = tmp_path / "letters.csv", tmp_path / "answers.csv", tmp_path / "report.html"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "body"], *([f"l{n}", f"Dear all, {'word ' * (n % 40)}"] for n in range(count))])
    schema = tmp_path / "schema.json"
    schema.write_text(
        '{"type": "object", "properties": {"words": {"type": "integer"}}, "required": ["words"],'
        ' "additionalProperties": false}'
    )
    asked = ["batch", str(source), "-o", str(output), "--template", "Count: {body}", "--schema", str(schema)]
    api = ScriptedAPI(default=row_of)
    async with api.serve() as server:
        where = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": SECRET}
        plan = facts_of(await run_cli(*asked, "--dry-run", base_url=server.base_url))
        assert plan["items"] == str(count)
        assert names(tmp_path) == ["letters.csv", "schema.json"]
        async with Running(program(*asked, "--concurrency", "8"), **where) as running:
            await wait_for_lines(tmp_path / "answers.csv.rows", count // 3)
            during = json.loads((await run_cli("status", str(output), "--json")).out)
            running.process.kill()
            await running.process.wait()
        assert during["in_use"] is True
        assert count // 3 <= during["ok"] <= count
        killed = json.loads((await run_cli("status", str(output), "--json")).out)
        assert killed["in_use"] is False
        assert killed["ok"] + killed["left"] == count
        assert killed["next"] == [f"the same command asks the {killed['left']:,} items left"]
        with trio.fail_after(SECONDS):
            done = await run_cli(*asked, "--report", str(page), base_url=server.base_url)
    assert done.code == 0, done
    assert done.err.startswith(f"{count:,} items, {killed['ok']:,} done before, at most 100 at once, about $")
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["id"] for row in rows) == sorted(f"l{n}" for n in range(count))
    assert {(row["status"], row["json"]) for row in rows} == {("ok", '{"words":3}')}
    after = json.loads((await run_cli("status", str(output), "--json")).out)
    assert (after["ok"], after["left"], after["next"]) == (count, 0, [])
    answers = sum(request.path == "/v1/messages" for request in api.requests)
    assert count <= answers <= count + 8, "only what was under way was asked twice"
    assert f"{count:,} of {count:,}" in page.read_text()
