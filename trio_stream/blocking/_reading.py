"""How a thread takes events from a stream: the part that streams and their views share.

What belongs here: the next event, the end, and what the message is at the event that was taken last. What does not: the
wait (`_feed`), and names that users know (`_streams`, `_views`).
"""

from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, TypeVar, final

import trio

from trio_stream._protocol import MessageAccumulator

from ._feed import AsyncStream, Feed
from ._home import Home
from ._loop import Loop

AsyncStreamT = TypeVar("AsyncStreamT", bound=AsyncStream)

TEXTS: Final = 0
THINKINGS: Final = 1
"""The kinds of pieces, as their places in what a batch tells of them."""


@final
class Reading(Generic[AsyncStreamT]):
    """One stream, as the threads of a program read it.

    A program that drops its stream without leaving it drops this too, and then the stream is closed.

    Args:
      home: Kept alive, and so is its loop.
      loop: The loop.
      manager: The block of the asynchronous stream.
      of_message: Whether it is a message.

    Attributes:
      feed: The stream. ``for event in reading.feed.batch.ready: return event`` takes an event: in a loop over a list
        iterator nothing comes between taking it and returning it. After a call Python would look for signals, and an
        interrupt there would lose the event.
    """

    __slots__ = ("_closed", "_final", "_home", "_left", "feed")

    def __init__(
        self,
        home: Home,
        loop: Loop,
        manager: AbstractAsyncContextManager[AsyncStreamT],
        *,
        of_message: bool,
    ) -> None:
        self._left = True  # for `__del__`, should an interrupt come before there is a feed
        self._home = home
        self._closed = False
        self._final: MessageAccumulator | None = None
        self.feed: Feed[AsyncStreamT] = Feed(loop, manager, of_message=of_message)
        self._left = False

    def __del__(self) -> None:
        if not self._left:
            self.feed.abandon()

    @property
    def left(self) -> bool:
        """Whether its block has been left."""
        return self._left

    @property
    def closed(self) -> bool:
        """Whether it was left or closed before its end."""
        return self._closed

    def wait(self, seconds: float = math.inf) -> None:
        """Wait for another batch, where all of this one was taken.

        Args:
          seconds: How long at the most; then it returns as well.

        Raises:
          trio.EndOfChannel: There is none.
          BaseException: The stream's error; or as `Feed.read`.
        """
        batch = self.feed.batch
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self.end is not None:
            raise self.end
        if not batch.left:
            self.feed.read(seconds)

    def skip(self, seconds: float = math.inf) -> None:
        """Take all events that are there, and wait for more.

        Args:
          seconds: As for `wait`.

        Raises:
          Exception: As `wait`.
        """
        if not self._closed:
            self.feed.batch.take_all()
        self.wait(seconds)

    def has_piece(self, kind: int, number: int) -> bool:
        """Whether a piece of text is there. If so, all events up to the one that has brought it are taken.

        Args:
          kind: `TEXTS` or `THINKINGS`.
          number: Which piece, counted from 0.
        """
        if self._closed:
            return number < len(self.pieces(kind))
        batch = self.feed.batch
        number -= batch.before[kind]
        if number >= 0:
            places = batch.places[kind]
            if number >= len(places):
                return False
            batch.take_to(places[number])
        return True

    def pieces(self, kind: int) -> list[str]:
        """All pieces of text that have been read, those among them that `has_piece` has not looked at yet."""
        message = self._final
        if message is None:
            assert self.feed.taker is not None
            message = self.feed.taker.message
        return message.thinking_parts if kind else message.text_parts

    def message(self) -> MessageAccumulator | None:
        """The message as of the event that was taken last; None if the stream is not open."""
        if self._final is not None:
            return self._final
        taker = self.feed.taker
        return None if taker is None else self.feed.batch.message() or taker.message

    # Ending.

    def _settle(self) -> None:
        """Nothing more will be taken: the message stays what it is at the event that was taken last."""
        feed = self.feed
        batch = feed.batch
        if self._closed:
            batch.take_all()
            return
        if not batch.left and (batch.end is not None or (feed.taker is not None and feed.taker.message.complete)):
            return
        self._final = self.message()
        self._closed = True
        batch.take_all()

    @property
    def end(self) -> BaseException | None:
        """What the stream has ended with, `trio.EndOfChannel` or an error, once all events have been taken."""
        batch = self.feed.batch
        return None if batch.left else batch.end

    def leave(self, error: BaseException | None) -> None:
        """As `Feed.leave`."""
        if self.feed.is_new:
            raise RuntimeError("this stream was never entered")
        self._settle()
        self.feed.leave(error)
        self._left = True

    def abandon(self) -> None:
        """As `Feed.abandon`."""
        self._closed = True
        self.feed.abandon()

    def close(self) -> None:
        """As `Feed.close`."""
        self._settle()
        self.feed.close()
