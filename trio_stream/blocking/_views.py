"""Views of a message's text and thinking, for threads.

What belongs here: cursors over the pieces of a message. What does not: reading on (`_reading`).

They are classes, because a `KeyboardInterrupt` ends a generator for good. Each step puts its cursor forward as the last
thing before it returns, with nothing in between that looks for signals: so an interrupted step has lost nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, final

import trio

from trio_stream._errors import APIError
from trio_stream._stream import SENTENCE_ENDS

from ._reading import TEXTS, Reading


@final
class PieceView(Iterator[str]):
    """The pieces of a text in the order they arrived, as `trio_stream.PieceView`.

    A step that was interrupted has lost nothing: the next one goes on from there.
    """

    __slots__ = ("_kind", "_next", "_reading")

    def __init__(self, reading: Reading[Any], kind: int) -> None:
        self._reading = reading
        self._kind = kind
        self._next = 0

    def __iter__(self) -> PieceView:
        return self

    def __next__(self) -> str:
        reading = self._reading
        while not reading.has_piece(self._kind, self._next):
            try:
                reading.skip()
            except trio.EndOfChannel:
                raise StopIteration from None
        piece = reading.pieces(self._kind)[self._next]
        self._next += 1
        return piece


@final
class TextChunks(Iterator[str]):
    """The text in pieces of a size that is pleasant to display, as `trio_stream.TextChunks`."""

    # The cursor is the place in the text where the next piece begins: how many pieces of the message have been given
    # wholly, and how many characters of the following one. `_came` has the time of each piece that was looked at.

    __slots__ = ("_at_punctuation", "_came", "_cursor", "_max_delay", "_min_chars", "_reading")

    def __init__(self, reading: Reading[Any], *, min_chars: int, at_punctuation: bool, max_delay: float | None) -> None:
        if min_chars < 1:
            raise ValueError(f"min_chars must be at least 1, not {min_chars}")
        if max_delay is not None and max_delay < 0:
            raise ValueError(f"max_delay must be a number of seconds or None, not {max_delay}")
        self._reading = reading
        self._min_chars = min_chars
        self._at_punctuation = at_punctuation
        self._max_delay = math.inf if max_delay is None else max_delay
        self._cursor = (0, 0)
        self._came: list[float] = []

    def __iter__(self) -> TextChunks:
        return self

    def __next__(self) -> str:
        reading, came = self._reading, self._came
        pieces = reading.pieces(TEXTS)
        first, within = self._cursor
        held = sum(map(len, pieces[first : len(came)])) - within
        while True:
            now = time.monotonic()
            due_in = came[first] + self._max_delay - now if held else math.inf
            end = self._cut(pieces[len(came) - 1], held, within if len(came) - 1 == first else 0) if held else 0
            if end or due_in <= 0:
                break
            if reading.has_piece(TEXTS, len(came)):
                held += len(pieces[len(came)])
                came.append(now)
                continue
            try:
                reading.skip(due_in)
            except (trio.EndOfChannel, APIError, trio.ClosedResourceError, trio.BrokenResourceError) as error:
                # What is held is text that arrived: it is given first, and then this is raised again.
                if held:
                    break
                if isinstance(error, trio.EndOfChannel):
                    raise StopIteration from None
                raise
            pieces = reading.pieces(TEXTS)
        last = len(came) - 1
        text = "".join(pieces[first : last + 1])[within:]
        cursor = (last + 1, 0)
        if end and end < len(pieces[last]):
            text = text[: end - len(pieces[last])]
            cursor = (last, end)
        self._cursor = cursor
        return text

    def _cut(self, newest: str, held: int, within: int) -> int:
        """Where to cut the newest piece, which is not to be cut before ``within``; 0 if it is not."""
        if held < self._min_chars:
            return 0
        if not self._at_punctuation:
            return len(newest)
        end = max(newest.rfind(mark) for mark in SENTENCE_ENDS) + 1
        # Whatever could be cut before the newest piece came has been.
        return end if end > within and held - (len(newest) - end) >= self._min_chars else 0
