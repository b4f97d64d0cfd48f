"""JSON to Python values, tolerant of the escapes that the API writes.

What belongs here: decoding. What does not: checking types (`_values`), and JSON that is cut (`_partial_json`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

JSON_ERRORS = (ValueError, RecursionError)
"""The exceptions that decoding raises. `msgspec.DecodeError` and `UnicodeDecodeError` are ValueErrors, and JSON that is
nested too deeply is a RecursionError."""

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


def _replace_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
