"""`Hub`: answers that outlive the tabs that read them.

What belongs here: the lives of runs: starting, stopping, what ends them, and how long they are kept. What does not:
what a run has said (`_run_log`), and the responses that read it (`_tab`).

The life of a run, each in a task of the hub's nursery::

    answering ──▶ done(run) ──▶ the last frames are added ──▶ kept for `keep` seconds ──▶ forgotten

`done` comes before the last frames, so that whoever has read them finds saved what `done` saves, and can start the next
run under the same key. The tabs have all of the text by then.
"""

from __future__ import annotations

import inspect
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, TypeAlias, final

import trio
from trio.lowlevel import enable_ki_protection

from trio_stream._errors import APIError
from trio_stream._nursery import NurseryBlock

from ._asgi import Respondent
from ._encoder import Encoder
from ._failure import Describe, failure_of
from ._live_run import HubOutcome, HubRun, LiveRun
from ._outgoing import Pace
from ._output import Output
from ._relay import Answer, check_answer, failure_in, say
from ._run_log import RunLog
from ._tab import NoRun, Tab

Done: TypeAlias = Callable[[HubRun], Awaitable[object] | None]
"""A function that is called when a run has ended."""

_CLOSING_SECONDS: Final = 5.0
"""How long `done` may go on when the hub closes."""

_ABANDONED: Final = "Nobody was reading the answer any more."

_log = logging.getLogger("trio_stream")


class HubFullError(Exception):
    """There are as many runs as the hub may have."""


@final
class Hub:
    """Answers that outlive the tabs that read them: a reload goes on reading, and a closed tab is no stop.

    ::

        async with web.Hub() as hub:                             # around the server

            async def begin(request):                            # POST: starts an answer, and reads it
                hub.start(chat_id, answer, web.AISDK(), done=save)
                return hub.attach(chat_id)

            async def again(request):                            # GET: a reload goes on with it
                return hub.attach(chat_id, after=request.headers.get("last-event-id"))

            async def stop(request):                             # POST: the button
                hub.stop(chat_id, "the user pressed Stop")

    A run is a task of the hub. It never waits for a tab: each tab reads, at its own pace, what the run has said, from
    the beginning or from where it was. If there is no tab for ``grace`` seconds, the run ends.

    A hub is of one process: where there are several, requests must be routed to them by the key.

    Which exception leaves the block is as for a stream.

    Args:
      grace: Seconds that a run goes on without a tab, from its start and from when the last one went away. None: to its
        end.
      keep: Seconds that a run can still be read after its end.
      max_runs: The largest number of runs, those that are kept included. These make room for others.
      replay_bytes: Bytes that are kept of what a run has said, word for word. Beyond that, tabs that come get the
        beginning
        in fewer and larger pieces.
      heartbeat, head_after, send_timeout, max_delay: Of the responses, as with `Relay`. A tab that takes nothing for
        ``send_timeout`` counts as gone.
      describe: As with `Relay`.
    """

    def __init__(
        self,
        *,
        grace: float | None = 30.0,
        keep: float = 60.0,
        max_runs: int = 1000,
        replay_bytes: int = 4 << 20,
        heartbeat: float | None = 15.0,
        head_after: float | None = 5.0,
        send_timeout: float | None = 30.0,
        max_delay: float = 0.0,
        describe: Describe | None = None,
    ) -> None:
        if grace is not None and not grace >= 0:
            raise ValueError(f"grace is a number of seconds, or None for no end, not {grace!r}")
        if not keep >= 0:
            raise ValueError(f"keep is a number of seconds, not {keep!r}")
        if max_runs < 1:
            raise ValueError(f"max_runs is at least 1, not {max_runs!r}")
        if replay_bytes < 0:
            raise ValueError(f"replay_bytes is a number of bytes, not {replay_bytes!r}")
        self._grace = math.inf if grace is None else grace
        self._keep = keep
        self._max_runs = max_runs
        self._replay_bytes = replay_bytes
        self._pace = Pace(heartbeat=heartbeat, head_after=head_after, send_timeout=send_timeout, max_delay=max_delay)
        self._describe = describe
        self._runs: dict[str, LiveRun] = {}  # in the order in which they were started
        self._block: NurseryBlock | None = None
        self._done_by = math.inf

    def __repr__(self) -> str:
        return f"<Hub: {len(self._runs)} runs>"

    @enable_ki_protection
    async def __aenter__(self) -> Self:
        """Open the hub."""
        if self._block is not None:
            raise RuntimeError("this hub has been entered before")
        self._block = block = NurseryBlock("hub")
        await block.enter()
        return self

    @enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        """End all runs, and wait for them: at most 5 seconds for what ``done`` has to do."""
        block = self._block
        if block is None:
            raise RuntimeError("this hub was never entered")
        self._done_by = trio.current_time() + _CLOSING_SECONDS
        for run in self._runs.values():
            if run.done_scope is not None:
                run.done_scope.deadline = self._done_by
        block.nursery.cancel_scope.cancel(reason="the hub is closed")
        block.check_may_leave()
        return await block.exit(exc)  # noqa: ASYNC102 - waits as a nursery does

    def __contains__(self, key: str) -> bool:
        """Whether a run is under way under a key."""
        run = self._runs.get(key)
        return run is not None and not run.log.has_ended

    def start(self, key: str, answer: Answer, encoder: Encoder, *, done: Done | None = None) -> None:
        """Start a run. Not a checkpoint.

        Args:
          key: The key under which tabs find it, an id of the conversation for example. A run that has ended makes room
            for
            the next under the same key.
          answer: As with `Relay`.
          encoder: The protocol. Each run needs one of its own.
          done: Called with the run when it has ended, whatever the outcome, and awaited if it is an ``async def``. When
            the hub is closed meanwhile, it has 5 seconds more.

        Raises:
          RuntimeError: A run under this key is under way; or the hub is not open.
          HubFullError: As many runs are under way as there may be.
          TypeError: ``answer`` cannot be relayed.
        """
        check_answer(answer)
        block = self._block
        if block is None or self._done_by < math.inf:
            raise RuntimeError("runs are started within `async with` of the hub")
        if key in self:
            raise RuntimeError(f"a run is under way under the key {key!r}")
        self._runs.pop(key, None)
        self._make_room()
        log = RunLog(encoder, epoch=secrets.token_hex(4), keeps=self._replay_bytes)
        self._runs[key] = run = LiveRun(key, log, grace=self._grace)
        block.nursery.start_soon(self._live, run, answer, encoder, done, name=f"trio_stream web run {key!r}")

    def attach(self, key: str, after: str | None = None) -> Respondent:
        """The response of a tab that reads a run: an ASGI application. Not a checkpoint.

        It is a 204, after which a browser asks no more, if there is no such run, or it has ended and the tab has read
        all of it. A tab that goes away, or takes nothing for ``send_timeout``, does nothing to the run but start its
        ``grace``.

        Args:
          key: The key.
          after: The ``last-event-id`` of a tab that has read before. With any other, or without, it reads from the
            start.
        """
        run = self._runs.get(key)
        return NoRun() if run is None else Tab(run, run.log.position(after), self._pace)

    def stop(self, key: str, reason: str) -> bool:
        """Stop a run, and have its tabs told so. Not a checkpoint.

        Args:
          key: The key.
          reason: Why, in words that may be shown.

        Returns:
          Whether a run was under way.
        """
        run = self._runs.get(key)
        if run is None or run.outcome is not None:
            return False
        if run.reason is None:
            run.reason = reason
            run.scope.cancel(reason=reason)
        return True

    async def until_done(self, key: str) -> None:
        """Wait until no run is under way under a key: after `stop`, for example, to start the next one.

        A checkpoint.

        Args:
          key: The key.
        """
        await trio.lowlevel.checkpoint()
        while key in self:
            await self._runs[key].log.wait()

    def _make_room(self) -> None:
        if len(self._runs) < self._max_runs:
            return
        for key, run in self._runs.items():
            if run.log.has_ended:
                del self._runs[key]
                return
        raise HubFullError(f"{len(self._runs)} runs are under way: see max_runs")

    # The life of a run.

    async def _live(self, run: LiveRun, answer: Answer, encoder: Encoder, done: Done | None) -> None:
        outcome: HubOutcome = "closed"  # unless the answer ends by itself
        try:
            outcome = await self._answer(run, answer, Output(run.log))
        finally:
            run.outcome = outcome
            await self._call_done(run, outcome, done)  # noqa: ASYNC102 - shielded there, with a deadline
            self._end(run, outcome, encoder)
        await trio.sleep(self._keep)
        if self._runs.get(run.key) is run:
            del self._runs[run.key]

    def _end(self, run: LiveRun, outcome: HubOutcome, encoder: Encoder) -> None:
        """Have the tabs told how the run has ended."""
        log = run.log
        if isinstance(outcome, APIError):
            failure = failure_of(outcome, self._describe)
            if log.is_empty:
                run.failure = failure  # so that it can still become the status of a response
            log.end(encoder.error(failure))
        elif isinstance(outcome, Exception) or outcome == "closed":
            log.cut()
        elif outcome == "complete":
            log.end(encoder.end())
        else:
            log.end(encoder.abort(run.reason or _ABANDONED))

    async def _answer(self, run: LiveRun, answer: Answer, output: Output) -> HubOutcome:
        try:
            with run.scope:
                error = await failure_in(say(answer, output, wants_data=run.log.wants_data))
                if error is not None:
                    _log.warning("a run of a hub failed: %s", error)
                    return error
                if output.stopped is not None:
                    run.reason = output.stopped
                    return "stopped"
                return "complete"
        except Exception as mistake:  # noqa: BLE001 - one run must not end the others
            _log.exception("a run of a hub was cut by a mistake in its answer")
            return mistake
        return "abandoned" if run.reason is None else "stopped"

    async def _call_done(self, run: LiveRun, outcome: HubOutcome, done: Done | None) -> None:
        if done is None:
            return
        # It has all the time it wants while the hub is open, and 5 seconds from when it closes.
        with trio.CancelScope(shield=True, deadline=self._done_by) as run.done_scope:
            try:
                said = run.log.said.messages()
                result = done(HubRun(key=run.key, outcome=outcome, reason=run.reason, messages=said))
                if inspect.isawaitable(result):
                    await result
            except Exception:  # noqa: BLE001 - nobody would catch it
                _log.exception("the function `done` of a run of a hub failed")
