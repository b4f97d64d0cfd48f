"""The report: ``docs/performance.md``, and what is printed.

What belongs here: figures to tables and sentences. What does not: measuring, drawing (`chart`), the bounds (`aims`).
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.aims import AIMS
from tests.bench.chart import draw
from tests.bench.running import SLOW_CPU_SECONDS, Results
from tests.bench.scenarios import CONTENDERS, SCENARIOS, SWEEPS, Scenario

NAMES = {
    "floor": "floor",
    "bare": "the work, bare",
    "ours": "trio-stream",
    "httpx_sse_msgspec": "httpx + httpx-sse",
    "sdk": "official SDK",
}

LOADS = {
    "paced": "200 streams, an event every 20 ms",
    "paced-tls": "the same over TLS",
    "burst": "10 streams of 2,000 deltas, as fast as they come",
    "burst-packed": "the same, 40 events to an HTTP chunk",
    "wide": "1,500 streams at once, 20 events each",
    "tool": "tool input of 8,000 deltas: a list of records",
    "tool-file": "tool input of 8,000 deltas: one long string",
    "tool-twice": "tool input of 16,000 deltas: a list of records",
    "text": "text of 50,000 deltas",
    "text-twice": "text of 100,000 deltas",
    "scale": "10,000 streams at once, 10 events each",
}


def number(value: float | None) -> str:
    """A figure with three digits that count."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first hold figures."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def load_table(results: Results, scenarios: Sequence[Scenario], loads: dict[str, str]) -> str:
    """CPU for each event, and ratios."""
    head = ["", *(NAMES[name] for name in CONTENDERS), "SDK ÷ ours", "ours ÷ bare", "ours ÷ floor"]
    rows = []
    for scenario in scenarios:
        if scenario.task != "read":
            continue
        figures = [number(results.median(scenario.name, name, "cpu_us_per_event")) for name in CONTENDERS]
        pairs = (("sdk", "ours"), ("ours", "bare"), ("ours", "floor"))
        ratios = [results.ratio(scenario.name, above, below) for above, below in pairs]
        rows.append([f"**{scenario.name}**: {loads[scenario.name]}", *figures, *map(number, ratios)])
    return table(head, rows)


def way_table(results: Results) -> str:
    """This library in a burst, read in every way."""
    ways = {
        "bare": "the same work, bare",
        "ours_until_done": "to the end: `until_done`, as `create`, `fan_out` and `gather_texts` do",
        "ours": "all events: `async for event in stream`",
        "ours_text_stream": "the texts: `async for text in stream.text_stream`",
    }
    rows = [
        [text, number(results.median("burst", way, "cpu_us_per_event")), number(results.ratio("burst", way, "bare"))]
        for way, text in ways.items()
    ]
    return table(["", "CPU for an event, µs", "÷ bare"], rows)


def size_table(results: Results, scenarios: Sequence[Scenario], figure: str) -> str:
    """One more figure of the same runs."""
    rows = [
        [f"**{scenario.name}**", *(number(results.median(scenario.name, name, figure)) for name in CONTENDERS)]
        for scenario in scenarios
        if scenario.task == "read"
    ]
    return table(["", *(NAMES[name] for name in CONTENDERS)], rows)


def task_table(results: Results) -> str:
    """What is not CPU."""
    rows = [
        (
            "latest tick of a task that is to run every ms, beside a burst of 20,000 deltas, ms",
            "tick",
            "latest_tick_ms",
        ),
        ("events delivered after `cancel()` in the middle of such a burst", "cancel", "after_cancel"),
        ("from the server's `send` to the caller's loop, 20 streams, median, ms", "latency", "median_ms"),
        ("the same, 99th percentile, ms", "latency", "p99_ms"),
        ("memory of the 10,000 kept events of one message, kB", "keep", "kept_kb"),
    ]
    figures = {who: [results.median(name, who, figure) for _, name, figure in rows] for who in CONTENDERS}
    shown = [who for who in CONTENDERS if any(value is not None for value in figures[who])]
    return table(
        ["", *(NAMES[who] for who in shown)],
        [[text, *(number(figures[who][row]) for who in shown)] for row, (text, _, _) in enumerate(rows)],
    )


def import_table(results: Results) -> str:
    """What importing costs."""
    modules = {"ours": "`import trio_stream`", "httpx_sse_msgspec": "`import httpx`", "sdk": "`import anthropic`"}
    return table(
        ["", *modules.values()],
        [
            ["CPU, s", *(number(results.median("import", name, "cpu_s")) for name in modules)],
            ["memory, MB", *(number(results.median("import", name, "mb")) for name in modules)],
        ],
    )


def aim_table(results: Results) -> str:
    """What the library holds itself to, and how it stands."""
    rows = []
    for aim in AIMS:
        met = aim.is_met(results)
        if met is not None:
            unit = f" {aim.unit}" if aim.unit else ""
            bound = f"{'at least' if aim.at_least else 'at most'} {aim.bound:g}{unit}"
            rows.append([aim.what, bound, number(aim.value(results)) + unit, "yes" if met else "**no**"])
    return table(["", "aim", "measured", "met"], rows)


def picture(results: Results) -> str:
    """CPU for each event against what there is more and more of."""
    panels = {}
    for title, (sweep, x_title) in {
        "Many streams, 20 events each": ("streams", "streams at once"),
        "One long text": ("text", "deltas"),
        "One long tool input": ("tool input", "deltas"),
    }.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for scenario in SWEEPS[sweep]:
            size = scenario.streams if sweep == "streams" else scenario.deltas
            for name in CONTENDERS:
                cost = results.median(scenario.name, name, "cpu_us_per_event")
                if cost is not None:
                    lines.setdefault(NAMES[name], []).append((size, cost))
        panels[title] = (x_title, lines)
    return draw(panels, names=[NAMES[name] for name in CONTENDERS], y_title="CPU for each event, µs")


def page(results: Results, *, date: datetime.date, rounds: int, ours: Mapping[str, str], sdk: Mapping[str, str]) -> str:
    """The whole page.

    Args:
      results: What was measured.
      date: When.
      rounds: How often.
      ours: The versions in the environment of this library.
      sdk: The versions in that of the official SDK.
    """
    ratios = {
        "tls_bound": results.ratio("paced-tls", "sdk", "bare"),
        "few_idle": results.ratio("wide", "sdk_few_idle", "ours"),
        "many_idle": results.ratio("wide", "sdk", "ours"),
    }
    return PAGE.format(
        date=date.isoformat(),
        machine=machine(),
        rounds=rounds,
        loads=load_table(results, SCENARIOS, LOADS),
        ways=way_table(results),
        memory=size_table(results, SCENARIOS, "kb_per_stream"),
        wall=size_table(results, SCENARIOS, "wall_s"),
        tasks=task_table(results),
        imports=import_table(results),
        aims=aim_table(results),
        slow=SLOW_CPU_SECONDS,
        few_rounds=results.turns("scale", "ours"),
        versions=", ".join(f"{name} {version}" for name, version in ours.items()),
        sdk_versions=", ".join(f"{name} {version}" for name, version in sdk.items()),
        **{name: number(value) for name, value in ratios.items()},
    )


SECTIONS = ("relay", "instruments")
"""Sections that commands of their own write, each between two marks."""


def _marks(section: str) -> tuple[str, str]:
    command = f"python -m tests.bench.{section}"
    return f"<!-- {command}: begin -->", f"<!-- {command}: end -->"


def with_section(page: str, section: str, text: str) -> str:
    """The page with another text between the marks of a section."""
    begin, end = _marks(section)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the page does not have the marks {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def section_of(page: str, section: str) -> str:
    """What is between the marks of a section; nothing if they are not there."""
    begin, end = _marks(section)
    return page.partition(begin)[2].partition(end)[0].strip("\n")


def machine() -> str:
    """What this ran on."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release().split('-')[0]}"


PAGE = """\
<!-- Written by `python -m tests.bench`: change `tests/bench/report.py`, not this file. -->

# Performance

What a stream costs, beside the official SDK, beside httpx with httpx-sse and msgspec put together by hand, and beside
two loops that nobody would use but that say what is possible:

* the *floor*: a Trio socket loop that counts the ends of events and does nothing else;
* *the work, bare*: this library's parser, decoder and accumulator over a socket, in one function. It makes the whole
  message and keeps no promise: no timeouts, no limits, no cancellation between two events, no connection kept, nothing
  delivered.

All run on Trio, in the same run, on the same machine:

```console
$ make bench
```

Every figure on this page is from one run of that command ({date}; {machine}). They are medians of {rounds} rounds, and
what counts is the ratios: they hold on other machines, the microseconds do not.

## CPU for each event

Microseconds of CPU (of the client's process, user and system) for each event of the wire. Everything is in it: opening
the stream, reading **all** events through `client.messages.stream`, the final message, closing.

{loads}

![CPU for each event against the number of streams, the length of a text and the length of a tool input](performance.svg)

Both axes are logarithmic. A line that is level means that the cost of an event does not depend on how much there is:
neither on how many streams are open nor on how long the message is already.

### Ways to read

In *burst*, where nothing has to be waited for, the way of reading shows:

{ways}

## Memory and time

Memory of the client's process for each stream, kB: its peak beyond what it held before.

{memory}

Wall time of the whole scenario, s. Where events are paced, all of it should be waiting.

{wall}

## Beside other tasks

{tasks}

The burst in the first two rows arrives in HTTP chunks of 1,000 events, as from a proxy that held it back.

## Answers in web pages

Microseconds of CPU of a server for each event that it hands on from the API to a tab, and beside it the ratio to the
first column: an ASGI application that sends each event and looks after nothing else. All on Hypercorn with its Trio
worker, over HTTP/1.1, in one run of

```console
$ make bench-web
```

<!-- python -m tests.bench.relay: begin -->
<!-- python -m tests.bench.relay: end -->

Starlette and sse-starlette are given a generator round the stream.

## Watching calls

What [instruments](instruments.md) add to a stream of the scripted API in memory: microseconds of CPU, and the ratio to the same
stream that nobody watches. In one run of

```console
$ python -m tests.bench.instruments
```

<!-- python -m tests.bench.instruments: begin -->
<!-- python -m tests.bench.instruments: end -->

## Importing

{imports}

In environments without the extra `cli`: httpx imports rich and click where they are installed, whoever asked for them.

## What the project holds itself to

{aims}

An aim that was dropped: five times less CPU than the official SDK over TLS. Most of that cost is the kernel's,
OpenSSL's and Trio's, which all share. The SDK costs {tls_bound} times the same work bare, so this library would have had
to read TLS for about what the bare loop does. The distance from that loop is what counts now.

What slows down an event is also found without a clock: `tests/test_cost.py` counts calls and allocations.

## How it is measured

* Each contender runs in a process of its own, one after another, round after round, so that what disturbs a round
  disturbs all of them. The server is a process, too: it sends rendered bytes by one loop over one selector, in chunks
  of one event each unless a row says otherwise.
* One short stream comes first and is not counted: it is there for what is imported or compiled at first use.
* The official SDK and httpx get `Limits(max_connections=None)`, the shortest way to more streams at once than their
  1,000 and 100. It also keeps more idle connections than their defaults do, and their pool looks through all of them
  for every request. With at most 100 idle ones, as by default, *wide* costs the SDK {few_idle} times ours instead of
  {many_idle}, in the same run.
* *Burst* is read five times in each turn, and the median of them counts, for the fastest need some 20 ms for it.
* A contender that needs more than {slow:g} s of CPU for a turn gets only one, and the loads that take longest, *scale*
  and that of the latencies, are measured {few_rounds} times. The empty fields were not measured: the floor
  keeps no events, the bare work delivers none, and 10,000 streams at once would take httpx and the SDK minutes.
* Tool input is read as the libraries offer it. The SDK parses all of it again with every delta, which costs the more,
  the more values there are in it: compare the rows with records and with one long string. Here it is parsed when it is
  complete, or when you look at a snapshot.
* The floor over TLS is a loop on `trio.SSLStream`. This library uses OpenSSL's own record layer, an `ssl.SSLSocket`,
  and so does the bare work.
* How another version of this library does beside this one, in turn: `make bench ARGS="--against CHECKOUT"`.
* Ours, httpx and both loops: {versions}. The SDK, in an environment of its own: {sdk_versions}.
"""
