"""JSON to Python values, tolerant of the escapes that the API writes.

What belongs here: decoding. What does not: checking types (`_values`), and JSON that is cut (`_partial_json`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

JSON_ERRORS = (ValueError, RecursionError)
"""The exceptions that decoding raises. `msgspec.DecodeError` and `UnicodeDecodeError` are ValueErrors, and JSON that is
nested too deeply is a RecursionError."""

_MOST_DIGITS: Final = 4000  # of a number; Python refuses to make an int of 4300

_decode_any: Callable[[bytes], Any] = msgspec.json.Decoder().decode

# Every escape is one match, so that the backslash of `\\ud800` (an escaped backslash, then text) is never
# taken for the start of a surrogate.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def decode_json(data: bytes) -> Any:
    """Decode JSON.

    An escaped surrogate without its other half becomes U+FFFD: a str that holds one cannot be encoded, printed
    or sent.

    Raises:
      ValueError, RecursionError: it is not JSON (see `JSON_ERRORS`).
    """
    return decode_with(_decode_any, data)


def decode_any_number(data: bytes) -> Any:
    """Decode JSON as `decode_json` does, but a number that Python has no value for becomes its text.

    Raises:
      ValueError, RecursionError: it is not JSON (see `JSON_ERRORS`).
    """
    try:
        return _decode_any(data)
    except msgspec.DecodeError:
        pass  # nearly always it is JSON as msgspec reads it
    try:
        return decode_json(data)
    except msgspec.ValidationError:
        repaired = _ESCAPE.sub(_replace_surrogate, data)
        return json.loads(repaired, parse_int=_int, parse_float=_float, parse_constant=_refuse)


def decode_with(decode: Callable[[bytes], T], data: bytes) -> T:
    """Decode JSON with a decoder of msgspec, with surrogates repaired as `decode_json` does."""
    try:
        return decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        repaired = _ESCAPE.sub(_replace_surrogate, data)
        if repaired == data:
            raise
        return decode(repaired)


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _replace_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
