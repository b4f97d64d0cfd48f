"""A type that a model is asked for as its answer.

What belongs here: its schema in the API's form, and the value of an answer. What does not: judging whole messages
(`_parsing`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, final, get_args, overload

from trio_stream._schemas._closed import close_schema
from trio_stream._schemas._codec import codec_for
from trio_stream._schemas._refusals import find_refusal
from trio_stream._schemas._schema_check import SchemaCodec
from trio_stream._schemas._type_schema import Schema

T = TypeVar("T")


@final
class OutputType(Generic[T]):
    """A type as the answer of a model.

    Args:
      type_: A msgspec Struct, a dataclass, a TypedDict, a NamedTuple, a pydantic model, or what is made of such types
        and of plain ones with lists, unions, Literals and enums.

    Attributes:
      schema: Its JSON Schema in the form that ``output_config.format`` takes. It belongs to this object.

    Raises:
      TypeError: There is no such schema, for example since a dict in it has keys that are not known before.
    """

    __slots__ = ("_decode", "schema")

    schema: Schema

    @overload
    def __init__(self, type_: type[T]) -> None: ...
    @overload
    def __init__(self, type_: object) -> None: ...  # `A | B`, of which no type checker knows T
    def __init__(self, type_: object) -> None:
        codec = codec_for(type_)
        try:
            self.schema = close_schema(codec.schema())
        except TypeError as error:
            raise TypeError(f"{_name(type_)} cannot be asked for: {error}") from None
        self._decode = codec.decode

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any]) -> OutputType[Any]:
        """Make one of a JSON Schema. The value of an answer is then what the JSON has: dicts, lists, texts, numbers.

        Args:
          schema: The schema, in the form that the API takes.

        Raises:
          TypeError: The API does not take it. The text says why.
        """
        refusal = find_refusal(schema)
        if refusal is not None:
            raise TypeError(f"the API does not take this schema: {refusal}")
        output: OutputType[Any] = cls.__new__(cls)
        output.schema = dict(schema)
        output._decode = SchemaCodec(output.schema).decode
        return output

    def decode(self, text: str | bytes) -> T:
        """Make a value of the type of JSON.

        Raises:
          MismatchError: It does not fit, or is not JSON. The text says where.
        """
        value: T = self._decode(_as_bytes(text))
        return value


@functools.lru_cache(maxsize=256)
def _cached(type_: Any) -> OutputType[Any]:
    return OutputType(type_)


def output_type(type_: type[T] | OutputType[T]) -> OutputType[T]:
    """The `OutputType` of a type, made once: a program asks often for a few types.

    Raises:
      TypeError: As `OutputType`.
    """
    if isinstance(type_, OutputType):
        return type_
    key: Any = type_
    try:
        return _cached(key)
    except TypeError:
        # Either it cannot be asked for, or it has no hash: an `Annotated` with a dict in it, for example.
        return OutputType(type_)


def decode_as(type_: type[T] | OutputType[T], text: str | bytes) -> T:
    """Make a value of JSON that nobody asked a schema for, so that the type may have keys that are not known before.

    Raises:
      MismatchError: It does not fit, or is not JSON.
      TypeError: It is not a type that JSON can be decoded into.
    """
    value: T = (type_ if isinstance(type_, OutputType) else codec_for(type_)).decode(_as_bytes(text))
    return value


def ask_for_output(params: Mapping[str, Any], output: OutputType[Any]) -> dict[str, Any]:
    """Return the parameters of a request with the schema of a type as ``output_config.format``.

    Args:
      params: The parameters, which are not changed. Their ``output_config`` may have an effort, for example.
      output: The type.

    Raises:
      TypeError: They ask for a format already.
    """
    config: Mapping[str, Any] = params.get("output_config") or {}
    if config.get("format") is not None:
        raise TypeError("output and output_config.format both say what the answer is to be: give one of them")
    wanted = {"type": "json_schema", "schema": output.schema}
    return {**params, "output_config": {**config, "format": wanted}}


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode(errors="replace") if isinstance(text, str) else text


def _name(type_: Any) -> str:
    return type_.__qualname__ if isinstance(type_, type) and not get_args(type_) else str(type_)
