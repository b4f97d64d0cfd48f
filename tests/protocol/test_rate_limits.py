"""The rate limits that headers tell about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from trio_stream._protocol import RateLimit, RateLimits

HEADERS = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-11-06T08:49:37Z",
    "anthropic-ratelimit-tokens-limit": "90000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-limit": "50000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-06T09:49:37+01:00",
    "anthropic-priority-input-tokens-limit": "10000",
    "anthropic-priority-input-tokens-remaining": "9618",
    "anthropic-priority-output-tokens-remaining": "6000",
    "anthropic-fast-input-tokens-remaining": "0",
    "anthropic-fast-output-tokens-limit": "20000",
    "anthropic-fast-output-tokens-reset": "2026-11-06T08:49:37Z",
    # Not of these: others that begin so.
    "anthropic-fast-requests-limit": "1",
    "anthropic-ratelimit-unified-status": "allowed",
    "x-anthropic-ratelimit-requests-limit": "2",
}


@pytest.mark.parametrize(
    "headers", [HEADERS, {name.title(): HEADERS[name] for name in HEADERS}, httpx.Headers(HEADERS)]
)
def test_all_there_is(headers: Any) -> None:
    moment = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert RateLimits.from_headers(headers) == RateLimits(
        requests=RateLimit(limit=50, remaining=49, reset=moment),
        tokens=RateLimit(limit=90000, remaining=0),
        input_tokens=RateLimit(limit=50000),
        output_tokens=RateLimit(reset=moment),
        priority_input_tokens=RateLimit(limit=10000, remaining=9618),
        priority_output_tokens=RateLimit(remaining=6000),
        fast_input_tokens=RateLimit(remaining=0),
        fast_output_tokens=RateLimit(limit=20000, reset=moment),
    )


def test_nothing_told() -> None:
    assert RateLimits.from_headers({}) == RateLimits()
    assert repr(RateLimits()) == "RateLimits()"


@pytest.mark.parametrize("value", ["", "many", "-1", "1.5", "1e3", "٣", "9" * 5000, "1_000"])
def test_a_count_that_is_none(value: Any) -> None:
    assert RateLimits.from_headers({"anthropic-ratelimit-tokens-limit": value}).tokens.limit is None


@pytest.mark.parametrize("value", ["", "soon", "2026-99-99T00:00:00Z", "Fri, 06 Nov 2026 08:49:37 GMT", "12"])
def test_a_moment_that_is_none(value: Any) -> None:
    assert RateLimits.from_headers({"anthropic-ratelimit-tokens-reset": value}).tokens.reset is None


def test_a_moment_without_a_zone_is_utc() -> None:
    headers = {"anthropic-ratelimit-tokens-reset": " 2026-11-06T08:49:37 "}
    assert RateLimits.from_headers(headers).tokens.reset == datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)


@given(st.text(), st.text() | st.text("0123456789-:.TZ+ ", max_size=40))
def test_garbage_is_no_accident(count: Any, moment: Any) -> None:
    limit = RateLimits.from_headers(
        {"anthropic-ratelimit-requests-limit": count, "anthropic-ratelimit-requests-reset": moment}
    ).requests
    assert limit.limit is None or limit.limit >= 0
    assert limit.reset is None or limit.reset.tzinfo is not None
