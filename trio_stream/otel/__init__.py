"""OpenTelemetry: spans and metrics of calls, agents, tools and fan-outs.

What belongs in this package: making spans and metrics out of the moments that instruments are told. What does not:
where they are sent. That is for the program to set up, with the OpenTelemetry SDK or a distribution of somebody's; this
package needs ``opentelemetry-api`` alone: ``pip install trio-stream[otel]``.

::

    from trio_stream.otel import OpenTelemetry

    async with ts.Client(instruments=[OpenTelemetry()]) as client:
        ...
"""

from __future__ import annotations

from typing import Protocol, TypeVar, final

from opentelemetry import context as contexts, metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, TracerProvider

from trio_stream import (
    CallEnd,
    CallMoment,
    CallStart,
    JobEnd,
    JobStart,
    Moment,
    RunEnd,
    RunStart,
    ToolEnd,
    ToolStart,
)
from trio_stream._version import __version__
from trio_stream.otel import _names as n
from trio_stream.otel._around import JobSpan, RunSpan, ToolSpan
from trio_stream.otel._calls import CallSpan, Telling
from trio_stream.otel._metrics import Metrics

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"


MomentT_contra = TypeVar("MomentT_contra", contravariant=True)


class _Ends(Protocol[MomentT_contra]):
    """What has a span."""

    def end(self, moment: MomentT_contra) -> None:
        """End the span."""


def _end(of: _Ends[MomentT_contra] | None, moment: MomentT_contra) -> None:
    """End a span. There is none of what began before anybody was told."""
    if of is not None:
        of.end(moment)


@final
class OpenTelemetry:
    """An instrument that tells OpenTelemetry of calls, agents, tools and fan-outs.

    Spans, by the semantic conventions for generative AI:

    * ``chat {model}`` for each call of the Messages API, over all its attempts, with an event for each retry. Its
      parent is the span that is current where the block is entered. It is never current itself, because a stream's
      block holds the program's own work.
    * ``invoke_agent`` for each run of a `Conversation`, current in the run's task: its calls and tools are its
      children.
    * ``execute_tool {name}`` for each tool that starts, current in the tool's task.
    * ``invoke_workflow fan_out`` for each fan-out. Its items' calls are traces of their own that link to it.
    * ``{method} {path}`` for the other calls.

    A span is an error only if the call, the run or the tool failed: one that was cancelled, left or interrupted says so
    by ``trio_stream.outcome``. Every span is ended, however the block is left.

    Metrics: how long calls take, the time to the first event, and tokens.

    Prompts, answers and what tools are given are not told unless that is asked for. Images and documents never are.

    Args:
      tracer_provider: Makes the spans; None for the global one.
      meter_provider: Makes the metrics; None for the global one.
      content: Whether prompts and answers are told, at most 250 kB in each attribute. None leaves it to
        ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``.
      per_chunk: Whether the time between two deltas is recorded, which costs some microseconds for each event.
      propagate: Whether requests carry the headers of the global propagator, such as ``traceparent``. They tell the
        server which trace a request belongs to: useful for a gateway of your own.
      latest: Whether to use the names of the newest conventions, which are not stable: see docs/observability.md. None
        leaves it to ``OTEL_SEMCONV_STABILITY_OPT_IN``.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool | None = None,
        per_chunk: bool = False,
        propagate: bool = False,
        latest: bool | None = None,
    ) -> None:
        names = n.choose(latest=latest)
        tracer = trace.get_tracer("trio_stream", __version__, tracer_provider, schema_url=_SCHEMA)
        meter = metrics.get_meter("trio_stream", __version__, meter_provider, schema_url=_SCHEMA)
        self._telling = Telling(
            tracer=tracer,
            metrics=Metrics(meter, names),
            names=names,
            content=n.captures_content(content=content),
            per_chunk=per_chunk,
            propagate=propagate,
        )
        # Those under way, by the ids of what they are of.
        self._calls: dict[int, CallSpan] = {}
        self._runs: dict[int, RunSpan] = {}
        self._tools: dict[int, ToolSpan] = {}
        self._jobs: dict[int, JobSpan] = {}

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment: this is an instrument."""
        match moment:
            case CallStart():
                self._start_call(moment)
            case CallEnd():
                _end(self._calls.pop(moment.call.id, None), moment)
            case CallMoment():
                if (call := self._calls.get(moment.call.id)) is not None:
                    call.follow(moment)
            case RunStart():
                self._runs[moment.run.id] = RunSpan(self._telling.tracer, moment)
            case RunEnd():
                _end(self._runs.pop(moment.run.id, None), moment)
            case ToolStart():
                tool = self._tools[id(moment.call)] = ToolSpan(self._telling.tracer, moment)
                if self._telling.content:
                    tool.tell_content()
            case ToolEnd():
                _end(self._tools.pop(id(moment.call), None), moment)
            case JobStart():
                self._jobs[moment.job.id] = JobSpan(self._telling.tracer, moment)
            case JobEnd():
                _end(self._jobs.pop(moment.job.id, None), moment)
            case _:
                pass

    def _start_call(self, moment: CallStart) -> None:
        call = moment.call
        job = None if call.parent is None else self._jobs.get(call.parent.id)
        span = self._calls[call.id] = CallSpan(
            self._telling,
            call,
            moment.at,
            # A trace of its own, for an item of a fan-out: nothing is its parent.
            context=None if job is None else contexts.Context(),
            links=() if job is None else (Link(job.span.get_span_context()),),
            more={} if call.item is None else {n.ITEM: call.item},
        )
        span.tell_request()
