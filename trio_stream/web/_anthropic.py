"""The encoder whose frames are the events of the Messages API, as the API's own clients read them.

What belongs here: handing events on, and how this protocol says that an answer failed or was stopped. What does not:
the JSON of an event (`_event_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from trio_stream._protocol import MessageStartEvent, MessageStopEvent, UnknownEvent

from ._encoder import Frames, RelayedEvent
from ._event_json import data_of, error_data, event_data
from ._failure import Failure
from ._frames import EVENT_STREAM, frame

_HEADERS: Final = {"content-type": EVENT_STREAM}
_PING: Final = frame("ping", b'{"type": "ping"}')


@final
class Anthropic:
    """Encodes an answer as the Messages API streams it.

    For pages that use the API's own TypeScript client, with its ``baseURL`` set to this server, and for any other
    client of the API. The events go out as they came, byte for byte, so nothing that this version does not know is
    lost.

    An answer that was stopped ends with an ``error`` event of the type ``interrupted``. The events of runs go out under
    their own names, which the API's clients ignore. These clients take one message in one response.
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
        """As `Encoder.numbered`."""
        return True

    @property
    def wants_data(self) -> bool:
        """As `Encoder.wants_data`."""
        return True

    @property
    def heartbeat(self) -> bytes:
        """As `Encoder.heartbeat`: the ``ping`` of the API."""
        return _PING

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
        if data is None:
            data = event_data(event)
        # The type of an unknown event may be anything that is JSON.
        name = event.type if kind is not UnknownEvent else "".join(filter(str.isprintable, event.type))
        return (frame(name, data),)

    def data(self, value: Mapping[str, Any]) -> Frames:
        """As `Encoder.data`: an event whose name is its ``type``."""
        name, data = data_of(value)
        return (frame(name, data),)

    def end(self) -> Frames:
        """As `Encoder.end`."""
        return self.abort("The answer ended before the message was complete.") if self._in_message else ()

    def error(self, failure: Failure) -> Frames:
        """As `Encoder.error`."""
        return (frame("error", error_data(failure.type, failure.message)),)

    def abort(self, reason: str) -> Frames:
        """As `Encoder.abort`."""
        return (frame("error", error_data("interrupted", reason)),)

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """As `Encoder.refusal`: the API's own errors look like this."""
        return "application/json", error_data(failure.type, failure.message)

    def renew(self) -> Anthropic:
        """As `Encoder.renew`."""
        return Anthropic()
