"""How many requests may be under way at once: the window, and the breaker for an API that is out of order.

What belongs here: the arithmetic, without a clock and without waiting. What does not: rates (`trio_stream._limiter`),
and waiting (`_governor`).
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

import msgspec

_CUT: Final = 0.7
"""The factor by which a refusal cuts the window."""

_SECONDS_BETWEEN_CUTS: Final = 5.0
"""A burst of refusals says one thing only, so the window is cut once for all of it."""

_GROWTH_AFTER_CUT: Final = 2.0
"""Places gained for each window full of successes, once the limit is known to be near."""

_RAMP_CUT: Final = 0.5
_GROWTH_ON_RAMP: Final = 0.5
"""Likewise, after the API complained about growth itself. It doubles with every minute without such a complaint, until
it is that after any other cut."""

_SECONDS_TO_DOUBLE: Final = 60.0

_LOOKED_BACK: Final = 12
"""How many of the last answers the breaker looks at."""

_FAILURES_TO_OPEN: Final = 8
"""How many of these must have failed to open it."""

_SECONDS_BETWEEN_PROBES: Final = 2.0


@final
class Adaptive(msgspec.Struct, frozen=True):
    """A limit of concurrency that finds its own level.

    It begins at ``start``, grows with every success, and is cut when the API refuses a request by its rate limits
    (429). Overload (529), other server errors and network errors never cut it.

    Args:
      minimum: The limit is never cut below this.
      start: The limit at the beginning.
      maximum: The limit never grows beyond this. It also bounds how many items are held at once, unread outcomes
        included.
    """

    minimum: int = 2
    start: int = 8
    maximum: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.start <= self.maximum:
            raise ValueError(f"1 <= minimum <= start <= maximum is needed, not {self!r}")

    @classmethod
    def of(cls, limit: int | Adaptive) -> Adaptive:
        """Read the option ``limit``: a plain number is a limit that never changes.

        Raises:
          ValueError: ``limit`` is less than 1.
          TypeError: ``limit`` is neither an int nor an `Adaptive`.
        """
        if isinstance(limit, Adaptive):
            return limit
        if type(limit) is not int:
            raise TypeError(f"limit must be an int or an Adaptive, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        return cls(limit, limit, limit)


@final
class Window:
    """The current limit of concurrency. It grows by addition and is cut by multiplication.

    Growth has three stages. At first every success adds one place, because nothing is known of the limit. After the
    first cut, a whole window of successes adds two. After a cut for growing too fast it adds half a place, and twice
    that with every minute that follows.
    """

    __slots__ = ("_bounds", "_cut_at", "_growth", "_ramp_at", "_size")

    def __init__(self, bounds: Adaptive) -> None:
        self._bounds = bounds
        self._size = float(bounds.start)
        self._growth: float | None = None  # places for a window of successes; None: one for each success
        self._cut_at: float | None = None
        self._ramp_at: float | None = None

    @property
    def size(self) -> int:
        """How many requests may be under way."""
        return int(self._size)

    @property
    def unlimited(self) -> bool:
        """Whether no refusal has shown yet where the limit is."""
        return self._growth is None

    def succeeded(self, now: float) -> None:
        """The API took a request, and its answer has begun.

        Args:
          now: The time in seconds, by any clock.
        """
        growth = self._growth
        if growth is not None and self._ramp_at is not None:
            minutes = (now - self._ramp_at) // _SECONDS_TO_DOUBLE
            growth = min(growth, _GROWTH_ON_RAMP * 2.0 ** min(minutes, 10.0))
        step = 1.0 if growth is None else growth / self._size
        self._size = min(self._size + step, float(self._bounds.maximum))

    def refused(self, now: float) -> None:
        """A rate limit refused a request. How long the API asks to wait plays no part here.

        Args:
          now: The time in seconds, by any clock.
        """
        self._cut(now, self._size * _CUT)

    def ramp(self, now: float, live: int) -> None:
        """The API refused a request because usage grows too fast: go back, and grow slowly from now on.

        Args:
          now: The time in seconds, by any clock.
          live: How many requests are under way. The cut starts from these: if the window was not full, cutting only
            the window would let usage go on growing.
        """
        self._ramp_at = now
        self._cut(now, min(self._size, float(live)) * _RAMP_CUT)

    def _cut(self, now: float, size: float) -> None:
        self._growth = _GROWTH_AFTER_CUT
        if self._cut_at is not None and now - self._cut_at < _SECONDS_BETWEEN_CUTS:
            return
        self._cut_at = now
        self._size = max(size, float(self._bounds.minimum))


@final
class Breaker:
    """Stops sending while the API is overloaded or out of order, but for a single probe every two seconds.

    It opens when most of the last requests failed before anything was answered (connections, 5xx, 529), and closes at
    the first answer that shows that the API works.
    """

    __slots__ = ("_last", "_probe_at")

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_LOOKED_BACK)
        self._probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether only probes may be sent."""
        return self._probe_at is not None

    def note(self, *, failed: bool, now: float) -> None:
        """Count a request that has its answer, or failed without one.

        Args:
          failed: Whether it says that the API is out of order.
          now: The time in seconds, by the same clock as for `wait`.
        """
        if not failed:
            if self._probe_at is not None:
                # What came before the end of the storm says nothing about the time after it.
                self._last.clear()
                self._probe_at = None
            self._last.append(False)
            return
        self._last.append(True)
        if self._probe_at is None and sum(self._last) >= _FAILURES_TO_OPEN:
            self._probe_at = now + _SECONDS_BETWEEN_PROBES

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent; 0 if it may be sent now."""
        return 0.0 if self._probe_at is None else max(0.0, self._probe_at - now)

    def sent(self, now: float) -> None:
        """A request is sent. While the breaker is open it is the probe, and the next has to wait."""
        if self._probe_at is not None:
            self._probe_at = now + _SECONDS_BETWEEN_PROBES
