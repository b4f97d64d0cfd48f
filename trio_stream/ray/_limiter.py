"""One rate limit for all actors of a cluster, kept by a named actor.

What belongs here: leasing from that actor, and pacing by the leases. What does not: its account (`_lease_office`), and
following the API's headers (`HeaderRateLimiter` in `_limiter`).

A call to another process for each request would be slow, and is not needed: ten permits are leased at once. A request
waits in two places, first for a permit of the lease and then for the headers, and in both it stands in its lane.
"""

from __future__ import annotations

import contextlib
import logging
import math
from concurrent.futures import Future
from typing import Any, Final, final

import msgspec
import trio

from trio_stream._errors import APIError, APIStatusError
from trio_stream._limiter import (
    FIRST_OUTPUT,
    LONGEST_PAUSE,
    Clock,
    HeaderRateLimiter,
    Lane,
    Lanes,
    Permit,
    RateLimiter,
    Waiter,
    counted_input,
    running_mean,
)
from trio_stream._protocol import RateLimits
from trio_stream.ray._lease_office import Amounts, LeaseOffice, Rates

_log = logging.getLogger("trio_stream")

_MOST_FAILURES: Final = 3
"""How often in a row the named actor may be lost, without answering in between, until the job fails."""


class _Arguments(msgspec.Struct, frozen=True):
    name: str
    namespace: str | None
    rates: Rates
    per_lease: int
    reserve: float
    floor: float


@final
class ActorRateLimiter(RateLimiter):
    """Keeps all actors of a cluster together below one rate, by leases from a named Ray actor.

    ::

        limiter = ActorRateLimiter("anthropic", requests_per_minute=4000, output_tokens_per_minute=800_000)
        dataset.map_batches(StreamBatch, fn_constructor_kwargs={"limiter": limiter, ...}, ...)

    Up to about four actors need none of this: each finds its share of a limit by what the API's headers say is left.
    Where one of the actors gets a ``retry-after``, all of them pause, from their next lease on. In addition each one
    follows the headers of its own answers, as a `HeaderRateLimiter` does.

    Requests wait in two lanes, as with a `HeaderRateLimiter`. Of the permits of an actor, people get the next one; what
    other actors have leased by then goes before, at most one lease of each.

    Make one where the job is started, after ``ray.init``. If there is no actor of that name, it is started there, and
    lives as long as the job that started it. Its rates are those of the limiter that started it. If it is lost, another
    one is started.

    Args:
      name: The name of the actor. Jobs that share a limit use the same name and namespace.
      requests_per_minute: The limit for all actors together; None for no limit.
      input_tokens_per_minute: Likewise for input tokens (uncached input, and cache writes).
      output_tokens_per_minute: Likewise for output tokens.
      per_lease: How many permits are leased at once.
      namespace: Ray's namespace of the named actor; None for the job's own.
      reserve: As for `HeaderRateLimiter`: of the API's buckets, as an actor's own headers tell them.
      floor: Likewise, of the leased permits too.

    Raises:
      ImportError: Ray is not installed.
      ValueError: A rate is not positive, or none is given, or ``per_lease`` is less than 1, or a share is not from 0 to
        less than 1.
    """

    def __init__(
        self,
        name: str,
        *,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        output_tokens_per_minute: float | None = None,
        per_lease: int = 10,
        namespace: str | None = None,
        reserve: float = 0.0,
        floor: float = 0.1,
    ) -> None:
        rates = (requests_per_minute, input_tokens_per_minute, output_tokens_per_minute)
        for rate in rates:
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(f"a rate must be a positive number, not {rate!r}")
        if rates == (None, None, None):
            raise ValueError("give at least one rate: there is nothing to share otherwise")
        if per_lease < 1:
            raise ValueError(f"per_lease must be at least 1, not {per_lease!r}")
        HeaderRateLimiter(reserve=reserve, floor=floor)  # raises if they cannot be, before an actor is started
        arguments = _Arguments(name, namespace, rates, per_lease, reserve, floor)
        self._set_up(arguments, _connect(arguments))

    def _set_up(self, arguments: _Arguments, office: Any) -> None:
        self._arguments = arguments
        self._office = office
        self._headers = HeaderRateLimiter(reserve=arguments.reserve, floor=arguments.floor)
        self._clock = Clock()
        self._forget_requests()
        self._failures = 0
        self._failed: BaseException | None = None
        # The present lease: how many of its permits are left, from when on they may be used, and what each has taken.
        self._left = 0
        self._good_from = -math.inf
        self._each: Amounts = (1.0, 0.0, 0.0)
        self._owed: Amounts = (0.0, 0.0, 0.0)  # corrections of earlier leases, settled with the next one
        # Running means of what requests have used.
        self._mean_input: float | None = None
        self._mean_output: float | None = None

    def _forget_requests(self) -> None:
        """Forget who waits, who is under way and what was asked for, because the run of Trio is over.

        A lease that was asked for is lost: nobody is there to hear of it.
        """
        self._lanes = Lanes(self._arguments.floor, self._tokens)
        self._live: dict[Permit, Amounts] = {}
        self._asking = False

    def __getstate__(self) -> tuple[_Arguments, Any]:
        return self._arguments, self._office

    def __setstate__(self, state: tuple[_Arguments, Any]) -> None:
        self._set_up(*state)

    @property
    def paused_until(self) -> float | None:
        """See `RateLimiter.paused_until`."""
        return self._headers.paused_until

    def waiting(self, lane: Lane | None = None) -> int:
        """See `HeaderRateLimiter.waiting`: how many requests of this actor wait."""
        return self._lanes.count(lane) + self._headers.waiting(lane)

    @trio.lowlevel.enable_ki_protection  # an interrupt is raised where this waits, never after a permit was taken
    async def acquire(self, permit: Permit) -> None:
        """See `RateLimiter.acquire`.

        Raises:
          RuntimeError: It is used in another run of Trio that goes on.
          Exception: The named actor is lost, and no other could be started.
        """
        await trio.lowlevel.checkpoint()
        if self._clock.enter():
            self._forget_requests()
        waiter = self._lanes.join(permit)
        try:
            while (seconds := self._seconds_left(waiter)) > 0:
                await waiter.wait(seconds)
            self._lanes.sent(waiter)
            self._left -= 1
        finally:
            self._lanes.leave(waiter)
            self._wake()
        try:
            await self._headers.acquire(permit)
        except BaseException:
            self._left += 1
            self._wake()
            raise
        self._live[permit] = self._each

    def _seconds_left(self, waiter: Waiter) -> float:
        """Return the seconds until a request may take a permit of the lease; infinity until somebody wakes it."""
        if self._failed is not None:
            raise self._failed
        turn = self._lanes.next()
        if turn is None or turn.waiter is not waiter:
            return math.inf
        if self._left:
            return self._clock.until(self._good_from)
        if not self._asking:
            self._ask(waiter.permit)
        return math.inf

    def _wake(self) -> None:
        """Have the next request look again."""
        turn = self._lanes.next()
        if turn is not None:
            turn.waiter.wake()

    def _tokens(self, permit: Permit) -> float:
        """Return the tokens that a request is likely to use."""
        return permit.input_tokens + self._expect_output(permit)

    def _expect_output(self, permit: Permit) -> float:
        mean = FIRST_OUTPUT if self._mean_output is None else self._mean_output
        return min(mean, float(permit.max_tokens))

    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """See `RateLimiter.observe`."""
        self._headers.observe(permit, limits)
        usage = permit.usage
        if usage is not None and permit.ended:
            self._mean_input = running_mean(self._mean_input, counted_input(usage))
            self._mean_output = running_mean(self._mean_output, usage.output_tokens)

    def penalise(self, permit: Permit, error: APIError) -> None:
        """See `RateLimiter.penalise`."""
        self._headers.penalise(permit, error)
        # A request that is refused uses nothing.
        self._owe(-1.0, 0.0, 0.0)
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        if asked is not None and not permit.oversize:
            self._office.pause.remote(min(asked, LONGEST_PAUSE))

    def release(self, permit: Permit) -> None:
        """See `RateLimiter.release`."""
        self._headers.release(permit)
        taken = self._live.pop(permit, None)
        if taken is not None:
            usage = permit.usage
            used = (0, 0) if usage is None else (counted_input(usage), usage.output_tokens)
            self._owe(0.0, used[0] - taken[1], used[1] - taken[2])

    def _owe(self, *more: float) -> None:
        requests, input_tokens, output_tokens = self._owed
        self._owed = (requests + more[0], input_tokens + more[1], output_tokens + more[2])

    # Leases. A lease belongs to the limiter and not to the task that asked for it, so nothing is lost when that task is
    # cancelled while it waits.

    def _ask(self, permit: Permit) -> None:
        """Ask for another lease, for requests that use as much as this one and those before."""
        count = self._arguments.per_lease
        mean_input = float(permit.input_tokens) if self._mean_input is None else self._mean_input
        self._each = (1.0, mean_input, self._expect_output(permit))
        self._owe(*(count * amount for amount in self._each))
        self._send()

    def _send(self) -> None:
        self._asking = True
        token = trio.lowlevel.current_trio_token()
        amounts, self._owed = self._owed, (0.0, 0.0, 0.0)

        def answered(answer: Future[float]) -> None:
            # This runs in one of Ray's threads. If the loop has ended, nobody waits for the lease.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._answered, answer, amounts)

        self._office.lease.remote(amounts).future().add_done_callback(answered)

    def _answered(self, answer: Future[float], amounts: Amounts) -> None:
        self._asking = False
        error = answer.exception()
        if error is None:
            self._failures = 0
            self._left += self._arguments.per_lease  # one may have been given back meanwhile
            self._good_from = self._clock.now() + answer.result()
        else:
            self._owe(*amounts)
            self._start_another(error)
        self._wake()

    def _start_another(self, error: BaseException) -> None:
        self._failures += 1
        if self._failures > _MOST_FAILURES:
            self._failed = error
            return
        _log.warning("the actor %r is lost; another takes its place", self._arguments.name)
        try:
            self._office = _connect(self._arguments)
            self._send()
        except Exception as failure:  # noqa: BLE001 - `acquire` raises it
            self._failed = failure


def _connect(arguments: _Arguments) -> Any:
    """Return the named actor, and start it if there is none."""
    import ray  # noqa: PLC0415 - an extra, which nothing else here needs

    options: dict[str, Any] = {} if arguments.namespace is None else {"namespace": arguments.namespace}
    office = ray.remote(LeaseOffice).options(
        name=arguments.name, get_if_exists=True, num_cpus=0, max_restarts=-1, max_task_retries=-1, **options
    )
    return office.remote(arguments.rates)
