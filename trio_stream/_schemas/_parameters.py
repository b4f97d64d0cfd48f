"""The parameters of a function as a schema, and JSON as its arguments.

What belongs here: reading a signature and a docstring, and decoding. What does not: tools, which call the function.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection
from typing import Any, Final, final, get_origin

import msgspec

from trio_stream._schemas._closed import close_schema
from trio_stream._schemas._codec import custom_schema, decode_custom, decode_msgspec
from trio_stream._schemas._docstring import read_docstring
from trio_stream._schemas._type_schema import Schema, SchemaBuilder, add_default

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@final
class Parameters:
    """The parameters of a function, for a model to fill in.

    Args:
      function: The function. Each of its parameters has an annotation, and can be given by name.
      strict: Whether the API is to enforce the schema (``strict`` of a tool).
      skip: The types of a parameter that the model knows nothing of.

    Attributes:
      name: The name of the function.
      description: Its docstring, up to the first section.
      schema: The JSON Schema of its arguments: an object, closed, whose properties have the descriptions that the
        docstring has under ``Args:``. It belongs to this object.
      context_name: The parameter that has one of the types in ``skip``, or None.

    Raises:
      TypeError: A parameter has no annotation, or one that JSON cannot be decoded into; or it cannot be given by name.
    """

    __slots__ = ("_decode", "context_name", "description", "name", "schema")

    name: str
    description: str
    schema: Schema
    context_name: str | None

    def __init__(self, function: Callable[..., object], *, strict: bool = False, skip: Collection[type] = ()) -> None:
        self.name = _name_of(function)
        docstring = read_docstring(inspect.getdoc(function))
        self.description = docstring.description
        self.context_name = None
        builder = SchemaBuilder(custom_schema)
        fields: list[tuple[str, Any, Any]] = []
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for parameter in _read_parameters(function):
            annotation, name = parameter.annotation, parameter.name
            if annotation in skip or get_origin(annotation) in skip:
                if self.context_name is not None:
                    raise TypeError(f"{self.name}() has two parameters of one type that the model does not fill in")
                self.context_name = name
                continue
            if parameter.kind not in _BY_NAME:
                raise TypeError(
                    f"the parameter {str(parameter).partition(':')[0]!r} of {self.name}() has no name to be given by"
                )
            if annotation is inspect.Parameter.empty:
                raise TypeError(f"the parameter {name!r} of {self.name}() has no annotation")
            try:
                schema = builder.add(annotation)
            except TypeError as error:
                raise TypeError(f"the parameter {name!r} of {self.name}(): {error}") from error
            if name in docstring.arguments:
                schema = {**schema, "description": docstring.arguments[name]}
            if parameter.default is inspect.Parameter.empty:
                required.append(name)
                fields.append((name, annotation, msgspec.NODEFAULT))
            else:
                schema = add_default(schema, parameter.default)
                fields.append((name, annotation, msgspec.UNSET))  # the function has its own
            properties[name] = schema
        self.schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        if builder.definitions:
            self.schema["$defs"] = builder.definitions
        if strict:
            try:
                self.schema = close_schema(self.schema)
            except TypeError as error:
                raise TypeError(f"{self.name}() cannot have a strict schema: {error}") from None
        struct = msgspec.defstruct(self.name, fields, kw_only=True, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(struct, dec_hook=decode_custom).decode

    def decode(self, raw: str | bytes) -> dict[str, Any]:
        """Make the arguments of a call: those that the JSON has, by name. Of the others the function has defaults.

        Args:
          raw: The JSON. An empty text is a call without arguments.

        Raises:
          MismatchError: It does not fit, or is not JSON. The text says where.
        """
        text = raw.encode(errors="replace") if isinstance(raw, str) else raw
        arguments = decode_msgspec(self._decode, text if text.strip() else b"{}")
        return {
            name: value
            for name in arguments.__struct_fields__
            if (value := getattr(arguments, name)) is not msgspec.UNSET
        }


def _name_of(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _read_parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    """The parameters, with annotations that are types rather than texts."""
    signature = inspect.signature(function)
    annotated: Any = function
    while isinstance(annotated, functools.partial):
        annotated = annotated.func
    if not inspect.isroutine(annotated):
        annotated = type(annotated).__call__
    try:
        hints = typing.get_type_hints(annotated, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{_name_of(function)}() has an annotation that names what its module does not have: {error}. A type of a "
            "tool is defined at the top of a module, and not imported for type checkers alone"
        ) from error
    return [
        parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
    ]
