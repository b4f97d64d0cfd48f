"""What answers have used so far, by which the next one is estimated.

What belongs here: running means, and which tokens count for rate limits. What does not: the estimate of a request of
which nothing is known but its parameters (`_estimates`).
"""

from __future__ import annotations

from typing import Final, final

from trio_stream._protocol import Usage

from ._interface import Permit

FIRST_OUTPUT: Final = 500.0
"""The length, in output tokens, that is assumed of answers until one has ended; ``max_tokens`` if that is less."""

_MEMORY: Final = 0.1
"""The weight of the newest answer in the running means."""

_HORIZON: Final = 10.0
"""Seconds. Only output that is expected within this time is held back from a bucket."""


def running_mean(mean: float | None, value: float) -> float:
    """Return a mean with one more value in it, the first if ``mean`` is None."""
    return value if mean is None else mean + _MEMORY * (value - mean)


def counted_input(usage: Usage) -> int:
    """Return the input tokens that count for rate limits: uncached input and cache writes, but no cache reads."""
    return usage.input_tokens + (usage.cache_creation_input_tokens or 0)


@final
class Means:
    """What the answers to requests of one kind have in common.

    Attributes:
      input_ratio: The API's count of input tokens, over our estimate.
      tokens_per_event: Output tokens for each event.
    """

    def __init__(self) -> None:
        self.input_ratio: float = 1.0
        self.tokens_per_event: float = 1.0
        self._output: float | None = None  # tokens of an answer
        self._speed: float | None = None  # tokens a second

    def expected_output(self, permit: Permit) -> float:
        """Return the output tokens that a request is likely to produce."""
        return min(FIRST_OUTPUT if self._output is None else self._output, float(permit.max_tokens))

    def within_horizon(self, tokens: float) -> float:
        """Return how much of so much output is produced soon.

        A stream that lasts for minutes produces most of its output after the bucket has been refilled.
        """
        return tokens if self._speed is None else min(tokens, self._speed * _HORIZON)

    def learn_input(self, permit: Permit, actual: float) -> None:
        """Learn how many input tokens the API has counted."""
        if permit.input_tokens > 0:
            self.input_ratio = running_mean(self.input_ratio, actual / permit.input_tokens)

    def learn_output(self, permit: Permit, actual: float, seconds: float) -> None:
        """Learn how many output tokens a whole answer has, and how many seconds they took."""
        self._output = running_mean(self._output, actual)
        events = permit.events()
        if events:
            self.tokens_per_event = running_mean(self.tokens_per_event, actual / events)
        if seconds > 0:
            self._speed = running_mean(self._speed, actual / seconds)
