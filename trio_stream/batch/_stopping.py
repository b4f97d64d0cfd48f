"""Why a fan-out stops before its end.

What belongs here: the reasons, their sentences, and noticing that too much fails. What does not: what happens then
(`_fan_out`), adding up budgets (`_money`), and which errors are those of the account (`judge` of `_protocol`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, final

from trio_stream._errors import APIError, APIStatusError
from trio_stream._protocol import AccountReason

from ._records import FAILED, Outcome

StopReason: TypeAlias = Literal[
    "budget",
    "max_errors",
    "same_error",
    "authentication",
    "permission",
    "spend_limit",
    "outage",
    "items",
    "drain",
    "detach",
    "abort",
]
"""Why a fan-out stopped.

``budget``: the `Budget` is used up. ``max_errors``: more items have failed than was allowed. ``same_error``: no
answer began, and the first items all failed with the same error. ``authentication``: the API refused the key (401), or
there is none. ``permission``: the key may not do this (403). ``spend_limit``: the account's money is spent, or the
account is on hold. ``outage``: the API is out of order, and has been for too long to wait. ``items``: the iterable of
items raised an error, or an id in it cannot be used. ``drain``, ``detach`` and ``abort``: the program called the method
of that name.
"""

_SHARE_COUNTS_FROM: Final = 20
"""The number of outcomes from which a share of errors is compared with its limit: it means little before."""

_ALIKE: Final = 10
"""If so many items fail with the same error before any answer has begun, all others are taken to fail too."""

_SENTENCES: Final[Mapping[AccountReason, str]] = {
    "authentication": "the API refuses the key",
    "permission": "the API does not permit this",
    "spend_limit": "a spend limit, or the account's balance",
}

_PREVENTS_REQUESTS: Final = frozenset[str]({*_SENTENCES, "outage"})

_SENDS_NOTHING: Final = _PREVENTS_REQUESTS | {"items", "drain", "abort"}


@final
class FanOutStoppedError(Exception):
    """A fan-out stopped before its end: nothing new is started.

    Where the API's answer was the cause, ``__cause__`` is its error.

    Attributes:
      reason: Why the fan-out stopped, a ``StopReason``.
      outcomes: If it was raised, the outcomes that had not been received yet.
    """

    reason: StopReason
    outcomes: tuple[Outcome, ...] = ()

    def __init__(self, message: str, *, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        # A keyword-only argument needs help to survive pickling (process pools, Ray).
        return (_rebuild, (str(self), self.reason))

    @property
    def sends_nothing(self) -> bool:
        """Whether no request is made any more, so that items that wait to be tried again are given up too."""
        return self.reason in _SENDS_NOTHING

    @property
    def prevents_requests(self) -> bool:
        """Whether the API takes no request, whatever the program wants."""
        return self.reason in _PREVENTS_REQUESTS


def _rebuild(message: str, reason: StopReason) -> FanOutStoppedError:
    return FanOutStoppedError(message, reason=reason)


def stopped_by(error: APIError, reason: AccountReason) -> FanOutStoppedError:
    """The error that stops a fan-out after an answer that every other item would get too."""
    stop = FanOutStoppedError(f"{_SENTENCES[reason]}: {error}", reason=reason)
    stop.__cause__ = error
    return stop


def stopped_by_outage(error: APIError) -> FanOutStoppedError:
    """The error that stops a fan-out whose message batches could not be worked with for too long."""
    stop = FanOutStoppedError(f"the API is out of order: {error}", reason="outage")
    stop.__cause__ = error
    return stop


@final
class Failures:
    """Counts the items that failed, and tells when there are too many.

    Args:
      limit: The number of items that may fail or, if it is a float, their share. None stands for any number, unless all
        fail in the same way.
    """

    def __init__(self, limit: int | float | None) -> None:
        self._limit = limit
        self._done = 0
        self._failed = 0
        self._first: tuple[object, ...] | None = None
        self._alike = 0
        self._hopeful = False  # whether some item may succeed

    def note(self, outcome: Outcome, *, place: int | None, answered: bool) -> FanOutStoppedError | None:
        """Count an outcome.

        Args:
          outcome: The outcome to count.
          place: The zero-based position of its item among those sent in this run, or None if it was not sent.
          answered: Whether any answer has begun in this run.

        Returns:
          The error to stop the fan-out with, or None to go on.
        """
        if outcome.status in ("skipped", "cancelled"):
            return None
        self._done += 1
        failed = outcome.status in FAILED
        self._failed += failed
        if self._limit is None:
            return None if place is None else self._compare(outcome, place, answered=answered)
        return self._too_many() if failed else None

    def _too_many(self) -> FanOutStoppedError | None:
        limit, failed, done = self._limit, self._failed, self._done
        sentence = None
        if isinstance(limit, int):
            if failed > limit:
                sentence = f"{failed} item{'' if failed == 1 else 's'} failed, and max_errors is {limit}"
        elif limit is not None and done >= _SHARE_COUNTS_FROM and failed > limit * done:
            sentence = f"{failed} of {done} items failed, and max_errors is {limit:.4g}"
        return None if sentence is None else FanOutStoppedError(sentence, reason="max_errors")

    def _compare(self, outcome: Outcome, place: int, *, answered: bool) -> FanOutStoppedError | None:
        """Notice a cause for which no item can succeed: a model that does not exist, a host that cannot be reached."""
        error = outcome.error
        likeness = None if error is None else _likeness(error)
        if answered or (place < _ALIKE and (outcome.status != "error" or likeness != (self._first or likeness))):
            self._hopeful = True
        if self._hopeful or place >= _ALIKE:
            return None
        self._first = likeness
        self._alike += 1
        if self._alike < _ALIKE:
            return None
        stop = FanOutStoppedError(f"the first {_ALIKE} items all failed alike: {error}", reason="same_error")
        stop.__cause__ = error
        return stop


def _likeness(error: Exception) -> tuple[object, ...]:
    """A key that is equal for two errors that say the same, whatever their request ids."""
    if isinstance(error, APIStatusError):
        return type(error), error.status_code, error.type, error.api_message or error.message
    return type(error), error.message if isinstance(error, APIError) else str(error)
