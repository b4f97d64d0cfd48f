"""Money and tokens: prices, budgets, and the sums that are compared with them.

What belongs here: adding up usage, and telling when a budget is used up. What does not: acting on that; each room that
spends decides that for itself.
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
      input: The price of input tokens.
      output: The price of output tokens, thinking included.
      cache_write: The price of input tokens written to the prompt cache; None for 1.25 times ``input``, which is the
        price of a cache entry that lasts 5 minutes.
      cache_read: The price of input tokens read from the prompt cache; None for a tenth of ``input``.
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

    Nobody knows beforehand how long an answer will be. Near the end an item is started only if there is room for it
    after the answers under way, assuming that they are as long as those before. So a budget is exceeded by a few
    answers at most. Cached outcomes use nothing; failed attempts do.

    Args:
      output_tokens: The most output tokens; None for no limit.
      cost: The most money, in the currency of ``prices``, which has to be given too; None for no limit.
      requests: The most requests, retries included; None for no limit.
      prices: The prices of tokens.

    Raises:
      ValueError: A limit is negative, or ``cost`` is given without ``prices``.
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
    """The tokens, requests and money that a job has used so far, compared with its budget.

    Attributes:
      requests: Requests made; counted by whoever sends them.
      input_tokens: Uncached input tokens.
      output_tokens: Output tokens.
      cache_read_tokens: Input tokens read from the prompt cache.
      cache_write_tokens: Input tokens written to the prompt cache.
      cost: What all tokens cost; 0 without prices.
    """

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
        """Return a sentence that says which limit has been reached; None while more may be started."""
        return self.used_up_beside_requests() or _say_used_up("requests", self._budget.requests, self.requests)

    def used_up_beside_requests(self) -> str | None:
        """As `used_up`, for what makes no request."""
        tokens = _say_used_up("output tokens", self._budget.output_tokens, self.output_tokens)
        return tokens or _say_used_up("cost", self._budget.cost, self.cost)

    def has_room(self, under_way: int, unsent: Callable[[], int]) -> bool:
        """Whether the budget has room for one more item beside those under way.

        All are assumed to be as long as those before. With nothing under way there is always room: then `used_up` alone
        decides.

        Args:
          under_way: How many items have been started and have not ended.
          unsent: A function that returns how many of them have not made their first request.
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


def _say_used_up(name: str, limit: float | None, used: float) -> str | None:
    if limit is None or used < limit:
        return None
    return f"the budget is used up: {used:.10g} of {limit:.10g} {name}"
