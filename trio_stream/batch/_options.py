"""The options of a fan-out: their names, types and defaults, each said once.

What belongs here: reading and checking the options. What does not: what they do; `fan_out` documents that.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import msgspec

from trio_stream._client import SharedCall
from trio_stream._limiter import RateLimiter, check_lane
from trio_stream._money import Budget, PriceLookup, Prices
from trio_stream._protocol import MessageStreamEvent
from trio_stream._schemas import OutputType, output_type

from ._caching import SECONDS, CacheDuration
from ._records import Item, JournalLike
from ._via_batch_options import ViaBatch
from ._window import Adaptive

OnEvent: TypeAlias = Callable[[Item, MessageStreamEvent], Awaitable[object] | object]
"""Called with an item and an event of its stream. An item that is tried again begins again with ``message_start``."""


@final
class FanOutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `fan_out`, with their defaults, checked.

    `fan_out`, `gather_outcomes`, `gather_texts` and `trio_stream.ray.StreamBatch` all have these options and defaults.

    Raises:
      ValueError: An option is invalid, or conflicts with another.
      TypeError: An option has the wrong type, or stands among ``params`` and has another name here.
    """

    limit: int | Adaptive = Adaptive()
    limiter: RateLimiter | None = None
    journal: str | os.PathLike[str] | JournalLike | None = None
    on_error: Literal["capture", "raise"] = "capture"
    max_errors: int | float | None = None
    max_attempts: int = 5
    item_timeout: float | None = None
    warmup: bool = False
    cache: CacheDuration | None = None
    prompt_prefix: str | None = None
    budget: Budget | None = None
    prices: Prices | PriceLookup | None = None
    on_event: OnEvent | None = None
    via: Literal["stream", "batch"] | ViaBatch = "stream"
    output: type[Any] | OutputType[Any] | None = None
    retry_invalid: int = 0
    params: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """The parameters that all requests share. Not an option: `fan_out` takes them by their own names."""

    def __post_init__(self) -> None:
        Adaptive.of(self.limit)
        if self.on_error not in ("capture", "raise"):
            raise ValueError(f"on_error must be 'capture' or 'raise', not {self.on_error!r}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, not {self.max_attempts!r}")
        if self.item_timeout is not None and not self.item_timeout > 0:
            raise ValueError(f"item_timeout must be a positive number of seconds, not {self.item_timeout!r}")
        if self.max_errors is not None and not self.max_errors >= 0:
            raise ValueError(f"max_errors must not be negative: {self.max_errors!r}")
        if self.cache not in (None, *SECONDS):
            raise ValueError(f"cache must be '5m', '1h' or None, not {self.cache!r}")
        if self.prompt_prefix is not None and not self.prompt_prefix.strip():
            raise ValueError("prompt_prefix must not be blank")
        if self.retry_invalid < 0:
            raise ValueError(f"retry_invalid must not be negative: {self.retry_invalid!r}")
        if self.retry_invalid and self.output is None:
            raise ValueError("retry_invalid is for answers that do not fit a type: give that as output")
        if self.via_batch is not None and self.item_timeout is not None:
            raise TypeError("item_timeout is for streams: a batch takes as long as it does, up to 24 hours")
        _ = self.wanted  # whether there is a schema
        if "lane" in self.params:
            check_lane(self.params["lane"])
        if "max_retries" in self.params:
            raise TypeError("max_retries is not a parameter of a fan-out: use max_attempts")
        if "stream" in self.params:
            raise TypeError("stream is not a parameter of a fan-out: it always streams")

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> FanOutOptions:
        """Make options of the keyword arguments of a function: those that are no options are parameters.

        Raises:
          ValueError: An option is invalid, or conflicts with another.
          TypeError: An option has the wrong type, or stands among the parameters and has another name here.
        """
        options = {name: value for name, value in keywords.items() if name in OPTIONS}
        return cls(**options, params={name: value for name, value in keywords.items() if name not in OPTIONS})

    @property
    def wanted(self) -> OutputType[Any] | None:
        """``output`` with its schema; None without one."""
        return None if self.output is None else output_type(self.output)

    @property
    def via_batch(self) -> ViaBatch | None:
        """How batches are used; None to stream.

        Raises:
          ValueError: ``via`` is neither of the two, and no `ViaBatch`.
        """
        if isinstance(self.via, ViaBatch):
            return self.via
        if self.via not in ("stream", "batch"):
            raise ValueError(f"via must be 'stream', 'batch' or a ViaBatch, not {self.via!r}")
        return ViaBatch() if self.via == "batch" else None

    @property
    def bounds(self) -> Adaptive:
        """The bounds of the window: ``limit``, where a plain number is a window of constant size."""
        return Adaptive.of(self.limit)


class GatherCall(SharedCall, total=False):
    """Keyword arguments of `gather_texts` and `gather_outcomes`: the options of `fan_out`, and what requests share."""

    limit: int | Adaptive
    limiter: RateLimiter | None
    journal: str | os.PathLike[str] | JournalLike | None
    max_errors: int | float | None
    max_attempts: int
    item_timeout: float | None
    warmup: bool
    cache: CacheDuration | None
    prompt_prefix: str | None
    budget: Budget | None
    prices: Prices | PriceLookup | None
    on_event: OnEvent | None
    via: Literal["stream", "batch"] | ViaBatch
    retry_invalid: int


OPTIONS: Final = frozenset(FanOutOptions.__struct_fields__) - {"params"}
"""The names of the options."""

DEFAULTS: Final = FanOutOptions()
