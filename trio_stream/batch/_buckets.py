"""A token bucket as the Messages API documents its rate limits: it refills continuously, up to its limit.

What belongs here: the arithmetic of one bucket. What does not: whose it is, and waiting (`_limiter`).
"""

from __future__ import annotations

import math
from typing import final


@final
class Bucket:
    """Our own account of one bucket, corrected by what the API says of it.

    While its limit is unknown it holds nothing back.
    """

    __slots__ = ("_at", "_capacity", "_level", "charged", "rate")

    def __init__(self) -> None:
        self.rate: float = math.inf
        """Refill per second; infinite while it is unknown."""
        self.charged: float = 0.0
        """Everything taken so far, corrections included; see `correct`."""
        self._capacity = math.inf
        self._level = math.inf
        self._at = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a limit."""
        return self.rate < math.inf

    def limit(self, per_minute: float, now: float, *, capacity: float | None = None) -> None:
        """Set the limit. The bucket is full when it gets its first.

        Args:
          per_minute: The refill.
          now: Seconds.
          capacity: What it holds at most; None: a minute's refill.
        """
        first = not self.known
        self.level(now)
        self.rate = per_minute / 60
        self._capacity = per_minute if capacity is None else capacity
        if first:
            self._level, self._at = self._capacity, now
        self._level = min(self._level, self._capacity)

    def level(self, now: float) -> float:
        """What is in it."""
        if self.rate < math.inf:
            # Never above its capacity: `min`. A bucket that takes the greater of the two limits nothing.
            self._level = min(self._capacity, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until it has so much; what is more than it can hold, it has when it is full."""
        missing = min(amount, self._capacity) - self.level(now)
        if missing <= 1e-9 * max(1.0, amount):
            return 0.0
        return missing / self.rate if self.rate > 0 else math.inf

    def take(self, amount: float, now: float) -> None:
        """Take so much out; negative to put back. It may go below zero."""
        self.level(now)
        self.charged += amount
        if self.known:
            self._level -= amount

    def correct(self, level: float, now: float) -> None:
        """The API's own account says so much is in it."""
        self.level(now)
        if self.known:
            self._level = min(self._capacity, level)

    def at_most(self, level: float, now: float) -> None:
        """There is certainly no more than this in it."""
        if self.known:
            self._level = min(self.level(now), level)
