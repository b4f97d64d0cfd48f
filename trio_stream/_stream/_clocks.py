"""The clocks that run while a stream is read: ``silence``, ``stall`` and ``total``.

What belongs here: keeping account of waiting, and which clock runs out next. What does not: noticing it (`_watchdog`),
what happens then (the stream closes its body and raises), and the clocks of opening (`_opening`).

A `CancelScope` around each read would cost several microseconds an event. Instead the reader only notes since
when it waits, and the watchdog wakes when the earliest clock could have run out, looks, and sleeps again.
"""

from __future__ import annotations

import math
from typing import Literal, final

from trio_stream._timeouts import Timeouts

Clock = Literal["silence", "stall", "total"]

SHORTEST_NAP = 0.01
"""Seconds between two looks of the watchdog, at the least. It keeps it from spinning beside a reader that polls and has
used up nearly all of a clock."""


@final
class Clocks:
    """The clocks of one stream. The reader notes when it waits; the watchdog reads that.

    Only waiting counts for ``silence`` and ``stall``: a wait that was cancelled adds to the next one (polling
    does not outwit a clock), and the time a consumer takes between two waits adds nothing.
    """

    __slots__ = (
        "_silence",
        "_stall",
        "_total_at",
        "silence_used",
        "stall_used",
        "waiting_since",
    )

    def __init__(self, timeouts: Timeouts, *, entered_at: float) -> None:
        self._silence = math.inf if timeouts.silence is None else timeouts.silence
        self._stall = math.inf if timeouts.stall is None else timeouts.stall
        self._total_at = math.inf if timeouts.total is None else entered_at + timeouts.total
        self.waiting_since: float | None = None  # set by the reader when it begins to wait
        self.silence_used: float = 0.0  # set to 0 by the reader when it takes bytes
        self.stall_used: float = 0.0  # set to 0 by the reader when there were events since the last wait

    @property
    def needed(self) -> bool:
        """Whether any of these clocks is set."""
        return min(self._silence, self._stall, self._total_at) < math.inf

    def wait_ends(self, now: float) -> None:
        """Note that the reader has stopped waiting, at ``now`` by Trio's clock."""
        since = self.waiting_since
        assert since is not None
        self.waiting_since = None
        self.stall_used += now - since
        self.silence_used += now - since

    def restart(self) -> None:
        """Begin a new attempt: the time that the one before it waited counts for ``total`` only."""
        self.waiting_since = None
        self.silence_used = self.stall_used = 0.0

    def next_to_run_out(self, now: float) -> tuple[Clock, float]:
        """The clock that runs out first, and when, if nothing sets it back."""
        since = self.waiting_since
        start = now if since is None else since
        silence_at = start + self._silence - self.silence_used
        stall_at = start + self._stall - self.stall_used
        if since is None:
            # Nobody waits, so neither can run out before a wait has begun and lasted.
            soonest = now + SHORTEST_NAP
            silence_at, stall_at = max(silence_at, soonest), max(stall_at, soonest)
        first: tuple[Clock, float] = ("total", self._total_at)
        if silence_at < first[1]:
            first = ("silence", silence_at)
        if stall_at < first[1]:
            first = ("stall", stall_at)
        return first
