"""`Run`: one run of a conversation, as users see it, and its block.

What belongs here: entering and leaving, reading the events, and the plain attributes. What does not: the course of the
run (`_turn_loop`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import Enum
from types import TracebackType
from typing import Any, Final, NoReturn, Self, cast, final

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_stream._nursery import NurseryBlock
from trio_stream._protocol import Message
from trio_stream._schemas import parse_message
from trio_stream.agent._agent_events import RunEvent
from trio_stream.agent._dialogue import Dialogue
from trio_stream.agent._event_queue import EventQueue
from trio_stream.agent._meter import Meter
from trio_stream.agent._moments import RunWatch
from trio_stream.agent._run_options import RunOptions, RunOutcome
from trio_stream.agent._steering import Said, When, content_of
from trio_stream.agent._tool_call import ToolCall
from trio_stream.agent._turn_loop import TurnLoop

_LEFT: Final = "the block of the run was left"


class RunStoppedError(Exception):
    """A run ended without an answer: it was not completed.

    Attributes:
      run: The run, with `Run.outcome`, `Run.reason` and `Run.message`.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(f"the run ended before it was completed: {run.outcome}: {run.reason}")
        self.run = run


class _Place(Enum):
    """Where the block of a run stands."""

    BEFORE = "not entered"
    INSIDE = "entered"
    BEHIND = "left"


@final
class Run:
    """A run of a conversation: the model and the tools take turns until the model has nothing more to say.

    `Conversation.run` makes it. The run goes on in tasks of its own while its block is open, and iterating gives its
    events: those of `MessageStream`, and those of turns and tools::

        async with chat.run("Compare trio and anyio.") as run:
            async for event in run:
                ...
        print(run.outcome, run.reason)

    At most 1,000 events wait to be read; then reading the reply waits too. Leaving the block stops whatever is under
    way, and waits for it. Whatever happens, `Conversation.messages` can be sent to the API, and the conversation
    continued with another run.

    Attributes:
      first_message: The index in `Conversation.messages` of the first message of this run.
    """

    def __init__(self, dialogue: Dialogue, options: RunOptions, content: Said | None) -> None:
        self._dialogue = dialogue
        self._options = options
        self._content = content
        self._queue = EventQueue()
        self._loop = TurnLoop(dialogue, options, self._queue)
        self._block: NurseryBlock | None = None
        self._place = _Place.BEFORE
        self.first_message: int = len(dialogue.transcript)

    def __repr__(self) -> str:
        return f"<Run: {self.outcome or self._place.value}, {self.turns} turns>"

    # The block.

    @enable_ki_protection
    async def __aenter__(self) -> Self:
        """Say what the run begins with, and start it. A checkpoint.

        Raises:
          RuntimeError: It has been entered before, or another run of the conversation is under way.
        """
        if self._place is not _Place.BEFORE:
            raise RuntimeError("this run has been entered before: make another one")
        dialogue = self._dialogue
        dialogue.check_idle()
        block = NurseryBlock("run")
        await trio.lowlevel.checkpoint()
        dialogue.check_idle()
        self.first_message = len(dialogue.transcript)
        if self._content is not None:
            if dialogue.transcript.takes_only_a_reply:
                self._loop.steering.add(self._content, "next")
            else:
                dialogue.transcript.say(self._content, dialogue.note)
        await block.enter()
        self._block, self._place = block, _Place.INSIDE
        audience = dialogue.client.instruments.watch()
        if audience is not None:
            model = self._options.params.get("model", dialogue.params.get("model", ""))
            self._loop.watch = RunWatch(audience, str(model))
        dialogue.busy = True
        block.nursery.start_soon(self._loop.run, block.nursery, name="trio_stream run")
        return self

    @enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        """Stop whatever is under way, and wait for it; then commit what there is.

        A run that was not at its end is ``cancelled`` if a `trio.Cancelled` leaves the block, else ``interrupted``.
        Which exception leaves is as for a stream.
        """
        if self._block is None or self._place is not _Place.INSIDE:
            raise RuntimeError("this run was never entered, or has been left already")
        # Before the check: where the nursery cannot be closed here, its tasks should still end soon.
        self._loop.leave(_LEFT)
        self._block.nursery.cancel_scope.cancel(reason=_LEFT)
        self._block.check_may_leave()
        self._place = _Place.BEHIND
        leaving: BaseException | None = exc
        try:
            ended = await self._block.exit(exc)  # noqa: ASYNC102 - waits as a nursery does
            if ended:
                leaving = None
        except BaseException as other:
            leaving = other
            raise
        finally:
            committed = self._settle(leaving)
        if committed and leaving is None and self._options.save is not None:
            await self._options.save()  # noqa: ASYNC102 - nothing is cancelled here, and nothing is on its way out
        return ended

    def _settle(self, leaving: BaseException | None) -> bool:
        self._dialogue.busy = False
        loop = self._loop
        if _is_cancelled(leaving):
            committed = loop.settle("cancelled", getattr(leaving, "reason", None))
        else:
            reason = _LEFT if leaving is None else f"{_LEFT} with {type(leaving).__name__}"
            committed = loop.settle("interrupted", reason)
        if loop.watch is not None:
            assert loop.outcome is not None  # it is settled
            loop.watch.end(
                loop.outcome, reason=loop.reason, error=loop.error or leaving, turns=loop.turns, message=loop.message
            )
        return committed

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery of this run. Tasks that are started in it run beside it, and end with the block.

        Raises:
          RuntimeError: The run has not been entered.
        """
        if self._block is None:
            raise RuntimeError("the nursery exists once the run has been entered: write `async with` around this")
        return self._block.nursery

    # Its events.

    def __aiter__(self) -> Self:
        """Iterate over the events."""
        return self

    @enable_ki_protection
    async def __anext__(self) -> RunEvent:
        """The next event.

        Always a cancellation point. If it is cancelled nothing is lost: the next call returns the event this one was
        waiting for.

        Raises:
          StopAsyncIteration: The run has ended: see `outcome`.
          APIError: The run has failed; after all events that came before.
          trio.BusyResourceError: Another task is waiting for an event.
        """
        await checkpoint_if_cancelled()
        while (event := self._queue.get_nowait()) is None:
            if self._place is _Place.BEFORE:
                self._not_entered()
            await self._queue.wait()
        return event

    @enable_ki_protection
    def receive_nowait(self) -> RunEvent:
        """The next event, if there is one already. Not a checkpoint.

        Raises:
          trio.WouldBlock: There is none. Iterating says whether there will be more.
        """
        event = self._queue.get_nowait()
        if event is None:
            raise trio.WouldBlock
        return event

    async def result(self) -> Any:
        """Wait for the end of the run, without its events.

        Nobody is there to give approval from now on: calls that need it are denied, unless ``approve`` is a function.

        A checkpoint. If it is cancelled nothing is lost.

        Returns:
          The last reply, a `Message`; or with ``output=T`` a value of that type.

        Raises:
          RunStoppedError: The run was not completed.
          APIError: The run has failed.
          OutputParseError: The reply does not fit ``output``.
        """
        if self._place is _Place.BEFORE:
            self._not_entered()
        self._queue.discard()
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(StopAsyncIteration):
            while True:
                await self._queue.wait()
        if self.outcome != "completed" or self.message is None:
            raise RunStoppedError(self)
        if self._options.output is None:
            return self.message
        return parse_message(self.message, self._options.output)

    async def text(self) -> str:
        """Wait for the end of the run, and return the text of the last reply.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          RunStoppedError: The run was not completed.
          APIError: The run has failed.
        """
        await self.result()
        return "" if self.message is None else self.message.text

    def _not_entered(self) -> NoReturn:
        raise RuntimeError("the run starts when it is entered: write `async with chat.run(...) as run:` around this")

    # Acting on it, from any task.

    @enable_ki_protection
    def interrupt(self, reason: str = "interrupted") -> None:
        """End the run now, keeping what can be kept.

        Reading and calls are stopped, events of the stream that nobody took are dropped, and the iteration ends when
        the calls have. Never fails, and does nothing before the run has been entered and once it has ended. Not a
        checkpoint.

        Args:
          reason: What `reason` says, and the results of the calls that are stopped.
        """
        if self._place is _Place.INSIDE:
            self._loop.interrupt(reason)

    @enable_ki_protection
    def say(self, *content: str | Mapping[str, Any], when: When = "next") -> bool:
        """Say something to the model while the run goes on.

        Args:
          *content: Texts and content blocks.
          when: ``"next"``: with the next request, after the results of the calls that run. ``"idle"``: when no call is
            left, as a turn of its own. ``"now"``: what is being read and every call is stopped, and the model goes on
            with this.

        Returns:
          False if the run has ended, so that nothing can be said any more. Otherwise it is delivered, or it is in
          `unsaid` when the run has ended before.

        Raises:
          ValueError: There is nothing in it, it cannot be written as JSON, or ``when`` is none of the three.
          TypeError: It is not made of texts and blocks, or is not JSON.
        """
        if when not in ("next", "idle", "now"):
            raise ValueError(f'when is "next", "idle" or "now", not {when!r}')
        said = content_of(content)
        return self._place is _Place.INSIDE and self._loop.say(said, when)

    # What can be read at any time.

    @property
    def outcome(self) -> RunOutcome | None:
        """How the run has ended; None before it has.

        ``completed``: the model has nothing more to say, or a tool raised `StopRun`. ``interrupted``: by `interrupt`,
        or because the block was left. ``cancelled``: by Trio. ``failed``: a request failed, or ``save`` did.
        ``truncated``: a reply was cut by ``max_tokens`` or the size of the context. ``refused``: the model refused to
        go on; the API wants the turn gone: ``chat.fork(run.first_message)``. ``max_turns``, ``budget``: a limit.
        """
        return self._loop.outcome

    @property
    def reason(self) -> str | None:
        """Why it has ended so, in words."""
        return self._loop.reason

    @property
    def message(self) -> Message | None:
        """The last reply, as far as it came; None before the first one has ended."""
        return self._loop.message

    @property
    def turns(self) -> int:
        """How many turns have begun."""
        return self._loop.turns

    @property
    def meter(self) -> Meter:
        """What the run has used, together with those that share its meter."""
        return self._options.meter

    @property
    def calls(self) -> Mapping[str, ToolCall]:
        """The calls of tools, by their ids. ``run.calls[id].cancel(reason)`` stops one of them."""
        return self._loop.calls

    @property
    def unsaid(self) -> list[Said]:
        """What was said and has not been delivered, in its order."""
        return self._loop.steering.unsaid


def _is_cancelled(leaving: BaseException | None) -> bool:
    if isinstance(leaving, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", leaving).subgroup(trio.Cancelled) is not None
    return isinstance(leaving, trio.Cancelled)
