"""Random JSON of given types, with an unknown field in one place."""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from trio_stream import types
from trio_stream._protocol._events import RawMessageStreamEvent
from trio_stream._protocol._values import OURS, Extended, Unknown

NEW = "a_new_field"


def our_types() -> dict[str, Any]:
    """This library's own types, in the form in which `sdk_types` prints those of the official SDK."""
    models: dict[str, Any] = {}

    def spec(annotation: object) -> Any:
        if isinstance(annotation, type) and issubclass(annotation, Unknown):
            return None
        if isinstance(annotation, type) and issubclass(annotation, Extended):
            name = annotation.__name__
            if name not in models:
                models[name] = {}
                tag = annotation.__struct_config__.tag
                if tag is not None:
                    models[name]["type"] = [{"literal": [tag]}, True]
                for field in msgspec.structs.fields(annotation):
                    if field.encode_name.startswith(OURS):
                        continue
                    # What has a default may be missing; but `to_param` writes it then, so here it is always there.
                    models[name][field.encode_name] = [spec(field.type), True]
                if issubclass(annotation, types.ToolUseBlock | types.ServerToolUseBlock | types.MCPToolUseBlock):
                    models[name]["input"] = ["object", True]
            return {"model": name}
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is tuple:
            return {"list": spec(arguments[0])}
        if origin is dict or annotation is Any:
            return "object"
        if origin is typing.Annotated:
            return spec(arguments[0])
        if arguments:
            return {"union": [item for item in map(spec, arguments) if item is not None]}
        return {str: "str", int: "int", bool: "bool"}.get(cast("Any", annotation), "none")

    roots = {
        "message": spec(types.Message),
        "event": spec(RawMessageStreamEvent),
        "error": spec(types.ErrorEvent),
        "count": spec(types.MessageTokensCount),
        "batch": spec(types.MessageBatch),
        "deleted": spec(types.DeletedMessageBatch),
        "result": spec(types.MessageBatchIndividualResponse),
    }
    return {"roots": roots, "models": models}


class AnyJSON:
    """Makes random JSON of the types of one schema."""

    def __init__(self, schema: dict[str, Any], seed: int) -> None:
        self._models = schema["models"]
        self._roots = schema["roots"]
        self._random = random.Random(seed)

    def make(self, kind: str) -> dict[str, Any]:
        """A message, an event, an error, a count, a batch, a deleted batch or a result of a batch."""
        value = cast("dict[str, Any]", self._value(self._roots[kind], 0))
        places = list(_objects(value))
        self._random.choice(places)[NEW] = self._random.choice([1, "x", {"deep": [1, {"er": "y"}]}, [[]], True])
        return value

    def _value(self, spec: Any, depth: int) -> object:
        chance = self._random
        if isinstance(spec, str):
            if spec == "object":
                return chance.choice([{}, {"a": 1}, {"a": {"b": [1, "c"]}}])
            return {"str": chance.choice(["", "x", "a b", "\u20ac"]), "int": chance.randrange(9), "none": None}.get(
                spec, chance.random() < 0.5
            )
        if "literal" in spec:
            return chance.choice(spec["literal"])
        if "list" in spec:
            return [self._value(spec["list"], depth + 1) for _ in range(chance.randrange(3) if depth < 6 else 0)]
        if "union" in spec:
            return self._value(chance.choice(spec["union"]), depth)
        return {
            name: self._value(inner, depth + 1)
            for name, (inner, required) in self._models[spec["model"]].items()
            if required or chance.random() < 0.5
        }


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Every object of the API in a value; what a tool's input holds is the model's own."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        yield members
        for name, item in members.items():
            if name not in ("input", "input_schema", "tool_changes", "details", "schema"):
                yield from _objects(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _objects(item)


def missing(found: object, given: object, place: str = "$") -> str | None:
    """The first place at which JSON does not hold what other JSON has; nulls mean the same as nothing."""
    if isinstance(given, dict):
        if not isinstance(found, dict):
            return place
        members = cast("dict[str, object]", found)
        wrong = (
            missing(members.get(name), item, f"{place}.{name}")
            for name, item in cast("dict[str, object]", given).items()
            if item is not None
        )
        return next((where for where in wrong if where), None)
    if isinstance(given, list):
        items = cast("list[object]", given)
        if not isinstance(found, list) or len(cast("list[object]", found)) != len(items):
            return place
        pairs = enumerate(zip(cast("list[object]", found), items, strict=True))
        return next((where for i, (a, b) in pairs if (where := missing(a, b, f"{place}[{i}]"))), None)
    return None if found == given and type(found) is type(given) else place
