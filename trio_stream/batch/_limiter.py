"""Pacing by rate limits: the interface, and the limiter that follows the API's headers.

What belongs here: when a request may be sent as far as rates are concerned. What does not: how many may be under way
(`_window`), and retries (`_attempts`).
"""

from __future__ import annotations

import abc
import math
import random
from collections.abc import Callable
from typing import Final, final

import msgspec
import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._protocol import RateLimit, RateLimits, Usage, Verdict, judge

from ._buckets import Bucket

_LONGEST_PAUSE: Final = 600.0
"""Seconds. Whatever `retry-after` says, another request is sent after this time."""

_JITTER: Final = 0.1
"""The share of a pause that is added at random, so that programs refused together do not come back together."""

_GUESSED_PAUSES: Final = (0.5, 8.0)
"""Seconds: the first and the longest pause after refusals without `retry-after`. Each is twice the one before."""

_GUESSED_RAMP_PAUSES: Final = (5.0, 60.0)
"""Likewise, where usage grew too fast: the API measures growth over a longer time."""

_UNSEEN: Final = 8
"""How many requests for a model go out before the first answer has said what the limits are."""

_FIRST_OUTPUT: Final = 500.0
"""The length, in output tokens, that is assumed of answers until one has ended; ``max_tokens`` if that is less."""

_MEMORY: Final = 0.1
"""The weight of the newest answer in the running means, by which the next one is estimated."""

_SECONDS_BETWEEN_SUMS: Final = 0.1
"""How often the output that is still to come is summed up over all live streams."""

_HORIZON: Final = 10.0
"""Seconds. Only output that is expected within this time is held back from a bucket."""


@final
class Permit:
    """One request as a limiter sees it, from `RateLimiter.acquire` to `RateLimiter.release`.

    Attributes:
      input_tokens: The input tokens that count for rate limits, which are uncached input and cache writes. An estimate
        at first, then the API's own count.
      max_tokens: The request's ``max_tokens``.
      model: The request's ``model``. Limits hold for one model.
      fast: Whether the request has ``speed="fast"``, which has limits of its own.
      usage: The tokens that the API counted; None until the answer has begun, final once ``ended`` is true.
      events: A function that returns how many events of the answer have arrived.
      began_at: When the answer began, in seconds by `trio.current_time`; None before.
      ended: Whether the answer is whole.
      cached: Whether a part of the prompt is to be found in the prompt cache, once one request has written it.
      oversize: Whether its input is more than a limit allows for a whole minute, so that no waiting helps it: it is
        sent at once, and if it is refused it is not sent again. Set by the limiter, in `RateLimiter.acquire`.
    """

    __slots__ = (
        "began_at",
        "cached",
        "ended",
        "events",
        "fast",
        "input_tokens",
        "max_tokens",
        "model",
        "oversize",
        "usage",
    )

    def __init__(
        self, *, input_tokens: int, max_tokens: int, model: str = "", fast: bool = False, cached: bool = False
    ) -> None:
        self.input_tokens: int = input_tokens
        self.max_tokens: int = max_tokens
        self.model: str = model
        self.fast: bool = fast
        self.usage: Usage | None = None
        self.events: Callable[[], int] = _no_events
        self.began_at: float | None = None
        self.ended: bool = False
        self.cached: bool = cached
        self.oversize: bool = False


def _no_events() -> int:
    return 0


class RateLimiter(abc.ABC):
    """Decides when a request may be sent. One limiter may serve several fan-outs at once.

    Subclass it to share limits between programs: `acquire` may wait for another machine. For each request a fan-out
    calls `acquire` first and `release` last. In between it calls `observe` when the answer begins and when it is whole;
    or `penalise` when the API refuses the request because of a rate limit; or `observe` when it answers with any other
    error.
    """

    @abc.abstractmethod
    async def acquire(self, permit: Permit) -> None:
        """Wait until this request may be sent. A checkpoint. If it is cancelled, nothing has been taken."""

    @abc.abstractmethod
    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """Learn from an answer that has begun, or is whole (``permit.ended``), or is an error such as 529.

        Args:
          permit: The permit of the request, with ``usage`` filled in. For an error, ``usage`` and ``began_at`` are
            None.
          limits: The rate limits in the headers of the answer. For an error without any, this is not called.
        """

    @abc.abstractmethod
    def penalise(self, permit: Permit, error: APIError) -> None:
        """Learn that a rate limit refused a request.

        Args:
          permit: The permit of the request.
          error: The refusal. An `APIStatusError` has ``retry_after`` and ``rate_limits``.
        """

    def release(self, permit: Permit) -> None:  # noqa: B027 - a limiter need not care
        """Learn that a request is over, however it ended. Must not wait.

        Args:
          permit: The permit of the request.
        """

    @property
    def paused_until(self) -> float | None:
        """The time, by `trio.current_time`, until which the API asked to wait; None while sending is not paused."""
        return None


class _Account(msgspec.Struct):
    """The charges for one request, and the totals of all charges up to it.

    The totals tell what was sent after this request. The API's ``remaining`` is as of its answer, so everything sent
    since then has to be subtracted from it.
    """

    input: float
    output: float
    requests_up_to: float = 0.0
    input_up_to: float = 0.0


@final
class _Pool:
    """The limits of one model at one speed, and the running means of its answers.

    A request is charged when it is sent: itself, its estimated input, and the output that is expected of it within the
    next ten seconds. When its answer begins the input is corrected to the API's count, and all buckets to the API's
    ``remaining``; when it ends, the output is corrected. If it is refused, everything is given back.

    Args:
      ours: The buckets of the user's own rates for requests, input tokens and output tokens, shared by all pools.

    Attributes:
      turn: Held by the request that is the next to be sent.
    """

    def __init__(self, ours: tuple[Bucket, Bucket, Bucket]) -> None:
        self.turn = trio.Lock()
        self._ours = ours
        self._requests = Bucket()
        self._input = Bucket()
        self._output = Bucket()
        self._tokens = Bucket()  # input and output together
        self._live: dict[Permit, _Account] = {}
        self._to_come = 0.0  # output tokens that live streams are likely to produce yet, summed up at `_to_come_at`
        self._to_come_at = -math.inf
        self._seen = False  # whether any answer has told the limits
        self._input_ratio = 1.0  # the API's count of input tokens, over our estimate
        self._mean_output: float | None = None
        self._mean_tokens_per_event = 1.0
        self._mean_speed: float | None = None

    def wait(self, permit: Permit, now: float) -> float:
        """Return the seconds until the API's limits let a request through."""
        if not self._seen and len(self._live) >= _UNSEEN:
            return math.inf
        tokens = permit.input_tokens * self._input_ratio
        if self._is_oversize(tokens):
            return self._requests.wait(1.0, now)
        return max(
            bucket.wait(amount, now) for bucket, amount in self._charges(1.0, tokens, self._expect_output(permit))
        )

    def wait_for_ours(self, permit: Permit, now: float) -> float:
        """Return the seconds until the user's own rates let a request through."""
        amounts = (1.0, permit.input_tokens * self._input_ratio, self._expect_output(permit))
        return max(bucket.wait(amount, now) for bucket, amount in zip(self._ours, amounts, strict=True))

    def _is_oversize(self, input_tokens: float) -> bool:
        """Whether the API's buckets cannot hold so many input tokens even when they are full."""
        return not (self._input.can_hold(input_tokens) and self._tokens.can_hold(input_tokens))

    def is_beyond(self, permit: Permit, limits: RateLimits) -> bool:
        """Whether a request has more input than limits that an answer tells allow for a whole minute."""
        tokens = permit.input_tokens * self._input_ratio
        told = (_token_limits(permit, limits)[0].limit, limits.tokens.limit)
        return any(limit and tokens > limit for limit in told)

    def take(self, permit: Permit, now: float) -> None:
        """Charge a request that is about to be sent."""
        account = _Account(permit.input_tokens * self._input_ratio, self._expect_output(permit))
        permit.oversize = self._is_oversize(account.input)
        self._charge(1.0, account.input, account.output, now)
        account.requests_up_to, account.input_up_to = self._requests.charged, self._input.charged
        self._live[permit] = account
        self._to_come += account.output

    def _charges(self, requests: float, input_tokens: float, output_tokens: float) -> list[tuple[Bucket, float]]:
        return [
            (self._requests, requests),
            (self._input, input_tokens),
            (self._output, output_tokens),
            (self._tokens, input_tokens + output_tokens),
        ]

    def _charge(self, requests: float, input_tokens: float, output_tokens: float, now: float) -> None:
        for bucket, amount in (
            *self._charges(requests, input_tokens, output_tokens),
            *zip(self._ours, (requests, input_tokens, output_tokens), strict=True),
        ):
            if amount:
                bucket.take(amount, now)

    def _give_back_output(self, tokens: float, now: float) -> None:
        # Does what `_charge` does, but faster: a thousand requests may end at once.
        for bucket in (self._output, self._tokens, self._ours[2]):
            if bucket.known:
                bucket.take(-tokens, now)

    def _expect_output(self, permit: Permit) -> float:
        """Return the output tokens to hold back for a request at its start."""
        return self._within_horizon(min(self._mean_output or _FIRST_OUTPUT, float(permit.max_tokens)))

    def _within_horizon(self, tokens: float) -> float:
        # A stream that lasts for minutes produces most of its output after the bucket has been refilled.
        return tokens if self._mean_speed is None else min(tokens, self._mean_speed * _HORIZON)

    def _still_to_come(self, permit: Permit) -> float:
        """Return the output tokens that a live stream is likely to produce from now on."""
        expected = min(self._mean_output or _FIRST_OUTPUT, float(permit.max_tokens))
        if permit.began_at is None:
            return self._within_horizon(expected)
        # A stream that is longer than most is likely to go on, because lengths are heavy-tailed.
        return self._within_horizon(max(expected - self._produced(permit), expected / 4))

    def _produced(self, permit: Permit) -> float:
        """Return the output tokens that a live stream is likely to have produced."""
        return 0.0 if permit.began_at is None else permit.events() * self._mean_tokens_per_event

    def observe(self, permit: Permit, limits: RateLimits, now: float) -> None:
        """Learn from an answer that has begun or is whole, or from an error that is not a refusal."""
        account = self._live[permit]
        if permit.ended:
            self._learn_output(permit, account, now)
            return
        self._seen = True
        self._learn_input(permit, account, now)
        self._correct(permit, account, limits, now)

    def _learn_input(self, permit: Permit, account: _Account, now: float) -> None:
        usage = permit.usage
        if usage is None:
            return
        actual = usage.input_tokens + (usage.cache_creation_input_tokens or 0)
        if permit.input_tokens > 0:
            self._input_ratio += _MEMORY * (actual / permit.input_tokens - self._input_ratio)
        self._charge(0.0, actual - account.input, 0.0, now)
        permit.input_tokens = actual
        account.input = float(actual)

    def _learn_output(self, permit: Permit, account: _Account, now: float) -> None:
        usage = permit.usage
        if usage is None:
            return
        actual = float(usage.output_tokens)
        if self._mean_output is None:
            self._mean_output = actual
        self._mean_output += _MEMORY * (actual - self._mean_output)
        events = permit.events()
        if events:
            self._mean_tokens_per_event += _MEMORY * (actual / events - self._mean_tokens_per_event)
        if permit.began_at is not None and now > permit.began_at:
            speed = actual / (now - permit.began_at)
            self._mean_speed = speed if self._mean_speed is None else self._mean_speed
            self._mean_speed += _MEMORY * (speed - self._mean_speed)
        self._charge(0.0, 0.0, actual - account.output, now)
        account.output = actual

    def _correct(self, permit: Permit, account: _Account, limits: RateLimits, now: float) -> None:
        """Correct our account by the API's, which tells the levels at the moment it answered this request."""
        input_tokens, output_tokens = _token_limits(permit, limits)
        sent_since = self._input.charged - account.input_up_to
        _correct_bucket(self._requests, limits.requests, self._requests.charged - account.requests_up_to, now)
        _correct_bucket(self._input, input_tokens, sent_since, now)
        if output_tokens.remaining is not None or limits.tokens.remaining is not None:
            if now - self._to_come_at >= _SECONDS_BETWEEN_SUMS:
                # With a thousand live streams this sum is the most expensive part of an answer.
                self._to_come_at, self._to_come = now, sum(map(self._still_to_come, self._live))
            _correct_bucket(self._output, output_tokens, self._to_come, now)
            _correct_bucket(self._tokens, limits.tokens, sent_since + self._to_come, now)

    def refuse(self, permit: Permit, limits: RateLimits, pause: float, now: float) -> None:
        """Learn that a request was refused, and that nothing is sent for ``pause`` seconds."""
        account = self._live[permit]
        # A request that is refused uses nothing of the API's limits. Among the requests that the user allows in a
        # minute it counts, because it was made.
        self._charge(0.0, -account.input, -account.output, now)
        self._requests.take(-1.0, now)
        amounts = self._charges(1.0, account.input, account.output)
        account.requests_up_to -= 1.0
        account.input_up_to -= account.input
        account.input = account.output = 0.0
        if limits != RateLimits():
            self._seen = True
            self._correct(permit, account, limits, now)
        input_tokens, output_tokens = _token_limits(permit, limits)
        for (bucket, amount), told in zip(
            amounts, (limits.requests, input_tokens, output_tokens, limits.tokens), strict=True
        ):
            if told.remaining is None or told.remaining < amount:
                # This limit may be the one that refused it. If so, it has room for this request when the pause ends,
                # and not before: the bucket is lowered so far that refilling takes until then.
                bucket.at_most(amount - bucket.rate * pause, now)

    def release(self, permit: Permit, now: float) -> None:
        """Give back what a request held back and has not used."""
        account = self._live.pop(permit, None)
        if account is not None and not permit.ended:
            # An answer that was cut, or never began, produces nothing more. One that is whole has been corrected.
            self._give_back_output(account.output - min(self._produced(permit), account.output), now)


@final
class HeaderRateLimiter(RateLimiter):
    """Keeps just below the rate limits that the headers of the API's answers tell.

    It has a bucket for each limit, and takes from it what a request is likely to use. Every answer, also a refusal,
    corrects the bucket to the API's ``remaining``, less what was sent since then and what live streams are still likely
    to produce. How much an answer uses is estimated by those before it. After a refusal nobody sends anything until the
    moment that ``retry-after`` names.

    Limits hold for one model, and requests with ``speed="fast"`` have token limits of their own, so there are separate
    buckets for each model at each speed. Requests that wait for the same limits are let through in the order in which
    they came, so that small ones do not hold up a large one for ever. The capacity of Priority Tier is not a limit
    here: requests beyond it go on in the standard tier, and only the limits of that tier refuse them.

    A limit of zero in the headers counts as untold: some gateways write that for a limit that does not exist. A request
    with more input than a limit allows for a whole minute is sent at once, and nobody waits where it is refused.

    Args:
      requests_per_minute: A further limit, for all models together; None for no limit but those in the headers.
      input_tokens_per_minute: Likewise for input tokens.
      output_tokens_per_minute: Likewise for output tokens.
      rng: Returns numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        output_tokens_per_minute: float | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._rng = rng
        self._own = (requests_per_minute, input_tokens_per_minute, output_tokens_per_minute)
        for value in self._own:
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"a rate must be a positive number, not {value!r}")
        self._ours = (Bucket(), Bucket(), Bucket())  # for `_own`; they begin with the first request
        self._our_turn = trio.Lock()  # held by the request that is the next for `_ours`
        self._pools: dict[tuple[str, bool], _Pool] = {}  # by model and speed
        self._waiting = trio.lowlevel.ParkingLot()
        self._not_before = -math.inf  # the end of the pause that a refusal asked for, for all models
        self._pauses = 0  # guessed pauses in a row: each is longer than the one before

    def _pool(self, permit: Permit) -> _Pool:
        kind = (permit.model, permit.fast)
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = _Pool(self._ours)
        return pool

    @property
    def paused_until(self) -> float | None:
        """See `RateLimiter.paused_until`."""
        return self._not_before if self._not_before > trio.current_time() else None

    async def acquire(self, permit: Permit) -> None:
        """See `RateLimiter.acquire`."""
        pool = self._pool(permit)
        # Locks are handed on in the order in which they were asked for. Without, whoever needs least would go first.
        async with pool.turn:
            if self._own == (None, None, None):
                await self._wait_until(lambda now: self._wait_for_the_api(pool, permit, now))
            else:
                await self._wait_for_both(pool, permit)
            pool.take(permit, trio.current_time())

    async def _wait_for_both(self, pool: _Pool, permit: Permit) -> None:
        """Wait for the API's limits, and then for the user's own rates, which all pools share.

        In this order, so that a request that the API's limits hold back does not hold up the requests of other pools.
        """
        while True:
            await self._wait_until(lambda now: self._wait_for_the_api(pool, permit, now))
            async with self._our_turn:
                self._begin_own_rates(trio.current_time())
                await self._wait_until(lambda now: pool.wait_for_ours(permit, now))
                if self._wait_for_the_api(pool, permit, trio.current_time()) <= 0:
                    return

    def _wait_for_the_api(self, pool: _Pool, permit: Permit, now: float) -> float:
        return max(self._not_before - now, pool.wait(permit, now))

    async def _wait_until(self, seconds_left: Callable[[float], float]) -> None:
        """Wait until ``seconds_left(now)`` is not positive. Whatever may make it smaller wakes it early."""
        while (seconds := seconds_left(trio.current_time())) > 0:
            with trio.move_on_after(seconds):
                await self._waiting.park()

    def _begin_own_rates(self, now: float) -> None:
        for bucket, rate in zip(self._ours, self._own, strict=True):
            if rate is not None and not bucket.known:
                # What the bucket holds beyond one, and its refill, are the rate together: in no minute are there more
                # requests than that. It holds a tenth of a second so that a task that wakes late loses nothing.
                spare = rate / 600
                bucket.limit(rate - spare, now, capacity=1.0 + spare)

    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """See `RateLimiter.observe`."""
        self._pool(permit).observe(permit, limits, trio.current_time())
        if permit.began_at is not None:
            self._pauses = 0
        self._waiting.unpark_all()

    def penalise(self, permit: Permit, error: APIError) -> None:
        """See `RateLimiter.penalise`."""
        now = trio.current_time()
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        limits = error.rate_limits if isinstance(error, APIStatusError) else None
        pool = self._pool(permit)
        # The first requests are sent before any limit is known: then it is the refusal that tells it.
        permit.oversize = permit.oversize or (limits is not None and pool.is_beyond(permit, limits))
        if permit.oversize:
            pause = 0.0  # it is not sent again, and the others were not meant
        elif asked is None and self._not_before > now:
            pause = self._not_before - now  # it was sent before the present pause began, and says nothing new
        else:
            pause = self._guess_pause(error) if asked is None else min(asked, _LONGEST_PAUSE)
            self._not_before = max(self._not_before, now + pause * (1 + _JITTER * self._rng()))
        pool.refuse(permit, limits or RateLimits(), pause, now)

    def _guess_pause(self, error: APIError) -> float:
        """Return the seconds to wait where the API does not say how long."""
        ramp = judge(error).verdict is Verdict.RAMP_LIMITED
        first, longest = _GUESSED_RAMP_PAUSES if ramp else _GUESSED_PAUSES
        self._pauses += 1
        return min(first * 2.0 ** min(self._pauses - 1, 10), longest)

    def release(self, permit: Permit) -> None:
        """See `RateLimiter.release`."""
        self._pool(permit).release(permit, trio.current_time())
        if self._waiting:
            self._waiting.unpark_all()


def _token_limits(permit: Permit, limits: RateLimits) -> tuple[RateLimit, RateLimit]:
    """Return the limits of input tokens and output tokens that hold for this request."""
    if permit.fast and (limits.fast_input_tokens, limits.fast_output_tokens) != (RateLimit(), RateLimit()):
        return limits.fast_input_tokens, limits.fast_output_tokens
    return limits.input_tokens, limits.output_tokens


def _correct_bucket(bucket: Bucket, limit: RateLimit, since: float, now: float) -> None:
    if limit.limit == 0:
        return  # what a gateway writes for a limit that does not exist; taken at its word, nothing could be sent ever
    if limit.limit is not None:
        bucket.limit(float(limit.limit), now)
    if limit.remaining is not None:
        bucket.correct(limit.remaining - since, now)
