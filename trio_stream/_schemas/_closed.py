"""JSON Schema in the form that the API takes where an answer must follow it.

What belongs here: closing objects, moving what the API does not enforce into descriptions, and refusing early what it
would refuse. What does not: where a schema comes from.

The rules are those of https://platform.claude.com/docs/en/build-with-claude/structured-outputs and of the official
SDK's ``transform_schema``:

    object     "additionalProperties": false, always. A property with a default is required: the model says each
    string     the formats in `FORMATS`
    array      "items"; "minItems" of 0 or 1
    any        "$ref" and "$defs" without a circle, "anyOf", "allOf", "enum" and "const" of plain values, "title",
               "description"
    the rest   goes into the description, as ``{minimum: 1, maximum: 10}``, where the model reads it. The decoding
               checks it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, final

import msgspec

from trio_stream._schemas._type_schema import Schema, whole_schema

FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
KINDS: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
DEFINITIONS: Final = ("$defs", "definitions")
_SAYS_NOTHING: Final = frozenset({"$schema", "$id", "$comment", "discriminator"})
"""Keywords that tell a model nothing that the others do not."""


def close_schema(schema: Mapping[str, Any]) -> Schema:
    """Make the API's form of a schema; it accepts what the schema accepts, or more.

    Args:
      schema: A JSON Schema, which is not changed.

    Raises:
      TypeError: There is no such form: somewhere it has keys that nobody knows before, or takes anything, or refers to
        itself. The text has the place.
    """
    return _Closing(schema).close()


@final
class _Closing:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = {name: value for name, value in schema.items() if name not in DEFINITIONS}
        self._given: dict[str, Schema] = {
            f"#/{place}/{name}": definition
            for place in DEFINITIONS
            for name, definition in schema.get(place, {}).items()
        }
        self._closed: dict[str, Schema] = {}
        self._open: list[str] = []  # the definitions that are being closed, the outermost first

    def close(self) -> Schema:
        return whole_schema(self._close(self._root, "$"), self._closed)

    def _close(self, schema: Mapping[str, Any], path: str) -> Schema:
        """Close one schema; ``path`` says where it stands."""
        rest = {name: value for name, value in schema.items() if name not in _SAYS_NOTHING}
        if "$ref" in rest:
            return self._refer(rest.pop("$ref"), rest, path)
        closed: Schema = {name: rest.pop(name) for name in ("title", "description") if name in rest}
        variants = [(name, rest.pop(name)) for name in ("anyOf", "oneOf", "allOf") if name in rest]
        kind = rest.pop("type", None)
        if variants:
            name, options = variants[0]
            if name == "allOf" and len(options) == 1:
                return self._close({**options[0], **closed, **rest}, path)
            for name, options in variants:
                closed["allOf" if name == "allOf" else "anyOf"] = [self._close(option, path) for option in options]
        elif "const" in rest or "enum" in rest:
            closed.update(_plain_values(rest, path))
        else:
            closed["type"] = kind
            match _only_kind(kind, path):
                case "object":
                    closed.update(self._object(rest, path))
                case "array":
                    closed.update(self._array(rest, path))
                case "string" if rest.get("format") in FORMATS:
                    closed["format"] = rest.pop("format")
                case _:
                    pass
        return _tell(closed, rest)

    def _refer(self, reference: str, beside: Schema, path: str) -> Schema:
        """Close a reference, and what it refers to."""
        if reference not in self._given:
            raise TypeError(f"{path} refers to {reference!r}, which is not among the definitions of this schema")
        if reference in self._open:
            raise TypeError(f"{path} refers to the type that it is part of: the API takes no type that contains itself")
        self._open.append(reference)
        try:
            definition = self._given[reference]
            if beside:
                # The API does not take anything beside a reference, so that the definition stands here once more.
                return self._close({**definition, **beside}, path)
            name = reference.rpartition("/")[2]
            if name not in self._closed:
                self._closed[name] = self._close(definition, name)
            return {"$ref": f"#/$defs/{name}"}
        finally:
            self._open.pop()

    def _object(self, rest: Schema, path: str) -> Schema:
        extra = rest.pop("additionalProperties", None)
        if "properties" not in rest or isinstance(extra, dict) or "patternProperties" in rest:
            raise TypeError(
                f"{path} is an object whose keys are not known before, as of a dict: the API takes none in an answer "
                "that must follow a schema. Ask for a list of objects that have the key as a field"
            )
        properties: dict[str, Schema] = rest.pop("properties")
        required = {*rest.pop("required", ()), *(name for name, value in properties.items() if "default" in value)}
        return {
            "properties": {name: self._close(value, f"{path}.{name}") for name, value in properties.items()},
            "required": [name for name in properties if name in required],
            "additionalProperties": False,
        }

    def _array(self, rest: Schema, path: str) -> Schema:
        closed: Schema = {}
        if places := rest.pop("prefixItems", None):
            # One schema stands for every place, and the description says which is where.
            told = [self._close(place, f"{path}[{index}]") for index, place in enumerate(places)]
            plain = [{name: value for name, value in place.items() if name != "title"} for place in told]
            different = [place for index, place in enumerate(plain) if place not in plain[:index]]
            closed["items"] = different[0] if len(different) == 1 else {"anyOf": different}
            rest.pop("items", None)
            rest["items in this order"] = [place.get("title") or _name_of(place) for place in told]
        elif isinstance(rest.get("items"), dict):
            closed["items"] = self._close(rest.pop("items"), f"{path}[]")
        else:
            raise TypeError(f"{path} is an array of anything: the API wants to know of what")
        if rest.get("minItems") in (0, 1):
            closed["minItems"] = rest.pop("minItems")
        return closed


def _only_kind(kind: object, path: str) -> str:
    """The kind that has keywords of its own: an object rather than null, for example."""
    kinds = cast("list[object]", kind) if isinstance(kind, list) else [kind]
    if not kinds or not KINDS.issuperset(kinds):
        raise TypeError(f"{path} may be anything: the API wants a type, an enum, or a choice of schemas")
    return next((str(name) for name in kinds if name in ("object", "array", "string")), str(kinds[0]))


def _plain_values(rest: Schema, path: str) -> Schema:
    closed: Schema = {name: rest.pop(name) for name in ("enum", "const") if name in rest}
    for value in (*closed.get("enum", ()), closed.get("const")):
        if not is_plain(value):
            raise TypeError(f"{path} has a value that is not a string, a number, a boolean or null: the API takes none")
    return closed


def is_plain(value: object) -> bool:
    """Whether a value may be one of an enum."""
    return isinstance(value, str | int | float | None)


def _tell(closed: Schema, rest: Schema) -> Schema:
    """Add to the description what the API does not enforce."""
    if not rest:
        return closed
    told = ", ".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in rest.items())
    return {**closed, "description": "\n\n".join(filter(None, (closed.get("description"), f"{{{told}}}")))}


def _name_of(schema: Schema) -> str:
    return str(schema.get("type") or schema.get("$ref", "value").rpartition("/")[2])
