"""Whether to try again, and when.

What belongs here: the rules, as pure functions. What does not: sleeping, clocks and random numbers; the caller has
those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from trio_stream._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    IncompleteStreamError,
    TotalTimeoutError,
)
from trio_stream._protocol._headers import find_header

RETRY_AFTER_CAP: Final = 60.0
"""Seconds. A server that asks for more gets its answer raised instead, with the wait on ``.retry_after``."""

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 8.0
_DOUBLINGS = 4  # from there on it is the longest delay anyway, and 2**n stays small

_RETRIED_TYPES: Final = frozenset({"rate_limit_error", "api_error", "overloaded_error", "timeout_error"})

# RFC 9110, 10.2.3: delay-seconds is 1*DIGIT. Fractions, exponents and "inf" are seen in the wild. `float` alone
# would also take "nan", "1_000" and digits of other scripts.
_NUMBER = re.compile(r"\+?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read how long the server asks to wait: ``retry-after-ms`` first, then ``retry-after``.

    Args:
      headers: The answer's; names in any case.
      now: Seconds since the epoch, for dates.

    Returns:
      Seconds, maybe ``math.inf``; None when there is nothing that can be used (garbage, negative, a date that has
      passed).
    """
    milliseconds = _read_number(find_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = find_header(headers, "retry-after")
    seconds = _read_number(value)
    if seconds is not None or value is None:
        return seconds
    return _seconds_until(value, now)


def _read_number(value: str | None) -> float | None:
    if value is None or not _NUMBER.fullmatch(value.strip()):
        return None
    return float(value)


def _seconds_until(date: str, now: float) -> float | None:
    # RFC 9110, 5.6.7: three formats of dates, all of which email.utils reads.
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.fromtimestamp(0, UTC)).total_seconds() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def parse_should_retry(headers: Mapping[str, str]) -> bool | None:
    """Read ``x-should-retry``; None when the server does not say."""
    value = (find_header(headers, "x-should-retry") or "").strip().lower()
    return {"true": True, "false": False}.get(value)


def should_retry_status(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer with this status is worth another attempt; ``x-should-retry`` decides when it is there."""
    flag = parse_should_retry(headers)
    return _is_retried_status(status) if flag is None else flag


def _is_retried_status(status: int) -> bool:
    return status in (408, 409, 429) or status >= 500


def retry_delay(attempt: int, *, jitter: float, retry_after: float | None = None) -> float:
    """How long to wait before the next attempt.

    Args:
      attempt: Retries already taken, from 0.
      jitter: From 0 to 1, drawn by the caller; takes up to a quarter off.
      retry_after: Seconds the server asked for; taken as it is when positive.

    Returns:
      Seconds.
    """
    if retry_after is not None and retry_after > 0:
        return retry_after
    return min(_FIRST_DELAY * 2.0 ** min(attempt, _DOUBLINGS), _LONGEST_DELAY) * (1 - 0.25 * jitter)


def decide_retry(error: APIError, *, retries_taken: int, max_retries: int, jitter: float) -> float | None:
    """Decide whether to try again after an error that came before anything was handed to the caller.

    Args:
      error: What ended the attempt.
      retries_taken: Retries already taken.
      max_retries: Retries allowed.
      jitter: From 0 to 1, drawn by the caller.

    Returns:
      Seconds to wait first; None: do not retry, raise the error.
    """
    if retries_taken >= max_retries or not _is_retryable(error):
        return None
    retry_after = error.retry_after if isinstance(error, APIStatusError) else None
    if retry_after is not None and retry_after > RETRY_AFTER_CAP:
        return None
    return retry_delay(retries_taken, jitter=jitter, retry_after=retry_after)


def _is_retryable(error: APIError) -> bool:
    if isinstance(error, APIStatusError):
        if error.should_retry is not None:
            return error.should_retry
        if error.status_code == 200:  # an `error` event, or an error object where an event stream should be
            return error.type in _RETRIED_TYPES
        return _is_retried_status(error.status_code)
    if isinstance(error, TotalTimeoutError):
        return False
    if isinstance(error, APIConnectionError):
        return error.retryable
    return isinstance(error, IncompleteStreamError)
