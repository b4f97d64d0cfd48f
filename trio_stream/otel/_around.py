"""The spans around calls: runs of conversations, tools, and fan-outs.

What belongs here: one class for each of them. What does not: the spans of calls (`_calls`).
"""

from __future__ import annotations

from typing import final

from opentelemetry import context as contexts, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from trio_stream import JobEnd, RunEnd, RunStart, ToolEnd, ToolStart
from trio_stream.batch import JobStart
from trio_stream.otel import _content, _names as n
from trio_stream.otel._calls import Clock, mark_failed


class _Around:
    """A span that stands around others.

    Attributes:
      span: The span.
    """

    def __init__(self, tracer: Tracer, name: str, at: float, attributes: dict[str, str]) -> None:
        self._clock = Clock(at)
        self.span: Span = tracer.start_span(
            name, kind=SpanKind.INTERNAL, attributes=attributes, start_time=self._clock.nanoseconds(at)
        )

    def _make_current(self) -> None:
        """For the rest of this task, and the tasks that it starts: a task of the run's or the tool's own."""
        contexts.attach(trace.set_span_in_context(self.span))

    def _end(self, at: float) -> None:
        self.span.end(self._clock.nanoseconds(at))


@final
class RunSpan(_Around):
    """A run: the current span in its task, so the parent of its calls and tools."""

    def __init__(self, tracer: Tracer, moment: RunStart) -> None:
        attributes = {n.OPERATION: "invoke_agent", n.PROVIDER: "anthropic"}
        if moment.run.model:
            attributes[n.REQUEST_MODEL] = moment.run.model
        super().__init__(tracer, "invoke_agent", moment.at, attributes)
        self._make_current()

    def end(self, moment: RunEnd) -> None:
        """The run has ended. Its tokens are those of its calls: told once more they would count twice."""
        self.span.set_attribute(n.OUTCOME, moment.outcome)
        self.span.set_attribute(n.TURNS, moment.turns)
        if moment.reason is not None:
            self.span.set_attribute(n.REASON, moment.reason)
        if moment.outcome == "failed":
            assert moment.error is not None  # that is what failing is
            mark_failed(self.span, moment.error)
        self._end(moment.at)


@final
class ToolSpan(_Around):
    """A call of a tool: the current span in its task, so the parent of what the tool does."""

    def __init__(self, tracer: Tracer, moment: ToolStart) -> None:
        call = moment.call
        attributes = {
            n.OPERATION: "execute_tool",
            n.TOOL_NAME: call.name,
            n.TOOL_CALL_ID: call.id,
            n.TOOL_TYPE: "function",
        }
        super().__init__(tracer, f"execute_tool {call.name}", moment.at, attributes)
        self._call = call
        self._tells_content = False
        self._make_current()

    def tell_content(self) -> None:
        """Tell what the tool is given, and at its end what it returns, unless nobody will see it."""
        self._tells_content = self.span.is_recording()
        if self._tells_content:
            self.span.set_attribute(n.TOOL_ARGUMENTS, _content.tool_input(self._call.input))

    def end(self, moment: ToolEnd) -> None:
        """The tool has ended."""
        call = self._call
        self.span.set_attribute(n.OUTCOME, call.state.value)
        if call.is_error:
            self.span.set_attribute(n.ERROR_TYPE, "tool_error")
            self.span.set_status(Status(StatusCode.ERROR))
        try:
            if self._tells_content:
                self.span.set_attribute(n.TOOL_RESULT, _content.tool_result(call.result().get("content", "")))
        finally:  # an attribute that cannot be made must not leave the span open
            self._end(moment.at)


@final
class JobSpan(_Around):
    """A fan-out. Its items are traces of their own, which link to it: thousands of spans in one trace show nothing."""

    def __init__(self, tracer: Tracer, moment: JobStart) -> None:
        attributes = {n.OPERATION: "invoke_workflow", n.WORKFLOW_NAME: "fan_out", n.PROVIDER: "anthropic"}
        super().__init__(tracer, "invoke_workflow fan_out", moment.at, attributes)

    def end(self, moment: JobEnd) -> None:
        """The fan-out has ended."""
        stats = moment.stats
        for name in ("done", "ok", "errors", "timeouts", "invalid", "cached", "skipped", "cancelled"):
            self.span.set_attribute(f"trio_stream.items.{name}", getattr(stats, name))
        self._end(moment.at)
