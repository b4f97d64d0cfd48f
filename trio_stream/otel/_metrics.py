"""The metrics of calls.

What belongs here: the instruments of a meter, and recording a call in them. What does not: which calls there are
(`_calls`), and names (`_names`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, final

from opentelemetry.metrics import Histogram, Meter

from trio_stream import Usage
from trio_stream.otel import _names as n

Attributes: TypeAlias = Mapping[str, str | int]


@final
class Metrics:
    """Records durations and tokens."""

    def __init__(self, meter: Meter, names: n.Names) -> None:
        self._duration = _seconds(meter, names.duration, "How long calls take, with all their attempts.", n.SECONDS)
        self._first_chunk = _seconds(
            meter,
            names.time_to_first_chunk,
            "Time from the beginning of the answered attempt to its first event.",
            n.FIRST_CHUNK_SECONDS,
        )
        self._chunk = _seconds(
            meter, names.time_per_output_chunk, "Time between two deltas of an answer.", n.CHUNK_SECONDS
        )
        one_histogram = names.tokens is n.TokenMetrics.ONE_HISTOGRAM
        self._tokens: _TokenMetrics = _OneHistogram(meter) if one_histogram else _ByKind(meter)

    def first_chunk(self, seconds: float, attributes: Attributes) -> None:
        """The first event of an answer has come."""
        self._first_chunk.record(seconds, attributes)

    def chunk(self, seconds: float, attributes: Attributes) -> None:
        """A delta has come, so long after the one before."""
        self._chunk.record(seconds, attributes)

    def end(self, seconds: float, usage: Usage | None, *, final: bool, attributes: Attributes) -> None:
        """A call has ended.

        Args:
          seconds: How long it took.
          usage: Its tokens, if an answer began.
          final: Whether the output tokens are the last figure; they are not told otherwise.
          attributes: Those of the call.
        """
        self._duration.record(seconds, attributes)
        if usage is not None:
            self._tokens.record(usage, final=final, attributes=attributes)


def total_input(usage: Usage) -> int:
    """The input tokens as the conventions count them: the API's own figure leaves out those of the prompt cache."""
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


def thinking_tokens(usage: Usage) -> int:
    """The output tokens of thinking, as far as the API tells them."""
    details = usage.output_tokens_details
    return 0 if details is None else details.thinking_tokens or 0


class _TokenMetrics(Protocol):
    """How tokens are counted: see `_names.TokenMetrics`."""

    def record(self, usage: Usage, *, final: bool, attributes: Attributes) -> None: ...


@final
class _OneHistogram:
    def __init__(self, meter: Meter) -> None:
        self._usage = _tokens(meter, n.TOKEN_USAGE, "Tokens of a call, by kind.")

    def record(self, usage: Usage, *, final: bool, attributes: Attributes) -> None:
        self._usage.record(total_input(usage), {**attributes, n.TOKEN_TYPE: "input"})
        if final:
            self._usage.record(usage.output_tokens, {**attributes, n.TOKEN_TYPE: "output"})


@final
class _ByKind:
    def __init__(self, meter: Meter) -> None:
        self._input = _tokens(meter, f"{n.INFERENCE}operation.input_tokens", "Input tokens of a call.")
        self._output = _tokens(meter, f"{n.INFERENCE}operation.output_tokens", "Output tokens of a call.")
        self._counters = {
            kind: meter.create_counter(f"{n.INFERENCE}usage.{kind}", unit="{token}", description=what)
            for kind, what in _KINDS.items()
        }

    def record(self, usage: Usage, *, final: bool, attributes: Attributes) -> None:
        counts = {
            "input_tokens": total_input(usage),
            "cache_read.input_tokens": usage.cache_read_input_tokens or 0,
            "cache_write.input_tokens": usage.cache_creation_input_tokens or 0,
        }
        self._input.record(counts["input_tokens"], attributes)
        if final:
            self._output.record(usage.output_tokens, attributes)
            counts["output_tokens"] = usage.output_tokens
            counts["reasoning.output_tokens"] = thinking_tokens(usage)
        for kind, count in counts.items():
            if count:
                self._counters[kind].add(count, attributes)


_KINDS = {
    "input_tokens": "Input tokens, those read from and written to the prompt cache included.",
    "output_tokens": "Output tokens.",
    "cache_read.input_tokens": "Input tokens read from the prompt cache.",
    "cache_write.input_tokens": "Input tokens written to the prompt cache.",
    "reasoning.output_tokens": "Output tokens of thinking.",
}


def _seconds(meter: Meter, name: str, what: str, boundaries: Sequence[float]) -> Histogram:
    return meter.create_histogram(name, unit="s", description=what, explicit_bucket_boundaries_advisory=boundaries)


def _tokens(meter: Meter, name: str, what: str) -> Histogram:
    return meter.create_histogram(name, unit="{token}", description=what, explicit_bucket_boundaries_advisory=n.TOKENS)
