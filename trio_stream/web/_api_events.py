"""What the encoders have in common whose frames are the API's own events.

What belongs here: whether a message is whole, and how an answer ends that is not. What does not: how a frame is written
(`_anthropic`, `_json_lines`), and the JSON of an event (`_event_json`).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from trio_stream._protocol import MessageStartEvent, MessageStopEvent

from ._encoder import Frames, RelayedEvent
from ._event_json import data_of, error_data
from ._failure import Failure


class APIEventsEncoder(abc.ABC):
    """The methods of `Encoder`, but for those that say how a frame is written."""

    __slots__ = ("_in_message",)

    def __init__(self) -> None:
        self._in_message = False  # between message_start and message_stop

    @abc.abstractmethod
    def _written(self, name: str, data: bytes) -> bytes:
        """The frame of an event with this name and this JSON."""

    def _follow(self, event: RelayedEvent) -> None:
        """Note whether a message is under way after an event."""
        kind = type(event)
        if kind is MessageStartEvent:
            self._in_message = True
        elif kind is MessageStopEvent:
            self._in_message = False

    @property
    def wants_data(self) -> bool:
        """As `Encoder.wants_data`."""
        return True

    def start(self) -> Frames:
        """As `Encoder.start`."""
        return ()

    def data(self, value: Mapping[str, Any]) -> Frames:
        """As `Encoder.data`: an event whose name is its ``type``."""
        return (self._written(*data_of(value)),)

    def end(self) -> Frames:
        """As `Encoder.end`."""
        return self.abort("The answer ended before the message was complete.") if self._in_message else ()

    def error(self, failure: Failure) -> Frames:
        """As `Encoder.error`."""
        return (self._written("error", error_data(failure.type, failure.message)),)

    def abort(self, reason: str) -> Frames:
        """As `Encoder.abort`."""
        return (self._written("error", error_data("interrupted", reason)),)

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """As `Encoder.refusal`: the API's own errors look like this."""
        return "application/json", error_data(failure.type, failure.message)
