"""The events of a run, beside those of its streams.

What belongs here: what each event says. What does not: when it comes (`_run`, `_tool_runner`), and waiting for it
(`_event_queue`).

The events of one turn, in their order::

    TurnStartEvent
    ├── the events of its stream, from message_start to message_stop
    ├── ToolStartEvent          for each call that starts, often before the stream has ended
    │   ├── ApprovalEvent       before it, where somebody has to allow the call
    │   ├── ToolProgressEvent   whatever the tool tells meanwhile
    │   ├── NestedEvent         the events of another run within the tool
    │   └── ToolStopEvent
    ├── TurnRestartEvent        the stream failed and is asked for again: what it said before is void
    └── TurnStopEvent           every call has its result
    SteerEvent                  a text of `Run.say` goes to the model
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, final

import msgspec

from trio_stream._errors import APIError
from trio_stream._protocol import Message, MessageStreamEvent


class _AgentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The base of the events that a run adds to those of its streams."""


@final
class TurnStartEvent(_AgentEvent, frozen=True, kw_only=True):
    """A turn begins: a request is about to be made.

    Attributes:
      turn: The number of the turn in its run, from 1.
    """

    type: ClassVar[Literal["turn_start"]] = "turn_start"
    turn: int


@final
class TurnStopEvent(_AgentEvent, frozen=True, kw_only=True):
    """A turn has ended: the reply and the results of its calls are part of the conversation.

    Attributes:
      turn: The number of the turn in its run, from 1.
      message: The reply. If it was cut, as far as it came; None if not even its beginning came.
      results: The ``tool_result`` blocks for the calls of the reply, in the order of the calls.
    """

    type: ClassVar[Literal["turn_stop"]] = "turn_stop"
    turn: int
    message: Message | None
    results: Sequence[Mapping[str, Any]] = ()


@final
class TurnRestartEvent(_AgentEvent, frozen=True, kw_only=True):
    """The reply failed on its way and is asked for again. What it has said so far is void.

    Attributes:
      turn: The number of the turn in its run, from 1.
      error: What it failed with.
      delay: Seconds until the next request.
    """

    type: ClassVar[Literal["turn_restart"]] = "turn_restart"
    turn: int
    error: APIError
    delay: float


class _ToolEvent(_AgentEvent, frozen=True, kw_only=True):
    """The base of the events of one call.

    Attributes:
      id: The identifier of the call, as in the model's ``tool_use`` block and in `Run.calls`.
      name: The name of the tool.
    """

    id: str
    name: str


@final
class ToolStartEvent(_ToolEvent, frozen=True, kw_only=True):
    """A tool starts to run.

    Attributes:
      input: Its input, as the model gave it.
    """

    type: ClassVar[Literal["tool_start"]] = "tool_start"
    input: Mapping[str, Any]


@final
class ToolProgressEvent(_ToolEvent, frozen=True, kw_only=True):
    """A running tool tells how far it is.

    Attributes:
      progress: What it told, with `ToolContext.progress`.
    """

    type: ClassVar[Literal["tool_progress"]] = "tool_progress"
    progress: Any


@final
class ToolStopEvent(_ToolEvent, frozen=True, kw_only=True):
    """A call has its result, whether or not it was started.

    Attributes:
      is_error: Whether the result is an error: of the tool, a refusal, or that it was stopped.
      result: The ``tool_result`` block that goes to the model.
    """

    type: ClassVar[Literal["tool_stop"]] = "tool_stop"
    is_error: bool
    result: Mapping[str, Any]


@final
class ApprovalEvent(_ToolEvent, frozen=True, kw_only=True):
    """A call waits for somebody to allow it. Other calls go on meanwhile.

    Answer each one once, at any time and in any order. If the call has been stopped in the meantime, an answer does
    nothing.

    Attributes:
      input: The input of the call, as the model gave it.
      answer: The function behind `allow` and `deny`: it takes None, or the reason against the call.
    """

    type: ClassVar[Literal["approval"]] = "approval"
    input: Mapping[str, Any]
    answer: Callable[[str | None], None]

    def allow(self) -> None:
        """Let the tool run.

        Raises:
          RuntimeError: It has been answered before.
        """
        self.answer(None)

    def deny(self, reason: str = "the user said no") -> None:
        """Do not let the tool run.

        Args:
          reason: What the model is told.

        Raises:
          RuntimeError: It has been answered before.
        """
        self.answer(reason)


@final
class SteerEvent(_AgentEvent, frozen=True, kw_only=True):
    """What was said during the run becomes part of the conversation, and goes out with the next request.

    Attributes:
      content: What was said: a text or content blocks.
      when: How it was said: ``"next"``, ``"idle"`` or ``"now"``.
    """

    type: ClassVar[Literal["steer"]] = "steer"
    content: str | Sequence[Mapping[str, Any]]
    when: Literal["next", "idle", "now"]


@final
class NestedEvent(_ToolEvent, frozen=True, kw_only=True):
    """An event of another run, which a tool makes and shows with `ToolContext.bubble`.

    Attributes:
      event: The event. It may be nested itself.
    """

    type: ClassVar[Literal["nested"]] = "nested"
    event: RunEvent


AgentEvent: TypeAlias = (
    TurnStartEvent
    | TurnStopEvent
    | TurnRestartEvent
    | ToolStartEvent
    | ToolProgressEvent
    | ToolStopEvent
    | ApprovalEvent
    | SteerEvent
    | NestedEvent
)
"""Any event that a run adds to those of its streams."""

RunEvent: TypeAlias = MessageStreamEvent | AgentEvent
"""Any event of a run."""
