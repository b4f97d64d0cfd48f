"""What the page of ``trio-stream report`` shows of a job: read from its journal, in columns.

What belongs here: times, latencies, tokens and costs of what has ended. What does not: drawing (`_report_charts`), and
the page (`_report_page`).
"""

from __future__ import annotations

import heapq
from array import array
from pathlib import Path
from typing import Any, Final, final

import msgspec

from trio_stream._money import Charge, PriceLookup
from trio_stream.batch import JournalOverview, journal_overview, whole_lines

SLOWEST: Final = 20
"""How many items are listed."""

_PAUSE: Final = 300.0
"""A longer time in which nothing is noted is not shown: the job was not running, or waited for message batches."""


class SlowItem(msgspec.Struct, frozen=True, order=True):
    """An item that took long.

    Args:
      seconds: From the start of its first attempt to its end.
      key: Its id.
      ttft: Seconds to the first text of its last attempt.
      attempts: Requests made for it.
      status: How it ended.
      error: The class of its error; empty without one.
    """

    seconds: float
    key: str
    ttft: float | None
    attempts: int
    status: str
    error: str


class _Error(msgspec.Struct, gc=False):
    name: Any = msgspec.field(default="", name="class")


class _Record(msgspec.Struct, gc=False):
    record: str = ""
    key: str = ""
    status: str = ""
    at: float = 0.0
    ttft: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    charges: tuple[Charge, ...] = ()
    error: _Error | None = None


_decode: Final = msgspec.json.Decoder(_Record).decode


@final
class ReportData:
    """The ends of items, in the order in which they were noted.

    Args:
      path: The journal.
      prices: What tokens cost.

    Attributes:
      path: As given.
      overview: How the job stands.
      times: When each item ended, in seconds of the time in which the job was running.
      good: Whether it was answered.
      ttft: Seconds to the first text; negative where that is not known.
      seconds: Seconds from the start of the first attempt to the end.
      input: Input tokens of all its attempts, cached ones included.
      output: Output tokens.
      cost: What it cost, in dollars; 0 where the prices are not known.
      pauses: Where time is left out, in the same seconds.
      compacted: Whether charges of records are known that are no longer there, and so not when they were made.
      began: When the first record was written, in Unix time; None if there is none.
      slowest: The items that took longest.

    Raises:
      JournalError: It is not a journal, or cannot be read.
    """

    def __init__(self, path: Path, prices: PriceLookup) -> None:
        self.path = path
        self.overview: JournalOverview = journal_overview(path)
        self.times = array("d")
        self.good = array("b")
        self.ttft = array("d")
        self.seconds = array("d")
        self.input = array("Q")
        self.output = array("Q")
        self.cost = array("d")
        self.pauses: list[float] = []
        self.compacted = False
        self.began: float | None = None
        self._prices = prices
        slowest: list[SlowItem] = []
        running = last = 0.0
        for _, line in whole_lines(path):
            try:
                record = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if record.record == "charges":
                self.compacted = True  # when that was spent is not known
                continue
            if self.began is None:
                self.began = last = record.at
            passed = max(0.0, record.at - last)
            last = max(last, record.at)
            if passed > _PAUSE:
                self.pauses.append(running)
            else:
                running += passed
            if record.record == "end" and record.status != "skipped":
                self._add(record, running)
                item = SlowItem(
                    record.seconds,
                    record.key,
                    record.ttft,
                    record.attempts,
                    record.status,
                    "" if record.error is None else str(record.error.name),
                )
                if len(slowest) < SLOWEST:
                    heapq.heappush(slowest, item)
                elif slowest[0].seconds < item.seconds:
                    heapq.heapreplace(slowest, item)
        self.slowest = sorted(slowest, key=lambda item: -item.seconds)

    def _add(self, record: _Record, at: float) -> None:
        self.times.append(at)
        self.good.append(record.status == "ok")
        self.ttft.append(-1.0 if record.ttft is None else record.ttft)
        self.seconds.append(record.seconds)
        charges = record.charges
        self.input.append(sum(c.input + c.cache_read + c.cache_write + c.cache_write_1h for c in charges))
        self.output.append(sum(charge.output for charge in charges))
        cost = 0.0
        for charge in charges:
            prices = self._prices(charge.model)
            cost += 0.0 if prices is None else prices.costs(charge).total
        self.cost.append(cost)
