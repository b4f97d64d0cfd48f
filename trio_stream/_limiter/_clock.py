"""The clock of a limiter, which goes on from one run of Trio to the next.

What belongs here: telling the time, and that a limiter is used in one run at a time. What does not: what is to happen
at which time (`_header_limiter`).

Each run's clock begins at a random number. A script that calls `trio.run` for each of its questions would otherwise
wait for days for the end of a pause, or send at once what the limits do not allow.
"""

from __future__ import annotations

import time
from typing import Final, final

import trio

from trio_stream._runs import OneRun

_INSTANT: Final = 1e-6
"""Seconds. Less than this is what rounding leaves of a wait that is over."""


def noticeable(seconds: float) -> float:
    """Return so many seconds, or 0 if there is nothing left to wait for.

    A clock that has gone on for days does not change when so little is added to it. A mock clock then stands still, and
    whoever waits for such a moment looks again for ever.
    """
    return seconds if seconds > _INSTANT else 0.0


@final
class Clock:
    """Seconds that never go back. Within a run they pass as Trio's do, between two runs as those of the machine."""

    def __init__(self) -> None:
        self._run = OneRun("limiter")
        self._ahead = 0.0  # of Trio's clock
        self._latest = 0.0  # what was told last, and when that was
        self._latest_at = time.monotonic()

    def enter(self) -> bool:
        """Use it in the present run.

        Returns:
          Whether this is another run than that of the last call, of which no task is left.

        Raises:
          RuntimeError: It is used in another run that goes on, or this call is in none.
        """
        if not self._run.enter():
            return False
        self._ahead = self._latest + (time.monotonic() - self._latest_at) - trio.current_time()
        return True

    def now(self) -> float:
        """Return the seconds."""
        self._latest, self._latest_at = trio.current_time() + self._ahead, time.monotonic()
        return self._latest

    def until(self, moment: float) -> float:
        """Return the seconds until a moment by this clock; 0 if it is over."""
        return noticeable(moment - self.now())

    def in_trio(self, moment: float) -> float:
        """Return the time by `trio.current_time` of a moment by this clock."""
        return moment - self._ahead
