"""Reading one answer: bytes in, wire events decoded and accumulated one at a time.

What belongs here: the only loop over parser, decoder and accumulator, its limits, and what it counts. What does
not: waiting and counting (`_body_reader`), and who may read and what a failure means for the stream (`_lifecycle`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeAlias, cast, final

import trio

from trio_stream._errors import IncompleteStreamError, InvalidResponseError
from trio_stream._http import ResponseBody
from trio_stream._limits import Limits
from trio_stream._protocol import (
    ContentBlockDeltaEvent,
    ErrorEvent,
    EventStreamParser,
    Message,
    MessageAccumulator,
    MessageStartEvent,
    MessageStreamEvent,
    Oddity,
    PingEvent,
    RawEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    UnknownEvent,
    Usage,
    decode_event,
    error_from_event,
)

from ._answers import JSONAnswer
from ._body_reader import SCHEDULE_EVERY, BodyReader
from ._clocks import Clocks

_log = logging.getLogger("trio_stream")

_BOM = b"\xef\xbb\xbf"

_EVENTS_PER_LOOK = 16
"""Events decoded between two looks at the time, a power of two: a look costs a tenth of an event."""

Delivery: TypeAlias = "tuple[MessageStreamEvent, ...] | tuple[RawMessageStreamEvent]"
"""What one wire event brings: itself, and after a delta the event that is easier to use."""


def _warn(request_id: str | None, oddity: Oddity) -> None:
    """Tell of a departure from the protocol, once for each kind in a stream, without anything of the stream."""
    _log.warning("%s: the stream is read all the same (request-id %s)", oddity.value, request_id)


@final
class _DataKeeper:
    """Decodes events, and keeps the data of the last one.

    It is a function around the decoder, so that a stream of which nobody wants the data has nothing to do for it.

    Attributes:
      data: The data of the last event other than ``ping``; None if that was made here.
    """

    __slots__ = ("_decode", "data")

    def __init__(self, decode: Callable[[RawEvent], RawMessageStreamEvent]) -> None:
        self._decode = decode
        self.data: bytes | None = None

    def __call__(self, raw: RawEvent) -> RawMessageStreamEvent:
        event = self._decode(raw)
        if type(event) is not PingEvent:
            self.data = raw[1]
        return event


@final
class EventReader(BodyReader[Delivery]):
    """The events of one answer, read on demand.

    Args:
      body: The bytes.
      clocks: Told since when this waits.
      limits: Bounds on an event and on the message.
      raw_events: Deliver wire events alone.
      json_answer: Makes a parser for an answer that is JSON. Also for one that only says it is an event stream.
      is_json: The answer says that it is JSON.
      accept_missing_stop: Take a message with a ``stop_reason`` for complete when the body ends, or says so.
      request_id: For the log.
      decode: Makes an event of a raw one: `decode_event`, or what taps it.
    """

    __slots__ = (
        "_accept_missing_stop",
        "_data_keeper",
        "_decode",
        "_json_answer",
        "_parser",
        "_pending",
        "_raw_events",
        "_was_cut",
        "accumulator",
    )

    def __init__(
        self,
        body: ResponseBody,
        *,
        clocks: Clocks,
        limits: Limits,
        raw_events: bool,
        json_answer: Callable[[], JSONAnswer],
        is_json: bool = False,
        accept_missing_stop: bool = False,
        request_id: str | None = None,
        decode: Callable[[RawEvent], RawMessageStreamEvent] = decode_event,
    ) -> None:
        super().__init__(body, clocks=clocks)
        self.accumulator: MessageAccumulator = MessageAccumulator(
            max_message_bytes=limits.message_bytes, max_blocks=limits.blocks, on_oddity=partial(_warn, request_id)
        )
        self._json_answer = json_answer
        self._parser: EventStreamParser | JSONAnswer = (
            json_answer()
            if is_json
            else EventStreamParser(
                max_event_bytes=limits.event_bytes, max_eventless_bytes=limits.message_bytes + limits.event_bytes
            )
        )
        self._accept_missing_stop = accept_missing_stop
        self._was_cut = False  # the body has ended in the middle of an event
        self._pending: list[RawEvent] = []  # in reverse: the next one is the last
        self._raw_events = raw_events
        self._decode = decode
        self._data_keeper: _DataKeeper | None = None

    def keep_data(self) -> None:
        """Keep the data of each event, from the next one on, until another one is decoded."""
        if self._data_keeper is None:
            self._decode = self._data_keeper = _DataKeeper(self._decode)

    @property
    def data(self) -> bytes | None:
        """The data of the last event, while that is kept."""
        return None if self._data_keeper is None else self._data_keeper.data

    def snapshot(self) -> Message | None:
        """As `BodyReader.snapshot`."""
        return self.accumulator.snapshot()

    @property
    def usage(self) -> Usage | None:
        """As `BodyReader.usage`."""
        return self.accumulator.usage if self.accumulator.started else None

    def advance(self) -> Delivery | None:
        """As `BodyReader.advance`: take one event out of what has arrived, decode it, and add it to the message."""
        while True:
            pending = self._pending
            while pending:
                if not len(pending) & (_EVENTS_PER_LOOK - 1) and perf_counter() - self._scheduled_at >= SCHEDULE_EVERY:
                    self._wants_schedule_point = True
                    return None
                event = self._decode(pending.pop())
                kind = type(event)
                if kind is not ContentBlockDeltaEvent:
                    if kind is PingEvent:
                        continue
                    if kind is ErrorEvent:
                        raise error_from_event(cast("ErrorEvent", event), None)
                    if kind is UnknownEvent and cast("UnknownEvent", event).ends_stream:
                        return self._end()
                delivery: Delivery = self.accumulator.add(event)
                if not delivery:
                    continue
                if kind is RawMessageStopEvent:
                    self.complete = True
                self.events += 1
                if self._raw_events:
                    # The message has a delta with what the one before it had the first half of.
                    delivery = (event,) if kind is not ContentBlockDeltaEvent else delivery[:1]
                if not pending:
                    self.starved = self.body.drained and self._parser.failure is None
                return delivery
            if self._parser.failure is not None:
                raise self._parser.failure
            if self._waiting:
                raise trio.BusyResourceError("another task is already receiving from this stream")
            body = self.body
            if body.drained or (data := body.receive_nowait()) is None:
                return None
            if not data:
                if self._take_rest():
                    continue
                return self._end()
            if not self._take(data):
                return None

    def _take(self, data: bytes) -> bool:
        """Take what has arrived; False if other tasks are to get their turn before it is decoded."""
        if self.first_text_at is None:
            self.note_firsts()
        if self._last_read_at is None and data.removeprefix(_BOM).lstrip().startswith(b"{"):
            self._parser = self._json_answer()  # no line of an event stream begins like this
        in_turn = self._note_read(data)
        self._pending = pending = self._parser.feed(data)
        pending.reverse()
        if pending and type(self._parser) is JSONAnswer:
            self.accumulator.tell(Oddity.WHOLE_MESSAGE)
        if not in_turn:
            return False
        if len(pending) >= _EVENTS_PER_LOOK:  # of fewer there will be no look
            self._scheduled_at = perf_counter()
        return True

    def _take_rest(self) -> bool:
        """The body has ended: take what it ended with, if that ends the message; False if there is no such thing.

        WHATWG lets an event without its blank line be discarded, and so it is: it may have been cut. But a whole
        ``message_stop`` is as good as any, and an error must not be lost.
        """
        for raw in self._parser.end():
            try:
                event = decode_event(raw)
            except InvalidResponseError:
                event = None
            kind = type(event)
            if kind is RawMessageStopEvent:
                self.accumulator.tell(Oddity.UNFINISHED_END)
            elif kind is not ErrorEvent and not (kind is UnknownEvent and cast("UnknownEvent", event).ends_stream):
                self._was_cut = self._was_cut or kind is not PingEvent
                continue
            self._pending.append(raw)
        return bool(self._pending)

    def _end(self) -> Delivery:
        """The answer has ended, or says so, and there was no ``message_stop``.

        Raises:
          IncompleteStreamError: Unless that is accepted, and a ``stop_reason`` has arrived.
        """
        accumulator = self.accumulator
        if self._accept_missing_stop and not self._was_cut:
            stop = accumulator.complete_without_stop()
            if stop is not None:
                self.events += 1
                self.complete = True
                if self._data_keeper is not None:
                    self._data_keeper.data = None  # nothing has arrived that would be that of this event
                return (RawMessageStopEvent(),) if self._raw_events else (stop,)
        sentence = f"the stream ended before message_stop, after {self.events} events and {self.bytes} bytes"
        if accumulator.stop_reason is not None:
            sentence += ", although there was a stop_reason (see accept_missing_stop of Client)"
        raise IncompleteStreamError(sentence)

    def check_rest(self) -> None:
        """As `BodyReader.check_rest`: look at what has arrived after ``message_stop``, of the same message."""
        while self._pending:
            try:
                event = decode_event(self._pending.pop())
            except InvalidResponseError:
                continue
            if isinstance(event, ErrorEvent):
                raise error_from_event(event, None)
            if isinstance(event, MessageStartEvent):
                return  # of another message, which is nobody's

    def note_firsts(self) -> None:
        """As `BodyReader.note_firsts`, and the time of the first text."""
        super().note_firsts()
        if self.first_text_at is None and self.accumulator.text_parts:
            self.first_text_at = self._last_read_at
