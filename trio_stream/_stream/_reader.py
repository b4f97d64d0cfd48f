"""Reading one answer: bytes in, wire events decoded and accumulated one at a time.

What belongs here: the only loop over parser, decoder and accumulator, its limits, and what it counts. What does
not: who may read and what a failure means for the stream (`_base`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, cast, final

import trio

from trio_stream._errors import IncompleteStreamError
from trio_stream._http import ResponseBody
from trio_stream._limits import Limits
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
        "_clock",
        "_clocks",
        "_last_read_at",
        "_looks_in",
        "_parser",
        "_pending",
        "_raw_events",
        "_scheduled_at",
        "_woken_at",
        "accumulator",
        "body",
        "bytes",
        "events",
        "first_byte_at",
        "first_event_at",
        "first_text_at",
        "longest_gap",
        "ready",
        "waiting",
        "wants_schedule_point",
    )

    def __init__(self, body: ResponseBody, *, clocks: Clocks, limits: Limits, raw_events: bool) -> None:
        self.body = body
        self.ready: deque[Any] = deque()
        self.accumulator = MessageAccumulator(max_message_bytes=limits.message_bytes, max_blocks=limits.blocks)
        self._parser = EventStreamParser(max_event_bytes=limits.event_bytes)
        self._pending: list[RawEvent] = []  # in reverse: the next one is the last
        self._raw_events = raw_events
        self._clock = trio.lowlevel.current_clock()  # two calls less for every look than `trio.current_time`
        self._clocks = clocks
        self.waiting = False
        self._woken_at: float | None = None  # the end of the last wait, until bytes are taken
        self.wants_schedule_point = False
        self._scheduled_at = perf_counter()
        self._looks_in = _EVENTS_PER_LOOK
        self._last_read_at: float | None = None
        self.first_byte_at: float | None = None
        self.first_event_at: float | None = None
        self.first_text_at: float | None = None
        self.longest_gap = 0.0
        self.events = 0
        self.bytes = 0

    def advance(self) -> bool:
        """Take events out of what has arrived, decode and accumulate them, until there is one to deliver.

        Returns:
          False when it is time to wait; or to let others run, if ``wants_schedule_point`` is set: decoding has gone
          on for long, or there was no need to wait for what is about to be decoded.

        Raises:
          APIError: The event is an ``error``, or breaks the protocol or a limit; or the body ended or failed.
          trio.ClosedResourceError: The body was closed.
          trio.BusyResourceError: Another task is waiting here.
        """
        while True:
            pending = self._pending
            while pending:
                self._looks_in -= 1
                if self._looks_in < 0:
                    self._looks_in = _EVENTS_PER_LOOK
                    if perf_counter() - self._scheduled_at >= _SCHEDULE_EVERY:
                        self.wants_schedule_point = True
                        return False
                event = decode_event(pending.pop())
                kind = type(event)
                if kind is PingEvent:
                    continue
                if kind is ErrorEvent:
                    raise error_from_event(cast("ErrorEvent", event), None)
                delivered = self.accumulator.add(event)
                self.events += 1
                self._clocks.stall_used = 0.0
                if self._raw_events:
                    self.ready.append(event)
                else:
                    self.ready.extend(delivered)
                return True
            if self._parser.failure is not None:
                raise self._parser.failure
            if self.waiting:
                raise trio.BusyResourceError("another task is already receiving from this stream")
            body = self.body
            if body.drained or (data := body.receive_nowait()) is None or not self._take(data):
                return False

    def _take(self, data: bytes) -> bool:
        """Take what has arrived; False if other tasks are to get their turn before it is decoded."""
        if not data:
            raise IncompleteStreamError(
                f"the stream ended before message_stop, after {self.events} events and {self.bytes} bytes"
            )
        if self.first_text_at is None:
            self.note_firsts()
        clocks = self._clocks
        woken_at, self._woken_at = self._woken_at, None
        now = self._clock.current_time() if woken_at is None else woken_at
        if self._last_read_at is None:
            self.first_byte_at = now
        elif clocks.silence_used > self.longest_gap:
            self.longest_gap = clocks.silence_used
        clocks.silence_used = 0.0
        self._last_read_at = now
        self.bytes += len(data)
        self._pending = pending = self._parser.feed(data)
        pending.reverse()
        if woken_at is None:
            self.wants_schedule_point = True
            return False
        return True

    def begin_wait(self) -> Awaitable[None]:
        """What to await when `advance` returned False and no schedule point is wanted; then comes `end_wait`.

        Not a coroutine itself: two frames less for every event. A schedule point; what arrives meanwhile is not taken.

        Raises:
          APIError: The body ended or failed.
          trio.ClosedResourceError: The body was closed, also while this call waited.
        """
        arrival = self.body.wait()
        self.waiting = True
        self._clocks.waiting_since = self._clock.current_time()
        return arrival

    def end_wait(self, *, woken: bool) -> None:
        """Note that what `begin_wait` returned is over: ``woken``, or cancelled."""
        self.waiting = False
        now = self._clock.current_time()
        self._clocks.wait_ends(now)
        if woken:
            self._woken_at = now
            self._scheduled_at = perf_counter()

    async def schedule_point(self) -> None:
        """Let other tasks run, as `wants_schedule_point` says. What arrived stays here when it is cancelled."""
        await trio.lowlevel.checkpoint()
        self.wants_schedule_point = False
        self._scheduled_at = perf_counter()

    def note_firsts(self) -> None:
        """Note what the last read brought for the first time; looked at once a read, not once an event."""
        if self.first_event_at is None and self.events:
            self.first_event_at = self._last_read_at
        if self.first_text_at is None and self.accumulator.text_parts:
            self.first_text_at = self._last_read_at
