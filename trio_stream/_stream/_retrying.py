"""The retry loop: one operation, tried again while the error allows it.

What belongs here: sleeping between attempts and knowing when to give up. What does not: which errors are worth
another attempt and how long to wait (`_protocol`, pure).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from trio_stream._errors import APIError, APIStatusError, CredentialsError
from trio_stream._protocol import decide_retry

_log = logging.getLogger("trio_stream")

T = TypeVar("T")


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    *,
    max_retries: int,
    renewable: bool = False,
    sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    on_retry: Callable[[APIError, float], None] | None = None,
) -> T:
    """Call ``attempt(retries_taken)`` until it returns, or fails for good, with a ``sleep`` in between.

    Args:
      attempt: Makes one attempt. It is told how many there were before.
      max_retries: How often it may be tried again.
      renewable: Whether it is worth another attempt at once if the API refuses a key or token (401): it is renewed.
        That happens once, and is no retry.
      sleep: Waits for a number of seconds.
      on_retry: Called with the error and the seconds before each sleep.

    Checkpoint and cancellation: those of ``attempt`` and ``sleep``.

    Raises:
      APIError: The last attempt's.
    """
    retries_taken = 0
    refusal: APIError | None = None
    while True:
        try:
            return await attempt(retries_taken)
        except APIError as error:
            if isinstance(error, CredentialsError) and refusal is not None:
                raise refusal from error  # nothing came in place of what was refused: what the API says stands
            if renewable and refusal is None and isinstance(error, APIStatusError) and error.status_code == 401:
                refusal = error
                _log.info("once more with another key or token, after %s", type(error).__name__)
                if on_retry is not None:
                    on_retry(error, 0.0)
                continue
            delay = decide_retry(
                error,
                retries_taken=retries_taken,
                max_retries=max_retries,
                jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
            if delay is None:
                raise
            _log.info("retry %d of %d in %.2f s after %s", retries_taken + 1, max_retries, delay, type(error).__name__)
            if on_retry is not None:
                on_retry(error, delay)
        await sleep(delay)
        retries_taken += 1
