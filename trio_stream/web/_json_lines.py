"""The encoder whose frames are lines of JSON, one for each event.

What belongs here: this protocol. What does not: the JSON of an event (`_event_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from trio_stream._protocol import MessageStartEvent, MessageStopEvent, UnknownEvent

from ._encoder import Frames, RelayedEvent
from ._event_json import data_of, error_data, event_data
from ._failure import Failure
from ._frames import one_line

_HEADERS: Final = {"content-type": "application/x-ndjson; charset=utf-8"}


@final
class JSONLines:
    """Encodes an answer as lines of JSON: the events of the Messages API, and those of runs.

    For ``fromReadableStream`` of the API's TypeScript client, which reads lines and no event stream, and
    for programs that read line by line. An empty line is a heartbeat.

    An answer that failed or was stopped ends with a line that is an ``error`` event; for one that was stopped,
    its type is ``interrupted``.
    """

    __slots__ = ("_in_message",)

    def __init__(self) -> None:
        self._in_message = False  # between message_start and message_stop

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Encoder.headers`."""
        return _HEADERS

    @property
    def numbered(self) -> bool:
        """As `Encoder.numbered`: a line has no place for a number."""
        return False

    @property
    def wants_data(self) -> bool:
        """As `Encoder.wants_data`."""
        return True

    @property
    def heartbeat(self) -> bytes:
        """As `Encoder.heartbeat`: an empty line."""
        return b"\n"

    def start(self) -> Frames:
        """As `Encoder.start`."""
        return ()

    def event(self, event: RelayedEvent, data: bytes | None) -> Frames:
        """As `Encoder.event`."""
        kind = type(event)
        if kind is MessageStartEvent:
            self._in_message = True
        elif kind is MessageStopEvent:
            self._in_message = False
        # What is unknown may be no JSON, or have its type in the line of its name alone.
        if data is None or kind is UnknownEvent:
            data = event_data(event)
        return (one_line(data) + b"\n",)

    def data(self, value: Mapping[str, Any]) -> Frames:
        """As `Encoder.data`."""
        return (data_of(value)[1] + b"\n",)

    def end(self) -> Frames:
        """As `Encoder.end`."""
        return self.abort("The answer ended before the message was complete.") if self._in_message else ()

    def error(self, failure: Failure) -> Frames:
        """As `Encoder.error`."""
        return (error_data(failure.type, failure.message) + b"\n",)

    def abort(self, reason: str) -> Frames:
        """As `Encoder.abort`."""
        return (error_data("interrupted", reason) + b"\n",)

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """As `Encoder.refusal`: the error, in the shape of the API."""
        return "application/json", error_data(failure.type, failure.message)

    def renew(self) -> JSONLines:
        """As `Encoder.renew`."""
        return JSONLines()
