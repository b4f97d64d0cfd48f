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

from trio_stream.agent._agent_events import AgentEvent, RunEvent
from trio_stream.agent._approval import deny_approvals

MOST_WAITING: Final = 1_000
"""The number of events beyond which reading waits."""


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

    def put(self, event: RunEvent) -> bool:
        """Append an event.

        Returns:
          Whether there are so many by now that reading should `wait_for_room`.
        """
        if self._closed or self._discards:
            deny_approvals(event)
            return False
        self._events.append(event)
        waiting = len(self._events)
        if waiting == 1:  # the reader waits for nothing but the first
            self._reader.unpark()
        return waiting >= MOST_WAITING

    async def wait_for_room(self) -> None:
        """Wait until there is room. A checkpoint if there is none, otherwise nothing."""
        while len(self._events) >= MOST_WAITING:
            await self._writer.park()

    def get_nowait(self) -> RunEvent | None:
        """Take the next event; None if it is time to `wait`."""
        if not self._events:
            return None
        event = self._events.popleft()
        if len(self._events) == MOST_WAITING - 1:  # there is room again
            self._writer.unpark_all()
        return event

    async def wait(self) -> None:
        """Wait until there may be an event. To be called when there was none.

        A checkpoint.

        Raises:
          StopAsyncIteration: There will be no more.
          Exception: With what the queue was closed.
          trio.BusyResourceError: Another task is waiting for an event.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        if self._reader:
            raise trio.BusyResourceError("another task is already waiting for an event of this run")
        await self._reader.park()

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
            deny_approvals(event)
        self._events.clear()
        self._writer.unpark_all()

    def close(self, error: Exception | None) -> None:
        """End the events, with an error if there was one. Those that wait can still be taken."""
        if not self._closed:
            self._closed, self._error = True, error
            self._reader.unpark_all()
            self._writer.unpark_all()
