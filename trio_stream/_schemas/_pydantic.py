"""pydantic models, where the program uses pydantic.

What belongs here: their schemas, and decoding into them. What does not: everything else; and importing pydantic, which
whoever has a model has done.
"""

from __future__ import annotations

import sys
from typing import Any, final

from trio_stream._schemas._faults import Fault, MismatchError


@final
class PydanticType:
    """A type that pydantic decodes: a model, or anything else that its ``TypeAdapter`` takes.

    Raises:
      TypeError: pydantic is not imported, or does not take it either.
    """

    __slots__ = ("_adapter", "_pydantic")

    def __init__(self, type_: Any) -> None:
        self._pydantic: Any = sys.modules.get("pydantic")
        if self._pydantic is None:
            raise TypeError(f"{type_!r} is not a type that JSON can be decoded into")
        try:
            self._adapter = self._pydantic.TypeAdapter(type_)
        except self._pydantic.errors.PydanticUserError as error:
            raise TypeError(f"{type_!r} is not a type that JSON can be decoded into") from error

    def schema(self, *, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
        """Its JSON Schema, with definitions under ``$defs``.

        Raises:
          TypeError: There is none.
        """
        try:
            schema: dict[str, Any] = self._adapter.json_schema(ref_template=ref_template)
        except self._pydantic.errors.PydanticUserError as error:
            raise TypeError(str(error)) from error
        return schema

    def decode(self, text: bytes) -> Any:
        """Decode JSON.

        Raises:
          MismatchError: It does not fit, or is not JSON.
        """
        try:
            return self._adapter.validate_json(text)
        except self._pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            if found[0]["type"] == "json_invalid":
                reason = found[0]["msg"].removeprefix("Invalid JSON: ")
                raise MismatchError(message=f"this is not valid JSON: {reason}") from error
            raise MismatchError(*(Fault(_path(fault["loc"]), fault["msg"]) for fault in found)) from error


def _path(location: tuple[str | int, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")
