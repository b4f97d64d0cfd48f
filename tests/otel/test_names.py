"""The names are those of the conventions, where these are installed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from trio_stream.otel import _names as n

gen_ai = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
metrics = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
error = pytest.importorskip("opentelemetry.semconv.attributes.error_attributes")
http = pytest.importorskip("opentelemetry.semconv.attributes.http_attributes")
server = pytest.importorskip("opentelemetry.semconv.attributes.server_attributes")
url = pytest.importorskip("opentelemetry.semconv.attributes.url_attributes")


def texts(*modules: ModuleType | type[Any]) -> set[str]:
    """The constants of some modules."""
    return {value for module in modules for value in vars(module).values() if isinstance(value, str)}


def of_the_conventions(name: str) -> bool:
    return name.startswith(("gen_ai.", "error.", "http.", "server.", "url.")) and name != n.INFERENCE


def test_attributes() -> None:
    """Every attribute that is not this library's own is one of the conventions as they were last released."""
    ours = {name for name in texts(n) if of_the_conventions(name)} - {n.TOKEN_USAGE}
    ours |= {*n.REQUEST_PARAMS.values(), n.RELEASED.cache_write}
    assert len(ours) > 30
    assert ours <= texts(gen_ai, error, http, server, url)


def test_metrics() -> None:
    released = {n.RELEASED.duration, n.RELEASED.time_to_first_chunk, n.RELEASED.time_per_output_chunk, n.TOKEN_USAGE}
    assert released <= texts(metrics)


def test_values() -> None:
    """The words for operations, providers and tokens."""
    operations = {one.value for one in gen_ai.GenAiOperationNameValues}
    assert {"chat", "execute_tool", "invoke_agent", "invoke_workflow"} <= operations
    assert "anthropic" in {one.value for one in gen_ai.GenAiProviderNameValues}
    assert {"input", "output"} == {one.value for one in gen_ai.GenAiTokenTypeValues}
    assert "json" in {one.value for one in gen_ai.GenAiOutputTypeValues}
