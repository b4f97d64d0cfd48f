"""The rate limits that an answer's headers tell about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import final

import msgspec

from trio_stream._protocol._headers import find_header

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

    Attributes:
      requests: Requests.
      tokens: Tokens, by whichever limit is the tightest.
      input_tokens: Input tokens.
      output_tokens: Output tokens.
    """

    requests: RateLimit = RateLimit()
    tokens: RateLimit = RateLimit()
    input_tokens: RateLimit = RateLimit()
    output_tokens: RateLimit = RateLimit()

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimits:
        """Read ``anthropic-ratelimit-*``. Names in any case; what cannot be read is None."""
        return cls(
            requests=_read_limit(headers, "requests"),
            tokens=_read_limit(headers, "tokens"),
            input_tokens=_read_limit(headers, "input-tokens"),
            output_tokens=_read_limit(headers, "output-tokens"),
        )


def _read_limit(headers: Mapping[str, str], what: str) -> RateLimit:
    def value(name: str) -> str:
        return (find_header(headers, f"anthropic-ratelimit-{what}-{name}") or "").strip()

    return RateLimit(
        limit=_read_count(value("limit")), remaining=_read_count(value("remaining")), reset=_read_moment(value("reset"))
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
