"""`find_refusal`: why the API would not take a schema that somebody wrote."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream._schemas import OutputType, find_refusal

JSON = dict[str, Any]

CLOSED: JSON = {"type": "object", "additionalProperties": False}


def within(schema: object) -> JSON:
    return {**CLOSED, "properties": {"a": schema}}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "a JSON Schema is an object"),
        ({"type": "object"}, '$: an object needs "additionalProperties": false'),
        ({"type": ["null", "object"]}, '$: an object needs "additionalProperties": false'),
        (within({"type": "integer", "minimum": 1}), "$.properties.a: 'minimum' is not supported"),
        (within({"type": "array", "items": {"type": "object"}}), "$.properties.a.items: an object needs"),
        (
            within({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 1}]}),
            "$.properties.a.anyOf[1]: 'maxLength' is",
        ),
        (within({"oneOf": []}), "$.properties.a: 'oneOf' is not supported"),
        (within({"type": "string", "format": "decimal"}), "$.properties.a: the format 'decimal' is not supported"),
        (within({"type": "array", "minItems": 2}), "$.properties.a: minItems may be 0 or 1"),
        (within({"enum": [{}]}), "$.properties.a: an enum and a const may have strings"),
        (within({"const": []}), "$.properties.a: an enum and a const may have strings"),
        ({"$ref": "#/$defs/a"}, "$: '#/$defs/a' is not among the definitions"),
        ({"$ref": "https://example.org/schema"}, "$: 'https://example.org/schema' is not among the definitions"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, "$.$defs.a: an object needs"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": within({"$ref": "#/$defs/b"}), "b": within({"$ref": "#/$defs/a"})}},
            "#/$defs/a contains itself",
        ),
    ],
)
def test_what_is_refused(schema: object, says: str) -> None:
    """The first reason is told, with its place."""
    found = find_refusal(schema)
    assert found is not None
    assert found.startswith(says)


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        within({"type": "string", "format": "date", "pattern": "a+", "default": "a", "description": "x"}),
        within({"type": "array", "items": CLOSED, "minItems": 1}),
        {"$schema": "x", "type": "array", "items": {"$ref": "#/definitions/a"}, "definitions": {"a": {"type": "null"}}},
        {**CLOSED, "properties": {"a": True, "b": False}, "anyOf": [True]},
        OutputType(list[tuple[int, str]]).schema,
    ],
)
def test_what_is_taken(schema: JSON) -> None:
    """All that the API's documentation allows, and what is made here."""
    assert find_refusal(schema) is None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strng"}, "$: 'strng' is no type: array, boolean"),
        ({"type": ["string", "text"]}, "$: 'text' is no type"),
        ({"type": 5}, "$: 'type' is not a text or a list of texts"),
        ({"type": "object", "properties": []}, "$: 'properties' is not an object"),
        ({"enum": "a"}, "$: 'enum' is not a list"),
        ({"anyOf": {}}, "$: 'anyOf' is not a list"),
        ({"type": "array", "items": []}, "$: 'items' is not a schema"),
        ({"type": "array", "items": {"type": "string", "pattern": 5}}, "$.items: 'pattern' is not a text"),
        ({"type": "array", "minItems": "1"}, "$: 'minItems' is not a number"),
        ({"$ref": 5}, "$: '$ref' is not a text"),
    ],
)
def test_keywords_of_another_form(schema: dict[str, object], words: str) -> None:
    """What is no JSON Schema at all."""
    found = find_refusal(schema)
    assert found is not None
    assert found.startswith(words)
