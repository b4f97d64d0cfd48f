"""Money and tokens: prices, budgets, and the sums that are compared with them.

What belongs here: adding up usage, and saying when a budget is used up. What does not: what happens then; each room
that spends decides that for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import msgspec

from trio_stream._protocol import Usage


@final
class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of a million tokens, in any currency. See https://docs.claude.com/en/about-claude/pricing.

    Args:
      input: Input tokens.
      output: Output tokens, thinking included.
      cache_write: Input tokens written to the prompt cache; None: 1.25 times ``input``, the price for 5 minutes.
      cache_read: Input tokens read from it; None: a tenth of ``input``.
    """

    input: float
    output: float
    cache_write: float | None = None
    cache_read: float | None = None

    def cost(self, usage: Usage) -> float:
        """The cost of one message, in the currency of these prices.

        Args:
          usage: The tokens that the message used.
        """
        write = 1.25 * self.input if self.cache_write is None else self.cache_write
        read = 0.1 * self.input if self.cache_read is None else self.cache_read
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + (usage.cache_creation_input_tokens or 0) * write
            + (usage.cache_read_input_tokens or 0) * read
        ) / 1_000_000


@final
class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on what a fan-out uses. Once it is used up nothing new is started, and what is under way finishes.

    How long an answer will be is not known beforehand. As the end comes near, items are started only where the
    answers that are under way, taken to be as long as those before, leave room; so the overshoot is that of a few
    answers. Cached outcomes use nothing; failed attempts do.

    Args:
      output_tokens: Output tokens.
      cost: Money, in the currency of ``prices``, which has to be given too.
      requests: Requests, retries included.
      prices: What tokens cost.
    """

    output_tokens: int | None = None
    cost: float | None = None
    requests: int | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        for name in ("output_tokens", "cost", "requests"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} of a budget must not be negative: {value!r}")
        if self.cost is not None and self.prices is None:
            raise ValueError("a budget of cost needs prices: Budget(cost=..., prices=Prices(input=..., output=...))")


@final
class Ledger:
    """The tokens, requests and money that a job has used so far, compared with its budget."""

    __slots__ = (
        "_answers",
        "_budget",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost",
        "input_tokens",
        "output_tokens",
        "requests",
    )

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._answers = 0
        self.requests: int = 0
        self.input_tokens: int = 0
        self.output_tokens: int = 0
        self.cache_read_tokens: int = 0
        self.cache_write_tokens: int = 0
        self.cost: float = 0.0

    def add(self, usage: Usage) -> None:
        """Add the tokens of one answer, complete or cut."""
        self._answers += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_input_tokens or 0
        self.cache_write_tokens += usage.cache_creation_input_tokens or 0
        if self._budget.prices is not None:
            self.cost += self._budget.prices.cost(usage)

    def used_up(self) -> str | None:
        """A sentence that says which budget is used up; None while more may be started."""
        budget = self._budget
        for name, limit, used in (
            ("output tokens", budget.output_tokens, self.output_tokens),
            ("cost", budget.cost, self.cost),
            ("requests", budget.requests, self.requests),
        ):
            if limit is not None and used >= limit:
                return f"the budget is used up: {used:.10g} of {limit:.10g} {name}"
        return None

    def has_room(self, under_way: int, unsent: Callable[[], int]) -> bool:
        """Whether one more may be started beside those under way, if all are as long as those before.

        With nothing under way there is always room: `used_up` alone decides then.

        Args:
          under_way: Items that are started and have not ended.
          unsent: Gives how many of them have not made their first request.
        """
        budget = self._budget
        if under_way == 0:
            return True
        if budget.requests is not None and self.requests + unsent() >= budget.requests:
            return False
        share = (under_way + 1) / max(1, self._answers)
        if budget.output_tokens is not None and self.output_tokens * (1 + share) > budget.output_tokens:
            return False
        return budget.cost is None or self.cost * (1 + share) <= budget.cost
