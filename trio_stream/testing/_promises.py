"""Promises that can be checked one after another, each told by name when it is not kept.

What belongs here: running a check under a deadline, saying what failed, and a task that waits so that others can
disturb it. What does not: what is promised (`_check_body`, `_check_transport`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import final

import msgspec
import trio
import trio.testing

from trio_stream._nursery import NurseryBlock

POLL_SECONDS = 0.002
"""How often something is looked at that a peer does, and that nobody tells."""


@final
class Promise(msgspec.Struct, frozen=True):
    """One thing that is checked.

    Args:
      sentence: What is promised.
      check: Raises whatever it likes if the promise is not kept.
    """

    sentence: str
    check: Callable[[], Awaitable[None]]

    async def verify(self, seconds: float) -> None:
        """Check it. A checkpoint, and can be cancelled.

        Args:
          seconds: After so long the check counts as failed.

        Raises:
          AssertionError: The promise is not kept. The text names it and says what happened.
        """
        __tracebackhide__ = True
        # Not `fail_after`: some errors of this library are `TooSlowError` too.
        with trio.move_on_after(seconds) as scope:
            try:
                await self.check()
            except AssertionError as error:
                raise AssertionError(f"{self.sentence}: {error}") from error
            except Exception as error:
                text = f"{self.sentence}: {type(error).__name__} was raised: {error}"
                raise AssertionError(text) from error
        if scope.cancelled_caught:
            raise AssertionError(f"{self.sentence}: after {seconds:g} seconds it still had not happened")


def require(condition: bool, sentence: str) -> None:  # noqa: FBT001 - as in an assert statement
    """Raise an `AssertionError` with a sentence that says what is wrong, unless ``condition`` holds."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(sentence)


async def eventually(condition: Callable[[], bool], otherwise: str, *, seconds: float) -> None:
    """Wait until a condition holds, for example on what a server has noticed.

    Raises:
      AssertionError: It did not within ``seconds``; the text is ``otherwise``.
    """
    __tracebackhide__ = True
    with trio.move_on_after(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(POLL_SECONDS)
        return
    raise AssertionError(otherwise)


@final
class Attempt:
    """A block with a task beside it that does one thing; the task is blocked, or done, when the block begins.

    Attributes:
      over: Set when the task is done.
      error: The exception that ended it, or None. A cancellation is not kept.
      cancelled: Whether `cancel_and_wait` ended it.
    """

    def __init__(self, function: Callable[[], Awaitable[object]]) -> None:
        self._function = function
        self._block = NurseryBlock("check")
        self._scope = trio.CancelScope()
        self.over = trio.Event()
        self.error: Exception | None = None
        self.cancelled = False

    async def __aenter__(self) -> Attempt:
        await self._block.enter()
        self._block.nursery.start_soon(self._run)
        try:
            await trio.testing.wait_all_tasks_blocked()
        except BaseException as exc:
            await self._block.exit(exc)  # noqa: ASYNC102, ASYNC120 - waits as a nursery does
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._block.nursery.cancel_scope.cancel(reason="the check is over")
        return await self._block.exit(exc)  # noqa: ASYNC102 - waits as a nursery does

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._function()
        except Exception as error:  # noqa: BLE001 - kept for the one who asked; a Cancelled goes on
            self.error = error
        finally:
            self.cancelled = self._scope.cancelled_caught
            self.over.set()

    async def cancel_and_wait(self) -> None:
        """Cancel the task and wait until it is done."""
        self._scope.cancel(reason="the check cancels what waits")
        await self.over.wait()


async def blocks(function: Callable[[], Awaitable[object]]) -> bool:
    """Call a function, and find out whether it waits for anything but its turn.

    Told by the scheduler and not by a clock: for as long as a task can run, not all tasks are blocked.
    """
    seen = False
    failure: Exception | None = None

    async def watch() -> None:
        nonlocal seen
        await trio.testing.wait_all_tasks_blocked()
        seen = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.lowlevel.checkpoint()  # from here on `watch` waits
        try:
            await function()
        except Exception as error:  # noqa: BLE001 - raised below, where no nursery makes it a group
            failure = error
        nursery.cancel_scope.cancel(reason="the function has returned")
    if failure is not None:
        raise failure
    return seen
