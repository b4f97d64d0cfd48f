"""What a rate limiter is told, and what it answers: the permit of a request, and the interface of every limiter.

What belongs here: the types that a limiter of anybody's has to know. What does not: the limiter that follows the API's
headers (`_header_limiter`), and who asks for permits (`_admission`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, final, get_args

from trio_stream._errors import APIError
from trio_stream._protocol import RateLimits, Usage

Lane: TypeAlias = Literal["interactive", "batch"]
"""Which queue a request waits in: that of people, or that of work nobody waits for."""

LANES: Final[tuple[Lane, ...]] = get_args(Lane)


def check_lane(value: object) -> Lane:
    """Return ``value`` if it is a lane.

    Raises:
      ValueError: It is neither ``"interactive"`` nor ``"batch"``.
    """
    if value not in LANES:
        raise ValueError(f"lane must be 'interactive' or 'batch', not {value!r}")
    return value


@final
class Permit:
    """One request as a limiter sees it, from `RateLimiter.acquire` to `RateLimiter.release`.

    Attributes:
      input_tokens: The input tokens that count for rate limits, which are uncached input and cache writes. An estimate
        at first, then the API's own count.
      max_tokens: The request's ``max_tokens``.
      model: The request's ``model``. Limits hold for one model.
      fast: Whether the request has ``speed="fast"``, which has limits of its own.
      lane: ``"interactive"`` if somebody waits for the answer, ``"batch"`` for the items of a fan-out.
      usage: The tokens that the API counted; None until the answer has begun, final once ``ended`` is true.
      events: A function that returns how many events of the answer have arrived.
      began_at: When the answer began, in seconds by `trio.current_time`; None before.
      ended: Whether the answer is whole.
      cached: Whether a part of the prompt is to be found in the prompt cache, once one request has written it.
      oversize: Whether its input is more than a limit allows for a whole minute, so that no waiting helps it: it is
        sent at once, and if it is refused it is not sent again. Set by the limiter, in `RateLimiter.acquire`.

    Raises:
      ValueError: ``lane`` is neither of the two.
    """

    __slots__ = (
        "began_at",
        "cached",
        "ended",
        "events",
        "fast",
        "input_tokens",
        "lane",
        "max_tokens",
        "model",
        "oversize",
        "usage",
    )

    def __init__(
        self,
        *,
        input_tokens: int,
        max_tokens: int,
        model: str = "",
        fast: bool = False,
        cached: bool = False,
        lane: Lane = "interactive",
    ) -> None:
        self.input_tokens: int = input_tokens
        self.max_tokens: int = max_tokens
        self.model: str = model
        self.fast: bool = fast
        self.lane: Lane = check_lane(lane)
        self.usage: Usage | None = None
        self.events: Callable[[], int] = _no_events
        self.began_at: float | None = None
        self.ended: bool = False
        self.cached: bool = cached
        self.oversize: bool = False


def _no_events() -> int:
    return 0


class RateLimiter(abc.ABC):
    """Decides when a request may be sent. One limiter may serve a whole program: streams, agents and fan-outs.

    Subclass it to share limits between programs: `acquire` may wait for another machine. For each request `acquire` is
    called first and `release` last. In between `observe` is called when the answer begins and when it is whole; or
    `penalise` when the API refuses the request because of a rate limit; or `observe` when it answers with any other
    error. A request that is tried again is another request, with a permit of its own.
    """

    @abc.abstractmethod
    async def acquire(self, permit: Permit) -> None:
        """Wait until this request may be sent. A checkpoint. If it is cancelled, nothing has been taken."""

    @abc.abstractmethod
    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """Learn from an answer that has begun, or is whole (``permit.ended``), or is an error such as 529.

        Args:
          permit: The permit of the request, with ``usage`` filled in. For an error, ``usage`` and ``began_at`` are
            None.
          limits: The rate limits in the headers of the answer. For an error without any, this is not called.
        """

    @abc.abstractmethod
    def penalise(self, permit: Permit, error: APIError) -> None:
        """Learn that a rate limit refused a request.

        Args:
          permit: The permit of the request.
          error: The refusal. An `APIStatusError` has ``retry_after`` and ``rate_limits``.
        """

    def release(self, permit: Permit) -> None:  # noqa: B027 - a limiter need not care
        """Learn that a request is over, however it ended. Must not wait.

        Args:
          permit: The permit of the request.
        """

    @property
    def paused_until(self) -> float | None:
        """The time, by `trio.current_time`, until which the API asked to wait; None while sending is not paused."""
        return None
