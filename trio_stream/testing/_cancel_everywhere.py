"""Cancel a function at every step it takes, or do something else to it there, and see that it leaves nothing behind.

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
    action: Callable[[], object] | None = None,
    watch: Callable[[], object] | None = None,
    when: Literal["before", "after", "both"] = "both",
    every: int = 1,
    max_steps: int = 10_000,
) -> int:
    """Run ``fn`` again and again, each time cancelled one task step later, until a run ends before its step.

    With ``action``, something else happens at that step than a cancellation: an agent is interrupted, a connection is
    cut, a setting changes. With ``watch``, a condition that has to hold all the time is looked at after every step.
    Both are plain functions, because nothing can be awaited between two steps, and reach what ``fn`` made through a
    variable that ``fn`` sets::

        run: ts.Run | None = None

        async def fn() -> None:
            nonlocal run
            chat = ts.Conversation(client, model="claude-sonnet-5-5", max_tokens=64, tools=[search])
            async with chat.run("Compare trio and anyio.") as run:
                await run.result()

        def interrupt() -> None:
            if run is not None:  # it is called at the steps before there is a run, too
                run.interrupt("the test")

        await cancel_everywhere(fn, action=interrupt)

    The steps are those of the task that runs ``fn`` and of all tasks that descend from it. A server in another
    task of the same program is not touched. Every run has to clean up after itself: it may leave no open file
    descriptor that was not open before, no ``ResourceWarning``, no coroutine that was never awaited, no async
    generator for the garbage collector, and no exception that could not be raised. Nothing but the cancellation may
    leave ``fn``.

    Works under `trio.testing.MockClock` and with real sockets. Warnings of other tasks are held back until it
    returns. A checkpoint; if it is cancelled, so is the run that is under way. A run that does not end, although it
    was cancelled or had its ``action``, is for the caller to bound, with `trio.fail_after` around the call.

    Args:
      fn: Called without arguments. It makes what it needs anew in every run, or leaves it usable for the next.
      check: Called after each run, also after the first, which is not cancelled. It raises if anything is not in
        order any more.
      action: Called without arguments at the step, once in each run but the first, in place of cancelling the run. If
        it raises, that is a failure. It may be called between any two steps of a run, also before ``fn`` has set
        anything up and after it has taken everything down.
      watch: Called without arguments after every step of the run's tasks, and right after ``action``, in every run. It
        raises if the condition does not hold. The run is cancelled then, and the failure names the step.
      when: Whether to cancel before a step is taken, after it, or both: first before, then after every step.
      every: Cancel at the first step and then at every so many, for a sweep that is too long for every test run. 1: at
        all of them.
      max_steps: Fail if one run takes more steps than this.

    Returns:
      How many runs were cancelled, or had their ``action``. With ``when="both"`` there are about two for each step.

    Raises:
      AssertionError: A run left something behind, or ``fn``, ``check``, ``action`` or ``watch`` raised. The text says
        at which step, and what.
    """
    reached = 0
    with Leftovers() as leftovers:
        await _run(fn, check, _Probe("before", None, action, watch), leftovers)
        # What the first run set up for good (an idle connection, an import) is not left behind by the later
        # ones.
        await leftovers.begin()
        for where in _ORDER[when]:
            for step in range(0, max_steps + 1, every):
                probe = _Probe(where, step, action, watch)
                await _run(fn, check, probe, leftovers)
                if not probe.reached:
                    break
                reached += 1
            else:
                raise AssertionError(f"{_name(fn)} takes more than {max_steps} task steps")
    return reached


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
    failure, probe.failure = probe.failure, None
    if failure is not None:
        raise AssertionError(f"{probe}: {failure}") from failure.error
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
class _Failure:
    """What ``action`` or ``watch`` raised, and when."""

    def __init__(self, when: str, error: BaseException) -> None:
        self.when = when
        self.error = error

    def __str__(self) -> str:
        return f"{self.when}: {type(self.error).__name__}: {self.error}"


@final
class _Probe(trio.abc.Instrument):
    """Counts the steps of a task and its descendants, and cancels them, or calls ``action``, at one of the steps."""

    def __init__(
        self,
        where: Literal["before", "after"],
        step: int | None,
        action: Callable[[], object] | None,
        watch: Callable[[], object] | None,
    ) -> None:
        self._where = where
        self._step = step
        self._action = action
        self._watch = watch
        self._steps = 0
        self._tasks: set[trio.lowlevel.Task] = set()
        self._scope = trio.CancelScope()
        self._place = ""
        self.nursery: trio.Nursery | None = None
        self.reached = False
        self.error: Exception | None = None
        self.failure: _Failure | None = None

    def __str__(self) -> str:
        cancelled = self._action is None
        if self._step is None:
            return "without any cancellation" if cancelled else "without any action"
        if not self.reached:
            return f"after {self._steps} steps without {'a cancellation' if cancelled else 'an action'}"
        done = "cancelled" if cancelled else "action called"
        return f"{done} {self._where} task step {self._step} ({self._place})"

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
        if self._where == "before" and task in self._tasks:
            self._act(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task not in self._tasks:
            return
        if self._watch is not None:
            self._call(self._watch, f"`watch` fails after task step {self._steps}", task)
        if self._where == "after":
            self._act(task)
        self._steps += 1

    def _act(self, task: trio.lowlevel.Task) -> None:
        if self._steps != self._step:
            return
        self.reached = True
        self._place = _place(task)
        if self._action is None:
            self._scope.cancel(reason=f"cancel_everywhere: {self._where} task step {self._step}")
            return
        self._call(self._action, "`action` fails", task)
        if self._watch is not None:
            self._call(self._watch, "`watch` fails right after `action`", task)

    def _call(self, function: Callable[[], object], when: str, task: trio.lowlevel.Task) -> None:
        if self.failure is not None:
            return
        try:
            function()
        except BaseException as error:  # noqa: ASYNC103, BLE001 - Trio would log it and go on
            # Not an `Exception` alone: pytest's `fail` raises none.
            self.failure = _Failure(f"{when} ({_place(task)})", error)
            self._scope.cancel(reason=f"cancel_everywhere: {when}")


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
