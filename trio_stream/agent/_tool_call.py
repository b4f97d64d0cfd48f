"""One call of a tool: its state, its task, and its result at any instant.

What belongs here: what happens between the start of a call and its result. What does not: which call starts when
(`_schedule`), asking whether it may (`_approval`), and the words of results (`_tool_result`).

::

    WAITING ----> ASKING ----> READY ----> STARTING ----> RUNNING ----> DONE
       |            |            |            |              |
       +------------+------------+------------+              +--------> STOPPED
                            |
                            v
                       NOT_STARTED

A call has a result in every state: in the last three it is final, in the others it is what has to be said if nothing
comes after it. What stands between STARTING and RUNNING is saving the conversation, so a call that is STARTING already
answers as one that runs: if the program dies before the next thing is saved, that is the truth.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, cast, final

import trio

from trio_stream._errors import InvalidToolInputError
from trio_stream._protocol import ToolResultBlockParam, ToolUseBlock
from trio_stream.agent._agent_events import ToolStartEvent, ToolStopEvent
from trio_stream.agent._meter import Meter
from trio_stream.agent._tool import Tool
from trio_stream.agent._tool_context import Emit, StopRun, ToolContext, ToolError
from trio_stream.agent._tool_result import (
    HIDDEN,
    THE_END,
    Answer,
    content_of,
    error_content,
    failed,
    not_started,
    stopped,
    timed_out,
)

_log = logging.getLogger("trio_stream")

_CANCELLED: Final = "it was cancelled"
_MALFORMED: Final = "its input is not a JSON object"

BeforeStart: TypeAlias = "Callable[[ToolCall], Awaitable[str | None]]"
"""Awaited before a call starts. It returns None, or the reason why the call must not start."""


class CallState(enum.Enum):
    """Where a call is on its way."""

    WAITING = "waiting"
    """It is known, and nothing of it has begun."""
    ASKING = "asking"
    """Somebody is asked whether it may run."""
    READY = "ready"
    """It may run, and waits for its turn."""
    STARTING = "starting"
    """It is its turn; what has to come before is under way. Only where something has to."""
    RUNNING = "running"
    DONE = "done"
    """Its tool has ended, or its input was refused."""
    STOPPED = "stopped"
    """It was stopped while it ran."""
    NOT_STARTED = "not_started"


_BEGUN: Final = frozenset({CallState.STARTING, CallState.RUNNING})
_ENDED: Final = frozenset({CallState.DONE, CallState.STOPPED, CallState.NOT_STARTED})


class ToolListener(Protocol):
    """Who is told that the tool of a call starts, in its task, and that it has ended."""

    def start(self, call: ToolCall) -> None:
        """The tool starts."""

    def end(self, call: ToolCall) -> None:
        """The tool has ended, and the call has its result."""


class Surroundings(NamedTuple):
    """What a call needs of the runner that it belongs to.

    Attributes:
      emit: Takes its events.
      ended: Called when the call has its result.
      cancelled: Called with the reason when a cancellation from outside reaches the call: it is one of all calls.
      before_start: Awaited before it starts.
      starting: Held meanwhile, by one call after the other, so that what is saved for one does not say of the next
        that it may have had effects.
      meter: The meter of the run.
      listener: Told of tools that start and end, if anybody is.
    """

    emit: Emit
    ended: Callable[[ToolCall], None]
    cancelled: Callable[[str], None]
    before_start: BeforeStart | None
    starting: trio.Lock
    meter: Meter | None
    listener: ToolListener | None


@final
class ToolCall:
    """A call of a tool by the model. `Run.calls` has those of a run, and a `ToolRunner` those of a reply.

    Attributes:
      id: The identifier of the call.
      name: The name that the model called.
      toolset_name: The toolset of the tool, or None.
      block: The block of the reply.
      tool: The tool; None if there is none of that name.
      index: The place of the call among the calls of its reply, from 0.
      state: Where it is on its way.
    """

    __slots__ = (
        "_answer",
        "_arguments",
        "_around",
        "_scope",
        "_stopping",
        "block",
        "id",
        "index",
        "name",
        "state",
        "tool",
        "toolset_name",
    )

    id: str
    name: str
    toolset_name: str | None
    block: ToolUseBlock
    tool: Tool | None
    index: int
    state: CallState

    def __init__(self, block: ToolUseBlock, tool: Tool | None, index: int, around: Surroundings) -> None:
        self.block = block
        self.id = block.id
        self.name = block.name
        self.toolset_name = block.toolset_name
        self.tool = tool
        self.index = index
        self.state = CallState.WAITING
        self._around = around
        self._arguments: dict[str, Any] = {}
        self._answer: Answer | None = None
        self._stopping: str | None = None
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<ToolCall {self.name} {self.id}: {self.state.value}>"

    @property
    def input(self) -> Mapping[str, Any]:
        """The input as the JSON object that the model wrote; empty if it is none."""
        try:
            return self.block.input
        except InvalidToolInputError:
            return {}

    @property
    def has_ended(self) -> bool:
        """Whether it has its final result."""
        return self.state in _ENDED

    @property
    def is_error(self) -> bool:
        """Whether it has ended with anything but the result of the tool."""
        return self._answer is not None and self._answer.is_error

    @property
    def ends_run(self) -> bool:
        """Whether the tool raised `StopRun`."""
        return self._answer is not None and self._answer.ends_run

    def result(self, reason: str = THE_END) -> ToolResultBlockParam:
        """The ``tool_result`` block of this call, at any instant.

        Args:
          reason: Why there will be no other result, for a call that has not ended and was not stopped.
        """
        answer = self._answer
        if answer is None:
            reason = self._stopping or reason
            answer = stopped(reason) if self.state in _BEGUN else not_started(reason)
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": self.id, "content": answer.content}
        if answer.is_error and answer.marked:
            block["is_error"] = True
        if self.toolset_name is not None:
            block["toolset_name"] = self.toolset_name
        return cast("ToolResultBlockParam", block)

    def cancel(self, reason: str = "the call was cancelled") -> None:
        """Stop this call, and no other.

        A call that does not run yet is answered at once. One that runs is cancelled; with ``on_cancel="finish"`` it
        has its ``grace`` to come to its end, and keeps the result it then has. A call that has ended stays as it is,
        and the first reason is the one that counts. Not a checkpoint.

        Args:
          reason: What the model is told, and Trio.
        """
        if self.has_ended or self._stopping is not None:
            return
        self._stopping = reason
        self._scope.cancel(reason=reason)
        if self.state not in _BEGUN:
            self.end(CallState.NOT_STARTED, not_started(reason))

    # For the runner.

    def prepare(self) -> bool:
        """Find the arguments; False if the call has ended by that, because it cannot be made."""
        if self.tool is None:
            self.end(CallState.NOT_STARTED, Answer(f"there is no tool {self.name!r}.", is_error=True))
            return False
        try:
            self._arguments = self.tool.read_input(self.block)
        except InvalidToolInputError:
            self.end(CallState.NOT_STARTED, not_started(_MALFORMED))
        except (ValueError, RecursionError) as error:
            self.end(CallState.NOT_STARTED, Answer(content_of(f"not started: {error}", limit=2000), is_error=True))
        return not self.has_ended

    def end(self, state: CallState, answer: Answer) -> None:
        """Give this call its result, unless it has one."""
        if self.has_ended:
            return
        began = self.state is CallState.RUNNING
        self._answer = answer  # before the state: a KeyboardInterrupt may come between any two lines
        self.state = state
        self._around.emit(
            ToolStopEvent(
                id=self.id, name=self.name, is_error=answer.is_error, result=cast("Mapping[str, Any]", self.result())
            )
        )
        if began and self._around.listener is not None:
            self._around.listener.end(self)
        self._around.ended(self)

    def deny(self, reason: str) -> None:
        """End it because it may not run."""
        self.end(CallState.NOT_STARTED, not_started(reason))

    async def run(self) -> None:
        """Run the call to its end. It is its turn, and the state is READY when this is called.

        Raises:
          Exception: What ``before_start`` raised, and nothing that the tool did.
        """
        try:
            with self._scope:
                await self._start()
        except trio.Cancelled as exc:
            self._around.cancelled(reason_of(exc))
            self._end_stopped(_CANCELLED)
            raise
        except BaseException as exc:
            # Of `before_start`, or what ends the whole program.
            begun = self.state is CallState.RUNNING
            self._end_stopped(type(exc).__name__ if begun else "what has to come before it failed")
            raise
        self._end_stopped(_CANCELLED)

    def _end_stopped(self, reason: str) -> None:
        """End it as stopped, if it has not ended; ``reason`` is for where nobody has given one."""
        if self.has_ended:
            return
        self._stopping = reason = self._stopping or reason
        if self.state is CallState.RUNNING:
            self.end(CallState.STOPPED, stopped(reason))
        else:
            self.end(CallState.NOT_STARTED, not_started(reason))

    async def _start(self) -> None:
        tool, around = self.tool, self._around
        assert tool is not None
        # Not one line of the tool runs after a cancellation.
        await trio.lowlevel.checkpoint_if_cancelled()
        if around.before_start is not None:
            async with around.starting:
                # It may have been stopped, and so have ended, while it waited for the lock.
                await trio.lowlevel.checkpoint_if_cancelled()
                self.state = CallState.STARTING
                reason = await around.before_start(self)
            if reason is not None:
                self.deny(reason)
                return
            await trio.lowlevel.checkpoint_if_cancelled()
        self.state = CallState.RUNNING
        if around.listener is not None:
            around.listener.start(self)
        around.emit(ToolStartEvent(id=self.id, name=self.name, input=self.input))
        if tool.on_cancel == "finish":
            await self._run_to_the_end(tool)
            return
        with trio.move_on_after(math.inf if tool.timeout is None else tool.timeout) as clock:
            self.end(CallState.DONE, await self._answer_of(tool))
        if clock.cancelled_caught:
            self._end_timed_out(tool)

    async def _run_to_the_end(self, tool: Tool) -> None:
        """Run the tool shielded, by its timeout if all goes well, and for its grace once it is to stop."""
        assert tool.timeout is not None
        shielded = trio.CancelScope(shield=True, deadline=trio.current_time() + tool.timeout)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._shorten, shielded, tool.grace)
            with shielded:
                self.end(CallState.DONE, await self._answer_of(tool))
            if shielded.cancelled_caught and self._stopping is None:
                self._end_timed_out(tool)
            nursery.cancel_scope.cancel(reason="the tool has ended")

    async def _shorten(self, shielded: trio.CancelScope, grace: float) -> None:
        """Wait for a cancellation from outside the shield, which from then on holds for the grace only."""
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            if not self.has_ended:
                if self._stopping is None:
                    self._around.cancelled(reason_of(exc))
                shielded.deadline = min(shielded.deadline, trio.current_time() + grace)
            raise

    def _end_timed_out(self, tool: Tool) -> None:
        assert tool.timeout is not None
        self.end(CallState.STOPPED, timed_out(tool.timeout))

    async def _answer_of(self, tool: Tool) -> Answer:
        """Run the tool's function, and make an answer of what it returns or raises.

        `Cancelled` alone goes on, and whatever ends the whole program. A tool may fail while it is being cancelled
        (its clean-up does), and nurseries in it then raise a group of both: only the `Cancelled` goes on, so that
        nobody takes the failure for one of the program.
        """
        context = ToolContext(call_id=self.id, name=self.name, emit=self._around.emit, meter=self._around.meter)
        try:
            return Answer(content_of(await tool.run(self._arguments, context), limit=tool.max_result))
        except trio.Cancelled as exc:  # noqa: ASYNC103 - one that nobody raised for a cancellation of this task
            if _is_cancelled():
                raise
            error: BaseException = exc
        except Exception as exc:  # noqa: BLE001 - it is answered, and logged
            error = exc
        except BaseExceptionGroup as exc:
            error = self._sort_out(exc)
        return await self._answer_error(tool, error)

    def _sort_out(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """What failed, of a group that is more than failures.

        Raises:
          BaseException: What has to go on: the `Cancelled` in it, or the group where it ends the whole program.
        """
        cancelled, rest = group.split(trio.Cancelled)
        if rest is not None and not isinstance(rest, Exception):
            raise group
        if cancelled is None or not _is_cancelled():
            return rest or group
        if rest is not None:
            self._log(rest, "failed while it was being cancelled")
        raise _first(cancelled) from None

    async def _answer_error(self, tool: Tool, error: BaseException) -> Answer:
        error = _alone(error)
        try:
            if isinstance(error, StopRun):
                return Answer(content_of(error.result, limit=tool.max_result), ends_run=True)
            if isinstance(error, ToolError):
                content, marked = error_content(error.content, limit=tool.max_result)
                return Answer(content, is_error=True, marked=marked)
        except Exception as exc:  # noqa: BLE001 - what it was raised with cannot be sent
            error = exc
        if _is_cancelled():
            self._log(error, "failed while it was being cancelled")
            await trio.lowlevel.checkpoint_if_cancelled()
        self._log(error, "failed")
        return Answer(HIDDEN, is_error=True) if tool.errors == "hide" else failed(error)

    def _log(self, error: BaseException, what: str) -> None:
        _log.warning("the tool %s %s (call %s)", self.name, what, self.id, exc_info=error)


def reason_of(cancelled: trio.Cancelled) -> str:
    """What the model is told of a cancellation: what was said by whoever cancelled, and nothing of Trio's own words.

    Trio's name the task that failed and its exception, which are the business of nobody who reads the history.
    """
    return (cancelled.source == "explicit" and cancelled.reason) or _CANCELLED


def _is_cancelled() -> bool:
    """Whether this task is cancelled. If it is not, a `Cancelled` that a tool raises is of a scope that has ended."""
    return trio.current_effective_deadline() == -math.inf


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    """What a group holds; nothing for any other exception."""
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def _alone(error: BaseException) -> BaseException:
    """The exception in a group of one, as a nursery of the tool raises it."""
    parts = _parts(error)
    return _alone(parts[0]) if len(parts) == 1 else error


def _first(error: BaseException) -> BaseException:
    """The first exception in a group."""
    parts = _parts(error)
    return _first(parts[0]) if parts else error
