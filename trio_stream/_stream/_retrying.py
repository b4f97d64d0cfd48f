"""The retry loop: one operation, tried again while the error allows it.

What belongs here: sleeping between attempts and knowing when to give up. What does not: which errors are worth
another attempt and how long to wait (`_protocol`, pure).
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, final

import trio

from trio_stream._errors import APIError, APIStatusError, CredentialsError, IncompleteStreamError
from trio_stream._protocol import decide_retry

_log = logging.getLogger("trio_stream")

_SHORTEST_WAIT: Final = 0.001
"""Seconds. What is left of a clock that ran out, because sums of floats are not exact, is no time for an attempt."""

_EARLIER: Final = " (the API may have accepted an earlier attempt)"

T = TypeVar("T")


@final
class EarlierAttempts:
    """What the attempts of one request so far mean for the error that it ends with.

    Attributes:
      may_have_been_accepted: Whether the API may be working on one of them.
    """

    __slots__ = ("may_have_been_accepted",)

    def __init__(self) -> None:
        self.may_have_been_accepted = False

    def mark(self, error: APIError) -> None:
        """Write on the error of a later attempt, or of a clock, that an earlier one may have been accepted."""
        if self.may_have_been_accepted and not error.may_have_been_accepted:
            error.may_have_been_accepted = True
            error.message += _EARLIER
            error.args = (error.message,)

    def add(self, error: APIError) -> None:
        """Remember what an attempt ended with; its error is marked with what was before it."""
        self.mark(error)
        if error.may_have_been_accepted or isinstance(error, IncompleteStreamError):
            self.may_have_been_accepted = True


@final
class Waiting:
    """The clock ``first_event``: how long the attempts of one request have waited for an answer, all together.

    As the clocks of reading do, it measures waiting for the network: neither the waits between attempts nor connecting
    and sending, which have a clock of their own.

    Args:
      limit: What the clock is set to, in seconds. None: it is off.

    Attributes:
      runs_out_at: When it runs out, by Trio's clock; infinity while it stands still.
    """

    __slots__ = ("_left", "_since", "runs_out_at")

    def __init__(self, limit: float | None) -> None:
        self._left = math.inf if limit is None else limit
        self._since: float | None = None
        self.runs_out_at = math.inf

    def start(self) -> float:
        """Begin to wait, because the request has been sent. Returns when the clock runs out."""
        self._since = trio.current_time()
        self.runs_out_at = self._since + self._left
        return self.runs_out_at

    def stop(self) -> None:
        """Note that the attempt is over, if there was one."""
        if self._since is not None:
            self._left -= trio.current_time() - self._since
            self._since, self.runs_out_at = None, math.inf

    def has_time(self) -> bool:
        """Whether another attempt could wait at all. If not, the error of the last one says more than this clock."""
        self.stop()
        return self._left > _SHORTEST_WAIT


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    *,
    max_retries: int,
    repeatable: bool = True,
    renewable: bool = False,
    sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    on_retry: Callable[[APIError, float], None] | None = None,
    earlier: EarlierAttempts | None = None,
    has_time: Callable[[], bool] | None = None,
) -> T:
    """Call ``attempt(retries_taken)`` until it returns, or fails for good, with a ``sleep`` in between.

    Args:
      attempt: Makes one attempt. It is told how many there were before.
      max_retries: How often it may be tried again.
      repeatable: As `StreamRequest.repeatable`.
      renewable: Whether it is worth another attempt at once if the API refuses a key or token (401): it is renewed.
        That happens once, and is no retry.
      sleep: Waits for a number of seconds.
      on_retry: Called with the error and the seconds before each sleep.
      has_time: Whether the clocks leave time for another attempt. Default: always.
      earlier: Keeps what the attempts mean for later errors, for a caller that raises errors of its own.

    Checkpoint and cancellation: those of ``attempt`` and ``sleep``.

    Raises:
      APIError: The last attempt's.
    """
    earlier = EarlierAttempts() if earlier is None else earlier
    retries_taken = 0
    refusal: APIError | None = None
    while True:
        try:
            return await attempt(retries_taken)
        except APIError as error:
            earlier.add(error)
            if isinstance(error, CredentialsError) and refusal is not None:
                earlier.mark(refusal)
                raise refusal from error  # nothing came in place of what was refused: what the API says stands
            has_time_left = has_time is None or has_time()
            if (
                renewable
                and has_time_left
                and refusal is None
                and isinstance(error, APIStatusError)
                and error.status_code == 401
            ):
                refusal = error
                _log.info("once more with another key or token, after %s", type(error).__name__)
                if on_retry is not None:
                    on_retry(error, 0.0)
                continue
            delay = decide_retry(
                error,
                retries_taken=retries_taken,
                max_retries=max_retries,
                repeatable=repeatable,
                jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
            if delay is None or not has_time_left:
                raise
            _log.info("retry %d of %d in %.2f s after %s", retries_taken + 1, max_retries, delay, type(error).__name__)
            if on_retry is not None:
                on_retry(error, delay)
        await sleep(delay)
        retries_taken += 1
