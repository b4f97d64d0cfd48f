"""The account that a named Ray actor keeps: how much of a rate limit has been leased to whom asked.

What belongs here: the arithmetic, without Ray. What does not: asking (`_limiter`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeAlias, final

from trio_stream.batch import Bucket

Rates: TypeAlias = tuple[float | None, float | None, float | None]
"""Requests, input tokens and output tokens per minute; None: not limited."""

Amounts: TypeAlias = tuple[float, float, float]
"""Requests, input tokens and output tokens."""


@final
class LeaseOffice:
    """Leases what the rates allow, in the order of asking. It never waits: it says how long to.

    Args:
      rates: What may be leased.
      clock: Seconds, from any moment.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._not_before = -math.inf
        self._buckets = (Bucket(), Bucket(), Bucket())
        for bucket, rate in zip(self._buckets, rates, strict=True):
            if rate is not None:
                # Not a minute's worth at once: who sets a rate wants a rate.
                bucket.limit(rate, clock(), capacity=max(1.0, rate / 6))

    def lease(self, amounts: Amounts) -> float:
        """Take so much; negative is given back.

        Returns:
          Seconds until it may be used.
        """
        now = self._clock()
        waits = [bucket.wait(amount, now) for bucket, amount in zip(self._buckets, amounts, strict=True)]
        for bucket, amount in zip(self._buckets, amounts, strict=True):
            bucket.take(amount, now)
        return max(0.0, self._not_before - now, *waits)

    def pause(self, seconds: float) -> None:
        """The API asked somebody to wait so long: nobody is to send before."""
        self._not_before = max(self._not_before, self._clock() + seconds)
