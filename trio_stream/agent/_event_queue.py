"""The events of a run on their way from its tasks to its reader.

What belongs here: keeping them in order, waiting for them, and where nobody reads them. What does not: what an event
says (`_agent_events`).

It is bounded by its writers: whoever reads a stream asks `wait_for_room` before it goes on. A single event is always
taken, so that a tool never waits for the reader of the run.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

import trio
from trio.lowlevel import checkpoint_if_cancelled

from trio_stream.agent._agent_events import AgentEvent, ApprovalEvent, NestedEvent, RunEvent

MOST_WAITING: Final = 1_000
"""The number of events beyond which reading waits."""

_NOBODY: Final = "it needs approval, and nobody is there to give it"


@final
class EventQueue:
    """A first-in, first-out queue of events with one reader."""

    __slots__ = ("_closed", "_discards", "_error", "_events", "_reader", "_writer")

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._reader = trio.lowlevel.ParkingLot()  # waits for an event
        self._writer = trio.lowlevel.ParkingLot()  # waits for room
        self._closed = False
        self._error: Exception | None = None
        self._discards = False

    @property
    def full(self) -> bool:
        """Whether reading should wait."""
        return len(self._events) >= MOST_WAITING

    def put(self, event: RunEvent) -> None:
        """Append an event."""
        if self._closed or self._discards:
            _tell_nobody(event)
            return
        self._events.append(event)
        if self._reader:
            self._reader.unpark()

    async def wait_for_room(self) -> None:
        """Wait until there is room. A checkpoint if there is none, otherwise nothing."""
        while self.full:
            await self._writer.park()

    async def get(self) -> RunEvent:
        """Take the next event. A cancellation point; if it is cancelled no event is lost.

        Raises:
          StopAsyncIteration: There will be no more.
          Exception: With what the queue was closed, after the events before.
          trio.BusyResourceError: Another task is waiting for an event.
        """
        await checkpoint_if_cancelled()
        events = self._events
        while not events:
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._reader:
                raise trio.BusyResourceError("another task is already waiting for an event of this run")
            await self._reader.park()
        event = events.popleft()
        if self._writer and len(events) < MOST_WAITING:
            self._writer.unpark_all()
        return event

    def drop_stream_events(self) -> None:
        """Drop the events of streams that nobody has taken yet. Those of turns and tools stay."""
        kept = [event for event in self._events if isinstance(event, AgentEvent)]
        self._events.clear()
        self._events.extend(kept)
        self._writer.unpark_all()

    def discard(self) -> None:
        """Drop all events, now and later. Questions that need an answer get one: no."""
        self._discards = True
        for event in self._events:
            _tell_nobody(event)
        self._events.clear()
        self._writer.unpark_all()

    def close(self, error: Exception | None) -> None:
        """End the events, with an error if there was one. Those that wait can still be taken."""
        if not self._closed:
            self._closed, self._error = True, error
            self._reader.unpark_all()
            self._writer.unpark_all()


def _tell_nobody(event: RunEvent) -> None:
    """Answer an event that nobody will read, if it waits for an answer."""
    while isinstance(event, NestedEvent):
        event = event.event
    if isinstance(event, ApprovalEvent):
        event.deny(_NOBODY)
