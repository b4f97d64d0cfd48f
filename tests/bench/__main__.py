"""``python -m tests.bench [--quick] [--against CHECKOUT]``: run the benchmark; in full, write ``docs/performance.md``.

What belongs here: the order of things. What does not: everything else.

Runs in the environment that has trio_stream, httpx-sse, trustme and nothing of the extra ``cli``.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from pathlib import Path

from tests.bench import against, report
from tests.bench.running import (
    ROOT,
    Results,
    Runner,
    certificates,
    run_imports,
    run_in_turn,
    run_sweep,
    say,
)
from tests.bench.scenarios import QUICK, SCENARIOS, SWEEPS, Scenario

ROUNDS = 5
SWEEP_ROUNDS = 2


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="small loads, one round, under a minute; writes nothing")
    parser.add_argument(
        "--only", action="append", metavar="SCENARIO", help="this scenario (again for more); writes nothing"
    )
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} by default, 1 with --quick")
    parser.add_argument("--sdk-python", default=str(ROOT / ".venv-sdk/bin/python"), help="where the official SDK is")
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="compare with the library of this checkout; writes nothing"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md", help="what to write")
    options = parser.parse_args()
    scenarios = QUICK if options.quick else SCENARIOS
    if options.only:
        scenarios = tuple(scenario for scenario in scenarios if scenario.name in options.only)
    rounds = options.rounds or (1 if options.quick else ROUNDS)

    results = Results()
    began = time.monotonic()
    with certificates() as folder:
        runner = Runner(python=sys.executable, sdk_python=options.sdk_python, certificates=folder)
        if options.against:
            with against.library_of(options.against) as library:
                before = Runner(
                    python=sys.executable, sdk_python=options.sdk_python, certificates=folder, library=library
                )
                comparisons = against.compare(runner, before, scenarios, rounds=rounds)
            say(f"{time.monotonic() - began:.0f} s", end="\n")
            print(against.show(comparisons, options.against))
            return
        run_in_turn(runner, results, scenarios, rounds=rounds)
        if not options.only:
            run_imports(runner, results, rounds=1 if options.quick else ROUNDS)
        if not options.only and not options.quick:
            for sweep in SWEEPS.values():
                run_sweep(runner, results, sweep, rounds=min(rounds, SWEEP_ROUNDS))
    say(f"{time.monotonic() - began:.0f} s", end="\n")

    print(report.load_table(results, scenarios, {scenario.name: describe(scenario) for scenario in scenarios}))
    print(report.way_table(results))
    if not options.quick:  # the aims are for loads of full size
        print(report.aim_table(results))
    if not options.only and not options.quick:
        write(options.page, results, runner, rounds)


def describe(scenario: Scenario) -> str:
    """A load in a few words, for the terminal."""
    pace = f"{scenario.every * 1e3:g} ms apart" if scenario.every else "as fast as they come"
    return f"{scenario.streams:,} streams, {scenario.deltas + 5:,} events {pace}"


def write(page: Path, results: Results, runner: Runner, rounds: int) -> None:
    """Write the page and its picture."""
    ours = runner.versions("ours", "trio", "httpx", "httptools", "msgspec", "httpx-sse", "rich", "click")
    sdk = runner.versions("sdk", "anthropic", "httpx2", "pydantic", "trio")
    date = datetime.datetime.now(tz=datetime.UTC).date()
    before = page.read_text(encoding="utf-8")
    text = report.page(results, date=date, rounds=rounds, ours=ours, sdk=sdk)
    for section in report.SECTIONS:  # other commands measure them
        text = report.with_section(text, section, report.section_of(before, section))
    page.write_text(text, encoding="utf-8")
    page.with_suffix(".svg").write_text(report.picture(results), encoding="utf-8")
    say(f"{page} and {page.with_suffix('.svg').name} written", end="\n")


if __name__ == "__main__":
    main()
