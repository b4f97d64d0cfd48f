"""`_message`, `_usage`: whole messages, their text, and what they become."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_stream import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol import Message, TextBlock, Usage
from trio_stream._protocol._values import UnknownObject
from trio_stream.types import (
    CacheMissUnavailable,
    ClearToolUsesEdit,
    FallbackCreditNotApplied,
    MessageDeltaUsage,
    MessageIterationUsage,
    OutputTokensDetails,
    RefusalStopDetails,
    ToolUseBlock,
    UnknownBlock,
)

ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test",
    "content": [
        {"type": "text", "text": "one "},
        {"type": "new_block", "x": [None]},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": None}},
        {"type": "text", "text": "two"},
    ],
    "stop_reason": "refusal",
    "stop_sequence": "s",
    "stop_details": {"type": "refusal", "category": "cyber", "recommended_model": "m"},
    "container": {
        "id": "c",
        "expires_at": "2026-11-01",
        "skills": [{"skill_id": "s", "type": "custom", "version": "1"}],
    },
    "diagnostics": {"cache_miss_reason": {"type": "unavailable"}},
    "usage": {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 4},
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 0,
        "inference_geo": "global",
        "output_tokens_details": {"thinking_tokens": 1},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
        "service_tier": "standard",
        "speed": "fast",
        "fallback_credit": {"status": {"type": "not_applied", "reason": "r", "remove_to_redeem": ["x"]}},
        "iterations": [
            {
                "type": kind,
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation_input_tokens": 3,
                "cache_read_input_tokens": 4,
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 3},
                **({} if kind == "compaction" else {"model": "m"}),
            }
            for kind in ("message", "compaction", "advisor_message", "fallback_message")
        ]
        + [{"type": "new_iteration", "x": 1}],
        "new_count": 5,
    },
    "context_management": {
        "applied_edits": [
            {"type": "clear_tool_uses_20250919", "cleared_input_tokens": 1, "cleared_tool_uses": 2},
            {"type": "clear_thinking_20251015", "cleared_input_tokens": 1, "cleared_thinking_turns": 2},
            {"type": "new_edit"},
        ]
    },
    "input_transformations": [{"type": "thinking_dropped", "path": "p", "reason": "r"}],
    "new_field": {"x": 1},
}


def test_whole_answer() -> None:
    """Everything is read, and `to_dict` gives it all back."""
    message = Message.from_json(json.dumps(ANSWER))
    assert message.to_dict() == ANSWER
    assert Message.from_dict(message.to_dict()) == message
    assert Message.from_json(json.dumps(ANSWER).encode()) == message
    assert message.text == "one two"
    assert [type(block) for block in message.content] == [TextBlock, UnknownBlock, ToolUseBlock, TextBlock]
    assert isinstance(message.stop_details, RefusalStopDetails)
    assert message.diagnostics is not None
    assert isinstance(message.diagnostics.cache_miss_reason, CacheMissUnavailable)
    assert message.context_management is not None
    assert isinstance(message.context_management.applied_edits[0], ClearToolUsesEdit)
    assert isinstance(message.context_management.applied_edits[2], UnknownObject)
    assert message.usage.iterations is not None
    assert isinstance(message.usage.iterations[0], MessageIterationUsage)
    assert message.usage.fallback_credit is not None
    assert isinstance(message.usage.fallback_credit.status, FallbackCreditNotApplied)
    assert message.extra == {"new_field": {"x": 1}}
    assert message.usage.extra == {"new_count": 5}


def test_param() -> None:
    """A message goes back into a conversation with its content only, and all of that."""
    message = Message.from_dict(ANSWER)
    assert message.to_param() == {"role": "assistant", "content": ANSWER["content"]}


def test_param_of_an_unusable_tool_input() -> None:
    """No input is invented."""
    message = Message(content=(TextBlock(text="a"), ToolUseBlock(id="i", name="n", input_json="{")))
    with pytest.raises(InvalidToolInputError):
        message.to_param()
    assert message.to_dict()["content"][1]["input_json"] == "{"


@pytest.mark.parametrize("reason", ["model", "system", "tools", "messages"])
def test_cache_miss_reasons(reason: str) -> None:
    """Those that count tokens."""
    raw = {"type": f"{reason}_changed", "cache_missed_input_tokens": 5}
    message = Message.from_dict({"content": [], "diagnostics": {"cache_miss_reason": raw}})
    assert message.to_dict()["diagnostics"] == {"cache_miss_reason": raw}


def test_small_answer() -> None:
    """What is missing has its default."""
    message = Message.from_json('{"content": []}')
    assert message == Message()
    assert message.text == ""
    assert message.usage == Usage()
    assert message.to_dict() == {
        "type": "message",
        "id": "",
        "role": "assistant",
        "model": "",
        "content": [],
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"type": "error", "content": []}',
        b'{"type": "message"}',
        b'{"content": "secret"}',
        b'{"content": [{"text": "secret"}]}',
        b'{"content": ["\xff"]}',
        b"[" * 100_000,
        '{"content": "\ud800"}',
    ],
)
def test_not_a_message(data: bytes | str) -> None:
    """It is refused without quoting it."""
    with pytest.raises(InvalidResponseError) as caught:
        Message.from_json(data)
    assert str(caught.value).startswith("invalid message: ")
    assert "secret" not in str(caught.value)


def test_message_is_a_value() -> None:
    """Frozen and encoded."""
    message = Message.from_dict(ANSWER)
    assert msgspec.json.decode(msgspec.json.encode(message))["type"] == "message"
    with pytest.raises(AttributeError):
        message.id = "x"  # type: ignore[misc]


def test_usage_of_a_delta() -> None:
    """Totals overwrite, what is not sent stays, and what nobody knows is kept."""
    usage = Usage(input_tokens=5, output_tokens=1, service_tier="standard", extra={"a": 1, "b": 1})
    delta = MessageDeltaUsage(
        output_tokens=9, output_tokens_details=OutputTokensDetails(thinking_tokens=3), extra={"b": 2, "c": 3}
    )
    assert usage.updated(delta) == Usage(
        input_tokens=5,
        output_tokens=9,
        service_tier="standard",
        output_tokens_details=OutputTokensDetails(thinking_tokens=3),
        extra={"a": 1, "b": 2, "c": 3},
    )
    assert usage.updated(MessageDeltaUsage()) == usage
    assert usage.updated(MessageDeltaUsage(output_tokens=0)).output_tokens == 0


def test_both_usages_have_the_same_fields() -> None:
    """So that a delta can overwrite anything."""
    assert set(MessageDeltaUsage.__struct_fields__) == set(Usage.__struct_fields__)


UNKNOWN_NAMES = st.text(max_size=5).filter(
    lambda name: name not in ("id", "model", "role", "type", "usage", "speed", "extra")
)


@given(st.dictionaries(UNKNOWN_NAMES, st.integers() | st.none(), max_size=4))
def test_any_unknown_fields(fields: dict[str, Any]) -> None:
    """They are kept on messages and on usages."""
    message = Message.from_dict({**fields, "content": [], "usage": {**fields, "input_tokens": 3}})
    expected = {name: value for name, value in fields.items() if value is not None}
    assert {name: value for name, value in message.to_dict().items() if name in expected} == expected
    assert message.usage.to_dict() == {**expected, "input_tokens": 3, "output_tokens": 0}
