"""The outcomes that wait for the consumer, and how the consumer learns that there will be no more.

What belongs here: handing over outcomes, the error, or the end. What does not: where outcomes come from
(`_settling`), and how many may wait (`_feeder`).
"""

from __future__ import annotations

from collections import Counter, deque
from time import perf_counter
from typing import Any, Final, cast, final

import trio

from ._records import Outcome, Status

_SCHEDULE_EVERY: Final = 0.001
"""Seconds of taking outcomes after which other tasks get their turn, where none of them had to be waited for."""


@final
class Outbox:
    """A queue of outcomes in the order in which they come. `put` never waits: the feeder bounds what is under way.

    It is open at first. `fail` makes every further `take` raise, at once, and the outcomes that have not been taken
    stay in `unread`. `close` lets the consumer take what is left before the iteration ends, or raises what ended it. An
    error of `fail` wins over the end, whichever came first.

    Attributes:
      counts: How many outcomes of each status there have been.
    """

    __slots__ = ("_arrived", "_closed", "_failure", "_failure_raised", "_fault", "_outcomes", "_scheduled_at", "counts")

    def __init__(self) -> None:
        self.counts: Counter[Status] = Counter()
        self._outcomes: deque[Outcome] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._closed = False
        self._failure: Exception | None = None
        self._fault: Exception | None = None  # raised after the last outcome
        self._failure_raised = False  # leaving the block does not raise it again
        self._scheduled_at = 0.0

    def __len__(self) -> int:
        """How many outcomes have not been taken."""
        return len(self._outcomes)

    @property
    def unread(self) -> tuple[Outcome, ...]:
        """The outcomes that have not been taken."""
        return tuple(self._outcomes)

    def put(self, outcome: Outcome) -> None:
        """Add an outcome, and wake one consumer."""
        self.counts[outcome.status] += 1
        self._outcomes.append(outcome)
        if self._arrived:
            self._arrived.unpark()

    def fail(self, error: Exception) -> bool:
        """Make `take` raise an error. Only the first one counts.

        Returns:
          Whether it is the first.
        """
        first = self._failure is None
        if first:
            self._failure = error
        self._arrived.unpark_all()
        return first

    def close(self, fault: Exception | None = None) -> None:
        """Say that no outcome will come any more.

        Args:
          fault: What `take` raises once everything has been taken; None for the end of the iteration.
        """
        self._closed = True
        self._fault = fault
        self._arrived.unpark_all()

    async def take(self) -> Outcome:
        """Wait for the next outcome. A cancellation point: if it is cancelled nothing is lost.

        Other tasks get their turn where it waits, and about every millisecond where it does not.

        Raises:
          StopAsyncIteration: The outbox is closed, and everything has been taken.
          Exception: The error given to `fail`, with ``outcomes`` set to those that have not been taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._failure is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise self._raised(self._failure)
            if self._outcomes:
                outcome = self._outcomes.popleft()
                # A schedule point for each would take a third of the time of results that are there already.
                if perf_counter() - self._scheduled_at >= _SCHEDULE_EVERY:
                    # Once it is out of the queue it has to arrive: a cancellation is noticed by the next call.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    self._scheduled_at = perf_counter()
                return outcome
            if self._closed:
                if self._fault is not None:
                    self.fail(self._fault)
                    continue
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise StopAsyncIteration
            await self._arrived.park()

    def raise_unseen_failure(self) -> None:
        """Raise the error given to `fail`, unless `take` has raised it already.

        Raises:
          Exception: That error.
        """
        failure = self._failure or self._fault
        if failure is not None and not self._failure_raised:
            raise self._raised(failure)

    def _raised(self, error: Exception) -> Exception:
        self._failure_raised = True
        cast("Any", error).outcomes = self.unread
        # It may be raised several times, and each time with the traceback of that time only.
        return error.with_traceback(None)
