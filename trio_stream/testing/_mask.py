"""Hiding what an answer says, while keeping its shape: letters become ``x``, digits ``0``.

What belongs here: which text is hidden, and JSON that stays JSON. What does not: when (`_record`).

Looking for secrets by pattern misses those that are split over several deltas, so all text is masked that is not part
of the protocol. Text keeps its length in characters, and the input of a tool remains valid JSON.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, final

import msgspec

from trio_stream.testing._json import as_object, is_list, is_object
from trio_stream.testing._recording import Arrival

_OF_THE_PROTOCOL = frozenset(
    {
        *("type", "id", "role", "model", "stop_reason", "service_tier", "speed", "inference_geo", "error_code"),
        *("tool_use_id", "tool_id", "request_id", "server_name", "custom_id", "processing_status", "media_type"),
    }
)
"""The keys whose text says nothing about prompts or answers. A ``name`` is among them in a use of a tool alone."""


@final
class MaskedBody:
    """Masks the body of one answer as it arrives.

    What is masked at once is a unit: an event, a line of JSON Lines, or the whole of any other body. So arrivals are
    kept until the units are whole that they are part of.

    Args:
      content_type: The answer's content type.
    """

    def __init__(self, content_type: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self._is_events = kind == "text/event-stream"
        self._unit_end = _UNIT_ENDS.get(kind)
        self._arrivals: list[tuple[float, int]] = []  # when, and where each ends in `_kept`
        self._kept = b""  # what has arrived of units that are not whole
        self._masked = b""  # what is masked of the first of `_arrivals`
        self._inputs: dict[Any, _InputMask] = {}

    def feed(self, arrival: Arrival) -> list[Arrival]:
        """Take an arrival in, and give out those that are masked to their end."""
        self._kept += arrival.data
        self._arrivals.append((arrival.at, len(self._kept)))
        ready: list[Arrival] = []
        if self._unit_end is not None:
            while (end := self._unit_end.search(self._kept)) is not None:
                ready += self._mask(end.end())
        return ready

    def finish(self) -> list[Arrival]:
        """Give out what is left, at the end of the answer."""
        return self._mask(len(self._kept)) if self._arrivals else []

    def _mask(self, size: int) -> list[Arrival]:
        unit, self._kept = self._kept[:size], self._kept[size:]
        masked = self._mask_event(unit) if self._is_events else self._mask_json(unit)
        ready: list[Arrival] = []
        given = 0
        while self._arrivals and self._arrivals[0][1] <= size:
            at, end = self._arrivals.pop(0)
            # Masking may change a unit's length in bytes. What arrived in pieces is cut at about the same places.
            until = len(masked) if end == size else min(end, len(masked))
            ready.append(Arrival(at, self._masked + masked[given:until]))
            self._masked, given = b"", until
        self._masked += masked[given:]
        self._arrivals = [(at, end - size) for at, end in self._arrivals]
        return [arrival for arrival in ready if arrival.data]

    def _mask_event(self, unit: bytes) -> bytes:
        lines = re.split(rb"(\r\n|\n|\r)", unit)
        data = b"\n".join(_field_value(line) for line in lines if line.startswith(b"data:"))
        masked = self._mask_json(data)
        parts: list[bytes] = []
        data_written = False
        for line in lines:
            if not line.startswith(b"data:"):
                parts.append(line if line.startswith((b"event:", b"retry:")) else _mask_bytes(line))
            elif not data_written:
                data_written = True
                parts.append(b"data: " + masked.replace(b"\n", b"\ndata: "))
        return b"".join(parts)

    def _mask_json(self, data: bytes) -> bytes:
        try:
            value: object = msgspec.json.decode(data)
            masked = msgspec.json.encode(self._mask_delta(value) or _mask_value(value))
        except (ValueError, RecursionError):
            return _mask_bytes(data)
        return masked + data[len(data.rstrip(b"\r\n")) :]  # with the line's own ending

    def _mask_delta(self, value: object) -> dict[str, Any] | None:
        """A delta of the input of a tool, whose place in the input's JSON depends on those before; None for others."""
        fields = as_object(value)
        delta = as_object(fields.get("delta"))
        piece = delta.get("partial_json")
        if not isinstance(piece, str):
            return None
        mask = self._inputs.setdefault(fields.get("index"), _InputMask())
        return {**_mask_value(fields), "delta": {**_mask_value(delta), "partial_json": mask.feed(piece)}}


_UNIT_ENDS = {
    "text/event-stream": re.compile(rb"\r\n\r\n|\n\n|\r\r"),
    "application/x-jsonl": re.compile(rb"\n"),
    "application/x-jsonlines": re.compile(rb"\n"),
}


def _field_value(line: bytes) -> bytes:
    return line[len(b"data:") :].removeprefix(b" ")


def _mask_value(value: Any, key: str = "", *, in_input: bool = False) -> Any:
    if isinstance(value, str):
        return value if key in _OF_THE_PROTOCOL and not in_input else mask_text(value)
    if is_list(value):
        return [_mask_value(item, key, in_input=in_input) for item in value]
    if is_object(value):
        names_tool = not in_input and str(value.get("type")).endswith("tool_use")
        return {
            (mask_text(name) if in_input else name): item
            if name == "name" and names_tool and isinstance(item, str)
            else _mask_value(item, name, in_input=in_input or name == "input")
            for name, item in value.items()
        }
    # Figures are what a recording is looked at for; in the input of a tool they are what the model said.
    return 0 if in_input and isinstance(value, int | float) and not isinstance(value, bool) else value


def mask_text(text: str) -> str:
    """Letters become ``x``, digits ``0``; the rest says how the text is built."""
    return "".join(map(_mask_character, text))


def _mask_character(character: str) -> str:
    return "x" if character.isalpha() else "0" if character.isalnum() else character


def _mask_bytes(data: bytes) -> bytes:
    return re.sub(rb"[0-9]", b"0", re.sub(rb"[A-Za-z\x80-\xff]", b"x", data))


class _Place(Enum):
    """Where in the text of a JSON value the next character stands."""

    OUTSIDE = "outside strings"
    INSIDE = "inside a string"
    ESCAPED = "after a backslash"
    HEX = "among the four digits after a backslash and a u"


@final
class _InputMask:
    """Masks the input of a tool, JSON that comes in pieces which may end anywhere."""

    def __init__(self) -> None:
        self._place = _Place.OUTSIDE
        self._digits_left = ""

    def feed(self, piece: str) -> str:
        """Mask the next piece."""
        return "".join(map(self._mask, piece))

    def _mask(self, character: str) -> str:
        match self._place:
            case _Place.OUTSIDE:
                if character == '"':
                    self._place = _Place.INSIDE
                return "1" if character.isdigit() else character  # not 0: no number of two digits begins with it
            case _Place.INSIDE:
                if character == "\\":
                    self._place = _Place.ESCAPED
                elif character == '"':
                    self._place = _Place.OUTSIDE
                return _mask_character(character)
            case _Place.ESCAPED:
                self._place = _Place.HEX if character == "u" else _Place.INSIDE
                self._digits_left = "0078"  # an x
                return character
            case _:  # HEX
                masked, self._digits_left = self._digits_left[:1], self._digits_left[1:]
                if not self._digits_left:
                    self._place = _Place.INSIDE
                return masked
