"""What an answer that is an error becomes."""

from __future__ import annotations

import json
import math
import pickle
import time
import unicodedata
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

import trio_stream as ts
from trio_stream._protocol import ErrorEvent, error_from_event, error_from_response, find_sentence
from trio_stream.types import ErrorObject


def make(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> ts.APIStatusError:
    if isinstance(body, dict):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_response(status, named, body, now=1_000_000.0)


def api_error(kind: str, message: str = "Something is wrong", **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}}


def assert_brief(error: ts.APIError) -> None:
    said = str(error)
    assert len(said.encode()) < 4096
    assert "\n" not in said
    assert not {char for char in said if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}}
    assert not {char for char in said if unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI"}}


# ----- classes


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", ts.BadRequestError),
        (401, "authentication_error", ts.AuthenticationError),
        (402, "billing_error", ts.PaymentRequiredError),
        (403, "permission_error", ts.PermissionDeniedError),
        (404, "not_found_error", ts.NotFoundError),
        (408, "timeout_error", ts.RequestTimeoutError),
        (409, "conflict_error", ts.ConflictError),
        (412, "invalid_request_error", ts.PreconditionFailedError),
        (413, "request_too_large", ts.ContentTooLargeError),
        (422, "invalid_request_error", ts.UnprocessableEntityError),
        (429, "rate_limit_error", ts.RateLimitError),
        (431, "invalid_request_error", ts.RequestHeaderFieldsTooLargeError),
        (499, "api_error", ts.ClientClosedRequestError),
        (500, "api_error", ts.InternalServerError),
        (501, "api_error", ts.HTTPNotImplementedError),
        (502, "api_error", ts.InternalServerError),
        (503, "api_error", ts.ServiceUnavailableError),
        (504, "timeout_error", ts.GatewayTimeoutError),
        (529, "overloaded_error", ts.OverloadedError),
        (599, "api_error", ts.InternalServerError),
        (418, "api_error", ts.APIStatusError),
        (299, "overloaded_error", ts.APIStatusError),
        # an error object where an event stream should be
        (200, "overloaded_error", ts.OverloadedError),
        (200, "new_kind_error", ts.APIStatusError),
    ],
)
def test_a_json_error(status: Any, kind: Any, expected: Any) -> None:
    error = make(status, api_error(kind), request_id="req_1")
    assert type(error) is expected
    assert error.status_code == status
    assert error.type == kind
    assert error.api_message == "Something is wrong"
    assert error.request_id == "req_1"
    assert error.body == api_error(kind)
    assert error.message == f"{status} {kind}: Something is wrong"
    assert str(error) == f"{status} {kind}: Something is wrong (request-id req_1)"


def test_details_and_the_request_id_of_the_body() -> None:
    body = {**api_error("invalid_request_error", details={"error_code": "too_long", "n": 1}), "request_id": "req_body"}
    error = make(400, body)
    assert error.error_code == "too_long"
    assert error.request_id == "req_body"
    assert make(400, body, Request_Id="req_head").request_id == "req_head"


@pytest.mark.parametrize(
    ("headers", "retry_after", "said", "should_retry"),
    [
        ({}, None, "429 rate_limit_error: Too many", None),
        ({"retry_after": "3"}, 3.0, "429 rate_limit_error: Too many (retry after 3 s)", None),
        ({"retry_after_ms": "2500"}, 2.5, "429 rate_limit_error: Too many (retry after 2.5 s)", None),
        ({"retry_after": "1234567"}, 1234567.0, "429 rate_limit_error: Too many (retry after 1234567 s)", None),
        ({"retry_after": "inf"}, math.inf, "429 rate_limit_error: Too many (retry after inf s)", None),
        ({"retry_after": "soon", "x_should_retry": "true"}, None, "429 rate_limit_error: Too many", True),
        ({"x_should_retry": "false"}, None, "429 rate_limit_error: Too many", False),
    ],
)
def test_when_to_try_again(headers: Any, retry_after: Any, said: Any, should_retry: Any) -> None:
    error = make(429, api_error("rate_limit_error", "Too many"), **headers)
    assert error.retry_after == retry_after
    assert error.message == said
    assert error.should_retry is should_retry


# ----- bodies of any kind


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (500, b"", {}, "500 Internal Server Error: no body"),
        (500, b" \r\n\t", {}, "500 Internal Server Error: no text"),
        (529, b"", {}, "529: no body"),
        (418, b"", {}, "418 I'm a Teapot: no body"),
        (299, b"{}", {}, "299: {}"),
        (503, b"upstream connect error\nreset", {}, "503 Service Unavailable: upstream connect error reset"),
        (500, b"caf\xe9 \xff", {}, "500 Internal Server Error: caf\ufffd \ufffd"),
        (500, b"\xef\xbb\xbfplain", {}, "500 Internal Server Error: plain"),
        (502, b"<html><head><title>502 Bad Gateway</title></head></html>", {}, "502 Bad Gateway"),
        (502, b"\n <TITLE lang='en'>\n a &amp; b\n</TITLE>", {}, "502 Bad Gateway: a & b"),
        (502, b"<title> </title><p>It is <b>down</b></p>", {}, "502 Bad Gateway: It is down"),
        (502, b"<titles>x</titles>", {}, "502 Bad Gateway: x"),
        (502, b"<script>alert(1)</script><style>p{}</style><p>Down</p>", {}, "502 Bad Gateway: Down"),
        (502, b"Down<br>for now", {"content_type": "text/HTML; charset=x"}, "502 Bad Gateway: Down for now"),
        (502, b"a < b, c > d", {"content_type": "text/plain"}, "502 Bad Gateway: a < b, c > d"),
        (500, b'{"detail": "Not Found"}', {}, "500 Internal Server Error: Not Found"),
        (500, b'{"message": "nope"}', {}, "500 Internal Server Error: nope"),
        (500, b'{"error": "quota"}', {}, "500 Internal Server Error: quota"),
        (500, b'{"error": {"message": "quota"}}', {}, "500 Internal Server Error: quota"),
        (500, b'{"error": {"type": "api_error"}}', {}, "500 api_error: no message"),
        (500, b'{"error": {"type": 5}}', {}, '500 Internal Server Error: {"error": {"type": 5}}'),
        (500, b'["a"]', {}, '500 Internal Server Error: ["a"]'),
        (500, b'{"error":', {}, '500 Internal Server Error: {"error":'),
        (500, b"[" * 5000, {}, "500 Internal Server Error: " + "[" * 297 + "…"),
        (400, b'event: error\ndata: {"error":{"type":"api_error","message":"m"}}\n\n', {}, "400 api_error: m"),
        (400, b'data: {"error":{"type":"api_error","message":"m"}}', {}, "400 api_error: m"),
        (400, b"event: error\ndata: broken\n\n", {}, "400 Bad Request: event: error data: broken"),
        (400, b"data:\n\n", {}, "400 Bad Request: data:"),
    ],
)  # fmt: skip
def test_what_a_body_says(status: Any, body: Any, headers: Any, said: Any) -> None:
    error = make(status, body, **headers)
    assert error.message == said
    assert error.status_code == status
    assert_brief(error)


def test_json_with_invalid_utf_8_is_read_all_the_same() -> None:
    error = make(500, b'\xef\xbb\xbf{"error":{"type":"api_error","message":"caf\xe9"}}')
    assert error.type == "api_error"
    assert error.api_message == "caf\ufffd"


def test_a_lone_surrogate_can_be_printed() -> None:
    error = make(500, b'{"error":{"type":"api_error","message":"a\\ud800b"}}')
    str(error).encode()
    assert error.api_message == "a\ufffdb"


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 1_000_000,
        b"\xff" * 1_000_000,
        ("😀" * 250_000).encode(),
        b"<title>" * 140_000,
        b"<title " * 140_000,
        b"<script>" * 120_000,
        b"<" * 1_000_000,
        b" " * 1_000_000,
        json.dumps(api_error("a" * 300_000, "m" * 300_000)).encode(),
        json.dumps({**api_error("api_error", "😀" * 50_000), "request_id": "r" * 100_000}).encode(),
        json.dumps({"detail": "x\n" * 100_000}).encode(),
        b"data: " + b"x" * 1_000_000,
    ],
    ids=range(12),
)
def test_any_body_gives_a_short_message_soon(body: Any) -> None:
    began = time.process_time()
    error = make(500, body, retry_after="1", content_type="text/html" if body.startswith(b"x") else "")
    assert time.process_time() - began < 2
    assert isinstance(error, ts.InternalServerError)
    assert_brief(error)


def test_nothing_in_a_message_writes_lines_or_moves_the_cursor() -> None:
    evil = "a\r\nb\x1b[2Jc\x85d\u2028e\u202ef\u2066g\x00h\x7fi"
    error = make(500, {**api_error(evil, evil), "request_id": evil}, request_id="")
    assert str(error).count("a b [2Jc d e f g h i") == 3
    assert_brief(error)
    assert error.api_message == evil


@given(st.binary(max_size=300), st.integers(100, 999), st.text(max_size=20), st.text(max_size=20))
def test_no_answer_is_an_accident(body: Any, status: Any, content_type: Any, location: Any) -> None:
    error = make(status, body, content_type=content_type, location=location, request_id=content_type)
    assert error.status_code == status
    assert_brief(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "type", "message", "details", "error_code", "request_id"]), inner
            )
        ),
    ),
    st.sampled_from([200, 400, 500]),
)
def test_no_json_is_an_accident(body: Any, status: Any) -> None:
    error = make(status, json.dumps(body))
    assert error.type is None or isinstance(error.type, str)
    assert error.error_code is None or isinstance(error.error_code, str)
    assert_brief(error)


# ----- redirects


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://evil.example/v1/messages?key=SECRET#SECRET", "(to https://evil.example)"),
        ("https://user:SECRET@evil.example:8443/SECRET", "(to https://evil.example:8443)"),
        ("//evil.example/SECRET", "(to //evil.example)"),
        ("http://[::1]:80/SECRET", "(to http://[::1]:80)"),
        ("/other/SECRET", "(to another path of the same host)"),
        ("", "(to another path of the same host)"),
        ("http://[SECRET", "(to an address that cannot be read)"),
        ("http://host:SECRET/", "(to an address that cannot be read)"),
        ("http://host:99999/", "(to an address that cannot be read)"),
        ("http://" + "h" * 5000, "h…)"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_its_target_and_no_more(status: Any, location: Any, said: Any) -> None:
    error = make(status, b"<html>SECRET</html>", location=location)
    assert type(error) is ts.APIStatusError
    assert "redirects are not followed" in error.message
    assert error.message.endswith(said)
    assert "SECRET" not in error.message
    assert_brief(error)


def test_a_redirect_without_a_target() -> None:
    assert make(307).message == "307 Temporary Redirect: redirects are not followed"


def test_not_modified_is_no_redirect() -> None:
    assert make(304).message == "304 Not Modified: no body"


# ----- `error` events


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit_error", ts.RateLimitError),
        ("api_error", ts.InternalServerError),
        ("invalid_request_error", ts.BadRequestError),
        ("timeout_error", ts.GatewayTimeoutError),
        ("overloaded_error", ts.OverloadedError),
        ("request_too_large", ts.ContentTooLargeError),
        ("new_kind_error", ts.APIStatusError),
    ],
)
def test_an_error_event(kind: Any, expected: Any) -> None:
    event = ErrorEvent(error=ErrorObject(type=kind, message="Sorry", details={"error_code": "c"}))
    error = error_from_event(event, "req_1")
    assert type(error) is expected
    assert error.status_code == 200
    assert error.type == kind
    assert error.error_code == "c"
    assert error.api_message == "Sorry"
    assert error.request_id == "req_1"
    assert error.message == f"{kind}: Sorry"
    assert error.body == {
        "type": "error",
        "error": {"type": kind, "message": "Sorry", "details": {"error_code": "c"}},
    }


def test_an_error_event_that_says_little() -> None:
    error = error_from_event(ErrorEvent(error=ErrorObject()), None)
    assert type(error) is ts.APIStatusError
    assert error.message == "error event: no message"
    assert (error.type, error.api_message, error.error_code, error.request_id) == (None, None, None, None)


def test_the_request_id_of_the_event_comes_first() -> None:
    error = error_from_event(ErrorEvent(error=ErrorObject(message="x" * 9999), request_id="req_event"), "req_head")
    assert error.request_id == "req_event"
    assert_brief(error)


def test_an_error_tells_the_rate_limits() -> None:
    headers = {"Anthropic-Ratelimit-Requests-Limit": "50", "anthropic-ratelimit-requests-remaining": "0"}
    error = error_from_response(429, headers, b"", now=0)
    assert error.rate_limits == ts.RateLimits(requests=ts.RateLimit(limit=50, remaining=0))
    assert error_from_response(529, {}, b"", now=0).rate_limits == ts.RateLimits()
    assert error_from_event(ErrorEvent(error=ErrorObject()), None).rate_limits is None


def test_an_error_can_be_pickled_with_all_it_knows() -> None:
    error = make(429, api_error("rate_limit_error"), retry_after="3", x_should_retry="true")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_headers_of_httpx_will_do() -> None:
    headers = httpx.Headers({"Request-Id": "req_1", "Retry-After": "2"})
    error = error_from_response(529, headers, b"", now=0)
    assert (error.request_id, error.retry_after) == ("req_1", 2.0)


def test_an_error_without_its_usual_surroundings() -> None:
    """Its type counts, and its sentence."""
    error = make(401, '{"type": "authentication_error", "message": "no such key"}')
    assert (error.type, error.api_message) == ("authentication_error", "no such key")
    assert "no such key" in str(error)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"error": {"error": {"message": "m"}}}, "m"),
        ({"errors": [{"message": " "}, {"message": "m"}]}, "m"),
        ({"errorMessage": "m"}, "m"),
        ({"a": {"b": "c"}}, None),
        ([], None),
        (5, None),
        ({"error": [[[[[[["too deep"]]]]]]]}, None),
    ],
)
def test_sentences(body: object, sentence: str | None) -> None:
    """In whichever dialect; none is made up."""
    assert find_sentence(body) == sentence
