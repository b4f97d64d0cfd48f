"""Reading one answer: what is the same whether its body holds events or lines.

What belongs here: waiting for bytes, letting other tasks run, and counting. What does not: what the bytes are
(`_reader`, `_line_reader`), and who may read and what a failure means (`_lifecycle`).
"""

from __future__ import annotations

import abc
from time import perf_counter
from typing import Generic, TypeVar

import trio

from trio_stream._http import ResponseBody
from trio_stream._protocol import Message, Usage

from ._clocks import Clocks

SCHEDULE_EVERY = 0.001
"""Seconds of decoding after which other tasks get their turn, when no read had to wait meanwhile."""

DeliveryT_co = TypeVar("DeliveryT_co", bound="tuple[object, ...]", covariant=True)


class BodyReader(abc.ABC, Generic[DeliveryT_co]):
    """What one answer holds, read on demand.

    It goes round in three steps. `advance` takes one thing out of what has arrived, as long as there is any; it
    returns None when it is time to `wait`; and `wait` returns when `advance` may have more, or to let other tasks run.

    Args:
      body: The bytes.
      clocks: Told since when this waits.

    Attributes:
      starved: Whether it is known that `advance` would only say that it is time to `wait`. A reader may leave it False.
      complete: Whether everything has been read that the answer has to hold.
      events: What has been delivered so far, as a number.
      bytes: How many bytes of the body have been read.
    """

    __slots__ = (
        "_clock",
        "_clocks",
        "_events_before_wait",
        "_last_read_at",
        "_scheduled_at",
        "_waiting",
        "_wants_schedule_point",
        "_woken_at",
        "body",
        "bytes",
        "complete",
        "events",
        "first_byte_at",
        "first_event_at",
        "first_text_at",
        "longest_gap",
        "starved",
    )

    def __init__(self, body: ResponseBody, *, clocks: Clocks) -> None:
        self.body: ResponseBody = body
        self._clock = trio.lowlevel.current_clock()  # two calls less for every look than `trio.current_time`
        self._clocks = clocks
        self._waiting = False
        self._woken_at: float | None = None  # the end of the last wait, until bytes are taken
        self._wants_schedule_point = False
        self._scheduled_at = perf_counter()
        self._events_before_wait: int = 0
        self._last_read_at: float | None = None
        self.starved: bool = False
        self.complete: bool = False
        self.first_byte_at: float | None = None
        self.first_event_at: float | None = None
        self.first_text_at: float | None = None
        self.longest_gap: float = 0.0
        self.events: int = 0
        self.bytes: int = 0

    @abc.abstractmethod
    def advance(self) -> DeliveryT_co | None:
        """Take one thing out of what has arrived.

        Returns:
          What is to be delivered for it; None when it is time to `wait`, or once all is `complete`. That is also the
          case when decoding has gone on for long, or when there was no need to wait for the bytes that are about to be
          decoded: then other tasks get their turn.

        Raises:
          APIError: What has arrived is an error, or breaks the protocol or a limit; or the body ended or failed.
          trio.ClosedResourceError: The body was closed.
          trio.BusyResourceError: Another task is waiting here.
        """

    def look_again(self) -> None:
        """Have the next `advance` look for bytes that have arrived, although nobody has waited since the last look."""
        self.starved = False
        self.body.look_again()

    def keep_turn(self) -> bool:
        """Go on where other tasks were about to get their turn.

        Returns:
          Whether they were. If so, `advance` may have more at once; if not, bytes are missing, or all is `complete`.
        """
        if not self._wants_schedule_point:
            return False
        self._wants_schedule_point = False
        self._scheduled_at = perf_counter()
        return True

    def check_rest(self) -> None:
        """Look for an error among what has arrived after the end.

        Raises:
          APIStatusError: There is one.
        """

    def snapshot(self) -> Message | None:
        """The message as far as it has been read, where the answer is one."""
        return None

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far, where the answer is a message that has begun."""
        return None

    @property
    def waits_for_bytes(self) -> bool:
        """Whether `wait` will wait for the peer; if not, it lets other tasks run and is done."""
        return not self._wants_schedule_point

    def _note_read(self, data: bytes) -> bool:
        """Count what has arrived. Returns False if other tasks are to get their turn before it is decoded."""
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
        self.starved = False  # so that any other task learns from `advance` that this one waits
        self._waiting = True
        clocks.waiting_since = self._clock.current_time()
        try:
            await self.body.wait()
        finally:
            self._waiting = False
            now = self._clock.current_time()
            clocks.wait_ends(now)
        self._woken_at = now

    def note_firsts(self) -> None:
        """Note the time of the first thing that was delivered, if the last read brought it.

        Looked at once a read, and not once for each thing.
        """
        if self.first_event_at is None and self.events:
            self.first_event_at = self._last_read_at
