"""The place where a block is entered: which of the blocks of one manager is left now.

What belongs here: finding that place, on entering and on leaving. What does not: entering and leaving (`_block`).

Nearly always a manager has one block at most. It has several where a program keeps it and enters it again, each time
for a request of its own. In one task they end in the reverse order. In async generators they need not: two generators
may hold one manager, and the one that was entered first may end first. `__aexit__` is not told which block it ends, but
it is called, directly or not, by the function that called `__aenter__`, and each call of a function has a frame.
"""

from __future__ import annotations

import inspect

import trio

from ._block import StreamBlock

_OF_A_MANAGER = frozenset({"__aenter__", "enter_async_context"})


def note_place(block: StreamBlock) -> None:
    """Note the place where a block is entered. To be called by ``__aenter__``."""
    frame = inspect.currentframe()
    assert frame is not None
    frame = frame.f_back
    while frame is not None and frame.f_code.co_name in _OF_A_MANAGER:
        frame = frame.f_back
    # Not the frame itself, which would be a cycle, and would keep the variables of the function alive.
    block.place = id(frame)


def block_to_leave(entered: list[StreamBlock]) -> StreamBlock:
    """The block that is left here. To be called by ``__aexit__``.

    Args:
      entered: The blocks that have been entered and not been left, in this order.

    Returns:
      The block that was entered here, or else in this task, or else the last one.

    Raises:
      RuntimeError: There is none.
    """
    if not entered:
        raise RuntimeError("this stream was never entered")
    if len(entered) == 1:
        return entered[0]
    last_first = entered[::-1]
    frame = inspect.currentframe()
    while frame is not None:
        here = id(frame)
        for block in last_first:
            if block.place == here:
                return block
        frame = frame.f_back
    task = trio.lowlevel.current_task()
    # One of another task is refused when it is left, and its connection is closed all the same.
    return next((block for block in last_first if block.belongs_to(task)), last_first[0])
