"""The account of a rate limit that a named Ray actor keeps: how much of it has been leased.

What belongs here: the arithmetic, without Ray. What does not: asking for leases (`_limiter`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeAlias, final

from trio_stream._limiter import Bucket

Rates: TypeAlias = tuple[float | None, float | None, float | None]
"""Requests, input tokens and output tokens per minute; None where there is no limit."""

Amounts: TypeAlias = tuple[float, float, float]
"""Requests, input tokens and output tokens."""


@final
class LeaseOffice:
    """Leases what the rates allow, in the order of asking. It never waits: it tells whoever asks how long to wait.

    Args:
      rates: How much may be leased per minute.
      clock: Returns the time in seconds, by any clock.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._not_before = -math.inf
        self._buckets = (Bucket(), Bucket(), Bucket())
        for bucket, rate in zip(self._buckets, rates, strict=True):
            if rate is not None:
                # A capacity of ten seconds, not of a minute: whoever sets a rate wants a steady one.
                bucket.limit(rate, clock(), capacity=max(1.0, rate / 6))

    def lease(self, amounts: Amounts) -> float:
        """Take a lease. Negative amounts are given back.

        Returns:
          The seconds until it may be used.
        """
        now = self._clock()
        waits = [bucket.wait(amount, now) for bucket, amount in zip(self._buckets, amounts, strict=True)]
        for bucket, amount in zip(self._buckets, amounts, strict=True):
            bucket.take(amount, now)
        return max(0.0, self._not_before - now, *waits)

    def pause(self, seconds: float) -> None:
        """Let nobody send for ``seconds``, because the API asked one of the actors to wait."""
        self._not_before = max(self._not_before, self._clock() + seconds)
