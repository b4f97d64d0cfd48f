"""What the instruments of this library cost: ``python -m tests.bench.instruments``.

What belongs here: streams that one instrument is told of, beside the same streams without any, in turn; and a snapshot
of many calls. What does not: any network; the scripted API is in memory, and its part is in both, so it falls out of
the differences.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import trio
import trio.testing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trio_stream as ts
from tests.bench import report
from trio_stream import testing
from trio_stream.otel import OpenTelemetry
from trio_stream.testing import ScriptedAPI, say, stall

PAGE = Path(__file__).parents[2] / "docs/performance.md"
ROUNDS = 5
STREAMS = 30
DELTAS = 250
CALLS = 500

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
}


class Watched(NamedTuple):
    """A way of watching.

    Attributes:
      name: What is shown.
      make: Makes the instruments, in a folder for their files.
      a_stream: The microseconds that it may cost a stream, by the specification; None where it says nothing.
      an_event: The same for an event.
    """

    name: str
    make: Callable[[Path], list[ts.Instrument]]
    a_stream: float | None = None
    an_event: float | None = None


def traced(folder: Path) -> list[ts.Instrument]:
    """Spans for an exporter of the SDK."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    return [OpenTelemetry(provider)]


def recorded(folder: Path) -> list[ts.Instrument]:
    """A recording in a new file."""
    return [testing.record(folder / f"{time.monotonic_ns()}.jsonl")]


NOBODY = Watched("nobody", lambda folder: [])
WAYS = (
    NOBODY,
    Watched("a list of moments", lambda folder: [list[ts.Moment]().append], a_stream=13),
    Watched("OpenTelemetry", traced, a_stream=117),
    Watched("Live", lambda folder: [ts.Live()], an_event=0.6),
    Watched("record", recorded, an_event=5.4),
    Watched("record, masked", lambda folder: [testing.record(folder / f"m{time.monotonic_ns()}", mask=True)]),
)
SNAPSHOT_MILLISECONDS = 2.3


class Cost(NamedTuple):
    """What one stream costs: its CPU seconds, and its events."""

    seconds: float
    events: int


async def streams(deltas: int, instruments: list[ts.Instrument]) -> Cost:
    """Read streams of so many deltas, each an arrival of its own."""
    api = ScriptedAPI(default=[say(*["word"] * deltas, tps=10)], keep_requests=1)
    async with ts.Client(api_key="test", transport=api, instruments=instruments) as client:
        began = time.process_time()
        for _ in range(STREAMS):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
        return Cost((time.process_time() - began) / STREAMS, stream.stats.events)


def measure(way: Watched, deltas: int) -> Cost:
    """One round of streams."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(streams, deltas, way.make(Path(folder)), clock=trio.testing.MockClock(autojump_threshold=0))


async def snapshot() -> float:
    """The least CPU seconds of a snapshot of many calls."""
    live = ts.Live()
    api = ScriptedAPI(default=[say("word ", "word "), stall()])
    async with ts.Client(api_key="test", transport=api, instruments=[live]) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(CALLS):
                nursery.start_soon(lambda: client.messages.create(**PARAMS))
            await trio.testing.wait_all_tasks_blocked()
            least = float("inf")
            for _ in range(ROUNDS):
                began = time.process_time()
                found = live.snapshot()
                least = min(least, time.process_time() - began)
            assert len(found.calls) == CALLS
            nursery.cancel_scope.cancel(reason="measured")
    return least


def costs(short: Cost, long: Cost) -> tuple[float, float]:
    """What a stream costs, and what an event."""
    return short.seconds, (long.seconds - short.seconds) / (long.events - short.events)


def table(short: dict[str, Cost], long: dict[str, Cost], milliseconds: float) -> str:
    """The section of the page."""
    nobody = costs(short[NOBODY.name], long[NOBODY.name])
    rows = []
    for way in WAYS[1:]:
        pairs = zip(costs(short[way.name], long[way.name]), nobody, strict=True)
        rows.append([way.name, *(f"{(cost - none) * 1e6:+.1f} ({cost / none:.2f})" for cost, none in pairs)])
    columns = [
        "",
        f"a stream (without any: {nobody[0] * 1e6:.0f})",
        f"an event (without any: {nobody[1] * 1e6:.1f})",
    ]
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return (
        f"{report.table(columns, rows)}\n\nA snapshot of {CALLS} calls by `ts.Live` takes {milliseconds:.1f} ms. "
        f"({date}; {report.machine()})"
    )


def main() -> None:
    """Measure, print each beside its figure, and write the section of the page."""
    # Of each the least: others use this machine too.
    short = {way.name: Cost(float("inf"), 0) for way in WAYS}
    long = dict(short)
    for _ in range(ROUNDS):
        for way in WAYS:
            short[way.name] = min(short[way.name], measure(way, 1))
            long[way.name] = min(long[way.name], measure(way, DELTAS))
    print("                    us a stream   beside nobody  (figure)     us an event   beside nobody  (figure)")
    of_nobody = costs(short[NOBODY.name], long[NOBODY.name])
    for way in WAYS:
        a_stream, an_event = costs(short[way.name], long[way.name])
        cells = [f"{way.name:18}"]
        for value, nobody, figure in ((a_stream, of_nobody[0], way.a_stream), (an_event, of_nobody[1], way.an_event)):
            shown = "" if figure is None else f"({figure})"
            cells.append(f"{value * 1e6:10.1f}  {(value - nobody) * 1e6:+8.1f} {value / nobody:6.2f}x  {shown:>8}")
        print("   ".join(cells))
    milliseconds = trio.run(snapshot) * 1e3
    print(f"a snapshot of {CALLS} calls: {milliseconds:.1f} ms ({SNAPSHOT_MILLISECONDS})")
    page = report.with_section(PAGE.read_text(encoding="utf-8"), "instruments", table(short, long, milliseconds))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
