"""What all values of the Messages API have in common: they are read tolerantly and written losslessly.

What belongs here: the base Structs and how they are read from and written to JSON objects. What does not:
any particular type of the API.

The rules of reading, the same everywhere:

* a field that is missing or null gets its default, and an unknown field goes to ``extra``;
* an object whose ``type`` is unknown becomes an `Unknown` value, which keeps the JSON;
* a field of the wrong JSON type is read if its meaning is plain (``"1"`` or ``1.0`` for a count); if not, it gets its
  default, and what came goes to ``extra``;
* but a field without which the message would mean something else (`Extended.strict_fields`, and every field that has no
  default) is an error (`msgspec.ValidationError`) at once, and never a surprise later.
"""

from __future__ import annotations

import functools
import re
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, NoReturn, Self, TypeVar, cast, final

import msgspec

ExtendedT = TypeVar("ExtendedT", bound="Extended")

PLAIN = frozenset({int, str, float, bool})


class _NoFields(dict[str, Any]):
    """The empty mapping that all values without unknown fields share; it cannot be changed.

    It is a dict because msgspec encodes no other mapping, and shared because a delta is made for every event.
    """

    __slots__ = ()

    def __setitem__(self, name: str, value: object) -> NoReturn:
        raise TypeError("`extra` cannot be changed")

    def __reduce__(self) -> str:
        return "NO_FIELDS"  # pickle and copy find the one there is by its name


NO_FIELDS: Final[Mapping[str, Any]] = _NoFields()

OURS: Final = "("
"""What the names of fields of ours begin with in JSON. The API has no such names, so they are never read from the wire:
should it send a field with the name that a field of ours has in Python, it means something else by it."""

_EXTRA: Final = "(extra)"


class Value(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A value that this library hands out. Values are immutable."""

    # Fields that `to_param` writes even when they are None: to the API that null says something.
    param_nulls: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """This value as JSON-able data, under the API's field names. Fields that are None are left out."""
        return self.as_json(param=False)

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This value as JSON-able data: in the form that a request takes (``param``), or with everything about it."""
        return self.fields_as_json(param=param)

    def fields_as_json(self, *, param: bool) -> dict[str, Any]:
        """The fields that this version knows, as JSON-able data."""
        tag = self.__struct_config__.tag
        out: dict[str, Any] = {} if tag is None else {"type": tag}
        # One call for all fields: every answer in a journal, of which there may be a hundred thousand, comes by here.
        for wire_name, value in zip(self.__struct_encode_fields__, msgspec.structs.astuple(self), strict=True):
            if value is not None:
                if type(value) in PLAIN:
                    out[wire_name] = value
                elif wire_name != _EXTRA:
                    out[wire_name] = plain(value, param=param)
            elif param and wire_name in self.param_nulls:
                out[wire_name] = None
        return out


class Extended(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of the Messages API, which keeps what this version does not know.

    A decoder that makes such a value in one step refuses unknown fields: reading the object field by field, as
    `from_wire` does, then keeps them.

    Attributes:
      extra: The fields that the API sent and this version does not know or cannot read, as they came.
    """

    # Fields that have a default and must be right all the same: a wrong one would change what the message means.
    strict_fields: ClassVar[frozenset[str]] = frozenset()
    extra: Mapping[str, Any] = msgspec.field(default=NO_FIELDS, name=_EXTRA)

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this value from a JSON object of the API.

        Raises:
          msgspec.ValidationError: a field that must be right has the wrong JSON type.
        """
        return make_value(cls, *read_fields(cls, raw), raw)

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This value as JSON-able data: in the form that a request takes (``param``), or with everything about it."""
        out = self.fields_as_json(param=param)
        if self.extra:
            out.update((name, item) for name, item in self.extra.items() if param or item is not None)
        return out


class Tagged(Extended, frozen=True, kw_only=True, tag_field="type", tag="(abstract)"):
    """A value of the Messages API whose JSON has a ``type`` that tells its class."""


class Unknown(Value, frozen=True, kw_only=True, tag_field="type", tag="(unknown)"):
    """A value whose ``type`` this version does not know.

    ``type`` is what the API sent. To type checkers it is the literal ``"(unknown)"``, so that comparing
    ``.type`` with a known name rules this class out; ``str(value.type)`` compares with any other name.

    Attributes:
      raw: The JSON object as it came.
    """

    raw: dict[str, Any] = msgspec.field(name="(raw)")

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


def read_tagged(known: Mapping[str, type[Extended]], unknown: type[Unknown], raw: Mapping[str, Any]) -> Value:
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


def names_of_values(cls: type[Value]) -> Iterator[str]:
    """The names of the API's fields of a class that hold other values."""
    return (name for name, field in _parts(cls).items() if field.part is not None)


def read_fields(cls: type[Extended], raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a JSON object into the fields of a class, with the values within them made, and what cannot be read.

    Known fields that are null are left out, and so is the ``type`` that the class stands for.

    Raises:
      msgspec.ValidationError: a value within a field that must be right cannot be made.
    """
    parts = _parts(cls)
    fields: dict[str, Any] = {}
    unread: dict[str, Any] = {}
    for name, value in raw.items():
        field = parts.get(name)
        if field is None:
            if name != "type" or (cls.__struct_config__.tag is None and value is not None):
                unread[name] = value
        elif value is None:
            continue
        elif field.part is None:
            fields[name] = value
        else:
            try:
                fields[name] = _read_part(value, field.part)
            except msgspec.ValidationError:
                if field.strict:
                    raise
                unread[name] = value
    return fields, unread


def make_value(
    cls: type[ExtendedT], fields: Mapping[str, Any], unread: dict[str, Any], raw: Mapping[str, Any]
) -> ExtendedT:
    """Make a value of the fields that `read_fields` returned for a JSON object.

    Args:
      cls: The class.
      fields: The fields.
      unread: What goes to ``extra``. What turns out not to be readable is added to it.
      raw: The JSON object.

    Raises:
      msgspec.ValidationError: a field that must be right has the wrong JSON type.
    """
    try:
        value = msgspec.convert(fields, cls)
    except msgspec.ValidationError:
        readable: dict[str, Any] = {}
        for name, item in fields.items():
            field = _parts(cls).get(name)
            if field is None or _fits(item, field.type):
                readable[name] = item
            elif (mended := _plain_meaning(item, field)) is not None:
                readable[name] = mended
            elif field.strict:
                readable[name] = item  # `convert` says what is wrong with it, and where
            else:
                unread[name] = raw[name]
        value = msgspec.convert(readable, cls)
    return msgspec.structs.replace(value, extra=unread) if unread else value


def _fits(value: object, annotation: object) -> bool:
    try:
        msgspec.convert(value, cast("type[object]", annotation))
    except msgspec.ValidationError:
        return False
    return True


_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_BOOLS: Final[Mapping[object, bool]] = {0: False, 1: True, "false": False, "true": True}
_LARGEST_EXACT: Final = 2**53  # a larger float may stand for several whole numbers


def _plain_meaning(value: object, field: _Field) -> object:
    """What a value of the wrong JSON type means, if that is plain and the field need not be right; else None."""
    if field.strict:
        return None
    candidate: object = None
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT
    if exact or (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value)):
        candidate = int(cast("float | str", value))
    if candidate is not None and _fits(candidate, field.type):
        return candidate
    if _fits(value=True, annotation=field.type):
        return _BOOLS.get(value) if isinstance(value, int | str) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        candidate = str(value)
        return candidate if _fits(candidate, field.type) else None
    return None


class _Part(NamedTuple):
    """How to read the objects within one field.

    Attributes:
      untagged: Their class, where it has no ``type``; then the rest does not matter.
      known: The classes by their ``type``.
      unknown: The class for any other ``type``.
    """

    untagged: type[Extended] | None
    known: Mapping[str, type[Extended]]
    unknown: type[Unknown]


class _Field(NamedTuple):
    """One field of a class.

    Attributes:
      type: Its annotation.
      part: How to read the objects within it; None if it holds none.
      strict: Whether it must be right.
    """

    type: Any
    part: _Part | None
    strict: bool


def _read_part(value: object, part: _Part) -> object:
    if isinstance(value, dict):
        raw = cast("dict[str, Any]", value)
        if part.untagged is not None:
            return part.untagged.from_wire(raw)
        if part.unknown is UnknownObject and not isinstance(raw.get("type"), str):
            return UnknownObject.from_wire(raw)
        return read_tagged(part.known, part.unknown, raw)
    if isinstance(value, list):
        return [_read_part(item, part) for item in cast("list[object]", value)]
    return value  # if it is wrong here, `msgspec.convert` says so


# msgspec finds out about a class when that is first converted to, and crashes (0.22) when two threads do so at once.
_preparing: Final = threading.Lock()


def one_step_decoder(cls: type[ExtendedT]) -> Callable[[bytes], ExtendedT]:
    """A decoder that makes a value of JSON in one step. What is unusual in any way fails there, or is not kept.

    It refuses unknown fields, and values of the wrong type. What it makes of a ``type`` within that this version does
    not know is for the caller to find out.
    """
    with _preparing:
        return msgspec.json.Decoder(cls).decode


def set_fields(value: Value) -> dict[str, Any]:
    """The fields of a value that are not as if they had not been sent, by their names in Python; without ``extra``."""
    held = zip(value.__struct_fields__, msgspec.structs.astuple(value), _defaults(type(value)), strict=True)
    return {name: item for name, item, default in held if item is not None and item != default and name != "extra"}


@functools.cache
def _defaults(cls: type[Value]) -> tuple[object, ...]:
    return tuple(field.default for field in msgspec.structs.fields(cls))


@functools.cache
def _parts(cls: type[Value]) -> dict[str, _Field]:
    """The fields of a class by their names on the wire. Their annotations tell how they are read."""
    with _preparing:  # nobody converts to a class before this has returned for it
        msgspec.json.Decoder(cls)
    found: dict[str, _Field] = {}
    strict_fields = cls.strict_fields if issubclass(cls, Extended) else frozenset[str]()
    for field in msgspec.structs.fields(cls):
        if field.encode_name.startswith(OURS):
            continue
        part: _Part | None = None
        classes = list(_values_within(field.type))
        if classes:
            unknown = [item for item in classes if issubclass(item, Unknown)]
            untagged = [item for item in classes if item.__struct_config__.tag is None]
            part = _Part(
                untagged=cast("type[Extended]", untagged[0]) if untagged else None,
                known=by_tag(*(item for item in classes if item not in unknown)),
                unknown=unknown[0] if unknown else UnknownObject,
            )
        strict = field.required or field.encode_name in strict_fields
        found[field.encode_name] = _Field(field.type, part, strict)
    return found


def _values_within(annotation: object) -> Iterator[type[Value]]:
    if isinstance(annotation, type) and issubclass(annotation, Value):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _values_within(argument)
