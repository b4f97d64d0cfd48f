"""What everything that is read from an answer in its block shares: receiving, ending, and what is known of it.

What belongs here: the surface that users see. What does not: what only messages have (`_message_base`), the state
behind it (`_lifecycle`), and entering and leaving (`_block`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_stream._protocol import RateLimits
from trio_stream._response import ResponseInfo
from trio_stream._stats import StreamStats

from ._block import StreamBlock
from ._lifecycle import StreamLifecycle, StreamState
from ._opening import ReaderT

EventT_co = TypeVar("EventT_co", covariant=True)


class StreamBase(trio.abc.ReceiveChannel[EventT_co], Generic[EventT_co, ReaderT]):
    """An answer on its way: one request, its nursery and its connection."""

    __slots__ = ("_block", "_stream")

    def __init__(self, stream: StreamLifecycle[ReaderT], block: StreamBlock) -> None:
        self._stream = stream
        self._block = block

    # Receiving.

    @enable_ki_protection
    async def receive(self) -> EventT_co:
        """Receive the next event of this message, or the next line of these results.

        They arrive in the order the API sent them; ``ping`` events are consumed here.

        Always a cancellation point. If it is cancelled nothing is lost: the next call returns the event this one
        was waiting for. Every read that waited is a schedule point, and decoding what has already arrived yields
        to other tasks about every millisecond.

        Returns:
          The next event, or the next line.

        Raises:
          trio.EndOfChannel: After ``message_stop`` or the last line, also when the stream was closed since. Not an
            error.
          IncompleteStreamError: The connection ended before that.
          APIStatusError: The API sent an ``error`` event (the class is chosen by ``error.type``).
          APITimeoutError: One of the clocks of `Timeouts` ran out.
          InvalidResponseError: The answer breaks the protocol or a limit.
          trio.ClosedResourceError: This stream was closed by this program.
          trio.BusyResourceError: Another task is already waiting here.
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise trio.EndOfChannel from None

    @enable_ki_protection
    def receive_nowait(self) -> EventT_co:
        """Receive the next event, or the next line, if it can be had without waiting.

        It is the one that `receive` would return next. It is looked for in what has been read, then in what has arrived
        at the socket. A transport that is not ours can only be read by waiting, so of what came through one, only that
        is found which an earlier wait has brought.

        Not a checkpoint: it neither notices a cancellation nor lets other tasks run, so a loop over it needs an
        ``await`` somewhere. The clocks ``silence`` and ``stall`` count the time in which somebody waits, so
        they do not run for a program that only polls; ``total`` does.

        Returns:
          The next event, or the next line.

        Raises:
          trio.WouldBlock: Nothing has arrived.
          trio.EndOfChannel: As `receive`.
          APIError: As `receive`.
          trio.ClosedResourceError: This stream was closed by this program.
          trio.BusyResourceError: Another task is waiting in `receive`.
        """
        stream = self._stream
        event: EventT_co | None = stream.kept
        if event is not None:
            stream.kept = None
            return event
        delivery: tuple[EventT_co, ...] | None = stream.poll()
        if delivery is None:
            raise trio.EndOfChannel if stream.state is StreamState.COMPLETE else trio.WouldBlock
        event = delivery[0]
        if len(delivery) > 1:
            stream.kept = delivery[1]
        return event

    @enable_ki_protection
    async def __anext__(self) -> EventT_co:
        stream = self._stream
        kept: EventT_co | None = stream.kept
        if kept is not None:
            await checkpoint_if_cancelled()
            stream.kept = None
            return kept
        reader = stream.reader
        delivery: tuple[EventT_co, ...] | None = None
        if reader is None or not reader.starved:  # else the wait looks for cancellation: 3 % of a paced event
            await checkpoint_if_cancelled()
            delivery = stream.advance()
        while delivery is None:
            if not await stream.wait():
                raise StopAsyncIteration
            delivery = stream.advance()
        event = delivery[0]
        if len(delivery) > 1:
            stream.kept = delivery[1]
        return event

    # Ending.

    async def aclose(self) -> None:
        """Close this stream and its connection, from any task.

        A task that waits in `receive` gets `trio.ClosedResourceError`. Tasks in `nursery` go on until the block
        ends. Effective even when cancelled; a checkpoint; never waits on the peer.
        """
        self._stream.close_now()
        if self._stream.opened is not None:
            await self._stream.opened.reader.body.aclose()
        await trio.lowlevel.checkpoint()

    def close_now(self) -> None:
        """Close this stream and its connection at once, from any task. Not a checkpoint.

        For where there is no waiting, and where a task of this stream cannot be cancelled. With a transport that is not
        ours, what is left of the answer is let go of when the block is left.
        """
        self._stream.close_now()

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
          RuntimeError: The block has not been entered, or it was in an async generator: use `aclose` there.
        """
        self._block.cancel(reason)

    # What can be read at any time, also after the block.

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of this stream.

        The block ends when the tasks in it have ended, as with any nursery; they are cancelled when the body of
        the block fails or is cancelled, and their failure cancels the body.

        Raises:
          RuntimeError: The block has not been entered. Or it was in an async generator, which may be left at any
            ``yield``: no nursery is sound there. Make the generator a channel with `trio.as_safe_channel`.
        """
        return self._block.nursery

    @property
    def cancel_reason(self) -> str | None:
        """Why `cancel` was called; None when it was not."""
        return self._block.cancel_reason

    @property
    def request_id(self) -> str | None:
        """The API's ``request-id`` of this answer."""
        opened = self._stream.opened
        return None if opened is None else opened.request_id

    @property
    def response(self) -> ResponseInfo:
        """The head of the HTTP answer.

        Raises:
          RuntimeError: There is none: the stream was not entered, or opening it failed.
        """
        if self._stream.opened is None:
            raise RuntimeError("there is no response: the stream has not been opened")
        return self._stream.opened.response

    @property
    def rate_limits(self) -> RateLimits | None:
        """What the answer's ``anthropic-ratelimit-*`` headers say; None before it arrived."""
        opened = self._stream.opened
        return None if opened is None else opened.rate_limits

    @property
    def stats(self) -> StreamStats:
        """Timings and counts up to now."""
        return self._stream.stats
