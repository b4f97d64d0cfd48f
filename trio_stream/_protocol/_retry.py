"""When a single stream makes its request again: how often, and after which wait.

What belongs here: the waits and the headers that ask for them, as pure functions. What does not: which failures are
worth another request (`_verdict`), and sleeping, clocks and random numbers, which are the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from trio_stream._errors import APIError
from trio_stream._protocol._headers import find_header
from trio_stream._protocol._verdict import judge, may_have_been_done

RETRY_AFTER_CAP: Final = 60.0
"""Seconds. If the server asks for a longer wait, its error is raised instead, with the wait on ``.retry_after``."""

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 8.0
_DOUBLINGS = 4  # after these the wait is at its longest, and 2**n stays small

# RFC 9110, 10.2.3: delay-seconds is 1*DIGIT. Fractions, exponents and "inf" occur in the wild. `float` alone
# would also take "nan", "1_000" and digits of other scripts.
_NUMBER = re.compile(r"\+?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read how long the server asks to wait: ``retry-after-ms`` first, then ``retry-after``.

    Args:
      headers: The headers of the answer; names in any case.
      now: Seconds since the epoch, for a ``retry-after`` that is a date.

    Returns:
      Seconds, which may be ``math.inf``; or None if there is no value that can be used (it is garbage, zero or
      negative, or a date that has passed).
    """
    milliseconds = _read_number(find_header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = find_header(headers, "retry-after")
    if value is None:
        return None
    seconds = _read_number(value)
    return _seconds_until(value, now) if seconds is None else seconds


def _read_number(value: str | None) -> float | None:
    number = (value or "").strip()
    # Zero counts as absent: a gateway that knows no better writes it with every refusal, and whoever took it at its
    # word would ask again as fast as the network allows.
    return (float(number) or None) if _NUMBER.fullmatch(number) else None


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
    """Read ``x-should-retry``. None if the server does not say."""
    value = (find_header(headers, "x-should-retry") or "").strip().lower()
    return {"true": True, "false": False}.get(value)


def retry_delay(attempt: int, *, jitter: float, retry_after: float | None = None) -> float:
    """How long to wait before the next request.

    Args:
      attempt: The number of retries already made.
      jitter: A random number from 0 to 1, drawn by the caller. It shortens the wait by up to a quarter.
      retry_after: The seconds that the server asked to wait, or None. If positive they are the wait.

    Returns:
      Seconds.
    """
    if retry_after is not None and retry_after > 0:
        return retry_after
    return min(_FIRST_DELAY * 2.0 ** min(attempt, _DOUBLINGS), _LONGEST_DELAY) * (1 - 0.25 * jitter)


def decide_retry(
    error: APIError, *, retries_taken: int, max_retries: int, jitter: float, repeatable: bool = True
) -> float | None:
    """Decide whether to make a request again after an error that came before anything was handed to the caller.

    Args:
      error: The error that ended the attempt.
      retries_taken: The number of retries already made.
      max_retries: The number of retries allowed.
      jitter: A random number from 0 to 1, drawn by the caller.
      repeatable: Whether doing twice what the request asks for costs no more than doing it once. If not, it is made
        again only where it is certain that it has not been done (`may_have_been_done`).

    Returns:
      Seconds to wait before the next request; None when there is to be none and the error is raised.
    """
    judgement = judge(error)
    if retries_taken >= max_retries or not judgement.retryable:
        return None
    if not repeatable and may_have_been_done(error):
        return None
    if judgement.retry_after is not None and judgement.retry_after > RETRY_AFTER_CAP:
        return None
    return retry_delay(retries_taken, jitter=jitter, retry_after=judgement.retry_after)
