"""The tasks of a fan-out that send requests: one for each item that is under way.

What belongs here: starting such a task, and noticing how it ended. What does not: its requests (`_attempts`), and what
follows from its outcome (`_settling`).
"""

from __future__ import annotations

from typing import final

import trio

from trio_stream._instruments import current_item, current_job

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._job import Job
from ._records import Outcome
from ._settling import Settler


@final
class Workers:
    """Runs each item in a task of its own. Errors are kept for the consumer: a worker raises none."""

    def __init__(self, job: Job, attempts: Attempts, settler: Settler) -> None:
        self._job = job
        self._attempts = attempts
        self._settler = settler

    def start(self, active: ActiveItem, nursery: trio.Nursery) -> None:
        """Start the task of an item, which is under way from now on, although the task has not run yet."""
        self._job.active[active.index] = active
        nursery.start_soon(self.work, active, name=f"trio_stream item {active.index}")

    async def work(self, active: ActiveItem) -> Outcome | None:
        """The life of an item's task, from its first step to its last; the item is under way.

        Returns:
          Its outcome, which is settled.
        """
        watch = self._job.watch
        if watch is not None:
            current_job.set(watch.info)
            current_item.set(active.item.id or f"#{active.index}")
            if not active.attempts:  # otherwise it was in a batch before
                watch.item_starts(active)
        outcome: Outcome | None = None
        try:
            outcome = await self._attempts.run(active)
            self._settler.settle(active, outcome)
        except Exception as error:  # noqa: BLE001 - kept for the consumer
            outcome = active.outcome("error", error)  # for instruments only: nobody gets it
            self._job.fail(error)
        except BaseException:
            # `Cancelled`, mostly: the job was aborted or has failed, or the block was left.
            outcome = self._settler.settle_cancelled(active)
            raise
        finally:
            self._end(active)
            if watch is not None and outcome is not None:
                watch.item_ends(active, outcome)
        return outcome

    def _end(self, active: ActiveItem) -> None:
        """The item is under way no more, whichever way it ended."""
        del self._job.active[active.index]
        self._job.room.unpark_all()
