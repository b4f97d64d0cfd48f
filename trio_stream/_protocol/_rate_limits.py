"""The rate limits that the headers of an answer tell.

What belongs here: reading them. What does not: keeping to them (`batch`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, final

import msgspec

_COUNT = re.compile(r"[0-9]{1,18}")


@final
class RateLimit(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One rate limit. A field is None if the API did not send it.

    Attributes:
      limit: The number that is allowed per minute.
      remaining: The number that is left, rounded by the API.
      reset: The time at which the whole limit is available again, with a time zone.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@final
class RateLimits(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The rate limits of the organization as of one answer (https://docs.claude.com/en/api/rate-limits).

    They apply to the model of the request. If the request was refused, its `APIStatusError` has them.

    Attributes:
      requests: The limit of requests.
      tokens: The limit of tokens that is the tightest at the moment, for example that of a workspace.
      input_tokens: The limit of input tokens. Those read from the prompt cache do not count.
      output_tokens: The limit of output tokens.
      priority_input_tokens: The input tokens left of the capacity that was bought for Priority Tier
        (https://docs.claude.com/en/api/service-tiers). Beyond it requests are not refused, but served in the standard
        tier. Sent for models for which there is such capacity.
      priority_output_tokens: The same for output tokens.
      fast_input_tokens: The limit of input tokens of requests with ``speed="fast"``, which have limits of their own
        (https://docs.claude.com/en/build-with-claude/fast-mode). Sent with the answers to such requests.
      fast_output_tokens: The same for output tokens.
    """

    requests: RateLimit = RateLimit()
    tokens: RateLimit = RateLimit()
    input_tokens: RateLimit = RateLimit()
    output_tokens: RateLimit = RateLimit()
    priority_input_tokens: RateLimit = RateLimit()
    priority_output_tokens: RateLimit = RateLimit()
    fast_input_tokens: RateLimit = RateLimit()
    fast_output_tokens: RateLimit = RateLimit()

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimits:
        """Read the rate limits from headers, whose names may be in any case.

        The headers are ``anthropic-ratelimit-*`` and, for tokens, ``anthropic-priority-*`` and ``anthropic-fast-*``.
        A field is None if its header is missing or cannot be read.
        """
        told: dict[str, dict[str, str]] = {}
        for name, value in headers.items():
            place = _HEADERS.get(name.lower())
            if place is not None:
                told.setdefault(place[0], {})[place[1]] = value.strip()
        return cls(**{field: _read_limit(values) for field, values in told.items()})


_HEADERS: Final = {
    f"anthropic-{prefix}-{kind}-{what}": (field, what)
    for prefix, kind, field in (
        ("ratelimit", "requests", "requests"),
        ("ratelimit", "tokens", "tokens"),
        ("ratelimit", "input-tokens", "input_tokens"),
        ("ratelimit", "output-tokens", "output_tokens"),
        ("priority", "input-tokens", "priority_input_tokens"),
        ("priority", "output-tokens", "priority_output_tokens"),
        ("fast", "input-tokens", "fast_input_tokens"),
        ("fast", "output-tokens", "fast_output_tokens"),
    )
    for what in ("limit", "remaining", "reset")
}
"""For each header, the field of `RateLimits` and the field within that."""


def _read_limit(values: Mapping[str, str]) -> RateLimit:
    return RateLimit(
        limit=_read_count(values.get("limit", "")),
        remaining=_read_count(values.get("remaining", "")),
        reset=_read_moment(values.get("reset", "")),
    )


def _read_count(value: str) -> int | None:
    return int(value) if _COUNT.fullmatch(value) else None


def _read_moment(value: str) -> datetime | None:
    # RFC 3339
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
