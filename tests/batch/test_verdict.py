"""A single stream and a fan-out agree on what is asked again; tests/protocol/test_verdict.py has the rule itself."""

from __future__ import annotations

import json

import pytest

import trio_stream as ts
from tests.batch.api import PARAMS, client_of
from tests.protocol.test_verdict import CODES, FLAGS, REFUSING_TYPES, SPENT_CODES, SPENT_SENTENCES, STATUSES, TYPES
from trio_stream._protocol import judge
from trio_stream.testing import Step, disconnect, fail, http_error


async def asked_again(step: Step) -> bool:
    """Whether the request is made again after this, which a single stream and a fan-out have to agree on."""
    client, api = client_of([step])
    error: Exception | None = None
    try:
        async with client.messages.stream(
            max_retries=1, messages=[{"role": "user", "content": "q"}], **PARAMS
        ) as stream:
            await stream.until_done()
    except ts.APIError as failure:
        error = failure
    alone = len(api.requests) == 2
    assert alone is (error is None)

    client, api = client_of([step])
    (outcome,) = await ts.gather_outcomes(client, ["q"], max_attempts=2, **PARAMS)
    together = len(api.requests) == 2
    assert together is (outcome.status == "ok")

    assert alone is together, f"alone {alone}, in a fan-out {together}: {error or outcome.error}"
    if isinstance(error, ts.APIError):
        assert type(outcome.error) is type(error)
        assert outcome.status == ("error" if judge(error).reason is None else "skipped")
    return alone


@pytest.mark.no_cover
@pytest.mark.parametrize("status", [status for status in STATUSES if status not in (200, 299, 999)])
async def test_both_agree_on_answers(status: int, autojump_clock: object) -> None:
    """Each type of error with each ``x-should-retry``; codes and sentences by turns."""
    count = 0
    for kind in TYPES:
        for flag in FLAGS:
            error = {
                "type": kind,
                "message": SPENT_SENTENCES[0] if count % 5 == 4 else "m",
                "details": {"error_code": CODES[count % len(CODES)]},
            }
            headers = {} if flag is None else {"x-should-retry": str(flag).lower()}
            await asked_again(http_error(status, headers=headers, body=json.dumps({"error": error}).encode()))
            count += 1
    assert count == 33


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind is not None])
async def test_both_agree_on_error_events(kind: str, autojump_clock: object) -> None:
    for code in CODES:
        for message in ("m", SPENT_SENTENCES[1]):
            await asked_again(fail(kind, message, details={"error_code": code}))


async def test_both_agree_on_the_network(autojump_clock: object) -> None:
    assert await asked_again(disconnect())


@pytest.mark.parametrize("code", SPENT_CODES)
@pytest.mark.parametrize("status", [400, 402, 403, 429, 500, 529])
async def test_a_spent_account_is_asked_once(status: int, code: str, autojump_clock: object) -> None:
    body = json.dumps({"error": {"type": "rate_limit_error", "message": "m", "details": {"error_code": code}}}).encode()
    for headers in ({}, {"x-should-retry": "true"}, {"retry-after": "1"}):
        assert not await asked_again(http_error(status, headers=headers, body=body))


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.parametrize("kind", REFUSING_TYPES)
async def test_a_refused_key_is_asked_once(status: int, kind: str, autojump_clock: object) -> None:
    for headers in ({}, {"x-should-retry": "true"}, {"retry-after": "1"}):
        assert not await asked_again(http_error(status, kind, headers=headers))


async def test_an_empty_balance_stops_a_fan_out_at_once(autojump_clock: object) -> None:
    client, api = client_of(default=[http_error(400, message=SPENT_SENTENCES[0])])
    outcomes = await ts.gather_outcomes(client, [str(number) for number in range(1000)], **PARAMS)
    assert len(api.requests) <= 8
    stop = outcomes[-1].error
    assert isinstance(stop, ts.FanOutStoppedError)
    assert stop.reason == "spend_limit"
    assert "credit balance is too low" in str(stop)
