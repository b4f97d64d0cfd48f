"""The rate limits that an answer's headers tell about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, final

import msgspec

_COUNT = re.compile(r"[0-9]{1,18}")


@final
class RateLimit(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One limit. What the API did not tell is None.

    Attributes:
      limit: How many are allowed per minute.
      remaining: How many are left, rounded by the API.
      reset: When the limit is full again; with a time zone.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@final
class RateLimits(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The limits of the organisation as of one answer (https://docs.claude.com/en/api/rate-limits).

    They hold for the model that was asked. A refused request is told them too, in its `APIStatusError`.

    Attributes:
      requests: Requests.
      tokens: Tokens, by whichever limit is the tightest; that of a workspace, for example.
      input_tokens: Input tokens; what is read from the prompt cache does not count.
      output_tokens: Output tokens.
      priority_input_tokens: What is left of the capacity that was bought for Priority Tier
        (https://docs.claude.com/en/api/service-tiers). When it is used up nothing is refused: requests go on in the
        standard tier. Told where the model has such a commitment.
      priority_output_tokens: Likewise, output tokens.
      fast_input_tokens: Input tokens of requests with ``speed="fast"``, which have limits of their own
        (https://docs.claude.com/en/build-with-claude/fast-mode) and are refused beyond them. Told to such requests.
      fast_output_tokens: Likewise, output tokens.
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
        """Read the headers. Names in any case; what cannot be read, or is not there, is None.

        They are ``anthropic-ratelimit-*``, and ``anthropic-priority-*`` and ``anthropic-fast-*`` of two of them.
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
"""Where what a header says belongs: the field, and what of it."""


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
