"""Budgets, as programs give them.

What belongs here: the value, and checking it. What does not: comparing it with what is used (`_ledger`).
"""

from __future__ import annotations

from typing import final

import msgspec

from trio_stream._money._prices import PriceLookup, Prices


@final
class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on what a fan-out uses. Once it is used up nothing new is started, and what is under way finishes.

    Nobody knows beforehand how long an answer will be. So each request reserves what answers took on the average so
    far, and is sent only if there is room for that beside what is spent and reserved; and only if there is room within
    ``overshoot`` too, should every answer under way be as long as its ``max_tokens`` allows. A limit is therefore
    exceeded by that share at most, or by one answer. With a journal the limits on cost and tokens hold for all runs of
    the job together. Cached outcomes use nothing; failed attempts do.

    Args:
      output_tokens: The most output tokens; None for no limit.
      cost: The most money; None for no limit. A request to a model whose prices are not known is not sent then.
      requests: The most requests of one run, retries included; None for no limit.
      prices: The prices of tokens: those of all models, or a function that returns the prices of a model or None. With
        None the built-in prices, in dollars (`Prices.of`), or what the fan-out's own ``prices`` says.
      overshoot: The share by which the limits on cost and tokens may be exceeded at worst.

    Raises:
      ValueError: A limit or ``overshoot`` is negative.
    """

    output_tokens: int | None = None
    cost: float | None = None
    requests: int | None = None
    prices: Prices | PriceLookup | None = None
    overshoot: float = 0.1

    def __post_init__(self) -> None:
        for name in ("output_tokens", "cost", "requests", "overshoot"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} of a budget must not be negative: {value!r}")
