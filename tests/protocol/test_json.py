"""`_json`: bytes to Python values, and surrogates that have lost their other half."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_stream._protocol._json import JSON_ERRORS, decode_json


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"a\uDFFFb"', "a\ufffdb"),
        (rb'"\ud800\ud800"', "\ufffd\ufffd"),
        (rb'"\ud800\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\\ud800\ud800"', "\\ud800\ufffd"),
        (rb'"\\\ud800"', "\\\ufffd"),
        (rb'{"\ud800": "\ud83d\ude00"}', {"\ufffd": "\U0001f600"}),
        (rb'"\u0000"', "\0"),
        (b'"\xe2\x80\xa8\xc2\x85"', "\u2028\x85"),
    ],
)
def test_surrogates(data: bytes, value: object) -> None:
    """A lone surrogate becomes U+FFFD; everything beside it stays."""
    assert decode_json(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"1" * 5000,
        b"1e400",
        b"",
        b"{",
        b"NaN",
        b"Infinity",
        b"nul",
        b'"\x01"',
        b'"a\nb"',
        b'"\xff"',
        b"{} {}",
        b"[1,]",
        rb'"\ud800',
        b'"\\x"',
    ],
)
def test_what_is_not_json(data: bytes) -> None:
    """It raises what `JSON_ERRORS` says, and nothing else."""
    with pytest.raises(JSON_ERRORS):
        decode_json(data)


@given(st.binary(max_size=40) | st.text('"\\ud8abcDF0e{}[]:, ', max_size=40).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Any bytes give a value that can be written and sent, or raise `JSON_ERRORS`."""
    try:
        value = decode_json(data)
    except JSON_ERRORS:
        return
    assert decode_json(msgspec.json.encode(value)) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value(value: Any) -> None:
    """What the standard library writes is read, escaped or not."""
    assert decode_json(json.dumps(value).encode()) == value
    assert decode_json(json.dumps(value, ensure_ascii=False).encode()) == value
