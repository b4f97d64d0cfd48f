"""The state of a fan-out between its start and its end.

What belongs here: the states, what leads from one to another, and the items that are under way. What does not: the
tasks that do the work (`_feeder`, `_workers`), and the errors and outcomes that the consumer gets (`_outbox`).

==========  ===============================================  =========  ========  ==========  =====
state       meaning                                          begin      stop      cancel      end
==========  ===============================================  =========  ========  ==========  =====
NEW         no task has been started                         RUNNING    STOPPING  CANCELLING
RUNNING     items are taken and started                                 STOPPING  CANCELLING  ENDED
STOPPING    nothing new is started; answers that have begun  (itself)   (itself)  CANCELLING  ENDED
            go on to their ends
CANCELLING  every task is being cancelled                    (itself)   (itself)  (itself)    ENDED
ENDED       every task has ended; outcomes may be left to               (itself)  (itself)
            take
==========  ===============================================  =========  ========  ==========  =====

* *begin*: the block is entered. A fan-out that was drained or aborted before that stays so.
* *stop*: `FanOut.drain`, a budget, ``max_errors``, an account that the API refuses, an outage. `Job.stopped` says
  which.
* *cancel*: `FanOut.abort`, an error that the consumer gets, or leaving the block.
* *end*: the feeder and the last worker have ended.

Whether the block has been entered and left is another matter, and kept by `_block`.
"""

from __future__ import annotations

from enum import Enum
from typing import final

import trio

from ._active_item import ActiveItem
from ._moments import JobWatch
from ._outbox import Outbox
from ._stopping import FanOutStoppedError


class JobState(Enum):
    """The states; the table above says what leads from one to another."""

    NEW = "no task has been started"
    RUNNING = "items are taken and started"
    STOPPING = "nothing new is started"
    CANCELLING = "every task is being cancelled"
    ENDED = "every task has ended"


@final
class Job:
    """One run of a fan-out: its state, why it has that state, and which items are under way.

    Args:
      outbox: Told of the error and of the end.
      skip_rest: Whether a job that stops by itself still takes the remaining items, to give each a ``skipped`` outcome.

    Attributes:
      state: The state.
      stopped: What stopped it, the first reason of all; None while nothing has. An abort replaces a drain, and what
        keeps batches from being made replaces a detach, which would say that they go on.
      sends_nothing: The stop after which no request is made any more, not even for an item that has made one before;
        None while requests are made.
      active: The items that are under way, by index.
      skip_rest: As given.
      all_taken: Whether no further items come.
      tasks: The scope of the feeder and all workers. Cancelled from CANCELLING on.
      taking: The scope in which the feeder takes further items. Cancelled alone, it leaves the workers to finish.
      room: Where the feeder waits; woken by whatever may have made room.
      watch: Tells the instruments; None where nobody watches.
    """

    def __init__(self, outbox: Outbox, *, skip_rest: bool) -> None:
        self.state: JobState = JobState.NEW
        self.stopped: FanOutStoppedError | None = None
        self.sends_nothing: FanOutStoppedError | None = None
        self.active: dict[int, ActiveItem] = {}
        self.skip_rest: bool = skip_rest
        self.tasks: trio.CancelScope = trio.CancelScope()
        self.taking: trio.CancelScope = trio.CancelScope()
        self.room: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self.watch: JobWatch | None = None
        self.all_taken: bool = False
        self._outbox = outbox
        self._fault: Exception | None = None
        self._began_at: float | None = None
        self._ended_at: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since `begin`; up to `end`, once that has come."""
        if self._began_at is None:
            return 0.0
        return (trio.current_time() if self._ended_at is None else self._ended_at) - self._began_at

    def begin(self) -> None:
        """The block is entered, and the tasks are about to start."""
        self._began_at = trio.current_time()
        if self.state is JobState.NEW:
            self.state = JobState.RUNNING

    def stop(self, why: FanOutStoppedError) -> None:
        """Start nothing new. Answers that have begun go on to their ends.

        Items that wait to make their first request are skipped at once; so are those that wait to try again, where no
        request is made any more (`FanOutStoppedError.sends_nothing`): a pause may last for ten minutes.
        """
        if self.stopped is None or (self.stopped.reason == "detach" and why.prevents_requests):
            self.stopped = why
        if why.sends_nothing:
            self.sends_nothing = self.sends_nothing or why
        if self.state in (JobState.NEW, JobState.RUNNING):
            self.state = JobState.STOPPING
        if why.reason in ("drain", "detach", "items") or not self.skip_rest:
            self.taking.cancel(reason=f"the fan-out stopped: {why.reason}")
        for active in self.active.values():
            if active.waiting is not None and (why.sends_nothing or not active.attempts):
                active.stop = active.stop or self.stopped
                active.waiting.cancel(reason="the fan-out starts nothing new")
        # The feeder looks at the state before it takes another item. It may wait for room.
        self.room.unpark_all()

    def end_with(self, error: Exception) -> None:
        """Start nothing new, and let the consumer raise this error once everything under way has its outcome.

        For faults of the items: what has been sent is none of theirs, and has to be paid.
        """
        self._fault = self._fault or error
        stop = FanOutStoppedError(f"the items end with an error: {error}", reason="items")
        stop.__cause__ = error
        self.stop(stop)

    def abort(self) -> None:
        """Cancel every task, because the program wants no more."""
        if self.stopped is None or self.stopped.reason in ("drain", "detach"):
            self.stopped = FanOutStoppedError("the fan-out was aborted", reason="abort")
        self.cancel("the fan-out was aborted")

    def fail(self, error: Exception) -> None:
        """Cancel every task, and let the consumer raise this error. Only the first error counts."""
        if self._outbox.fail(error):
            self.cancel(f"the fan-out failed: {type(error).__name__}")

    def cancel(self, reason: str) -> None:
        """Cancel every task. What has arrived of their items becomes ``cancelled`` outcomes."""
        if self.state is not JobState.ENDED:
            self.state = JobState.CANCELLING
        self.tasks.cancel(reason=reason)

    def end(self) -> None:
        """Every task has ended."""
        self._ended_at = trio.current_time()
        self.state = JobState.ENDED
        self._outbox.close(self._fault)
