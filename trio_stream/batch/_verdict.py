"""What an error of one attempt means for its item, and for the whole job.

What belongs here: reading errors. What does not: which of them end the whole job (`_stopping`), and acting on them
(`_attempts`, `_governor`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from trio_stream._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    IncompleteStreamError,
    TotalTimeoutError,
)

from ._stopping import stop_reason

_RAMP: Final = "ramp_limit_exceeded"

_RETRIED_TYPES: Final = frozenset({"api_error", "timeout_error"})


class Verdict(Enum):
    """What an error means."""

    STOP = "no request of this job will be taken: stop it"
    REFUSED = "a rate limit: everyone waits, and the window is cut"
    RAMP = "usage grows too fast: everyone waits, and growth is slow from then on"
    OVERLOADED = "the API is overloaded: try again, with the window as it is"
    FAILED = "try again"
    FINAL = "trying again cannot help"


def judge(error: APIError) -> Verdict:
    """What an error of one attempt means."""
    if stop_reason(error) is not None:
        return Verdict.STOP
    if isinstance(error, APIStatusError):
        return _judge_status(error)
    if isinstance(error, TotalTimeoutError):
        return Verdict.FINAL
    if isinstance(error, APIConnectionError):
        return Verdict.FAILED if error.retryable else Verdict.FINAL
    return Verdict.FAILED if isinstance(error, IncompleteStreamError) else Verdict.FINAL


def is_ramp_limit(error: APIError) -> bool:
    """Whether a refusal says that usage grows too fast."""
    return isinstance(error, APIStatusError) and error.error_code == _RAMP


def _judge_status(error: APIStatusError) -> Verdict:
    if error.should_retry is False:
        return Verdict.FINAL
    if error.status_code == 429 or (error.status_code == 200 and error.type == "rate_limit_error"):
        return Verdict.RAMP if is_ramp_limit(error) else Verdict.REFUSED
    if error.status_code == 529 or (error.status_code == 200 and error.type == "overloaded_error"):
        return Verdict.OVERLOADED
    if error.should_retry or error.status_code in (408, 409) or error.status_code >= 500:
        return Verdict.FAILED
    return Verdict.FAILED if error.status_code == 200 and error.type in _RETRIED_TYPES else Verdict.FINAL
