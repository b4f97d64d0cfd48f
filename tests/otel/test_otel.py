"""Spans and metrics, as an exporter of the OpenTelemetry SDK gets them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags

import trio_stream as ts
from trio_stream.otel import OpenTelemetry
from trio_stream.testing import (
    ScriptedAPI,
    Step,
    call,
    disconnect,
    fail,
    http_error,
    pause,
    say,
    stall,
    stop,
    think,
    usage,
)

PARAMS: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "a secret plan"}],
}


class Backend:
    """Collects what is exported."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.started = 0
        processor = self.tracers._active_span_processor
        on_start = processor.on_start

        def count(*args: Any, **kwargs: Any) -> None:
            self.started += 1
            on_start(*args, **kwargs)

        processor.on_start = count  # type: ignore[method-assign]

    def instrument(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(self.tracers, self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, which are all that began."""
        spans = list(self._exporter.get_finished_spans())
        assert len(spans) == self.started
        return spans

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def points(self, metric: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
            if one.name == metric
            for point in one.data.data_points
        ]


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.tracers.shutdown()
    backend.meters.shutdown()


def client_of(backend: Backend, *scripts: list[Step], default: Any = None, **options: Any) -> ts.Client:
    api = ScriptedAPI(*scripts, default=default)
    return ts.Client(
        api_key="sk-ant-key",
        transport=api,
        base_url="https://api.example:8443",
        instruments=[backend.instrument(**options)],
    )


def seconds(span: ReadableSpan) -> float:
    assert span.end_time is not None
    assert span.start_time is not None
    return (span.end_time - span.start_time) / 1e9


async def test_a_call(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Attributes, duration and retries of an answer that came in the end."""
    client = client_of(
        backend,
        [pause(1), http_error(529, retry_after=2)],
        [
            usage(input_tokens=10, cache_read_input_tokens=700, cache_creation_input_tokens=80, output_tokens=20),
            think("Hm.", ttft=0.5),
            say("Hello there", tps=1),
        ],
    )
    async with client.messages.stream(**PARAMS, stop_sequences=["!"]) as stream:
        assert not trace.get_current_span().get_span_context().is_valid
        await stream.until_done()
    span = backend.span
    assert (span.name, span.kind, span.parent, span.status.status_code) == (
        "chat claude-opus-5",
        SpanKind.CLIENT,
        None,
        StatusCode.UNSET,
    )
    assert seconds(span) == pytest.approx(1 + 2 + 0.5 + 1, abs=0.4)
    attributes = dict(span.attributes or {})
    assert attributes.pop("gen_ai.response.time_to_first_chunk") == pytest.approx(0.5)
    assert attributes.pop("langfuse.observation.completion_start_time")
    assert attributes.pop("gen_ai.response.id") == stream.message.id
    assert attributes.pop("anthropic.request_id") == stream.request_id
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-opus-5",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.stop_sequences": ("!",),
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "claude-opus-5",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 790,
        "gen_ai.usage.cache_read.input_tokens": 700,
        "gen_ai.usage.cache_creation.input_tokens": 80,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": stream.message.usage.output_tokens_details.thinking_tokens,
        "server.address": "api.example",
        "server.port": 8443,
        "trio_stream.outcome": "completed",
    }
    (retry,) = span.events
    assert retry.name == "trio_stream.retry"
    assert dict(retry.attributes or {})["error.type"] == "overloaded_error"
    assert (retry.timestamp - span.start_time) / 1e9 == pytest.approx(1)


async def test_no_span_is_left_open(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """However a call ends, its span does, and is an error only if the call failed."""

    async def read(client: ts.Client, **more: Any) -> None:
        async with client.messages.stream(**{**PARAMS, **more}) as stream:
            await stream.until_done()

    async def cancelled() -> None:
        with trio.move_on_after(0.5):
            await read(client_of(backend, [say("a"), stall()]))

    async def cancelled_by_name() -> None:
        async with client_of(backend, [say("a"), stall()]).messages.stream(**PARAMS) as stream:
            stream.cancel("the user pressed Stop")

    async def left() -> None:
        async with client_of(backend, [say("a"), stall()]).messages.stream(**PARAMS) as stream:
            async for _ in stream:
                break

    async def before_the_head() -> None:
        with trio.move_on_after(0.5):
            await read(client_of(backend, [stall()]))

    async def cut() -> None:
        with pytest.raises(ts.IncompleteStreamError):
            await read(client_of(backend, [say("a"), disconnect()]))

    async def error_event() -> None:
        with pytest.raises(ts.APIStatusError):
            await read(client_of(backend, [say("a"), fail("api_error")]))

    async def refused() -> None:
        with pytest.raises(ts.BadRequestError):
            await read(client_of(backend, [http_error(400)]))

    async def not_the_api() -> None:
        with pytest.raises(ts.APIStatusError):
            await read(client_of(backend, [http_error(418, body=b"I am a teapot")]))

    async def too_slow() -> None:
        with pytest.raises(ts.APITimeoutError):
            await read(client_of(backend, [say("a"), stall()]), timeout=ts.Timeouts(total=3))

    expected: dict[Any, tuple[str, str | None, tuple[str, ...] | None]] = {
        cancelled: ("cancelled", None, ("error",)),
        cancelled_by_name: ("cancelled", None, ("error",)),
        left: ("left", None, ("error",)),
        before_the_head: ("cancelled", None, None),
        cut: ("failed", "IncompleteStreamError", ("error",)),
        error_event: ("failed", "api_error", ("error",)),
        refused: ("failed", "invalid_request_error", None),
        not_the_api: ("failed", "APIStatusError", None),
        too_slow: ("failed", "TotalTimeoutError", ("error",)),
    }
    for program in expected:
        await program()
    for span, (outcome, error, finish) in zip(backend.spans, expected.values(), strict=True):
        attributes = span.attributes or {}
        assert attributes["trio_stream.outcome"] == outcome
        assert attributes.get("error.type") == error
        assert attributes.get("gen_ai.response.finish_reasons") == finish
        assert (span.status.status_code is StatusCode.ERROR) is (error is not None)
        assert "gen_ai.usage.output_tokens" not in attributes
        assert ("gen_ai.usage.input_tokens" in attributes) is (finish is not None)
    assert (backend.spans[1].attributes or {})["trio_stream.reason"] == "the user pressed Stop"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([say("a"), stop("max_tokens")], "length"),
        ([call("f")], "tool_call"),
        ([say("a"), stop("refusal")], "refusal"),
        ([say("a"), stop(sequence="!")], "stop"),
    ],
)
async def test_finish_reasons(
    autojump_clock: trio.testing.MockClock, backend: Backend, script: list[Step], reason: str
) -> None:
    """The convention's words for the API's stop reasons, and the API's where it has none."""
    await client_of(backend, script).messages.create(**PARAMS)
    assert (backend.span.attributes or {})["gen_ai.response.finish_reasons"] == (reason,)


@ts.tool
async def weather(city: str) -> str:
    """Tell the weather.

    Args:
      city: Where.
    """
    trace.get_current_span().add_event("in the tool")
    if city == "Nowhere":
        raise ts.ToolError("there is no such city")
    return f"sunny in {city}"


async def test_an_agent_with_two_tools(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """One trace: the run, its calls and its tools below it, below the program's own span."""
    client = client_of(
        backend,
        [say("Let me look."), call("weather", {"city": "Lisbon"}), call("weather", {"city": "Nowhere"})],
        [say("Sunny.")],
    )
    tracer = backend.tracers.get_tracer("program")
    with tracer.start_as_current_span("request") as request:
        assert await ts.Conversation(client, tools=[weather], model="claude-opus-5", max_tokens=99).ask("?") == "Sunny."
        assert trace.get_current_span() is request
    (run,) = backend.named("invoke_agent")
    assert run.parent is not None
    assert run.parent.span_id == request.get_span_context().span_id
    children = [span for span in backend.spans if span.parent and span.parent.span_id == run.context.span_id]
    assert sorted(span.name for span in children) == ["chat claude-opus-5"] * 2 + ["execute_tool weather"] * 2
    tools = backend.named("execute_tool weather")
    assert {(span.attributes or {})["trio_stream.outcome"] for span in tools} == {"done"}
    assert sorted(span.status.status_code.name for span in tools) == ["ERROR", "UNSET"]
    assert all([event.name for event in span.events] == ["in the tool"] for span in tools)
    assert all((span.attributes or {})["gen_ai.tool.call.id"].startswith("toolu_") for span in tools)
    assert dict(run.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-opus-5",
        "trio_stream.outcome": "completed",
        "trio_stream.turns": 2,
    }
    assert len({span.context.trace_id for span in backend.spans}) == 1


async def test_runs_that_fail_or_are_interrupted(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Only a failure is an error."""
    chat = ts.Conversation(client_of(backend, [http_error(400)]), model="m", max_tokens=9)
    with pytest.raises(ts.RunStoppedError):
        await chat.ask("?")
    async with ts.Conversation(client_of(backend, [stall()]), model="m", max_tokens=9).run("?") as run:
        await trio.sleep(1)
        run.interrupt("enough")
        async for _ in run:
            pass
    failed, interrupted = backend.named("invoke_agent")
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "invalid_request_error"
    assert interrupted.status.status_code is StatusCode.UNSET
    assert (interrupted.attributes or {})["trio_stream.reason"] == "enough"


async def test_a_fan_out(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Each item is a trace of its own that links to the fan-out and names its item."""
    client = client_of(backend, default=[say("Hello")])
    tracer = backend.tracers.get_tracer("program")
    with tracer.start_as_current_span("request") as request:
        items = [ts.Item(request="one", id="a"), "two", "three"]
        await ts.gather_texts(client, items, model="claude-opus-5", max_tokens=9)
    (job,) = backend.named("invoke_workflow fan_out")
    assert job.parent is not None
    assert job.parent.span_id == request.get_span_context().span_id
    assert (job.attributes or {})["trio_stream.items.done"] == 3
    chats = backend.named("chat claude-opus-5")
    assert all(span.parent is None for span in chats)
    assert all([link.context.span_id for link in span.links] == [job.context.span_id] for span in chats)
    assert sorted(str((span.attributes or {})["trio_stream.item"]) for span in chats) == ["#1", "#2", "a"]
    assert len({span.context.trace_id for span in chats}) == 3


async def test_calls_without_a_model_or_a_known_port(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """What is not known is left out."""
    api = ScriptedAPI()
    async with ts.Client(
        api_key="k", transport=api, base_url="https://api.example", instruments=[backend.instrument(content=True)]
    ) as client:
        await client.messages.batches.create([{"custom_id": "a", "params": PARAMS}])
        with pytest.raises(ts.RunStoppedError):
            await ts.Conversation(client, max_tokens=9).ask("?")
    batch, run = backend.spans
    assert batch.name == "POST /v1/messages/batches"
    assert (batch.attributes or {})["server.port"] == 443
    assert "gen_ai.request.model" not in (run.attributes or {})
    assert run.status.status_code is StatusCode.ERROR


async def test_content_of_a_plain_question(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Of a request without tools and instructions only its messages are told."""
    await client_of(backend, [say("a")], content=True).messages.create(**PARAMS)
    attributes = backend.span.attributes or {}
    assert "gen_ai.input.messages" in attributes
    assert "gen_ai.tool.definitions" not in attributes
    assert "gen_ai.system_instructions" not in attributes


async def test_other_calls(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Calls that are no chat have a span of HTTP, and no metrics of models."""
    client = client_of(backend)
    await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
    span = backend.span
    assert span.name == "POST /v1/messages/count_tokens"
    assert (span.attributes or {})["http.request.method"] == "POST"
    assert "gen_ai.operation.name" not in (span.attributes or {})
    assert backend.points("gen_ai.client.operation.duration") == []


async def test_metrics(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Durations by outcome, tokens by kind; what is not final is not counted."""
    counts = {"input_tokens": 7, "output_tokens": 20, "cache_read_input_tokens": 3}
    client = client_of(
        backend, [usage(**counts), say("a b c d", ttft=1, tps=1)], [say("a"), disconnect()], per_chunk=True
    )
    await client.messages.create(**PARAMS)
    with pytest.raises(ts.IncompleteStreamError):
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
    good, bad = backend.points("gen_ai.client.operation.duration")
    assert (good.sum, good.attributes["trio_stream.outcome"], good.attributes["gen_ai.response.model"]) == (
        pytest.approx(4),
        "completed",
        "claude-opus-5",
    )
    assert bad.attributes["error.type"] == "IncompleteStreamError"
    (first,) = backend.points("gen_ai.client.operation.time_to_first_chunk")
    assert (first.count, first.max) == (2, pytest.approx(1))
    (chunks,) = backend.points("gen_ai.client.operation.time_per_output_chunk")
    assert (chunks.count, chunks.sum) == (3, pytest.approx(3))
    tokens = {
        (point.attributes["gen_ai.token.type"], point.attributes["trio_stream.outcome"]): point.sum
        for point in backend.points("gen_ai.client.token.usage")
    }
    assert tokens.pop(("input", "failed")) > 0
    assert tokens == {("input", "completed"): 10, ("output", "completed"): 20}


async def test_the_latest_names(
    autojump_clock: trio.testing.MockClock, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an argument or by the environment; tokens written to the cache have one name, never both."""
    counts = {"input_tokens": 7, "output_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2}
    await client_of(backend, [usage(**counts), think("Hm."), say("a")], latest=True).messages.create(**PARAMS)
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental")
    async with client_of(backend, [say("a"), stall()]).messages.stream(**PARAMS):
        pass
    attributes = backend.spans[0].attributes or {}
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 3
    assert "gen_ai.usage.cache_creation.input_tokens" not in attributes
    (written,) = backend.points("gen_ai.client.inference.usage.cache_write.input_tokens")
    assert written.value == 3
    given = backend.points("gen_ai.client.inference.operation.input_tokens")
    assert 12 in {point.sum for point in given}
    assert backend.points("gen_ai.client.inference.usage.output_tokens")[0].value == 20
    assert backend.points("gen_ai.client.inference.usage.reasoning.output_tokens")[0].value > 0
    assert backend.points("gen_ai.client.inference.duration")
    assert backend.points("gen_ai.client.token.usage") == []


async def test_nothing_is_said_unless_asked_for(
    autojump_clock: trio.testing.MockClock, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, answers, inputs and keys are in no attribute by default; the environment can ask for content."""
    script = [say("A rosy answer"), call("weather", {"city": "Lisbon"})]

    async def ask(**options: Any) -> str:
        client = client_of(backend, script, [say("sunny")], **options)
        await ts.Conversation(client, tools=[weather], system="be discreet", model="claude-opus-5", max_tokens=9).ask(
            "a secret plan"
        )
        return " ".join(str(value) for span in backend.spans for value in (span.attributes or {}).values())

    told = await ask()
    for word in ("secret", "rosy", "Lisbon", "discreet", "sk-ant"):
        assert word not in told
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    told = await ask()
    for word in ("secret", "rosy", "Lisbon", "discreet", "sunny in Lisbon"):
        assert word in told
    assert "sk-ant" not in told
    chat = [span for span in backend.named("chat claude-opus-5") if "gen_ai.input.messages" in (span.attributes or {})]
    attributes = chat[0].attributes or {}
    assert json.loads(str(attributes["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "a secret plan"}]}
    ]
    (answer,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert answer["finish_reason"] == "tool_call"
    assert [part["type"] for part in answer["parts"]] == ["text", "tool_call"]
    assert json.loads(str(attributes["gen_ai.tool.definitions"]))[0]["name"] == "weather"
    later = json.loads(str((chat[1].attributes or {})["gen_ai.input.messages"]))
    assert [message["role"] for message in later] == ["user", "assistant", "tool"]


async def test_headers_of_the_trace(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """With `propagate` the request names its span; without it, nothing is added."""
    api = ScriptedAPI(default=[say("a")])
    for propagate in (False, True):
        async with ts.Client(
            api_key="k", transport=api, instruments=[backend.instrument(propagate=propagate)]
        ) as client:
            await client.messages.create(**PARAMS)
    without, with_it = api.requests
    assert "traceparent" not in without.headers
    span_id = f"{backend.spans[-1].context.span_id:016x}"
    assert span_id in with_it.headers["traceparent"]


class Answer(msgspec.Struct):
    a: int


async def test_structured_output(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """A request for JSON says so."""
    await client_of(backend, [say('{"a": 1}')]).messages.parse(**PARAMS, output=Answer)
    assert (backend.span.attributes or {})["gen_ai.output.type"] == "json"


async def test_calls_that_began_before(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Moments that nobody was told the beginning of are no spans, and no errors."""
    moments: list[ts.Moment] = []
    api = ScriptedAPI([call("weather", {"city": "Lisbon"})], [say("a")])
    async with ts.Client(api_key="k", transport=api, instruments=[moments.append]) as client:
        await ts.Conversation(client, tools=[weather], model="m", max_tokens=9).ask("?")
    instrument = backend.instrument()
    starts = (ts.CallStart, ts.RunStart, ts.ToolStart, ts.JobStart)
    for moment in moments:
        if not isinstance(moment, starts):
            instrument(moment)
    assert backend.spans == []


async def test_losers_of_a_race_are_no_errors(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """The calls that `race` and `hedge` give up are cancelled; nobody has failed."""
    client = client_of(backend, [say("a", ttft=3)], [say("b", ttft=1)], [say("c", ttft=2)])
    assert (await ts.race(client, [PARAMS, PARAMS, PARAMS])).text == "b"
    client = client_of(backend, [say("slow", ttft=9)], [say("quick", ttft=1)])
    assert (await ts.hedge(client, PARAMS, after=2)).text == "quick"
    outcomes = [str((span.attributes or {})["trio_stream.outcome"]) for span in backend.spans]
    assert sorted(outcomes) == ["cancelled"] * 3 + ["completed"] * 2
    assert {span.status.status_code for span in backend.spans} == {StatusCode.UNSET}


async def test_agents_within_agents(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """The run that a tool makes stands below that tool, and nothing stays current."""
    inner = client_of(backend, [say("42")])

    @ts.tool
    async def ask_expert(question: str) -> str:
        """Ask.

        Args:
          question: What.
        """
        return await ts.Conversation(inner, model="m", max_tokens=9).ask(question)

    outer = client_of(backend, [call("ask_expert", {"question": "?"})], [say("It is 42.")])
    assert await ts.Conversation(outer, tools=[ask_expert], model="m", max_tokens=9).ask("?") == "It is 42."
    (tool,) = backend.named("execute_tool ask_expert")
    below, above = sorted(backend.named("invoke_agent"), key=lambda span: span.parent is None)
    assert above.parent is None
    assert tool.parent is not None
    assert tool.parent.span_id == above.context.span_id
    assert below.parent is not None
    assert below.parent.span_id == tool.context.span_id
    assert len({span.context.trace_id for span in backend.spans}) == 1
    assert not trace.get_current_span().get_span_context().is_valid


async def test_tools_without_a_run(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """A `ToolRunner` of the program's own is told to the instruments of its context."""
    client = client_of(backend, [call("weather", {"city": "Lisbon"})])
    tracer = backend.tracers.get_tracer("program")
    with tracer.start_as_current_span("request") as request, ts.instrumented(backend.instrument(content=True)):
        async with client.messages.stream(**PARAMS) as stream:
            calls = ts.ToolRunner([weather], stream.nursery)
            async for event in stream:
                calls.feed(event)
            calls.start_all(stream.message)
            await calls.join()
    (tool,) = backend.named("execute_tool weather")
    assert tool.parent is not None
    assert tool.parent.span_id == request.get_span_context().span_id
    assert (tool.attributes or {})["gen_ai.tool.call.result"] == "sunny in Lisbon"


@ts.tool
async def camera() -> list[Any]:
    """Take a picture."""
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    return [{"type": "text", "text": "the harbour"}, {"type": "image", "source": source}]


async def test_pictures_that_tools_take_are_not_told(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """With content a result is told, and an image in it only by its kind."""
    client = client_of(backend, [call("camera", {})], [say("A harbour.")], content=True)
    await ts.Conversation(client, tools=[camera], model="m", max_tokens=9).ask("?")
    (tool,) = backend.named("execute_tool camera")
    assert [part["type"] for part in json.loads(str((tool.attributes or {})["gen_ai.tool.call.result"]))] == [
        "text",
        "blob",
    ]
    assert not [span for span in backend.spans if "iVBORw0KGgo" in str(dict(span.attributes or {}))]


async def test_nothing_is_made_for_spans_that_nobody_sees(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that is sampled out costs no JSON of prompts and answers, and is propagated as such."""

    def made(*args: Any) -> str:
        raise AssertionError("nobody sees this")

    monkeypatch.setattr("trio_stream.otel._content._bounded", made)
    monkeypatch.setattr("trio_stream.otel._content.tool_input", made)
    backend = Backend(sampler=ALWAYS_OFF)
    failures: list[str] = []
    monkeypatch.setattr("trio_stream._instruments._log.exception", lambda *args: failures.append(str(args)))
    api = ScriptedAPI([call("weather", {"city": "Lisbon"})], [say("Sunny.")])
    async with ts.Client(
        api_key="k", transport=api, instruments=[backend.instrument(content=True, propagate=True)]
    ) as client:
        await ts.Conversation(client, tools=[weather], model="m", max_tokens=9).ask("?")
    assert failures == []
    assert backend.spans == []
    flags = int(api.requests[0].headers["traceparent"][-2:], 16)
    assert not flags & TraceFlags.SAMPLED


async def test_what_cannot_be_told_ends_all_the_same(
    autojump_clock: trio.testing.MockClock, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours in making content leaves neither an open span nor anything behind."""

    def broken(*args: Any) -> str:
        raise RuntimeError("no content")

    for name in ("_bounded", "tool_input", "tool_result"):
        monkeypatch.setattr(f"trio_stream.otel._content.{name}", broken)
    instrument = backend.instrument(content=True)
    api = ScriptedAPI([call("weather", {"city": "Lisbon"})], [say("Sunny.")])
    async with ts.Client(api_key="k", transport=api, instruments=[instrument]) as client:
        assert await ts.Conversation(client, tools=[weather], model="m", max_tokens=9).ask("?") == "Sunny."
    assert sorted(span.name for span in backend.spans) == ["chat m", "chat m", "execute_tool weather", "invoke_agent"]
    assert not any((instrument._calls, instrument._runs, instrument._tools, instrument._jobs))
    assert [point.count for point in backend.points("gen_ai.client.operation.duration")] == [2]


def test_one_instrument_in_two_threads(backend: Backend) -> None:
    """Clients of several threads may share an instrument."""
    instrument = backend.instrument()

    async def many(model: str) -> None:
        api = ScriptedAPI(default=[say("a")])
        async with ts.Client(api_key="k", transport=api, instruments=[instrument]) as client:
            for _ in range(10):
                await client.messages.create(**{**PARAMS, "model": model})

    threads = [threading.Thread(target=trio.run, args=(many, model)) for model in ("m", "n")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(span.name for span in backend.spans) == {"chat m": 10, "chat n": 10}
    assert not instrument._calls


async def test_odd_parameters(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """Parameters that the API will refuse are told as far as they can be."""
    api = ScriptedAPI(default=[say("a")], strict=False)
    async with ts.Client(api_key="k", transport=api, instruments=[backend.instrument(content=True)]) as client:
        await client.messages.create(**PARAMS, extra_body={"output_config": "json", "tools": {"a": 1}, "system": 5})
    assert (backend.span.attributes or {})["gen_ai.request.max_tokens"] == 1024


async def test_a_message_batch_below_a_fan_out(autojump_clock: trio.testing.MockClock, backend: Backend) -> None:
    """`via="batch"` makes few calls for many items: each has its span, and all of them end."""
    client = client_of(backend, default=[say("Hello")])
    async with ts.fan_out(client, ["one", "two"], model="m", max_tokens=9, via="batch") as results:
        assert [outcome.status async for outcome in results] == ["ok", "ok"]
    (job,) = backend.named("invoke_workflow fan_out")
    assert (job.attributes or {})["trio_stream.items.ok"] == 2
    assert backend.named("POST /v1/messages/batches")
