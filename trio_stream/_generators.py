"""Whether an async generator may suspend the block that is being entered.

What belongs here: finding such a generator, and warning of it. What does not: what a block does without a nursery
(`_stream`).

Trio keeps a stack of scopes and nurseries for each task. A nursery that is open where an async generator yields is on
the stack of whichever task took the generator's last step: another task may take the next one, or nobody, and scopes
that the consumer has opened since are closed before those below them. Trio's stack is corrupt then, and the whole
program ends with `TrioInternalError`. (PEP 789 would forbid such a `yield`; it is a draft.) The endpoint that everybody
writes for a browser, ``async with stream: async for text in ...: yield text``, is of this kind.

So a block asks here first. A stream that is entered in such a generator opens no nursery; what cannot do without tasks
opens one and warns (`NurseryBlock`). The answer is in the frames that wait for the one that asks:

1. Going up, look for an async generator that waits in an *entering* frame: ``__aenter__``, or the
   ``enter_async_context`` of an exit stack. Where a generator waits in anything else, in ``await answer(question)`` for
   example, the block is within that function and ends before the generator goes on.
2. Who takes the steps of such a generator, its *driver*, is the frame above it.

   * `contextlib`: it serves as a context manager (``@asynccontextmanager``), and yields once, in the block of whoever
     enters that. So the search goes on above.
   * `trio._channel` (``@trio.as_safe_channel``), `pytest_trio.plugin` and `anyio._backends._trio` (fixtures): all steps
     are taken by one task, which does nothing else. A nursery is sound.
   * Anything else: the generator may be suspended and forgotten in the block.

Whether it really yields there, only its bytecode could tell, which differs in every version of Python and is not
read: a generator that leaves the block before it yields gets no nursery either.

What this cannot see is a block beneath a generator that one function enters and another one leaves: with
``await opener(stack)``, or ``stream.__aenter__()`` in somebody's ``__anext__``. Who writes that has to know which
scopes are open where.

Frames and their names are the same in all supported versions of Python; `tests/stream/test_generators.py` has each of
these placements. The search takes about 0.1 us for each frame, once for each block, up to the first frame of the task.
"""

from __future__ import annotations

import warnings
from inspect import CO_ASYNC_GENERATOR, currentframe
from types import FrameType
from typing import Final

from trio.lowlevel import current_task

_ENTERING: Final = frozenset({"__aenter__", "enter_async_context"})
"""The functions that a frame waits in while it enters a block that outlives the call."""

_IN_ONE_TASK: Final = frozenset({"trio._channel", "pytest_trio.plugin", "anyio._backends._trio"})
"""The modules that take all steps of a generator in one task, which does nothing else in between."""

USE_A_CHANNEL: Final = "Make the generator a channel with @trio.as_safe_channel"
"""What to do about a generator that yields in a block. The begin of a sentence."""


def suspending_generator() -> FrameType | None:
    """The frame of the async generator that may suspend the block that is being entered; None if there is none.

    To be called while the block is entered, before anything was waited for, in a task.
    """
    first = getattr(current_task().coro, "cr_frame", None)
    frame = currentframe()
    while frame is not None and frame is not first:
        waiting = frame.f_back
        if frame.f_code.co_name in _ENTERING and waiting is not None and waiting.f_code.co_flags & CO_ASYNC_GENERATOR:
            driver = waiting.f_back
            module = None if driver is None else driver.f_globals.get("__name__")
            if module in _IN_ONE_TASK:
                return None
            if module != "contextlib":
                return waiting
        frame = waiting
    return None


def warn_in_generator(owner: str) -> None:
    """Warn once of a block with a nursery that an async generator may suspend, at the line where it is entered.

    Args:
      owner: What the block is of, for example "run".
    """
    generator = suspending_generator()
    if generator is None:
        return
    code, names = generator.f_code, generator.f_globals
    warnings.warn_explicit(
        f"this {owner} needs tasks, and is entered in the async generator {code.co_qualname!r}: if that is left at a "
        f"`yield` in the block, Trio's scopes are corrupt. {USE_A_CHANNEL}",
        RuntimeWarning,
        filename=code.co_filename,
        lineno=generator.f_lineno or code.co_firstlineno,
        module=names.get("__name__"),
        registry=names.setdefault("__warningregistry__", {}),
    )
