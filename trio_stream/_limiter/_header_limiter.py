"""`HeaderRateLimiter`: the limiter that follows the API's headers.

What belongs here: waiting, pauses, and rates of the user's own. What does not: the account of a model's limits
(`_account`), and who is next (`_lanes`).

Nobody hands out permits: each waiting request takes its own, in its own task, once it is the next and there is room. So
a cancelled request has taken nothing, and a permit cannot be lost on its way. Only the next request sleeps until a
certain time. Whatever may change who that is, or how long it has to wait, wakes the next request of each model: an
answer, a refusal, the end of a request, or a request that leaves its lane.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final, final

import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._protocol import RateLimits, Verdict, judge

from ._account import Account
from ._buckets import Bucket
from ._clock import Clock, noticeable
from ._interface import Lane, Permit, RateLimiter
from ._lanes import Floor, Lanes, Turn, Waiter

LONGEST_PAUSE: Final = 600.0
"""Seconds. Whatever `retry-after` says, another request is sent after this time."""

_JITTER: Final = 0.1
"""The share of a pause that is added at random, so that programs refused together do not come back together."""

_GUESSED_PAUSES: Final = (0.5, 8.0)
"""Seconds: the first and the longest pause after refusals without `retry-after`. Each is twice the one before."""

_GUESSED_RAMP_PAUSES: Final = (5.0, 60.0)
"""Likewise, where usage grew too fast: the API measures growth over a longer time."""


@final
class _Model:
    """The limits of one model at one speed, and who waits for them."""

    __slots__ = ("_floor", "account", "lanes")

    def __init__(self, own_buckets: tuple[Bucket, Bucket, Bucket], floor: float) -> None:
        self._floor = floor
        self.account = Account(own_buckets)
        self.forget_requests()

    def forget_requests(self) -> None:
        """Forget who waits and who is under way, because the run of Trio that they were in is over."""
        self.account.forget_live()
        self.lanes = Lanes(self._floor, self.account.tokens)


@final
class HeaderRateLimiter(RateLimiter):
    """Keeps just below the rate limits that the headers of the API's answers tell.

    It has a bucket for each limit, and takes from it what a request is likely to use. Every answer, also a refusal,
    corrects the bucket to the API's ``remaining``, less what was sent since then and what live streams are still likely
    to produce. How much an answer uses is estimated by those before it. After a refusal nobody sends anything until the
    moment that ``retry-after`` names.

    Limits hold for one model, and requests with ``speed="fast"`` have token limits of their own, so there are separate
    buckets for each model at each speed. Requests wait for them in two lanes: ``"interactive"`` for streams and agents,
    ``"batch"`` for fan-outs. In each lane first come is first served, so that small requests do not hold up a large one
    for ever. The interactive lane goes first; ``reserve`` and ``floor`` say what is kept for either. The capacity of
    Priority Tier is not a limit here: requests beyond it go on in the standard tier, and only the limits of that tier
    refuse them.

    A limit of zero in the headers counts as untold: some gateways write that for a limit that does not exist. A request
    with more input than a limit allows for a whole minute is sent at once, and nobody waits where it is refused.

    It may be used in several runs of Trio, one after another: what it knows holds in the next. It is for one run at a
    time, as a client is.

    Args:
      requests_per_minute: A further limit, for all models together; None for no limit but those in the headers.
      input_tokens_per_minute: Likewise for input tokens.
      output_tokens_per_minute: Likewise for output tokens.
      reserve: The share of each of the API's buckets that the batch lane leaves, for people who come: from 0 to less
        than 1.
      floor: The share of the tokens that the batch lane gets while requests of both lanes wait: from 0, with which it
        has to wait until nobody else does, to less than 1.
      rng: Returns numbers from 0 to 1, for jitter.

    Raises:
      ValueError: A rate is not positive, or a share is not from 0 to less than 1.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        output_tokens_per_minute: float | None = None,
        reserve: float = 0.0,
        floor: float = 0.1,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._clock = Clock()
        self._rng = rng
        self._own_rates = (requests_per_minute, input_tokens_per_minute, output_tokens_per_minute)
        for value in self._own_rates:
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"a rate must be a positive number, not {value!r}")
        for name, share in (("reserve", reserve), ("floor", floor)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be a share from 0 to less than 1, not {share!r}")
        self._reserve = reserve
        self._floor = floor
        self._own_buckets = (Bucket(), Bucket(), Bucket())  # for `_own_rates`; they begin with the first request
        self._own_floor = Floor(floor)
        self._models: dict[tuple[str, bool], _Model] = {}  # by model and speed
        self._not_before = -math.inf  # the end of the pause that a refusal asked for, for all models
        self._pauses = 0  # guessed pauses in a row: each is longer than the one before

    def _model(self, permit: Permit) -> _Model:
        kind = (permit.model, permit.fast)
        model = self._models.get(kind)
        if model is None:
            model = self._models[kind] = _Model(self._own_buckets, self._floor)
        return model

    @property
    def paused_until(self) -> float | None:
        """See `RateLimiter.paused_until`."""
        self._enter_run()
        return self._clock.in_trio(self._not_before) if self._not_before > self._clock.now() else None

    def waiting(self, lane: Lane | None = None) -> int:
        """Return how many requests wait.

        Args:
          lane: Count those of this lane; None for both.
        """
        return sum(model.lanes.count(lane) for model in self._models.values())

    def _enter_run(self) -> None:
        if self._clock.enter():
            for model in self._models.values():
                model.forget_requests()

    # Waiting.

    @trio.lowlevel.enable_ki_protection  # an interrupt is raised where this waits, never after a permit was taken
    async def acquire(self, permit: Permit) -> None:
        """See `RateLimiter.acquire`.

        Raises:
          RuntimeError: It is used in another run of Trio that goes on.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._enter_run()
        model = self._model(permit)
        waiter = model.lanes.join(permit)
        had_to_wait = False
        try:
            while (seconds := self._seconds_left(model, waiter, self._clock.now())) > 0:
                had_to_wait = True
                await waiter.wait(seconds)
            self._take(model, waiter, self._clock.now())
        finally:
            model.lanes.leave(waiter)
            self._wake()
        if not had_to_wait:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _seconds_left(self, model: _Model, waiter: Waiter, now: float) -> float:
        """Return the seconds until a request may be sent; infinity until somebody wakes it."""
        turn = model.lanes.next()
        if turn is None or turn.waiter is not waiter:
            return math.inf
        seconds = self._wait_for_the_api(model, turn, now)
        if seconds > 0 or self._own_rates == (None, None, None):
            return seconds
        # The user's own rates are shared by all models. Whoever the API's limits hold back is not asked about them, so
        # that it does not hold up the others.
        first = self._next_for_own_rates(now)
        if first is None or first.waiter is not waiter:
            return math.inf
        self._begin_own_rates(now)
        return noticeable(model.account.wait_for_own_rates(waiter.permit, now))

    def _wait_for_the_api(self, model: _Model, turn: Turn, now: float) -> float:
        permit = turn.waiter.permit
        # What is owed to the batch lane would have to wait for the reserve too long: people use that up by then.
        leaving = self._reserve if permit.lane == "batch" and not turn.owed else 0.0
        return noticeable(max(self._not_before - now, model.account.wait(permit, now, leaving=leaving)))

    def _ready(self, now: float) -> dict[Lane, Waiter]:
        """Return the request of each lane that came first, of those that the API's limits let through."""
        ready: dict[Lane, Waiter] = {}
        for model in self._models.values():
            turn = model.lanes.next()
            if turn is not None and self._wait_for_the_api(model, turn, now) <= 0:
                lane = turn.waiter.permit.lane
                if lane not in ready or turn.waiter.number < ready[lane].number:
                    ready[lane] = turn.waiter
        return ready

    def _next_for_own_rates(self, now: float) -> Turn | None:
        """Return the request that is the next for the user's own rates."""
        ready = self._ready(now)
        return self._own_floor.choose(ready.get("interactive"), ready.get("batch"), self._tokens_of_own_rates)

    def _tokens_of_own_rates(self, permit: Permit) -> float:
        return self._model(permit).account.tokens_of_own_rates(permit)

    def _begin_own_rates(self, now: float) -> None:
        for bucket, rate in zip(self._own_buckets, self._own_rates, strict=True):
            if rate is not None and not bucket.known:
                # What the bucket holds beyond one, and its refill, are the rate together: in no minute are there more
                # requests than that. It holds a tenth of a second so that a task that wakes late loses nothing.
                spare = rate / 600
                bucket.limit(rate - spare, now, capacity=1.0 + spare)

    def _take(self, model: _Model, waiter: Waiter, now: float) -> None:
        """Charge a request, which is still the first of its lane."""
        permit = waiter.permit
        model.lanes.sent(waiter)
        if self._own_rates != (None, None, None):
            both = len(self._ready(now)) > 1
            self._own_floor.sent(permit.lane, self._tokens_of_own_rates(permit), both=both)
        model.account.take(permit, now)

    def _wake(self) -> None:
        """Have the next request of each model look again."""
        for model in self._models.values():
            turn = model.lanes.next()
            if turn is not None:
                turn.waiter.wake()

    # Learning.

    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """See `RateLimiter.observe`."""
        self._model(permit).account.observe(permit, limits, self._clock.now())
        if permit.began_at is not None:
            self._pauses = 0
        self._wake()

    def penalise(self, permit: Permit, error: APIError) -> None:
        """See `RateLimiter.penalise`."""
        now = self._clock.now()
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        if asked is not None and asked < _GUESSED_PAUSES[0]:
            asked = None  # nearly zero, which counts as absent: taken at its word, it would be asked for again at once
        limits = error.rate_limits if isinstance(error, APIStatusError) else None
        account = self._model(permit).account
        # The first requests are sent before any limit is known: then it is the refusal that tells it.
        permit.oversize = permit.oversize or (limits is not None and account.is_beyond(permit, limits))
        if permit.oversize:
            pause = 0.0  # it is not sent again, and the others were not meant
        elif asked is None and self._not_before > now:
            pause = self._not_before - now  # it was sent before the present pause began, and says nothing new
        else:
            pause = self._guess_pause(error) if asked is None else min(asked, LONGEST_PAUSE)
            self._not_before = max(self._not_before, now + pause * (1 + _JITTER * self._rng()))
        account.refuse(permit, limits or RateLimits(), pause, now)
        self._wake()

    def _guess_pause(self, error: APIError) -> float:
        """Return the seconds to wait where the API does not say how long."""
        ramp = judge(error).verdict is Verdict.RAMP_LIMITED
        first, longest = _GUESSED_RAMP_PAUSES if ramp else _GUESSED_PAUSES
        self._pauses += 1
        return min(first * 2.0 ** min(self._pauses - 1, 10), longest)

    def release(self, permit: Permit) -> None:
        """See `RateLimiter.release`."""
        self._model(permit).account.release(permit, self._clock.now())
        self._wake()
