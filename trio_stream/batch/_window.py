"""How many requests may be under way at once: the window, and the breaker for an API that is overloaded.

What belongs here: the arithmetic, without clock and without waiting. What does not: rates (`_limiter`), and who
waits for what (`_governor`).
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

import msgspec

_CUT: Final = 0.7
_SECONDS_BETWEEN_CUTS: Final = 5.0
"""One burst of refusals is one piece of news."""

_GROWTH_AFTER_CUT: Final = 2.0
"""Per window of successes, once the limit is known to be near."""

_RAMP_CUT: Final = 0.5
_GROWTH_ON_RAMP: Final = 0.5
"""Per window of successes, for an API that complains about growth itself. It doubles with every minute in which the
API does not, up to that after any cut."""
_SECONDS_TO_DOUBLE: Final = 60.0

_LOOKED_BACK: Final = 12
_OVERLOADS_TO_OPEN: Final = 8
_SECONDS_BETWEEN_PROBES: Final = 2.0


@final
class Adaptive(msgspec.Struct, frozen=True):
    """A limit of concurrency that finds its own level.

    It begins at ``start``, grows with every success, and is cut when the API refuses a request by its rate limits
    (429). Overload (529), other server errors and network errors never cut it.

    Args:
      minimum: It is never cut below this.
      start: It begins here.
      maximum: It never grows beyond this; also how many items can be held at once, unread outcomes included.
    """

    minimum: int = 2
    start: int = 8
    maximum: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.start <= self.maximum:
            raise ValueError(f"1 <= minimum <= start <= maximum is needed, not {self!r}")

    @classmethod
    def of(cls, limit: int | Adaptive) -> Adaptive:
        """What ``limit=`` means: a number is a window that stays as it is.

        Raises:
          ValueError: It is less than 1.
          TypeError: It is neither.
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
    """The limit of concurrency as of now: additive growth, multiplicative cuts."""

    __slots__ = ("_bounds", "_cut_at", "_growth", "_ramp_at", "_size")

    def __init__(self, bounds: Adaptive) -> None:
        self._bounds = bounds
        self._size = float(bounds.start)
        self._growth: float | None = None  # per window; None: one per success, as nothing is known yet
        self._cut_at: float | None = None
        self._ramp_at: float | None = None

    @property
    def size(self) -> int:
        """How many may be under way."""
        return int(self._size)

    def succeeded(self, now: float) -> None:
        """A request was taken.

        Args:
          now: Seconds, of any clock.
        """
        growth = self._growth
        if growth is not None and self._ramp_at is not None:
            minutes = (now - self._ramp_at) // _SECONDS_TO_DOUBLE
            growth = min(growth, _GROWTH_ON_RAMP * 2.0 ** min(minutes, 10.0))
        step = 1.0 if growth is None else growth / self._size
        self._size = min(self._size + step, float(self._bounds.maximum))

    def refused(self, now: float) -> None:
        """A request was refused by a rate limit.

        Args:
          now: Seconds, of any clock. How long the API asks to wait plays no part.
        """
        self._cut(now, self._size * _CUT)

    def ramp(self, now: float, live: int) -> None:
        """The API refuses because usage grows too fast: go back, and grow slowly from now on.

        Args:
          now: Seconds, of any clock.
          live: How many requests are under way. A window that was not full would go on growing after a cut.
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
    """Stops sending while the API is overloaded, and probes until it is not.

    It opens when most of the last answers were 529, and closes at the first that was not.
    """

    __slots__ = ("_last", "_probe_at")

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_LOOKED_BACK)
        self._probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether only probes may go."""
        return self._probe_at is not None

    def note(self, *, overloaded: bool, now: float) -> None:
        """An answer came.

        Args:
          overloaded: It was a 529.
          now: Seconds, of the clock that `wait` is asked with.
        """
        if not overloaded:
            if self._probe_at is not None:
                # What came before the storm's end says nothing about the time after it.
                self._last.clear()
                self._probe_at = None
            self._last.append(False)
            return
        self._last.append(True)
        if self._probe_at is None and sum(self._last) >= _OVERLOADS_TO_OPEN:
            self._probe_at = now + _SECONDS_BETWEEN_PROBES

    def wait(self, now: float) -> float:
        """Seconds until a request may go; 0 for at once."""
        return 0.0 if self._probe_at is None else max(0.0, self._probe_at - now)

    def sent(self, now: float) -> None:
        """A request goes out; while this is open, as the probe."""
        if self._probe_at is not None:
            self._probe_at = now + _SECONDS_BETWEEN_PROBES
