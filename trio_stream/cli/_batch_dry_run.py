"""``trio-stream batch --dry-run``: an estimate of a run, its cost and its time.

What belongs here: counting the tokens of a sample, and the arithmetic. What does not: sending any message.
"""

from __future__ import annotations

import sys
from typing import Any, Final, final

import msgspec
import trio

import trio_stream as ts
from trio_stream._money import Charge, PriceLookup
from trio_stream.batch import Journal
from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_progress import count, duration
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._terminal import one_line

SAMPLE: Final = 20
"""How many items have their tokens counted."""

_AT_ONCE: Final = 4
_NAMED: Final = 10
_COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"}
)
"""The parameters that can be sent for counting (https://docs.claude.com/en/api/messages-count-tokens)."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate of a run.

    Args:
      items: How many items of the input were chosen.
      known: How many of them are answered in the journal.
      counted: How many items had their tokens counted.
      input_tokens: The mean number of input tokens of those.
      max_tokens: The mean of their ``max_tokens``.
      input_cost: The mean price of their inputs, in dollars; None if the prices of one of their models are not known.
      most_cost: Likewise, with the longest output that each may have.
    """

    items: int
    known: int
    counted: int
    input_tokens: float
    max_tokens: float
    input_cost: float | None
    most_cost: float | None


async def make_plan(
    client: ts.Client, found: FileInput, journal: Journal | None, prices: PriceLookup, recipe: Recipe
) -> Plan:
    """Count tokens of a sample that is spread over the input.

    Args:
      client: Counts them.
      found: The input.
      journal: The journal of earlier runs; None if there is none.
      prices: What tokens cost.
      recipe: Says what all requests have.

    Raises:
      APIError: The API refused to count them.
    """
    total = found.total or 0
    step = max(1, total // SAMPLE)
    sample = [entry for place, entry in enumerate(found.entries()) if place % step == 0][:SAMPLE]
    counts = _Counts(client, prices, recipe)
    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(counts.count, sample)
    if counts.error is not None:
        raise counts.error
    counted = len(counts.tokens)
    return Plan(
        items=total - found.equal,
        known=0 if journal is None else min(journal.answered, total),
        counted=counted,
        input_tokens=sum(counts.tokens) / counted if counted else 0.0,
        max_tokens=sum(counts.most) / counted if counted else 0.0,
        input_cost=_mean([cost for cost, _ in counts.costs], counted),
        most_cost=_mean([most for _, most in counts.costs], counted),
    )


def _mean(costs: list[float], counted: int) -> float | None:
    return sum(costs) / counted if counted and len(costs) == counted else None


@final
class _Counts:
    def __init__(self, client: ts.Client, prices: PriceLookup, recipe: Recipe) -> None:
        self._client = client
        self._prices = prices
        self._recipe = recipe
        self.costs: list[tuple[float, float]] = []  # of each input, and with the longest output
        self.tokens: list[int] = []
        self.most: list[int] = []
        self.error: ts.APIError | None = None

    async def count(self, entries: list[Entry]) -> None:
        """Count the tokens of entries until there are none left."""
        while entries:
            request = self._recipe.complete(entries.pop().request)
            params: dict[str, Any] = {name: value for name, value in request.items() if name in _COUNTED}
            try:
                answer = await self._client.messages.count_tokens(**params)
            except ts.APIError as error:
                self.error = error
                entries.clear()
                return
            self.tokens.append(answer.input_tokens)
            self.most.append(request["max_tokens"])
            prices = self._prices(str(request.get("model", "")))
            if prices is not None:
                prompt = Charge(input=answer.input_tokens, speed=request.get("speed"), geo=request.get("inference_geo"))
                most = msgspec.structs.replace(prompt, output=request["max_tokens"])
                self.costs.append((prices.costs(prompt).total, prices.costs(most).total))


def print_plan(plan: Plan, found: FileInput, options: BatchOptions) -> None:
    """Print the estimate to standard output."""
    left = plan.items - plan.known
    tokens_in, most_out = left * plan.input_tokens, left * plan.max_tokens
    rows = [("items", f"{plan.items}" + (f", {plan.known} of them answered already" if plan.known else ""))]
    rows.append(("input", f"about {count(tokens_in)} tokens ({plan.input_tokens:.0f} each, of {plan.counted} counted)"))
    rows.append(("output", f"at most {count(most_out)} tokens ({plan.max_tokens:.0f} each)"))
    if plan.input_cost is None or plan.most_cost is None:
        rows.append(("cost", "not known: say what tokens cost with --price INPUT/OUTPUT"))
    else:
        least, most = left * plan.input_cost, left * plan.most_cost
        limit = "" if options.max_cost is None else f"; --max-cost stops it at ${options.max_cost:g}"
        rows.append(
            ("cost", f"${least:.2f} for the input, up to ${most:.2f} if every answer is as long as it may{limit}")
        )
    rows.append(("time", _time(left, tokens_in, most_out, options)))
    if found.duplicates:
        names = ", ".join(one_line(name)[:40] for name in [*found.duplicates][:_NAMED])
        more = "" if len(found.duplicates) <= _NAMED else ", ..."
        rows.append(("repeated ids", f"{len(found.duplicates)}: {names}{more}"))
    else:
        rows.append(("repeated ids", "none"))
    for name, fact in rows:
        sys.stdout.write(f"{name:<13} {fact}\n")
    sys.stdout.flush()


def _time(items: int, tokens_in: float, most_out: float, options: BatchOptions) -> str:
    limits = [(items, options.rpm, "requests"), (tokens_in, options.itpm, "input tokens")]
    minutes = [(amount / limit, what) for amount, limit, what in limits if limit is not None]
    if options.otpm is not None:
        minutes.append((most_out / options.otpm, "output tokens, if every answer is as long as it may"))
    if not minutes:
        return "not known: say what your limits are with --rpm, --itpm, --otpm (a run finds them out by itself)"
    longest, what = max(minutes)
    return f"{duration(longest * 60)} or more, by the limit of {what}"
