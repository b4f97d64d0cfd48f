"""The encoder whose frames are lines of JSON, one for each event.

What belongs here: this protocol. What does not: the JSON of an event (`_event_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from trio_stream._protocol import UnknownEvent

from ._api_events import APIEventsEncoder
from ._encoder import Frames, RelayedEvent
from ._event_json import event_data
from ._frames import one_line

_HEADERS: Final = {"content-type": "application/x-ndjson; charset=utf-8"}


@final
class JSONLines(APIEventsEncoder):
    """Encodes an answer as lines of JSON: the events of the Messages API, and those of runs.

    For ``fromReadableStream`` of the API's TypeScript client, which reads lines and no event stream, and
    for programs that read line by line. An empty line is a heartbeat.

    An answer that failed or was stopped ends with a line that is an ``error`` event; for one that was stopped,
    its type is ``interrupted``.
    """

    __slots__ = ()

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Encoder.headers`."""
        return _HEADERS

    @property
    def numbered(self) -> bool:
        """As `Encoder.numbered`: a line has no place for a number."""
        return False

    @property
    def heartbeat(self) -> bytes:
        """As `Encoder.heartbeat`: an empty line."""
        return b"\n"

    def event(self, event: RelayedEvent, data: bytes | None) -> Frames:
        """As `Encoder.event`."""
        self._follow(event)
        # What is unknown may be no JSON, or have its type in the line of its name alone.
        if data is None or type(event) is UnknownEvent:
            data = event_data(event)
        return (self._written(event.type, one_line(data)),)

    def _written(self, name: str, data: bytes) -> bytes:  # noqa: ARG002 - it is in the data too
        return data + b"\n"

    def renew(self) -> JSONLines:
        """As `Encoder.renew`."""
        return JSONLines()
