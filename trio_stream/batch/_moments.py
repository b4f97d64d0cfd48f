"""The moments of a fan-out, as instruments are told them.

What belongs here: what each moment says, and telling it. What does not: when it happens (`_fan_out`, `_workers`,
`_attempts`), the moments of each item's calls, and who listens (`trio_stream._instruments`).

::

    JobStart
    ├── ItemStart             in the item's own task, for each item that is to be sent
    │   ├── (the moments of its calls, whose `Call.parent` is the job)
    │   ├── ItemRetry         between two requests of the item
    │   └── ItemEnd           exactly one for each ItemStart
    ├── Paused                nothing is sent until a moment
    └── JobEnd                exactly one for each JobStart

Items that are not sent, because the journal has their answer or the job has stopped, are in the counts of `JobEnd`.
"""

from __future__ import annotations

from typing import final

import trio

from trio_stream._errors import APIError
from trio_stream._instruments import Audience, JobInfo, Moment

from ._active_item import ActiveItem
from ._records import Item, Outcome
from ._stats import FanOutStats


class JobMoment(Moment, frozen=True, kw_only=True):
    """A moment of a fan-out.

    Args:
      job: The fan-out.
    """

    job: JobInfo


@final
class JobStart(JobMoment, frozen=True, kw_only=True):
    """A fan-out begins: its block has been entered."""


class ItemMoment(JobMoment, frozen=True, kw_only=True):
    """A moment of one item.

    Args:
      item: The item. Its request holds the prompt.
      index: Its zero-based position among the items.
    """

    item: Item
    index: int

    def __repr__(self) -> str:
        return f"{type(self).__name__}(at={self.at!r}, job={self.job!r}, index={self.index!r}, id={self.item.id!r})"


@final
class ItemStart(ItemMoment, frozen=True, kw_only=True):
    """An item is about to be sent. Told in its own task: a context variable that is set here holds for its calls."""


@final
class ItemRetry(ItemMoment, frozen=True, kw_only=True):
    """A request of an item failed, and another one follows.

    Args:
      error: What it failed with.
      delay: Seconds until it may ask for permission to send again.
    """

    error: APIError
    delay: float


@final
class Paused(JobMoment, frozen=True, kw_only=True):
    """A refusal of the API holds back all requests to a model.

    Args:
      until: The end of the pause, by Trio's clock.
    """

    until: float


@final
class ItemEnd(ItemMoment, frozen=True, kw_only=True):
    """An item has its outcome.

    Args:
      outcome: The outcome.
    """

    outcome: Outcome


@final
class JobEnd(JobMoment, frozen=True, kw_only=True):
    """A fan-out has ended: its last task is over.

    Args:
      stats: Its last figures.
    """

    stats: FanOutStats


@final
class JobWatch:
    """Tells the instruments of one fan-out its moments. There is none where nobody watches.

    Attributes:
      info: The fan-out.
    """

    def __init__(self, audience: Audience) -> None:
        self.info: JobInfo = JobInfo()
        self._audience = audience

    def start(self) -> None:
        """The block has been entered."""
        self._audience.tell(JobStart(job=self.info, at=trio.current_time()))

    def item_starts(self, active: ActiveItem) -> None:
        """The task of an item begins."""
        self._audience.tell(ItemStart(job=self.info, at=trio.current_time(), item=active.item, index=active.index))

    def item_retries(self, active: ActiveItem, error: APIError, delay: float) -> None:
        """An item is tried again after a delay in seconds."""
        self._audience.tell(
            ItemRetry(
                job=self.info, at=trio.current_time(), item=active.item, index=active.index, error=error, delay=delay
            )
        )

    def paused(self, until: float) -> None:
        """Nothing is sent until a moment of Trio's clock."""
        self._audience.tell(Paused(job=self.info, at=trio.current_time(), until=until))

    def item_ends(self, active: ActiveItem, outcome: Outcome) -> None:
        """An item has its outcome."""
        self._audience.tell(
            ItemEnd(job=self.info, at=trio.current_time(), item=active.item, index=active.index, outcome=outcome)
        )

    def end(self, stats: FanOutStats) -> None:
        """The last task has ended."""
        self._audience.tell(JobEnd(job=self.info, at=trio.current_time(), stats=stats))
