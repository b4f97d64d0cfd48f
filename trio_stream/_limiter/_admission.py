"""The admission of one request: it waits for a permit before each attempt, and tells the limiter what came of it.

What belongs here: which answer and which failure a limiter is told, and when a permit is given back. What does not:
when the attempts are made (`_stream`, `batch`), and what the limiter makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import final

import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._protocol import RateLimits, Usage, Verdict, judge

from ._interface import Permit, RateLimiter


class _State(Enum):
    NEW = "the permit has not been asked for"
    HELD = "the permit was given, and the attempt is under way"
    SPENT = "the attempt is over: another one needs another permit"


@final
class Admission:
    """The permits of one request, one after another.

    ::

        NEW ──ask──▶ HELD ──release──▶ SPENT
                       ▲                 │
                       └───────ask───────┘   with another permit

    A fan-out asks before it makes its stream, because the limiter is the last of several gates; the stream then finds
    the permit HELD and asks for none. Both release it: whoever comes second finds that it has been done.

    Args:
      limiter: The limiter.
      new_permit: A function that makes a permit for the next attempt.

    Attributes:
      permit: The permit of this attempt; before `ask`, of the next one if there was none yet.
      waited_before: Seconds that this attempt waited for its permit.
      too_large: Whether a refusal was final, because the request is larger than what the limit allows for a minute.
    """

    __slots__ = (
        "_earlier",
        "_limiter",
        "_limits",
        "_new_permit",
        "_since",
        "_state",
        "permit",
        "too_large",
        "waited_before",
    )

    def __init__(self, limiter: RateLimiter, new_permit: Callable[[], Permit]) -> None:
        self._limiter = limiter
        self._new_permit = new_permit
        self._state = _State.NEW
        self._limits = RateLimits()
        self._earlier = 0.0  # seconds that earlier attempts waited
        self._since: float | None = None  # when the present wait began
        self.permit: Permit = new_permit()
        self.waited_before: float = 0.0
        self.too_large: bool = False

    @property
    def waited(self) -> float:
        """Seconds that all attempts have waited for their permits up to now."""
        now = 0.0 if self._since is None else trio.current_time() - self._since
        return self._earlier + self.waited_before + now

    async def ask(self) -> None:
        """Wait for the permit of the next attempt, unless somebody has done so already.

        A checkpoint if it asks. If it is cancelled, nothing has been taken.

        Raises:
          Exception: The limiter raised it.
        """
        if self._state is _State.HELD:
            return
        if self._state is _State.SPENT:
            self.permit = self._new_permit()
        self._earlier += self.waited_before
        self.waited_before = 0.0
        self._since = trio.current_time()
        try:
            await self._limiter.acquire(self.permit)
        finally:
            self.waited_before = trio.current_time() - self._since
            self._since = None
        self._state = _State.HELD

    # A stream may be closed by another task at any time, and its permit is released then. What its own task notices
    # afterwards is not told any more.

    def began(self, limits: RateLimits, usage: Usage | None, events: Callable[[], int]) -> None:
        """The answer has begun.

        Args:
          limits: What its headers tell.
          usage: The tokens counted so far.
          events: As `Permit.events`.
        """
        if self._state is not _State.HELD:
            return
        permit = self.permit
        permit.began_at = trio.current_time()
        permit.usage = usage
        permit.events = events
        self._limits = limits
        self._limiter.observe(permit, limits)

    def completed(self, usage: Usage | None) -> None:
        """The answer is whole, and its usage is final."""
        if self._state is _State.HELD:
            self.permit.usage = usage
            self.permit.ended = True
            self._limiter.observe(self.permit, self._limits)

    def failed(self, error: APIError) -> None:
        """The attempt failed, or its answer was cut."""
        if self._state is not _State.HELD:
            return
        verdict = judge(error).verdict
        if verdict in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
            self._limiter.penalise(self.permit, error)
            self.too_large = self.permit.oversize and verdict is Verdict.RATE_LIMITED
        elif isinstance(error, APIStatusError) and error.rate_limits not in (None, RateLimits()):
            # The headers of an error tell the limits too; most often it is a 529.
            self._limiter.observe(self.permit, error.rate_limits)

    def release(self) -> None:
        """The attempt is over, however it ended. Never waits, since its task may be cancelled."""
        if self._state is _State.HELD:
            self._state = _State.SPENT
            self._limiter.release(self.permit)
