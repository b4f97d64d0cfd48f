"""One item, from its first request to its outcome.

What belongs here: attempts, the waits between them, and the item's clock. What does not: leave to send
(`_governor`), and which item is next (`_fan_out`).
"""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, final

import trio

from trio_stream._client import Client
from trio_stream._errors import APIError, APITimeoutError, TotalTimeoutError
from trio_stream._money import Ledger
from trio_stream._protocol import Judgement, MessageStreamEvent, RateLimits, Verdict, judge, retry_delay
from trio_stream._stream import MessageStream, MessageStreamManager

from ._governor import Governor
from ._limiter import Permit, estimate_input_tokens
from ._records import Item, JournalLike, Outcome, Status
from ._stopping import FanOutStoppedError, stopped_by

OnEvent: TypeAlias = Callable[[Item, MessageStreamEvent], Awaitable[object] | object]
"""Called with an item and an event of its stream. An item that is tried again begins again with ``message_start``."""

_MOST_REFUSALS: Final = 100
"""Requests of one item that the API refused to take. They cost nothing, but there is an end to everything."""

_MOST_SECONDS: Final = 600.0
"""A longer `retry-after` is not waited for by a single item."""


@final
class Job:
    """One item under way."""

    __slots__ = (
        "attempts",
        "began_at",
        "index",
        "item",
        "key",
        "params",
        "place",
        "refusals",
        "request_hash",
        "stop",
        "stream",
        "used",
        "waiting",
    )

    def __init__(self, item: Item, index: int, params: Mapping[str, Any], *, key: str, request_hash: str) -> None:
        self.item: Item = item
        self.index: int = index
        self.params: Mapping[str, Any] = params
        self.key: str = key
        self.request_hash: str = request_hash
        self.place: int | None = None  # among those that are asked in this run
        self.attempts: int = 0
        self.refusals: int = 0
        self.began_at: float | None = None
        self.used: float = 0.0  # of the item's clock
        self.stream: MessageStream | None = None  # of the last attempt that was answered
        self.waiting: trio.CancelScope | None = None  # while it waits for leave to send
        self.stop: FanOutStoppedError | None = None  # it found that the whole job has to stop

    def outcome(self, status: Status, error: Exception | None = None) -> Outcome:
        """How it stands, as an outcome."""
        stream = self.stream
        message = None if stream is None else stream.partial
        request_id = None if stream is None else stream.request_id
        if request_id is None and isinstance(error, APIError):
            request_id = error.request_id
        return Outcome(
            id=self.item.id,
            index=self.index,
            tag=self.item.tag,
            status=status,
            text="" if stream is None else stream.text,
            message=message,
            error=error,
            usage=None if message is None else message.usage,
            attempts=self.attempts,
            ttft=None if stream is None else stream.stats.time_to_first_text,
            seconds=0.0 if self.began_at is None else trio.current_time() - self.began_at,
            request_id=request_id,
            stop_reason=None if stream is None else stream.stop_reason,
        )


@final
class Attempts:
    """Makes the requests of items."""

    def __init__(
        self,
        client: Client,
        governor: Governor,
        ledger: Ledger,
        *,
        journal: JournalLike | None,
        item_timeout: float | None,
        max_attempts: int,
        on_event: OnEvent | None,
        on_first_news: Callable[[], None],
    ) -> None:
        self._client = client
        self._governor = governor
        self._ledger = ledger
        self._journal = journal
        self._item_timeout = math.inf if item_timeout is None else item_timeout
        self._max_attempts = max_attempts
        self._on_event = on_event
        self._on_first_news = on_first_news
        self.retries: int = 0

    async def run(self, job: Job) -> Outcome:
        """Make requests until there is an outcome. Cancelled, it leaves on the job what had arrived.

        Raises:
          OSError: The journal cannot be written.
          Exception: ``on_event`` raised it, or the client was closed.
        """
        new_permit = _permits(job.params)
        failures = overloads = 0
        while True:
            permit = new_permit()
            stop = await self._wait_for_leave(job, permit)
            if stop is not None:
                return stop
            error: Exception | None = None
            try:
                self._begin(job)
                # Most have no clock: a thousand scopes less to leave at once.
                timed = self._item_timeout < math.inf
                error = await (self._attempt_in_time(job, permit) if timed else self._attempt(job, permit))
                if error is None:
                    return job.outcome("ok")
                if not isinstance(error, APIError):  # of its parameters
                    return job.outcome("error", error)
                judgement = judge(error)
                verdict = judgement.verdict
                self._governor.failed(permit, error, verdict)
            finally:
                self._governor.release(permit)
                self._on_first_news()
            if judgement.reason is not None:
                job.stop = stopped_by(error, judgement.reason)
                return job.outcome("skipped", error)
            delay: float | None
            if verdict in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
                # The limiter holds everyone back, this item too.
                job.refusals += 1
                delay = 0.0
            elif verdict is Verdict.OVERLOADED and job.stream is None:
                job.refusals += 1
                delay = _delay(judgement, overloads)
                overloads += 1
            else:
                delay = _delay(judgement, failures)
                failures += 1
            if delay is None or failures >= self._max_attempts or job.refusals >= _MOST_REFUSALS:
                return job.outcome("timeout" if isinstance(error, APITimeoutError) else "error", error)
            if delay and not await self._back_off(job, delay):
                return job.outcome("timeout", self._out_of_time(job))

    async def _wait_for_leave(self, job: Job, permit: Permit) -> Outcome | None:
        """Wait for leave to send; an outcome if there will be none."""
        with trio.CancelScope() as job.waiting:
            try:
                await self._governor.acquire(permit)
            except FanOutStoppedError as stop:
                job.stop = stop
            else:
                job.waiting = None
                return None
        job.waiting = None
        return job.outcome("skipped", job.stop)

    def _begin(self, job: Job) -> None:
        if job.began_at is None:
            job.began_at = trio.current_time()
            if self._journal is not None:
                self._journal.start(job.key, job.request_hash, index=job.index, tag=job.item.tag)
        else:
            self.retries += 1
        job.attempts += 1
        job.stream = None

    async def _attempt_in_time(self, job: Job, permit: Permit) -> Exception | None:
        """As `_attempt`, by the item's clock."""
        began_at = trio.current_time()
        with trio.CancelScope(deadline=began_at + self._item_timeout - job.used):
            error = await self._attempt(job, permit)
            job.used += trio.current_time() - began_at
            return error
        return self._out_of_time(job)

    async def _attempt(self, job: Job, permit: Permit) -> Exception | None:
        """Make one request and read its answer; return what it failed with."""
        stream: MessageStream | None = None
        try:
            manager = self._prepare(job.params)
        except (TypeError, ValueError) as error:
            return error
        try:
            async with manager as stream:
                job.stream = stream
                permit.events = lambda: stream.stats.events
                limits = stream.rate_limits or RateLimits()
                self._governor.began(permit, limits, stream.usage)
                self._on_first_news()
                if self._on_event is None:
                    await stream.until_done()
                else:
                    await self._tap(job.item, stream, self._on_event)
            self._governor.completed(permit, limits, stream.message.usage)
        except APIError as error:
            return error
        finally:
            usage = None if stream is None else stream.usage
            if usage is not None:
                self._ledger.add(usage)
        return None

    def _prepare(self, params: Mapping[str, Any]) -> MessageStreamManager:
        # Retries are made here, so that the governor sees every refusal.
        options: dict[str, Any] = {**params, "max_retries": 0}
        messages = self._client.beta.messages if "betas" in params else self._client.messages
        return messages.stream(**options)

    async def _tap(self, item: Item, stream: MessageStream, on_event: OnEvent) -> None:
        async for event in stream:
            result = on_event(item, event)
            if inspect.isawaitable(result):
                await result

    # The item's clock: it runs during requests and the waits between them, not while waiting for leave to send.

    def _out_of_time(self, job: Job) -> TotalTimeoutError:
        return TotalTimeoutError(
            f"item_timeout: the item was not complete within {self._item_timeout:g} s",
            seconds=self._item_timeout,
            may_have_been_accepted=True,
            request_id=None if job.stream is None else job.stream.request_id,
            partial=None if job.stream is None else job.stream.partial,
        )

    async def _back_off(self, job: Job, seconds: float) -> bool:
        """Wait before the next attempt; False if the item's time runs out before."""
        if seconds >= self._item_timeout - job.used:
            await trio.sleep(max(0.0, self._item_timeout - job.used))
            return False
        await trio.sleep(seconds)
        job.used += seconds
        return True


_PROMPT: Final = ("system", "messages", "tools")


def _permits(params: Mapping[str, Any]) -> Callable[[], Permit]:
    """What makes the permits for the requests of an item."""
    max_tokens = params.get("max_tokens")
    return functools.partial(
        Permit,
        input_tokens=estimate_input_tokens({name: params[name] for name in _PROMPT if name in params}),
        max_tokens=max_tokens if isinstance(max_tokens, int) else 1_000_000,
        model=str(params.get("model", "")),
        fast=params.get("speed") == "fast",
    )


def _delay(judgement: Judgement, retries_taken: int) -> float | None:
    """Seconds to wait before an item is asked again; None when it is not."""
    asked = judgement.retry_after
    if not judgement.retryable or (asked is not None and asked > _MOST_SECONDS):
        return None
    return retry_delay(retries_taken, jitter=random.random(), retry_after=asked)  # noqa: S311 - no secret
