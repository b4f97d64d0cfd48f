"""Whether the API is out of order, wholly or in part, and since when.

What belongs here: which failures say that, what disproves it, and when waiting is over, without a clock. What does not:
sending less meanwhile (`_window`), and what it means for an item (`_attempts`).
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from trio_stream._errors import APIError, APIStatusError
from trio_stream._protocol import Verdict

from ._stopping import FanOutStoppedError

_LONGEST: Final = 1800.0
"""Seconds after which a job stops waiting for an API that has answered before."""

_LONGEST_UNHEARD: Final = 60.0
"""Seconds after which a job stops where the API has never answered: most likely it is not there at all."""


WITNESSES: Final = 5
"""So many items prove an outage, however long it lasts. Fewer of them may be its cause: they prove it for a while, and
then further ones are asked too."""

_FEW_SECONDS: Final = 120.0
"""How long that is."""

_LOOKED_BACK: Final = 100
"""How many of the last retries tell the share that fails: requests that went out together end in no fair order."""

_ENOUGH: Final = 12
"""How many of them tell it at least."""

_OFTEN: Final = 1 / 3
_ALWAYS: Final = 19 / 20
"""Between these shares lies a half-outage."""


def says_out_of_order(error: APIError, verdict: Verdict) -> bool:
    """Whether a request that failed before its first event says something about the API rather than about itself.

    Failed connections do, and answers 5xx, 529 among them.

    Args:
      error: What the request failed with.
      verdict: What that means for asking again.
    """
    if verdict is Verdict.OVERLOADED:
        return True
    if isinstance(error, APIStatusError) and 400 <= error.status_code < 500:
        return False  # 408, 409, and what `x-should-retry` asks to send again: the API is there
    return verdict is Verdict.TRANSIENT


@final
class Outage:
    """Since when nothing but failures has come from the API.

    Attributes:
      signs_of_life: How many answers have shown that the API works: those that began, and refusals with a 4xx. Whoever
        compares two readings knows whether there was one in between.
    """

    __slots__ = ("_heard", "_since", "signs_of_life")

    def __init__(self) -> None:
        self.signs_of_life: int = 0
        self._heard = False  # whether anything has ever come from the API itself
        self._since: float | None = None

    def alive(self) -> None:
        """An answer shows that the API works."""
        self._heard = True
        self.signs_of_life += 1
        self._since = None

    def failed(self, now: float, *, heard: bool) -> None:
        """A request failed, and `says_out_of_order`.

        Args:
          now: The time in seconds, by any clock.
          heard: Whether the API itself said so (529), so that it is there at least.
        """
        self._heard = self._heard or heard
        if self._since is None:
            self._since = now

    def wants_witnesses(self, now: float) -> bool:
        """Whether it has lasted for so long that a few items may be its only cause.

        Args:
          now: The time in seconds, by the same clock as for `failed`.
        """
        return self._since is not None and now - self._since >= _FEW_SECONDS

    def too_long(self, error: APIError, now: float) -> FanOutStoppedError | None:
        """Return the error to stop the job with; None while it is worth waiting.

        Args:
          error: What the last request failed with.
          now: The time in seconds, by the same clock as for `failed`.
        """
        if self._since is None:
            return None
        seconds = now - self._since
        if seconds < (_LONGEST if self._heard else _LONGEST_UNHEARD):
            return None
        since = f"nothing has been answered for {seconds:.0f} s" if self._heard else "nothing was ever answered"
        stop = FanOutStoppedError(f"the API is out of order, {since}: {error}", reason="outage")
        stop.__cause__ = error
        return stop


@final
class Retries:
    """How the last retries have ended, which tells a half-outage from items that always fail.

    In a half-outage an item that has failed is answered when it is asked again, sooner or later. Where none is, it is
    the items that fail, however many of all requests they make; or nothing is answered at all (`Outage`).
    """

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: deque[bool] = deque(maxlen=_LOOKED_BACK)

    def note(self, *, failed: bool) -> None:
        """Count a retry whose answer has begun, or that failed without one."""
        self._failed.append(failed)

    @property
    def show_half_outage(self) -> bool:
        """Whether many of them failed but not all, of which there have been enough to tell."""
        number = len(self._failed)
        return number >= _ENOUGH and _OFTEN * number <= sum(self._failed) <= _ALWAYS * number
