"""The end of ``trio-stream batch``: the report, the summary, and the prices they reckon with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests import processes
from tests.forked import SECONDS
from tests.processes import PYTHON
from trio_stream.batch import FanOutStats, RecordedError
from trio_stream.cli._batch_commands import batch as batch_command
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_prices import make_lookup
from trio_stream.cli._batch_report import Tally
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, disconnect, http_error, pause, say, stop, usage

from .running import SECRET, run_cli
from .test_batch import batch, prompt_of

CHARGE = ts.Charge(model="claude-sonnet-5-5", output=1)


def report(*outcomes: ts.Outcome, max_cost: float | None = None, **figures: Any) -> list[str]:
    tally = Tally(ts.Prices.of)
    for outcome in outcomes:
        tally.add(outcome)
    return tally.lines(FanOutStats(**figures), max_cost=max_cost)


def test_a_run_in_which_everything_happened():
    """Statuses, stop reasons and errors by number; money by kind; what was saved and what was spent before."""
    costs = ts.Costs(
        input=1.0,
        output=2.5,
        cache_write=0.04,
        cache_read=0.000021,
        web_search=0.25,
        saved_by_batch=2,
        saved_by_cache=-0.1,
    )
    outcomes = [
        *[ts.Outcome(status="ok", stop_reason="end_turn", charges=(CHARGE,))] * 3,
        ts.Outcome(status="ok", stop_reason="max_tokens"),
        ts.Outcome(status="cached", stop_reason="refusal"),
        ts.Outcome(status="error", error=ts.OverloadedError("full", status_code=529)),
        ts.Outcome(status="error", error=RecordedError("odd", type="OddError")),
        ts.Outcome(status="timeout", error=RecordedError("odd", type="OddError")),
        ts.Outcome(status="skipped", error=ValueError("stopped")),
    ]
    assert report(
        *outcomes, max_cost=20.0, ok=4, cached=1, errors=2, timeouts=1, skipped=1, input_tokens=1_200_000,
        output_tokens=240_000, cache_write_tokens=1000, cache_read_tokens=50, cost=costs.total, costs=costs,
        cost_before=3.0, cost_failed=0.5, cost_estimated=0.2,
    ) == [
        "items: 4 ok, 1 answered before, 2 failed, 1 out of time, 1 skipped",
        "stop reasons: 3 end_turn, 1 max_tokens (truncated), 1 refusal (refused)",
        "errors: 2 OddError, 1 OverloadedError",
        "tokens: 1.2M in, 240k out, 1.0k written to the cache, 50 read from the cache",
        (
            "cost: $3.79: $1.00 input, $2.50 output, $0.04 cache writes, $0.000021 cache reads, $0.25 web searches, "
            "$0.50 of it for attempts that failed, $0.20 of it estimated, as answers were cut"
        ),
        "saved: $2.00 by batches, $0.10 lost by the prompt cache",
        "before: $3.00 in earlier runs; $6.79 together, of $20",
    ]  # fmt: skip


def test_a_run_in_which_nothing_happened():
    """What is 0 is not told."""
    assert report() == []
    assert report(ok=1, output_tokens=3, cost=0.0, costs=ts.Costs()) == ["items: 1 ok", "tokens: 3 out", "cost: $0.00"]
    assert report(cached=1, cost=0.0, cost_before=0.5) == [
        "items: 1 answered before",
        "before: $0.50 in earlier runs; $0.50 together",
    ]


def test_costs_that_are_not_known():
    """The report says which price is missing."""
    unknown = ts.Outcome(status="ok", charges=(ts.Charge(model="mine"), CHARGE))
    assert report(unknown, ok=1, output_tokens=3)[-1] == (
        "cost: not known, as the prices of mine are not; say --price MODEL=INPUT/OUTPUT"
    )
    assert "the prices of a model of an earlier run are not" in report(ok=1, output_tokens=3)[-1]


async def test_the_report_and_the_summary(tmp_path: Path) -> None:
    """Both have what the run cost, and what became of its items; a second run counts the first."""

    def answer(request: RecordedRequest) -> list[Step]:
        number = int(prompt_of(request))
        if number == 3:
            return [http_error(400)]
        return [say("x"), usage(input_tokens=1000, output_tokens=100_000), stop("max_tokens" if number else "refusal")]

    summary = tmp_path / "summary.json"
    lines = [json.dumps(f"{n}") for n in range(4)]
    more: dict[str, Any] = {"lines": lines, "folder": tmp_path, "output": str(tmp_path / "a.jsonl")}
    done = await batch("--summary", str(summary), api=ScriptedAPI(default=answer), **more)
    assert done.code == 3
    shown = done.err.splitlines()
    assert "items: 3 ok, 1 failed" in shown
    assert "stop reasons: 2 max_tokens (truncated), 1 refusal (refused)" in shown
    assert "errors: 1 BadRequestError" in shown
    assert "cost: $3.01: $0.006 input, $3.00 output" in shown
    figures = json.loads(summary.read_text())
    assert (figures["truncated"], figures["refused_by_model"], figures["errors_by_class"]) == (
        2,
        1,
        {"BadRequestError": 1},
    )
    assert figures["stop_reasons"] == {"max_tokens": 2, "refusal": 1}
    assert (figures["cost"], figures["cost_before"]) == pytest.approx((3.006, 0))
    assert figures["costs"]["output"] == pytest.approx(3)
    assert figures["costs"]["saved_by_cache"] == 0
    again = await batch("--retry-errors", "--max-cost", "20", api=ScriptedAPI(default=answer), **more)
    assert "before: $3.01 in earlier runs; $3.01 together, of $20" in again.err.splitlines()
    assert " · $3.01 of $20 · " in again.err
    quiet = await batch("--progress", "none", api=ScriptedAPI(default=answer), **more)
    assert quiet.err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this device")
@pytest.mark.parametrize(
    ("option", "answer", "code"),
    [("--summary", say("x"), 1), ("--report", say("x"), 1), ("--summary", http_error(400), 3)],
)
async def test_figures_that_cannot_be_written(tmp_path: Path, option: str, answer: Step, code: int) -> None:
    """A run does not say that all went well, and what went worse is still told; a device is never replaced by a file."""
    output, api = str(tmp_path / "a.jsonl"), ScriptedAPI(default=[answer])
    done = await batch(option, "/dev/full", lines=['"1"'], folder=tmp_path, output=output, api=api)
    assert (done.code, f"cannot write the {option[2:]}: No space left on device" in done.err) == (code, True), done
    assert await trio.Path("/dev/full").is_char_device()


_LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
runpy.run_module("trio_stream.cli", run_name="__main__")
"""


async def test_a_summary_that_is_cut_is_replaced_by_the_next_run(tmp_path: Path) -> None:
    """Half of one, where the disk is full, would be taken for a file of somebody else."""
    (tmp_path / "p").write_text('"1"')
    args = ["batch", str(tmp_path / "p"), "-o", "-", "--summary", str(tmp_path / "s"), "--progress", "none"]
    async with ScriptedAPI(default=[say("x")]).serve() as server:
        env = processes.environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET)
        with trio.fail_after(SECONDS):
            cut = await trio.run_process(
                [PYTHON, "-W", "error", "-c", _LIMITED, *args],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=env,
            )
        assert (cut.returncode, (tmp_path / "s").read_bytes()) == (1, b""), cut
        assert b"cannot write the summary: File too large" in cut.stderr
        done = await run_cli(*args, base_url=server.base_url)
    assert (done.code, json.loads((tmp_path / "s").read_bytes())["ok"]) == (0, 1)


async def test_max_cost_counts_the_whole_life_of_a_job(tmp_path: Path) -> None:
    """The same command again spends nothing more; a higher limit goes on."""
    api = ScriptedAPI(default=[say("x"), usage(input_tokens=0, output_tokens=1000)])
    lines = [json.dumps(f"{n}") for n in range(9)]
    more: dict[str, Any] = {"lines": lines, "folder": tmp_path, "output": str(tmp_path / "a.jsonl"), "api": api}
    for limit, code, requests in (("0.051", 4, 5), ("0.051", 4, 5), ("1", 0, 9)):
        done = await batch("--max-cost", limit, "--max-tokens", "1000", **more)
        assert (done.code, len(api.requests)) == (code, requests), done


@pytest.mark.parametrize(
    ("given", "model", "expected"),
    [
        (["3/15"], "mine", (3, 15, None)),
        (["3/15/0.5"], "claude-sonnet-5-5", (3, 15, 0.5)),
        (["claude-=7/8", "claude-opus=9/9"], "claude-opus-5", (9, 9, None)),
        (["claude-=7/8", "3/15"], "claude-haiku-5-5", (7, 8, None)),
        (["mine=3/15"], "claude-haiku-5-5", (0.1, 0.5, 0.01)),
    ],
)
def test_prices_on_the_command_line(given: list[str], model: str, expected: tuple[float, float, float | None]) -> None:
    """The longest beginning of the model's name counts; models that have none have the built-in prices."""
    args = [word for price in given for word in ("--price", price)]
    typed = batch_command.make_context("batch", ["in.jsonl", "-o", "-", *args]).params
    prices = make_lookup(BatchOptions(**typed))(model)
    assert prices is not None
    assert (prices.input, prices.output, prices.cache_read) == expected


async def test_a_cut_answer_is_marked_in_the_report(tmp_path: Path) -> None:
    """What the API did not tell is named as an estimate."""
    api = ScriptedAPI([say("x" * 270_000, pause(0.01), disconnect())], default=[say("x"), usage(output_tokens=3)])
    done = await batch(lines=['"a"'], folder=tmp_path, api=api)
    assert "$1.00 of it for attempts that failed, $1.00 of it estimated, as answers were cut" in done.err


async def test_an_unknown_price_of_a_pipe() -> None:
    """Of a pipe only the model that is asked by default is known before anything is sent."""
    api = ScriptedAPI(default=[say("x")])
    async with api.serve() as server:
        words = ["batch", "-", "-o", "-", "--model", "mine", "--max-cost", "1"]
        done = await run_cli(*words, stdin=b'"x"\n', base_url=server.base_url)
    assert (done.code, done.out, api.requests) == (1, "", [])
    assert "the prices of 'mine', which are not known" in done.err
