"""The options of a fan-out: their defaults, and what of them can be wrong from the start.

What belongs here: reading and checking them. What does not: what they do (`_fan_out`, whose `fan_out` describes them).
"""

from __future__ import annotations

import os
from typing import Any, Final, Literal

import msgspec

from trio_stream._money import Budget

from ._attempts import OnEvent
from ._limiter import HeaderRateLimiter, RateLimiter
from ._records import JournalLike
from ._window import Adaptive

DEFAULT_LIMIT: Final = Adaptive()


class FanOutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `fan_out`, checked."""

    limit: Adaptive
    limiter: RateLimiter
    journal: str | os.PathLike[str] | JournalLike | None
    on_error: Literal["capture", "raise"]
    max_errors: int | float | None
    max_attempts: int
    item_timeout: float | None
    warmup: bool
    budget: Budget
    on_event: OnEvent | None
    skip_rest: bool | None
    params: dict[str, Any]

    def __post_init__(self) -> None:
        if self.on_error not in ("capture", "raise"):
            raise ValueError(f"on_error must be 'capture' or 'raise', not {self.on_error!r}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {self.max_attempts!r}")
        if self.item_timeout is not None and not self.item_timeout > 0:
            raise ValueError(f"item_timeout must be a positive number of seconds, not {self.item_timeout!r}")
        if self.max_errors is not None and not self.max_errors >= 0:
            raise ValueError(f"max_errors must not be negative: {self.max_errors!r}")
        if "max_retries" in self.params:
            raise TypeError("max_retries is not a parameter of a fan-out: use max_attempts")
        if "stream" in self.params:
            raise TypeError("stream is not a parameter of a fan-out: it always streams")


def make_options(
    *,
    limit: int | Adaptive = DEFAULT_LIMIT,
    limiter: RateLimiter | None = None,
    journal: str | os.PathLike[str] | JournalLike | None = None,
    on_error: Literal["capture", "raise"] = "capture",
    max_errors: int | float | None = None,
    max_attempts: int = 5,
    item_timeout: float | None = None,
    warmup: bool = False,
    budget: Budget | None = None,
    on_event: OnEvent | None = None,
    **params: Any,
) -> FanOutOptions:
    """Check the options of `fan_out`, which says what they mean."""
    return FanOutOptions(
        limit=Adaptive.of(limit),
        limiter=HeaderRateLimiter() if limiter is None else limiter,
        journal=journal,
        on_error=on_error,
        max_errors=max_errors,
        max_attempts=max_attempts,
        item_timeout=item_timeout,
        warmup=warmup,
        budget=Budget() if budget is None else budget,
        on_event=on_event,
        skip_rest=None,
        params=params,
    )
