"""`Items`: the elements of a list that is still arriving."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import trio_stream as ts
from trio_stream import Items, OutputParseError, OutputType


class Finding(msgspec.Struct):
    where: str
    lines: list[int]


WHOLE = '{"n": 1, "found": [{"where": "a", "lines": [1, 2]}, {"where": "b", "lines": []}], "more": [{"where": "c"}]}'
FINDINGS = [Finding("a", [1, 2]), Finding("b", [])]


def test_each_is_given_once_when_it_is_closed() -> None:
    """Character by character, each comes with its closing brace."""
    items = Items(Finding)
    came = [(end, found) for end, character in enumerate(WHOLE) for found in items.feed(character)]
    assert [found for _, found in came] == FINDINGS
    assert [WHOLE[end] for end, _ in came] == ["}", "}"]
    assert items.count == 2


@pytest.mark.parametrize("cut", [1, 7, 30, 60, len(WHOLE)])
def test_any_cut(cut: int) -> None:
    """It does not matter how the text is cut."""
    items = Items(OutputType(Finding))
    assert [*items.feed(WHOLE[:cut]), *items.feed(WHOLE[cut:])] == FINDINGS


def test_numbers_end_with_what_follows() -> None:
    """Until then there may be more digits."""
    items = Items(int)
    assert [list(items.feed(piece)) for piece in ("[1", "2", ",", " 3]", "")] == [[], [], [12], [3], []]


def test_nothing_is_lost_without_iterating() -> None:
    """What nobody took comes with the next call."""
    items = Items(int)
    items.feed("[1, 2, ")
    first = items.feed("3, ")
    assert next(first) == 1
    assert list(items.feed("4, ")) == [2, 3, 4]
    assert list(first) == []


def test_an_element_that_does_not_fit() -> None:
    """Those before it are given, then it is told which; those after it come with the next call."""
    items = Items(Finding)
    given: list[Any] = []
    text = '[{"where": "a", "lines": []}, {"where": 1, "lines": []}, {"where": "c", "lines": []}'
    with pytest.raises(OutputParseError, match=r"an element cannot be used.*`\[1\].where`: expected `str`") as caught:
        given.extend(items.feed(text))
    assert caught.value.text == text
    assert caught.value.fault == "invalid"
    assert list(items.feed("]")) == [Finding("c", [])]


def test_a_text_that_is_not_json() -> None:
    """What was closed before is given first."""
    items = Items(int)
    given: list[int] = []
    with pytest.raises(OutputParseError, match="the text is not valid JSON"):
        given.extend(items.feed("[1, 2, }"))
    assert items.count == 2
    with pytest.raises(OutputParseError, match="the text is not valid JSON"):
        list(items.feed("3]"))


def test_without_a_list() -> None:
    """There is nothing to give."""
    assert list(Items(int).feed('{"a": 1}')) == []


def test_it_is_public() -> None:
    """Under one name."""
    assert ts.Items is Items


def test_types_that_nothing_decodes() -> None:
    """It is said at once."""
    with pytest.raises(TypeError, match="not a type that JSON can be decoded into"):
        Items(Exception)
