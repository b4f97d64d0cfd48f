"""The prices that ``trio-stream batch`` reckons with: those of the command line, and the built-in ones.

What belongs here: which prices a model has, and which models have none. What does not: reading the command line
(`_batch_commands`), and what something costs (`trio_stream._money`).
"""

from __future__ import annotations

from collections.abc import Iterable

from trio_stream._money import PriceLookup, Prices
from trio_stream.cli._batch_input import FileInput, Input
from trio_stream.cli._batch_options import BatchOptions


def make_lookup(options: BatchOptions) -> PriceLookup:
    """Make the lookup of prices: those given for the longest beginning of a model's name, or else the built-in ones."""
    return lookup_of_given(options.price)


def lookup_of_given(prices: Iterable[tuple[str, Prices]]) -> PriceLookup:
    """Make the lookup of these prices, each with the beginning of the names that it is for, and the built-in ones."""
    given = dict(prices)
    longest_first = sorted(given, key=len, reverse=True)

    def look_up(model: str) -> Prices | None:
        for name in longest_first:
            if model.startswith(name):
                return given[name]
        return Prices.of(model)

    return look_up


def without_price(found: Input, options: BatchOptions) -> list[str]:
    """Return the models of the input whose prices are not known.

    Of an input that can be read only once it is known only which model is asked where a line names none.
    """
    look_up = make_lookup(options)
    if isinstance(found, FileInput):
        models = dict.fromkeys(str(entry.request.get("model", "")) for entry in found.entries())
    else:
        models = dict.fromkeys(options.models)
    return [model for model in models if look_up(model) is None]
