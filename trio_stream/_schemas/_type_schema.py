"""From Python types to JSON Schema.

What belongs here: the schema of each kind of type that msgspec decodes. What does not: the form that the API takes for
structured outputs (`_closed`), pydantic (`_pydantic`), and decoding (`_codec`).

`msgspec.json.schema` is not used: it gives no format to a datetime, no names to the places of a NamedTuple, and does
not tell a field with a default from one that may be absent, which a schema that asks for every field must.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from enum import EnumMeta
from typing import Any, Final, TypeAlias, cast, final, get_args, get_origin

import msgspec
from msgspec import inspect as types

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, or a part of one."""

_DEFINITION: Final = "#/$defs/"

_STRINGS: Final[dict[type[types.Type], Schema]] = {
    types.BytesType: {"contentEncoding": "base64"},
    types.ByteArrayType: {"contentEncoding": "base64"},
    types.MemoryViewType: {"contentEncoding": "base64"},
    types.DateTimeType: {"format": "date-time"},
    types.TimeType: {"format": "time"},
    types.DateType: {"format": "date"},
    types.TimeDeltaType: {"format": "duration"},
    types.UUIDType: {"format": "uuid"},
    types.DecimalType: {"format": "decimal"},
}
"""What JSON writes as a string of a certain form."""

_BOUNDS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_STRING_LENGTHS: Final = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ARRAY_LENGTHS: Final = {"min_length": "minItems", "max_length": "maxItems"}
_OBJECT_LENGTHS: Final = {"min_length": "minProperties", "max_length": "maxProperties"}

_EMPTY: Final[frozenset[Callable[[], object]]] = frozenset({list, dict, set, frozenset, tuple})
"""What as a ``default_factory`` gives the same value each time. Of others, a new id for example, there is no default to
be told."""

_UNSAFE: Final = re.compile(r"[^a-zA-Z0-9_.]+")


@final
class SchemaBuilder:
    """Builds the schemas of types that may share definitions.

    Args:
      custom_schema: Gives the schema of a class that msgspec does not know, with its definitions under ``$defs``; it
        raises TypeError where there is none.

    Attributes:
      definitions: The schemas of the classes met so far, by the names that ``$ref`` has for them.
    """

    def __init__(self, custom_schema: Callable[[type], Schema]) -> None:
        self.definitions: dict[str, Schema] = {}
        self._custom_schema = custom_schema
        self._names: dict[object, str] = {}

    def add(self, type_: Any) -> Schema:
        """The schema of a type; classes in it are added to `definitions`.

        Raises:
          TypeError: It is not a type that JSON can be decoded into.
        """
        return self._of(types.type_info(type_))

    def _of(self, info: types.Type) -> Schema:
        match info:
            case types.Metadata():
                return {**self._of(info.type), **_beside(info)}
            case types.AnyType() | types.RawType():
                return {}
            case types.NoneType():
                return {"type": "null"}
            case types.BoolType():
                return {"type": "boolean"}
            case types.IntType():
                return {"type": "integer", **_given(info, _BOUNDS)}
            case types.FloatType():
                return {"type": "number", **_given(info, _BOUNDS)}
            case types.StrType():
                return {"type": "string", **_given(info, _STRING_LENGTHS)}
            case types.LiteralType():
                return {"enum": list(info.values)}
            case types.UnionType():
                return {"anyOf": [self._of(option) for option in info.types]}
            case types.TupleType():
                return _places([self._of(item) for item in info.item_types], least=len(info.item_types))
            case types.CollectionType():
                return {"type": "array", "items": self._of(info.item_type), **_given(info, _ARRAY_LENGTHS)}
            case types.DictType():
                values = self._of(info.value_type)
                return {"type": "object", "additionalProperties": values, **_given(info, _OBJECT_LENGTHS)}
            case types.EnumType():
                return self._define(info.cls, lambda: {"enum": [member.value for member in info.cls]})
            case types.NamedTupleType():
                return self._define(info.cls, lambda: self._record(info.fields))
            case types.StructType() if info.array_like:
                return self._define(info.cls, lambda: self._record(info.fields, tag=info.tag))
            case types.StructType():
                return self._define(info.cls, lambda: self._struct(info))
            case types.DataclassType() | types.TypedDictType():
                return self._define(info.cls, lambda: self._object(info.fields))
            case types.CustomType():
                return self._add_custom(info.cls)
            case _ if type(info) in _STRINGS:
                return {"type": "string", **_STRINGS[type(info)]}
            case _:
                raise TypeError(f"there is no JSON for {type(info).__name__.removesuffix('Type')}")

    def _define(self, cls: Any, build: Callable[[], Schema]) -> Schema:
        """Refer to the definition of a class, which is built when the class is met for the first time."""
        name = self._names.get(cls)
        if name is None:
            name = self._names[cls] = self._free_name(cls)
            definition = self.definitions[name] = {"title": cls.__name__}  # its place, should it refer to itself
            if description := _description(cls):
                definition["description"] = description
            definition.update(build())
        return {"$ref": f"{_DEFINITION}{name}"}

    def _free_name(self, cls: Any) -> str:
        # Of `Page[int]` the name is `Page`, and its text has the rest.
        name = re.sub(r"\w+\.", "", str(cls)) if get_args(cls) else cls.__name__
        name = free = _UNSAFE.sub("_", name)
        number = 1
        while free in self.definitions:
            number += 1
            free = f"{name}_{number}"
        return free

    def _struct(self, info: types.StructType) -> Schema:
        schema = self._object(info.fields)
        if info.tag_field is not None:
            schema["properties"] = {info.tag_field: {"const": info.tag}, **schema["properties"]}
            schema["required"] = [info.tag_field, *schema["required"]]
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _object(self, fields: Iterable[types.Field]) -> Schema:
        return {
            "type": "object",
            "properties": {field.encode_name: self._field(field) for field in fields},
            "required": [field.encode_name for field in fields if field.required],
        }

    def _record(self, fields: Iterable[types.Field], *, tag: str | int | None = None) -> Schema:
        """An array whose places have names."""
        places = [] if tag is None else [{"const": tag}]
        places += [{"title": field.name, **self._field(field)} for field in fields]
        return _places(places, least=len(places) - sum(not field.required for field in fields))

    def _field(self, field: types.Field) -> Schema:
        default, factory = cast("tuple[object, Callable[[], object]]", (field.default, field.default_factory))
        if factory in _EMPTY:
            default = factory()
        schema = self._of(field.type)
        return schema if default is msgspec.NODEFAULT else add_default(schema, default)

    def _add_custom(self, cls: type) -> Schema:
        schema = self._custom_schema(cls)
        self.definitions.update(schema.pop("$defs", {}))
        return schema


def add_default(schema: Schema, default: object) -> Schema:
    """The schema with a default, if that can be written in JSON."""
    try:
        return {**schema, "default": msgspec.to_builtins(default, str_keys=True)}
    except (TypeError, ValueError):
        return schema


def whole_schema(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A schema that stands for itself: a reference at its root is resolved, and it has the definitions.

    A tool's ``input_schema`` must say ``"type": "object"`` at its root.
    """
    definitions = dict(definitions)
    name = str(schema.get("$ref", "")).removeprefix(_DEFINITION)
    if name in definitions:
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
        if not _refers(schema, name) and not any(_refers(other, name) for other in definitions.values()):
            del definitions[name]
    return {**schema, "$defs": definitions} if definitions else schema


def _refers(schema: object, name: str) -> bool:
    """Whether there is a reference to this definition anywhere in the schema."""
    if isinstance(schema, dict):
        values = cast("dict[str, object]", schema)
        return values.get("$ref") == f"{_DEFINITION}{name}" or any(_refers(value, name) for value in values.values())
    return isinstance(schema, list) and any(_refers(value, name) for value in cast("list[object]", schema))


def _places(places: list[Schema], *, least: int) -> Schema:
    """An array with something of its own at each place."""
    return {"type": "array", "prefixItems": places, "minItems": least, "maxItems": len(places), "items": False}


def _beside(info: Any) -> Schema:
    """What `msgspec.Meta` adds to a schema: a description, for example."""
    return info.extra_json_schema or {}


def _given(info: types.Type, keywords: Mapping[str, str]) -> Schema:
    """The keywords of JSON Schema for the constraints that a type has."""
    return {keyword: value for name, keyword in keywords.items() if (value := getattr(info, name, None)) is not None}


def _description(cls: Any) -> str:
    """The docstring that somebody wrote for this class, or nothing."""
    origin = get_origin(cls) or cls
    doc: str = origin.__dict__.get("__doc__") or ""
    # Those of dataclasses, NamedTuples and enums without one are made of their names.
    made = doc.startswith(f"{origin.__name__}(") or doc in ("An enumeration.", EnumMeta.__doc__)
    return "" if made else inspect.cleandoc(doc)
