"""Timings and counts of one stream.

What belongs here: the frozen value that outlives the stream. What does not: measuring it (`_stream`).
"""

from __future__ import annotations

import msgspec


class StreamStats(msgspec.Struct, frozen=True, kw_only=True):
    """Timings and counts of one stream, as of the moment it was asked for.

    Times are seconds since the request that was answered began, its connection included and earlier attempts
    excluded, and so is the wait for the client's limiter. None: it has not happened.

    Args:
      time_to_first_byte: Until the first byte of the answer's body.
      time_to_first_event: Until the first event other than ``ping``.
      time_to_first_text: Until the first text of the message.
      longest_gap: The longest wait for more bytes after the first ones, in seconds.
      events: Wire events received, ``ping`` excluded.
      bytes: Bytes of the answer's body received.
      attempts: Requests made for this stream, retries included.
      waited_for_limit: Seconds that all attempts together have waited for the client's limiter.
    """

    time_to_first_byte: float | None = None
    time_to_first_event: float | None = None
    time_to_first_text: float | None = None
    longest_gap: float = 0.0
    events: int = 0
    bytes: int = 0
    attempts: int = 0
    waited_for_limit: float = 0.0
