"""One task that watches the clocks of many streams, where somebody has a nursery for it.

What belongs here: waking up for the earliest of them. What does not: the arithmetic of one stream's clocks
(`_clocks`).

By itself each stream has a watchdog task of its own. A fan-out of a thousand streams can do with one: that is a third
less to do where all of them are left at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio

from ._clocks import Clock, Clocks

_SHORTEST_NAP = 0.01
"""Seconds between two looks at all of them."""


@final
class ClockKeeper:
    """Watches the clocks of any number of streams, as long as `watch` runs."""

    def __init__(self) -> None:
        self._watched: dict[Clocks, Callable[[Clock], None]] = {}
        self._scope: trio.CancelScope | None = None
        self._wake_at = math.inf

    def add(self, clocks: Clocks, expire: Callable[[Clock], None]) -> None:
        """Watch the clocks of a stream, until `remove` or the first that runs out.

        Args:
          clocks: The clocks.
          expire: Is called with the one that runs out.
        """
        self._watched[clocks] = expire
        self._wake_by(clocks._next(trio.current_time())[1])  # pyright: ignore[reportPrivateUsage]

    def remove(self, clocks: Clocks) -> None:
        """Watch them no more. They may have been removed already."""
        self._watched.pop(clocks, None)

    def _wake_by(self, moment: float) -> None:
        if moment < self._wake_at:
            self._wake_at = moment
            if self._scope is not None:
                self._scope.deadline = moment

    async def watch(self) -> None:
        """Do it, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._wake_at) as self._scope:
                await trio.sleep_forever()
            # After a stall of the whole program bytes and deadlines are due at once: bytes go first.
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            self._wake_at = math.inf
            for clocks, expire in list(self._watched.items()):
                # Clocks move on while nobody looks, and only ever on.
                clock, deadline = clocks._next(now)  # pyright: ignore[reportPrivateUsage]
                if deadline <= now:
                    self.remove(clocks)
                    expire(clock)
                else:
                    self._wake_by(max(deadline, now + _SHORTEST_NAP))
