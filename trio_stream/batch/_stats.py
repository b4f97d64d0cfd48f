"""Where a fan-out stands: counts, tokens, money, pauses.

What belongs here: the value that users read. What does not: counting (`_fan_out`, `_governor`, `_budget`).
"""

from __future__ import annotations

from typing import final

import msgspec

from ._stopping import FanOutStoppedError


@final
class FanOutStats(msgspec.Struct, frozen=True, kw_only=True):
    """A fan-out as of the moment it was asked.

    Args:
      pulled: Items taken from the iterable so far.
      done: Outcomes so far, of every status.
      ok: Of these, whole messages of this run.
      cached: Answers from the journal.
      errors: Items whose last attempt failed.
      timeouts: Items that ran out of time.
      cancelled: Items that were under way when the fan-out was aborted or left.
      skipped: Items that were never started, or given up when the fan-out stopped.
      in_flight: Items that are started and have not ended.
      live: Requests under way, of those items that do not wait.
      window: How many requests may be under way now.
      unread: Outcomes that the consumer has not taken yet.
      requests: Requests made, retries included.
      retries: Requests made for items that had made one before.
      refused: Answers 429, by a rate limit.
      overloaded: Answers 529.
      input_tokens: Uncached input tokens, of failed attempts too, like all tokens here.
      output_tokens: Output tokens.
      cache_write_tokens: Input tokens written to the prompt cache.
      cache_read_tokens: Input tokens read from the prompt cache.
      cost: In the currency of the budget's ``prices``; None without them.
      seconds: Since the fan-out began; to its end, once it has ended.
      paused_until: Until when nothing is sent because the API asked to wait, by `trio.current_time`; None: not paused.
      breaker_open: The API is overloaded, and only probed.
      stopped: Why nothing new is started any more (its ``reason``, its sentence); None: it is.
    """

    pulled: int = 0
    done: int = 0
    ok: int = 0
    cached: int = 0
    errors: int = 0
    timeouts: int = 0
    cancelled: int = 0
    skipped: int = 0
    in_flight: int = 0
    live: int = 0
    window: int = 0
    unread: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    overloaded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    paused_until: float | None = None
    breaker_open: bool = False
    stopped: FanOutStoppedError | None = None

    @property
    def cache_hit_rate(self) -> float | None:
        """The share of input tokens that was read from the prompt cache; None before there were any."""
        total = self.input_tokens + self.cache_write_tokens + self.cache_read_tokens
        return self.cache_read_tokens / total if total else None
