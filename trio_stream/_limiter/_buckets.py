"""A token bucket as the Messages API documents its rate limits: it refills continuously, up to its limit.

What belongs here: the arithmetic of one bucket. What does not: which requests it is charged for (`_account`), and
waiting until it has enough (`_header_limiter`).
"""

from __future__ import annotations

import math
from typing import final


@final
class Bucket:
    """Our own account of one bucket, corrected whenever the API tells how much is in it.

    While its limit is unknown it holds nothing back.

    The level is brought up to date only when somebody looks at it, so every method takes the time. It may fall below
    zero: what the API has counted is charged even where the bucket cannot afford it.

    Attributes:
      rate: The refill per second; infinite while the limit is unknown.
      charged: The sum of everything taken, less what was put back. The difference between two readings tells how much
        was taken in between. Whoever corrects something earlier changes it back (`_account`).
    """

    __slots__ = ("_at", "_capacity", "_level", "_told_full", "charged", "rate")

    def __init__(self) -> None:
        self.rate: float = math.inf
        self.charged: float = 0.0
        self._capacity = math.inf
        self._level = math.inf
        self._told_full = 0.0  # the most that the API has told it to hold; 0 if it has not
        self._at = 0.0

    @property
    def known(self) -> bool:
        """Whether the limit is known."""
        return self.rate < math.inf

    def limit(self, per_minute: float, now: float, *, capacity: float | None = None) -> None:
        """Set the limit. The bucket is full when it gets its first.

        Args:
          per_minute: The refill per minute.
          now: The time, in seconds.
          capacity: The most that it can hold, or None for a minute's refill.
        """
        first = not self.known
        self.level(now)
        self.rate = per_minute / 60
        self._capacity = per_minute if capacity is None else capacity
        if first:
            self._level, self._at = self._capacity, now
        self._level = min(self._level, self._capacity)

    def level(self, now: float) -> float:
        """Return how much is in it at the time ``now``."""
        if self.rate < math.inf:
            # Never above its capacity: `min`. A bucket that takes the greater of the two limits nothing.
            self._level = min(self._capacity, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def wait(self, amount: float, now: float, *, leaving: float = 0.0) -> float:
        """Return the seconds until it has ``amount``. For more than it can hold, that is until it is full.

        Args:
          amount: How much is to be taken.
          now: The time, in seconds.
          leaving: The share of what it holds when it is full that has to be left then.
        """
        if not self.known:
            return 0.0
        full = min(self._told_full or self._capacity, self._capacity)
        missing = min(amount + leaving * full, self._capacity) - self.level(now)
        if missing <= 1e-9 * max(1.0, amount):
            return 0.0
        return missing / self.rate if self.rate > 0 else math.inf

    def tell_full(self, level: float) -> None:
        """Note that it is full with so much, which may be less than the refill of a minute.

        An estimate, by two clocks. It counts only for what is left to others: a request that leaves more than there can
        be would wait for what never comes.
        """
        self._told_full = max(self._told_full, level)

    def can_hold(self, amount: float) -> bool:
        """Whether it holds so much when it is full."""
        return amount <= self._capacity

    def take(self, amount: float, now: float) -> None:
        """Take ``amount`` out, or put it back if it is negative."""
        self.level(now)
        self.charged += amount
        if self.known:
            self._level -= amount

    def correct(self, level: float, now: float) -> None:
        """Set the level to what the API says is in it."""
        self.level(now)
        if self.known:
            self._level = min(self._capacity, level)

    def at_most(self, level: float, now: float) -> None:
        """Lower the level to ``level`` if it is higher."""
        if self.known:
            self._level = min(self.level(now), level)
