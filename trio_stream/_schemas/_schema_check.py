"""Whether a JSON value follows a JSON Schema that somebody wrote by hand.

What belongs here: the keywords that the API takes where an answer must follow a schema (`_refusals`). What does not:
schemas of Python types, whose values msgspec and pydantic decode (`_codec`).

The API sees to all of this while the model writes. It is checked here all the same: an answer may come from a gateway,
from another model, or from a journal. ``format`` is a note of the author's, which nobody checks here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, final

import msgspec

from trio_stream._protocol import JSON_ERRORS
from trio_stream._schemas._closed import DEFINITIONS
from trio_stream._schemas._faults import Fault, MismatchError, not_json
from trio_stream._schemas._refusals import is_array, is_object
from trio_stream._schemas._type_schema import Schema


@final
class SchemaCodec:
    """Decodes JSON that follows a schema.

    Args:
      schema: The schema, which is not changed.
    """

    __slots__ = ("_definitions", "_schema")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._definitions: dict[str, Any] = {
            f"#/{place}/{name}": definition
            for place in DEFINITIONS
            for name, definition in schema.get(place, {}).items()
        }

    def decode(self, text: bytes) -> Any:
        """Decode JSON.

        Raises:
          MismatchError: It does not follow the schema, or is not JSON.
        """
        try:
            value: Any = msgspec.json.decode(text)
        except JSON_ERRORS as error:
            raise not_json(error, text) from error
        faults = list(self._faults(value, self._schema, ""))
        if faults:
            raise MismatchError(*faults)
        return value

    def _faults(self, value: Any, schema: Any, path: str) -> Iterator[Fault]:
        """Find what is wrong with a value; ``path`` says where it stands."""
        if not is_object(schema):  # nothing is said of it
            return
        if "$ref" in schema:
            yield from self._faults(value, self._definitions.get(schema["$ref"]), path)
        wanted: Any = schema.get("type")
        kinds: list[str] = [wanted] if isinstance(wanted, str) else wanted or []
        if kinds and not any(_KINDS[kind](value) for kind in kinds if kind in _KINDS):
            yield Fault(path, f"expected {' or '.join(kinds)}, got {_kind(value)}")
            return
        if "enum" in schema and not any(_equal(value, one) for one in schema["enum"]):
            yield Fault(path, f"expected one of {_json(schema['enum'])}")
        if "const" in schema and not _equal(value, schema["const"]):
            yield Fault(path, f"expected {_json(schema['const'])}")
        for part in schema.get("allOf", ()):
            yield from self._faults(value, part, path)
        if "anyOf" in schema:
            yield from self._faults_of_any(value, schema["anyOf"], path)
        if is_object(value):
            yield from self._faults_of_object(value, schema, path)
        elif is_array(value):
            yield from self._faults_of_array(value, schema, path)
        elif isinstance(value, str) and "pattern" in schema and not _matches(schema["pattern"], value):
            yield Fault(path, f"expected a text that matches {schema['pattern']}")

    def _faults_of_any(self, value: Any, options: list[Any], path: str) -> Iterator[Fault]:
        """Find what keeps a value from following one of several schemas: of the one that it is nearest to."""
        found = [list(self._faults(value, option, path)) for option in options]
        if found and all(found):
            yield from min(found, key=len)

    def _faults_of_object(self, value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[Fault]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Fault(path, f"missing the key `{name}`")
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            if name in properties:
                yield from self._faults(inner, properties[name], below)
            elif schema.get("additionalProperties") is False:
                yield Fault(below, "unexpected key")

    def _faults_of_array(self, value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[Fault]:
        if len(value) < schema.get("minItems", 0):
            yield Fault(path, f"expected at least {schema['minItems']} items, got {len(value)}")
        for number, inner in enumerate(value):
            yield from self._faults(inner, schema.get("items"), f"{path}[{number}]")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _kind(value: Any) -> str:
    return next(kind for kind, fits in _KINDS.items() if fits(value))


def _equal(value: Any, other: Any) -> bool:
    """Whether two JSON values are the same: for Python, true is 1."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _matches(pattern: str, value: str) -> bool:
    """Whether a text matches. Patterns are those of ECMAScript: one that Python does not know is taken to match."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
