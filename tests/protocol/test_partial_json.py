"""`_partial_json`: what the beginning of a JSON text says, with jiter as the judge."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import jiter
import pytest
from hypothesis import given, settings, strategies as st

from trio_stream import InvalidToolInputError
from trio_stream._protocol._partial_json import PartialJSON, parse_partial_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
STYLES = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def judged(text: str) -> object:
    """What jiter makes of it; an empty object where there is nothing yet."""
    if not text.strip():
        return {}
    return jiter.from_json(text.encode(), partial_mode=True)


@settings(max_examples=50)
@given(OBJECTS, STYLES)
def test_every_prefix(value: dict[str, Any], style: dict[str, Any]) -> None:
    """At every prefix, fed character by character or at once, the snapshot is jiter's."""
    text = json.dumps(value, **style)
    partial = PartialJSON()
    assert partial.snapshot() == {}
    for end in range(1, len(text) + 1):
        partial.feed(text[end - 1 : end])
        expected = judged(text[:end])
        assert partial.snapshot() == expected
        assert parse_partial_json(text[:end]) == expected
    assert partial.snapshot() == value


@given(st.lists(VALUES, max_size=3) | OBJECTS, STYLES, st.lists(st.integers(0, 100)))
def test_any_cut(value: object, style: dict[str, Any], cuts: list[int]) -> None:
    """It does not matter how the text is cut."""
    text = json.dumps(value, **style)
    partial = PartialJSON()
    points = [0, *sorted(cuts), len(text)]
    for before, after in pairwise(points):
        partial.feed(text[before:after])
    assert partial.snapshot() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("{", {}),
        ('{"a"', {}),
        ('{"a": "b', {}),
        ('{"a": "b"', {"a": "b"}),
        ('{"a": "\\', {}),
        ('{"a": "\\"", "b', {"a": '"'}),
        ('{"a": 12', {"a": 12}),
        ('{"a": -', {}),
        ('{"a": 1.', {}),
        ('{"a": 1.5e', {}),
        ('{"a": tru', {}),
        ('{"a": true', {"a": True}),
        ('{"a": [1, {"b": [', {"a": [1, {"b": []}]}),
        ('{"a": 1, "a', {"a": 1}),
        ('{"a": 1, "a": 2', {"a": 2}),
        ('{"a": "\\ud83d', {}),
        ('{"a": "x\\ud83d"', {"a": "x\ufffd"}),
        ('"text', {}),
        ('"text"', "text"),
        ("12", 12),
        ("tru", {}),
        ("null ", None),
    ],
)
def test_beginnings(text: str, value: object) -> None:
    """Only what is certain is in the snapshot."""
    assert parse_partial_json(text) == value


@pytest.mark.parametrize("text", ["}", '{"a": x}', "[1 2]", '{"a": "\x01"}', "{} {}", '{"a": 01, ', "[" * 100_000])
def test_what_is_not_json(text: str) -> None:
    """It is refused with the text so far on the error, and not in its sentence."""
    with pytest.raises(InvalidToolInputError) as caught:
        parse_partial_json(text)
    assert caught.value.input_json == text
    assert caught.value.incomplete
    assert text not in str(caught.value)


@given(st.text('{}[]",:\\ 1-.etrufalsn\x00\ud800', max_size=30))
def test_any_text(text: str) -> None:
    """Any text gives a value or that error; fed in pieces it gives the same."""
    partial = PartialJSON()
    for character in text:
        partial.feed(character)
    try:
        value = parse_partial_json(text)
    except InvalidToolInputError:
        with pytest.raises((ValueError, RecursionError)):
            partial.snapshot()
    else:
        assert partial.snapshot() == value
