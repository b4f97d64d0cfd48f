"""Whether to try again, and when."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

import trio_stream as ts
from trio_stream._protocol import error_from_response
from trio_stream._protocol._retry import (
    RETRY_AFTER_CAP,
    decide_retry,
    parse_retry_after,
    parse_should_retry,
    retry_delay,
)

NOW = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


# ----- retry-after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0", None),
        (" 3 ", 3.0),
        ("3\x1f", 3.0),
        ("+3", 3.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e1", 10.0),
        ("3600", 3600.0),
        ("inf", math.inf),
        ("Infinity", math.inf),
        ("1e400", math.inf),
        ("9" * 5000, math.inf),
        (date(30), 30.0),
        (date(3600), 3600.0),
        ("Friday, 06-Nov-26 08:50:37 GMT", 60.0),
        ("Fri Nov  6 08:50:37 2026", 60.0),
        ("Fri, 06 Nov 2026 09:49:47 +0100", 10.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() - NOW),
        # what cannot be used
        ("", None),
        ("-1", None),
        ("-5.5", None),
        ("-inf", None),
        ("nan", None),
        ("soon", None),
        ("1_000", None),
        ("0x10", None),
        ("٣", None),
        ("3 s", None),
        ("3, 4", None),
        ("1e", None),
        (date(0), None),
        (date(-3600), None),
        ("Fri, 06 Nov 99999 08:49:37 GMT", None),
        ("Fri, 99 Nov 2026 99:99:99 GMT", None),
        ("Fri, 06 Nov 2026 08:49:37 +9999999999999", None),
        ("Sun, 06 Nov 1994", None),
        ("2026-11-06T08:50:37Z", None),
    ],
)
def test_reading_retry_after(value: Any, seconds: Any) -> None:
    assert parse_retry_after({"retry-after": value}, now=NOW) == seconds
    assert parse_retry_after({"Retry-After": value}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "inf"}, math.inf),
        ({"retry-after-ms": date(30)}, None),
    ],
)
def test_milliseconds_come_first(headers: Any, seconds: Any) -> None:
    assert parse_retry_after(headers, now=NOW) == seconds
    assert parse_retry_after(httpx.Headers(headers), now=NOW) == seconds


@given(st.text() | st.text("0123456789+-.:,eEinfaGMT JFO", max_size=40), st.floats(0, 1e11))
def test_no_retry_after_is_an_accident(value: Any, now: Any) -> None:
    seconds = parse_retry_after({"retry-after": value}, now=now)
    assert seconds is None or seconds >= 0


# ----- which answers


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), ("True", True), (" false ", False), ("", None), ("1", None), ("maybe", None)],
)
def test_reading_x_should_retry(value: Any, expected: Any) -> None:
    assert parse_should_retry({"X-Should-Retry": value}) is expected


def test_no_x_should_retry() -> None:
    assert parse_should_retry({}) is None


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_statuses_worth_another_attempt(status: Any) -> None:
    assert decide(answer(status)) == 0.5
    assert decide(answer(status, x_should_retry="false")) is None


@pytest.mark.parametrize("status", [200, 299, 301, 307, 400, 403, 404, 412, 413, 418, 422, 431, 499, 501, 505, 511])
def test_statuses_that_are_final(status: Any) -> None:
    assert decide(answer(status)) is None
    assert decide(answer(status, x_should_retry="true")) == 0.5


@pytest.mark.parametrize("status", [401, 402])
def test_statuses_of_the_account(status: Any) -> None:
    assert decide(answer(status)) is None
    assert decide(answer(status, x_should_retry="true")) is None


# ----- how long


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (100, 8.0), (10**6, 8.0)]
)
def test_the_wait_doubles(attempt: Any, seconds: Any) -> None:
    assert retry_delay(attempt, jitter=0.0) == seconds
    assert retry_delay(attempt, jitter=1.0) == seconds * 0.75


@pytest.mark.parametrize(("retry_after", "seconds"), [(3.0, 3.0), (0.001, 0.001), (0.0, 0.5), (None, 0.5)])
def test_a_positive_retry_after_is_taken_as_it_is(retry_after: Any, seconds: Any) -> None:
    assert retry_delay(0, jitter=0.0, retry_after=retry_after) == seconds


@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_wait_is_bounded(attempt: Any, jitter: Any) -> None:
    assert 0.375 <= retry_delay(attempt, jitter=jitter) <= 8.0


# ----- the decision


def answer(status: int, kind: str | None = None, **headers: str) -> ts.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b'{"type":"error","error":{"type":"%s","message":"m"}}' % kind.encode() if kind else b""
    return error_from_response(status, named, body, now=NOW)


def decide(error: ts.APIError, retries_taken: int = 0, max_retries: int = 2) -> float | None:
    return decide_retry(error, retries_taken=retries_taken, max_retries=max_retries, jitter=0.0)


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (answer(429, "rate_limit_error"), 0.5),
        (answer(529, "overloaded_error"), 0.5),
        (answer(500), 0.5),
        (answer(408), 0.5),
        (answer(409), 0.5),
        (answer(400, "invalid_request_error"), None),
        (answer(401), None),
        (answer(299), None),
        (answer(307), None),
        (answer(400, x_should_retry="true"), 0.5),
        (answer(429, x_should_retry="false"), None),
        (answer(529, x_should_retry="false", retry_after="1"), None),
        # retry-after, the rows of the fault table
        (answer(429, retry_after="7"), 7.0),
        (answer(429, retry_after="60"), 60.0),
        (answer(429, retry_after_ms="250"), 0.25),
        (answer(503, retry_after=date(30)), 30.0),
        (answer(429, retry_after="3600"), None),
        (answer(429, retry_after="60.001"), None),
        (answer(429, retry_after="3600", x_should_retry="true"), None),
        (answer(429, retry_after="inf"), None),
        (answer(429, retry_after="1e400"), None),
        (answer(429, retry_after=date(3600)), None),
        (answer(429, retry_after="-5"), 0.5),
        (answer(429, retry_after="soon"), 0.5),
        (answer(429, retry_after="nan"), 0.5),
        (answer(429, retry_after=date(-3600)), 0.5),
        (answer(429, retry_after="0"), 0.5),
        # an `error` event, before anything was handed out
        (answer(200, "overloaded_error"), 0.5),
        (answer(200, "rate_limit_error"), 0.5),
        (answer(200, "api_error"), 0.5),
        (answer(200, "timeout_error"), 0.5),
        (answer(200, "invalid_request_error"), None),
        (answer(200, "new_kind_error"), None),
        (answer(200), None),
        # the network
        (ts.APIConnectionError("reset"), 0.5),
        (ts.APIConnectionError("certificate", retryable=False), None),
        (ts.ConnectTimeoutError("m", seconds=1), 0.5),
        (ts.SendTimeoutError("m", seconds=1), 0.5),
        (ts.FirstEventTimeoutError("m", seconds=1), 0.5),
        (ts.SilenceTimeoutError("m", seconds=1), 0.5),
        (ts.StallTimeoutError("m", seconds=1), 0.5),
        (ts.TotalTimeoutError("m", seconds=1), None),
        # the stream
        (ts.IncompleteStreamError("cut"), 0.5),
        (ts.InvalidResponseError("broken"), None),
        (ts.InvalidToolInputError("m", input_json=""), None),
        (ts.OutputParseError("m", text=""), None),
        (ts.CredentialsError("no key"), None),
        (ts.APIError("anything else"), None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_tried_again(error: Any, delay: Any) -> None:
    assert decide(error) == delay


@pytest.mark.parametrize(
    ("error", "delay"),
    [(answer(429), 0.5), (answer(529), 0.5), (ts.ConnectTimeoutError("x", seconds=1), 0.5), (answer(500), None)],
    ids=repr,
)
def test_what_must_not_be_done_twice(error: Any, delay: Any) -> None:
    """It is tried again only where it is certain that it has not been done."""
    assert decide_retry(error, retries_taken=0, max_retries=2, jitter=0.0, repeatable=False) == delay


def test_retries_are_counted() -> None:
    error = answer(529)
    assert [decide(error, taken) for taken in range(4)] == [0.5, 1.0, None, None]
    assert decide(error, 0, max_retries=0) is None


def test_the_cap_is_a_minute() -> None:
    assert RETRY_AFTER_CAP == 60.0
    assert answer(429, retry_after="3600").retry_after == 3600.0
    assert answer(429, retry_after="inf").retry_after == math.inf


def test_jitter_shortens_the_wait() -> None:
    assert decide_retry(answer(529), retries_taken=1, max_retries=2, jitter=1.0) == 0.75
