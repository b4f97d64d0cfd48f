"""Reading one answer: bytes in, wire events decoded and accumulated one at a time.

What belongs here: the only loop over parser, decoder and accumulator, its limits, and what it counts. What does
not: who may read and what a failure means for the stream (`_base`).
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any, cast, final

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
        "_wants_schedule_point",
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
        self._wants_schedule_point = False
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
        """Take events out of what was read, decode and accumulate them, until there is one to deliver.

        Returns:
          False when `go_on` is to be called first.

        Raises:
          APIError: The event is an ``error``, or breaks the protocol or a limit.
        """
        pending = self._pending
        while pending:
            self._looks_in -= 1
            if self._looks_in < 0:
                self._looks_in = _EVENTS_PER_LOOK
                if perf_counter() - self._scheduled_at >= _SCHEDULE_EVERY:
                    self._wants_schedule_point = True
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
        return False

    async def go_on(self) -> None:
        """Read from the network once; or just let other tasks run, if decoding has gone on for long.

        Always a schedule point; what arrived stays here when it is cancelled.

        Raises:
          IncompleteStreamError: The body ended.
          APIConnectionError: The connection failed.
          trio.ClosedResourceError: The body was closed, also while this call waited.
          trio.BusyResourceError: Another task is already here.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this stream")
        if self._wants_schedule_point:
            await self._schedule_point()
            return
        if self.first_text_at is None:
            self.note_firsts()
        clocks = self._clocks
        data = b""
        self._receiving = True
        clocks.waiting_since = trio.current_time()
        try:
            data = await self.body.receive_some()
        finally:
            self._receiving = False
            now = trio.current_time()
            waited = clocks.wait_ends(now, with_bytes=bool(data))
        if not data:
            raise IncompleteStreamError(
                f"the stream ended before message_stop, after {self.events} events and {self.bytes} bytes"
            )
        self.bytes += len(data)
        if self._last_read_at is None:
            self.first_byte_at = now
        elif waited > self.longest_gap:
            self.longest_gap = waited
        self._last_read_at = now
        self._pending = pending = self._parser.feed(data)
        pending.reverse()
        if self.body.waited:
            self._scheduled_at = perf_counter()
        else:
            await self._schedule_point()

    async def _schedule_point(self) -> None:
        await trio.lowlevel.checkpoint()
        self._wants_schedule_point = False
        self._scheduled_at = perf_counter()

    def note_firsts(self) -> None:
        """Note what the last read brought for the first time; looked at once a read, not once an event."""
        if self.first_event_at is None and self.events:
            self.first_event_at = self._last_read_at
        if self.first_text_at is None and self.accumulator.text_parts:
            self.first_text_at = self._last_read_at
