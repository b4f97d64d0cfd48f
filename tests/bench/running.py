"""Running the contenders: each in a process of its own, in turn, against a server process of its own.

What belongs here: starting processes, and collecting what they print. What does not: what is measured (`scenarios`,
`clients`), and what it means (`report`).
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import trustme

from tests.bench.scenarios import CONTENDERS, Scenario, turns

ROOT = Path(__file__).parents[2]
SLOW_CPU_SECONDS = 12.0
"""A contender that takes more than this for one turn gets no other: the ratio is large enough as it is."""

TIMEOUT_SECONDS = 300.0

Figures = dict[str, float]


class Results:
    """What was measured, turn by turn."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], list[Figures]] = {}

    def add(self, scenario: str, contender: str, figures: Figures) -> None:
        """Note one turn."""
        self._turns.setdefault((scenario, contender), []).append(figures)

    def turns(self, scenario: str, contender: str) -> int:
        """How many turns there were."""
        return len(self._turns.get((scenario, contender), ()))

    def median(self, scenario: str, contender: str, figure: str) -> float | None:
        """The median of a figure over all turns; None if it was not measured."""
        values = [turn[figure] for turn in self._turns.get((scenario, contender), ()) if figure in turn]
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, above: str, below: str, figure: str = "cpu_us_per_event") -> float | None:
        """How many times the median of one contender is that of another."""
        dividend, divisor = self.median(scenario, above, figure), self.median(scenario, below, figure)
        return None if dividend is None or not divisor else dividend / divisor


class Runner:
    """Runs contenders, ours and those beside it in one environment, the official SDK in another.

    Args:
      python: The interpreter of the first environment.
      sdk_python: The interpreter of the other.
      certificates: What `certificates` made.
      library: A folder that holds ``trio_stream``, if it is not to be this checkout's.
    """

    def __init__(self, *, python: str, sdk_python: str, certificates: Path, library: Path = ROOT) -> None:
        self._python = python
        self._sdk_python = sdk_python
        self._certificates = certificates
        self._environ = {
            name: value
            for name, value in os.environ.items()
            # A proxy would be used, and compiling at each start be measured, by some and not by others.
            if not name.startswith("PYTHON") and not name.lower().endswith("_proxy")
        }
        self._environ["PYTHONPATH"] = os.pathsep.join((str(library), str(ROOT)))

    def run(self, scenario: Scenario, contender: str) -> Figures:
        """One turn of one contender."""
        with self._server(scenario) as url:
            authority = str(self._certificates / "authority.pem") if scenario.tls else ""
            module = f"tests.bench.clients.{contender}"
            return self._measure(contender, module, msgspec.json.encode(scenario).decode(), url, authority)

    def run_import(self, contender: str, module: str) -> Figures:
        """Import a library once."""
        return self._measure(contender, "tests.bench.clients.importing", module)

    def versions(self, contender: str, *distributions: str) -> dict[str, str]:
        """The versions in a contender's environment; those that are not there are left out."""
        program = (
            "import sys, json, platform\nfrom importlib.metadata import distributions\n"
            "found = {d.name: d.version for d in distributions()}\n"
            "wanted = {name: found[name] for name in sys.argv[1:] if name in found}\n"
            "print(json.dumps({'Python': platform.python_version(), **wanted}))"
        )
        done = subprocess.run(
            [self._python_of(contender), "-c", program, *distributions], capture_output=True, text=True, check=True
        )
        versions: dict[str, str] = json.loads(done.stdout)
        return versions

    def _python_of(self, contender: str) -> str:
        return self._sdk_python if contender.startswith("sdk") else self._python

    def _measure(self, contender: str, *arguments: str) -> Figures:
        done = subprocess.run(
            [self._python_of(contender), "-P", "-m", *arguments],
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        figures: Figures = json.loads(done.stdout)
        return figures

    @contextlib.contextmanager
    def _server(self, scenario: Scenario) -> Iterator[str]:
        certificate = [str(self._certificates / "server.pem")] if scenario.tls else []
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.bench.traffic", msgspec.json.encode(scenario).decode(), *certificate],
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            try:
                port = int(server.stdout.readline())
                yield f"{'https' if scenario.tls else 'http'}://127.0.0.1:{port}"
            finally:
                server.stdin.close()


@contextlib.contextmanager
def certificates() -> Iterator[Path]:
    """A folder with a certificate authority and a server's certificate and key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(path / "authority.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path / "server.pem")
        yield path


def run_in_turn(runner: Runner, results: Results, scenarios: Sequence[Scenario], *, rounds: int) -> None:
    """Run every contender in every scenario, a round at a time, so that what disturbs a round disturbs all alike."""
    slow: set[tuple[str, str]] = set()
    for turn in range(rounds):
        for scenario in scenarios:
            for contender in turns(scenario):
                if (scenario.name, contender) in slow or turn >= scenario.most_rounds:
                    continue
                say(f"round {turn + 1} of {rounds}: {scenario.name}, {contender} ...")
                figures = runner.run(scenario, contender)
                results.add(scenario.name, contender, figures)
                say(", ".join(f"{name} {value:.4g}" for name, value in figures.items()), end="\n")
                if is_slow(scenario, figures):
                    slow.add((scenario.name, contender))


def is_slow(scenario: Scenario, figures: Figures) -> bool:
    """Whether a turn took so much CPU that another is not worth its time."""
    return figures.get("cpu_us_per_event", 0.0) * scenario.events / 1e6 > SLOW_CPU_SECONDS


def run_sweep(runner: Runner, results: Results, scenarios: Iterable[Scenario], *, rounds: int) -> None:
    """Run scenarios of growing size; a contender for which one was slow is spared the larger ones."""
    left = set(CONTENDERS)
    for scenario in scenarios:
        for turn in range(rounds):
            for contender in [name for name in CONTENDERS if name in left]:
                say(f"picture, round {turn + 1} of {rounds}: {scenario.name}, {contender} ...")
                figures = runner.run(scenario, contender)
                results.add(scenario.name, contender, figures)
                say(f"{figures['cpu_us_per_event']:.4g} us", end="\n")
                if is_slow(scenario, figures):
                    left.discard(contender)


def run_imports(runner: Runner, results: Results, *, rounds: int) -> None:
    """Import each library, after once for its compiled files."""
    libraries = {"ours": "trio_stream", "sdk": "anthropic", "httpx_sse_msgspec": "httpx"}
    for turn in range(-1, rounds):
        for contender, module in libraries.items():
            figures = runner.run_import(contender, module)
            if turn >= 0:
                results.add("import", contender, figures)


def say(text: str, *, end: str = " ") -> None:
    """Progress, on standard error."""
    print(text, end=end, file=sys.stderr, flush=True)
