"""What runs use, and the limits on it.

What belongs here: counting requests, calls and tokens, and telling when a limit has been reached. What does not: ending
a run for it (`_turn_loop`), and prices (`_money`).
"""

from __future__ import annotations

from typing import final

import msgspec

from trio_stream._money import Budget, Ledger, PriceLookup, Prices
from trio_stream._protocol import Message


@final
class Meter:
    """Counts what runs use, and limits it. Several runs may share one, and sub-agents do.

    It is looked at before each request and before each call of a tool. What is under way is not stopped, so a limit on
    tokens or cost may be exceeded by the replies that were under way when it was reached.

    A reply that was cut has used an unknown number of output tokens. Its input is counted; for the limits alone its
    output is estimated from what has arrived.

    Args:
      output_tokens: The most output tokens; None for no limit.
      cost: The most money; None for no limit. Nothing more is asked of a model whose prices are not known.
      requests: The most requests; None for no limit. What a client retries before a reply begins counts once.
      tool_calls: The most calls of tools; None for no limit.
      prices: The prices of tokens: those of all models, or a function that returns the prices of a model or None. With
        None the built-in prices, in dollars (`Prices.of`).

    Attributes:
      tool_calls: Calls that were started.

    Raises:
      ValueError: A limit is negative.
    """

    def __init__(
        self,
        *,
        output_tokens: int | None = None,
        cost: float | None = None,
        requests: int | None = None,
        tool_calls: int | None = None,
        prices: Prices | PriceLookup | None = None,
    ) -> None:
        if tool_calls is not None and not tool_calls >= 0:
            raise ValueError(f"tool_calls of a meter must not be negative: {tool_calls!r}")
        budget = Budget(output_tokens=output_tokens, cost=cost, requests=requests, prices=prices)
        self._known = Ledger(budget)
        self._limited = Ledger(budget)  # with estimates, so never below the other
        self._most_calls = tool_calls
        self._refused_call: str | None = None
        self.tool_calls: int = 0

    @property
    def requests(self) -> int:
        """Requests made."""
        return self._known.requests

    @property
    def input_tokens(self) -> int:
        """Uncached input tokens."""
        return self._known.input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens of the replies that came to their end."""
        return self._known.output_tokens

    @property
    def cost(self) -> float | None:
        """What the counted tokens cost; None once a model has replied whose prices are not known."""
        return None if self._known.unpriced else self._known.cost

    def used_up(self) -> str | None:
        """Return a sentence that says which limit has been reached; None while another request may be made."""
        return self._refused_call or self._limited.used_up()

    def take_request(self) -> str | None:
        """Ask for a request, and count it if it may be made.

        Returns:
          None, or a sentence that says why it may not be made.
        """
        refusal = self.used_up()
        if refusal is None:
            self._known.requests += 1
            self._limited.requests += 1
        return refusal

    def take_call(self) -> str | None:
        """Ask for a call of a tool, and count it if it may be made.

        Returns:
          None, or a sentence that says why it may not be made.
        """
        if self._most_calls is not None and self.tool_calls >= self._most_calls:
            # The model asked for more than it may have. It is not asked again: it would be told the same for ever.
            self._refused_call = f"the budget is used up: {self.tool_calls} of {self._most_calls} tool calls"
        tokens = self._limited.used_up_beside_requests()
        refusal = self._refused_call or tokens
        if refusal is None:
            self.tool_calls += 1
        return refusal

    def add(self, message: Message, *, asked: str = "") -> None:
        """Add what a reply used that came to its end.

        Args:
          message: The reply.
          asked: The model that was asked. Where the one that answered has no price, as gateways may have names of their
            own, its prices hold.
        """
        for ledger in (self._known, self._limited):
            ledger.add(message.usage, model=ledger.known_model(message.model, asked=asked))
        self._limited.estimate.learn(message, 0)

    def add_cut(self, message: Message, *, asked: str = "") -> None:
        """Add what a reply used that was cut.

        Args:
          message: As much of it as has arrived.
          asked: As for `add`.
        """
        known = msgspec.structs.replace(message.usage, output_tokens=0)
        for ledger, usage in ((self._known, known), (self._limited, self._limited.estimate.usage_of_cut(message))):
            model = ledger.known_model(message.model, asked=asked)
            ledger.add(usage, model=model, failed=True, estimated=True)
