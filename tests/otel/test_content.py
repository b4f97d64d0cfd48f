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


PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBER" * 1000}}


def test_documents_within_results() -> None:
    """A page that a server tool has fetched stands deep in its result, and is told only by what it is."""
    fetched = {"type": "web_fetch_result", "url": "u", "content": PDF}
    result = {"type": "web_fetch_tool_result", "tool_use_id": "i", "content": fetched}
    (told,) = json.loads(_content.input_messages([{"role": "user", "content": [result]}]))
    assert told["parts"][0]["response"] == {
        "type": "web_fetch_result",
        "url": "u",
        "content": {"type": "blob", "modality": "document", "mime_type": "application/pdf"},
    }


def nested(depth: int) -> Any:
    value: Any = "x" * 20
    for _ in range(depth):
        value = [value] * 3
    return value


@pytest.mark.parametrize(
    "value",
    [
        "\u6f22" * 300_000,
        ["\u6f22" * 300_000] * 30,
        {str(key): "x" * 9_000 for key in range(100)},
        {"x" * 300_000: 1},
        nested(9),
    ],
    ids=["text", "texts", "keys", "a long key", "deep"],
)
def test_no_attribute_is_too_long(value: Any) -> None:
    """Whatever stands in it: letters of several bytes, many names, lists in lists."""
    call = {"type": "tool_use", "id": "i", "name": "f", "input": value}
    for text in (
        _content.input_messages([{"role": "assistant", "content": [call]}]),
        _content.tool_input(value),
        _content.tool_result(value),
        _content.tool_result([{"type": "text", "text": value}]),
    ):
        assert len(text.encode()) <= _content.MOST_BYTES


def test_inputs_and_results_of_tools() -> None:
    """What is short enough is told whole."""
    assert json.loads(_content.tool_input({"a": [1]})) == {"a": [1]}
    assert _content.tool_result("fine") == "fine"
    assert json.loads(_content.tool_result([{"type": "text", "text": "a"}, PNG])) == [
        {"type": "text", "content": "a"},
        {"type": "blob", "modality": "image", "mime_type": "image/png"},
    ]
