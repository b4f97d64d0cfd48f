"""The course of a run: one turn after another, until there is nothing more to do.

What belongs here: the order of things, that is reading, calls, committing, delivering what was said, and ending. What
does not: what a reply's end leads to (`_turn`), running calls (`_tool_runner`), and the block of a run (`_run`).

One task runs it, in the nursery of the run. Everything else acts on it by plain calls, from any task: `say`,
`interrupt`, `leave`. Each of them only notes what is wanted, and wakes that task where it waits. So there is one place
where messages are committed, and between two of its checkpoints the conversation goes from one valid state to another.

::

    at a boundary ── deliver what was said ──▶ save ──▶ limits ──▶ read the reply ──▶ calls ──▶ commit ──▶ save ──┐
          ▲                                                                                                       │
          └───────────────────────────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import Enum
from typing import Final, cast, final

import trio
from trio.lowlevel import enable_ki_protection

from trio_stream._errors import APIError
from trio_stream._limiter import working_lane
from trio_stream._protocol import Message, decide_retry
from trio_stream.agent._agent_events import SteerEvent, TurnRestartEvent, TurnStartEvent, TurnStopEvent
from trio_stream.agent._dialogue import Dialogue
from trio_stream.agent._event_queue import EventQueue
from trio_stream.agent._moments import RunWatch
from trio_stream.agent._run_options import RunOptions, RunOutcome
from trio_stream.agent._steering import Said, Steering, When
from trio_stream.agent._tool_call import ToolCall
from trio_stream.agent._tool_runner import ToolRunner
from trio_stream.agent._turn import Follows, Turn, TurnState, what_follows

_CUT: Final = "the reply was cut"
_NOW: Final = "the user said something"
_TRUNCATED: Final = "the reply was cut at its limit"
_REFUSED: Final = "the model refused to go on"
_NOT_SAVED: Final = "the conversation could not be saved"


class Boundary(Enum):
    """What is due between two turns."""

    REPLY = "the model has to answer"
    REST = "the model has said all it had to say"


@final
class TurnLoop:
    """Runs the turns of one run.

    Args:
      dialogue: The conversation.
      options: Those of the run.
      queue: Takes the events.

    Attributes:
      steering: What has been said and is not delivered yet.
      outcome: How the run ended or is ending, or None.
      reason: Why, in words; None where the outcome says it all.
      error: What it failed with, or None.
      message: The last reply, as far as it came; None before the first one.
      turns: How many turns have begun.
      watch: Tells instruments of the run, where anybody watches.
    """

    def __init__(self, dialogue: Dialogue, options: RunOptions, queue: EventQueue) -> None:
        self._dialogue = dialogue
        self._options = options
        self._params = options.request_params()
        self._queue = queue
        self._saving = trio.Lock()
        self._due = Boundary.REPLY
        self._past_calls: dict[str, ToolCall] = {}
        self.steering = Steering()
        self.outcome: RunOutcome | None = None
        self.reason: str | None = None
        self.error: Exception | None = None
        self.message: Message | None = None
        self.turns = 0
        self.watch: RunWatch | None = None

    # From any task.

    @property
    def calls(self) -> Mapping[str, ToolCall]:
        """The calls of the run, by their ids."""
        turn = self._dialogue.turn
        return self._past_calls if turn is None else {**self._past_calls, **turn.runner.calls}

    def say(self, content: Said, when: When) -> bool:
        """As `Run.say`."""
        if self.outcome is not None:
            return False
        self.steering.add(content, when)
        if when == "now":
            self._queue.drop_stream_events()
            if self._dialogue.turn is not None:
                self._dialogue.turn.stop(_NOW)
        return True

    def interrupt(self, reason: str) -> None:
        """As `Run.interrupt`."""
        if self.outcome is None:
            self._queue.drop_stream_events()
            self._end("interrupted", reason)

    def leave(self, reason: str) -> None:
        """The block is being left: everything stops."""
        if self._dialogue.turn is not None:
            self._dialogue.turn.stop(reason)

    def settle(self, outcome: RunOutcome, reason: str | None) -> bool:
        """The block has been left, and nothing runs any more: commit what there is.

        Args:
          outcome: The outcome, if nothing has decided it before.
          reason: Why, in words.

        Returns:
          Whether anything was committed.
        """
        if self.outcome is None:
            self.outcome, self.reason = outcome, reason
        before = len(self._dialogue.transcript)
        if self._dialogue.turn is not None:
            self._close(self._dialogue.turn)
        self._commit_pending()
        self._queue.close(self.error)
        return len(self._dialogue.transcript) > before

    def _end(self, outcome: RunOutcome, reason: str | None) -> None:
        """Decide how the run ends, which nothing has decided before, and stop what is under way."""
        self.outcome, self.reason = outcome, reason
        if self._dialogue.turn is not None:
            self._dialogue.turn.stop(reason or outcome)

    def _fail(self, error: Exception, reason: str) -> None:
        """End with an error, the first there is, whatever was decided before: it must not be lost."""
        if self.error is None:
            self.outcome, self.reason, self.error = "failed", reason, error
            if self._dialogue.turn is not None:
                self._dialogue.turn.stop(reason)

    # The task.

    @enable_ki_protection
    async def run(self, nursery: trio.Nursery) -> None:
        """Run turns until the run has ended.

        Never fails: an error is kept for whoever reads the events.

        Args:
          nursery: The calls run in it.
        """
        if self.watch is not None:
            self.watch.start()
        lane = self._dialogue.lane(self._params)
        if lane is not None:
            working_lane.set(lane)  # its tools and sub-agents too
        try:
            await self._save()
            while await self._prepare():
                await self._take_turn(nursery)
                await self._save()
        except Exception as error:  # noqa: BLE001 - raised where the events are read; never a `Cancelled`
            self._fail(error, f"{type(error).__name__}: {error}")
            self._commit_pending()
        self._queue.close(self.error)

    async def _prepare(self) -> bool:
        """At a boundary: deliver what was said, and see whether there is to be another request."""
        while self.outcome is None:
            if self._deliver():
                self._due = Boundary.REPLY
                await self._save()  # meanwhile more may be said
                continue
            if self._due is Boundary.REST:
                self._end("completed", None)
            elif self._options.max_turns is not None and self.turns >= self._options.max_turns:
                self._end("max_turns", f"max_turns={self.turns} was reached")
            elif (refusal := self._options.meter.take_request()) is not None:
                self._end("budget", refusal)
            else:
                return True
        if self._commit_pending():
            await self._save()
        return False

    def _deliver(self) -> bool:
        """Commit what was said and may be delivered at this boundary; whether there was anything."""
        dialogue = self._dialogue
        if dialogue.pending and self.steering.is_urgent:
            self._commit_pending()
        if dialogue.pending or dialogue.transcript.takes_only_a_reply:
            return False
        texts = self.steering.take(idle=self._due is Boundary.REST)
        for content, when in texts:
            dialogue.transcript.say(content, dialogue.note)
            self._queue.put(SteerEvent(content=content, when=when))
        return bool(texts)

    def _commit_pending(self) -> bool:
        """Commit replies that another one was to go on from, as cut: no other comes."""
        pending = self._dialogue.pending
        if pending:
            self._dialogue.commit(pending, cut=True)
        return bool(pending)

    # One turn.

    async def _take_turn(self, nursery: trio.Nursery) -> None:
        self.turns += 1
        turn = Turn(self.turns, self._dialogue.pending, self._new_runner(nursery))
        self._dialogue.turn = turn
        self._queue.put(TurnStartEvent(turn=turn.number))
        failure: Exception | None = None
        with turn.scope:
            failure = await self._read_reply(turn, nursery)
            if failure is not None:
                turn.stop(_CUT)
            await turn.runner.join()
        if turn.state is TurnState.STOPPED:
            # What has begun with `on_cancel="finish"` has its time.
            await turn.runner.join()
        # From here to the end of the turn nothing waits.
        stopping = turn.state is TurnState.STOPPED
        follows = self._close(turn)
        if failure is not None:
            await self._save()
            raise failure
        if stopping:
            self._due = Boundary.REPLY  # if the run goes on at all, then because of what was said
            return
        if follows is Follows.TRUNCATED:
            self._end("truncated", _TRUNCATED)
        elif follows is Follows.REFUSED:
            self._end("refused", _REFUSED)
        elif turn.runner.ends_run:
            self._end("completed", "a tool ended the run")
        else:
            self._due = Boundary.REST if follows is Follows.REST else Boundary.REPLY

    def _new_runner(self, nursery: trio.Nursery) -> ToolRunner:
        options = self._options
        runner = ToolRunner(
            self._dialogue.tools,
            nursery,
            max_concurrent_tools=options.max_concurrent_tools,
            approve=options.approve,
            approval_timeout=options.approval_timeout,
            emit=self._queue.put,
            before_start=self._before_start,
            meter=options.meter,
        )
        runner.tell(None if self.watch is None else self.watch.tools)
        return runner

    async def _read_reply(self, turn: Turn, nursery: trio.Nursery) -> Exception | None:
        """Read the reply, asking again for one that fails in passing; then let its calls run.

        Returns:
          What it failed with for good, if nobody stopped it before.
        """
        retries = 0
        while True:
            try:
                await self._read(turn)
            except APIError as error:
                delay = self._restart_delay(turn, error, retries)
                if delay is None:
                    return error if turn.state is TurnState.READING else None
                retries += 1
                assert turn.message is not None  # only a reply that has begun is asked for again
                self._count_cut(turn.message)
                turn.runner.stop(_CUT)
                turn.begin_again(self._new_runner(nursery))
                self._queue.drop_stream_events()
                self._queue.put(TurnRestartEvent(turn=turn.number, error=error, delay=delay))
                await trio.sleep(delay)
                refusal = self._options.meter.take_request()
                if refusal is not None:
                    self._end("budget", refusal)
                    return None
            except Exception as error:  # noqa: BLE001 - a request that cannot be made, a client that was closed
                return error if turn.state is TurnState.READING else None
            else:
                break
        self._let_calls_run(turn)
        return None

    async def _read(self, turn: Turn) -> None:
        queue, runner = self._queue, turn.runner
        request = self._dialogue.request(self._params, first=self.turns == 1)
        async with request as stream:
            turn.begin_reading(stream)
            async for event in stream:
                runner.feed(event)
                if queue.put(event):
                    await queue.wait_for_room()

    def _restart_delay(self, turn: Turn, error: APIError, retries: int) -> float | None:
        """Seconds until the reply is asked for again; None if it is not."""
        message = turn.message
        if message is None or turn.state is not TurnState.READING or turn.runner.calls:
            # A reply that never began has been retried by the client; calls of one that did may have had effects.
            return None
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        return decide_retry(error, retries_taken=retries, max_retries=self._options.turn_retries, jitter=jitter)

    def _let_calls_run(self, turn: Turn) -> None:
        message = turn.message
        if message is None or turn.state is not TurnState.READING:
            return  # it was stopped in its last moment
        turn.state = TurnState.CALLING
        if what_follows(message) is Follows.REFUSED:
            turn.runner.stop(_REFUSED)
        turn.runner.start_all(message)  # after other replies too: then it answers those that have not started

    def _close(self, turn: Turn) -> Follows | None:
        """Commit a turn, or keep it for the next reply to go on from. Nothing waits here.

        Returns:
          What its reply leads to; None if it was stopped before its end.
        """
        dialogue, message, goes_on = self._dialogue, turn.message, turn.goes_on
        whole = message is not None and message.stop_reason is not None
        replies = turn.replies()
        results = turn.runner.results()
        self._past_calls.update(turn.runner.calls)
        turn_stopped = turn.state is TurnState.STOPPED
        turn.state = TurnState.CLOSED
        dialogue.turn = None
        if message is not None:
            self.message = message
            if whole:
                dialogue.count(message, cut=False)
                self._options.meter.add(message, asked=self._model)
            else:
                self._count_cut(message)
            if message.container is not None:
                dialogue.container = message.container.id
        if goes_on:
            dialogue.pending = replies
        else:
            dialogue.commit(replies, cut=not whole)
        self._queue.put(
            TurnStopEvent(turn=turn.number, message=message, results=cast("list[Mapping[str, object]]", results))
        )
        return None if message is None or turn_stopped else what_follows(message)

    def _count_cut(self, message: Message) -> None:
        self._dialogue.count(message, cut=True)
        self._options.meter.add_cut(message, asked=self._model)

    @property
    def _model(self) -> str:
        """The model that is asked."""
        return str(self._params.get("model", self._dialogue.params.get("model", "")))

    # Saving.

    async def _save(self) -> None:
        if self._options.save is not None:
            async with self._saving:
                await self._options.save()

    async def _before_start(self, _call: ToolCall) -> str | None:
        """Save the conversation before a call starts; the reason why it must not, if that fails."""
        try:
            await self._save()
        except Exception as error:  # noqa: BLE001 - raised where the events are read
            self._fail(error, _NOT_SAVED)
            return _NOT_SAVED
        return None
