"""The built-in prices beside those of the newest genai-prices: ``make prices``.

Both are asked what the same answers cost, so that the rules are compared with the figures: cache writes and reads, long
prompts, batches, fast mode, searches. genai-prices has no ``inference_geo``, and no least cacheable length.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import trio_stream as ts
from trio_stream._money import Charge
from trio_stream._money._table import AS_OF, TABLE


class Case(NamedTuple):
    """One answer: its charge, and how genai-prices is told of it."""

    name: str
    charge: Charge
    usage: dict[str, int]
    context: dict[str, str] | None = None


TOKENS = 10_000
LONG = 150_000
CASES = [
    Case("input", Charge(input=TOKENS), {"input_tokens": TOKENS}),
    Case("output", Charge(output=TOKENS), {"output_tokens": TOKENS}),
    Case("cache read", Charge(cache_read=TOKENS), {"input_tokens": TOKENS, "cache_read_tokens": TOKENS}),
    Case("cache write, 5 minutes", Charge(cache_write=TOKENS), {"input_tokens": TOKENS, "cache_write_tokens": TOKENS}),
    Case(
        "cache write, an hour",
        Charge(cache_write_1h=TOKENS),
        {"input_tokens": TOKENS, "cache_write_tokens": TOKENS, "cache_write_1h_tokens": TOKENS},
    ),
    Case("long prompt", Charge(input=LONG, output=TOKENS), {"input_tokens": LONG, "output_tokens": TOKENS}),
    Case("searches", Charge(web_searches=TOKENS), {"web_searches": TOKENS}),
    Case(
        "batch",
        Charge(input=TOKENS, output=TOKENS, tier="batch"),
        {"input_tokens": TOKENS, "output_tokens": TOKENS},
        {"processing": "batch"},
    ),
    Case(
        "fast mode",
        Charge(input=TOKENS, output=TOKENS, speed="fast"),
        {"input_tokens": TOKENS, "output_tokens": TOKENS},
        {"speed": "fast"},
    ),
]

Theirs: TypeAlias = Callable[[str, Case], float | None]
"""Returns what the other table says that an answer of a model costs; None if it does not have that."""


def differences(models: Iterable[str], theirs: Theirs) -> list[str]:
    """Return a line for everything that differs, for models of either table."""
    lines: list[str] = []
    for model in dict.fromkeys([*TABLE, *models]):
        ours = ts.Prices.of(model)
        expected = {case.name: theirs(model, case) for case in CASES}
        if ours is None:
            lines.append(f"{model}: not here; there input and output cost {expected['input']} and {expected['output']}")
        elif all(cost is None for cost in expected.values()):
            lines.append(f"{model}: not there")
        else:
            for case in CASES:
                cost, there = ours.costs(case.charge).total, expected[case.name]
                if there is not None and abs(cost - there) > 1e-9 * max(cost, there):
                    lines.append(f"{model}: {case.name} costs {cost:g} here and {there:g} there")
    return lines


def main() -> int:
    """Print what differs; the exit code says whether a price does."""
    genai_prices: Any = importlib.import_module("genai_prices")
    [provider] = [it for it in genai_prices.data_snapshot.get_snapshot().providers if it.id == "anthropic"]

    def ask(model: str, case: Case, context: dict[str, str] | None) -> float:
        usage = genai_prices.Usage(**case.usage)
        found = genai_prices.calc_price(usage, model, provider_id="anthropic", price_context=context)
        return float(found.total_price)

    def theirs(model: str, case: Case) -> float | None:
        try:
            cost = ask(model, case, case.context)
            # Where it has no price for a speed or a tier, it gives the ordinary one.
            return None if case.context is not None and cost == ask(model, case, None) else cost
        except LookupError:
            return None

    version = importlib.metadata.version("genai-prices")
    lines = differences([model.id for model in provider.models], theirs)
    sys.stdout.write(f"the table of {AS_OF}, beside genai-prices {version}\n")
    sys.stdout.writelines(f"{line}\n" for line in lines or ["nothing differs"])
    return 1 if any(" here and " in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
