"""Answers that follow a JSON Schema that somebody wrote by hand, and those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

import trio_stream as ts
from trio_stream._schemas import MismatchError

ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "n": {"type": ["integer", "null"]}},
    "required": ["name"],
    "additionalProperties": False,
}
WHOLE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
        "kind": {"enum": ["a", 1, None, True]},
        "version": {"const": 2},
        "share": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/item"}]},
        "both": {"allOf": [{"type": "string"}, {"pattern": "^x"}]},
        "code": {"type": "string", "pattern": "^[A-Z]+$", "format": "uuid"},
        "odd": {"type": "string", "pattern": "(?<name>"},
        "flag": {"type": "boolean"},
        "any": {"description": "whatever it is"},
    },
    "additionalProperties": False,
    "$defs": {"item": ITEM},
}

FITS: list[dict[str, Any]] = [
    {},
    {"items": [{"name": "x", "n": None}, {"name": "y", "n": 3}, {"name": "z", "n": 3.0}]},
    {"kind": "a", "version": 2, "share": 0.5, "both": "xy", "code": "ABC", "odd": "x", "flag": True, "any": [1, {}]},
    {"kind": True, "version": 2.0, "share": {"name": "x"}},
    {"kind": None},
]

FAULTS: list[tuple[Any, list[str]]] = [
    ([], ["this does not fit the schema: expected object, got array"]),
    ({"items": []}, ["`items`: expected at least 1 items, got 0"]),
    ({"items": [{"name": "x"}, {}]}, ["`items[1]`: missing the key `name`"]),
    (
        {"items": [{"name": 5, "x": 1}]},
        ["`items[0].name`: expected string, got integer", "`items[0].x`: unexpected key"],
    ),
    ({"items": [{"name": "x", "n": 1.5}]}, ["`items[0].n`: expected integer or null, got number"]),
    ({"items": [{"name": "x", "n": True}]}, ["`items[0].n`: expected integer or null, got boolean"]),
    ({"kind": 1.5}, ['`kind`: expected one of ["a",1,null,true]']),
    ({"kind": False}, ["`kind`: expected one of"]),
    ({"version": True}, ["`version`: expected 2"]),
    ({"share": "x"}, ["`share`: expected number, got string"]),
    ({"share": {"nme": "x"}}, ["`share`: expected number, got object"]),
    ({"both": "yx"}, ["`both`: expected a text that matches ^x"]),
    ({"code": "abc"}, ["`code`: expected a text that matches ^[A-Z]+$"]),
    ({"flag": None}, ["`flag`: expected boolean, got null"]),
    ({"more": 1}, ["`more`: unexpected key"]),
]


@pytest.mark.parametrize("value", FITS)
def test_what_fits(value: Any) -> None:
    """The value is what the JSON has."""
    assert ts.OutputType.of_schema(WHOLE).decode(json.dumps(value)) == value


@pytest.mark.parametrize(("value", "words"), FAULTS)
def test_what_does_not_fit(value: Any, words: list[str]) -> None:
    """Each fault is told with its place."""
    with pytest.raises(MismatchError) as raised:
        ts.OutputType.of_schema(WHOLE).decode(json.dumps(value))
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", '{"items": ', "[1] and more", "nothing"])
def test_what_is_not_json(text: str) -> None:
    """It is told as that of a type is."""
    with pytest.raises(MismatchError, match="not valid JSON"):
        ts.OutputType.of_schema(WHOLE).decode(text)


def test_a_schema_that_the_api_does_not_take() -> None:
    """It is refused at once."""
    with pytest.raises(TypeError, match=r'the API does not take this schema: \$: an object needs "additional'):
        ts.OutputType.of_schema({"type": "object", "properties": {}})


@pytest.mark.parametrize(
    "schema", [{"enum": ["a"]}, {"$ref": "#/definitions/a", "definitions": {"a": {"enum": ["a"]}}}]
)
def test_a_schema_that_is_no_object(schema: dict[str, Any]) -> None:
    """Also one that only refers to another."""
    output = ts.OutputType.of_schema(schema)
    assert output.schema == schema
    assert output.decode('"a"') == "a"
    with pytest.raises(MismatchError, match="expected one of"):
        output.decode('"b"')
