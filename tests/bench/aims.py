"""What this library holds itself to.

What belongs here: the bounds, and where the figures for them are. What does not: measuring, and showing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.bench.running import Results
from tests.bench.scenarios import SCENARIOS

Value = Callable[[Results], float | None]

_SCALE = next(scenario for scenario in SCENARIOS if scenario.name == "scale")


class Aim(NamedTuple):
    """One bound on one figure."""

    what: str
    value: Value
    bound: float
    at_least: bool = False
    unit: str = "×"

    def is_met(self, results: Results) -> bool | None:
        """Whether it is; None if it was not measured."""
        value = self.value(results)
        if value is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


def _sdk_to_ours(scenario: str) -> Value:
    return lambda results: results.ratio(scenario, "sdk", "ours")


def _ours_to_floor(scenario: str) -> Value:
    return lambda results: results.ratio(scenario, "ours", "floor")


def _to_bare(scenario: str, way: str = "ours") -> Value:
    return lambda results: results.ratio(scenario, way, "bare")


def _ours(scenario: str, figure: str) -> Value:
    return lambda results: results.median(scenario, "ours", figure)


def _growth(longer: str, shorter: str) -> Value:
    """How much more a whole message costs that is twice as long."""

    def growth(results: Results) -> float | None:
        twice, once = (results.median(name, "ours", "cpu_us_per_event") for name in (longer, shorter))
        return None if twice is None or once is None else 2 * twice / once

    return growth


def _later_than_floor(results: Results) -> float | None:
    ours, floor = (results.median("latency", name, "median_ms") for name in ("ours", "floor"))
    return None if ours is None or floor is None else ours - floor


def _import_share(figure: str) -> Value:
    return lambda results: results.ratio("import", "ours", "sdk", figure)


AIMS = (
    Aim("paced: less CPU than the official SDK", _sdk_to_ours("paced"), 4.8, at_least=True),
    Aim("paced: CPU, beside the same work bare", _to_bare("paced"), 1.15),
    Aim("paced: CPU, beside the floor", _ours_to_floor("paced"), 1.25),
    Aim("paced over TLS: CPU, beside the same work bare on `ssl.SSLSocket`", _to_bare("paced-tls"), 1.25),
    Aim("paced over TLS: CPU, beside a loop on `trio.SSLStream`", _ours_to_floor("paced-tls"), 1.0),
    Aim("burst: less CPU than the official SDK", _sdk_to_ours("burst"), 25.0, at_least=True),
    Aim("burst, to the end: CPU, beside the same work bare", _to_bare("burst", "ours_until_done"), 1.35),
    Aim("burst, all events: CPU, beside the same work bare", _to_bare("burst"), 2.1),
    Aim("burst, texts: CPU, beside the same work bare", _to_bare("burst", "ours_text_stream"), 2.1),
    Aim("wide: less CPU than the official SDK", _sdk_to_ours("wide"), 9.0, at_least=True),
    Aim("wide: CPU, beside the floor", _ours_to_floor("wide"), 1.55),
    Aim("tool input: less CPU than the official SDK", _sdk_to_ours("tool"), 90.0, at_least=True),
    Aim("tool input of twice the length: CPU", _growth("tool-twice", "tool"), 2.2),
    Aim("text of twice the length: CPU", _growth("text-twice", "text"), 2.2),
    Aim("scale: CPU, beside the floor", _ours_to_floor("scale"), 1.8),
    Aim("scale: memory of a stream", _ours("scale", "kb_per_stream"), 25.0, unit="kB"),
    Aim("a task beside a burst is late by", _ours("tick", "latest_tick_ms"), 5.0, unit="ms"),
    Aim("events delivered after `cancel()`", _ours("cancel", "after_cancel"), 1.0, unit=""),
    Aim("an event reaches the loop later than the floor's by", _later_than_floor, 0.3, unit="ms"),
    Aim("`import trio_stream`, beside `import anthropic`: CPU", _import_share("cpu_s"), 0.2),
    Aim("`import trio_stream`, beside `import anthropic`: memory", _import_share("mb"), 0.5),
)
