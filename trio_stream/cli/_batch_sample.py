"""``trio-stream batch --dry-run --sample N``: real answers of a few items, and what they tell of the others.

What belongs here: asking them, and the figures of their answers. What does not: input tokens and prices
(`_batch_dry_run`), and the words (`_batch_plan`).
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Iterable, Iterator
from typing import final

import msgspec

import trio_stream as ts
from trio_stream._money import Budget, Costs, PriceLookup
from trio_stream.batch import FanOutStats, Item, Outcome, fan_out
from trio_stream.cli._batch_asking import how_to_ask
from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_journal import JobJournal
from trio_stream.cli._batch_line import Pending
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_recipe import Recipe
from trio_stream.cli._batch_variants import ItemKeys
from trio_stream.cli._figures import dollars


@final
class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Args:
      asked: How many items were asked.
      known: How many had been answered before, and are measured too.
      failed: How many have no whole answer.
      output: The output tokens of the whole answers, by the model that was asked.
      seconds: How long they took.
      stats: The figures of the fan-out.
    """

    asked: int
    known: int
    failed: int
    output: dict[str, list[int]]
    seconds: list[float]
    stats: FanOutStats

    @property
    def answers(self) -> list[int]:
        """The output tokens of all whole answers."""
        return [tokens for of_model in self.output.values() for tokens in of_model]

    @property
    def uncertainty(self) -> float | None:
        """Twice the standard error of their mean, as a share of it; None for fewer than two answers, or empty ones."""
        answers = self.answers
        if len(answers) < 2 or not sum(answers):
            return None
        return 2 * statistics.stdev(answers) / math.sqrt(len(answers)) / statistics.fmean(answers)

    def output_of(self, model: str) -> float:
        """The mean of a model's output tokens; of all models, where none of its items was measured."""
        tokens = self.output.get(model) or self.answers
        return statistics.fmean(tokens) if tokens else 0.0


@final
class Sample:
    """Items that are spread over the whole input, those that are answered already among them.

    The same number chooses the same items, so that asking again is free.

    Args:
      found: The input.
      number: How many.
      journal: Knows answers of earlier runs, and keeps those of the sample; None where there is no journal.

    Attributes:
      items: The items.
      known: How many of them are answered already.
      unknown: The others.
    """

    def __init__(self, found: FileInput, number: int, journal: JobJournal | None) -> None:
        total = found.total or 0
        places = _spread(total, number) if number < total else None
        self.items = [*_items(found, places)]
        self._journal = journal
        self.unknown = [
            item
            for item in self.items
            if journal is None or journal.lookup_if_same(item.tag.key, item.tag.hash) is None
        ]
        self.known = len(self.items) - len(self.unknown)

    def announcement(self, most: float | None, total: int) -> str:
        """Say what asking them costs, before it does."""
        if not self.unknown:
            return f"all {len(self.items)} items of the sample are answered already: this costs nothing"
        cost = "how much is not known, without --price" if most is None else f"at most {dollars(most)}"
        return f"asking {len(self.unknown)} of {total:,} items, which costs money: {cost}"

    async def ask(
        self, client: ts.Client, options: BatchOptions, recipe: Recipe, prices: PriceLookup, *, most: float | None
    ) -> Measured:
        """Ask them, and spend no more than ``most`` dollars on that, where it is not None."""
        before = Costs()
        for charge in () if self._journal is None else self._journal.charges:
            known = prices(charge.model)
            before += Costs() if known is None else known.costs(charge)
        limits = [limit for limit in (options.max_cost, None if most is None else before.total + most) if limit]
        budget = Budget(cost=min(limits, default=None), output_tokens=options.max_output_tokens)
        outcomes: list[Outcome[Pending]] = []
        async with fan_out(
            client, self.items, journal=self._journal, budget=budget, **how_to_ask(options, recipe, prices)
        ) as results:
            outcomes += [outcome async for outcome in results]
        return _measure(outcomes, results.stats, known=self.known)


def _spread(total: int, number: int) -> set[int]:
    """Choose one place in each of so many equal parts, the same ones each time.

    By chance, as places at equal distances would all be of one model where several are asked in turn.
    """
    dice = random.Random(number)  # noqa: S311 - no secret
    bounds = [part * total // number for part in range(number + 1)]
    return {dice.randrange(low, high) for low, high in itertools.pairwise(bounds)}


def _items(found: FileInput, places: set[int] | None) -> Iterator[Item[Pending]]:
    keys = ItemKeys()
    for place, entry in enumerate(found.entries()):
        key = keys.of(entry)
        if places is None or place in places:
            yield Item(entry.request, id=key, tag=Pending(entry=entry, key=key, hash=entry.hash, position=place))


def _measure(outcomes: Iterable[Outcome[Pending]], stats: FanOutStats, *, known: int) -> Measured:
    output: dict[str, list[int]] = {}
    seconds: list[float] = []
    failed = 0
    for outcome in outcomes:
        if outcome.status not in ("ok", "cached") or outcome.usage is None:
            failed += 1
            continue
        model = str(outcome.tag.entry.request.get("model", ""))
        output.setdefault(model, []).append(outcome.usage.output_tokens)
        seconds.append(outcome.seconds)
    return Measured(
        asked=stats.pulled - stats.cached, known=known, failed=failed, output=output, seconds=seconds, stats=stats
    )
