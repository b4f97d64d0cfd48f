"""The blocks of one manager that have been entered and not been left: which of them is left now.

What belongs here: finding the place where a block is entered or left. What does not: entering and leaving (`_block`).

Nearly always there is one block at most. Several there are where a program keeps a manager and enters it again, each time
for a request of its own. In one task they end in the reverse order. In async generators they need not: two generators
may hold one manager, and the one that was entered first may end first. `__aexit__` is not told which block it ends, but
it is called, directly or not, by the function that called `__aenter__`, and each call of a function has a frame.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import NamedTuple, final

import trio

from ._block import StreamBlock

_OF_A_MANAGER = frozenset({"__aenter__", "__aexit__", "enter_async_context"})


class _Entry(NamedTuple):
    block: StreamBlock
    place: int  # the identity of a frame: to hold the frame itself would be a cycle, and keep its variables alive


@final
class Entries:
    """The blocks that have been entered and not been left. Its methods are called by ``__aenter__`` and ``__aexit__``."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, block: StreamBlock) -> None:
        """Note that a block has been entered here."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_name in _OF_A_MANAGER:
            frame = frame.f_back
        self._entries.append(_Entry(block, id(frame)))

    def remove(self, block: StreamBlock) -> None:
        """Note that a block has been left."""
        self._entries = [entry for entry in self._entries if entry.block is not block]

    def to_leave(self) -> StreamBlock:
        """The block that is left here: the one entered here, or else in this task, or else the last one.

        Raises:
          RuntimeError: There is none.
        """
        entries = self._entries
        if not entries:
            raise RuntimeError("this stream was never entered")
        if len(entries) == 1:
            return entries[0].block
        entered_last_first = entries[::-1]
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            here = id(frame)
            for block, place in entered_last_first:
                if place == here:
                    return block
            frame = frame.f_back
        task = trio.lowlevel.current_task()
        own = [block for block, _ in entered_last_first if block.belongs_to(task)]
        # One of another task is refused when it is left, and its connection closed all the same.
        return own[0] if own else entered_last_first[0].block
