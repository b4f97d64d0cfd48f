"""The prices of Anthropic's models, dated.

What belongs here: the figures. What does not: the rules by which they are applied (`_prices`). `make prices` compares
them with the newest genai-prices and prints what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

AS_OF: Final = "2026-11-28"
"""The day on which the figures were last compared with their sources: genai-prices 0.2.3 and litellm 1.110.2. They were
not read off the price page itself."""


class Row(NamedTuple):
    """The prices of one model, in dollars per million tokens, and what else differs from model to model."""

    input: float
    output: float
    cache_read: float
    least_cacheable: int | None = None
    long_prompt: int | None = None
    long_prompt_factor: float = 1.0


TABLE: Final[Mapping[str, Row]] = {
    "claude-fable-5-2": Row(8, 40, 0.2),
    "claude-fable-5-1": Row(10, 50, 0.25, 512),
    "claude-fable-5": Row(10, 50, 1, 512),
    "claude-mythos-5-2": Row(8, 40, 0.2),
    "claude-mythos-5-1": Row(10, 50, 0.25, 512),
    "claude-mythos-5": Row(10, 50, 1, 512),
    "claude-opus-5-5": Row(4, 20, 0.2, 512),
    "claude-opus-5": Row(5, 25, 0.5, 512),
    "claude-opus-4-8": Row(5, 25, 0.5, 1_024),
    "claude-opus-4-7": Row(5, 25, 0.5, 2_048),
    "claude-opus-4-6": Row(5, 25, 0.5, 4_096),
    "claude-opus-4-5": Row(5, 25, 0.5, 4_096),
    "claude-sonnet-5-5": Row(2, 10, 0.1, 512),
    "claude-sonnet-5": Row(2, 10, 0.2, 1_024),
    "claude-sonnet-4-6": Row(3, 15, 0.3, 1_024),
    "claude-haiku-5-5": Row(0.1, 0.5, 0.01, 512, long_prompt=100_000, long_prompt_factor=5),
    "claude-haiku-4-5": Row(1, 5, 0.1, 4_096),
}
"""By the beginning of the model's name."""

WRITE_5M: Final = 1.25
"""The price of a token written to the prompt cache for 5 minutes, in prices of an input token."""

WRITE_1H: Final = 2.0
"""Likewise, for an hour."""

BATCH: Final = 0.5
"""The factor for ``service_tier: batch``."""

FAST: Final = 2.0
"""The factor for ``speed: fast``."""

US: Final = 1.1
"""The factor for ``inference_geo: us``."""

WEB_SEARCHES: Final = 10.0
"""Dollars for a thousand web searches. No factor applies to them."""
