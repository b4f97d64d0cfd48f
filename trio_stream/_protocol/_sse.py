"""The event-stream parser: bytes to raw events, by section 9.2.6 "Interpreting an event stream" of WHATWG HTML.

What belongs here: lines, fields, dispatch, and the bounds on them. What does not: what the data means (`_decode`).

Where it differs from WHATWG:

* data is bytes, and an event without an ``event:`` line has the type ``""``, not ``"message"``;
* an event whose data is empty is not dispatched, except for ``event: error``: an error must not be lost because it
  says nothing;
* an event that is larger than a limit ends the stream, and so does much that is no event: see
  `EventStreamParser.failure`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, final

from trio_stream._errors import InvalidResponseError

RawEvent: TypeAlias = tuple[str, bytes]
"""The type from the ``event:`` line ("" if there was none), and the ``data:`` lines joined with LF."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = (b"data", b"event", b"id", b"retry")
_LONGEST_FIELD: Final = 5
_MOST_DIGITS: Final = 18  # of a reconnection time. `int` refuses thousands of digits

_COMMENTS: Final = re.compile(rb"^:.*\n", re.MULTILINE)
_BLANK_LINES: Final = re.compile(rb"\n{3,}")

# As numbers: looking for one in bytes raises and catches an exception in C where it is given as bytes, which costs more
# than looking.
_LF: Final = 0x0A
_CR: Final = 0x0D

# Bytes that are parsed at once, so that the memory that parsing needs beside the event is bounded too.
_WINDOW: Final = 256 * 1024

_DELTA: Final = b"event: content_block_delta\ndata: "

# The types of the events of the Messages API, so that the usual name needs no decoding. Any other is decoded.
_TYPES: Final = {
    name.encode(): name
    for name in (
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    )
}
_FIRST_LINES: Final = {b"event: " + name: text for name, text in _TYPES.items()}


@final
class EventStreamParser:
    """Parses an event stream, whose bytes may arrive in pieces of any size.

    An event is complete when its blank line has arrived. For the one with which a stream ends without it, see `end`.

    Work is linear in the bytes fed, wherever they are cut. Between calls only the unfinished event is kept, at most
    ``max_event_bytes``, without its comments and the fields that are to be ignored.

    Args:
      max_event_bytes: The largest event, in bytes of data, an unfinished line included. Comments do not count.
      max_eventless_bytes: How much of anything, comments too, may come without an event. A plain body brings no more of
        it than the network does, but a compressed one swells to a thousand times its size.

    Attributes:
      failure: The error to raise once there was more than the limits allow, or None. Events before that have been
        returned; everything after it is ignored.
      last_event_id: The ``id`` of the last event, or "" if there was none.
      retry: The reconnection time that the server asked for, in milliseconds, or None.
    """

    __slots__ = (
        "_after_cr",
        "_between_events",
        "_data",
        "_eventless_bytes",
        "_head",
        "_id",
        "_ignoring",
        "_line",
        "_line_bytes",
        "_max_event_bytes",
        "_max_eventless_bytes",
        "_pending",
        "_type",
        "failure",
        "last_event_id",
        "retry",
    )

    failure: InvalidResponseError | None
    last_event_id: str
    retry: int | None

    def __init__(
        self, *, max_event_bytes: int = 16 * 1024 * 1024, max_eventless_bytes: int = 272 * 1024 * 1024
    ) -> None:
        self.failure = None
        self.last_event_id = ""
        self.retry = None
        self._max_event_bytes = max_event_bytes
        self._max_eventless_bytes = max_eventless_bytes
        self._head: bytes | None = b""  # the first bytes, while they may be the beginning of a BOM
        self._after_cr = False  # the last byte was a CR: an LF right after it belongs to the same line end
        self._between_events = False  # nothing has come since the last blank line, or the BOM
        self._eventless_bytes = 0  # since the last event
        self._pending = False  # between the first field of an event and its blank line
        self._type = ""
        self._id = ""
        self._data = bytearray()  # "the data buffer": each line with an LF
        self._line = bytearray()  # the beginning of an unfinished line
        self._line_bytes = 0  # its length, which `_line` does not have while the line is being ignored
        # The reason why the unfinished line is not kept: it is going to be ignored. A comment may have any length; an
        # unknown field has the limit of any other field.
        self._ignoring: Literal["", "comment", "field"] = ""

    def feed(self, data: bytes) -> list[RawEvent]:
        """Take the next bytes of the stream.

        Args:
          data: Any number of bytes, cut anywhere.

        Returns:
          The events that these bytes completed.
        """
        if self._between_events:
            # Nearly always: one event in the form in which the API writes it, two lines and a blank one. It costs a few
            # calls of C.
            first_line, _, rest = data.partition(b"\ndata: ")
            payload, _, rest = rest.partition(b"\n")
            if (
                rest == b"\n"
                and first_line in _FIRST_LINES
                and payload
                and _CR not in payload
                and len(data) <= self._max_event_bytes
            ):
                self._eventless_bytes = 0
                return [(_FIRST_LINES[first_line], payload)]
        elif self._head is not None:
            return self._feed_first(self._head + data)
        events: list[RawEvent] = []
        if self.failure is None:
            self._feed(data, events)
            self._bound_eventless(len(data), events)
            self._between_events = not (self._pending or self._line_bytes or self._after_cr or self.failure is not None)
        return events

    def _bound_eventless(self, size: int, events: list[RawEvent]) -> None:
        if events:
            self._eventless_bytes = 0
            return
        self._eventless_bytes += size
        most = self._max_eventless_bytes
        if self._eventless_bytes > most and self.failure is None:
            self.failure = InvalidResponseError(f"event stream: more than {most} bytes without an event")

    def end(self) -> list[RawEvent]:
        """The stream has ended: take the event that it ended with, if that event has no blank line.

        WHATWG: "Once the end of the file is reached, any pending data must be discarded. (If the file ends in the
        middle of an event, before the final empty line, the incomplete event is not dispatched.)" Whoever calls this
        has to look whether the event is whole.
        """
        events: list[RawEvent] = []
        if self._line_bytes:
            self._take_line(b"\n", events)
        if self._pending and self.failure is None:
            self._dispatch(events)
        return events

    def _feed_first(self, data: bytes) -> list[RawEvent]:
        """Take all bytes that have arrived so far, while they may be the beginning of a BOM."""
        # WHATWG: "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any".
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._head = data
            return []
        self._head = None
        self._between_events = True
        return self.feed(data.removeprefix(_BOM))

    def _feed(self, data: bytes, events: list[RawEvent]) -> None:
        if len(data) <= _WINDOW:
            self._feed_window(data, events)
        else:
            for start in range(0, len(data), _WINDOW):
                self._feed_window(data[start : start + _WINDOW], events)

    def _feed_window(self, data: bytes, events: list[RawEvent]) -> None:
        # "Lines must be separated by either a U+000D CARRIAGE RETURN U+000A LINE FEED (CRLF) character pair, a single
        # U+000A LINE FEED (LF) character, or a single U+000D CARRIAGE RETURN (CR) character." From here on: LF.
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._line_bytes:
            end = data.find(b"\n") + 1
            if not end:
                self._hold(data)
                return
            self._take_line(data[:end], events)
            data = data[end:]
        end = data.rfind(b"\n") + 1
        self._take_lines(data[:end], events)
        if end < len(data):
            self._hold(data[end:])

    def _take_lines(self, data: bytes, events: list[RawEvent]) -> None:
        """Take any number of whole lines."""
        start = 0
        while self._pending and start < len(data):  # the rest of an event that began earlier
            end = data.index(b"\n", start) + 1
            if not data.startswith(b":", start):
                self._take_line(data[start:end], events)
            start = end
        data = data[start:]
        taken = self._take_usual_events(data, events)
        if not taken:
            # Comments and blank lines, which keep connections alive, may be in the way. They mean nothing.
            data = _BLANK_LINES.sub(b"\n\n", _COMMENTS.sub(b"", data)).lstrip(b"\n")
            taken = self._take_usual_events(data, events)
        for line in data[taken:].splitlines(keepends=True):
            self._take_line(line, events)

    def _take_usual_events(self, data: bytes, events: list[RawEvent]) -> int:
        """Take events in the form in which the API writes them, ``event: name LF data: json LF LF``, with little work.

        Returns:
          The number of bytes that were taken: all up to the last blank line, or 0 if any event among them has another
          form.
        """
        end = data.rfind(b"\n\n")
        if not 0 < end <= self._max_event_bytes or not data.startswith(b"event: ") or self.failure is not None:
            return 0
        taken = data[: end + 2]
        if data.startswith(_DELTA):
            deltas = self._deltas(taken)
            if deltas:
                events += deltas
                return len(taken)
        usual: list[RawEvent] = []
        for part in taken[7:-2].split(b"\n\nevent: "):
            name, _, payload = part.partition(b"\ndata: ")
            if name not in _TYPES or not payload:
                return 0
            usual.append((_TYPES[name], payload))
        if taken.count(b"\n") != 3 * len(usual):
            return 0
        events += usual
        return len(taken)

    def _deltas(self, data: bytes) -> list[RawEvent]:
        """The events of bytes that hold only deltas, from the first one to a blank line; else none."""
        payloads = data[len(_DELTA) : -2].split(b"\n\n" + _DELTA)
        events = [("content_block_delta", payload) for payload in payloads if payload and _LF not in payload]
        if len(events) != len(payloads) or len(data) > self._max_event_bytes:
            return []  # one of them is not one whole line
        return events

    def _take_line(self, line: bytes, events: list[RawEvent]) -> None:
        """Take one line with its line end, or the rest of the line that is held."""
        if self.failure is not None:
            return
        body = line[:-1]
        length = self._line_bytes + len(body)
        ignoring, self._ignoring = self._ignoring, ""
        self._line_bytes = 0
        if self._line:
            self._line += body
            body = bytes(self._line)
            self._line = bytearray()
        if not length:
            self._dispatch(events)
        # WHATWG: "If the line starts with a U+003A COLON character (:)", "ignore the line".
        elif ignoring == "comment" or (not ignoring and body.startswith(b":")):
            return
        elif self._fits(length) and not ignoring:
            self._take_field(body)

    def _hold(self, piece: bytes) -> None:
        """Keep the beginning of a line, unless the line is going to be ignored."""
        if self.failure is not None:
            return
        if not self._line_bytes and piece.startswith(b":"):
            self._ignoring = "comment"
        self._line_bytes += len(piece)
        if self._ignoring == "comment" or not self._fits(self._line_bytes) or self._ignoring:
            return
        self._line += piece
        if len(self._line) > _LONGEST_FIELD:
            name, _, _ = bytes(self._line[: _LONGEST_FIELD + 1]).partition(b":")
            if name not in _FIELDS:
                self._ignoring = "field"
                self._line = bytearray()

    def _fits(self, line_bytes: int) -> bool:
        """Whether the event is within the limit with a line of this length. If not, the stream has failed."""
        if len(self._data) + line_bytes <= self._max_event_bytes:
            return True
        self.failure = InvalidResponseError(
            f"event too large: more than {self._max_event_bytes} bytes (max_event_bytes)"
        )
        self._data = bytearray()
        self._line = bytearray()
        return False

    def _take_field(self, line: bytes) -> None:
        self._pending = True
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")  # "If value starts with a U+0020 SPACE character, remove it from value."
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._type = _TYPES.get(value) or value.decode("utf-8", "replace")
        elif name == b"id":
            # "If the field value does not contain U+0000 NULL, then set the last event ID buffer".
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _MOST_DIGITS:
            # "If the field value consists of only ASCII digits"
            self.retry = int(value)

    def _dispatch(self, events: list[RawEvent]) -> None:
        self._pending = False
        self.last_event_id = self._id
        event_type, self._type = self._type, ""
        del self._data[-1:]  # "If the data buffer's last character is a U+000A LINE FEED (LF) character, ..."
        if self._data or event_type == "error":
            events.append((event_type, bytes(self._data)))
        self._data = bytearray()
