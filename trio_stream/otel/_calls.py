"""The span of one call of the API, and what of the call is told by it.

What belongs here: attributes, events and the status of the span, and when metrics are recorded. What does not: spans
around calls (`_around`), content (`_content`), names (`_names`).

Times are Trio's, laid on the wall clock once for each span: durations are right under a mock clock too, and when the
wall clock is set.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, final
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from trio_stream import (
    APIError,
    APIStatusError,
    AttemptStart,
    Call,
    CallEnd,
    CallMoment,
    CallOutcome,
    FirstEvent,
    Message,
    Retry,
)
from trio_stream.otel import _content, _names as n
from trio_stream.otel._metrics import Metrics, thinking_tokens, total_input
from trio_stream.types import ContentBlockDeltaEvent, RawMessageStreamEvent

_MESSAGES = "/v1/messages"
_PORTS = {"https": 443, "http": 80}


class Telling(NamedTuple):
    """What calls are told with.

    Attributes:
      tracer: Makes the spans.
      metrics: Records durations and tokens.
      names: The version of the names.
      content: Whether prompts and answers are told.
      per_chunk: Whether the time between two deltas is recorded.
      propagate: Whether the headers of a request name its span.
    """

    tracer: Tracer
    metrics: Metrics
    names: n.Names
    content: bool
    per_chunk: bool
    propagate: bool


class Clock:
    """Lays the times of Trio's clock on the wall clock, from one moment on.

    Args:
      at: A moment of Trio's clock that is now.
    """

    __slots__ = ("_at", "_wall")

    def __init__(self, at: float) -> None:
        self._at = at
        self._wall = time.time_ns()

    def nanoseconds(self, at: float) -> int:
        """The time of a moment, in nanoseconds since 1970."""
        return self._wall + round((at - self._at) * 1e9)


@final
class CallSpan:
    """The span of one call, from its start to its end.

    Args:
      telling: What it is told with.
      call: The call.
      at: When it began.
      context: The parent's context; None for whatever is current.
      links: Spans that it belongs to otherwise.
      more: Attributes of whom the call is made for.
    """

    def __init__(
        self,
        telling: Telling,
        call: Call,
        at: float,
        *,
        context: Context | None,
        links: Sequence[Link],
        more: Mapping[str, str],
    ) -> None:
        self._telling = telling
        self._call = call
        self._clock = Clock(at)
        self._began_at = self._attempt_at = at
        self._chunk_at: float | None = None
        self._is_chat = call.path == _MESSAGES and call.method == "POST"
        self._of_metrics: dict[str, str | int] = self._common()
        model = call.model
        self._span = telling.tracer.start_span(
            (f"chat {model}" if model else "chat") if self._is_chat else f"{call.method} {call.path}",
            context=context,
            kind=SpanKind.CLIENT,
            attributes={**self._of_metrics, **more},  # what a sampler may decide by
            links=links,
            start_time=self._clock.nanoseconds(at),
        )
        if telling.propagate:
            propagate.inject(call.headers, context=trace.set_span_in_context(self._span))

    def tell_request(self) -> None:
        """Tell of the request, unless nobody will see it: making its content may take long."""
        if self._span.is_recording():
            self._span.set_attributes(self._of_request())

    def follow(self, moment: CallMoment) -> None:
        """A moment of the call, other than its start and its end."""
        if isinstance(moment, AttemptStart):
            self._attempt_at = moment.at
            self._chunk_at = None
            if self._telling.per_chunk and self._is_chat:
                moment.tap_events(self._event)
        elif isinstance(moment, FirstEvent) and self._is_chat:
            seconds = moment.at - self._attempt_at
            self._span.set_attribute(n.TIME_TO_FIRST_CHUNK, seconds)
            began = datetime.fromtimestamp(self._clock.nanoseconds(moment.at) / 1e9, UTC)
            self._span.set_attribute(n.LANGFUSE_FIRST, began.isoformat())
            self._telling.metrics.first_chunk(seconds, self._of_metrics)
        elif isinstance(moment, Retry):
            self._span.add_event(
                n.RETRY,
                {
                    n.ERROR_TYPE: error_type(moment.error),
                    n.RETRY_DELAY: moment.delay,
                    n.ATTEMPT: moment.call.attempts,
                },
                timestamp=self._clock.nanoseconds(moment.at),
            )

    def end(self, moment: CallEnd) -> None:
        """The call has ended."""
        try:
            self._tell_end(moment)
        finally:  # an attribute that cannot be made must not leave the span open
            self._span.end(self._clock.nanoseconds(moment.at))

    def _tell_end(self, moment: CallEnd) -> None:
        span, call = self._span, self._call
        span.set_attribute(n.OUTCOME, moment.outcome.value)
        if call.request_id is not None:
            span.set_attribute(n.REQUEST_ID, call.request_id)
        if moment.reason is not None:
            span.set_attribute(n.REASON, moment.reason)
        of_metrics = {**self._of_metrics, n.OUTCOME: moment.outcome.value}
        if moment.outcome is CallOutcome.FAILED and moment.error is not None:
            of_metrics[n.ERROR_TYPE] = error_type(moment.error)
            mark_failed(span, moment.error)
        message = call.partial
        if message is not None:
            of_metrics[n.RESPONSE_MODEL] = message.model
        if self._is_chat:
            self._telling.metrics.end(
                moment.at - self._began_at, moment.usage, final=moment.usage_final, attributes=of_metrics
            )
        if message is not None and span.is_recording():
            self._tell_answer(message, moment)

    def _event(self, event: RawMessageStreamEvent, at: float) -> None:
        if isinstance(event, ContentBlockDeltaEvent):
            if self._chunk_at is not None:
                self._telling.metrics.chunk(at - self._chunk_at, self._of_metrics)
            self._chunk_at = at

    def _common(self) -> dict[str, str | int]:
        """The attributes of the span that metrics have too."""
        call = self._call
        url = urlsplit(call.base_url)
        common: dict[str, str | int] = {
            n.PROVIDER: "anthropic",
            n.SERVER_ADDRESS: url.hostname or "",
            n.SERVER_PORT: url.port or _PORTS[url.scheme],
        }
        if self._is_chat:
            common[n.OPERATION] = "chat"
        if call.model:
            common[n.REQUEST_MODEL] = call.model
        return common

    def _of_request(self) -> dict[str, Any]:
        call = self._call
        if not self._is_chat:
            return {n.HTTP_METHOD: call.method, n.URL_PATH: call.path}
        params = call.params
        told: dict[str, Any] = {n.REQUEST_STREAM: params.get("stream") is True}
        for param, name in n.REQUEST_PARAMS.items():
            if params.get(param) is not None:
                told[name] = params[param]
        output_config = params.get("output_config")
        if isinstance(output_config, dict) and "format" in output_config:
            told[n.OUTPUT_TYPE] = "json"
        if self._telling.content:
            told[n.INPUT_MESSAGES] = _content.input_messages(params.get("messages"))
            if params.get("system"):
                told[n.SYSTEM_INSTRUCTIONS] = _content.system_instructions(params["system"])
            if params.get("tools"):
                told[n.TOOL_DEFINITIONS] = _content.tool_definitions(params["tools"])
        return told

    def _tell_answer(self, message: Message, moment: CallEnd) -> None:
        span, usage, whole = self._span, message.usage, moment.usage_final
        span.set_attribute(n.RESPONSE_ID, message.id)
        span.set_attribute(n.RESPONSE_MODEL, message.model)
        span.set_attribute(n.FINISH_REASONS, [_content.finish_reason(message, whole=whole)])
        span.set_attribute(n.INPUT_TOKENS, total_input(usage))
        if usage.cache_read_input_tokens:
            span.set_attribute(n.CACHE_READ, usage.cache_read_input_tokens)
        if usage.cache_creation_input_tokens:
            span.set_attribute(self._telling.names.cache_write, usage.cache_creation_input_tokens)
        if whole:
            span.set_attribute(n.OUTPUT_TOKENS, usage.output_tokens)
            if thinking_tokens(usage):
                span.set_attribute(n.REASONING, thinking_tokens(usage))
        if self._telling.content:
            span.set_attribute(n.OUTPUT_MESSAGES, _content.output_messages(message, whole=whole))


def error_type(error: BaseException) -> str:
    """The API's own word for an error where it has one, else the name of the class."""
    if isinstance(error, APIStatusError) and error.type:
        return error.type
    return type(error).__qualname__ if isinstance(error, APIError) else type(error).__name__


def mark_failed(span: Span, error: BaseException) -> None:
    """Say on a span what its call or its run failed with."""
    span.set_attribute(n.ERROR_TYPE, error_type(error))
    span.set_status(Status(StatusCode.ERROR, str(error)))
