"""One Trio loop for the life of an actor, in a thread of its own, and the rows that Ray's threads bring to it.

What belongs here: the one fan-out of an actor, from the first call to the end of its process. What does not: making
rows of a batch (`_stream_batch`).

Ray calls from threads of its own, several at once. A loop for each call would close the connections after each call,
learn the limits anew, and wait for its slowest row before the next call begins. So all calls share one loop and one
fan-out, whose window, limiter and connections last. This is the only thread that the package starts for requests.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import final

import msgspec
import trio

from trio_stream._client import Client
from trio_stream._limiter import RateLimiter
from trio_stream.batch import FanOut, FanOutOptions, Item, Outcome, merge_params, request_hash
from trio_stream.ray._journals import Journals

_STOP_SECONDS = 5.0
"""How long the end of a process may wait for the loop, which only has sockets and a file to close."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a loop is made from in its process. All of them can be pickled.

    Args:
      client: A function that makes the client.
      limiter: The limiter, or a function that makes it.
      journals: A function that opens the journals; None without journals.
      options: The options of the fan-out, but for its limiter.
      fail_fast: Whether the first row that fails ends its call.
    """

    client: Callable[[], Client]
    limiter: RateLimiter | Callable[[], RateLimiter]
    journals: Callable[[], Journals] | None
    options: FanOutOptions
    fail_fast: bool


@final
class _Call:
    """The rows of one call. It is made in Ray's thread and then belongs to the loop, except for `done`."""

    def __init__(self, rows: Sequence[Item | Exception], *, fail_fast: bool) -> None:
        self.rows = rows
        self.done: Future[list[Outcome]] = Future()
        self._fail_fast = fail_fast
        self._outcomes: dict[int, Outcome] = {}

    @property
    def over(self) -> bool:
        return self.done.done()

    def give(self, place: int, outcome: Outcome) -> None:
        """Take the outcome of the row at ``place``, and finish the call with the last one."""
        if self.over:
            return
        self._outcomes[place] = outcome
        if self._fail_fast and not outcome.finished and outcome.error is not None:
            self.done.set_exception(outcome.error)
        elif len(self._outcomes) == len(self.rows):
            self.done.set_result([self._outcomes[place] for place in range(len(self.rows))])

    def fail(self, error: BaseException) -> None:
        """Let the call raise ``error``, because the loop has ended."""
        if not self.over:
            self.done.set_exception(error)


class _Tag(msgspec.Struct, frozen=True):
    """The tag of an item in the fan-out: which row of which call it is."""

    call: _Call
    place: int
    key: str
    tag: object


@final
class _Rows:
    """The items of the fan-out: the rows of all calls, one after another, without those that need no request."""

    def __init__(self, options: FanOutOptions, journals: Journals | None) -> None:
        self._options = options
        self._journals = journals
        self._calls: deque[tuple[_Call, int]] = deque()
        self._came = trio.lowlevel.ParkingLot()
        self._asked = 0

    def add(self, call: _Call) -> None:
        self._calls.append((call, 0))
        self._came.unpark_all()

    def __aiter__(self) -> _Rows:
        return self

    async def __anext__(self) -> Item:
        while True:
            await trio.lowlevel.checkpoint()
            while not self._calls:
                await self._came.park()
            call, place = self._calls.popleft()
            if call.over:
                continue
            if place + 1 < len(call.rows):
                self._calls.appendleft((call, place + 1))
            row = call.rows[place]
            taken = self._known(row) if isinstance(row, Item) else Outcome(status="error", error=row)
            if isinstance(taken, Outcome):
                call.give(place, taken)
            else:
                assert isinstance(row, Item)
                return Item(row.request, id=row.id, tag=_Tag(call, place, taken, row.tag))

    def _known(self, row: Item) -> Outcome | str:
        """Look up a row.

        Returns:
          Its outcome, if it needs no request; otherwise its key in the journal, where its start has been noted.
        """
        if self._journals is None:
            return ""
        try:
            digest = request_hash(merge_params(row.request, self._options.params))
            key = digest if row.id is None else row.id
            known = self._journals.lookup(key, digest)
        except (TypeError, ValueError) as error:  # it cannot be sent, or a journal has its id with another request
            return Outcome(id=row.id, status="error", error=error)
        if known is None:
            self._journals.own.start(key, digest, index=self._asked)
            self._asked += 1
            return key
        return known


@final
class Loop:
    """A running Trio loop with a fan-out in it. Only `answer`, `stop` and `ended` are for other threads.

    Raises:
      Exception: Whatever the functions raised that make the client, the limiter and the journals.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._ended: BaseException | None = None
        self._scope = trio.CancelScope()
        self._rows: _Rows | None = None
        self._journals: Journals | None = None
        self._ready: Future[trio.lowlevel.TrioToken] = Future()
        # A daemon thread: otherwise the program would wait for it at its end, before anything could stop it.
        self._thread = threading.Thread(target=self._run, name="trio_stream", daemon=True)
        self._thread.start()
        self._token = self._ready.result()

    @property
    def ended(self) -> bool:
        """Whether the loop has ended, and takes no more calls."""
        return self._ended is not None

    def answer(self, rows: Sequence[Item | Exception]) -> list[Outcome]:
        """Send rows, and wait for all their outcomes. For any thread but the loop's.

        Args:
          rows: The items to send. A row that is an error becomes the outcome with this error.

        Returns:
          The outcomes, in the order of the rows.

        Raises:
          JournalError: The journals cannot be read or written.
          Exception: With ``fail_fast``, the error of the first row that failed.
        """
        if not rows:
            return []
        if self._journals is not None:
            # Ray may repeat a call whose actor has just died: then the journal of that actor has part of the answers.
            self._journals.refresh()
        call = _Call(rows, fail_fast=self._plan.fail_fast)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._calls.add(call)
        with contextlib.suppress(trio.RunFinishedError):  # then the end of the loop has ended this call
            self._token.run_sync_soon(self._take, call)
        try:
            return call.done.result()
        finally:
            with self._lock:
                self._calls.discard(call)

    def stop(self) -> None:
        """End the loop: cancel everything under way, and close the connections and the journal."""
        try:
            self._token.run_sync_soon(self._cancel)
        except trio.RunFinishedError:
            return
        # The garbage collector may call this in any thread, even in that of the loop.
        if threading.current_thread() is not self._thread:
            self._thread.join(_STOP_SECONDS)

    def _cancel(self) -> None:
        self._scope.cancel(reason="the actor ends")

    def _take(self, call: _Call) -> None:
        assert self._rows is not None
        self._rows.add(call)

    def _run(self) -> None:
        error: BaseException = trio.ClosedResourceError("this StreamBatch has ended")
        try:
            trio.run(self._main)
        except BaseException as failure:  # noqa: ASYNC103, BLE001 - raised in the waiting threads
            error = failure
        with self._lock:
            self._ended = error
            calls = tuple(self._calls)
        if not self._ready.done():
            self._ready.set_exception(error)
        for call in calls:
            call.fail(error)

    async def _main(self) -> None:
        plan = self._plan
        with self._scope:
            async with plan.client() as client:
                journals = self._journals = None if plan.journals is None else plan.journals()
                try:
                    await self._fan_out(client, journals)
                finally:
                    if journals is not None:
                        journals.own.close()

    async def _fan_out(self, client: Client, journals: Journals | None) -> None:
        plan = self._plan
        limiter = plan.limiter if isinstance(plan.limiter, RateLimiter) else plan.limiter()
        options = msgspec.structs.replace(plan.options, limiter=limiter)
        rows = self._rows = _Rows(options, journals)
        # Once a limit has stopped it, the rows of calls to come are skipped too.
        results = FanOut(client, rows, options, skip_rest=True)
        try:
            async with results:
                self._ready.set_result(trio.lowlevel.current_trio_token())
                async for outcome in results:
                    self._give(outcome, journals)
        finally:
            # These have been paid for, wholly or in part, although no call waits for them any more.
            for outcome in results.unread:
                self._note(outcome, journals)

    def _give(self, outcome: Outcome, journals: Journals | None) -> None:
        self._note(outcome, journals)
        tag: _Tag = outcome.tag
        tag.call.give(tag.place, outcome)

    def _note(self, outcome: Outcome, journals: Journals | None) -> None:
        tag: _Tag = outcome.tag
        if journals is None:
            return
        if outcome.status in ("ok", "error", "timeout"):
            journals.own.end(tag.key, msgspec.structs.replace(outcome, tag=tag.tag))
        elif outcome.status == "cancelled":
            journals.own.partial(
                tag.key,
                outcome.text,
                request_id=outcome.request_id,
                usage=outcome.usage,
                charges=outcome.charges,
            )
