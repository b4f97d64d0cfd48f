"""Requests out of bytes, however they are split."""

from __future__ import annotations

import pytest

from trio_stream.testing import _request_reader
from trio_stream.testing._request_reader import ReadRequest, RequestReader

POST = b"POST /v1/messages%20x?beta=true&a= HTTP/1.1\r\nHost: x\r\nX-Key: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


def read(*parts: bytes) -> list[ReadRequest]:
    reader = RequestReader()
    return [request for part in parts for request in reader.feed(part)]


def test_a_request() -> None:
    [request] = read(POST)
    assert request == ReadRequest(
        method="POST",
        path="/v1/messages x",
        params={"beta": "true", "a": ""},
        headers=(("Host", "x"), ("X-Key", "1"), ("Content-Length", "5")),
        content=b"hello",
        keep_alive=True,
    )


@pytest.mark.parametrize("data", [POST, CHUNKED])
def test_byte_by_byte(data: bytes) -> None:
    assert read(*(data[index : index + 1] for index in range(len(data)))) == read(data)


def test_several_on_one_connection() -> None:
    assert [request.content for request in read(POST + CHUNKED, POST)] == [b"hello", b"hello world", b"hello"]


@pytest.mark.parametrize(
    ("data", "keep_alive", "version"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True, "1.1"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False, "1.1"),
        (b"GET / HTTP/1.0\r\n\r\n", False, "1.0"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True, "1.0"),
    ],
)
def test_keep_alive(data: bytes, keep_alive: bool, version: str) -> None:
    [request] = read(data)
    assert (request.keep_alive, request.http_version) == (keep_alive, version)


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ([b"what is this?\r\n\r\n"], 400),
        ([b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"], 400),
        ([b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x00\x01"], 400),
        ([b"GET / HTTP/1.1\r\n", *([b"X-A: " + b"a" * 1000 + b"\r\n"] * 70)], 431),
        ([b"GET /" + b"a" * 70_000], 431),
        ([b"x" * 70_000], 400),
    ],
)
def test_faults_end_the_reading(parts: list[bytes], fault: int) -> None:
    requests = read(*parts, POST)
    assert requests[-1].fault == fault
    assert sum(request.fault is not None for request in requests) == 1


def test_a_body_that_is_too_large_is_read_to_its_end_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_request_reader, "MOST_BODY_BYTES", 8)
    head = b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n"
    reader = RequestReader()
    assert reader.feed(head + b"1234") == []
    assert reader.feed(b"56789") == []
    assert reader.feed(b"abc" + POST) == [ReadRequest(fault=413)]
    assert reader.feed(POST) == []


def test_continue_is_asked_for_once() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert reader.wants_continue()
    assert not reader.wants_continue()
    [request] = reader.feed(b"x")
    assert request.content == b"x"
    assert not reader.wants_continue()


def test_continue_is_not_asked_for_when_the_body_is_there() -> None:
    reader = RequestReader()
    assert reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
    assert not reader.wants_continue()
