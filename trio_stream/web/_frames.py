"""The frames of event streams, as bytes.

What belongs here: writing one event by section 9.2.6 "Interpreting an event stream" of WHATWG HTML. What does not: what
an event says (the encoders).
"""

from __future__ import annotations

from typing import Final

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
"""The ``content-type`` of an event stream."""

COMMENT: Final = b": \n\n"
"""A frame that clients ignore."""


_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")


def one_line(data: bytes) -> bytes:
    """JSON on one line. Between its tokens a space says the same as a line end, and within them there is none."""
    return data.translate(_LINE_ENDS) if b"\n" in data or b"\r" in data else data


def frame(name: str, data: bytes) -> bytes:
    """One event of an event stream.

    Args:
      name: Its ``event:`` line. "" is none, and clients take such an event for a ``message``.
      data: Its data, which is JSON.
    """
    data = one_line(data)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\n\n" % data
