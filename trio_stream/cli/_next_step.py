"""What to run next, at the end of ``trio-stream batch`` and in ``trio-stream status``.

What belongs here: the words, and what they depend on. What does not: counting.
"""

from __future__ import annotations

import msgspec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many items of a job want something to be done about them.

    Args:
      left: How many have not ended; None if that is not known.
      failed: How many failed, those without a value included.
      cut: How many answers were cut at ``max_tokens``.
      batches: How many message batches are not collected.
    """

    left: int | None = 0
    failed: int = 0
    cut: int = 0
    batches: int = 0


def next_steps(standing: Standing) -> list[str]:
    """Say what to run next; nothing where all is done."""
    steps: list[str] = []
    if standing.batches:
        steps.append(f"the same command collects {_number(standing.batches, 'message batch', 'message batches')}")
    elif standing.left:
        steps.append(f"the same command asks the {_number(standing.left, 'item')} left")
    elif standing.left is None:
        steps.append("the same command asks what is left of its input, if anything is")
    if standing.failed:
        steps.append(f"with --retry-errors it asks the {_number(standing.failed, 'item')} again that failed")
    if standing.cut:
        answers = _number(standing.cut, "answer")
        steps.append(f"with --retry-truncated and a greater --max-tokens the {answers} again that were cut")
    return steps


def _number(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
