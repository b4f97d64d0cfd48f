"""What one answer is charged for: token counts by kind, with what decides about their price.

What belongs here: reading a `Usage` as charges, and adding charges up. What does not: prices (`_prices`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Final, final

import msgspec

from trio_stream._protocol import CacheCreation, CompactionIterationUsage, MessageIterationUsage, UnknownObject, Usage

_PROMPTS_ALIKE: Final = 1_000
"""Charges are summed up where their prompts are of the same thousand of tokens: those that are longer than a number of
thousands may cost more per token, and so must not be mixed with others."""


@final
class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The tokens that one model used for an answer, and what decides about their price. A journal keeps charges.

    An answer has one, or several where it took several steps (fallback, compaction, an advisor): one for each.

    Args:
      model: The model that answered; empty if it is not known.
      input: Uncached input tokens.
      output: Output tokens.
      cache_read: Input tokens read from the prompt cache.
      cache_write: Input tokens written to it for 5 minutes.
      cache_write_1h: Input tokens written to it for an hour.
      web_searches: Web searches that the API made.
      tier: The ``service_tier`` of the usage.
      speed: Its ``speed``.
      geo: Its ``inference_geo``.
      estimated: Whether the output tokens are an estimate, because the answer was cut.
      answers: How many answers these counts are the sum of.
    """

    model: str = ""
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0
    tier: str | None = None
    speed: str | None = None
    geo: str | None = None
    estimated: bool = False
    answers: int = 1

    @property
    def prompt(self) -> float:
        """The tokens of the prompt, cached ones included; of several answers, their mean."""
        return (self.input + self.cache_read + self.cache_write + self.cache_write_1h) / max(1, self.answers)


def charges_of(usage: Usage, model: str = "", *, estimated: bool = False) -> tuple[Charge, ...]:
    """Read the usage of one answer as charges, one for each step of it.

    The totals of a usage with ``iterations`` leave out some of these (compactions, an advisor), so they are not used.

    Args:
      usage: The usage.
      model: The model that answered. It is that of all steps that do not name one of their own.
      estimated: Whether the output tokens are an estimate.
    """
    tools = usage.server_tool_use
    searches = 0 if tools is None else tools.web_search_requests
    tier, speed, geo = usage.service_tier, usage.speed, usage.inference_geo
    if not usage.iterations:
        written = _written(usage.cache_creation_input_tokens or 0, usage.cache_creation)
        return (
            Charge(
                model=model,
                input=usage.input_tokens,
                output=usage.output_tokens,
                cache_read=usage.cache_read_input_tokens or 0,
                cache_write=written[0],
                cache_write_1h=written[1],
                web_searches=searches,
                tier=tier,
                speed=speed,
                geo=geo,
                estimated=estimated,
            ),
        )
    charges: list[Charge] = []
    for iteration in usage.iterations:
        # A kind of step that this version does not know has its tokens under the same names.
        step = MessageIterationUsage.from_wire(iteration.raw) if isinstance(iteration, UnknownObject) else iteration
        named = None if isinstance(step, CompactionIterationUsage) else step.model
        written = _written(step.cache_creation_input_tokens, step.cache_creation)
        charges.append(
            Charge(
                model=named or model,
                input=step.input_tokens,
                output=step.output_tokens,
                cache_read=step.cache_read_input_tokens,
                cache_write=written[0],
                cache_write_1h=written[1],
                web_searches=0 if charges else searches,
                tier=tier,
                speed=speed,
                geo=geo,
                estimated=estimated,
            )
        )
    return tuple(charges)


def _written(total: int, parts: CacheCreation | None) -> tuple[int, int]:
    """Return the tokens written for 5 minutes and for an hour."""
    hour = 0 if parts is None else parts.ephemeral_1h_input_tokens
    five = 0 if parts is None else parts.ephemeral_5m_input_tokens
    return max(five, total - hour), hour


_COUNTS: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "web_searches", "answers")
_counts_of: Final = operator.attrgetter(*_COUNTS)


def _length_of_prompt(charge: Charge) -> float:
    return charge.prompt


@final
class ChargeSums:
    """Adds up charges of the same kind whose prompts have about the same length, in little memory."""

    def __init__(self) -> None:
        self._sums: dict[tuple[object, ...], tuple[Charge, list[int]]] = {}

    def add(self, charges: Iterable[Charge]) -> None:
        """Add charges."""
        for charge in charges:
            key = (
                charge.model,
                charge.tier,
                charge.speed,
                charge.geo,
                charge.estimated,
                math.ceil(charge.prompt / _PROMPTS_ALIKE),
            )
            counts = _counts_of(charge)
            known = self._sums.get(key)
            if known is None:
                self._sums[key] = (charge, list(counts))
            else:
                known[1][:] = map(operator.add, known[1], counts)

    def add_unknown(self, answers: int) -> None:
        """Add answers whose charges are not known, as estimates: they are taken to be like those added before.

        They are spread over the kinds of charges, so that their prompts are as long as real ones. If nothing has been
        added before, nothing is added.
        """
        totals = self.totals()
        known = sum(charge.answers for charge in totals)
        passed = given = 0
        for charge in sorted(totals if known else (), key=_length_of_prompt):
            passed += charge.answers
            share = (2 * answers * passed + known) // (2 * known) - given  # rounded, so that all together are `answers`
            given += share
            if share:
                counts = {name: round(getattr(charge, name) * share / charge.answers) for name in _COUNTS}
                self.add([msgspec.structs.replace(charge, **counts, estimated=True)])

    def totals(self) -> tuple[Charge, ...]:
        """Return the sums."""
        return tuple(
            msgspec.structs.replace(first, **dict(zip(_COUNTS, counts, strict=True)))
            for first, counts in self._sums.values()
        )
