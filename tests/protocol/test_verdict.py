"""What a failure means for asking again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest

import trio_stream as ts
from trio_stream._protocol import Verdict, decide_retry, error_from_event, error_from_response, judge
from trio_stream._protocol._decode import decode_event
from trio_stream._protocol._retry import RETRY_AFTER_CAP

STATUSES = [200, 299, 307, 400, 401, 402, 403, 404, 408, 409, 412, 413, 418, 422, 429, 431, 499]
STATUSES += [500, 501, 502, 503, 504, 505, 511, 529, 599, 999]
REFUSING_TYPES = ["authentication_error", "billing_error", "permission_error"]
PASSING_TYPES = ["rate_limit_error", "overloaded_error", "api_error", "timeout_error"]
TYPES = [None, *REFUSING_TYPES, *PASSING_TYPES, "invalid_request_error", "not_found_error", "new_kind_error"]
SPENT_CODES = [
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "linked_organization_spend_limit_reached",
    "organization_on_hold",
]
CODES = [None, *SPENT_CODES, "ramp_limit_exceeded", "new_code"]
SPENT_SENTENCES = [
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade.",
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    "YOUR CREDIT BALANCE IS TOO LOW",
]
FLAGS = [None, True, False]
WAITS = [None, 0.0, 7.0, 60.0, 61.0, math.inf]


def status(code: int, **more: object) -> ts.APIStatusError:
    return ts.APIStatusError("x", status_code=code, **more)  # type: ignore[arg-type]


def no_connection(kind: type[ts.APIConnectionError], **more: Any) -> ts.APIConnectionError:
    if issubclass(kind, ts.APITimeoutError):
        return kind("x", seconds=1, **more)
    return kind("x", **more)


CLOCKS = [
    ts.ConnectTimeoutError,
    ts.SendTimeoutError,
    ts.FirstEventTimeoutError,
    ts.SilenceTimeoutError,
    ts.StallTimeoutError,
]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (status(429), Verdict.RATE_LIMITED),
        (status(429, error_code="ramp_limit_exceeded"), Verdict.RAMP_LIMITED),
        (status(200, type="rate_limit_error", error_code="ramp_limit_exceeded"), Verdict.RAMP_LIMITED),
        (status(429, error_code="enforced_spend_limit_reached"), Verdict.ACCOUNT),
        (status(429, error_code="contract_spend_limit_reached", should_retry=True), Verdict.ACCOUNT),
        (status(402, error_code="linked_organization_spend_limit_reached"), Verdict.ACCOUNT),
        (status(400, error_code="organization_on_hold"), Verdict.ACCOUNT),
        (status(429, should_retry=False), Verdict.PERMANENT),
        (status(429, should_retry=True), Verdict.RATE_LIMITED),
        (status(200, type="rate_limit_error"), Verdict.RATE_LIMITED),
        (status(529), Verdict.OVERLOADED),
        (status(529, should_retry=True), Verdict.OVERLOADED),
        (status(529, should_retry=False), Verdict.PERMANENT),
        (status(200, type="overloaded_error"), Verdict.OVERLOADED),
        (status(500), Verdict.TRANSIENT),
        (status(503), Verdict.TRANSIENT),
        (status(503, type="overloaded_error"), Verdict.TRANSIENT),
        (status(599), Verdict.TRANSIENT),
        (status(999), Verdict.TRANSIENT),
        (status(408), Verdict.TRANSIENT),
        (status(409), Verdict.TRANSIENT),
        (status(200, type="api_error"), Verdict.TRANSIENT),
        (status(200, type="timeout_error"), Verdict.TRANSIENT),
        (status(500, should_retry=False), Verdict.PERMANENT),
        (status(501), Verdict.PERMANENT),
        (status(505, type="api_error"), Verdict.PERMANENT),
        (status(511), Verdict.PERMANENT),
        (status(501, should_retry=True), Verdict.TRANSIENT),
        (status(418, should_retry=True), Verdict.TRANSIENT),
        (status(200, type="new_kind_error", should_retry=True), Verdict.TRANSIENT),
        (status(200, type="invalid_request_error"), Verdict.PERMANENT),
        (status(200), Verdict.PERMANENT),
        (status(400), Verdict.PERMANENT),
        (status(400, type="api_error"), Verdict.PERMANENT),
        (status(401), Verdict.ACCOUNT),
        (status(401, should_retry=True), Verdict.ACCOUNT),
        (status(500, type="authentication_error"), Verdict.ACCOUNT),
        (status(200, type="authentication_error"), Verdict.ACCOUNT),
        (status(402), Verdict.ACCOUNT),
        (status(429, type="billing_error"), Verdict.ACCOUNT),
        (status(403, type="permission_error"), Verdict.ACCOUNT),
        (status(403, type="permission_error", should_retry=True), Verdict.ACCOUNT),
        (status(403), Verdict.PERMANENT),
        (status(403, should_retry=True), Verdict.TRANSIENT),
        (status(404, type="not_found_error"), Verdict.PERMANENT),
        (ts.CredentialsError("x"), Verdict.ACCOUNT),
        (ts.APIConnectionError("x"), Verdict.TRANSIENT),
        (ts.APIConnectionError("x", retryable=False), Verdict.PERMANENT),
        (ts.SilenceTimeoutError("x", seconds=1), Verdict.TRANSIENT),
        (ts.TotalTimeoutError("x", seconds=1), Verdict.PERMANENT),
        (ts.IncompleteStreamError("x"), Verdict.TRANSIENT),
        (ts.InvalidResponseError("x"), Verdict.PERMANENT),
        (ts.InvalidToolInputError("x", input_json=""), Verdict.PERMANENT),
        (ts.OutputParseError("x", text=""), Verdict.PERMANENT),
        (ts.APIError("x"), Verdict.PERMANENT),
    ],
    ids=lambda value: f"{value!r} {getattr(value, 'error_code', '') or ''}",
)
def test_judge(error: Any, verdict: Any) -> None:
    assert judge(error).verdict is verdict


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (status(401), "authentication"),
        (status(200, type="authentication_error"), "authentication"),
        (ts.CredentialsError("x"), "authentication"),
        (status(403, type="permission_error"), "permission"),
        (status(402), "spend_limit"),
        (status(403, type="billing_error"), "spend_limit"),
        (status(401, error_code="organization_on_hold"), "spend_limit"),
        (status(400, api_message=SPENT_SENTENCES[0]), "spend_limit"),
        (status(429), None),
        (status(400), None),
    ],
    ids=repr,
)
def test_why_nothing_will_be_taken(error: Any, reason: Any) -> None:
    assert judge(error).reason == reason


def combinations() -> Iterator[ts.APIError]:
    """Every answer, told apart by all that anything looks at; every way in which the network fails; all clocks."""
    for code, kind, error_code, flag, wait in itertools.product(STATUSES, TYPES, CODES, FLAGS, WAITS):
        yield status(code, type=kind, error_code=error_code, should_retry=flag, retry_after=wait)
    for code, kind, flag, sentence in itertools.product(STATUSES, TYPES, FLAGS, SPENT_SENTENCES):
        yield status(code, type=kind, should_retry=flag, api_message=sentence)
    for accepted, retryable in itertools.product([False, True], repeat=2):
        yield ts.APIConnectionError("x", may_have_been_accepted=accepted, retryable=retryable)
    for kind, accepted in itertools.product([*CLOCKS, ts.TotalTimeoutError], [False, True]):
        yield no_connection(kind, may_have_been_accepted=accepted)
    yield from (ts.IncompleteStreamError("x"), ts.InvalidResponseError("x"), ts.CredentialsError("x"))


def expected(error: ts.APIError) -> bool:
    """Whether it may be asked again, in other words than the table's."""
    if isinstance(error, ts.APIStatusError):
        spent = error.error_code in SPENT_CODES or error.api_message in SPENT_SENTENCES
        if spent or error.status_code in (401, 402) or error.type in REFUSING_TYPES:
            return False
        if error.should_retry is not None:
            return error.should_retry
        if error.status_code == 200:
            return error.type in PASSING_TYPES
        if error.status_code in (501, 505, 511):
            return False
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    if isinstance(error, ts.APIConnectionError):
        return error.retryable and not isinstance(error, ts.TotalTimeoutError)
    return isinstance(error, ts.IncompleteStreamError)


def test_all_combinations() -> None:
    """A single stream makes its request again exactly where the verdict says so and the wait is short enough."""
    count = 0
    for error in combinations():
        judgement = judge(error)
        assert judgement.retryable is expected(error), vars(error)
        assert (judgement.verdict is Verdict.ACCOUNT) is (judgement.reason is not None)
        asked = getattr(error, "retry_after", None)
        assert judgement.retry_after == asked
        patient = asked is None or asked <= RETRY_AFTER_CAP
        delay = decide_retry(error, retries_taken=0, max_retries=1, jitter=0.0)
        assert delay == ((asked or 0.5) if patient and judgement.retryable else None), vars(error)
        count += 1
    assert count == 27 * 11 * 7 * 3 * 6 + 27 * 11 * 3 * 3 + 4 + 12 + 3


@pytest.mark.parametrize("sentence", SPENT_SENTENCES)
@pytest.mark.parametrize("code", [400, 403, 429, 500])
def test_an_empty_balance_is_told_by_its_sentence(code: int, sentence: str) -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"%s"}}' % sentence.encode()
    error = error_from_response(code, {"x-should-retry": "true"}, body, now=0.0)
    assert judge(error) == (Verdict.ACCOUNT, "spend_limit", None)


@pytest.mark.parametrize(
    "said",
    [b'"message":"Your credit balance is too low"', b'"message":"x","details":{"error_code":"organization_on_hold"}'],
)
def test_an_empty_balance_in_the_middle_of_a_stream(said: bytes) -> None:
    event: Any = decode_event(("error", b'{"type":"error","error":{"type":"rate_limit_error",%s}}' % said))
    assert judge(error_from_event(event, None)) == (Verdict.ACCOUNT, "spend_limit", None)


SPENT_BODIES = [
    (400, '{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified workspace API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."}}'),
    (400, '{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."}}'),
    (403, '{"error":{"message":"用户额度不足, 剩余额度: $0.00 (request id: 2026)","type":"new_api_error","code":"insufficient_user_quota"}}'),
    (403, '{"error":{"message":"user quota is not enough","type":"one_api_error","code":"insufficient_user_quota"}}'),
    (403, '{"error":{"message":"x","code":"insufficient_user_quota"}}'),
    (403, '{"code":"INSUFFICIENT_BALANCE","message":"x"}'),
    (429, '{"error":{"code":"1113","message":"Insufficient balance or no resource package. Please recharge."}}'),
    (429, '{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota"}}'),
    (429, '{"type":"error","error":{"type":"rate_limit_error","message":"Upstream returned 429.\\n{\\"message\\":\\"suspended due to insufficient balance, please recharge\\"}"}}'),
    (400, '{"error":{"message":"Budget has been exceeded! Current cost: 26.1, Max budget: 25","type":"budget_exceeded","code":"400"}}'),
    (429, '{"error":{"message":"No deployments available - crossed budget: Exceeded budget for deployment"}}'),
    (400, '{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\\"message\\":\\"Your credit balance is too low\\"}"}}}'),
    (500, '{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"}}'),
    (400, '{"error":"Your credit balance is too low"}'),
    (400, '{"detail":"Insufficient credits"}'),
    (400, '{"detail":[{"msg":"Not enough credits"}]}'),
    (400, '{"message":"You have run out of credits."}'),
    (403, "Insufficient funds"),
    (400, "<html><title>Payment Required</title></html>"),
    (400, '{"error":{"message":"余额不足，请充值"}}'),
    (400, '{"error":{"message":"Saldo insuficiente"}}'),
    (400, '{"error":{"message":"Votre solde est nul : crédits insuffisants"}}'),
    (400, '{"error":{"message":"Ihr Guthaben ist aufgebraucht."}}'),
    (400, '{"error":{"message":"Недостаточно средств на балансе"}}'),
    (400, '{"error":{"message":"クレジット残高が不足しています"}}'),
    (400, '{"error":{"message":"잔액이 부족합니다"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("code", "body"), SPENT_BODIES)
def test_an_empty_balance_in_other_words(code: int, body: str) -> None:
    """As the API itself and gateways before it say it: in other bodies, under names of their own, in other languages."""
    error = error_from_response(code, {"x-should-retry": "true"}, body.encode(), now=0.0)
    assert judge(error) == (Verdict.ACCOUNT, "spend_limit", None)


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (429, '{"error":{"message":"You exceeded your current quota, please check your plan and billing details. Please retry in 7 s."}}'),
        (429, '{"error":{"message":"Number of request tokens has exceeded your per-minute rate limit"}}'),
        (400, '{"detail":[{"msg":"field required","input":{"messages":["Your credit balance is too low"]}}]}'),
        (400, '{"error":{"message":"thinking: budget exceeded max_tokens"}}'),
        (400, '{"error":{"message":"prompt is too long: not enough context"}}'),
        (503, '{"error":"no healthy upstream to balance"}'),
        (400, '{"error":{"message":"messages.0.content: \'insufficient funds\' is not allowed"}}'),
        (422, '{"detail":[{"msg":"Input should be \\"a\\" or \\"b\\", not \\"payment required\\""}]}'),
        (400, '{"error":{"message":"stop_sequences: `out of credits` is the user\'s, and isn\'t one"}}'),
    ],
)  # fmt: skip
def test_what_is_no_empty_balance(code: int, body: str) -> None:
    """The quota of a minute, and words of the prompt that an answer repeats."""
    assert judge(error_from_response(code, {}, body.encode(), now=0.0)).reason is None


def test_a_quota_that_will_be_there_again() -> None:
    """Some APIs call the quota of a minute the same, and then say how long to wait."""
    body = b'{"error":{"message":"x","code":"insufficient_quota"}}'
    assert judge(error_from_response(429, {"retry-after": "7"}, body, now=0.0)).verdict is Verdict.RATE_LIMITED
    assert judge(error_from_response(429, {}, body, now=0.0)).verdict is Verdict.ACCOUNT


def test_other_sentences_say_nothing() -> None:
    assert judge(status(400, api_message="the balance of credit")).verdict is Verdict.PERMANENT
    assert judge(status(429, api_message="usage limits")).verdict is Verdict.RATE_LIMITED
