"""Decoding JSON into a type, by msgspec or by pydantic, and the JSON Schema of that type.

What belongs here: which of the two decodes a type, and what msgspec's faults mean. What does not: the form of schemas
that the API takes (`_closed`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

import msgspec

from trio_stream._protocol import JSON_ERRORS, decode_with
from trio_stream._schemas._faults import Fault, MismatchError, not_json
from trio_stream._schemas._pydantic import PydanticType
from trio_stream._schemas._type_schema import Schema, SchemaBuilder, whole_schema

T = TypeVar("T")

_KEY: Final = re.compile(r"(?P<reason>.*) - at `key` in `\$\.?(?P<path>.*)`", re.DOTALL)
_VALUE: Final = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<path>.*)`", re.DOTALL)

_pydantic_type = functools.cache(PydanticType)


@final
class MsgspecType:
    """A type that msgspec decodes; pydantic decodes the models in it.

    Raises:
      TypeError: msgspec does not take it, or there is a class in it that nobody knows how to decode.
    """

    __slots__ = ("_decode", "_schema")

    def __init__(self, type_: Any) -> None:
        builder = SchemaBuilder(custom_schema)
        schema = builder.add(type_)
        self._schema = whole_schema(schema, builder.definitions)
        self._decode = msgspec.json.Decoder(type_, dec_hook=decode_custom).decode

    def schema(self) -> Schema:
        """Its JSON Schema, with definitions under ``$defs``."""
        return self._schema

    def decode(self, text: bytes) -> Any:
        """Decode JSON.

        Raises:
          MismatchError: It does not fit, or is not JSON.
        """
        return decode_msgspec(self._decode, text)


def decode_msgspec(decode: Callable[[bytes], T], text: bytes) -> T:
    """Decode JSON with a decoder of msgspec.

    Raises:
      MismatchError: It does not fit, or is not JSON.
    """
    try:
        return decode_with(decode, text)
    except msgspec.ValidationError as error:
        raise MismatchError(*_faults(error)) from error
    except JSON_ERRORS as error:
        raise not_json(error, text) from error


def codec_for(type_: Any) -> MsgspecType | PydanticType:
    """What decodes a type; made once for each, as a program asks often for a few.

    Raises:
      TypeError: Nothing does.
    """
    try:
        return _cached(type_)
    except TypeError:
        # Either nothing does, or it has no hash: an `Annotated` with a list in it, for example.
        return _make(type_)


def _make(type_: Any) -> MsgspecType | PydanticType:
    if _is_model(type_):
        return PydanticType(type_)
    try:
        return MsgspecType(type_)
    except TypeError as error:
        # Unions of models, for example, are pydantic's alone.
        try:
            return PydanticType(type_)
        except TypeError:
            raise error from None


_cached = functools.lru_cache(maxsize=256)(_make)


def decode_custom(type_: type, value: Any) -> Any:
    """Decode what msgspec does not know itself, from the value that the JSON had there."""
    # From JSON again: a strict model takes a date as text from there alone.
    return _pydantic_type(type_).decode(msgspec.json.encode(value))


def custom_schema(type_: type) -> Schema:
    """The schema of what msgspec does not know itself.

    Raises:
      TypeError: pydantic does not know it either.
    """
    if not _is_model(type_):
        raise TypeError(f"{type_!r} is not a type that JSON can be decoded into")
    # The names of its definitions begin with its own, so that those of two models do not meet.
    name = type_.__name__
    schema = _pydantic_type(type_).schema(ref_template=f"#/$defs/{name}.{{model}}")
    definitions = schema.pop("$defs", {})
    return {**schema, "$defs": {f"{name}.{inner}": value for inner, value in definitions.items()}}


def _is_model(type_: Any) -> bool:
    return isinstance(type_, type) and hasattr(type_, "__pydantic_validator__")


def _faults(error: msgspec.ValidationError) -> list[Fault]:
    """What msgspec's error says: ``Expected `int`, got `str` - at `$.items[0]```."""
    text = str(error)
    if match := _KEY.fullmatch(text):
        return [Fault(match["path"], f"one of its keys does not fit: {match['reason'].lower()}")]
    match = _VALUE.fullmatch(text)
    path, reason = (match["path"], match["reason"]) if match else ("", text)
    inner = error.__cause__
    if isinstance(inner, MismatchError):
        return [fault.below(path) for fault in inner.faults]
    return [Fault(path, reason)]
