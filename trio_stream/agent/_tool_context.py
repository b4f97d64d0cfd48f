"""What a tool's function and the run around it say to each other.

What belongs here: the context that a function may ask for, and the two exceptions with which it ends other than by
returning a value. What does not: what a tool is (`_tool`), and what becomes of a value (`_tool_result`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, final

from trio_stream.agent._agent_events import NestedEvent, RunEvent, ToolProgressEvent
from trio_stream.agent._meter import Meter

Emit: TypeAlias = Callable[[RunEvent], object]
"""Takes an event to whoever reads the events of the run. It neither waits nor fails, and may return anything."""


@final
class ToolContext:
    """What a tool can learn about its call, and tell while it runs.

    A parameter of the tool's function that is annotated with this class gets it; the model does not see the
    parameter::

        @ts.tool
        async def order(item: str, ctx: ts.ToolContext) -> str:
            return await shop.order(item, idempotency_key=ctx.call_id)

    Attributes:
      call_id: The identifier of the call. It is the same in every place where this call appears, so it is the key by
        which an action that must not happen twice can be recognised.
      name: The name that the model called.
      meter: The meter of the run, to be handed to runs within the tool so that they share its budget; None outside of
        a run.
    """

    __slots__ = ("_emit", "call_id", "meter", "name")

    call_id: str
    name: str
    meter: Meter | None

    def __init__(self, *, call_id: str, name: str, emit: Emit, meter: Meter | None = None) -> None:
        self.call_id = call_id
        self.name = name
        self.meter = meter
        self._emit = emit

    def progress(self, progress: object) -> None:
        """Tell whoever reads the events of the run how far the tool is, as a `ToolProgressEvent`.

        The model does not see it. Not a checkpoint; to be called in Trio's thread, so a ``def`` tool calls it with
        ``trio.from_thread.run_sync(ctx.progress, ...)``.

        Args:
          progress: Anything: a text, a fraction, an object.
        """
        self._emit(ToolProgressEvent(id=self.call_id, name=self.name, progress=progress))

    def bubble(self, event: RunEvent) -> None:
        """Show an event of a run within the tool among the events of the run around it, as a `NestedEvent`.

        An `ApprovalEvent` that is shown so can be answered there. Not a checkpoint.

        Args:
          event: The event.
        """
        self._emit(NestedEvent(id=self.call_id, name=self.name, event=event))


class ToolError(Exception):
    """Raise this in a tool to answer the call with an error whose words are meant for the model.

    It is expected, and so it is not logged. Any other exception is answered with its type and message, and logged.

    Args:
      content: What the model is told: a text, content blocks, or anything else that a tool may return.
    """

    content: Any

    def __init__(self, content: Any) -> None:
        super().__init__(content)
        self.content = content


class StopRun(Exception):  # noqa: N818 - it is no error, as StopIteration is none
    """Raise this in a tool to end the run once this turn's calls all have their results.

    The calls beside this one run to their ends. The model is not asked again, and the results, this one with them,
    are part of the conversation.

    Args:
      result: The result of the call, as if the tool had returned it.
    """

    result: Any

    def __init__(self, result: Any = None) -> None:
        super().__init__(result)
        self.result = result
