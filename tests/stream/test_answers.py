"""`_answers`: an answer that is JSON."""

from __future__ import annotations

import pytest

import trio_stream as ts
from trio_stream._stream._answers import JSONAnswer

INFO = ts.ResponseInfo(status_code=200, http_version="HTTP/1.1", url="http://x", raw_headers=())
MESSAGE = b'{"type": "message", "content": [{"type": "new", "x": {}}]}'


def answer(limit_bytes: int = 1000) -> JSONAnswer:
    return JSONAnswer(INFO, limit_bytes=limit_bytes, unix_time=lambda: 0.0)


def test_whole_before_the_end() -> None:
    """What follows is nobody's."""
    parser = answer()
    assert next(name for name, _ in parser.feed(MESSAGE)) == "message_start"
    assert parser.feed(b"more") == parser.end() == []


def test_in_pieces() -> None:
    """Looked at when it has doubled, and at the end."""
    parser = answer()
    assert [event for at in range(len(MESSAGE) - 1) for event in parser.feed(MESSAGE[at : at + 1])] == []
    assert parser.feed(MESSAGE[-1:]) == []
    assert parser.end()[-1][0] == "message_stop"


def test_too_large() -> None:
    parser = answer(limit_bytes=10)
    assert parser.feed(MESSAGE) == []
    assert parser.failure is not None
    assert parser.end() == []


@pytest.mark.parametrize("data", [b"{", b'{"choices": []}', b""])
def test_no_message(data: bytes) -> None:
    parser = answer()
    with pytest.raises(ts.InvalidResponseError):
        parser.feed(data) or parser.end()
