"""``trio-stream status``: how a run stands, by its journal.

What belongs here: the words, and the figures as JSON. What does not: finding them out (`journal_overview`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from trio_stream._money import Costs, PriceLookup, Prices
from trio_stream.batch import JournalError, JournalOverview, journal_overview
from trio_stream.cli._batch_prices import lookup_of_given
from trio_stream.cli._figures import count, dollars, duration
from trio_stream.cli._found_journal import NoJournalError, find_journal
from trio_stream.cli._next_step import Standing, next_steps
from trio_stream.cli._terminal import BROKEN_PIPE, USAGE, complain, forget_stdout, one_line


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a job has used in all its runs.

    Args:
      input_tokens: Uncached input tokens.
      output_tokens: Output tokens.
      cache_read_tokens: Input tokens read from the prompt cache.
      cache_write_tokens: Input tokens written to it.
      cost: In dollars; None if a model's prices are not known.
      cost_estimated: The part of it for answers that were cut, or that nobody saw the end of.
      unpriced: The models whose prices are not known.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: float | None
    cost_estimated: float | None
    unpriced: list[str]


def spent(overview: JournalOverview, look_up: PriceLookup) -> Spent:
    """Add up what a job has used."""
    total, estimated = Costs(), 0.0
    unpriced: dict[str, None] = {}
    for charge in overview.charges:
        prices = look_up(charge.model)
        if prices is None:
            unpriced[charge.model] = None
            continue
        costs = prices.costs(charge)
        total += costs
        estimated += costs.total if charge.estimated else 0.0
    charges = overview.charges
    return Spent(
        input_tokens=sum(charge.input for charge in charges),
        output_tokens=sum(charge.output for charge in charges),
        cache_read_tokens=sum(charge.cache_read for charge in charges),
        cache_write_tokens=sum(charge.cache_write + charge.cache_write_1h for charge in charges),
        cost=None if unpriced else total.total,
        cost_estimated=None if unpriced else estimated,
        unpriced=[*unpriced],
    )


def run(name: str, *, as_json: bool, prices: tuple[tuple[str, Prices], ...]) -> int:
    """Print how a run stands, and return the exit code."""
    try:
        path = find_journal(name)
        overview = journal_overview(path)
        used = spent(overview, lookup_of_given(prices))
        if as_json:
            figures = _figures(path, overview, used)
            text = msgspec.json.format(msgspec.json.encode(figures), indent=2).decode()
        else:
            rows = _rows(path, overview, used)
            text = "\n".join(f"{title:<12} {one_line(fact)}" for title, fact in rows)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (NoJournalError, JournalError) as error:
        complain("status", str(error))
        return USAGE
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE
    return 0


def _left(overview: JournalOverview) -> int | None:
    """How many items have not ended: those that were started, and what the last run had not begun."""
    if overview.items is None:
        return overview.unfinished or None
    return max(overview.unfinished, overview.items - overview.ended)


def _next(overview: JournalOverview) -> list[str]:
    if overview.in_use:
        return []
    failed = overview.failed | overview.invalid
    return next_steps(
        Standing(
            left=_left(overview),
            failed=sum(failed.values()),
            cut=overview.cut,
            batches=len(overview.batches),
        )
    )


def _figures(path: Path, overview: JournalOverview, used: Spent) -> dict[str, Any]:
    figures = {"journal": str(path), "left": _left(overview)} | msgspec.structs.asdict(overview)
    return figures | msgspec.structs.asdict(used) | {"next": _next(overview)}


def _rows(path: Path, overview: JournalOverview, used: Spent) -> list[tuple[str, str]]:
    of_all = "" if overview.items is None else f" of {overview.items:,}"
    rows = [("journal", f"{path}{_activity(overview)}")]
    left = overview.unfinished if overview.items is None else _left(overview) or 0
    facts = [
        (overview.ok, f"{overview.ok:,}{of_all} done"),
        (sum(overview.failed.values()), "{:,} failed"),
        (sum(overview.invalid.values()), "{:,} without a value"),
        (left, "{:,} left" if overview.items is not None else "{:,} unfinished"),
    ]
    rows.append(
        ("items", ", ".join(text.format(number) for place, (number, text) in enumerate(facts) if number or not place))
    )
    for title, counted in (("failed", overview.failed), ("invalid", overview.invalid)):
        if counted:
            rows.append((title, ", ".join(f"{number:,} {name}" for name, number in counted.items())))
    if overview.cut:
        rows.append(("cut", f"{overview.cut:,} of the answers, at max_tokens"))
    tokens = [
        (used.input_tokens, "in"),
        (used.output_tokens, "out"),
        (used.cache_write_tokens, "written to the cache"),
        (used.cache_read_tokens, "read from the cache"),
    ]
    rows.append(("tokens", ", ".join(f"{count(number)} {word}" for number, word in tokens if number) or "none"))
    rows.append(("cost", _cost(used)))
    if overview.batches:
        rows.append(("batches", f"not collected: {' '.join(overview.batches)}"))
    if overview.damaged:
        rows.append(("damaged", f"{overview.damaged:,} lines cannot be read; their items are asked again"))
    steps = _next(overview)
    if overview.in_use:
        steps = ["nothing: a run is working on it"]
    rows += [("next" if not place else "", step) for place, step in enumerate(steps or ["nothing: all is done"])]
    return rows


def _activity(overview: JournalOverview) -> str:
    facts = {True: ["a run has it open"], False: ["no run has it open"], None: []}[overview.in_use]
    if overview.written_at is not None:
        facts = [*facts, f"last written {duration(max(0.0, time.time() - overview.written_at))} ago"]
    return f": {', '.join(facts)}" if facts else ""


def _cost(used: Spent) -> str:
    if used.cost is None:
        return f"not known, as the prices of {', '.join(used.unpriced)} are not; say --price MODEL=INPUT/OUTPUT"
    estimated = f", {dollars(used.cost_estimated)} of it estimated" if used.cost_estimated else ""
    return f"{dollars(used.cost)}, in all runs{estimated}"
