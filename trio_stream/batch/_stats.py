"""The figures of a fan-out: counts, tokens, money, pauses.

What belongs here: the value that users read. What does not: counting (`_outbox`, `_feeder`, `_governor`, and the
ledger).
"""

from __future__ import annotations

from typing import final

import msgspec

from trio_stream._money import Costs

from ._stopping import FanOutStoppedError


@final
class FanOutStats(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a fan-out at the moment when `FanOut.stats` was read.

    Args:
      pulled: Items taken from the iterable so far.
      done: Outcomes so far, of every status.
      ok: Items whose message is whole, in this run.
      cached: Items whose answer was in the journal.
      errors: Items whose last attempt failed.
      timeouts: Items that ran out of time.
      invalid: Items whose answer is no value of ``output``: ``truncated``, ``refused`` and ``invalid`` together.
      cancelled: Items that were under way when the fan-out was aborted or left.
      skipped: Items that were never started, or were given up when the fan-out stopped.
      in_flight: Items that have been started and have not ended.
      live: Requests under way. Items that wait to send have none.
      window: How many requests may be under way now.
      unread: Outcomes that the consumer has not taken yet.
      queued: Items in message batches that have no result yet.
      paid_twice: Items that were asked again although a message batch may have answered them too, and billed that: it
        had not ended after the deadline of ``via=ViaBatch(deadline=...)``, or somebody has deleted it.
      requests: Requests made, retries included.
      retries: Requests made for items that had made one before.
      refused: Answers with the status 429 (rate limits).
      overloaded: Answers with the status 529.
      input_tokens: Uncached input tokens. Like all tokens here, it counts failed attempts too.
      output_tokens: Output tokens.
      cache_write_tokens: Input tokens written to the prompt cache.
      cache_read_tokens: Input tokens read from the prompt cache.
      cache_hits: Answers that have read from the prompt cache. Counted with ``cache`` or ``warmup``, for the items that
        share something; `cache_hit_rate` is of all tokens.
      cache_misses: Answers that have not.
      cache_writes: Answers that have written to it.
      cost: What all this cost, in the currency of the prices, which are dollars by default; None once a model was used
        whose prices are not known. So it is with all costs here.
      cost_before: What earlier runs of the job cost, as the journal remembers them. A budget counts both.
      cost_failed: The part of ``cost`` for attempts that failed or were cancelled.
      cost_estimated: The part of ``cost`` for answers that were cut: the API does not tell how many tokens of output
        they had, so that is estimated.
      costs: ``cost`` by kind, and what was saved.
      seconds: Seconds since the fan-out began, up to its end.
      paused_until: The time, by `trio.current_time`, until which nothing is sent because the API asked to wait; None
        while sending is not paused.
      breaker_open: Whether the API is overloaded, so that only single probes are sent.
      stopped: The error that ended the run early; None while new items are still started.
    """

    pulled: int = 0
    done: int = 0
    ok: int = 0
    cached: int = 0
    errors: int = 0
    timeouts: int = 0
    invalid: int = 0
    cancelled: int = 0
    skipped: int = 0
    in_flight: int = 0
    live: int = 0
    window: int = 0
    unread: int = 0
    queued: int = 0
    paid_twice: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    overloaded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_writes: int = 0
    cost: float | None = None
    cost_before: float | None = None
    cost_failed: float | None = None
    cost_estimated: float | None = None
    costs: Costs | None = None
    seconds: float = 0.0
    paused_until: float | None = None
    breaker_open: bool = False
    stopped: FanOutStoppedError | None = None

    @property
    def cache_hit_rate(self) -> float | None:
        """The share of input tokens that was read from the prompt cache; None before any were counted."""
        total = self.input_tokens + self.cache_write_tokens + self.cache_read_tokens
        return self.cache_read_tokens / total if total else None

    @property
    def cache_useless(self) -> bool:
        """Whether answers have begun, and none has written to the prompt cache or read from it.

        Mostly what is shared is too short then: each model has a least length, from 512 to 4,096 tokens.
        """
        return self.cache_misses > 0 and not self.cache_hits and not self.cache_writes
