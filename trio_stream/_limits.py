"""How large an answer may be.

What belongs here: the bounds and their defaults. What does not: enforcing them; each layer enforces its own.
"""

from __future__ import annotations

import msgspec

KIB = 1024
MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer may cost this program. Whatever goes beyond ends with `InvalidResponseError`.

    Args:
      event_bytes: One event of the event stream.
      message_bytes: One whole message, all its events together; also comments and the like between two events, and one
        line of a batch's results.
      blocks: Content blocks in one message.
      header_bytes: The head of an answer; also any other stretch of the wire without a byte of the body
        (trailers, chunk extensions).
      interim_answers: 1xx answers before the final one.
      error_body_bytes: How much of an error's body is read.
    """

    event_bytes: int = 16 * MIB
    message_bytes: int = 256 * MIB
    blocks: int = 10_000
    header_bytes: int = 64 * KIB
    interim_answers: int = 32
    error_body_bytes: int = 1 * MIB

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Limits.{name} must be a whole number from 1 on, not {value!r}")
