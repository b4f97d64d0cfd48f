"""The moments of a run and of its tools, as instruments are told them.

What belongs here: what each moment says, and telling it. What does not: when it happens (`_run`, `_turn_loop`,
`_tool_call`), the moments of the run's calls of the API, and who listens (`trio_stream._instruments`).

::

    RunStart                  in the run's own task
    ├── (the moments of its calls)
    ├── ToolStart             in the tool's own task, for each call of a tool that starts
    │   └── ToolEnd           exactly one for each ToolStart
    └── RunEnd                exactly one for each RunStart, when the block has been left

Calls of tools that never start, because they were denied or could not be read, have no moments.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import final

import trio

from trio_stream._instruments import Audience, Moment
from trio_stream._protocol import Message
from trio_stream.agent._run_options import RunOutcome
from trio_stream.agent._tool_call import ToolCall

_ids = itertools.count(1)


@final
class RunInfo:
    """A run of a conversation as instruments see it.

    Attributes:
      id: Unique in this process.
      model: The model of its requests, or an empty text if the run does not say.
      parent: The run whose tool this one is, or None.
    """

    __slots__ = ("id", "model", "parent")

    def __init__(self, model: str) -> None:
        self.id: int = next(_ids)
        self.model: str = model
        self.parent: RunInfo | None = _current_run.get()

    def __repr__(self) -> str:
        return f"<RunInfo {self.id} model={self.model!r}>"


_current_run: ContextVar[RunInfo | None] = ContextVar("trio_stream_run", default=None)


class RunMoment(Moment, frozen=True, kw_only=True):
    """A moment of a run.

    Args:
      run: The run.
    """

    run: RunInfo


@final
class RunStart(RunMoment, frozen=True, kw_only=True):
    """A run begins. Told in its own task: a context variable that is set here holds for its calls and its tools."""


@final
class RunEnd(RunMoment, frozen=True, kw_only=True):
    """A run has ended, and nothing of it runs any more.

    Args:
      outcome: How.
      reason: Why, in words; None where the outcome says it all.
      error: What it failed with, or None.
      turns: How many turns have begun.
      message: The last reply, as far as it came; None before the first one.
    """

    outcome: RunOutcome
    reason: str | None
    error: BaseException | None
    turns: int
    message: Message | None

    def __repr__(self) -> str:
        return f"RunEnd(at={self.at!r}, run={self.run!r}, outcome={self.outcome!r}, turns={self.turns!r})"


class ToolMoment(Moment, frozen=True, kw_only=True):
    """A moment of a call of a tool.

    Args:
      run: The run; None for a `ToolRunner` of the program's own.
      call: The call.
    """

    run: RunInfo | None
    call: ToolCall


@final
class ToolStart(ToolMoment, frozen=True, kw_only=True):
    """A tool starts. Told in its own task: a context variable that is set here holds for the tool."""


@final
class ToolEnd(ToolMoment, frozen=True, kw_only=True):
    """A tool has ended, or was stopped: the state of the `ToolCall` says which, and the call has its result."""


@final
class RunWatch:
    """Tells the instruments of one run its moments. There is none where nobody watches.

    Attributes:
      tools: Tells them those of its tools.
    """

    __slots__ = ("_audience", "_info", "tools")

    def __init__(self, audience: Audience, model: str) -> None:
        self._audience = audience
        self._info = RunInfo(model)
        self.tools: ToolWatch = ToolWatch(audience, self._info)

    def start(self) -> None:
        """The task of the run begins."""
        _current_run.set(self._info)
        self._audience.tell(RunStart(run=self._info, at=trio.current_time()))

    def end(
        self,
        outcome: RunOutcome,
        *,
        reason: str | None,
        error: BaseException | None,
        turns: int,
        message: Message | None,
    ) -> None:
        """The block of the run has been left."""
        self._audience.tell(
            RunEnd(
                run=self._info,
                at=trio.current_time(),
                outcome=outcome,
                reason=reason,
                error=error,
                turns=turns,
                message=message,
            )
        )


@final
class ToolWatch:
    """Tells the instruments of one runner the moments of its tools."""

    __slots__ = ("_audience", "_run")

    def __init__(self, audience: Audience, run: RunInfo | None = None) -> None:
        self._audience = audience
        self._run = run

    def start(self, call: ToolCall) -> None:
        """The tool of a call starts, in its task."""
        self._audience.tell(ToolStart(run=self._run, at=trio.current_time(), call=call))

    def end(self, call: ToolCall) -> None:
        """The tool of a call has ended."""
        self._audience.tell(ToolEnd(run=self._run, at=trio.current_time(), call=call))
