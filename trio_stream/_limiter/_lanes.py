"""Who is next: two lanes of requests that wait for the same limits.

What belongs here: the order in which waiting requests are let through. What does not: whether there is room for the
next one (`_account`), and when that is looked at (`_header_limiter`).

In each lane first come is first served. The interactive lane goes before the batch lane, but for what the batch lane is
owed: while both wait, it gets a share of the tokens, so that nobody's work stands still for ever.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, final

import trio

from ._interface import LANES, Lane, Permit

_numbers = itertools.count()


@final
class Waiter:
    """A request that waits.

    Attributes:
      permit: Its permit.
      number: Its place in the order in which all requests came.
    """

    __slots__ = ("_lot", "number", "permit")

    def __init__(self, permit: Permit) -> None:
        self.permit: Permit = permit
        self.number: int = next(_numbers)
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, but no longer than so many seconds."""
        with trio.move_on_after(seconds):
            await self._lot.park()

    def wake(self) -> None:
        """Have it look again whether it may go."""
        self._lot.unpark_all()


class Turn(NamedTuple):
    """The next request.

    Attributes:
      waiter: The request.
      owed: Whether it goes first because the batch lane is owed so many tokens.
    """

    waiter: Waiter
    owed: bool


@final
class Floor:
    """The share of the tokens that the batch lane gets while both lanes wait.

    Each request of the interactive lane that is sent while one of the batch lane waits adds to what that lane is owed.
    When this is enough for its next request, that goes first. Nothing is saved up while only one of the lanes waits.

    Args:
      share: The share, from 0 to less than 1.
    """

    __slots__ = ("_owed", "_ratio")

    def __init__(self, share: float) -> None:
        self._ratio = share / (1 - share)  # tokens of the batch lane for each token of the interactive lane
        self._owed = 0.0

    def choose(
        self, interactive: Waiter | None, batch: Waiter | None, tokens: Callable[[Permit], float]
    ) -> Turn | None:
        """Return which of the first requests of the two lanes is next; None if there is none.

        Args:
          interactive: The first of that lane.
          batch: The first of that lane.
          tokens: A function that returns the tokens of a request.
        """
        # Also where no one waits in the interactive lane: people who are let through at once, by the reserve, may come
        # so often that the reserve is never whole.
        if batch is not None and 0 < self._owed >= tokens(batch.permit):
            return Turn(batch, owed=True)
        waiter = interactive or batch
        return None if waiter is None else Turn(waiter, owed=False)

    def sent(self, lane: Lane, tokens: float, *, both: bool) -> None:
        """A request is sent.

        Args:
          lane: Its lane.
          tokens: Its tokens.
          both: Whether a request of the other lane waits.
        """
        if not both:
            self._owed = 0.0
        elif lane == "interactive":
            self._owed += tokens * self._ratio
        else:
            self._owed = max(0.0, self._owed - tokens)


@final
class Lanes:
    """The requests that wait for the limits of one model.

    Args:
      floor: As for `Floor`.
      tokens: A function that returns the tokens of a request.
    """

    def __init__(self, floor: float, tokens: Callable[[Permit], float]) -> None:
        self._floor = Floor(floor)
        self._tokens = tokens
        # Whoever is cancelled leaves from the middle: in an `OrderedDict` that takes no longer than from the front.
        self._queues: dict[Lane, OrderedDict[Waiter, None]] = {lane: OrderedDict() for lane in LANES}

    def join(self, permit: Permit) -> Waiter:
        """Stand at the end of the lane."""
        waiter = Waiter(permit)
        self._queues[permit.lane][waiter] = None
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Leave the lane, from whatever place. Whoever stands in none, because it was forgotten, leaves nothing."""
        self._queues[waiter.permit.lane].pop(waiter, None)

    def next(self) -> Turn | None:
        """Return the next request, or None if none waits."""
        return self._floor.choose(self._first("interactive"), self._first("batch"), self._tokens)

    def sent(self, waiter: Waiter) -> None:
        """A request that still stands in its lane is sent."""
        self._floor.sent(waiter.permit.lane, self._tokens(waiter.permit), both=all(self._queues.values()))

    def count(self, lane: Lane | None) -> int:
        """Return how many requests wait in a lane; None: in both."""
        return sum(map(len, self._queues.values())) if lane is None else len(self._queues[lane])

    def _first(self, lane: Lane) -> Waiter | None:
        return next(iter(self._queues[lane]), None)
