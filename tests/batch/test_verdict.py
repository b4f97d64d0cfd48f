"""What an error of one attempt means."""

from __future__ import annotations

import pytest

import trio_stream as ts
from trio_stream.batch._verdict import Verdict, judge


def status(code: int, **more: object) -> ts.APIStatusError:
    return ts.APIStatusError("x", status_code=code, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error, verdict",
    [
        (status(429), Verdict.REFUSED),
        (status(429, error_code="ramp_limit_exceeded"), Verdict.RAMP),
        (status(429, error_code="enforced_spend_limit_reached"), Verdict.STOP),
        (status(429, error_code="contract_spend_limit_reached", should_retry=True), Verdict.STOP),
        (status(402, error_code="linked_organization_spend_limit_reached"), Verdict.STOP),
        (status(400, error_code="organization_on_hold"), Verdict.STOP),
        (status(429, should_retry=False), Verdict.FINAL),
        (status(200, type="rate_limit_error"), Verdict.REFUSED),
        (status(529), Verdict.OVERLOADED),
        (status(200, type="overloaded_error"), Verdict.OVERLOADED),
        (status(500), Verdict.FAILED),
        (status(503), Verdict.FAILED),
        (status(408), Verdict.FAILED),
        (status(409), Verdict.FAILED),
        (status(200, type="api_error"), Verdict.FAILED),
        (status(200, type="timeout_error"), Verdict.FAILED),
        (status(500, should_retry=False), Verdict.FINAL),
        (status(418, should_retry=True), Verdict.FAILED),
        (status(200, type="invalid_request_error"), Verdict.FINAL),
        (status(400), Verdict.FINAL),
        (status(401), Verdict.STOP),
        (status(401, should_retry=True), Verdict.FAILED),
        (status(200, type="authentication_error"), Verdict.STOP),
        (status(402), Verdict.STOP),
        (status(403, type="permission_error"), Verdict.STOP),
        (status(403), Verdict.FINAL),
        (status(404, type="not_found_error"), Verdict.FINAL),
        (ts.CredentialsError("x"), Verdict.STOP),
        (ts.APIConnectionError("x"), Verdict.FAILED),
        (ts.APIConnectionError("x", retryable=False), Verdict.FINAL),
        (ts.SilenceTimeoutError("x", seconds=1), Verdict.FAILED),
        (ts.TotalTimeoutError("x", seconds=1), Verdict.FINAL),
        (ts.IncompleteStreamError("x"), Verdict.FAILED),
        (ts.InvalidResponseError("x"), Verdict.FINAL),
    ],
    ids=lambda value: f"{value!r} {getattr(value, 'error_code', '') or ''}",
)
def test_judge(error, verdict):
    assert judge(error) is verdict
