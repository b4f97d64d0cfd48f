"""`close_schema`: schemas of others, such as pydantic's, in the form that the API takes."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream._schemas import find_refusal
from trio_stream._schemas._closed import close_schema

JSON = dict[str, Any]

TEXT: JSON = {"type": "string"}


def of(**properties: JSON) -> JSON:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        # The example in the docstring of the official SDK's `transform_schema`, with JSON in place of Python's repr.
        (
            {"type": "integer", "minimum": 1, "maximum": 10, "description": "A number"},
            {"type": "integer", "description": "A number\n\n{minimum: 1, maximum: 10}"},
        ),
        (
            {"type": "string", "format": "date", "minLength": 1},
            {"type": "string", "format": "date", "description": "{minLength: 1}"},
        ),
        ({"type": "string", "format": "x"}, {"type": "string", "description": '{format: "x"}'}),
        ({"oneOf": [TEXT, {"const": 1}]}, {"anyOf": [TEXT, {"const": 1}]}),
        ({"anyOf": [TEXT], "discriminator": {"propertyName": "a"}}, {"anyOf": [TEXT]}),
        ({"type": ["string", "null"], "$comment": "x"}, {"type": ["string", "null"]}),
        ({"type": ["null", "object"], "properties": {}}, {**of(), "type": ["null", "object"]}),
        ({"enum": ["a", None, 1.5, True], "type": "string"}, {"enum": ["a", None, 1.5, True]}),
        ({"const": None, "title": "T"}, {"const": None, "title": "T"}),
        ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": True}, {**of(a=TEXT), "required": []}),
        (of(a={**TEXT, "default": "x"}), of(a={**TEXT, "description": '{default: "x"}'})),
        ({"allOf": [TEXT], "description": "d"}, {"type": "string", "description": "d"}),
        ({"allOf": [TEXT, {"enum": ["a"]}]}, {"allOf": [TEXT, {"enum": ["a"]}]}),
        ({"type": "array", "items": TEXT, "minItems": 0}, {"type": "array", "items": TEXT, "minItems": 0}),
        (
            {
                "$ref": "#/definitions/a",
                "definitions": {"a": {"type": "array", "items": {"$ref": "#/definitions/b"}}, "b": of()},
            },
            {"type": "array", "items": {"$ref": "#/$defs/b"}, "$defs": {"b": of()}},
        ),
    ],
)
def test_the_form_of_the_api(schema: JSON, closed: JSON) -> None:
    """As the official SDK makes it, but that what has a default is required; and the API has nothing against it."""
    before = repr(schema)
    assert close_schema(schema) == closed
    assert repr(schema) == before
    assert find_refusal(closed) is None


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({}, "$ may be anything"),
        ({"type": []}, "$ may be anything"),
        ({"type": "any"}, "$ may be anything"),
        (of(a={"type": "object"}), "$.a is an object whose keys are not known before"),
        ({**of(), "patternProperties": {}}, "$ is an object whose keys are not known before"),
        ({**of(), "additionalProperties": TEXT}, "$ is an object whose keys are not known before"),
        ({"type": "array"}, "$ is an array of anything"),
        ({"enum": [[1]]}, "$ has a value that is not a string"),
        ({"$ref": "#/$defs/a"}, "$ refers to '#/$defs/a', which is not among the definitions"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
            "a refers to the type that it is part of",
        ),
    ],
)
def test_schemas_without_such_a_form(schema: JSON, says: str) -> None:
    """It is said what is in the way, and where."""
    with pytest.raises(TypeError) as caught:
        close_schema(schema)
    assert str(caught.value).startswith(says)
