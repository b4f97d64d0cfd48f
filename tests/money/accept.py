"""What is promised about money, beside what comes out: ``python -m tests.money.accept``, or ``make accept``.

What belongs here: one function for each line of the table, by the public calls alone, on a mock clock but for the first
line of results. What does not: the tests of the same (`tests/batch`), and the servers (`trio_stream.testing`).

``--quick`` takes less of everything. The exit status is 1 if a line is not as promised.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import trio
import trio.testing

import trio_stream as ts
from tests.bench import budgets, odd_servers
from trio_stream.batch import _via_batch
from trio_stream.testing import (
    Batches,
    BatchFault,
    PromptCache,
    RecordedRequest,
    ScriptedAPI,
    Step,
    fail,
    say,
    usage,
)

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 1024}
PRICES = ts.Prices.of("claude-sonnet-5-5")
SYSTEM = "You are a judge. " * 300


class Line(NamedTuple):
    """One line of the table."""

    what: str
    promised: str
    found: str
    kept: bool


class Server:
    """A scripted API that keeps the books: how often each prompt was answered, in a batch or in a stream."""

    def __init__(self, batches: Batches, **options: Any) -> None:
        self.answers: Counter[str] = Counter()
        self.api = ScriptedAPI(default=self._answer, batches=batches, **options)
        self.client = ts.Client(api_key="test", transport=self.api)

    def _answer(self, request: RecordedRequest) -> list[Step]:
        prompt = str(request.messages[-1]["content"])
        self.answers[prompt] += 1
        return [say(f"<{prompt}>", ttft=1.0)]

    @property
    def creations(self) -> int:
        return sum((each.method, each.path) == ("POST", "/v1/messages/batches") for each in self.api.requests)

    @property
    def streams(self) -> int:
        return sum(each.path == "/v1/messages" for each in self.api.requests)


def items(count: int) -> Iterator[ts.Item]:
    for number in range(count):
        yield ts.Item(f"prompt {number}", id=f"q{number}")


async def run(server: Server, count: int, journal: Path | None, **options: Any) -> tuple[Counter[str], ts.FanOutStats]:
    statuses: Counter[str] = Counter()
    options = {**PARAMS, "via": "batch", **options}
    async with ts.fan_out(server.client, items(count), journal=journal, **options) as results:
        async for outcome in results:
            statuses[outcome.status] += 1
    return statuses, results.stats


# The lines.


async def each_once(folder: Path, quick: bool) -> list[Line]:
    count = 1_000 if quick else 5_000
    server = Server(Batches())
    statuses, stats = await run(server, count, folder / "j", via=ts.ViaBatch(max_requests=(count - 1) // 3 + 1))
    assert PRICES is not None
    bill = sum(PRICES.cost(ts.Usage.from_wire(billed.usage)) for billed in server.api.batches.billed)
    probe = stats.cost or 0.0
    streamed = probe - bill
    once = set(server.answers.values()) == {1} and statuses == {"ok": count}
    return [
        Line(f"{count:,} items, 3 batches", "each asked once", f"{server.answers.total():,} answers", once),
        Line("cost beside the server's bill", "equal", f"${probe:.6f}, ${bill + streamed:.6f}", 0 <= streamed < 1e-3),
    ]


def throughput(quick: bool) -> Iterator[Line]:
    count = 20_000 if quick else 100_000
    command = [sys.executable, "-m", "tests.bench.via_batch", "--items", str(count)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    results = re.search(r"results +([\d,]+) a second, +([\d.]+) us", out)
    growth = re.search(r"(-?[\d.]+) MB more", out)
    assert results is not None
    assert growth is not None
    # Of one CPU: whatever else runs here, and the server itself, take their time too.
    rate, megabytes = 1e6 / float(results[2]), float(growth[1])
    yield Line(
        f"{count:,} results of 2 kB, noted in a journal",
        ">= 20,000 a second",
        f"{rate:,.0f} a second of CPU, {results[1]} by the clock",
        rate >= 20_000,
    )
    yield Line("memory for that", "+30 MB", f"{megabytes:+.1f} MB", megabytes <= 30)


class _Stop(trio.abc.Instrument):
    """Ends a run after so many steps of its tasks, as a kill does."""

    def __init__(self, steps: int) -> None:
        self.scope = trio.CancelScope()
        self._left = steps

    def after_task_step(self, task: object) -> None:
        self._left -= 1
        if not self._left:
            self.scope.cancel()


FAULTS: list[tuple[BatchFault, ...]] = [
    (),
    ("lost_answer",),
    ("lost_answer", "foreign"),
    ("foreign", "results_cut", "shuffled"),
    ("queue_full", "not_found"),
    ("lost_answer", "doubled", "errored"),
]


async def kills(folder: Path, quick: bool) -> list[Line]:
    jobs = 60 if quick else 1_000
    rng = random.Random(1)
    killed = lost = twice = 0
    with patch.object(_via_batch, "_LEAVE_SECONDS", 0):  # whoever is killed cancels no batch
        for number in range(jobs):
            faults = rng.choice(FAULTS)
            batches = Batches(seconds=rng.choice([20, 90]), list_lag=rng.choice([0, 120]), faults=faults)
            server, journal = Server(batches), folder / f"kill-{number}"
            via = ts.ViaBatch(probe=False, max_requests=2)
            for _ in range(rng.randint(1, 3)):
                stop = _Stop(rng.randint(1, 120))
                trio.lowlevel.add_instrument(stop)
                with stop.scope:
                    await run(server, 5, journal, via=via)
                trio.lowlevel.remove_instrument(stop)
                killed += stop.scope.cancelled_caught
                await trio.sleep(rng.choice([0, 50, 400]))
            statuses, _ = await run(server, 5, journal, via=via)
            lost += 5 - statuses["ok"] - statuses["cached"]
            twice += sum(count - 1 for count in server.answers.values())
            journal.unlink()
    return [
        Line(f"{killed:,} kills at any step, {jobs:,} jobs", "none lost", f"{lost} lost", lost == 0),
        Line("answers bought twice", "none (resending: 18 %)", f"{twice}", twice == 0),
    ]


async def detach(folder: Path, quick: bool) -> list[Line]:
    server = Server(Batches(seconds=3600))
    via = ts.ViaBatch(detach=True)
    codes: list[str] = []
    for pause in (0, 3600, 0):
        before = server.creations
        statuses, _ = await run(server, 50, folder / "j", via=via)
        codes.append(f"{server.creations - before} created, {statuses['skipped']} to come")
        await trio.sleep(pause)
    wanted = ["1 created, 49 to come", "0 created, 49 to come", "0 created, 0 to come"]
    return [
        Line("--detach, and again twice", "then 0 created", "; ".join(codes), codes == wanted),
    ]


async def deadline(folder: Path, quick: bool) -> list[Line]:
    count = 500 if quick else 5_000
    server = Server(Batches(seconds=100, cancel_seconds=10))
    via = ts.ViaBatch(deadline=40, probe=False)
    statuses, stats = await run(server, count, folder / "j", via=via)
    streamed = server.streams
    return [
        Line(
            f"deadline, {count * 2 // 5:,} of {count:,} done",
            f"{count * 3 // 5:,} streamed",
            f"{streamed:,} streamed, {stats.paid_twice} paid twice",
            abs(streamed - count * 3 / 5) <= count / 100 and not stats.paid_twice and statuses == {"ok": count},
        ),
    ]


async def leaving(folder: Path, quick: bool) -> list[Line]:
    server = Server(Batches(seconds=10_000))
    before = trio.lowlevel.current_statistics().tasks_living
    via = ts.ViaBatch(probe=False)
    async with ts.fan_out(server.client, items(9), journal=folder / "j", via=via, **PARAMS) as results:
        while not results.batches:
            await trio.sleep(1)
        began = trio.current_time()
    seconds = trio.current_time() - began
    left = trio.lowlevel.current_statistics().tasks_living - before
    cancelled = sum(each.path.endswith("/cancel") for each in server.api.requests)
    return [
        Line(
            "leaving the block",
            "cancelled within 5 s, no task left",
            f"{cancelled} cancelled in {seconds:.1f} s, {left} tasks left",
            cancelled == 1 and seconds <= 5 and not left,
        ),
    ]


def limits(quick: bool) -> Iterator[Line]:
    for cost, promised, median, most in (
        (0.1, "0.9 (1.17)", 1.05, 1.25),
        (1.0, "1.0 (1.07)", 1.05, 1.1),
        (20.0, "1.01 (1.02)", 1.05, 1.05),
    ):
        if quick and cost > 1:
            continue
        seeds = range(3 if quick else 20 if cost < 20 else 4)
        shares = sorted(budgets.play(cost, seed=seed).spent / cost for seed in seeds)
        middle = shares[len(shares) // 2]
        found = f"{middle:.2f} ({shares[-1]:.2f})"
        yield Line(f"budget of ${cost:g}, 100 at once: of it", promised, found, middle <= median and shares[-1] <= most)


async def cut_streams(folder: Path, quick: bool) -> list[Line]:
    counted = 0
    seen: Counter[str] = Counter()

    def answer(request: RecordedRequest) -> list[Step]:
        nonlocal counted
        prompt = str(request.messages[0]["content"])
        seen[prompt] += 1
        number = int(prompt.split()[1])
        tokens = 100 + number * 7 % 400
        cut = number % 10 < 3 and seen[prompt] == 1
        sent = tokens * 9 // 10 if cut else tokens
        counted += sent
        steps: list[Step] = [say("abc" * sent, *([fail("overloaded_error")] if cut else []))]
        return [*steps, usage(input_tokens=0, output_tokens=1 if cut else tokens)]

    client = ts.Client(api_key="test", transport=ScriptedAPI(default=answer))
    async with ts.fan_out(client, items(300), **PARAMS) as results:
        async for _ in results:
            pass
    off = results.stats.output_tokens / counted - 1
    return [
        Line("30 % cut at 90 %: the bill", "within 5 %", f"{off:+.1%}", abs(off) <= 0.05),
    ]


def bad_days(quick: bool) -> Iterator[Line]:
    promised = {
        "outage of 90 s": ("0 lost, 144 failed", lambda r: r.lost == 0 and r.failed <= 144 * 1.1),
        "outage of 600 s": ("0 lost", lambda r: r.lost == 0),
        "larger than the bucket": ("1 error, 181 s", lambda r: r.lost == 1 and r.seconds <= 181 * 1.1),
        "retry-after: 0": ("0 lost", lambda r: r.lost == 0),
        "limit: 0": ("394 s", lambda r: r.lost == 0 and r.seconds <= 394 * 1.1),
        "long answers": ("375 s", lambda r: r.lost == 0 and r.seconds <= 375 * 1.1),
    }
    for scenario in odd_servers.scenarios():
        if quick and scenario.name == "outage of 600 s":
            continue
        sentence, holds = promised[scenario.name]
        result = odd_servers.play(scenario)
        found = f"{result.lost} lost, {result.failed} failed, {result.seconds:.0f} s"
        yield Line(scenario.name, sentence, found, holds(result))


async def cache(folder: Path, quick: bool) -> list[Line]:
    lines: list[Line] = []
    for via in ("stream", "batch"):
        kept = PromptCache()
        server = Server(Batches(seconds=600), prompt_cache=kept)
        way: Any = via if via == "stream" else ts.ViaBatch(probe=False)
        _, stats = await run(server, 500, None, via=way, cache="5m", system=SYSTEM)
        saved = 0.0 if stats.costs is None else stats.costs.saved_by_cache
        found = f"{kept.writes} write, {kept.reads} reads, ${saved:.2f} saved"
        lines.append(
            Line(f"--cache, 500 items, {via}", "1 write, 499 reads", found, (kept.writes, kept.reads) == (1, 499))
        )
    return lines


def lines(*, quick: bool) -> Iterator[Line]:
    """All lines, one after another."""
    yield from _play(each_once, quick)
    yield from throughput(quick)
    for of in (kills, detach, deadline, leaving):
        yield from _play(of, quick)
    yield from limits(quick)
    yield from _play(cut_streams, quick)
    yield from bad_days(quick)
    yield from _play(cache, quick)


def _play(function: Callable[[Path, bool], Awaitable[list[Line]]], quick: bool) -> list[Line]:
    """Run a function on a mock clock, with a folder of its own."""

    async def main(folder: Path) -> list[Line]:
        return await function(folder, quick)

    with tempfile.TemporaryDirectory() as folder:
        return trio.run(main, Path(folder), clock=trio.testing.MockClock(autojump_threshold=0))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    options = parser.parse_args()
    failed = 0
    print("| | promised | found | |")
    print("|---|---|---|---|")
    for line in lines(quick=options.quick):
        failed += not line.kept
        print(f"| {line.what} | {line.promised} | {line.found} | {'' if line.kept else 'NOT KEPT'} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
