"""Reading one answer: bytes in, wire events decoded and accumulated one at a time.

What belongs here: the only loop over parser, decoder and accumulator, its limits, and what it counts. What does
not: who may read and what a failure means for the stream (`_life`).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias, cast, final

import trio

from trio_stream._errors import IncompleteStreamError
from trio_stream._http import ResponseBody
from trio_stream._limits import Limits
from trio_stream._protocol import (
    ErrorEvent,
    EventStreamParser,
    MessageAccumulator,
    MessageStreamEvent,
    PingEvent,
    RawEvent,
    RawMessageStreamEvent,
    decode_event,
    error_from_event,
)

from ._clocks import Clocks

_SCHEDULE_EVERY = 0.001
"""Seconds of decoding after which other tasks get their turn, when no read had to wait meanwhile."""

_EVENTS_PER_LOOK = 16
"""Events decoded between two looks at the time, a power of two: a look costs a tenth of an event."""

Delivery: TypeAlias = "tuple[MessageStreamEvent, ...] | tuple[RawMessageStreamEvent]"
"""What one wire event brings: itself, and after a delta the event that is easier to use."""


@final
class EventReader:
    """The events of one answer, read on demand.

    It goes round in three steps. `advance` takes one event out of what has arrived, as long as there is any; it
    returns None when it is time to `wait`; and `wait` returns when `advance` may have more, or to let other tasks run.

    Args:
      body: The bytes.
      clocks: Told since when this waits.
      limits: Bounds on an event and on the message.
      raw_events: Deliver wire events alone.
      decode: Makes an event of a raw one: `decode_event`, or what taps it.
    """

    __slots__ = (
        "_clock",
        "_clocks",
        "_decode",
        "_events_before_wait",
        "_last_read_at",
        "_parser",
        "_pending",
        "_raw_events",
        "_scheduled_at",
        "_waiting",
        "_wants_schedule_point",
        "_woken_at",
        "accumulator",
        "body",
        "bytes",
        "events",
        "first_byte_at",
        "first_event_at",
        "first_text_at",
        "longest_gap",
    )

    def __init__(
        self,
        body: ResponseBody,
        *,
        clocks: Clocks,
        limits: Limits,
        raw_events: bool,
        decode: Callable[[RawEvent], RawMessageStreamEvent] = decode_event,
    ) -> None:
        self.body: ResponseBody = body
        self.accumulator: MessageAccumulator = MessageAccumulator(
            max_message_bytes=limits.message_bytes, max_blocks=limits.blocks
        )
        self._parser = EventStreamParser(max_event_bytes=limits.event_bytes)
        self._pending: list[RawEvent] = []  # in reverse: the next one is the last
        self._raw_events = raw_events
        self._decode = decode
        self._clock = trio.lowlevel.current_clock()  # two calls less for every look than `trio.current_time`
        self._clocks = clocks
        self._waiting = False
        self._woken_at: float | None = None  # the end of the last wait, until bytes are taken
        self._wants_schedule_point = False
        self._scheduled_at = perf_counter()
        self._events_before_wait: int = 0
        self._last_read_at: float | None = None
        self.first_byte_at: float | None = None
        self.first_event_at: float | None = None
        self.first_text_at: float | None = None
        self.longest_gap: float = 0.0
        self.events: int = 0
        self.bytes: int = 0

    @property
    def waits_for_bytes(self) -> bool:
        """Whether `wait` will wait for the peer; if not, it lets other tasks run and is done."""
        return not self._wants_schedule_point

    def advance(self) -> Delivery | None:
        """Take one event out of what has arrived, decode it, and add it to the message.

        Returns:
          What it brings; None when it is time to `wait`. That is also the case when decoding has gone on for long, or
          when there was no need to wait for the bytes that are about to be decoded: then other tasks get their turn.

        Raises:
          APIError: The event is an ``error``, or breaks the protocol or a limit; or the body ended or failed.
          trio.ClosedResourceError: The body was closed.
          trio.BusyResourceError: Another task is waiting here.
        """
        while True:
            pending = self._pending
            while pending:
                if not len(pending) & (_EVENTS_PER_LOOK - 1) and perf_counter() - self._scheduled_at >= _SCHEDULE_EVERY:
                    self._wants_schedule_point = True
                    return None
                event = self._decode(pending.pop())
                kind = type(event)
                if kind is PingEvent:
                    continue
                if kind is ErrorEvent:
                    raise error_from_event(cast("ErrorEvent", event), None)
                delivery = self.accumulator.add(event)
                self.events += 1
                return (event,) if self._raw_events else delivery
            if self._parser.failure is not None:
                raise self._parser.failure
            if self._waiting:
                raise trio.BusyResourceError("another task is already receiving from this stream")
            body = self.body
            if body.drained or (data := body.receive_nowait()) is None or not self._take(data):
                return None

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
            self._wants_schedule_point = True
            return False
        return True

    async def wait(self) -> None:
        """Wait until `advance` may have more. To be called when that returned None.

        A schedule point, and a cancellation point: when it is cancelled nothing is lost, and what arrives meanwhile
        is not taken.

        Raises:
          APIError: The body ended or failed.
          trio.ClosedResourceError: The body was closed, also while this call waited.
        """
        if self._wants_schedule_point:
            await trio.lowlevel.checkpoint()
            self._wants_schedule_point = False
            self._scheduled_at = perf_counter()
            return
        clocks = self._clocks
        if self.events != self._events_before_wait:
            # Whatever was decoded since the last wait. Only waiting counts, so once a wait is often enough.
            self._events_before_wait = self.events
            clocks.stall_used = 0.0
        self._waiting = True
        clocks.waiting_since = self._clock.current_time()
        try:
            await self.body.wait()
        finally:
            self._waiting = False
            now = self._clock.current_time()
            clocks.wait_ends(now)
        self._woken_at = now
        self._scheduled_at = perf_counter()

    def note_firsts(self) -> None:
        """Note the time of the first event and of the first text, if the last read brought them.

        Looked at once a read, and not once an event.
        """
        if self.first_event_at is None and self.events:
            self.first_event_at = self._last_read_at
        if self.first_text_at is None and self.accumulator.text_parts:
            self.first_text_at = self._last_read_at
