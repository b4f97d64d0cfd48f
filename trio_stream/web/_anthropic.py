"""The encoder whose frames are the events of the Messages API, as the API's own clients read them.

What belongs here: handing events on, and how this protocol says that an answer failed or was stopped. What does not:
the JSON of an event (`_event_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from trio_stream._protocol import UnknownEvent

from ._api_events import APIEventsEncoder
from ._encoder import Frames, RelayedEvent
from ._event_json import event_data
from ._frames import EVENT_STREAM, frame

_HEADERS: Final = {"content-type": EVENT_STREAM}
_PING: Final = frame("ping", b'{"type": "ping"}')


@final
class Anthropic(APIEventsEncoder):
    """Encodes an answer as the Messages API streams it.

    For pages that use the API's own TypeScript client, with its ``baseURL`` set to this server, and for any other
    client of the API. The events go out as they came, byte for byte, so nothing that this version does not know is
    lost.

    An answer that was stopped ends with an ``error`` event of the type ``interrupted``. The events of runs go out under
    their own names, which the API's clients ignore. These clients take one message in one response.
    """

    __slots__ = ()

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Encoder.headers`."""
        return _HEADERS

    @property
    def numbered(self) -> bool:
        """As `Encoder.numbered`."""
        return True

    @property
    def heartbeat(self) -> bytes:
        """As `Encoder.heartbeat`: the ``ping`` of the API."""
        return _PING

    def event(self, event: RelayedEvent, data: bytes | None) -> Frames:
        """As `Encoder.event`."""
        self._follow(event)
        if data is None:
            data = event_data(event)
        # The type of an unknown event may be anything that is JSON.
        name = "".join(filter(str.isprintable, event.type)) if type(event) is UnknownEvent else event.type
        return (self._written(name, data),)

    def _written(self, name: str, data: bytes) -> bytes:
        return frame(name, data)

    def renew(self) -> Anthropic:
        """As `Encoder.renew`."""
        return Anthropic()
