"""Settling an item that has its outcome.

What belongs here: who gets the outcome in which order, and its consequences for the other items. What does not: when
too many have failed (`_stopping`), and carrying out the stop (`_job`).
"""

from __future__ import annotations

from typing import final

import trio

from ._active_item import ActiveItem
from ._governor import Governor
from ._job import Job
from ._journal_keeper import JournalKeeper
from ._options import FanOutOptions
from ._outbox import Outbox
from ._records import Outcome
from ._stopping import Failures, FanOutStoppedError


@final
class Settler:
    """Gives every outcome to the journal first and then to the consumer, and draws the consequences.

    The order is a promise: what the consumer has seen must be on record, or a run that dies right after would pay for
    it again. An interrupt (Ctrl-C) waits until both are done, so that no outcome is given twice or lost between them.
    """

    def __init__(
        self, job: Job, outbox: Outbox, keeper: JournalKeeper, governor: Governor, options: FanOutOptions
    ) -> None:
        self._job = job
        self._outbox = outbox
        self._keeper = keeper
        self._governor = governor
        self._failures = Failures(options.max_errors)
        self._raise_errors = options.on_error == "raise"

    @trio.lowlevel.enable_ki_protection
    def settle(self, active: ActiveItem, outcome: Outcome, *, from_journal: bool = False) -> None:
        """An item has ended.

        Args:
          active: The item.
          outcome: Its outcome.
          from_journal: Whether the journal gave it, which then need not be told.

        Raises:
          JournalError: The journal cannot be written; nobody gets the outcome.
        """
        if not from_journal:
            self._keeper.end(active, outcome)
        self._outbox.put(outcome)
        if active.stop is not None:
            self._job.stop(active.stop)
        too_many = self._failures.note(outcome, place=active.place, answered=self._governor.answered > 0)
        if too_many is not None:
            self._job.stop(too_many)
        if self._raise_errors and outcome.error is not None and not _was_asked_for(outcome.error):
            self._job.fail(outcome.error)

    @trio.lowlevel.enable_ki_protection
    def settle_cancelled(self, active: ActiveItem) -> Outcome:
        """The task of an item was cancelled: keep what has arrived. Never raises, as the cancellation has to go on.

        Returns:
          The outcome that the consumer gets.
        """
        stopped = self._job.stopped
        aborted = stopped if stopped is not None and stopped.reason == "abort" else None
        outcome = active.outcome("cancelled" if active.attempts else "skipped", aborted)
        try:
            self._keeper.partial(active, outcome)
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            self._job.fail(error)
        self._outbox.put(outcome)
        return outcome


def _was_asked_for(error: Exception) -> bool:
    return isinstance(error, FanOutStoppedError) and error.reason in ("drain", "detach", "abort")
