"""What the API would refuse in a JSON Schema that somebody wrote by hand.

What belongs here: finding it, before anything is sent. What does not: making a schema that the API takes (`_closed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from trio_stream._schemas._closed import DEFINITIONS, FORMATS, KINDS, is_plain

_TAKEN: Final = frozenset(
    {
        *("type", "title", "description", "default", "enum", "const", "anyOf", "allOf", "$ref", *DEFINITIONS),
        *("properties", "required", "additionalProperties", "items", "minItems", "format", "pattern"),
        *("$schema", "$id", "$comment", "examples"),
    }
)
"""Those of https://platform.claude.com/docs/en/build-with-claude/structured-outputs, and those without effect."""

_FORMS: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    **dict.fromkeys(("properties", *DEFINITIONS), (dict, "an object")),
    **dict.fromkeys(("required", "enum", "anyOf", "allOf"), (list, "a list")),
    **dict.fromkeys(("$ref", "format", "pattern"), (str, "a text")),
    "type": ((str, list), "a text or a list of texts"),
    "items": (dict, "a schema"),
    "minItems": (int, "a number"),
}
"""What the values of some keywords have to be."""


def find_refusal(schema: object) -> str | None:
    """Find why the API would not take a schema as ``output_config.format``.

    Returns:
      A sentence about the first reason, with its place; None if there is none that this version knows.
    """
    if not is_object(schema):
        return "a JSON Schema is an object"
    definitions = {
        f"#/{name}/{key}": value for name in DEFINITIONS for key, value in _members(schema.get(name)).items()
    }
    for path, part in _parts(schema, "$"):
        reason = _reason(part, definitions)
        if reason is not None:
            return f"{path}: {reason}"
    return next((f"{name} contains itself" for name in definitions if name in _reached_from(name, definitions)), None)


def _parts(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schema, and every schema within it, each with its place."""
    yield path, schema
    for name in ("properties", *DEFINITIONS):
        for key, value in _members(schema.get(name)).items():
            if is_object(value):
                yield from _parts(value, f"{path}.{name}.{key}")
    for name in ("anyOf", "allOf"):
        for index, value in enumerate(_elements(schema.get(name))):
            if is_object(value):
                yield from _parts(value, f"{path}.{name}[{index}]")
    if is_object(items := schema.get("items")):
        yield from _parts(items, f"{path}.items")


def _reason(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str | None:
    kind: Any = schema.get("type")
    for name, (form, what) in _FORMS.items():
        if name in schema and not isinstance(schema[name], form):
            return f"{name!r} is not {what}"
    for one in kind if is_array(kind) else [kind]:
        if one not in (None, *KINDS):
            return f"{one!r} is no type: {', '.join(sorted(KINDS))}"
    unknown = sorted(schema.keys() - _TAKEN)
    if unknown:
        return f"{unknown[0]!r} is not supported (it can be said in a description)"
    if "$ref" in schema and schema["$ref"] not in definitions:
        return f"{schema['$ref']!r} is not among the definitions of this schema"
    if "object" in (kind if isinstance(kind, list) else [kind]) and schema.get("additionalProperties") is not False:
        return 'an object needs "additionalProperties": false'
    if "format" in schema and schema["format"] not in FORMATS:
        return f"the format {schema['format']!r} is not supported"
    if schema.get("minItems", 0) not in (0, 1):
        return "minItems may be 0 or 1"
    if not all(map(is_plain, (*_elements(schema.get("enum")), schema.get("const")))):
        return "an enum and a const may have strings, numbers, booleans and null"
    return None


def _reached_from(name: str, definitions: Mapping[str, Any]) -> set[str]:
    """The definitions that one refers to, directly or through others."""
    reached = set[str]()
    waiting = [name]
    while waiting:
        found = {part["$ref"] for _, part in _parts(definitions[waiting.pop()], "") if "$ref" in part}
        waiting += found - reached
        reached |= found
    return reached


def _elements(value: object) -> list[Any]:
    return value if is_array(value) else []


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def _members(value: object) -> Mapping[str, Any]:
    return value if is_object(value) else {}


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, Mapping)
