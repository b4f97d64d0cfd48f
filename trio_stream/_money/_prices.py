"""Prices of tokens, and the rules by which usage is charged.

What belongs here: what an answer costs. What does not: the figures (`_table`), and adding up (`_ledger`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, TypeAlias, final

import msgspec

from trio_stream._money._charges import Charge, charges_of
from trio_stream._money._costs import Costs
from trio_stream._money._table import BATCH, FAST, TABLE, US, WEB_SEARCHES, WRITE_1H, WRITE_5M
from trio_stream._protocol import Usage

_ANOTHER_MODEL: Final = re.compile(r"[0-9A-Za-z]|-[0-9]{1,2}(?![0-9])").match
"""What follows the name of a model in that of another: ``-5`` makes another of ``claude-opus-5``, a date does not."""


@final
class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of a million tokens, in any currency. See https://docs.claude.com/en/about-claude/pricing.

    `Prices.of` looks up the built-in prices of a model, which are in dollars. Batches, fast mode, inference in the US
    and long prompts change these prices by factors, which multiply; web searches are added as they are.

    Args:
      input: The price of input tokens.
      output: The price of output tokens, thinking included.
      cache_write: The price of input tokens written to the prompt cache for 5 minutes; None for 1.25 times ``input``.
      cache_read: The price of input tokens read from the prompt cache; None for a tenth of ``input``.
      cache_write_1h: The price of input tokens written to the prompt cache for an hour; None for twice ``input``.
      web_searches: The price of a thousand web searches.
      long_prompt: The length from which on a prompt is a long one, in tokens, cached ones included; None if there are
        no other prices for long prompts.
      long_prompt_factor: The factor for all tokens of a request whose prompt is longer than that.
      least_cacheable: The least number of tokens that the prompt cache keeps; None if that is not known.
      model: The name, or its beginning, of the model that these are the prices of; empty for prices of any model.
    """

    input: float
    output: float
    cache_write: float | None = None
    cache_read: float | None = None
    cache_write_1h: float | None = None
    web_searches: float = WEB_SEARCHES
    long_prompt: int | None = None
    long_prompt_factor: float = 1.0
    least_cacheable: int | None = None
    model: str = ""

    @staticmethod
    def of(model: str) -> Prices | None:
        """Look up the built-in prices of a model, in dollars.

        They are dated: they hold for the day on which this version was made. A date or an alias after the name of the
        model does not matter, another version number does.

        Args:
          model: The model, as an answer's ``model`` names it.

        Returns:
          The prices, or None for a model that is not in the table. Its cost is unknown, not 0.
        """
        return _of(model)

    def cost(self, usage: Usage) -> float:
        """The cost of one answer, in the currency of these prices.

        ::

            prices = Prices.of(message.model)
            print(None if prices is None else prices.cost(message.usage))

        Each of ``usage.iterations`` is charged by the prices of its own model. Cache writes cost what they cost for
        5 minutes or for an hour; ``service_tier``, ``speed`` and ``inference_geo`` of the usage are looked at.

        Args:
          usage: The usage of the answer.

        Raises:
          LookupError: A step of the answer was made by another model, which is not in the built-in table.
        """
        total = 0.0
        for charge in charges_of(usage):
            total += self._of_step(charge.model).costs(charge).total
        return total

    def _of_step(self, model: str) -> Prices:
        if not self.model or model in ("", self.model):
            return self
        prices = Prices.of(model)
        if prices is None:
            raise LookupError(f"a step was made by the model {model!r}, whose prices are not known")
        return self if prices.model == self.model else prices

    def costs(self, charge: Charge) -> Costs:
        """What a charge costs by these prices, whatever its model."""
        factor = 1e-6
        if self.long_prompt is not None and charge.prompt > self.long_prompt:
            factor *= self.long_prompt_factor
        if charge.speed == "fast":
            factor *= FAST
        if charge.geo == "us":
            factor *= US
        full = factor
        if charge.tier == "batch":
            factor *= BATCH
        write = WRITE_5M * self.input if self.cache_write is None else self.cache_write
        write_1h = WRITE_1H * self.input if self.cache_write_1h is None else self.cache_write_1h
        read = 0.1 * self.input if self.cache_read is None else self.cache_read
        uncached = charge.input * self.input * factor
        output = charge.output * self.output * factor
        written = (charge.cache_write * write + charge.cache_write_1h * write_1h) * factor
        was_read = charge.cache_read * read * factor
        cached = charge.cache_read + charge.cache_write + charge.cache_write_1h
        return Costs(
            input=uncached,
            output=output,
            cache_write=written,
            cache_read=was_read,
            web_search=charge.web_searches * self.web_searches / 1_000,
            saved_by_batch=(uncached + output + written + was_read) * (full / factor - 1),
            saved_by_cache=cached * self.input * factor - written - was_read,
        )


PriceLookup: TypeAlias = Callable[[str], Prices | None]
"""A function that returns the prices of a model, or None if it does not know them. `Prices.of` is one."""


def lookup_of(prices: Prices | PriceLookup | None) -> PriceLookup:
    """Make a lookup of what users give as prices.

    Args:
      prices: Prices of all models, a lookup, or None for the built-in table.
    """
    if prices is None:
        return Prices.of
    if isinstance(prices, Prices):
        return lambda _model: prices
    return prices


_LONGEST_FIRST: Final = sorted(TABLE, key=len, reverse=True)


@functools.lru_cache(maxsize=256)
def _of(model: str) -> Prices | None:
    for name in _LONGEST_FIRST:
        if model.startswith(name):
            if _ANOTHER_MODEL(model, len(name)) is not None:
                return None
            row = TABLE[name]
            return Prices(
                input=row.input,
                output=row.output,
                cache_read=row.cache_read,
                long_prompt=row.long_prompt,
                long_prompt_factor=row.long_prompt_factor,
                least_cacheable=row.least_cacheable,
                model=name,
            )
    return None
