"""What became of a run of ``trio-stream batch``, told at its end.

What belongs here: counting what the figures of the fan-out do not tell, and the words. What does not: the progress
while it runs (`_batch_progress`), and the summary file (`_batch`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, final

from trio_stream._money import Charge, PriceLookup
from trio_stream.batch import FanOutStats, Outcome, RecordedError
from trio_stream.cli._figures import count, dollars

_TRUNCATED: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
"""The stop reasons of answers that are not all that the model would have said."""

_REFUSED: Final = "refusal"

_STATUSES: Final = (
    ("ok", "ok"),
    ("cached", "answered before"),
    ("errors", "failed"),
    ("timeouts", "out of time"),
    ("invalid", "without a value"),
    ("cancelled", "cancelled"),
    ("skipped", "skipped"),
)


def opening(total: int | None, *, known: int, at_once: int | None, each: float | None, max_cost: float | None) -> str:
    """Say what a run is about to do.

    Args:
      total: How many items it has; None if that is not known.
      known: How many of them an earlier run has answered.
      at_once: How many are asked at once, at most; None for message batches.
      each: What one of the answers so far cost, in dollars; None if that is not known.
      max_cost: The budget, in dollars; None without one.
    """
    facts = ["items as they come" if total is None else f"{total:,} item{'' if total == 1 else 's'}"]
    if known:
        facts.append(f"{known:,} done before")
    facts.append("as message batches" if at_once is None else f"at most {at_once} at once")
    if total is not None and each is not None and total > known:
        facts.append(f"about {dollars((total - known) * each)}")
    if max_cost is not None:
        facts.append(f"at most ${max_cost:g} in all runs")
    return ", ".join(facts)


def mean_cost(charges: Iterable[Charge], prices: PriceLookup) -> float | None:
    """Return what one answer has cost so far; None if there is none, or a price is not known."""
    total, answers = 0.0, 0
    for charge in charges:
        known = prices(charge.model)
        if known is None:
            return None
        total += known.costs(charge).total
        answers += charge.answers
    return total / answers if answers else None


@final
class Tally:
    """Counts the outcomes of a run by what users look for afterwards."""

    def __init__(self, prices: PriceLookup) -> None:
        self._prices = prices
        self._stop_reasons: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._unpriced: set[str] = set()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.stop_reason is not None:
            self._stop_reasons[outcome.stop_reason] += 1
        if outcome.error is not None and outcome.status in ("error", "timeout"):
            error = outcome.error
            self._errors[error.type if isinstance(error, RecordedError) else type(error).__name__] += 1
        self._unpriced.update(charge.model for charge in outcome.charges if self._prices(charge.model) is None)

    @property
    def truncated(self) -> int:
        """How many answers were cut."""
        return sum(self._stop_reasons[reason] for reason in _TRUNCATED)

    def figures(self) -> dict[str, Any]:
        """Return what the summary has besides the figures of the fan-out."""
        return {
            "stop_reasons": dict(self._stop_reasons),
            "truncated": self.truncated,
            "refused_by_model": self._stop_reasons[_REFUSED],
            "errors_by_class": dict(self._errors),
            "models_without_price": sorted(self._unpriced),
        }

    def lines(self, stats: FanOutStats, *, max_cost: float | None) -> list[str]:
        """Return the report.

        Args:
          stats: The last figures of the fan-out.
          max_cost: The budget, in dollars; None without one.
        """
        statuses = [(getattr(stats, name), word) for name, word in _STATUSES]
        rows = [("items", _list(statuses))]
        if self._stop_reasons:
            rows.append(("stop reasons", self._reasons()))
        if self._errors:
            rows.append(("errors", _list([(number, name) for name, number in self._errors.most_common()])))
        tokens = [
            (stats.input_tokens, "in"),
            (stats.output_tokens, "out"),
            (stats.cache_write_tokens, "written to the cache"),
            (stats.cache_read_tokens, "read from the cache"),
        ]
        if any(number for number, _ in tokens):
            rows.append(("tokens", ", ".join(f"{count(number)} {word}" for number, word in tokens if number)))
            rows += self._money(stats)
        if stats.paid_twice:
            rows.append(("perhaps paid twice", f"{stats.paid_twice} items: message batches may have answered them too"))
        if stats.cost is not None and stats.cost_before:
            together = f"{dollars(stats.cost + stats.cost_before)} together"
            limit = "" if max_cost is None else f", of ${max_cost:g}"
            rows.append(("before", f"{dollars(stats.cost_before)} in earlier runs; {together}{limit}"))
        return [f"{name}: {fact}" for name, fact in rows if fact]

    def _reasons(self) -> str:
        words = dict.fromkeys(_TRUNCATED, " (truncated)") | {_REFUSED: " (refused)"}
        counted = self._stop_reasons.most_common()
        return _list([(number, f"{reason}{words.get(reason, '')}") for reason, number in counted])

    def _money(self, stats: FanOutStats) -> list[tuple[str, str]]:
        if stats.cost is None or stats.costs is None:
            names = ", ".join(sorted(self._unpriced)) or "a model of an earlier run"
            return [("cost", f"not known, as the prices of {names} are not; say --price MODEL=INPUT/OUTPUT")]
        costs = stats.costs
        kinds = [
            (costs.input, "input"),
            (costs.output, "output"),
            (costs.cache_write, "cache writes"),
            (costs.cache_read, "cache reads"),
            (costs.web_search, "web searches"),
            (stats.cost_failed, "of it for attempts that failed"),
            (stats.cost_estimated, "of it estimated, as answers were cut"),
        ]
        parts = ", ".join(f"{dollars(cost)} {word}" for cost, word in kinds if cost)
        rows = [("cost", f"{dollars(stats.cost)}: {parts}" if parts else dollars(stats.cost))]
        saved = [
            f"{dollars(abs(amount))}{'' if amount > 0 else ' lost'} by {what}"
            for amount, what in ((costs.saved_by_batch, "batches"), (costs.saved_by_cache, "the prompt cache"))
            if amount
        ]
        if saved:
            rows.append(("saved", ", ".join(saved)))
        return rows


def _list(counted: list[tuple[int, str]]) -> str:
    return ", ".join(f"{number} {word}" for number, word in counted if number)
