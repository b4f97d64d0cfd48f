"""What a browser is told of a failure: a status, a kind and a sentence, and nothing that the API has written.

What belongs here: making a `Failure` of an error. What does not: writing it (the encoders), and when it is sent
(`_relay`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias, final

import msgspec

from trio_stream._errors import APIError, APIStatusError, APITimeoutError, IncompleteStreamError
from trio_stream._protocol import judge

Describe: TypeAlias = Callable[[APIError], str]
"""A function that says what may be shown of an error."""

_BUSY: Final = {
    "overloaded_error": "The model is overloaded. Please try again in a moment.",
    "rate_limit_error": "There are too many requests. Please try again in a moment.",
}
_BUSY_STATUSES: Final = {429: "rate_limit_error", 503: "overloaded_error", 529: "overloaded_error"}

_RETRY_AFTER: Final = 5
"""Seconds to ask for where the API did not say."""

_LONGEST_RETRY_AFTER: Final = 24 * 60 * 60


@final
class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of an `APIError` to whoever reads the response.

    Attributes:
      status: The HTTP status, if the response has not begun: 503 when the API is overloaded or a rate limit is reached,
        504 when a clock of `Timeouts` ran out, 502 otherwise.
      type: The kind, by the names of the API: ``overloaded_error``, ``rate_limit_error``, ``timeout_error`` or
        ``api_error``.
      message: A sentence that may be shown.
      retry_after: Seconds after which the same request may succeed; None if trying again does not help.
    """

    status: int
    type: str
    message: str
    retry_after: int | None = None


def failure_of(error: APIError, describe: Describe | None = None) -> Failure:
    """What is told of an error. The text of the error itself is not: the API may have quoted the prompt in it.

    Args:
      error: The error.
      describe: Makes the sentence, in place of the usual one.
    """
    judgement = judge(error)
    retry_after: int | None = None
    busy = _busy_kind(error)
    if busy is not None:
        status, kind, sentence = 503, busy, _BUSY[busy]
        if judgement.retryable:  # a spent account is not: it answers 429 too
            retry_after = _seconds(judgement.retry_after)
    elif isinstance(error, APITimeoutError):
        status, kind, sentence = 504, "timeout_error", "The model did not answer in time."
    elif isinstance(error, IncompleteStreamError):
        status, kind, sentence = 502, "api_error", "The answer was cut off."
    else:
        status, kind, sentence = 502, "api_error", "The model could not answer."
    return Failure(
        status=status,
        type=kind,
        message=sentence if describe is None else describe(error),
        retry_after=retry_after,
    )


def _busy_kind(error: APIError) -> str | None:
    """The kind of an error that says that the API has too much to do; None for any other error."""
    if not isinstance(error, APIStatusError):
        return None
    if error.status_code in _BUSY_STATUSES:
        return _BUSY_STATUSES[error.status_code]
    # An ``error`` event within the stream has the status of the answer, 200.
    return error.type if error.status_code == 200 and error.type in _BUSY else None


def _seconds(retry_after: float | None) -> int:
    if retry_after is None:
        return _RETRY_AFTER
    return max(1, math.ceil(min(retry_after, _LONGEST_RETRY_AFTER)))
