"""One rate limit for all actors of a cluster, kept by a named actor.

What belongs here: leasing from that actor, and pacing by the leases. What does not: its account (`_lease_office`), and
following the API's headers (`HeaderRateLimiter` in `_limiter`).

A call to another process for each request would be slow, and is not needed: ten permits are leased at once.
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
from trio_stream._limiter import HeaderRateLimiter, Permit, RateLimiter
from trio_stream._protocol import RateLimits
from trio_stream.ray._lease_office import Amounts, LeaseOffice, Rates

_log = logging.getLogger("trio_stream")

_LONGEST_PAUSE: Final = 600.0
"""Seconds. Whatever `retry-after` says, another request is sent after this time."""

_FIRST_OUTPUT: Final = 500.0
"""The length, in output tokens, that is assumed of answers until one has ended; ``max_tokens`` if that is less."""

_MEMORY: Final = 0.1
"""The weight of the newest answer in the running means, by which the next one is estimated."""

_MOST_FAILURES: Final = 3
"""How often in a row the named actor may be lost, without answering in between, until the job fails."""


class _Arguments(msgspec.Struct, frozen=True):
    name: str
    namespace: str | None
    rates: Rates
    per_lease: int


@final
class ActorRateLimiter(RateLimiter):
    """Keeps all actors of a cluster together below one rate, by leases from a named Ray actor.

    ::

        limiter = ActorRateLimiter("anthropic", requests_per_minute=4000, output_tokens_per_minute=800_000)
        dataset.map_batches(StreamBatch, fn_constructor_kwargs={"limiter": limiter, ...}, ...)

    Up to about four actors need none of this: each finds its share of a limit by what the API's headers say is left.
    Where one of the actors gets a ``retry-after``, all of them pause, from their next lease on. In addition each one
    follows the headers of its own answers, as a `HeaderRateLimiter` does.

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

    Raises:
      ImportError: Ray is not installed.
      ValueError: A rate is not positive, or none is given, or ``per_lease`` is less than 1.
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
    ) -> None:
        rates = (requests_per_minute, input_tokens_per_minute, output_tokens_per_minute)
        for rate in rates:
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(f"a rate must be a positive number, not {rate!r}")
        if rates == (None, None, None):
            raise ValueError("give at least one rate: there is nothing to share otherwise")
        if per_lease < 1:
            raise ValueError(f"per_lease must be at least 1, not {per_lease!r}")
        arguments = _Arguments(name, namespace, rates, per_lease)
        self._set_up(arguments, _connect(arguments))

    def _set_up(self, arguments: _Arguments, office: Any) -> None:
        self._arguments = arguments
        self._office = office
        self._headers = HeaderRateLimiter()
        self._changed = trio.lowlevel.ParkingLot()
        self._asking = False
        self._failures = 0
        self._failed: BaseException | None = None
        # The present lease: how many of its permits are left, from when on they may be used, and what each has taken.
        self._left = 0
        self._good_from = -math.inf
        self._each: Amounts = (1.0, 0.0, 0.0)
        self._owed: Amounts = (0.0, 0.0, 0.0)  # corrections of earlier leases, settled with the next one
        self._live: dict[Permit, Amounts] = {}
        # Running means of what requests have used.
        self._mean_input: float | None = None
        self._mean_output: float | None = None

    def __getstate__(self) -> tuple[_Arguments, Any]:
        return self._arguments, self._office

    def __setstate__(self, state: tuple[_Arguments, Any]) -> None:
        self._set_up(*state)

    @property
    def paused_until(self) -> float | None:
        """See `RateLimiter.paused_until`."""
        return self._headers.paused_until

    async def acquire(self, permit: Permit) -> None:
        """See `RateLimiter.acquire`.

        Raises:
          Exception: The named actor is lost, and no other could be started.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._failed is not None:
                raise self._failed
            seconds = self._good_from - trio.current_time()
            if self._left and seconds <= 0:
                break
            if not self._left and not self._asking:
                self._ask(permit)
            with trio.move_on_after(seconds if self._left else math.inf):
                await self._changed.park()
        self._left -= 1
        try:
            await self._headers.acquire(permit)
        except BaseException:
            self._left += 1
            self._changed.unpark()
            raise
        self._live[permit] = self._each

    def observe(self, permit: Permit, limits: RateLimits) -> None:
        """See `RateLimiter.observe`."""
        self._headers.observe(permit, limits)
        usage = permit.usage
        if usage is not None and permit.ended:
            self._mean_input = _learn(self._mean_input, _input_of(permit))
            self._mean_output = _learn(self._mean_output, usage.output_tokens)

    def penalise(self, permit: Permit, error: APIError) -> None:
        """See `RateLimiter.penalise`."""
        self._headers.penalise(permit, error)
        # A request that is refused uses nothing.
        self._owe(-1.0, 0.0, 0.0)
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        if asked is not None and not permit.oversize:
            self._office.pause.remote(min(asked, _LONGEST_PAUSE))

    def release(self, permit: Permit) -> None:
        """See `RateLimiter.release`."""
        self._headers.release(permit)
        taken = self._live.pop(permit, None)
        if taken is not None:
            output = 0 if permit.usage is None else permit.usage.output_tokens
            self._owe(0.0, _input_of(permit) - taken[1], output - taken[2])

    def _owe(self, *more: float) -> None:
        requests, input_tokens, output_tokens = self._owed
        self._owed = (requests + more[0], input_tokens + more[1], output_tokens + more[2])

    # Leases. A lease belongs to the limiter and not to the task that asked for it, so nothing is lost when that task is
    # cancelled while it waits.

    def _ask(self, permit: Permit) -> None:
        """Ask for another lease, for requests that use as much as this one and those before."""
        count = self._arguments.per_lease
        mean_input = float(permit.input_tokens) if self._mean_input is None else self._mean_input
        mean_output = _FIRST_OUTPUT if self._mean_output is None else self._mean_output
        self._each = (1.0, mean_input, min(mean_output, float(permit.max_tokens)))
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
            self._left = self._arguments.per_lease
            self._good_from = trio.current_time() + answer.result()
        else:
            self._owe(*amounts)
            self._start_another(error)
        self._changed.unpark_all()

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


def _learn(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _MEMORY * (value - mean)


def _input_of(permit: Permit) -> float:
    usage = permit.usage
    return 0.0 if usage is None else usage.input_tokens + (usage.cache_creation_input_tokens or 0)


def _connect(arguments: _Arguments) -> Any:
    """Return the named actor, and start it if there is none."""
    import ray  # noqa: PLC0415 - an extra, which nothing else here needs

    options: dict[str, Any] = {} if arguments.namespace is None else {"namespace": arguments.namespace}
    office = ray.remote(LeaseOffice).options(
        name=arguments.name, get_if_exists=True, num_cpus=0, max_restarts=-1, max_task_retries=-1, **options
    )
    return office.remote(arguments.rates)
