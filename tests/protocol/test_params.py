"""The typed dicts of parameters: what type checkers accept and refuse (checked by mypy, which also checks tests)."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Unpack, get_type_hints

import pytest

from trio_stream import _protocol as protocol
from trio_stream._protocol import (
    BetaCountTokensParams,
    BetaMessageCreateParams,
    CountTokensParams,
    Message,
    MessageCreateParams,
    RequestOptions,
    TextBlock,
    build_body,
)
from trio_stream.types import MessageParam, ToolParam


def create(**params: Unpack[MessageCreateParams]) -> Mapping[str, Any]:
    return params


def beta_create(**params: Unpack[BetaMessageCreateParams]) -> Mapping[str, Any]:
    return params


def count(**params: Unpack[CountTokensParams]) -> Mapping[str, Any]:
    return params


def test_a_call_may_be_written_as_in_the_documentation() -> None:
    history: list[MessageParam] = [{"role": "user", "content": "hi"}]
    history.append({"role": "assistant", "content": Message(content=(TextBlock(text="hello"),)).content})
    tool: ToolParam = {"name": "f", "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}}
    params = create(
        model="claude-sonnet-5-5",
        max_tokens=1024,
        messages=[
            *history,
            Message(content=(TextBlock(text="hello"),)),
            {"role": "system", "content": "be brief", "clear_at": "next_user_message"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "ok"}]},
                    TextBlock(text="and mine"),
                ],
            },
        ],
        system=[{"type": "text", "text": "You are kind."}],
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        tool_choice={"type": "tool", "name": "f"},
        tools=[tool, {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}],
        metadata={"user_id": "u"},
        stop_sequences=["END"],
        temperature=0.5,
    )
    assert b'"temperature":0.5' in build_body(params, stream=True)


def test_a_beta_call_takes_what_is_in_beta() -> None:
    params = beta_create(
        model="m",
        max_tokens=1,
        messages=[],
        betas=["mcp-client-2025-11-20"],
        mcp_servers=[{"type": "url", "name": "s", "url": "https://mcp.example"}],
        context_management={"edits": [{"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 3}}]},
        tools=[{"type": "mcp_toolset", "mcp_server_name": "s"}],
        fallbacks=[{"model": "m2"}],
    )
    assert b"mcp_servers" in build_body(params, stream=True)


def test_type_checkers_refuse_what_is_wrong() -> None:
    """Each of these ignores would be reported as unused if it were not needed."""
    create(model="m", messages=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    create(model="m", max_tokens=1, messages=[], max_token=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    create(model="m", max_tokens="1", messages=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    create(model="m", max_tokens=1, messages=[{"role": "robot", "content": "x"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    create(model="m", max_tokens=1, messages=[], mcp_servers=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    count(model="m", messages=[], max_tokens=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


PARAMS = sorted(name for name, value in vars(protocol).items() if typing.is_typeddict(value))


@pytest.mark.parametrize("name", PARAMS)
def test_annotations_can_be_resolved(name: str) -> None:
    """At run time too, for those who build on them (documentation, msgspec, pydantic)."""
    assert get_type_hints(getattr(protocol, name))


def test_the_documented_parameters_are_all_there() -> None:
    general = {
        "cache_control", "container", "diagnostics", "inference_geo", "max_tokens", "messages", "metadata", "model",
        "output_config", "service_tier", "speed", "stop_sequences", "system", "temperature", "thinking", "tool_choice",
        "tools", "top_k", "top_p", "user_profile_id", "workspace_id",
    }  # fmt: skip
    beta_of_both = {"betas", "billing_policy", "compaction", "context_management", "mcp_servers"}
    count_only = {
        "cache_control", "messages", "model", "output_config", "speed", "system", "thinking", "tool_choice", "tools",
        "user_profile_id", "workspace_id",
    }  # fmt: skip
    assert set(get_type_hints(MessageCreateParams)) == general
    assert set(get_type_hints(BetaMessageCreateParams)) == (
        general | beta_of_both | {"fallback_credit_token", "fallbacks", "thread"}
    )
    assert set(get_type_hints(CountTokensParams)) == count_only
    assert set(get_type_hints(BetaCountTokensParams)) == count_only | beta_of_both
    assert set(get_type_hints(RequestOptions)) == {"extra_body", "extra_headers", "extra_query"}
