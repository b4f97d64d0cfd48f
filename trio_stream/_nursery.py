"""The nursery of an ``async with`` block, and which exception leaves the block.

What belongs here: opening and closing that nursery from `__aenter__` and `__aexit__`, and the exception contract.
What does not: anything about messages or connections.

The contract, row by row (`tests/stream/test_exception_contract.py` holds each):

==============================  ==============================================
what happened                   what leaves the block
==============================  ==============================================
body raises                     that exception, the same object
child raises                    the body is cancelled; the child's exception
body and child raise            one group, ``[body, child]``
KeyboardInterrupt, SystemExit   it alone, wherever it was raised
outer scope cancelled           `Cancelled`; with a failing child, its exception
own scope cancelled             nothing
body raises a group             that group, the same object
GeneratorExit and child raise   the child's exception: to be closed is no failure
==============================  ==============================================

An exception of the body never enters the nursery: the nursery would wrap it into a group. It sees the body's
`Cancelled` only, because the nursery's scope alone can tell whether that was its own.
"""

from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager
from typing import cast, final

import trio

from ._generators import warn_in_generator
from ._runs import current_run


@final
class NurseryBlock:
    """A nursery that an ``async with`` block of your own opens and closes, with the exception contract of a stream.

    A class that owns tasks needs a nursery between its ``__aenter__`` and its ``__aexit__``. Trio's own would wrap
    every exception of the block into a group. With this one, exceptions leave as themselves: see "Which exception
    leaves the block" in the documentation of cancellation. ::

        class Ticker:
            async def __aenter__(self) -> Ticker:
                self._block = ts.NurseryBlock("ticker")
                await self._block.enter()
                self._block.nursery.start_soon(self._tick)
                return self

            async def __aexit__(self, kind, error, traceback) -> bool:
                self._block.check_may_leave()
                self._block.nursery.cancel_scope.cancel(reason="the ticker is closed")
                return await self._block.exit(error)

    Whatever has to be let go of in any case comes before `exit`, which waits for the tasks.

    In an async generator that is left at a ``yield`` in the block, no nursery is sound. Where it may be, `enter` warns.

    Args:
      owner: What the block is of, in the sentences of errors: "stream", for example.
      warn: Whether `enter` warns in an async generator. False for whoever has looked.

    Attributes:
      nursery: The nursery, once it has been entered.
      task: The task that entered it.

    Raises:
      RuntimeError: This is not called within a run of Trio.
    """

    __slots__ = ("_manager", "_owner", "_warn", "nursery", "task")

    nursery: trio.Nursery
    task: trio.lowlevel.Task

    def __init__(self, owner: str, *, warn: bool = True) -> None:
        current_run()
        self._owner = owner
        self._warn = warn
        self._manager: AbstractAsyncContextManager[trio.Nursery] = trio.open_nursery()

    async def enter(self) -> None:
        """Open the nursery in the current task. Not a checkpoint, so nothing can come between it and what follows.

        Warns:
          RuntimeWarning: This is called on entering a block in an async generator.
        """
        if self._warn:
            warn_in_generator(self._owner)
        self.task = trio.lowlevel.current_task()
        self.nursery = await self._manager.__aenter__()

    def check_may_leave(self) -> None:
        """Refuse to leave in another task than the one that entered, or before a nursery that was entered later.

        Call it first in ``__aexit__``. If it raises, let go of what the block owns and do not call `exit`.

        Raises:
          RuntimeError: Leaving now would corrupt Trio's stack of nurseries.
        """
        task = trio.lowlevel.current_task()
        if task is not self.task:
            raise RuntimeError(
                f"this {self._owner} was entered in task {self.task.name!r} and cannot be left in task {task.name!r}: "
                "a block belongs to the task that entered it, and it can be closed or cancelled from any other"
            )
        nurseries = task.child_nurseries
        if not nurseries or nurseries[-1] is not self.nursery:
            raise RuntimeError(
                "blocks and nurseries are left in the reverse order of entering them, "
                f"and one that was entered after this {self._owner} is still open"
            )

    async def exit(self, body: BaseException | None) -> bool:
        """Close the nursery, waiting for its tasks, after the body of the block ended with ``body``.

        If the body failed, the tasks are cancelled. A schedule point. A cancellation from outside cancels the tasks
        too, and this still waits until they have ended.

        Args:
          body: The exception that ended the body, as ``__aexit__`` gets it; None if there was none.

        Returns:
          What ``__aexit__`` returns: True when ``body`` ends here, False when it goes on as itself.

        Raises:
          BaseException: What the contract says, if that is not ``body``.
        """
        cancelled, failure = _separate(body)
        if failure is not None:
            self.nursery.cancel_scope.cancel(
                reason=f"the body of the {self._owner} block raised {type(failure).__name__}"
            )
        # Without tasks there is nothing to cancel, and a `Cancelled` that does not go through the nursery is not made a
        # group first: this is how nearly every stream is left that is cancelled, maybe a thousand of them at once.
        nested = None if cancelled is body and not self.nursery.child_tasks else cancelled
        try:
            await self._manager.__aexit__(
                None if nested is None else type(nested), nested, None if nested is None else nested.__traceback__
            )
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - sorted out below; nothing of it is dropped
            outer, failures = _sort_out(exc)
        else:
            if nested is not cancelled:
                return self.nursery.cancel_scope.shield or trio.current_effective_deadline() > -math.inf
            outer, failures = None, []

        if failure is not None:
            if outer is not None and cancelled is not None and not failures:
                return False  # a group of a failure and an outer `Cancelled`: both go on, in the same object
            if not (failures and isinstance(failure, GeneratorExit)):
                failures.insert(0, failure)
        leaving = _what_leaves(failures, self._owner) or outer
        if leaving is None:
            return True
        if leaving is body or (leaving is outer and cancelled is body is not None):
            return False
        context = leaving.__context__
        try:
            raise leaving
        finally:
            # As Trio's own nursery does: where the exception came from stays what it was.
            leaving.__context__ = context
            del leaving, outer, failures, failure, cancelled, body


def _parts(exc: BaseException) -> tuple[BaseException, ...]:
    """The exceptions that a group holds directly; any other exception as the only part."""
    if isinstance(exc, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", exc).exceptions
    return (exc,)


def _holds_cancelled(exc: BaseException) -> bool:
    return any(isinstance(part, trio.Cancelled) or (part is not exc and _holds_cancelled(part)) for part in _parts(exc))


def _separate(exc: BaseException | None) -> tuple[BaseException | None, BaseException | None]:
    """Split into what is `Cancelled` and what really failed, keeping the object where nothing has to be split."""
    if exc is None or not _holds_cancelled(exc):
        return None, exc
    if isinstance(exc, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", exc).split(trio.Cancelled)
    return exc, None


def _sort_out(exc: BaseException) -> tuple[BaseException | None, list[BaseException]]:
    """The outer cancellation, if any, and the failures among what the nursery raised."""
    outer: BaseException | None = None
    failures: list[BaseException] = []
    for raised in _parts(exc):
        cancelled, failure = _separate(raised)
        if cancelled is not None and outer is None:
            outer = cancelled
        if failure is not None:
            failures.append(failure)
    return outer, failures


def _what_leaves(failures: list[BaseException], owner: str) -> BaseException | None:
    if not failures:
        return None
    for failure in failures:
        interrupt = _find_interrupt(failure)
        if interrupt is not None:
            return interrupt
    if len(failures) == 1:
        return failures[0]
    return BaseExceptionGroup(f"the {owner} block failed in more than one place", failures)


def _find_interrupt(exc: BaseException) -> BaseException | None:
    for part in _parts(exc):
        found: BaseException | None = part if isinstance(part, (KeyboardInterrupt, SystemExit)) else None
        if found is None and part is not exc:
            found = _find_interrupt(part)
        if found is not None:
            return found
    return None
