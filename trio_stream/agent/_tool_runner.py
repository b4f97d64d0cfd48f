"""The calls of one reply, from its events to its results.

What belongs here: which calls there are, when each may start, and everything about all of them: waiting, stopping,
results. What does not: a single call (`_tool_call`), the order of their turns (`_schedule`), asking (`_approval`), and
what a reply leads to (`_turn`).
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, final

import trio

from trio_stream._errors import InvalidResponseError
from trio_stream._instruments import Instruments
from trio_stream._protocol import (
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    FallbackBlock,
    Message,
    MessageDeltaEvent,
    ToolResultBlockParam,
    ToolUseBlock,
    is_by_program,
)
from trio_stream.agent._agent_events import RunEvent
from trio_stream.agent._approval import Approvals, Approve, deny_approvals, needs_approval
from trio_stream.agent._meter import Meter
from trio_stream.agent._moments import ToolWatch
from trio_stream.agent._schedule import Schedule
from trio_stream.agent._tool import Tool
from trio_stream.agent._tool_call import BeforeStart, CallState, Surroundings, ToolCall, ToolListener, reason_of
from trio_stream.agent._tool_context import Emit
from trio_stream.agent._tool_result import THE_END
from trio_stream.agent._toolset import Toolset

RUNS_CALLS: Final = frozenset({"tool_use", "pause_turn", "compaction"})
"""The stop reasons of whole replies after which the model waits for results, if the reply has calls."""

_TELLING: Final = (ContentBlockStartEvent, ContentBlockStopEvent, MessageDeltaEvent)
"""The events that say something of calls."""

_FALLBACK: Final = "another model took over, and the call may not have been complete"


@final
class ToolRunner:
    """Runs the calls of one reply beside its stream. Make one for each reply.

    ::

        async with client.messages.stream(messages=messages, tools=[search.definition], ...) as stream:
            calls = ts.ToolRunner([search], stream.nursery)
            async for event in stream:
                calls.feed(event)
            calls.start_all(stream.message)
            await calls.join()
        messages += stream.message.as_history(calls.results())

    A call starts while the reply still arrives, as soon as the reply has gone past it: when the next block begins, or
    when the API says that the reply ends with ``tool_use``. The end of the block itself says little, because a reply
    that is cut closes its last block too; nor does a ``fallback`` block, which follows what another model left
    unfinished. Calls that need approval, exclusive calls and those of tools with ``eager=False`` wait for
    `start_all`.

    `results` has one result for each call at any instant, so ``as_history(calls.results())`` of whatever has arrived
    can be sent to the API, whenever and however the block is left.

    Args:
      tools: `Tool` objects. Definitions of tools that the API runs may stand among them.
      nursery: Where the calls run, usually that of the stream. They are stopped when it is cancelled. No exception of a
        tool reaches it.
      max_concurrent_tools: How many calls may run at once. Their turns come in the order of the reply.
      approve: Who says whether a call that needs approval may run: an asynchronous function that takes the `ToolCall`
        and returns True, or the reason why not. It is awaited for one call after the other, in the order of the reply,
        and if it raises, that is a no. ``"ask"``: an `ApprovalEvent` for each call goes to ``emit``, all at once. None:
        nobody is there, so these calls are denied.
      approval_timeout: Seconds after which no answer is a no: for each call with a function, for all of them with
        ``"ask"``. None: there is no bound.
      emit: Takes the events of the calls. It must neither wait nor fail. None: nobody reads them, so a call that one
        of them asks about is denied.
      before_start: Awaited before each call that starts, when it is its turn, for one call after the other; `results`
        tells of the call as one that runs already. It returns None, or the reason why the call must not start. If it
        raises, the call is not started and the exception goes on, out of the nursery.
      meter: Counts the calls, and limits them: one beyond its limits is not started. Tools get it with their
        `ToolContext`.

    Attributes:
      calls: The calls by their ids, in the order of the reply.

    Raises:
      TypeError: ``tools`` are not tools, or ``approve`` is none of the three.
      ValueError: Two tools have one name, or a number is out of its range.
    """

    __slots__ = (
        "_all_ended",
        "_approvals",
        "_around",
        "_context",
        "_fell_back",
        "_is_whole",
        "_last",
        "_nursery",
        "_schedule",
        "_seen",
        "_stop_reason",
        "_takes_turns",
        "_toolset",
        "_under_way",
        "calls",
    )

    calls: dict[str, ToolCall]

    def __init__(
        self,
        tools: Toolset | Iterable[Tool | Mapping[str, Any]],
        nursery: trio.Nursery,
        *,
        max_concurrent_tools: int = 10,
        approve: Approve | Literal["ask"] | None = None,
        approval_timeout: float | None = None,
        emit: Emit | None = None,
        before_start: BeforeStart | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._toolset = tools if isinstance(tools, Toolset) else Toolset(tools)
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self.calls = {}
        audience = Instruments().watch()
        self._around = Surroundings(
            emit=emit or deny_approvals,
            ended=self._ended,
            cancelled=self.stop,
            before_start=before_start,
            starting=trio.Lock(),
            meter=meter,
            listener=None if audience is None else ToolWatch(audience),
        )
        self._schedule = Schedule(max_concurrent_tools)
        self._approvals = Approvals(approve, approval_timeout, emit=self._around.emit, decided=self._decided)
        self._seen: set[str] = set()  # the ids of calls, from where their blocks begin
        self._last: ToolCall | None = None  # the call whose block has ended, until the reply goes past it
        self._fell_back = False
        self._is_whole = False
        self._stop_reason: str | None = None
        self._takes_turns = False  # so that a thousand refused calls are not a thousand calls deep
        self._under_way: set[ToolCall] = set()  # from where they are to start until they end
        self._all_ended = trio.lowlevel.ParkingLot()

    def tell(self, listener: ToolListener | None) -> None:
        """Have the instruments of a run told of its tools. For the run, before the first call."""
        self._around = self._around._replace(listener=listener)

    # The reply.

    def feed(self, event: RunEvent) -> None:
        """Take an event of the stream; those that say nothing of calls are let go. Not a checkpoint.

        Args:
          event: The event, as the stream delivered it.

        Raises:
          InvalidResponseError: The reply has two calls with one id, or one without: no results would fit them.
        """
        if not isinstance(event, _TELLING):
            return  # nearly all are deltas: matching each against the cases would take three times as long
        match event:
            case ContentBlockStartEvent(content_block=block):
                self._go_past(block)
                if isinstance(block, ToolUseBlock):
                    self._see(block)
            case ContentBlockStopEvent(content_block=ToolUseBlock(incomplete=False) as block):
                self._last = self._add(block)
            case MessageDeltaEvent(delta=delta) if delta.stop_reason == "tool_use":
                self._start_last()
            case _:
                pass

    def start_all(self, message: Message) -> None:
        """Start what has not started: the reply is whole. Not a checkpoint.

        After any stop reason but ``tool_use`` (and ``pause_turn`` and ``compaction``, which may come with calls too)
        the model does not wait for results, so calls that have not started are answered with that.

        Args:
          message: The whole reply. What was not fed is taken from it.

        Raises:
          InvalidResponseError: The reply has two calls with one id, or one without.
          RuntimeError: It is another reply than before.
        """
        blocks = [block for block in message.content if isinstance(block, ToolUseBlock) and not block.incomplete]
        if len({block.id for block in blocks}) < len(blocks):
            raise _two_with_one_id()
        for block in blocks:
            if block.id not in self.calls:
                if self._is_whole:
                    raise RuntimeError("a ToolRunner runs the calls of one reply: make another for the next")
                self._seen.discard(block.id)
                self._see(block)
                self._add(block)
        self._is_whole = True
        waiting = [call for call in self.calls.values() if call.state is CallState.WAITING]
        if message.stop_reason not in RUNS_CALLS:
            for call in waiting:
                call.deny(f"the reply ended with {message.stop_reason!r}")
            return
        for call in waiting:
            self._schedule.line_up(call)
        self._start(waiting)

    def _see(self, block: ToolUseBlock) -> None:
        if not block.id:
            raise InvalidResponseError(f"the reply calls the tool {block.name!r} without an id, so it has no answer")
        if block.id in self._seen:
            raise _two_with_one_id()
        self._seen.add(block.id)

    def _add(self, block: ToolUseBlock) -> ToolCall:
        call = ToolCall(block, self._toolset.find(block), len(self.calls), self._around)
        self.calls[call.id] = call
        if self._stop_reason is not None:
            call.deny(self._stop_reason)
        return call

    def _go_past(self, block: object) -> None:
        """Another block has begun."""
        if isinstance(block, FallbackBlock):
            self._fell_back = True
            if self._last is not None:
                self._last.deny(_FALLBACK)
        self._start_last()

    def _start_last(self) -> None:
        call, self._last = self._last, None
        if call is None or self._fell_back or call.state is not CallState.WAITING:
            return
        if is_by_program(call.block):
            # The end of the reply tells in which container the program waits; results cannot be sent without it.
            return
        if call.tool is None or not call.tool.waits_for_reply:
            self._start([call])

    # The calls.

    def _start(self, calls: Iterable[ToolCall]) -> None:
        """Bring calls under way, in the order of the reply."""
        asked: list[ToolCall] = []
        for call in calls:
            # One that failed just now may have ended later ones of its group.
            if call.has_ended or not call.prepare():
                continue
            self._under_way.add(call)
            if needs_approval(call):
                call.state = CallState.ASKING
                asked.append(call)
            else:
                call.state = CallState.READY
                self._schedule.add(call)
        if asked and self._approvals.begin(asked):
            self._start_task(self._ask, "approvals of tools")
        self._take_turns()

    async def _ask(self) -> None:
        try:
            await self._approvals.ask()
        except trio.Cancelled as exc:
            self.stop(reason_of(exc))
            raise

    def _decided(self, call: ToolCall, reason: str | None) -> None:
        if reason is not None:
            call.deny(reason)
            return
        call.state = CallState.READY
        self._schedule.add(call)
        self._take_turns()

    def _take_turns(self) -> None:
        if self._stop_reason is not None or self._takes_turns:
            return
        self._takes_turns = True
        try:
            while (call := self._schedule.take()) is not None:
                refusal = None if self._around.meter is None else self._around.meter.take_call()
                if refusal is not None:
                    call.deny(refusal)  # which leads here again, and the loop goes on with the next
                    continue
                self._start_task(call.run, f"tool {call.name}")
        finally:
            self._takes_turns = False

    def _start_task(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        # In the context of whoever made the runner. A call often starts in the task of the one that ended before it,
        # and what that set (the span it is in, for one) is none of its business.
        self._context.run(lambda: self._nursery.start_soon(function, name=name))

    def _ended(self, call: ToolCall) -> None:
        self._under_way.discard(call)
        self._approvals.drop(call)
        for later in self._schedule.remove(call):
            later.deny(f"an earlier call of its group, {call.name}, failed")
        self._take_turns()
        if not self._under_way:
            self._all_ended.unpark_all()

    async def join(self) -> None:
        """Wait until every call that is under way has ended: those that run, wait for their turn or are asked about.

        A checkpoint. If it is cancelled the calls go on, as long as their nursery does.
        """
        await trio.lowlevel.checkpoint()
        while self._under_way:
            await self._all_ended.park()

    def stop(self, reason: str) -> None:
        """Stop every call that has not ended, and start none from now on. Not a checkpoint: `join` waits.

        Calls that run are cancelled, each by itself; those that do not run yet have their results at once. The first
        reason is the one that counts.

        Args:
          reason: What the model is told.
        """
        if self._stop_reason is None:
            self._stop_reason = reason
        for call in list(self.calls.values()):
            call.cancel(self._stop_reason)

    @property
    def ends_run(self) -> bool:
        """Whether a tool raised `StopRun`."""
        return any(call.ends_run for call in self.calls.values())

    def results(self, reason: str = THE_END) -> list[ToolResultBlockParam]:
        """One ``tool_result`` block for each call whose block is complete, in the order of the reply.

        They are right at any instant: a call that has ended has its result; one that runs is told of as stopped, with
        effects that are not known; any other as not started.

        Args:
          reason: Why there will be no other result, for calls that have not ended and were not stopped.
        """
        return [call.result(reason) for call in self.calls.values()]


def _two_with_one_id() -> InvalidResponseError:
    return InvalidResponseError("the reply has two calls with one id, so no result would say which of them it is for")
