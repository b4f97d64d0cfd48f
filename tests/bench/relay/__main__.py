"""``python -m tests.bench.relay [--rounds N]``: run it, and write the table into ``docs/performance.md``.

What belongs here: the loads, the tabs, and the table. What does not: the servers (`serving`).

The API is a process of its own, and so is the server that is measured; the tabs are here. Needs `hypercorn`,
`starlette` and `sse-starlette` (the group ``bench-web``).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from tests.bench import report
from tests.bench.relay.serving import WAYS
from tests.bench.running import ROOT, say
from tests.bench.scenarios import Scenario

LOADS: Final = {
    "200 tabs, 20 events a second each": Scenario(name="paced", streams=200, deltas=100, every=0.05),
    "50 tabs, 100 events a second each": Scenario(name="quick", streams=50, deltas=500, every=0.01),
    "10 tabs, 2,000 events each as fast as they come": Scenario(name="burst", streams=10, deltas=2_000),
}
NAMES: Final = {
    "bare": "bare application",
    "relay": "`Relay`",
    "relay-delay": "`Relay`, `max_delay=0.1`",
    "starlette": "Starlette",
    "sse-starlette": "sse-starlette",
    "hub": "`Hub`",
}
REQUEST: Final = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process, which ends with its standard input."""
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", *arguments],
        cwd=ROOT,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        try:
            yield running
        finally:
            running.stdin.close()


def ask(running: subprocess.Popen[str], line: str = "") -> str:
    """The next line that a process prints, after it was given one, if any."""
    assert running.stdin is not None
    assert running.stdout is not None
    if line:
        running.stdin.write(line)
        running.stdin.flush()
    return running.stdout.readline()


async def read(port: int, tabs: int) -> None:
    """Have so many tabs read an answer each."""

    async def tab() -> None:
        last = b""
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(REQUEST)
            # Not to the end of the connection: some of these responses leave it open for good.
            while not last.endswith(b"\r\n0\r\n\r\n"):
                data = await stream.receive_some()
                last = (last + data)[-1000:]
                if not data:
                    break
        if b"message_stop" not in last:
            raise SystemExit(f"a tab got no whole answer: {last!r}")

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(tabs):
                nursery.start_soon(tab)


def measure(way: str, load: Scenario) -> float:
    """Microseconds of the server's CPU for each event."""
    with process("tests.bench.traffic", msgspec.json.encode(load).decode()) as api:
        api_url = f"http://127.0.0.1:{int(ask(api))}"
        with process("tests.bench.relay.serving", way, api_url) as server:
            port = int(ask(server))
            trio.run(read, port, 1)  # what is imported or compiled at first use
            before = float(ask(server, "\n"))
            trio.run(read, port, load.streams)
            return (float(ask(server, "\n")) - before) / load.events * 1e6


def run(rounds: int) -> dict[tuple[str, str], float]:
    """Measure every way under every load, a round at a time; the medians."""
    figures: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds):
        for text, load in LOADS.items():
            for way in WAYS:
                say(f"round {turn + 1} of {rounds}: {load.name}, {way} ...")
                figures.setdefault((text, way), []).append(figure := measure(way, load))
                say(f"{figure:.3g} us", end="\n")
    return {place: statistics.median(values) for place, values in figures.items()}


def table(figures: dict[tuple[str, str], float]) -> str:
    """The table, and when it was made."""
    rows = []
    for text in LOADS:
        bare = figures[text, "bare"]
        cells = [f"{report.number(figures[text, way])} ({figures[text, way] / bare:.2f})" for way in WAYS]
        rows.append([text, *cells])
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"{report.table(['', *(NAMES[way] for way in WAYS)], rows)}\n\n({date}; {report.machine()})"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.relay")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", default=str(ROOT / "docs/performance.md"), help="the page to write; - for none")
    options = parser.parse_args()
    text = table(run(options.rounds))
    print(text)
    if options.page != "-":
        page = Path(options.page)
        page.write_text(report.with_section(page.read_text(encoding="utf-8"), "relay", text), encoding="utf-8")


if __name__ == "__main__":
    main()
