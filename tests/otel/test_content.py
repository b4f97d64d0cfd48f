"""Messages in the form of the semantic conventions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trio_stream.otel import _content

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR" * 1000}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "a"}, {"type": "text", "content": "a"}),
        ({"type": "thinking", "thinking": "a", "signature": "s"}, {"type": "reasoning", "content": "a"}),
        ({"type": "redacted_thinking", "data": "s"}, {"type": "redacted_thinking"}),
        (
            {"type": "server_tool_use", "id": "i", "name": "n", "input": {"q": 1}},
            {"type": "tool_call", "id": "i", "name": "n", "arguments": {"q": 1}},
        ),
        (PNG, {"type": "blob", "modality": "image", "mime_type": "image/png"}),
        ({"type": "document", "source": "?"}, {"type": "blob", "modality": "document", "mime_type": None}),
    ],
)
def test_parts(block: dict[str, Any], part: dict[str, Any]) -> None:
    """Each kind of block; images and documents only by what they are."""
    assert json.loads(_content.input_messages([{"role": "user", "content": [block]}])) == [
        {"role": "user", "parts": [part]}
    ]


def test_each_result_is_a_message_of_its_own() -> None:
    """Of two results in one message back-ends show the last one only."""
    results = [
        {"type": "tool_result", "tool_use_id": "a", "content": "fine"},
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "x"}, PNG, {"type": "other"}]},
        {"type": "text", "text": "Go on."},
    ]
    first, second, rest = json.loads(_content.input_messages([{"role": "user", "content": results}]))
    assert first == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "a", "response": "fine"}]}
    assert [part["type"] for part in second["parts"][0]["response"]] == ["text", "blob", "other"]
    assert rest == {"role": "user", "parts": [{"type": "text", "content": "Go on."}]}
    assert len(json.loads(_content.input_messages([{"role": "user", "content": results[:1]}]))) == 1


def test_system_and_tools() -> None:
    assert json.loads(_content.system_instructions("Be brief.")) == [{"type": "text", "content": "Be brief."}]
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}},
        {"type": "web_search_20260101", "name": "web_search"},
    ]
    assert json.loads(_content.tool_definitions(tools)) == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}},
        {"type": "web_search_20260101", "name": "web_search"},
    ]


@pytest.mark.parametrize("messages", [None, 3, "text", [3, None]])
def test_what_is_no_message(messages: Any) -> None:
    """A request that the API is going to refuse is told as far as it can be."""
    assert json.loads(_content.input_messages(messages)) == []


def test_the_last_messages_are_kept() -> None:
    """One attribute is at most 250 kB: of many messages the first go, of one that is too long the middle of its texts."""
    messages = [{"role": "user", "content": f"{number} " + "x" * 10_000} for number in range(100)]
    text = _content.input_messages(messages)
    assert len(text) <= _content.MOST_BYTES
    kept = json.loads(text)
    assert kept[-1]["parts"][0]["content"].startswith("99 ")
    assert len(kept) > 20
    (alone,) = json.loads(
        _content.input_messages(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "x", "text": "y"},
                        {"type": "tool_use", "id": "i", "name": "f", "input": {"n": 1}},
                    ]
                    + [{"type": "text", "text": "y" * 300_000}] * 30,
                }
            ]
        )
    )
    assert len(alone["parts"]) == 20
    assert len(json.dumps(alone)) < _content.MOST_BYTES
    assert json.loads(_content.as_json([1])) == [1]
    assert len(_content.as_json("z" * 400_000)) < _content.MOST_BYTES + 10
