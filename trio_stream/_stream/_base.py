"""One stream, from entering its block to leaving it: what `MessageStream` and `EventStream` share.

What belongs here: the life of a stream (enter, receive, close, leave), who may do what when, and which error it
ends with. What does not: opening requests (`_opening`), reading (`_reader`), the clocks' arithmetic (`_clocks`),
the exception contract of the block (`_nursery`), the meaning of events (`_protocol`).

Events are *pulled*: bytes are read, decoded and accumulated in the caller's task, one wire event at a time, so
that backpressure is TCP's and a cancelled `receive` has taken nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, NoReturn, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled

from trio_stream._errors import (
    APIError,
    APITimeoutError,
    IncompleteStreamError,
    SilenceTimeoutError,
    StallTimeoutError,
    TotalTimeoutError,
)
from trio_stream._nursery import NurseryBlock
from trio_stream._protocol import Message, RateLimits, Usage
from trio_stream._response import ResponseInfo
from trio_stream._stats import StreamStats

from ._clocks import Clock, Clocks
from ._opening import Opened, Opening, StreamRequest

EventT_co = TypeVar("EventT_co", covariant=True)

_CLOCK_ERRORS: dict[Clock, tuple[type[APITimeoutError], str]] = {
    "silence": (SilenceTimeoutError, "not one byte for {:g} s in the middle of the stream"),
    "stall": (StallTimeoutError, "no event other than ping for {:g} s in the middle of the stream"),
    "total": (TotalTimeoutError, "the stream was not complete within {:g} s"),
}


class StreamBase(trio.abc.ReceiveChannel[EventT_co], Generic[EventT_co]):
    """A message on its way: the life of one request, its nursery and its connection."""

    def __init__(self, request: StreamRequest, *, raw_events: bool) -> None:
        self._request = request
        self._raw_events = raw_events
        self._ready: deque[Any] = deque()
        self._opening = False
        self._opened: Opened | None = None
        self._block: NurseryBlock | None = None
        self._clocks: Clocks | None = None
        self._error: APIError | None = None
        self._complete = False
        self._closed = False
        self._left = False
        self._cancel_reason: str | None = None

    # Entering and leaving. Both pass a socket from owner to owner, so neither is interrupted by a
    # KeyboardInterrupt between two steps: it is raised where they wait.

    @trio.lowlevel.enable_ki_protection
    async def _enter(self) -> None:
        if self._block is not None:
            raise RuntimeError("this stream has been entered before: each stream is one request, so make another")
        self._check_open()
        self._block = block = NurseryBlock()
        timeouts = self._request.timeouts
        entered_at = trio.current_time()
        await block.enter()
        try:
            self._clocks = clocks = Clocks(timeouts, entered_at=entered_at)
            self._request.live.add(self)
            self._opening = True
            opening = Opening(self._request, clocks=clocks, entered_at=entered_at, raw_events=self._raw_events)
            self._opened = opened = await opening.open()
            self._opening = False
            self._ready = opened.reader.ready
            if self._closed:
                # Closed in the moment in which it was opened: the cancellation came too late to be noticed there.
                opened.reader.body.close()
            self._check_open()
            if opened.reader.accumulator.complete:  # pragma: no cover - a message of one event does not exist
                self._finish()
            elif clocks.needed:
                self._request.watchdog.add(clocks, self._expire, block.nursery)
        except BaseException as exc:
            self._left = True
            self._opening = False
            if isinstance(exc, APIError):
                self._error = exc
            how = "closed" if self._closed else "cancelled"
            self.close_now()
            # Waits for the nursery, which has no tasks yet; `Cancelled` of an outer scope goes on.
            if await block.exit(exc):  # noqa: ASYNC102
                raise trio.ClosedResourceError(f"the stream was {how} while it was being opened") from None  # noqa: ASYNC104
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    def _is_of(self, task: trio.lowlevel.Task) -> bool:
        """Whether this task entered it."""
        return self._block is not None and self._block.task is task

    @trio.lowlevel.enable_ki_protection
    async def _leave(self, exc: BaseException | None) -> bool:
        block = self._block
        if block is None:
            raise RuntimeError("this stream was never entered")
        self.close_now()
        if self._left:
            raise RuntimeError("this stream has been left already")
        block.check_may_leave()
        self._left = True
        if self._opened is not None:
            try:
                await self._opened.reader.body.aclose()
            except BaseException as interrupt:  # noqa: ASYNC103
                # The nursery must be closed first, or Trio's stack of them is corrupt.
                if not await block.exit(interrupt):  # noqa: ASYNC102 - waits as a nursery does
                    raise
                return True  # noqa: ASYNC104 - it was the block's own cancellation
        return await block.exit(exc)

    # Receiving.

    # A KeyboardInterrupt that the body catches must not have taken bytes or events with it: it is raised at the
    # cancellation point or in the wait, never between taking and keeping.

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> EventT_co:
        """Receive the next event of this message.

        Events arrive in the order the API sent them; ``ping`` events are consumed here.

        Always a cancellation point. If it is cancelled nothing is lost: the next call returns the event this one
        was waiting for. Every read that waited is a schedule point, and decoding what has already arrived yields
        to other tasks about every millisecond.

        Returns:
          The next event.

        Raises:
          trio.EndOfChannel: After ``message_stop``, also when the stream was closed since. Not an error.
          IncompleteStreamError: The connection ended before ``message_stop``.
          APIStatusError: The API sent an ``error`` event (the class is chosen by ``error.type``).
          APITimeoutError: One of the clocks of `Timeouts` ran out.
          InvalidResponseError: The answer breaks the protocol or a limit.
          trio.ClosedResourceError: This stream was closed by this program.
          trio.BusyResourceError: Another task is already waiting here.
        """
        await checkpoint_if_cancelled()
        if self._ready or self._advance() or await self._wait():
            event: EventT_co = self._ready.popleft()
            return event
        raise trio.EndOfChannel

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> EventT_co:
        # Not inherited: one frame less for every event.
        await checkpoint_if_cancelled()
        if self._ready or self._advance() or await self._wait():
            event: EventT_co = self._ready.popleft()
            return event
        raise StopAsyncIteration

    @trio.lowlevel.enable_ki_protection
    def _advance(self) -> bool:
        """Bring at least one event into ``_ready`` without waiting; False when it is time to `_wait`."""
        if self._complete:
            return False
        opened = self._opened
        if opened is None or self._closed or self._error is not None:
            self._raise_unusable()
        reader = opened.reader
        try:
            if not reader.advance():
                return False
        except APIError as error:
            self._fail(error)
        except trio.ClosedResourceError:
            self._raise_unusable()
        if reader.accumulator.complete:
            self._finish()
        return True

    @trio.lowlevel.enable_ki_protection
    async def _wait(self) -> bool:
        """Wait until there is at least one event in ``_ready``; False after ``message_stop``."""
        while not self._complete:
            assert self._opened is not None
            reader = self._opened.reader
            try:
                if reader.wants_schedule_point:
                    await reader.schedule_point()
                else:
                    arrival, woken = reader.begin_wait(), False
                    try:
                        await arrival
                        woken = True
                    finally:
                        reader.end_wait(woken=woken)
            except APIError as error:
                self._fail(error)
            except trio.ClosedResourceError:
                self._raise_unusable()
            if self._advance():  # notices what another task did while this one let it run
                return True
        return False

    @trio.lowlevel.enable_ki_protection
    async def _pull(self) -> bool:
        """Take one wire event off the stream for a view; False after ``message_stop``."""
        if not self._advance() and not await self._wait():
            return False
        self._ready.clear()
        return True

    async def until_done(self) -> None:
        """Read the stream to its end.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          APIError: As `receive`.
        """
        await trio.lowlevel.checkpoint()
        while await self._pull():
            await checkpoint_if_cancelled()

    # Ending.

    @trio.lowlevel.enable_ki_protection
    def _finish(self) -> None:
        """``message_stop`` came: the message is whole, and the connection may serve another request."""
        assert self._opened is not None
        self._complete = True
        self._opened.reader.body.finish()
        self._let_go()

    def _fail(self, error: APIError) -> NoReturn:
        """End with an error, for good: every later call raises the same one."""
        if self._closed or self._error is not None:
            self._raise_unusable()
        self._record(error)
        raise error

    @trio.lowlevel.enable_ki_protection
    def _record(self, error: APIError) -> None:
        assert self._opened is not None
        error.partial = self.partial
        if error.request_id is None:
            error.request_id = self.request_id
        self._error = error
        self._ready.clear()
        self._opened.reader.body.close()
        self._let_go()

    def _expire(self, clock: Clock) -> None:
        """A clock ran out: the waiting `receive` wakes with its error, or the next one raises it."""
        kind, sentence = _CLOCK_ERRORS[clock]
        seconds: float = getattr(self._request.timeouts, clock)
        self._record(kind(f"{clock}: " + sentence.format(seconds), seconds=seconds, may_have_been_accepted=True))

    def _let_go(self) -> None:
        self._request.live.discard(self)
        if self._clocks is not None:
            self._request.watchdog.remove(self._clocks)

    def _raise_unusable(self) -> NoReturn:
        if self._error is not None:
            raise self._error
        if self._opened is None and not self._closed:
            raise RuntimeError(
                "the request goes out when the stream is entered: write `async with stream:` around this"
            )
        raise trio.ClosedResourceError("this stream is closed")

    @trio.lowlevel.enable_ki_protection
    def close_now(self) -> None:
        """Close without waiting: `aclose` without its checkpoint."""
        if self._closed:
            return
        self._closed = True
        if self._opening and self._block is not None:
            self._block.nursery.cancel_scope.cancel(reason="the stream was closed while it was being opened")
        if self._opened is not None and not self._complete:
            self._ready.clear()
            self._opened.reader.body.close()
        self._let_go()

    async def aclose(self) -> None:
        """Close this stream and its connection, from any task.

        A task that waits in `receive` gets `trio.ClosedResourceError`. Tasks in `nursery` go on until the block
        ends. Effective even when cancelled; a checkpoint; never waits on the peer.
        """
        self.close_now()
        if self._opened is not None:
            await self._opened.reader.body.aclose()
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """As `aclose`: the official SDK's name for it."""
        await self.aclose()

    def cancel(self, reason: str | None = None) -> None:
        """End the block without an exception, from any task.

        The body of the block and the tasks in `nursery` are cancelled; the connection closes when the block is
        left. Once the block has been left this does nothing.

        Args:
          reason: Kept as `cancel_reason`.

        Raises:
          RuntimeError: The block has not been entered.
        """
        if self._block is None:
            raise RuntimeError("there is no block to cancel: this stream has not been entered")
        if self._left:
            return
        if self._cancel_reason is None:
            self._cancel_reason = "cancelled by the program" if reason is None else reason
        self._block.nursery.cancel_scope.cancel(reason=reason or "stream.cancel() was called")

    # What can be read at any time, also after the block.

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of this stream.

        The block ends when the tasks in it have ended, as with any nursery; they are cancelled when the body of
        the block fails or is cancelled, and their failure cancels the body.
        """
        if self._block is None:
            raise RuntimeError("the nursery exists once the stream has been entered")
        return self._block.nursery

    @property
    def cancel_reason(self) -> str | None:
        """Why `cancel` was called; None when it was not."""
        return self._cancel_reason

    @property
    def message(self) -> Message:
        """The whole message, once ``message_stop`` came.

        Raises:
          APIError: The error this stream ended with; `IncompleteStreamError` where it was left or closed early,
            or is not at its end yet (see `partial`).
        """
        partial = self.partial
        if self._complete and partial is not None:
            return partial
        if self._error is not None:
            raise self._error
        if self._left or self._closed:
            sentence = "the stream was left before message_stop: see .partial"
        else:
            sentence = "the message is not complete yet: read on, or see .partial"
        raise IncompleteStreamError(sentence, partial=partial, request_id=self.request_id)

    @property
    def partial(self) -> Message | None:
        """The message as far as it has been read; None before ``message_start``."""
        return None if self._opened is None else self._opened.reader.accumulator.snapshot()

    @property
    def text(self) -> str:
        """The text of the message as far as it has been read, all text blocks joined."""
        return "" if self._opened is None else self._opened.reader.accumulator.text

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before ``message_start``. Final with ``message_stop``."""
        if self._opened is None or not self._opened.reader.accumulator.started:
            return None
        return self._opened.reader.accumulator.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped; None until it did."""
        return None if self._opened is None else self._opened.reader.accumulator.stop_reason

    @property
    def request_id(self) -> str | None:
        """The API's ``request-id`` of this answer."""
        return None if self._opened is None else self._opened.request_id

    @property
    def response(self) -> ResponseInfo:
        """The head of the HTTP answer.

        Raises:
          RuntimeError: There is none: the stream was not entered, or opening it failed.
        """
        if self._opened is None:
            raise RuntimeError("there is no response: the stream has not been opened")
        return self._opened.response

    @property
    def rate_limits(self) -> RateLimits | None:
        """What the answer's ``anthropic-ratelimit-*`` headers say; None before it arrived."""
        return None if self._opened is None else self._opened.rate_limits

    @property
    def stats(self) -> StreamStats:
        """Timings and counts up to now."""
        return StreamStats() if self._opened is None else self._opened.stats()
