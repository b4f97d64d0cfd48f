"""How ``trio-stream batch`` asks, whether for all items or for a sample of them.

What belongs here: options of the command as options of a fan-out. What does not: which items are asked (`_batch_job`,
`_batch_sample`), and what may be spent on them.
"""

from __future__ import annotations

from typing import Any

from trio_stream._limiter import HeaderRateLimiter
from trio_stream._money import PriceLookup
from trio_stream.batch import Adaptive
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_recipe import Recipe


def window(options: BatchOptions) -> Adaptive:
    """Return the bounds of how many are asked at once."""
    return Adaptive() if options.concurrency is None else Adaptive(*options.concurrency)


def how_to_ask(options: BatchOptions, recipe: Recipe, prices: PriceLookup) -> dict[str, Any]:
    """Return the options of a fan-out that do not depend on which items it has."""
    return {
        "limit": window(options),
        "limiter": HeaderRateLimiter(
            requests_per_minute=options.rpm,
            input_tokens_per_minute=options.itpm,
            output_tokens_per_minute=options.otpm,
        ),
        "max_errors": _max_errors(options),
        "max_attempts": options.max_attempts,
        "item_timeout": options.item_timeout,
        "warmup": options.warmup,
        "cache": options.cache,
        "prompt_prefix": recipe.prefix,
        "output": recipe.output,
        "retry_invalid": options.retry_invalid,
        "prices": prices,
    }


def _max_errors(options: BatchOptions) -> int | float | None:
    if options.on_error == "stop":
        return 0
    if options.max_errors is None:
        return None
    number, is_share = options.max_errors
    return number / 100 if is_share else int(number)
