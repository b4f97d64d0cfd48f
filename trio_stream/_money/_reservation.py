"""What one request may cost, while that is not known.

What belongs here: the reservation of one request, and what it asks for. What does not: whether the budget has room for
it (`_ledger`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import final

import msgspec

from trio_stream._money._charges import Charge
from trio_stream._money._prices import Prices


class Room(Enum):
    """Whether a budget has room for a request."""

    YES = "it may be sent"
    LATER = "perhaps once something that is under way has ended"
    NEVER = "nothing is under way whose end could make room"


@final
class Reservation:
    """One request as a budget sees it: from before it is sent until its answer has ended and is charged.

    Args:
      prompt: The charge for the prompt, estimated, with the model, and what else decides about the price.
      max_tokens: The request's ``max_tokens``.
      prices: The prices of its model; None if they are not known.

    Attributes:
      written: A function that returns the output tokens that have arrived, estimated.
      sent: Whether the request has been sent.
      batched: Whether it is one of a message batch. Nothing of its answer arrives before all of it.
    """

    __slots__ = ("batched", "max_tokens", "price", "prompt", "sent", "written")

    def __init__(self, prompt: Charge, *, max_tokens: int, prices: Prices | None) -> None:
        self.max_tokens: int = max_tokens
        self.written: Callable[[], int] = _nothing
        self.sent: bool = False
        self.batched: bool = prompt.tier == "batch"
        self.prompt: float = 0.0
        """What the prompt costs."""
        self.price: float = 0.0
        """What one output token costs."""
        if prices is not None:
            self.prompt = prices.costs(prompt).total
            self.price = (prices.costs(msgspec.structs.replace(prompt, output=1_000)).total - self.prompt) / 1_000

    @property
    def most(self) -> float:
        """What it costs if the answer is as long as it may be."""
        return self.prompt + self.price * self.max_tokens


def _nothing() -> int:
    return 0
