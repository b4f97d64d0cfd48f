"""``trio-stream batch --dry-run``: an estimate of a run, its cost and its time.

What belongs here: counting the tokens of a sample, and the arithmetic. What does not: what would be sent
(`_batch_work`), real answers (`_batch_sample`), and the words (`_batch_plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import msgspec
import trio

import trio_stream as ts
from trio_stream._money import Charge, PriceLookup
from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_recipe import Recipe
from trio_stream.cli._batch_work import Work, countable

SAMPLE: Final = 20
"""How many items have their tokens counted, or a few more where there are several models."""

_LEAST: Final = 5
"""How many of each model, at least."""

_AT_ONCE: Final = 4


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate of what one model would be sent.

    Args:
      items: How many items would be sent.
      input_tokens: Their input tokens.
      max_tokens: The longest outputs that they may have, together.
      input_cost: The price of their inputs, in dollars; None if the prices of the model are not known.
      token_cost: The price of one output token.
    """

    items: int
    input_tokens: float
    max_tokens: int
    input_cost: float | None
    token_cost: float | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate of a run.

    Args:
      items: How many items of the input were chosen.
      known: How many of them are not sent, as an earlier run knows how they ended.
      counted: How many items had their tokens counted.
      models: What each model would be sent.
    """

    items: int
    known: int
    counted: int
    models: dict[str, ModelPlan]

    @property
    def left(self) -> int:
        """How many items would be sent."""
        return sum(model.items for model in self.models.values())

    @property
    def input_tokens(self) -> float:
        """The input tokens of the run."""
        return sum(model.input_tokens for model in self.models.values())

    @property
    def max_tokens(self) -> int:
        """The longest output that it may have."""
        return sum(model.max_tokens for model in self.models.values())

    @property
    def input_cost(self) -> float | None:
        """The price of the input, in dollars; None if that of a model is not known."""
        costs = [model.input_cost for model in self.models.values()]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def output_cost(self, tokens: dict[str, float]) -> float | None:
        """Return the price of so many output tokens of each model; None if that of a model is not known."""
        total = 0.0
        for name, model in self.models.items():
            if model.token_cost is None:
                return None
            total += tokens.get(name, 0.0) * model.token_cost
        return total

    @property
    def most_cost(self) -> float | None:
        """The price of the run if every answer is as long as it may."""
        output = self.output_cost({name: float(model.max_tokens) for name, model in self.models.items()})
        return None if output is None or self.input_cost is None else self.input_cost + output


async def make_plan(
    client: ts.Client, found: FileInput, work: Work, prices: PriceLookup, recipe: Recipe, *, tier: str | None
) -> Plan:
    """Count tokens of a sample, and scale them by the bytes of what would be sent.

    Args:
      client: Counts them.
      found: The input.
      work: What would be sent.
      prices: What tokens cost.
      recipe: Says what all requests have.
      tier: The tier by which they are charged; None for the usual one.

    Raises:
      APIError: The API refused to count them.
    """
    total = sum(model.bytes for model in work.models.values())
    counters: dict[str, _Counter] = {}
    where: dict[int, _Counter] = {}
    for name, model in work.models.items():
        number = max(_LEAST, round(SAMPLE * model.bytes / total))
        chosen = model.by_bytes(number)
        counters[name] = _Counter(prices(name), chosen, tier)
        where.update(dict.fromkeys(chosen, counters[name]))
    waiting: list[tuple[int, dict[str, object]]] = []
    for place, entry in enumerate(found.entries()):
        if place in where:
            waiting.append((place, recipe.complete(entry.request)))
    failures: list[ts.APIError] = []

    async def count() -> None:
        while waiting and not failures:
            place, request = waiting.pop()
            try:
                answer = await client.messages.count_tokens(**countable(request))
            except ts.APIError as error:
                failures.append(error)
                return
            where[place].add(place, request, answer.input_tokens)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(count)
    if failures:
        raise failures[0]
    return Plan(
        items=work.items,
        known=work.known,
        counted=len(where),
        models={
            name: ModelPlan(
                items=len(model.places),
                input_tokens=counters[name].tokens * model.bytes,
                max_tokens=model.max_tokens,
                input_cost=None if (cost := counters[name].input_cost) is None else cost * model.bytes,
                token_cost=counters[name].token_cost,
            )
            for name, model in work.models.items()
        },
    )


async def most_cost(client: ts.Client, requests: Sequence[dict[str, Any]], prices: PriceLookup) -> float | None:
    """Return what requests cost if every answer is as long as it may; None if the prices of a model are not known.

    Args:
      client: Counts their tokens.
      requests: The requests.
      prices: What tokens cost.

    Raises:
      APIError: The API refused to count them.
    """
    total = 0.0
    for request in requests:
        known = prices(str(request.get("model", "")))
        if known is None:
            return None
        answer = await client.messages.count_tokens(**countable(request))
        most = Charge(
            input=answer.input_tokens,
            output=request["max_tokens"],
            speed=request.get("speed"),
            geo=request.get("inference_geo"),
        )
        total += known.costs(most).total
    return total


@final
class _Counter:
    """What was counted of one model, for each byte of input.

    Attributes:
      tokens: The mean of the tokens.
    """

    def __init__(self, prices: ts.Prices | None, chosen: dict[int, int], tier: str | None) -> None:
        self._prices = prices
        self._tier = tier
        self._shares = {place: times / sum(chosen.values()) for place, times in chosen.items()}
        self._input_cost = self._token_cost = 0.0
        self.tokens = 0.0

    def add(self, place: int, request: dict[str, object], tokens: int) -> None:
        """Count one of the chosen items."""
        share = self._shares[place]
        size = len(msgspec.json.encode(countable(request)))
        self.tokens += share * tokens / size
        if self._prices is not None:
            speed, geo = request.get("speed"), request.get("inference_geo")
            prompt = Charge(
                input=tokens,
                tier=self._tier,
                speed=speed if isinstance(speed, str) else None,
                geo=geo if isinstance(geo, str) else None,
            )
            self._input_cost += share * self._prices.costs(prompt).total / size
            self._token_cost += share * self._prices.costs(msgspec.structs.replace(prompt, output=1)).output

    @property
    def input_cost(self) -> float | None:
        """The mean of the prices; None if they are not known."""
        return None if self._prices is None else self._input_cost

    @property
    def token_cost(self) -> float | None:
        """The price of one output token; None if it is not known."""
        return None if self._prices is None else self._token_cost
