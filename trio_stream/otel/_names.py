"""The names that semantic conventions give to what is told, in one table for each version of them.

What belongs here: names, units and bucket boundaries. What does not: when they are used.

Sources: semantic-conventions 1.41 to 1.44, whose Python constants are in opentelemetry-semantic-conventions 0.66b2; and
semantic-conventions-genai v0.1.0, where the conventions for generative AI go on, which is not stable yet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

# The same in both.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
OUTPUT_TYPE: Final = "gen_ai.output.type"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_METHOD: Final = "http.request.method"
URL_PATH: Final = "url.path"

REQUEST_PARAMS: Final[Mapping[str, str]] = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "stop_sequences": "gen_ai.request.stop_sequences",
}
"""Parameters of the API that have an attribute."""

# This library's own.
REQUEST_ID: Final = "anthropic.request_id"
OUTCOME: Final = "trio_stream.outcome"
REASON: Final = "trio_stream.reason"
ITEM: Final = "trio_stream.item"
TURNS: Final = "trio_stream.turns"
RETRY: Final = "trio_stream.retry"
RETRY_DELAY: Final = "trio_stream.retry.delay"
ATTEMPT: Final = "trio_stream.attempt"
LANGFUSE_FIRST: Final = "langfuse.observation.completion_start_time"
"""Where Langfuse looks for the time to the first token."""

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_CHUNK_SECONDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
CHUNK_SECONDS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(4**power for power in range(14))


class TokenMetrics(Enum):
    """How tokens are counted."""

    ONE_HISTOGRAM = "one histogram, whose attribute says which kind of tokens"
    BY_KIND = "a counter for each kind, and histograms of input and output by operation"


class Names(NamedTuple):
    """What differs between the versions.

    Attributes:
      cache_write: The tokens written to the prompt cache. Only one of the two names may be used: back-ends that know
        both count the tokens twice.
      duration: The metric of how long calls take.
      time_to_first_chunk: The metric of that.
      time_per_output_chunk: The metric of that.
      tokens: How tokens are counted.
    """

    cache_write: str
    duration: str
    time_to_first_chunk: str
    time_per_output_chunk: str
    tokens: TokenMetrics


RELEASED: Final = Names(
    cache_write="gen_ai.usage.cache_creation.input_tokens",
    duration="gen_ai.client.operation.duration",
    time_to_first_chunk="gen_ai.client.operation.time_to_first_chunk",
    time_per_output_chunk="gen_ai.client.operation.time_per_output_chunk",
    tokens=TokenMetrics.ONE_HISTOGRAM,
)

LATEST: Final = Names(
    cache_write="gen_ai.usage.cache_write.input_tokens",
    duration="gen_ai.client.inference.duration",
    time_to_first_chunk="gen_ai.client.inference.time_to_first_chunk",
    time_per_output_chunk="gen_ai.client.inference.time_per_output_chunk",
    tokens=TokenMetrics.BY_KIND,
)

TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a name
INFERENCE: Final = "gen_ai.client.inference."


def choose(*, latest: bool | None) -> Names:
    """The names to use; None leaves it to ``OTEL_SEMCONV_STABILITY_OPT_IN``."""
    if latest is None:
        asked = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
        latest = "gen_ai_latest_experimental" in (name.strip() for name in asked)
    return LATEST if latest else RELEASED


def captures_content(*, content: bool | None) -> bool:
    """Whether prompts and answers are told; None leaves it to the environment."""
    if content is None:
        asked = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower()
        return asked in ("true", "1", "span_only", "span_and_event")
    return content
