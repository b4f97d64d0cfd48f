"""Cancel a function at every step it takes, and see that it leaves nothing behind.

What belongs here: the sweep over the steps. What does not: what counts as left behind (`_leftovers`).

The method is SQLite's, which fails every allocation in turn: Trio runs tasks in steps, from one checkpoint to
the next, and a cancellation can only ever arrive between two of them. So there are finitely many places to
try.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, final

import trio

from trio_stream.testing._leftovers import Leftovers

Check: TypeAlias = Callable[[], Awaitable[None] | None]


async def cancel_everywhere(
    fn: Callable[[], Awaitable[object]],
    check: Check | None = None,
    *,
    when: Literal["before", "after", "both"] = "both",
    max_steps: int = 10_000,
) -> int:
    """Run ``fn`` again and again, each time cancelled one task step later, until a run ends before its step.

    The steps are those of the task that runs ``fn`` and of all tasks that descend from it. A server in another
    task of the same program is not touched. Every run has to clean up after itself: it may leave no open file
    descriptor that was not open before, no ``ResourceWarning``, no coroutine that was never awaited, no async
    generator for the garbage collector, and no exception that could not be raised. Nothing but the cancellation may
    leave ``fn``.

    Works under `trio.testing.MockClock` and with real sockets. Warnings of other tasks are held back until it
    returns. A checkpoint; if it is cancelled, so is the run that is under way. A run that does not end when it is
    cancelled is for the caller to bound, with `trio.fail_after` around the call.

    Args:
      fn: Called without arguments. It makes what it needs anew in every run, or leaves it usable for the next.
      check: Called after each run, also after the first, which is not cancelled. It raises if anything is not in
        order any more.
      when: Whether to cancel before a step is taken, after it, or both: first before, then after every step.
      max_steps: Fail if one run takes more steps than this.

    Returns:
      How many runs were cancelled. With ``when="both"`` there are about two for each step.

    Raises:
      AssertionError: A run left something behind, or ``fn`` raised. The text says at which step, and what.
    """
    cancelled = 0
    with Leftovers() as leftovers:
        await _run(fn, check, _Probe("before", None), leftovers)
        # What the first run set up for good (an idle connection, an import) is not left behind by the later
        # ones.
        await leftovers.begin()
        for where in _ORDER[when]:
            for step in range(max_steps + 1):
                probe = _Probe(where, step)
                await _run(fn, check, probe, leftovers)
                if not probe.reached:
                    break
                cancelled += 1
            else:
                raise AssertionError(f"{_name(fn)} takes more than {max_steps} task steps")
    return cancelled


_ORDER: dict[str, tuple[Literal["before", "after"], ...]] = {
    "before": ("before",),
    "after": ("after",),
    "both": ("before", "after"),
}


async def _run(fn: Callable[[], Awaitable[object]], check: Check | None, probe: _Probe, leftovers: Leftovers) -> None:
    trio.lowlevel.add_instrument(probe)
    try:
        async with trio.open_nursery() as nursery:
            probe.nursery = nursery
            nursery.start_soon(probe.run, fn)
    finally:
        trio.lowlevel.remove_instrument(probe)
        probe.forget()
    if probe.error is not None:
        error, probe.error = probe.error, None
        raise AssertionError(f"{probe}: {type(error).__name__} left {_name(fn)}") from error
    found, cause = await leftovers.find()
    if found:
        raise AssertionError(f"{probe}: left behind: {'; '.join(found)}") from cause
    if check is not None:
        try:
            result = check()
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            raise AssertionError(f"{probe}: the check fails: {type(error).__name__}: {error}") from error


@final
class _Probe(trio.abc.Instrument):
    """Counts the steps of a task and its descendants, and cancels them at one of the steps."""

    def __init__(self, where: Literal["before", "after"], step: int | None) -> None:
        self._where = where
        self._step = step
        self._steps = 0
        self._tasks: set[trio.lowlevel.Task] = set()
        self._scope = trio.CancelScope()
        self._place = ""
        self.nursery: trio.Nursery | None = None
        self.reached = False
        self.error: Exception | None = None

    def __str__(self) -> str:
        if self._step is None:
            return "without any cancellation"
        if not self.reached:
            return f"after {self._steps} steps without a cancellation"
        return f"cancelled {self._where} task step {self._step} ({self._place})"

    async def run(self, fn: Callable[[], Awaitable[object]]) -> None:
        try:
            with self._scope:
                await fn()
        except Exception as error:  # noqa: BLE001 - kept for the one who asked for the run; never a Cancelled
            self.error = error

    def forget(self) -> None:
        """Let go of everything that could keep the run's objects alive."""
        self._tasks.clear()
        self.nursery = None

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        parent = task.parent_nursery
        if parent is not None and (parent is self.nursery or parent.parent_task in self._tasks):
            self._tasks.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._where == "before":
            self._count(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._where == "after":
            self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if task not in self._tasks:
            return
        if self._steps == self._step:
            self.reached = True
            self._place = _place(task)
            self._scope.cancel(reason=f"cancel_everywhere: {self._where} task step {self._step}")
        self._steps += 1


def _place(task: trio.lowlevel.Task) -> str:
    """Where a task waits: the innermost lines of it that are not Trio's own."""
    lines = [
        f"{frame.f_code.co_qualname} in {frame.f_code.co_filename.rpartition('/')[2]}:{line}"
        for frame, line in task.iter_await_frames()
        if frame.f_globals.get("__name__", "").partition(".")[0] != "trio" and frame.f_code is not _Probe.run.__code__
    ]
    return " < ".join(reversed(lines[-3:])) or "at its beginning or end"


def _name(fn: Callable[[], Awaitable[object]]) -> str:
    return str(getattr(fn, "__qualname__", fn))
