"""`_partial_json`: what the beginning of a JSON text says, with jiter as the judge."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import jiter
import pytest
from hypothesis import given, settings, strategies as st

from trio_stream import InvalidToolInputError, OutputParseError
from trio_stream._protocol._events import InputJsonEvent, TextEvent
from trio_stream._protocol._partial_json import PartialJSON, Pieces

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


def parse(text: str) -> object:
    """The value of a text that has arrived at once."""
    partial = PartialJSON()
    partial.feed(text)
    return partial.snapshot()


def pieces_of(*texts: str) -> Pieces:
    pieces = Pieces()
    pieces.extend(texts)
    return pieces


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
        assert parse(text[:end]) == expected
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
    assert parse(text) == value


NO_JSON = [
    "}",
    '{"a": x}',
    "[1 2]",
    '{"a": "\x01"}',
    "{} {}",
    '{"a": 01, ',
    "[" * 100_000,
    "[1}",
    '{"a": 1]',
    '{"a": 1, }',
    "[1,]",
    '{"a", ',
    "{1: 2}",
    "[1] x",
    '["\\x"',
    "[1e999, ",
    "[\x00, ",
    "[:",
]


@pytest.mark.parametrize("text", NO_JSON)
def test_what_is_not_json(text: str) -> None:
    """Looking at it is an error, whichever way it came; what comes after changes nothing."""
    with pytest.raises(ValueError, match=r"."):
        parse(text)
    partial = PartialJSON()
    for character in text[:2000]:
        partial.feed(character)
    with pytest.raises(ValueError, match=r"."):
        partial.snapshot()
    assert partial.fault is not None
    assert not partial.complete
    partial.feed("}")
    with pytest.raises(ValueError, match=r"."):
        partial.snapshot()


@pytest.mark.parametrize("text", NO_JSON)
def test_events_tell_of_it(text: str) -> None:
    """The event's error has the text so far, and its sentence has not."""
    pieces = pieces_of(text, "more")
    with pytest.raises(InvalidToolInputError) as caught:
        InputJsonEvent(text, pieces, 1).snapshot  # noqa: B018
    assert caught.value.input_json == text
    assert caught.value.incomplete
    assert text not in str(caught.value)
    with pytest.raises(OutputParseError) as refused:
        TextEvent(text, pieces_of(text, "more"), 1).parsed_snapshot()
    assert refused.value.text == text


@given(st.text('{}[]",:\\ 1-.etrufalsn\x00\ud800', max_size=30))
def test_any_text(text: str) -> None:
    """Any text gives a value or an error; fed in pieces it gives the same."""
    partial = PartialJSON()
    for character in text:
        partial.feed(character)
    try:
        value = parse(text)
    except (ValueError, RecursionError):
        with pytest.raises((ValueError, RecursionError)):
            partial.snapshot()
    else:
        assert partial.snapshot() == value


@settings(max_examples=50)
@given(OBJECTS, STYLES)
def test_trailing_strings(value: dict[str, Any], style: dict[str, Any]) -> None:
    """With trailing strings too, every prefix is what jiter makes of it."""
    text = json.dumps(value, **style)
    partial = PartialJSON()
    for end in range(1, len(text) + 1):
        partial.feed(text[end - 1 : end])
        try:
            expected = jiter.from_json(text[:end].encode(), partial_mode="trailing-strings")
        except ValueError:  # half of an escaped surrogate pair that st.text() made
            continue
        assert partial.snapshot(trailing_strings=True) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a', "a"),
        ('{"a": "b\\\\', {"a": "b\\"}),
        ('{"a": "b\\', {"a": "b"}),
        ('{"a": "b\\u00', {"a": "b"}),
        ('{"a": "b\\ud83d\\ude', {"a": "b"}),
        ('{"a": 1, "b', {"a": 1}),
    ],
)
def test_trailing_strings_end_at_a_character(text: str, value: object) -> None:
    """An escape that is not complete is left out, and so is a name."""
    partial = PartialJSON()
    partial.feed(text)
    assert partial.snapshot(trailing_strings=True) == value


def test_a_snapshot_stays_as_it_is() -> None:
    """What arrives later changes no snapshot that was taken before."""
    partial = PartialJSON()
    partial.feed('{"a": [{"b": [1, ')
    before = partial.snapshot()
    partial.feed('2], "c": 3}, 4], "d": 5}')
    assert before == {"a": [{"b": [1]}]}
    assert partial.snapshot() == {"a": [{"b": [1, 2], "c": 3}, 4], "d": 5}
    assert partial.complete


def test_a_look_reads_only_what_is_new() -> None:
    """What was closed at the first look is in the second one: it was not read again."""
    pieces = pieces_of('{"a": [{"b": [[[[1]]]]}, ', '{"c": 2')
    first, second = (InputJsonEvent("", pieces, count) for count in (1, 2))
    one: Any = first.snapshot
    two: Any = second.snapshot
    assert two == {"a": [{"b": [[[[1]]]]}, {"c": 2}]}
    assert two["a"][0] is one["a"][0]
    assert two["a"] is not one["a"]
    assert pieces.scanned == 2
    # A look back is correct too, and costs what it has to.
    assert first.snapshot == {"a": [{"b": [[[[1]]]]}]}
    assert pieces.scanned == 2


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", []),
        ('{"a": 1}', []),
        ("[1, 2", [1]),
        ("[1, 2 ", [1, 2]),
        ('[1, "x', [1]),
        ("[[1, 2], [3", [[1, 2]]),
        ('{"a": {"b": [{"c": [1]}, {"d": 2', [{"c": [1]}]),
        ('{"a": {"b": [1, 2]}, "e": [3]}', [1, 2]),
        ('{"a": {"c": {"d": {"b": [1, 2]}}}, "e": [3]}', [1, 2]),
    ],
)
def test_the_first_array(text: str, elements: list[object]) -> None:
    """Its elements are told once they are closed."""
    for way in (list(text), [text]):
        partial = PartialJSON()
        for piece in way:
            partial.feed(piece)
        array, closed = partial.first_array
        assert array[:closed] == elements
