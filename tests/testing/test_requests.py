"""Recorded requests whose bodies are not what they should be."""

from __future__ import annotations

import pytest

from trio_stream.testing import RecordedHeaders, RecordedRequest


def record(content: bytes, headers: RecordedHeaders | None = None) -> RecordedRequest:
    return RecordedRequest(
        number=1,
        at=0.0,
        method="POST",
        path="/",
        params={},
        headers=headers or RecordedHeaders(),
        content=content,
        request_id="req",
    )


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b'"x"', b"\xff", b"[" * 100_000])
def test_any_body_is_recorded(content: bytes) -> None:
    request = record(content)
    assert request.content == content
    assert request.stream is False
    assert request.model is None
    assert request.messages == []
    assert repr(request) == "<RecordedRequest 1: POST / unanswered>"


def test_fields_of_the_wrong_kind() -> None:
    request = record(b'{"model": 1, "messages": {}, "stream": 1}')
    assert (request.model, request.messages, request.stream) == (None, [], False)


@pytest.mark.parametrize(
    ("pairs", "key"),
    [
        ([], None),
        ([("X-Api-Key", "a")], "a"),
        ([("Authorization", "Bearer b ")], "b"),
        ([("authorization", "Basic b")], None),
    ],
)
def test_keys(pairs: list[tuple[str, str]], key: str | None) -> None:
    assert record(b"", RecordedHeaders(pairs)).key == key


def test_repeated_headers_are_joined() -> None:
    headers = RecordedHeaders([("A", "1"), ("a", "2"), ("B", "3")])
    assert headers["a"] == "1, 2"
    assert len(headers) == 2
    assert headers.pairs == (("a", "1"), ("a", "2"), ("b", "3"))
