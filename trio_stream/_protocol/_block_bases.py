"""What all content blocks have in common, and what all those that call a tool have.

What belongs here: reading a block losslessly, writing it for a request or with everything about it, and the input of a
tool. What does not: any particular block (`_blocks`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self, cast

import msgspec

from trio_stream._errors import InvalidToolInputError
from trio_stream._protocol._deltas import InputJSONDelta, UnknownDelta
from trio_stream._protocol._growth import Append, Collect, GrowsBy
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._params_content import ContentBlockParam
from trio_stream._protocol._values import PLAIN, Tagged, make_value, read_fields, without_nulls

_INCOMPLETE: Final = "(incomplete)"
_UNKNOWN_DELTAS: Final = "(unknown_deltas)"
_INPUT_JSON: Final = "(input_json)"


class Block(Tagged, frozen=True, kw_only=True, tag="(abstract)"):
    """The base of all content blocks.

    Attributes:
      incomplete: True if the stream ended, or the snapshot was taken, before the end of the block; and for a tool
        block whose input was cut.
      unknown_deltas: The deltas of this block that cannot be joined with it: their ``type`` is one that this version
        does not know, or that does not fit the block.
      extra: The fields that the API sent, in the block or its deltas, and this version does not know; `to_param` sends
        them back.
    """

    incomplete: bool = msgspec.field(default=False, name=_INCOMPLETE)
    unknown_deltas: tuple[UnknownDelta, ...] = msgspec.field(default=(), name=_UNKNOWN_DELTAS)

    # The deltas that this block takes, and what each does to it.
    grows_by: ClassVar[GrowsBy] = {}

    def to_param(self) -> ContentBlockParam:
        """This block in the form that a request takes, with everything the API sent.

        Raises:
          InvalidToolInputError: a tool block whose input was cut or is not valid JSON.
        """
        return cast("ContentBlockParam", self.as_json(param=True))

    def fields_as_json(self, *, param: bool) -> dict[str, Any]:
        """The fields that this version knows; those of ours only where there is something in them."""
        out = super().fields_as_json(param=param)
        del out[_INCOMPLETE]
        deltas = out.pop(_UNKNOWN_DELTAS)
        if not param and self.incomplete:
            out["incomplete"] = True
        if not param and deltas:
            out["unknown_deltas"] = deltas
        return out

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this block from a JSON object of the API, or one that `to_dict` made.

        Raises:
          msgspec.ValidationError: a field that must be right has the wrong JSON type.
        """
        theirs = dict(raw)
        ours = cls._take_ours(theirs)
        fields, unread = read_fields(cls, theirs)
        block = make_value(cls, fields | ours, unread, theirs)
        held: dict[str, Any] | None = None
        for name in fields:
            value = theirs[name]
            # The values within write every field they have, also those that were not sent. Where that makes a
            # difference, `to_param` has to send what came: it goes to `extra`. But not where deltas collect values:
            # `extra` would be an old copy of these.
            if type(value) in PLAIN or cls.collects(name):
                continue
            held = block.to_dict() if held is None else held
            if without_nulls(held.get(name)) != without_nulls(value):
                unread[name] = value
        return msgspec.structs.replace(block, extra=unread) if unread else block

    @classmethod
    def collects(cls, field: str) -> bool:
        """Whether deltas add values to a field."""
        return any(type(growth) is Collect and growth.field == field for growth in cls.grows_by.values())

    @classmethod
    def _take_ours(cls, theirs: dict[str, Any]) -> dict[str, Any]:
        """Take the fields of ours, which `to_dict` has added, out of a JSON object and return them."""
        ours: dict[str, Any] = {}
        if theirs.get("incomplete") is True:
            ours[_INCOMPLETE] = theirs.pop("incomplete")
        if "unknown_deltas" in theirs and (deltas := take_deltas(theirs)):
            ours[_UNKNOWN_DELTAS] = [UnknownDelta.from_wire(delta) for delta in deltas]
        return ours


def take_deltas(theirs: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the deltas that `to_dict` has added out of a JSON object and return them."""
    held: object = theirs.get("unknown_deltas")
    if not isinstance(held, list):
        return []
    deltas = cast("list[object]", held)
    if not all(isinstance(delta, dict) for delta in deltas):
        return []
    del theirs["unknown_deltas"]
    return cast("list[dict[str, Any]]", deltas)


class InputBlock(Block, frozen=True, kw_only=True, tag="(abstract)", dict=True):
    """The base of the blocks that call a tool.

    Attributes:
      id: The identifier of the call, to which the result of the tool refers.
      name: The name of the tool.
      input_json: The input as the model wrote it; empty for a tool without input.
    """

    # The deltas of an input are the whole of it, also where the block has started with one.
    grows_by: ClassVar[GrowsBy] = {InputJSONDelta: Append("partial_json", "input_json", continues=False)}
    id: str = ""
    name: str = ""
    input_json: str = msgspec.field(default="", name=_INPUT_JSON)

    @functools.cached_property
    def input(self) -> dict[str, Any]:
        """The input, parsed once.

        Raises:
          InvalidToolInputError: the input was cut, does not parse, or is not an object.
        """
        if self.incomplete:
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not complete",
                input_json=self.input_json,
                incomplete=True,
            )
        if not self.input_json.strip():
            return {}
        try:
            value = decode_json(self.input_json.encode())
        except JSON_ERRORS as error:
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not valid JSON",
                input_json=self.input_json,
            ) from error
        if not isinstance(value, dict):
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not a JSON object",
                input_json=self.input_json,
            )
        return cast("dict[str, Any]", value)

    @property
    def type_name(self) -> str:
        """The block's ``type``."""
        return cast("str", self.__struct_config__.tag)

    def fields_as_json(self, *, param: bool) -> dict[str, Any]:
        """The fields that this version knows; outside requests ``input_json`` for an input that cannot be used."""
        out = super().fields_as_json(param=param)
        input_json = out.pop(_INPUT_JSON)
        try:
            out["input"] = self.input
        except InvalidToolInputError:
            if param:
                raise
            out["input_json"] = input_json
        return out

    @classmethod
    def _take_ours(cls, theirs: dict[str, Any]) -> dict[str, Any]:
        ours = super()._take_ours(theirs)
        value = theirs.pop("input", None)
        if isinstance(value, str):
            ours[_INPUT_JSON] = value  # some gateways have the JSON in a string, others "" for no input
        elif value is not None:
            # What is not an object is kept for `input` to say so: as with an input that is not JSON, the rest of the
            # message is good.
            ours[_INPUT_JSON] = msgspec.json.encode(value).decode() if value != {} else ""
        elif isinstance(theirs.get("input_json"), str):
            ours[_INPUT_JSON] = theirs.pop("input_json")
        return ours
