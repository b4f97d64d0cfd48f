"""Views of a message's text and thinking, as strings instead of events.

What belongs here: cursors over the accumulated pieces, and cutting text into pieces that are pleasant to display.
What does not: reading (a view asks its stream for one more event).

Each view has a cursor of its own over what the stream has accumulated, so no text is lost whatever else has read
events before or in between. Events have one cursor: what a view pulled is not delivered again.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import final

import trio
from trio.lowlevel import checkpoint_if_cancelled

from trio_stream._errors import APIError
from trio_stream._protocol import MessageAccumulator

from ._lifecycle import StreamLifecycle
from ._reader import EventReader

SENTENCE_ENDS = ".!?;:…。！？；：\n"
"""The characters after which `TextChunks` may cut when it is asked to cut at punctuation."""


@final
class PieceView(AsyncIterator[str]):
    """The pieces of a text in the order they arrived.

    Every step is a cancellation point, and a cancelled one loses nothing.
    """

    def __init__(
        self, stream: StreamLifecycle[EventReader], pieces: Callable[[MessageAccumulator], Sequence[str]]
    ) -> None:
        self._stream = stream
        self._find_pieces = pieces
        self._pieces: Sequence[str] = ()  # grows as the message does, once there is one
        self._next = 0

    def __aiter__(self) -> PieceView:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> str:
        stream = self._stream
        if self._pieces == () and stream.opened is not None:
            self._pieces = self._find_pieces(stream.opened.reader.accumulator)
        reader = stream.reader
        has_to_wait = reader is not None and reader.starved and self._next >= len(self._pieces)
        if not has_to_wait:  # else the wait looks for cancellation, as in `StreamBase.__anext__`
            await checkpoint_if_cancelled()
        while self._next >= len(self._pieces):
            if (has_to_wait or not stream.skip()) and not await stream.wait():
                raise StopAsyncIteration
            has_to_wait = False
        piece = self._pieces[self._next]
        self._next += 1
        return piece


@final
class TextChunks(AsyncIterator[str]):
    """The text in pieces of a size that is pleasant to display.

    Nothing here sleeps: a piece is given as soon as it is due, and what is left is given before an error is raised.
    """

    def __init__(
        self, view: PieceView, *, min_chars: int, at_punctuation: bool, max_delay: float | None, cancel_safe: bool
    ) -> None:
        if min_chars < 1:
            raise ValueError(f"min_chars must be at least 1, not {min_chars}")
        if max_delay is not None and max_delay < 0:
            raise ValueError(f"max_delay must be a number of seconds or None, not {max_delay}")
        self._view = view
        self._min_chars = min_chars
        self._at_punctuation = at_punctuation
        self._max_delay = math.inf if max_delay is None else max_delay
        self._cancel_safe = cancel_safe
        self._held: list[str] = []
        self._held_chars = 0
        self._due_at = math.inf
        self._newest_due_at = math.inf
        self._ended: BaseException | None = None

    def __aiter__(self) -> TextChunks:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> str:
        await checkpoint_if_cancelled()
        while True:
            if self._held_chars >= self._min_chars:
                piece = self._take_due()
                if piece:
                    return piece
            if self._ended is not None:
                if self._held:
                    return self._take_all()
                raise self._ended
            if self._held and trio.current_time() >= self._due_at:
                return self._take_all()
            await self._hold_one_more()

    async def _hold_one_more(self) -> None:
        # Where a cancelled read would break the stream, the delay is only looked at when text arrives.
        deadline = self._due_at if self._held and self._cancel_safe else math.inf
        try:
            with trio.move_on_at(deadline):
                piece = await self._view.__anext__()
                self._newest_due_at = trio.current_time() + self._max_delay
                if not self._held:
                    self._due_at = self._newest_due_at
                self._held.append(piece)
                self._held_chars += len(piece)
        except (StopAsyncIteration, APIError, trio.ClosedResourceError, trio.BrokenResourceError) as end:
            # What is held is text that arrived: it is given first, then this is raised.
            self._ended = end

    def _take_due(self) -> str:
        if not self._at_punctuation:
            return self._take_all()
        newest = self._held[-1]
        cut = max(newest.rfind(mark) for mark in SENTENCE_ENDS) + 1
        # Whatever could be cut before the newest piece came has been.
        if not cut or self._held_chars - len(newest) + cut < self._min_chars:
            return ""
        rest = newest[cut:]
        self._held[-1] = newest[:cut]
        text = self._take_all()
        if rest:
            self._held, self._held_chars, self._due_at = [rest], len(rest), self._newest_due_at
        return text

    def _take_all(self) -> str:
        text = "".join(self._held)
        self._held, self._held_chars = [], 0
        return text
