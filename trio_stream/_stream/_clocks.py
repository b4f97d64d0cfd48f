"""The clocks that run while a stream is read: ``silence``, ``stall`` and ``total``.

What belongs here: keeping account of waiting, and one task that notices when a clock has run out. What does not:
what happens then (the stream closes its body and raises), and the clocks of opening (`_opening`).

A `CancelScope` around each read would cost several microseconds an event. Instead the reader only notes since
when it waits, and the watchdog wakes when the earliest clock could have run out, looks, and sleeps again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, final

import trio

from trio_stream._http import Timeouts

Clock = Literal["silence", "stall", "total"]

_SHORTEST_NAP = 0.01
"""Seconds. Keeps the watchdog from spinning beside a reader that polls and has used up nearly all of a clock."""


def _leave(_: object) -> trio.lowlevel.Abort:
    """What `trio.sleep_forever` does when it is cancelled."""
    return trio.lowlevel.Abort.SUCCEEDED


@final
class Clocks:
    """What the reader notes, and the watchdog that reads it.

    Only waiting counts for ``silence`` and ``stall``: a wait that was cancelled adds to the next one (polling
    does not outwit a clock), and the time a consumer takes between two waits adds nothing.
    """

    __slots__ = (
        "_scope",
        "_silence",
        "_silence_used",
        "_stall",
        "_stopped",
        "_total_at",
        "stall_used",
        "waiting_since",
    )

    def __init__(self, timeouts: Timeouts, *, entered_at: float) -> None:
        self._silence = math.inf if timeouts.silence is None else timeouts.silence
        self._stall = math.inf if timeouts.stall is None else timeouts.stall
        self._total_at = math.inf if timeouts.total is None else entered_at + timeouts.total
        self.waiting_since: float | None = None  # set by the reader when it begins to wait
        self._silence_used = 0.0
        self.stall_used = 0.0  # set to 0 by the reader at every event
        self._scope: trio.CancelScope | None = None
        self._stopped = False

    @property
    def needed(self) -> bool:
        """Whether any of these clocks is set."""
        return min(self._silence, self._stall, self._total_at) < math.inf

    def wait_ends(self, now: float, *, with_bytes: bool) -> float:
        """The reader stopped waiting.

        Returns:
          For how long it waited since there were bytes before, in seconds.
        """
        since = self.waiting_since
        assert since is not None
        waited = now - since
        self.waiting_since = None
        self.stall_used += waited
        silent = self._silence_used + waited
        self._silence_used = 0.0 if with_bytes else silent
        return silent

    def restart(self) -> None:
        """A new attempt begins: what the one before it waited counts for ``total`` only."""
        self.waiting_since = None
        self._silence_used = self.stall_used = 0.0

    def _next(self, now: float) -> tuple[Clock, float]:
        since = self.waiting_since
        start = now if since is None else since
        silence_at = start + self._silence - self._silence_used
        stall_at = start + self._stall - self.stall_used
        if since is None:
            # Nobody waits, so neither can run out before a wait has begun and lasted.
            soonest = now + _SHORTEST_NAP
            silence_at, stall_at = max(silence_at, soonest), max(stall_at, soonest)
        first: tuple[Clock, float] = ("total", self._total_at)
        if silence_at < first[1]:
            first = ("silence", silence_at)
        if stall_at < first[1]:
            first = ("stall", stall_at)
        return first

    async def watch(self, expire: Callable[[Clock], None]) -> None:
        """Call ``expire`` with the first clock that runs out, then return. Ends by `stop`."""
        while not self._stopped:  # it may have been before this task first ran
            with trio.CancelScope(deadline=self._next(trio.current_time())[1]) as self._scope:
                await trio.lowlevel.wait_task_rescheduled(_leave)
            if not self._stopped:
                # After a stall of the whole program bytes and deadline are due at once: bytes go first.
                await trio.lowlevel.checkpoint()
            if self._stopped:
                return
            now = trio.current_time()
            clock, deadline = self._next(now)
            if deadline <= now:
                expire(clock)
                return

    def stop(self, reason: str) -> None:
        """End `watch`."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel(reason=reason)
