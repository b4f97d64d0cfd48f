"""Time that a busy machine does not take away: what a test measures is the code's, and no clock runs out early.

What belongs here: the clock by which asynchronous tests run, unless they ask for a mock clock. What does not: what is
measured, and how long it may take.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

import trio

SCHEDSTAT = Path("/proc/thread-self/schedstat")

T = TypeVar("T")


@final
class OwnClock(trio.abc.Clock):
    """A clock that stands still while this thread could run and the machine runs something else.

    Where Linux does not tell how long that was, it is a clock like any other.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def start_clock(self) -> None:
        # "self" is the thread that opens it: the one that Trio runs in.
        try:
            self._descriptor = os.open(SCHEDSTAT, os.O_RDONLY)
        except OSError:
            self._descriptor = None

    def stop(self) -> None:
        """Let go of what it reads."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def current_time(self) -> float:
        waited = 0.0
        if self._descriptor is not None:
            # Linux, Documentation/scheduler/sched-stats: time on the CPU, time spent waiting to run, and how often.
            waited = int(os.pread(self._descriptor, 64, 0).split()[1]) / 1e9
        return time.perf_counter() - waited

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


def run(fn: Callable[[], Awaitable[T]], *, clock: Any = None, instruments: Sequence[Any] = ()) -> T:
    """As `trio.run`, by a clock of its own if none is given."""
    if clock is not None:
        return trio.run(fn, clock=clock, instruments=instruments)
    own = OwnClock()
    try:
        return trio.run(fn, clock=own, instruments=instruments)
    finally:
        own.stop()
