"""How large the parts of a message are, as its limit counts them.

What belongs here: sizes in bytes of what has arrived. What does not: the limit, and what is counted (`_accumulator`).
"""

from __future__ import annotations

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol._values import Extended


def size_of(value: object) -> int:
    """The size of a value as JSON.

    Raises:
      InvalidResponseError: It is nested too deeply for that.
    """
    try:
        return len(msgspec.json.encode(value))
    except RecursionError as error:
        raise InvalidResponseError("invalid event: nested too deeply") from error


def extra_size(value: Extended) -> int:
    """The size of the fields of a value that are unknown. Nearly always there are none."""
    return size_of(value.extra) if value.extra else 0


def utf8_length(text: str) -> int:
    """The size of a text."""
    return len(text) if text.isascii() else len(text.encode())
