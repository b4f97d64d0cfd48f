"""The clock of a limiter, which goes on from one run of Trio to the next.

What belongs here: telling the time, and that a limiter is used in one run at a time. What does not: what is to happen
at which time (`_header_limiter`).

Each run's clock begins at a random number. A script that calls `trio.run` for each of its questions would otherwise
wait for days for the end of a pause, or send at once what the limits do not allow.
"""

from __future__ import annotations

import time
from typing import final

import trio

from trio_stream._runs import OneRun


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

    def in_trio(self, moment: float) -> float:
        """Return the time by `trio.current_time` of a moment by this clock."""
        return moment - self._ahead
