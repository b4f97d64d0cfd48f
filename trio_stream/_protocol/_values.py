"""What all values of the Messages API have in common: they are read tolerantly and written losslessly.

What belongs here: the base Structs and how they are read from and written to JSON objects. What does not:
any particular type of the API.

The rules of reading, the same everywhere:

* a field that is missing or null gets its default, and an unknown field is not an error;
* an object whose ``type`` is unknown becomes an `Unknown` value, which keeps the JSON;
* a field of the wrong JSON type is an error (`msgspec.ValidationError`) at once, and never a surprise later.
"""

from __future__ import annotations

import functools
import threading
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, cast, final

import msgspec

PLAIN = frozenset({int, str, float, bool})


class Value(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A value of the Messages API. Values are immutable."""

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this value from a JSON object of the API.

        Raises:
          msgspec.ValidationError: a field has the wrong JSON type.
        """
        fields, _ = read_fields(cls, raw)
        return msgspec.convert(fields, cls)

    # Names of fields of ours. Should the API send a field of such a name, it means something else by it, so they are
    # never read from the wire.
    reserved_names: ClassVar[frozenset[str]] = frozenset()
    # Fields that `to_param` writes even when they are None: to the API that null says something.
    param_nulls: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """This value as JSON-able data, under the API's field names. Fields that are None are left out."""
        return self.as_json(param=False)

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This value as JSON-able data: in the form that a request takes (``param``), or with everything about it."""
        out: dict[str, Any] = {}
        tag = self.__struct_config__.tag
        if tag is not None:
            out["type"] = tag
        for name, wire_name in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            value = getattr(self, name)
            if value is not None:
                out[wire_name] = value if type(value) in PLAIN else plain(value, param=param)
            elif param and wire_name in self.param_nulls:
                out[wire_name] = None
        return out


class Tagged(Value, frozen=True, kw_only=True, tag_field="type", tag="(abstract)"):
    """A value whose JSON has a ``type`` that tells its class."""


class Extended(Value, frozen=True, kw_only=True):
    """A value that keeps unknown fields.

    Attributes:
      extra: The fields that the API sent and this version does not know.
    """

    reserved_names: ClassVar[frozenset[str]] = frozenset({"extra"})
    extra: Mapping[str, Any] = {}

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this value from a JSON object of the API.

        Raises:
          msgspec.ValidationError: a field has the wrong JSON type.
        """
        fields, extra = read_fields(cls, raw)
        value = msgspec.convert(fields, cls)
        return msgspec.structs.replace(value, extra=extra) if extra else value

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This value as JSON-able data: in the form that a request takes (``param``), or with everything about it."""
        out = super().as_json(param=param)
        extra = out.pop("extra")
        out.update((name, item) for name, item in extra.items() if param or item is not None)
        return out


class Unknown(Tagged, frozen=True, kw_only=True, tag="(unknown)"):
    """A value whose ``type`` this version does not know.

    ``type`` is what the API sent. To type checkers it is the literal ``"(unknown)"``, so that comparing
    ``.type`` with a known name rules this class out; ``str(value.type)`` compares with any other name.

    Attributes:
      raw: The JSON object as it came.
    """

    raw: dict[str, Any]

    if TYPE_CHECKING:
        type: ClassVar[Literal["(unknown)"]]
    else:

        @property
        def type(self) -> str:
            return cast("str", self.raw.get("type", ""))

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Keep a JSON object as it is."""
        return cls(raw=dict(raw))

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """The JSON object as it came."""
        return dict(self.raw)


@final
class UnknownObject(Unknown, frozen=True, kw_only=True, tag="(unknown)"):
    """A part of a block, an event or the usage whose ``type`` this version does not know."""


def plain(value: object, *, param: bool) -> Any:
    """A value, or a tuple of values, as JSON-able data."""
    if isinstance(value, Value):
        return value.as_json(param=param)
    if isinstance(value, tuple):
        return [plain(item, param=param) for item in cast("tuple[object, ...]", value)]
    return value


def without_nulls(value: object) -> object:
    """JSON without its null members, which mean the same to the API as missing ones."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: without_nulls(item) for name, item in members.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in cast("list[object]", value)]
    return value


def read_tagged(known: Mapping[str, type[Value]], unknown: type[Unknown], raw: Mapping[str, Any]) -> Value:
    """Make the value of the class that stands for the ``type`` of a JSON object, or an ``unknown`` one.

    Raises:
      msgspec.ValidationError: there is no ``type``, or a field has the wrong JSON type.
    """
    tag = raw.get("type")
    if not isinstance(tag, str):
        raise msgspec.ValidationError("Object without a `type`")
    return known.get(tag, unknown).from_wire(raw)


def by_tag(*classes: type[Value]) -> dict[str, Any]:
    """The classes by the ``type`` they stand for."""
    return {cast("str", cls.__struct_config__.tag): cls for cls in classes}


def members_by_tag(union: object) -> dict[str, Any]:
    """The classes of a union by the ``type`` they stand for, without the class for an unknown ``type``."""
    members = cast("tuple[type[Value], ...]", typing.get_args(union))
    return by_tag(*(member for member in members if not issubclass(member, Unknown)))


def holds_values(cls: type[Value]) -> bool:
    """Whether a class has fields that hold other values, which may be of a ``type`` that this version does not know."""
    return any(True for field in msgspec.structs.fields(cls) for _ in _values_within(field.type))


def read_fields(cls: type[Value], raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a JSON object into the fields of a class, with the values within them made, and the unknown fields.

    Known fields that are null are left out, and so is the ``type`` that the class stands for.

    Raises:
      msgspec.ValidationError: a value within has a field of the wrong JSON type, or no ``type``.
    """
    parts = _parts(cls)
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in raw.items():
        if name in parts:
            if value is not None:
                part = parts[name]
                fields[name] = value if part is None else _read_part(value, part)
        elif name != "type":
            unknown[name] = value
    return fields, unknown


class _Part(NamedTuple):
    """How to read the objects within one field.

    Attributes:
      untagged: Their class, where it has no ``type``; then the rest does not matter.
      known: The classes by their ``type``.
      unknown: The class for any other ``type``.
    """

    untagged: type[Value] | None
    known: Mapping[str, type[Value]]
    unknown: type[Unknown]


def _read_part(value: object, part: _Part) -> object:
    if isinstance(value, dict):
        raw = cast("dict[str, Any]", value)
        if part.untagged is not None:
            return part.untagged.from_wire(raw)
        return read_tagged(part.known, part.unknown, raw)
    if isinstance(value, list):
        return [_read_part(item, part) for item in cast("list[object]", value)]
    return value  # if it is wrong here, `msgspec.convert` says so


_preparing = threading.Lock()


def set_fields(value: Value) -> dict[str, Any]:
    """The fields of a value that are not None, by their names in Python."""
    held = zip(value.__struct_fields__, msgspec.structs.astuple(value), strict=True)
    return {name: item for name, item in held if item is not None}


@functools.cache
def _parts(cls: type[Value]) -> dict[str, _Part | None]:
    """For each field of a class, how to read the values within it, or None if it holds none. Its annotation tells."""
    with _preparing:
        # msgspec finds out about a class when that is first converted to, and crashes (0.22) when two threads do so at
        # once. Nobody converts to a class before this has returned for it.
        msgspec.json.Decoder(cls)
    found: dict[str, _Part | None] = {}
    for field in msgspec.structs.fields(cls):
        if field.encode_name in cls.reserved_names:
            continue
        found[field.encode_name] = None
        classes = list(_values_within(field.type))
        if classes:
            unknown = [item for item in classes if issubclass(item, Unknown)]
            untagged = [item for item in classes if item.__struct_config__.tag is None]
            found[field.encode_name] = _Part(
                untagged=untagged[0] if untagged else None,
                known=by_tag(*(item for item in classes if item not in unknown)),
                unknown=unknown[0] if unknown else UnknownObject,
            )
    return found


def _values_within(annotation: object) -> Iterator[type[Value]]:
    if isinstance(annotation, type) and issubclass(annotation, Value):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _values_within(argument)
