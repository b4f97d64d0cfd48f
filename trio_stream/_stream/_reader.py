"""Reading one answer: bytes in, wire events decoded and accumulated one at a time.

What belongs here: the only loop over parser, decoder and accumulator, its limits, and what it counts. What does
not: who may read and what a failure means for the stream (`_base`).
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any, final

import trio

from trio_stream._errors import IncompleteStreamError
from trio_stream._http import Limits, ResponseBody
from trio_stream._protocol import (
    ErrorEvent,
    EventStreamParser,
    MessageAccumulator,
    PingEvent,
    RawEvent,
    decode_event,
    error_from_event,
)

from ._clocks import Clocks

_SCHEDULE_EVERY = 0.001
"""Seconds of decoding after which other tasks get their turn, when no read had to wait meanwhile."""

_EVENTS_PER_LOOK = 16
"""Events decoded between two looks at the time: a look costs a tenth of an event."""


@final
class EventReader:
    """The events of one answer, read on demand."""

    __slots__ = (
        "_clocks",
        "_last_read_at",
        "_looks_in",
        "_parser",
        "_pending",
        "_raw_events",
        "_receiving",
        "_scheduled_at",
        "_waited",
        "accumulator",
        "body",
        "bytes",
        "events",
        "first_byte_at",
        "first_event_at",
        "first_text_at",
        "longest_gap",
        "ready",
    )

    def __init__(self, body: ResponseBody, *, clocks: Clocks, limits: Limits, raw_events: bool) -> None:
        self.body = body
        self.ready: deque[Any] = deque()
        self.accumulator = MessageAccumulator(max_message_bytes=limits.message_bytes, max_blocks=limits.blocks)
        self._parser = EventStreamParser(max_event_bytes=limits.event_bytes)
        self._pending: list[RawEvent] = []  # in reverse: the next one is the last
        self._raw_events = raw_events
        self._clocks = clocks
        self._receiving = False
        self._scheduled_at = perf_counter()
        self._looks_in = _EVENTS_PER_LOOK
        self._last_read_at: float | None = None
        self.first_byte_at: float | None = None
        self.first_event_at: float | None = None
        self.first_text_at: float | None = None
        self.longest_gap = 0.0
        self._waited = 0.0  # since the last bytes, without the consumer's own time
        self.events = 0
        self.bytes = 0

    def advance(self) -> bool:
        """Take one event out of what was read: decode it, accumulate it, and make ready what it gives.

        Returns:
          False when everything read so far has been taken: call `read`.

        Raises:
          APIError: The event is an ``error``, or breaks the protocol or a limit.
        """
        if not self._pending:
            failure = self._parser.failure
            if failure is not None:
                raise failure
            return False
        event = decode_event(self._pending.pop())
        if type(event) is PingEvent:
            return True
        if type(event) is ErrorEvent:
            raise error_from_event(event, None)
        delivered = self.accumulator.add(event)
        self.events += 1
        if self._raw_events:
            self.ready.append(event)
        else:
            self.ready.extend(delivered)
        return True

    def wants_schedule_point(self) -> bool:
        """Count one event; whether decoding has gone on for so long that other tasks should run before it."""
        self._looks_in -= 1
        if self._looks_in > 0:
            return False
        self._looks_in = _EVENTS_PER_LOOK
        return perf_counter() - self._scheduled_at >= _SCHEDULE_EVERY

    async def schedule_point(self) -> None:
        """Let other tasks run. A checkpoint: nothing has been taken yet when it is cancelled."""
        await trio.lowlevel.checkpoint()
        self._scheduled_at = perf_counter()

    async def read(self) -> None:
        """Read from the network once.

        Always a schedule point; what arrived stays here when it is cancelled.

        Raises:
          IncompleteStreamError: The body ended.
          APIConnectionError: The connection failed.
          trio.ClosedResourceError: The body was closed, also while this call waited.
          trio.BusyResourceError: Another task is already here.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this stream")
        self.note_firsts()
        data = b""
        self._receiving = True
        began = trio.current_time()
        self._clocks.wait_begins(began)
        try:
            data = await self.body.receive_some()
        finally:
            self._receiving = False
            now = trio.current_time()
            self._clocks.wait_ends(now, with_bytes=bool(data))
            self._waited += now - began
        if not data:
            raise IncompleteStreamError(
                f"the stream ended before message_stop, after {self.events} events and {self.bytes} bytes"
            )
        self._count(len(data), now)
        pending = self._parser.feed(data)
        pending.reverse()
        self._pending = pending
        if self.body.waited:
            self._scheduled_at = perf_counter()
        else:
            await self.schedule_point()

    def _count(self, length: int, now: float) -> None:
        self.bytes += length
        if self._last_read_at is None:
            self.first_byte_at = now
        else:
            self.longest_gap = max(self.longest_gap, self._waited)
        self._waited = 0.0
        self._last_read_at = now

    def note_firsts(self) -> None:
        """Note what the last read brought for the first time; looked at once a read, not once an event."""
        if self.first_event_at is None and self.events:
            self.first_event_at = self._last_read_at
        if self.first_text_at is None and self.accumulator.text_parts:
            self.first_text_at = self._last_read_at
