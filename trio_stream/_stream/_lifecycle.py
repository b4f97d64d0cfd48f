"""The life of one stream: its state, reading, and every way to end.

What belongs here: which state a stream is in, what may be done in it, and which error it ends with. What does not:
entering and leaving its block (`_block`), opening (`_opening`), decoding (`_reader`), and what users see of it
(`_base`).

The states, and what leads from one to the next::

    NEW ──open──▶ OPENING ──first event──▶ OPEN ──message_stop──▶ COMPLETE
     │               │  └──error──▶ FAILED ◀──error, a clock──┘
     └──close────────┴─────close────▶ CLOSED ◀──────close─────┘  (from OPEN)

COMPLETE, FAILED and CLOSED are final: closing a complete stream changes nothing, so events that were read before can
still be received; a failed one raises the same error for ever. The connection is let go of on the way into each of
them, never later.

Events are *pulled*: bytes are read, decoded and accumulated in the caller's task, one wire event at a time, so
that backpressure is TCP's and a cancelled `receive` has taken nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Generic, NoReturn, final

import msgspec
import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_stream._errors import (
    APIError,
    APITimeoutError,
    SilenceTimeoutError,
    StallTimeoutError,
    TotalTimeoutError,
)
from trio_stream._instruments import CallOutcome
from trio_stream._limiter import Admission
from trio_stream._protocol import Message, Usage
from trio_stream._stats import StreamStats

from ._clocked_body import ClockedBody
from ._clocks import Clock, Clocks
from ._opening import AnswerFormat, Opened, Opening, ReaderT
from ._request import StreamRequest, locate
from ._watching import CallWatch, watch_call

_CLOCK_ERRORS: Final[dict[Clock, tuple[type[APITimeoutError], str]]] = {
    "silence": (SilenceTimeoutError, "not one byte for {:g} s in the middle of the stream"),
    "stall": (StallTimeoutError, "no event other than ping for {:g} s in the middle of the stream"),
    "total": (TotalTimeoutError, "the stream was not complete within {:g} s"),
}


class StreamState(Enum):
    """Where a stream stands."""

    NEW = "not entered yet"
    OPENING = "waiting for its first event"
    OPEN = "being read"
    COMPLETE = "message_stop was read"
    FAILED = "ended by an error"
    CLOSED = "closed before its end"


@final
class StreamLifecycle(Generic[ReaderT]):
    """One stream, from its request to its end.

    Args:
      request: The request.
      answer_format: What the answer holds: the events of a message, or the lines of a batch's results.

    Attributes:
      answer_format: What the answer holds.
      state: Where it stands.
      kept: The event that is delivered before another one is read, or None.
      reader: Reads the answer, while the stream is open.
      opened: The answer, once its first event has arrived; it stays when the stream has ended.
      error: What it ended with, if it failed.
    """

    __slots__ = (
        "_admission",
        "_attempts",
        "_clocks",
        "_opening_scope",
        "_request",
        "_watch",
        "answer_format",
        "error",
        "kept",
        "opened",
        "reader",
        "state",
    )

    def __init__(self, request: StreamRequest, *, answer_format: AnswerFormat[ReaderT]) -> None:
        self._request = request
        self.answer_format: AnswerFormat[ReaderT] = answer_format
        self.reader: ReaderT | None = None
        self._opening_scope: trio.CancelScope | None = None  # while it is being opened
        self._attempts = 0
        self._clocks: Clocks | None = None
        self._watch: CallWatch | None = None
        self._admission: Admission | None = None  # where the client has a limiter
        self.state: StreamState = StreamState.NEW
        self.kept: Any = None
        self.opened: Opened[ReaderT] | None = None
        self.error: APIError | None = None

    @property
    def is_closed(self) -> bool:
        """Whether this program closed it before its end."""
        return self.state is StreamState.CLOSED

    # Opening.

    def check_open(self) -> None:
        """Refuse to go on with a stream that was closed.

        Raises:
          trio.ClosedResourceError: It was.
        """
        if self.is_closed:
            raise trio.ClosedResourceError("this stream is closed")

    def check_run(self) -> None:
        """Refuse to begin outside of Trio, or in a second run of Trio.

        Raises:
          RuntimeError: It is one of the two.
        """
        self._request.run.enter()

    @enable_ki_protection
    async def open(self, scope: trio.CancelScope, nursery: trio.Nursery | None, *, entered_at: float) -> None:
        """Send the request, and return when the first event other than ``ping`` has arrived.

        Args:
          scope: Cancelled where the stream is closed meanwhile.
          nursery: The stream's own, in which the client's watchdog may run. None: there is none, so that each wait
            looks at the clocks itself.
          entered_at: When the block was entered, by Trio's clock.

        Raises:
          APIError: The last attempt's error.
          trio.ClosedResourceError: The stream was closed meanwhile.
        """
        request = self._request
        self._clocks = clocks = Clocks(request.timeouts, entered_at=entered_at)
        request.live.add(self)
        self.state = StreamState.OPENING
        self._opening_scope = scope
        self._watch = watch = watch_call(request, self)
        if request.admission is not None:
            self._admission = request.admission()
        opening = Opening(
            request,
            answer_format=self.answer_format,
            clocks=clocks,
            entered_at=entered_at,
            watch=watch,
            admission=self._admission,
        )
        try:
            self.opened = opened = await opening.open()
        finally:
            self._attempts = opening.attempts
        self._opening_scope = None
        if self.is_closed:
            # Closed in the moment in which it was opened: the cancellation came too late to be noticed there.
            opened.reader.body.close()
            self._let_go()
            self.check_open()
        self.state = StreamState.OPEN
        self.reader = opened.reader
        self.kept = None if opening.first is None else opening.first[0]
        if opened.reader.complete:  # results without a line; a message of one event does not exist
            self._finish()
        elif clocks.needed:
            if nursery is not None:
                request.watchdog.add(clocks, self._expire, nursery)
            else:
                opened.reader.body = ClockedBody(opened.reader.body, clocks, self._clock_error)

    @enable_ki_protection
    def opening_failed(self, exc: BaseException, *, reason: str | None) -> None:
        """`open` raised: nothing of the stream is left.

        Args:
          exc: What it raised.
          reason: Why `cancel` was called, if it was.
        """
        self._opening_scope = None
        if isinstance(exc, APIError):
            self.error = exc
        if self.state is StreamState.OPENING and not isinstance(exc, trio.Cancelled):
            self.state = StreamState.FAILED if self.error is exc else StreamState.CLOSED
            self._let_go()
            self._tell_end(CallOutcome.FAILED, error=exc)
        else:
            self.close_now(because=exc, reason=reason)

    # Reading. A KeyboardInterrupt that the body catches must not have taken bytes or events with it: it is raised at
    # the cancellation point or in the wait, never between taking and keeping.

    @enable_ki_protection
    def advance(self) -> tuple[Any, ...] | None:
        """Read one wire event, without waiting.

        It is part of the message, and of what views show, from now on.

        Returns:
          What is to be delivered for it, one event or two; None when it is time to `wait`.

        Raises:
          APIError: As `EventReader.advance`, or the error with which the stream has ended before.
          trio.ClosedResourceError: The stream was closed.
          trio.BusyResourceError: Another task is waiting for an event.
        """
        reader = self.reader
        if reader is None:
            if self.state is StreamState.COMPLETE:
                return None
            self._raise_unusable()
        try:
            delivery = reader.advance()
        except APIError as error:
            self._fail(error)
        except trio.ClosedResourceError:
            self._raise_unusable()
        if reader.complete:
            try:
                reader.check_rest()
            except APIError as error:
                self._fail(error)
            self._finish()
        return delivery

    @enable_ki_protection
    def poll(self) -> tuple[Any, ...] | None:
        """Read one wire event if it can be had without waiting, and without letting other tasks run.

        Nobody waits here, so ``silence`` and ``stall`` do not run: between two polls it cannot be told whether the peer
        was silent or the reader was away.

        Returns:
          As `advance`; None when nothing has arrived, or after the end.

        Raises:
          Exception: As `advance`.
        """
        reader = self.reader
        if reader is not None:
            reader.look_again()
        while True:
            delivery = self.advance()
            if delivery is not None or reader is None or not reader.keep_turn():
                return delivery

    @enable_ki_protection
    def skip(self) -> bool:
        """Read one wire event without delivering it; False when it is time to `wait`.

        An event that was kept for delivery is dropped.

        Raises:
          Exception: As `advance`.
        """
        if self.advance() is None:
            return False
        self.kept = None
        return True

    @enable_ki_protection
    async def wait(self) -> bool:
        """Wait until there may be another event. To be called when there was none.

        A schedule point and a cancellation point; when it is cancelled nothing is lost.

        Returns:
          False after ``message_stop``: there will be no more.

        Raises:
          APIError: The body failed.
          trio.ClosedResourceError: The stream was closed, also while this call waited.
        """
        reader = self.reader
        if reader is None:
            if self.state is StreamState.COMPLETE:
                return False
            self._raise_unusable()  # closed since the last look: an end that looks like the message's would be none
        try:
            await reader.wait()
        except APIError as error:
            self._fail(error)
        except trio.ClosedResourceError:
            self._raise_unusable()
        return True

    @enable_ki_protection
    async def read_to_end(self) -> None:
        """Read the rest of the stream without delivering it.

        What has arrived is decoded without a pause, for about a millisecond at most; then other tasks get their turn.
        Nobody can cancel this task while it does not let others run, so it looks for that once for each stretch and
        not once for each event, which would cost half as much as decoding it.

        A checkpoint. When it is cancelled nothing is lost.

        Raises:
          APIError: As `next_nowait`.
        """
        await trio.lowlevel.checkpoint()
        while True:
            while self.advance() is not None:
                self.kept = None
            if not await self.wait():
                return
            await checkpoint_if_cancelled()

    # Ending.

    def _finish(self) -> None:
        """The answer is whole, to ``message_stop`` or the last line, and its connection may serve another request."""
        assert self.reader is not None
        self.state = StreamState.COMPLETE
        self.reader.body.finish()
        if self._admission is not None:
            self._admission.completed(self.usage)
        self._let_go()
        self._tell_end(CallOutcome.COMPLETED)

    def _fail(self, error: APIError) -> NoReturn:
        """End with an error, for good: every later call raises the same one."""
        if self.state is not StreamState.OPEN:
            self._raise_unusable()
        self._record(error)
        raise error

    @enable_ki_protection
    def _record(self, error: APIError) -> None:
        opened = self.opened
        assert opened is not None
        error.partial = self.partial
        locate(error, self._request, response=opened.response, request_id=opened.request_id)
        self.error = error
        self.state = StreamState.FAILED
        self.kept = None
        opened.reader.body.close()
        if self._admission is not None:
            self._admission.failed(error)
        self._let_go()
        self._tell_end(CallOutcome.FAILED, error=error)

    def _expire(self, clock: Clock) -> None:
        """A clock ran out: the waiting `receive` wakes with its error, or the next one raises it."""
        self._record(self._clock_error(clock))

    def _clock_error(self, clock: Clock) -> APITimeoutError:
        kind, sentence = _CLOCK_ERRORS[clock]
        seconds: float = getattr(self._request.timeouts, clock)
        return kind(f"{clock}: " + sentence.format(seconds), seconds=seconds, may_have_been_accepted=True)

    @enable_ki_protection
    def close_now(self, *, because: BaseException | None = None, reason: str | None = None) -> None:
        """Close without waiting, unless the stream has ended already.

        Args:
          because: What its block is left with.
          reason: Why `cancel` was called, if it was.
        """
        if self.state in (StreamState.COMPLETE, StreamState.FAILED, StreamState.CLOSED):
            return
        self.state = StreamState.CLOSED
        self.kept = None
        if self._opening_scope is not None:
            self._opening_scope.cancel(reason="the stream was closed while it was being opened")
        if self.opened is not None:
            self.opened.reader.body.close()
        self._let_go()
        if reason is not None or isinstance(because, trio.Cancelled):
            self._tell_end(CallOutcome.CANCELLED, reason=reason or getattr(because, "reason", None))
        else:
            self._tell_end(CallOutcome.LEFT, error=because)

    def _let_go(self) -> None:
        self.reader = None
        self._request.live.discard(self)
        if self._clocks is not None:
            self._request.watchdog.remove(self._clocks)
        if self._admission is not None:
            self._admission.release()

    def _tell_end(self, outcome: CallOutcome, *, error: BaseException | None = None, reason: str | None = None) -> None:
        if self._watch is not None:
            self._watch.end(outcome, error=error, reason=reason)

    def _raise_unusable(self) -> NoReturn:
        if self.error is not None:
            raise self.error
        if self.state in (StreamState.NEW, StreamState.OPENING):
            raise RuntimeError(
                "the request goes out when the stream is entered: write `async with stream:` around this"
            )
        raise trio.ClosedResourceError("this stream is closed")

    # What can be read at any time.

    @property
    def partial(self) -> Message | None:
        """The message as far as it has been read; None before ``message_start``."""
        return None if self.opened is None else self.opened.reader.snapshot()

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before ``message_start``."""
        return None if self.opened is None else self.opened.reader.usage

    @property
    def stats(self) -> StreamStats:
        """Timings and counts up to now."""
        stats = StreamStats(attempts=self._attempts) if self.opened is None else self.opened.stats()
        if self._admission is None:
            return stats
        return msgspec.structs.replace(stats, waited_for_limit=self._admission.waited)
