"""Looking a header up without making all of them: it is what `httpx.Headers` says."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_stream._http import Head, Response
from trio_stream._http._adapter import MemoryBody


def answer(*headers: tuple[bytes, bytes]) -> Response:
    head = Head(status_code=200, reason=b"OK", headers=list(headers), http_version="HTTP/1.1")
    return Response(head=head, url="http://host/", body=MemoryBody(b""))


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"r1", "r1"), (b"", ""), ("é".encode(), "é"), (b"\xe9", "\xe9")],
    ids=["ascii", "empty", "utf-8", "latin-1"],
)
def test_a_value(value, text):
    response = answer((b"Other", b"1"), (b"Request-Id", value))
    assert response.header(b"request-id") == response.headers["request-id"] == text


def test_none_and_several():
    response = answer((b"Vary", b"a"), (b"X", b"1"), (b"VARY", b"b"))
    assert response.header(b"vary") == "a, b"
    assert response.header(b"request-id") == ""
    assert response.header(b"request-id", "none") == "none"


NAMES = st.sampled_from([b"request-id", b"Request-Id", b"REQUEST-ID", b"Vary", b"content-type"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=5))))
def test_the_same_as_httpx(headers):
    response = answer(*headers)
    for name in (b"request-id", b"vary", b"content-type"):
        assert response.header(name, "none") == response.headers.get(name.decode(), "none")
