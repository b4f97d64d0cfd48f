"""The benchmark itself, in small: its clients read what the server sends, and the report has what was measured.

What belongs here: that a run would work and says what it found. What does not: any figure; those are ``make bench``'s.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import against, report
from tests.bench.aims import AIMS
from tests.bench.running import Results, Runner, certificates
from tests.bench.scenarios import CONTENDERS, SCENARIOS, SWEEPS, WAYS, Scenario, turns

SMALL = Scenario(name="small", streams=3, deltas=20, repeats=2)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with certificates() as folder:
        yield folder


def runner(folder: Path, **options: Path) -> Runner:
    return Runner(python=sys.executable, sdk_python=sys.executable, certificates=folder, **options)


@pytest.mark.parametrize("client", ["floor", "bare", "blocking", *WAYS])
def test_a_client_reads_every_event(client: str, folder: Path) -> None:
    """It fails by itself where events are missing, or the message is not whole."""
    figures = runner(folder).run(SMALL, client)
    assert figures["cpu_us_per_event"] > 0
    assert figures["wall_s"] > 0


@pytest.mark.parametrize("client", ["floor", "bare", "ours"])
def test_a_client_reads_every_event_over_tls(client: str, folder: Path) -> None:
    """Each event comes by itself, in a record of its own."""
    scenario = Scenario(name="small", streams=3, deltas=20, every=0.001, tls=True)
    assert runner(folder).run(scenario, client)["cpu_us_per_event"] > 0


def test_another_library_is_read_by_these_clients(folder: Path, tmp_path: Path) -> None:
    """Of another checkout nothing is taken but ``trio_stream``."""
    package = tmp_path / "trio_stream"
    package.mkdir()
    (package / "__init__.py").write_text("from pathlib import Path\nPath(__file__).with_name('imported').touch()\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("raise AssertionError\n")
    with against.library_of(tmp_path) as library:
        figures = runner(folder, library=library).run_import("ours", "trio_stream")
    assert (package / "imported").exists()
    assert figures["cpu_s"] > 0


def test_only_a_checkout_can_be_compared_with(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no checkout"), against.library_of(tmp_path):
        pass


class Versions(Runner):
    """Figures that are known, and the order in which they were asked for."""

    def __init__(self, name: str, cpu: list[float], asked: list[str]) -> None:
        self.name = name
        self.cpu = iter(cpu)
        self.asked = asked

    def run(self, scenario: Scenario, contender: str) -> dict[str, float]:
        self.asked.append(self.name)
        return {"cpu_us_per_event": next(self.cpu), "after_cancel": 0.0}

    def run_import(self, contender: str, module: str) -> dict[str, float]:
        return {"cpu_s": 0.1, "mb": 20.0}


def test_two_versions_take_turns() -> None:
    asked: list[str] = []
    now, before = Versions("now", [1.0, 3.0, 4.0], asked), Versions("before", [2.0, 2.0, 2.0], asked)
    scenario = Scenario(name="small", streams=1, deltas=1)
    comparisons = against.compare(now, before, [scenario], rounds=3)
    assert asked == ["now", "before", "before", "now", "now", "before"]
    cpu, after_cancel, *imports = comparisons
    assert (cpu.what, cpu.medians, cpu.ratio, cpu.range) == ("small, ours", (2.0, 3.0), 1.5, (0.5, 2.0))
    assert (after_cancel.ratio, after_cancel.range) == (None, None)  # there is nothing to divide by
    assert [comparison.ratio for comparison in imports] == [1.0, 1.0]
    lines = against.show(comparisons, Path("other")).splitlines()
    assert len(lines) == 2 + len(comparisons)
    assert lines[2].split()[-5:] == ["3", "1.500", "0.50", "to", "2.00"]


def test_who_reads_what() -> None:
    loads = {scenario.name: turns(scenario) for scenario in SCENARIOS}
    assert loads["paced"] == CONTENDERS
    assert set(loads["burst"]) == {*CONTENDERS, *WAYS}
    assert set(loads["wide"]) == {*CONTENDERS, "sdk_few_idle"}
    assert loads["scale"] == ("floor", "bare", "ours")
    assert loads["cancel"] == ("ours", "httpx_sse_msgspec", "sdk")


def measured(*, ours: float) -> Results:
    """Results in which everything costs 10, but for ours."""
    results = Results()
    figures = ("cpu_us_per_event", "wall_s", "kb_per_stream", "latest_tick_ms", "after_cancel", "median_ms", "p99_ms")
    for scenario in (*SCENARIOS, *(one for sweep in SWEEPS.values() for one in sweep)):
        for client in turns(scenario):
            results.add(scenario.name, client, dict.fromkeys(figures, ours if client in WAYS else 10.0))
    for client, cost in {"ours": ours, "httpx_sse_msgspec": 10.0, "sdk": 10.0}.items():
        results.add("import", client, {"cpu_s": cost, "mb": cost})
    return results


def page(results: Results) -> str:
    return report.page(results, date=datetime.date(2026, 1, 2), rounds=5, ours={"trio": "1"}, sdk={"anthropic": "2"})


def test_the_page_says_for_each_aim_whether_it_is_met() -> None:
    good, bad = page(measured(ours=0.1)), page(measured(ours=1000.0))
    for aim in AIMS:
        assert any(line.startswith(f"| {aim.what} |") and line.endswith("| yes |") for line in good.splitlines())
    # A message of twice the length costs twice as much in both, whatever that is.
    assert bad.count("| **no** |") == len(AIMS) - 2


def test_the_page_shows_every_load_and_every_way() -> None:
    text = page(measured(ours=20.0))
    assert "{" not in text
    for scenario in SCENARIOS:
        if scenario.task == "read":
            assert f"| **{scenario.name}**: {report.LOADS[scenario.name]} | 10.0 | 10.0 | 20.0 |" in text
    rows = [line for line in text.splitlines() if line.endswith("| 20.0 | 2.00 |")]
    assert len(rows) == len(WAYS)


def test_the_picture_has_a_line_for_each_contender() -> None:
    picture = ElementTree.fromstring(report.picture(measured(ours=20.0)))
    lines = picture.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == len(CONTENDERS) * len(SWEEPS)
