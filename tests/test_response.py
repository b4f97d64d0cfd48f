"""The headers of an answer say what `httpx.Headers` says, also when one is looked up without making all of them."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, strategies as st

from trio_stream import Headers


def answer(*headers: tuple[bytes, bytes]) -> Headers:
    return Headers(headers)


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"r1", "r1"), (b"", ""), ("é".encode(), "é"), (b"\xe9", "\xe9")],
    ids=["ascii", "empty", "utf-8", "latin-1"],
)
def test_a_value(value, text):
    response = answer((b"Other", b"1"), (b"Request-Id", value))
    assert response.find(b"request-id") == response["request-id"] == text


def test_none_and_several():
    response = answer((b"Vary", b"a"), (b"X", b"1"), (b"VARY", b"b"))
    assert response.find(b"vary") == "a, b"
    assert response.find(b"request-id") == ""
    assert response.find(b"request-id", "none") == "none"


NAMES = st.sampled_from([b"request-id", b"Request-Id", b"REQUEST-ID", b"Vary", b"content-type"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=5))))
def test_the_same_as_httpx(headers):
    response = answer(*headers)
    for name in (b"request-id", b"vary", b"content-type"):
        expected = httpx.Headers(headers).get(name.decode(), "none")
        assert response.find(name, "none") == response.get(name.decode().upper(), "none") == expected
    assert dict(response) == dict(httpx.Headers(headers))
    assert len(response) == len(dict(httpx.Headers(headers)))
