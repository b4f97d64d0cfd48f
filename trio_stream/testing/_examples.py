"""A plausible value for a JSON schema, always the same for the same number.

What belongs here: making values that fit. What does not: when one is needed (`_model`), checking schemas
(`_strict_params`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from trio_stream.testing._json import as_list, as_object, at_path

_DEEPEST = 12
"""How deep a schema is followed that holds itself."""

_DEEP = 6
"""From where on only what has to be there is made."""


def make_example(schema: Mapping[str, Any], *, number: int, topic: str) -> Any:
    """Make a value that fits a schema, as far as one without end can be followed.

    Args:
      schema: The schema.
      number: Chooses among several values.
      topic: What texts are about that the schema says nothing of.
    """
    return _Examples(schema, number, topic or "structured concurrency").of(schema, "", 0)


@final
class _Examples:
    def __init__(self, root: Mapping[str, Any], number: int, topic: str) -> None:
        self._root = root
        self._number = number
        self._topic = topic

    def of(self, schema: Any, name: str, depth: int) -> Any:
        fields = as_object(schema)
        if not fields or depth > _DEEPEST:
            return None
        reference = fields.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            target = as_object(at_path(self._root, *reference.split("/")[1:]))
            beside = {key: value for key, value in fields.items() if key != "$ref"}
            return self.of({**target, **beside}, name, depth + 1)
        if "const" in fields:
            return fields["const"]
        for key in ("enum", "examples"):
            if fields.get(key):
                return fields[key][self._number % len(fields[key])]
        if "default" in fields:
            return fields["default"]
        if fields.get("allOf"):
            return self.of(_merged(fields), name, depth + 1)
        for key in ("anyOf", "oneOf"):
            options = fields.get(key) or ()
            others = [option for option in options if option.get("type") != "null"]
            if len(others) < len(options) and depth >= _DEEP:
                return None
            if options:
                return self.of((others or options)[0], name, depth + 1)
        kind = fields.get("type", "object" if "properties" in fields else "string")
        if isinstance(kind, list):
            kind = next((item for item in as_list(kind) if item != "null"), "null")
        return self._of_kind(str(kind), fields, name, depth)

    def _of_kind(self, kind: str, fields: Mapping[str, Any], name: str, depth: int) -> Any:
        if kind == "object":
            properties: Mapping[str, Any] = fields.get("properties") or {}
            required = fields.get("required")
            names = list(properties) if required is None and depth < _DEEP else required or []
            return {key: self.of(properties.get(key, {}), key, depth + 1) for key in names}
        if kind == "array":
            count = max(0 if depth >= _DEEP else 1, int(fields.get("minItems", 0)))
            return [self.of(fields.get("items", {}), name, depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            return _number(fields, whole=kind == "integer")
        if kind == "boolean":
            return True
        return None if kind == "null" else self._string(fields, name)

    def _string(self, fields: Mapping[str, Any], name: str) -> str:
        known = _FORMATS.get(str(fields.get("format")))
        if known is not None:
            return known
        lowered = name.lower()
        text = next((value for part, value in _STRINGS if part in lowered), self._topic)
        shortest = int(fields.get("minLength", 0))
        return text.ljust(shortest, ".")[: int(fields.get("maxLength", max(shortest, len(text))))]


def _merged(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with those of its ``allOf`` put together."""
    merged: dict[str, Any] = {key: value for key, value in fields.items() if key != "allOf"}
    for part in map(as_object, fields["allOf"]):
        for key, value in part.items():
            if key == "properties":
                merged[key] = {**as_object(merged.get(key)), **as_object(value)}
            elif key == "required":
                merged[key] = [*as_list(merged.get(key)), *as_list(value)]
            else:
                merged.setdefault(key, value)
    return merged


def _number(fields: Mapping[str, Any], *, whole: bool) -> int | float:
    step = fields.get("multipleOf")
    inside = 1 if whole else 0.5
    low: float = fields.get("minimum", fields.get("exclusiveMinimum", -math.inf) + inside)
    high: float = fields.get("maximum", fields.get("exclusiveMaximum", math.inf) - inside)
    value: float = min(max(3, low), high)
    if step:
        value = math.ceil(value / step) * step
        value = value if value <= high else value - step
    return math.ceil(value) if whole else value


_FORMATS = {
    "date": "2026-11-21",
    "time": "09:00:00Z",
    "date-time": "2026-11-21T09:00:00Z",
    "duration": "PT30M",
    "email": "nursery@example.org",
    "hostname": "trio.readthedocs.io",
    "uri": "https://trio.readthedocs.io",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "12345678-1234-4234-8234-123456789abc",
}

_STRINGS = (
    ("city", "Lisbon"),
    ("location", "Lisbon, Portugal"),
    ("country", "Portugal"),
    ("place", "Lisbon"),
    ("date", "2026-11-21"),
    ("time", "09:00"),
    ("url", "https://trio.readthedocs.io"),
    ("path", "README.md"),
    ("file", "README.md"),
    ("unit", "celsius"),
    ("lang", "en"),
    ("email", "nursery@example.org"),
    ("code", "print('hello')"),
    ("command", "echo hello"),
    ("expression", "6 * 7"),
)
