"""What something cost, by kind.

What belongs here: the value. What does not: computing it (`_prices`).
"""

from __future__ import annotations

from typing import final

import msgspec


@final
class Costs(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one or many answers cost, by kind, in the currency of the prices.

    Args:
      input: Uncached input tokens.
      output: Output tokens.
      cache_write: Input tokens written to the prompt cache.
      cache_read: Input tokens read from it.
      web_search: Web searches.
      saved_by_batch: How much more it would have cost had the batches been sent as single requests.
      saved_by_cache: How much more it would have cost without the prompt cache; less than 0 if more was written than
        was read, so that the cache lost money.
    """

    input: float = 0.0
    output: float = 0.0
    cache_write: float = 0.0
    cache_read: float = 0.0
    web_search: float = 0.0
    saved_by_batch: float = 0.0
    saved_by_cache: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all kinds. What was saved is no part of it."""
        return self.input + self.output + self.cache_write + self.cache_read + self.web_search

    def __add__(self, other: Costs) -> Costs:
        """The costs of both together."""
        return Costs(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_write=self.cache_write + other.cache_write,
            cache_read=self.cache_read + other.cache_read,
            web_search=self.web_search + other.web_search,
            saved_by_batch=self.saved_by_batch + other.saved_by_batch,
            saved_by_cache=self.saved_by_cache + other.saved_by_cache,
        )
