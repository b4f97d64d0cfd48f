"""Who may send, and when: window, breaker and rate limiter put together.

What belongs here: waiting for leave to send, and what each answer does to those three. What does not: their
arithmetic (`_window`, `_limiter`), and retries (`_attempts`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import final

import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._money import Ledger
from trio_stream._protocol import RateLimits, Usage, Verdict

from ._limiter import Permit, RateLimiter
from ._stopping import FanOutStoppedError
from ._window import Adaptive, Breaker, Window


@final
class Governor:
    """Lets requests out one after another, those to one model in the order in which they asked."""

    def __init__(self, bounds: Adaptive, limiter: RateLimiter, ledger: Ledger) -> None:
        self._window = Window(bounds)
        self._breaker = Breaker()
        self._limiter = limiter
        self._ledger = ledger
        self._turns: defaultdict[tuple[str, bool], trio.Lock] = defaultdict(trio.Lock)
        self._changed = trio.lowlevel.ParkingLot()
        self.live: int = 0
        self.answered: int = 0  # answers that have begun
        self.refused: int = 0
        self.overloaded: int = 0

    @property
    def window(self) -> int:
        """How many requests may be under way."""
        return self._window.size

    @property
    def paused_until(self) -> float | None:
        """Until when nothing is sent; None: it is sent."""
        return self._limiter.paused_until

    @property
    def breaker_open(self) -> bool:
        """Whether the API is only probed."""
        return self._breaker.is_open

    async def acquire(self, permit: Permit) -> None:
        """Wait for leave to send. A checkpoint. If it is cancelled nothing has been taken.

        Raises:
          FanOutStoppedError: There is no budget left.
        """
        # One at a time: whoever waits longest goes first. But limits hold for one model, and what waits for those of
        # one must not hold up what goes to another.
        async with self._turns[permit.model, permit.fast]:
            while True:
                if self.live >= self._window.size:
                    await self._changed.park()
                    continue
                seconds = self._breaker.wait(trio.current_time())
                if seconds <= 0:
                    break
                with trio.move_on_after(seconds):
                    await self._changed.park()
            spent = self._ledger.used_up()
            if spent is not None:
                raise FanOutStoppedError(spent, reason="budget")
            await self._limiter.acquire(permit)
            self._breaker.sent(trio.current_time())
            self._ledger.requests += 1
            self.live += 1

    def began(self, permit: Permit, limits: RateLimits, usage: Usage | None) -> None:
        """The answer to a request has begun."""
        now = trio.current_time()
        permit.began_at = now
        self.answered += 1
        permit.usage = usage
        self._window.succeeded(now)
        self._breaker.note(overloaded=False, now=now)
        self._limiter.observe(permit, limits)
        self._changed.unpark_all()

    def completed(self, permit: Permit, limits: RateLimits, usage: Usage) -> None:
        """The answer to a request is whole."""
        permit.usage = usage
        permit.ended = True
        self._limiter.observe(permit, limits)

    def failed(self, permit: Permit, error: APIError, verdict: Verdict) -> None:
        """A request failed, or its answer was cut."""
        now = trio.current_time()
        if verdict is Verdict.OVERLOADED:
            self.overloaded += 1
            self._breaker.note(overloaded=True, now=now)
        elif verdict in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
            self.refused += 1
            self._breaker.note(overloaded=False, now=now)
            if verdict is Verdict.RAMP_LIMITED:
                self._window.ramp(now, self.live)
            else:
                self._window.refused(now)
            self._limiter.penalise(permit, error)
            return
        if isinstance(error, APIStatusError) and error.rate_limits not in (None, RateLimits()):
            # An error tells the limits too; most often it is 529.
            self._limiter.observe(permit, error.rate_limits)

    def release(self, permit: Permit) -> None:
        """A request is over, however it ended. Does not wait."""
        self.live -= 1
        self._limiter.release(permit)
        if self._changed:
            self._changed.unpark_all()
