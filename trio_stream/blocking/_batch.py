"""What one look at a stream has found: events in order, and what the message was at each of them.

What belongs here: taking what is ready, and answering for an earlier event than the last. What does not: waiting
(`_feed`), and who takes the events (`_reading`).

The loop reads ahead of the program, by the events that were ready together. The program must not notice: when it looks
at ``stream.text`` between two of them, it finds the text up to there. So a batch keeps the message of its beginning,
and adds to a copy of that what the program has taken.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar, cast, final

import trio

from trio_stream._protocol import HELPER_EVENTS, MessageAccumulator
from trio_stream.types import (
    ContentBlockStopEvent,
    MessageStopEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    TextBlock,
)

EventT = TypeVar("EventT")

MOST_EVENTS: Final = 256
"""How many events are handed over at once at the most: half a millisecond, in which the loop does nothing else."""

HELPERS: Final = frozenset(HELPER_EVENTS.values())
"""The kinds of events that are made of a delta, which comes before each of them."""


@final
class Batch(Generic[EventT]):
    """Events that were ready together. It does not change, but for who has taken how much of it.

    Args:
      events: The events.
      end: What comes after them, if it is known.
      base: The message as of the event before ``base_at``; None if nothing changes it from the first event on.
      base_at: The place of an event.
      before: How many pieces of text, and of thinking, there were before the first event.
      places: The places of the events that have brought further ones: one for each piece of text, and of thinking.

    Attributes:
      ready: The events that nobody has taken yet. ``for event in batch.ready: return event`` takes one in a single
        step: neither an interrupt nor another thread comes in between.
      end: What comes after them: `trio.EndOfChannel`, or the error; None if that is not known.
      before: See above, and so is ``places``.
    """

    __slots__ = ("_base", "_base_at", "_events", "before", "end", "places", "ready")

    def __init__(
        self,
        events: list[EventT],
        end: BaseException | None = None,
        *,
        base: MessageAccumulator | None = None,
        base_at: int = 0,
        before: tuple[int, int] = (0, 0),
        places: tuple[list[int], list[int]] = ([], []),
    ) -> None:
        self._events = events
        self._base = base
        self._base_at = base_at
        self.ready: Iterator[EventT] = iter(events)
        self.end: BaseException | None = end
        self.before: tuple[int, int] = before
        self.places: tuple[list[int], list[int]] = places

    @property
    def left(self) -> int:
        """How many of its events nobody has taken yet."""
        return operator.length_hint(self.ready)

    def take_all(self) -> None:
        """Take all of its events."""
        cast("Any", self.ready).__setstate__(len(self._events))

    def take_to(self, place: int) -> None:
        """Take the event at that place, with what was made of it, and those before."""
        place += 1
        if place < len(self._events) and type(self._events[place]) in HELPERS:
            place += 1
        if len(self._events) - self.left < place:
            cast("Any", self.ready).__setstate__(place)

    def message(self) -> MessageAccumulator | None:
        """The message as of the last event that was taken; None if it is the message as of the last event of all."""
        left = self.left
        if self._base is None or not left:
            return None
        message = self._base.fork()
        for event in self._events[self._base_at : len(self._events) - left]:
            if type(event) not in HELPERS:
                message.add(_as_wire_event(event))
        return message


@final
class Taker(Generic[EventT]):
    """Takes what is ready of one stream, in the thread of the loop.

    Args:
      receive_nowait: Of the stream.
      of_message: Whether what it gives are the events of a message.

    Attributes:
      message: The message as of the last event of all batches.
    """

    __slots__ = ("_of_message", "_receive_nowait", "message")

    def __init__(self, receive_nowait: Callable[[], EventT], *, of_message: bool) -> None:
        self._receive_nowait = receive_nowait
        self._of_message = of_message
        # The stream has one too, which is its own; it has kept the limits of messages.
        self.message: MessageAccumulator = MessageAccumulator(max_message_bytes=1 << 62, max_blocks=1 << 62)

    def take(self, first: EventT | None = None) -> Batch[EventT]:
        """Take what is ready now.

        Args:
          first: An event that was received before.
        """
        events: list[EventT] = []
        places: tuple[list[int], list[int]] = ([], [])
        base: MessageAccumulator | None = None
        base_at = 0
        end: BaseException | None = None
        texts, thinkings = self.message.text_parts, self.message.thinking_parts
        before = len(texts), len(thinkings)
        receive_nowait = self._receive_nowait
        try:
            event = receive_nowait() if first is None else first
            while True:
                if self._of_message and type(event) not in HELPERS:
                    if events and base is None:
                        base, base_at = self.message.fork(), len(events)
                    known, thoughts = len(texts), len(thinkings)
                    self._add(event)
                    if len(texts) != known:
                        places[0].extend([len(events)] * (len(texts) - known))
                    if len(thinkings) != thoughts:
                        places[1].extend([len(events)] * (len(thinkings) - thoughts))
                events.append(event)
                if len(events) >= MOST_EVENTS:
                    break
                event = receive_nowait()
        except trio.WouldBlock:
            pass
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the thread that reads, after these events
            end = error
        return Batch(events, end, base=base, base_at=base_at, before=before, places=places)

    def ended(self, end: BaseException) -> Batch[EventT]:
        """The batch after the last event."""
        return Batch([], end, before=(len(self.message.text_parts), len(self.message.thinking_parts)))

    def _add(self, event: Any) -> None:
        added = self.message.add(_as_wire_event(event))
        if type(event) is ContentBlockStopEvent and added and isinstance(added[0], ContentBlockStopEvent):
            whole, ours = event.content_block, added[0].content_block
            if isinstance(whole, TextBlock) and isinstance(ours, TextBlock) and len(whole.text) > len(ours.text):
                # It ended with half of a character, which no event has, and the stream has put U+FFFD in its place.
                self.message.text_parts.append(whole.text[len(ours.text) :])


def _as_wire_event(event: Any) -> RawMessageStreamEvent:
    """The event of the wire that an event of a stream was made of."""
    if type(event) is ContentBlockStopEvent:
        return RawContentBlockStopEvent(event.index, extra=event.extra)
    if type(event) is MessageStopEvent:
        return RawMessageStopEvent(extra=event.extra)
    return cast("RawMessageStreamEvent", event)
