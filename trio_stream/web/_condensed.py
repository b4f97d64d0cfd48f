"""Everything that an answer has said, in the shortest form that says the same.

What belongs here: what can be joined of the events of an answer, and saying them again to another encoder. What does
not: frames and their numbers (`_run_log`).

The work for an event does not depend on what came before: pieces of text are joined when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, final

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol import (
    TEXT_FIELDS,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Message,
    MessageAccumulator,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    UnknownEvent,
)

from ._encoder import Encoder, RelayedEvent


@final
class _Deltas:
    """The deltas of a block that came one after the other and can be joined to one."""

    __slots__ = ("event", "field", "pieces")

    def __init__(self, event: ContentBlockDeltaEvent, field: str) -> None:
        self.event = event  # the first of them
        self.field = field
        self.pieces: list[str] = [getattr(event.delta, field)]

    def joined(self) -> ContentBlockDeltaEvent:
        text = "".join(self.pieces)
        return ContentBlockDeltaEvent(self.event.index, msgspec.structs.replace(self.event.delta, **{self.field: text}))


_Item: TypeAlias = RelayedEvent | _Deltas | Mapping[str, Any]
"""What was said: an event, deltas that are joined, or something that the program has said itself."""


@final
class Condensed:
    """What an answer has said."""

    __slots__ = ("_items", "_open")

    def __init__(self) -> None:
        self._items: list[tuple[_Item, bytes | None]] = []  # with the data that the API sent, if it was kept
        # The last deltas of each block, to which the next one may be joined. Blocks may overlap, and what tools say
        # comes in between: it does not matter that a text is then told in front of it.
        self._open: dict[int, _Deltas] = {}

    def add(self, event: RelayedEvent, data: bytes | None = None) -> None:
        """Add an event, with its data as the API sent it, if that was kept."""
        if type(event) is ContentBlockDeltaEvent:
            delta = event.delta
            field = TEXT_FIELDS.get(type(delta))
            deltas = self._open.get(event.index)
            # What this version does not know stays as it came.
            if field is None or delta.extra:  # type: ignore[union-attr]
                self._open.pop(event.index, None)
            elif deltas is not None and type(deltas.event.delta) is type(delta):
                deltas.pieces.append(getattr(delta, field))
                return
            else:
                self._open[event.index] = deltas = _Deltas(event, field)
                self._items.append((deltas, None))
                return
        elif type(event) is MessageStartEvent:
            self._open.clear()
        elif type(event) is ContentBlockStopEvent:
            self._open.pop(event.index, None)
        self._items.append((event, data))

    def add_data(self, value: Mapping[str, Any]) -> None:
        """Add something that the program said itself."""
        self._items.append((value, None))

    def frames(self, encoder: Encoder) -> list[bytes]:
        """Say all of it to an encoder that has said nothing yet, and return its frames."""
        frames = [*encoder.start()]
        for item, data in self._items:
            if isinstance(item, _Deltas):
                frames += encoder.event(item.joined(), None)
            elif isinstance(item, Mapping):
                frames += encoder.data(item)
            else:
                frames += encoder.event(item, data)
        return frames

    def messages(self) -> list[Message]:
        """The messages in it, each as far as it came."""
        found: list[Message] = []
        accumulator: MessageAccumulator | None = None
        for event in self._events_of_messages():
            if isinstance(event, MessageStartEvent):
                _keep(accumulator, found)
                accumulator = MessageAccumulator()
            if accumulator is not None:
                try:
                    accumulator.add(event)
                except InvalidResponseError:  # the program has said events that do not fit
                    _keep(accumulator, found)
                    accumulator = None
        _keep(accumulator, found)
        return found

    def _events_of_messages(self) -> Iterator[RawMessageStreamEvent]:
        for item, _ in self._items:
            match item:
                case _Deltas():
                    yield item.joined()
                case ContentBlockStopEvent():
                    yield RawContentBlockStopEvent(item.index, extra=item.extra)
                case MessageStopEvent():
                    yield RawMessageStopEvent(extra=item.extra)
                case (
                    MessageStartEvent()
                    | ContentBlockStartEvent()
                    | ContentBlockDeltaEvent()
                    | MessageDeltaEvent()
                    | UnknownEvent()
                ):
                    yield item
                case _:
                    pass


def _keep(accumulator: MessageAccumulator | None, found: list[Message]) -> None:
    message = None if accumulator is None else accumulator.snapshot()
    if message is not None:
        found.append(message)
