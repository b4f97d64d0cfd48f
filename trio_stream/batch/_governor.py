"""Permission to send: the window, the breaker and the rate limiter put together.

What belongs here: waiting for permission, and telling window and breaker about each answer. What does not: their
arithmetic (`_window`), telling the limiter, which the stream does itself (`trio_stream._limiter`), and retries
(`_attempts`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import final

import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._limiter import Admission, Permit, RateLimiter
from trio_stream._money import Ledger, Reservation, Room
from trio_stream._protocol import Verdict

from ._outage import Outage, says_out_of_order
from ._stopping import FanOutStoppedError
from ._warmup import Warmup
from ._window import Adaptive, Breaker, Window


@final
class Governor:
    """Permits requests one after another; those to one model in the order in which they asked.

    A request passes five gates, in this order: the budget, the window (how many requests are live), the breaker
    (whether the API is out of order), the prompt cache (whether what the request shares with others is there), and the
    rate limiter, which is last because a request that it has charged should go out at once. From then on the request is
    live, until `release`; in between, `began` and `failed` tell of its answer.

    Attributes:
      live: Requests that have permission and are not over.
      answered: Answers that have begun.
      refused: Answers 429.
      overloaded: Answers 529.
    """

    def __init__(self, bounds: Adaptive, limiter: RateLimiter, ledger: Ledger, warmup: Warmup | None = None) -> None:
        self._window = Window(bounds)
        self._breaker = Breaker()
        self._outage = Outage()
        self._warmup = warmup
        self._limiter = limiter
        self._ledger = ledger
        self._turns: defaultdict[tuple[str, bool], trio.Lock] = defaultdict(trio.Lock)
        self._changed = trio.lowlevel.ParkingLot()
        self.live: int = 0
        self.answered: int = 0
        self.refused: int = 0
        self.overloaded: int = 0

    @property
    def window(self) -> int:
        """How many requests may be live."""
        return self._window.size

    @property
    def may_use_growth(self) -> bool:
        """Whether the places that the window gains when an answer begins may be taken at once.

        Once a refusal has shown where the limit is, they are taken when an answer ends. Before that there is no room in
        the limit either: a request more than it allows would be refused until then (at a limit of 5 requests at once,
        130 refusals in place of 43).
        """
        return self._window.unlimited

    @property
    def paused_until(self) -> float | None:
        """The time until which sending is paused, or None."""
        return self._limiter.paused_until

    @property
    def breaker_open(self) -> bool:
        """Whether the API is overloaded or out of order, so that only single probes are sent."""
        return self._breaker.is_open

    @property
    def signs_of_life(self) -> int:
        """How many answers have shown that the API works."""
        return self._outage.signs_of_life

    @property
    def wants_witnesses(self) -> bool:
        """Whether nothing has been answered for a while, so that other items should be asked too, if they are few."""
        return self._outage.wants_witnesses(trio.current_time())

    def admission(self, new_permit: Callable[[], Permit]) -> Admission:
        """Return the admission of a request, for `acquire` and then for its stream.

        Args:
          new_permit: A function that makes its permit.
        """
        return Admission(self._limiter, new_permit)

    async def acquire(self, admission: Admission, reservation: Reservation, *, reserved: Callable[[], None]) -> None:
        """Wait for permission to send. A checkpoint. If it is cancelled, nothing has been taken.

        Args:
          admission: The request, as the limiter sees it. It is released by `release`, if not by its stream.
          reservation: The request, as the budget sees it. It is released by `release`.
          reserved: Called when the budget has had room for it.

        Raises:
          FanOutStoppedError: The budget is used up.
        """
        while (room := self._ledger.room_for(reservation)) is Room.LATER:
            await self._changed.park()
        if room is Room.NEVER:
            raise FanOutStoppedError(self._ledger.no_room(reservation), reason="budget")
        self._ledger.reserve(reservation)
        reserved()
        try:
            await self._wait_for_turn(admission)
        except BaseException:
            self._release(reservation)
            raise
        self._ledger.sent(reservation)
        self.live += 1

    async def _wait_for_turn(self, admission: Admission) -> None:
        """Pass the gates behind the budget."""
        permit = admission.permit
        # One at a time, so that whoever has waited longest goes first. But limits hold for one model, so each model has
        # a queue of its own: a request that waits for the limits of one must not hold up a request to another.
        async with self._turns[permit.model, permit.fast]:
            while True:
                if self.live >= self._window.size:
                    await self._changed.park()
                    continue
                seconds = self._wait_for_gates(permit, trio.current_time())
                if seconds <= 0:
                    break
                with trio.move_on_after(seconds):
                    await self._changed.park()
            await admission.ask()
            self._breaker.sent(trio.current_time())
            if self._warmup is not None and permit.cached:
                # Now and not before: the limiter may have waited for longer than an entry of the cache lasts.
                self._warmup.sent(permit, trio.current_time())

    def _wait_for_gates(self, permit: Permit, now: float) -> float:
        """Return the seconds until the breaker and the prompt cache let a request through."""
        seconds = self._breaker.wait(now)
        if self._warmup is not None and permit.cached:
            seconds = max(seconds, self._warmup.wait(permit, now))
        return seconds

    def began(self, permit: Permit) -> None:
        """The answer to a request has begun, and its permit says so: the window grows, the breaker closes."""
        now = trio.current_time()
        self.answered += 1
        if self._warmup is not None and permit.cached:
            self._warmup.began(permit, permit.usage, now)
        self._window.succeeded(now)
        self._note_life(now)
        self._changed.unpark_all()

    def failed(self, permit: Permit, error: APIError, verdict: Verdict) -> None:
        """A request failed, or its answer was cut."""
        now = trio.current_time()
        if verdict is Verdict.OVERLOADED:
            self.overloaded += 1
        if permit.began_at is None:
            if says_out_of_order(error, verdict):
                self._breaker.note(failed=True, now=now)
                self._outage.failed(now, heard=verdict is Verdict.OVERLOADED)
            elif isinstance(error, APIStatusError) and error.status_code < 500:
                self._note_life(now)
        if verdict in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
            self.refused += 1
            if verdict is Verdict.RAMP_LIMITED:
                self._window.ramp(now, self.live)
            elif not permit.oversize:
                self._window.refused(now)

    def _note_life(self, now: float) -> None:
        self._breaker.note(failed=False, now=now)
        self._outage.alive()

    def outage(self, error: APIError) -> FanOutStoppedError | None:
        """Return the error to stop the job with where the API has been out of order for too long.

        Args:
          error: What the last request failed with.
        """
        return self._outage.too_long(error, trio.current_time())

    def release(self, admission: Admission, reservation: Reservation) -> None:
        """A request is over, however it ended. Never waits, since its task may be cancelled."""
        self.live -= 1
        admission.release()
        if self._warmup is not None:
            self._warmup.ended(admission.permit)
        self._release(reservation)

    def _release(self, reservation: Reservation) -> None:
        self._ledger.release(reservation)
        if self._changed:
            self._changed.unpark_all()
