"""The items that are streamed before a batch is made.

What belongs here: which models are known to answer, and when they are known not to. What does not: streaming an item
(`_workers`), and stopping the job (`_job`).
"""

from __future__ import annotations

from typing import Final, final

from trio_stream._errors import APIStatusError

from ._records import FAILED, Outcome
from ._stopping import FanOutStoppedError

_MOST_PROBES: Final = 3
"""If so many probes of a model fail with the same error, all items are taken to fail too. Otherwise it is batched."""


@final
class Probes:
    """What is known of each model.

    Attributes:
      proven: The models whose items go into batches.
    """

    def __init__(self) -> None:
        self.proven: set[str] = set()
        self._errors: dict[str, list[tuple[object, ...]]] = {}

    def note(self, model: str, outcome: Outcome) -> FanOutStoppedError | None:
        """Look at the outcome of a probe.

        Returns:
          The error to stop the job with, or None to go on.
        """
        if outcome.status in ("skipped", "cancelled"):
            return None
        error = outcome.error
        if outcome.status not in FAILED or error is None:
            self.proven.add(model)
            return None
        errors = self._errors.setdefault(model, [])
        errors.append(_likeness(error))
        if len(errors) < _MOST_PROBES:
            return None
        self.proven.add(model)
        if len(set(errors)) > 1:
            return None
        stop = FanOutStoppedError(
            f"{_MOST_PROBES} items were tried before the batch, and all failed alike: {error}", reason="same_error"
        )
        stop.__cause__ = error
        return stop


def _likeness(error: Exception) -> tuple[object, ...]:
    """A key that is equal for two errors that say the same."""
    if isinstance(error, APIStatusError):
        return type(error), error.status_code, error.type, error.api_message or error.message
    return type(error), str(error)
