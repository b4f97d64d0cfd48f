"""One Trio loop for the life of an actor, in a thread of its own, and the rows that Ray's threads bring to it.

What belongs here: the one fan-out of an actor, from the first call to the end of its process. What does not: what
rows are (`_stream_batch`).

Ray calls from threads of its own, several at once. A loop for each call would close the connections after each, learn
the limits anew, and wait for its slowest row before the next begins. So all calls share a loop and one fan-out, whose
window, limiter and connections last. This is the only thread of the package: no request is made in another.
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
from trio_stream.batch import FanOut, FanOutOptions, Item, Outcome, RateLimiter, merge_params, request_hash
from trio_stream.ray._journals import Journals

_STOP_SECONDS = 5.0
"""How long the end of a process may wait for the loop. It closes sockets and a file; it waits for nobody."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a loop is made of; all of it can be sent to another process.

    Args:
      client: Makes the client, in the actor.
      limiter: The limiter, or what makes it, in the actor.
      journals: Opens the journals.
      options: The options of the fan-out. Its limiter is made in the actor.
      fail_fast: Whether a row that fails ends its call.
    """

    client: Callable[[], Client]
    limiter: RateLimiter | Callable[[], RateLimiter]
    journals: Callable[[], Journals] | None
    options: FanOutOptions
    fail_fast: bool


@final
class _Call:
    """The rows of one call. It is made in Ray's thread, and then belongs to the loop, but for its `done`."""

    def __init__(self, rows: Sequence[Item | Exception], *, fail_fast: bool) -> None:
        self.rows = rows
        self.done: Future[list[Outcome]] = Future()
        self._fail_fast = fail_fast
        self._outcomes: dict[int, Outcome] = {}

    @property
    def over(self) -> bool:
        return self.done.done()

    def give(self, place: int, outcome: Outcome) -> None:
        """One of its rows has its outcome."""
        if self.over:
            return
        self._outcomes[place] = outcome
        if self._fail_fast and not outcome.finished and outcome.error is not None:
            self.done.set_exception(outcome.error)
        elif len(self._outcomes) == len(self.rows):
            self.done.set_result([self._outcomes[place] for place in range(len(self.rows))])

    def fail(self, error: BaseException) -> None:
        """The loop has ended."""
        if not self.over:
            self.done.set_exception(error)


class _Tag(msgspec.Struct, frozen=True):
    """Goes with an item through the fan-out."""

    call: _Call
    place: int
    key: str
    tag: object


@final
class _Rows:
    """The rows of all calls one after another, for the fan-out. Those that need no request are not among them."""

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
        """What is known of a row; its key in the journal if it has to be asked."""
        if self._journals is None:
            return ""
        try:
            digest = request_hash(merge_params(row.request, self._options.params))
            key = digest if row.id is None else row.id
            known = self._journals.lookup(key, digest)
        except (TypeError, ValueError) as error:  # no request, or another one under this id
            return Outcome(id=row.id, status="error", error=error)
        if known is None:
            self._journals.own.start(key, digest, index=self._asked)
            self._asked += 1
            return key
        return known


@final
class Loop:
    """A running Trio loop with a fan-out in it. Nothing but `answer` and `stop` is for other threads.

    Raises:
      Exception: The client, the limiter or the journals could not be made.
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
        # A daemon, or the end of the program would wait for it before anything could stop it.
        self._thread = threading.Thread(target=self._run, name="trio_stream", daemon=True)
        self._thread.start()
        self._token = self._ready.result()

    @property
    def ended(self) -> bool:
        """Whether it takes no more calls."""
        return self._ended is not None

    def answer(self, rows: Sequence[Item | Exception]) -> list[Outcome]:
        """Ask these, and wait for all of them. For any thread but the loop's.

        Args:
          rows: What to ask; errors stay what they are.

        Returns:
          The outcomes, in their order.

        Raises:
          JournalError: The journals cannot be read or written.
          Exception: With ``fail_fast``, the error of the first row that failed.
        """
        if not rows:
            return []
        if self._journals is not None:
            # A retry comes from a call of an actor that has died, perhaps just now.
            self._journals.refresh()
        call = _Call(rows, fail_fast=self._plan.fail_fast)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._calls.add(call)
        with contextlib.suppress(trio.RunFinishedError):  # then whoever ends the loop ends its calls
            self._token.run_sync_soon(self._take, call)
        try:
            return call.done.result()
        finally:
            with self._lock:
                self._calls.discard(call)

    def stop(self) -> None:
        """End the loop: what is under way is cancelled, the connections and the journal are closed."""
        try:
            self._token.run_sync_soon(self._cancel)
        except trio.RunFinishedError:
            return
        # The garbage collector runs in any thread, the loop's too.
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
        except BaseException as failure:  # noqa: ASYNC103, BLE001 - it is raised in the threads that wait
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
            # They have been paid for, whole or in part.
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
            journals.own.partial(tag.key, outcome.text, request_id=outcome.request_id, usage=outcome.usage)
