"""Values that fit a JSON schema."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream.testing._examples import make_example

JSON = dict[str, Any]

LINKED: JSON = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
TREE: JSON = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}
    },
}


def example(schema: JSON, number: int = 0) -> Any:
    return make_example(schema, number=number, topic="trio")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer", "minimum": 7.5}, 8),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "exclusiveMinimum": 9}, 10),
        ({"type": "integer", "exclusiveMaximum": 2}, 1),
        ({"type": "integer", "multipleOf": 5}, 5),
        ({"type": "integer", "multipleOf": 5, "maximum": 4}, 0),
        ({"type": "number", "exclusiveMinimum": 3}, 3.5),
        ({"type": "string"}, "trio"),
        ({"type": "string", "minLength": 6}, "trio.."),
        ({"type": "string", "maxLength": 2}, "tr"),
        ({"type": "string", "format": "uuid"}, "12345678-1234-4234-8234-123456789abc"),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3}, [True] * 3),
        ({"type": ["string", "null"]}, "trio"),
        ({"type": ["null"]}, None),
        ({"anyOf": [{"type": "null"}]}, None),
        ({"oneOf": [{"type": "null"}, {"const": 5}]}, 5),
        ({"enum": ["a", "b"]}, "a"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, 1),
        ({"$ref": "elsewhere", "type": "boolean"}, True),
        ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]}, {"b": 2}),
        ({"type": "object", "properties": {"city": {"type": "string"}}}, {"city": "Lisbon"}),
        ({"properties": {}}, {}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"type": "object", "properties": {"b": {"const": 2}}, "required": ["b"]},
                ],
                "required": [],
            },
            {"a": 1, "b": 2},
        ),
        ({}, None),
    ],
)
def test_values_that_fit(schema: JSON, value: Any) -> None:
    assert example(schema) == value
    assert type(example(schema)) is type(value)


def test_the_number_chooses() -> None:
    assert [example({"enum": ["a", "b"]}, number) for number in range(3)] == ["a", "b", "a"]


def test_a_text_is_about_something() -> None:
    assert make_example({"type": "string"}, number=0, topic="") == "structured concurrency"


def test_schemas_that_hold_themselves_end() -> None:
    linked = example(LINKED)
    while linked is not None:
        assert linked["value"] == 3
        linked = linked["next"]
    tree = example(TREE)
    while tree.get("children"):
        tree = tree["children"][0]
    endless: JSON = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}},
    }
    assert example(endless)
