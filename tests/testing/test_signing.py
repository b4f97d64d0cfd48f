"""Signatures hold what came before a thinking block, and only that."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from trio_stream.testing._signing import mismatches, sign

JSON = dict[str, Any]

REQUEST: JSON = {
    "model": "claude-opus-5",
    "max_tokens": 100,
    "system": "be brief",
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ],
}
TEXT: JSON = {"type": "text", "text": "let me see"}
CALL: JSON = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1, "b": [None]}, "caller": {"type": "direct"}}
ANSWER: list[JSON] = [
    TEXT,
    {"type": "thinking", "thinking": "hm", "signature": sign(REQUEST, [TEXT], "hm")},
    CALL,
]
NEXT: JSON = {
    **REQUEST,
    "messages": [
        *REQUEST["messages"],
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
    ],
}


def changed(path: str, value: Any) -> JSON:
    body = copy.deepcopy(NEXT)
    *way, last = path.split(".")
    place: Any = body
    for name in way:
        place = place[int(name) if name.isdigit() else name]
    place[int(last) if last.isdigit() else last] = value
    return body


def first_mismatch(body: JSON) -> str | None:
    """The path of the first thinking block whose signature does not fit."""
    found = mismatches(body)
    return found[0].path if found else None


def test_an_unchanged_conversation_fits() -> None:
    assert first_mismatch(NEXT) is None
    assert first_mismatch(copy.deepcopy(NEXT)) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("system", "be long"),
        ("system", None),
        ("tools", []),
        ("tools.0.name", "g"),
        ("messages.0.content", "ONE"),
        ("messages.0.role", "assistant"),
        ("messages.1.content", [{"type": "text", "text": "two"}, {"type": "text", "text": "more"}]),
        ("messages.2.content.0.text", ""),
        ("messages.3.content.0.text", "let me look"),
        ("messages.3.content.1.thinking", "hm!"),
    ],
)
def test_a_changed_prefix_does_not(path: str, value: Any) -> None:
    assert first_mismatch(changed(path, value)) == "messages.3.content.1"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", "claude-sonnet-5"),
        ("max_tokens", 7),
        ("system", [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]),
        ("messages.0.content", [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}]),
        ("messages.1.content", [{"type": "text", "text": "two", "citations": None}]),
        ("messages.2.content", "three"),
        ("messages.3.content.2.input", {"b": [None], "a": 2}),
        ("messages.4.content", "something else"),
        ("messages.3.content.1.signature", "recorded from the real API"),
    ],
)
def test_what_does_not_change_the_meaning_fits(path: str, value: Any) -> None:
    assert first_mismatch(changed(path, value)) is None


def test_a_damaged_signature_of_ours_is_seen() -> None:
    signature: str = ANSWER[1]["signature"]
    assert first_mismatch(changed("messages.3.content.1.signature", signature[:-8])) == "messages.3.content.1"


def test_turns_in_a_row_are_one() -> None:
    body = copy.deepcopy(NEXT)
    [turn] = [message for message in body["messages"] if message["content"] == ANSWER]
    position = body["messages"].index(turn)
    body["messages"][position : position + 1] = [
        {"role": "assistant", "content": ANSWER[:1]},
        {"role": "assistant", "content": ANSWER[1:]},
    ]
    assert first_mismatch(body) is None


@pytest.mark.parametrize("messages", [None, "x", [None], [{"content": 7}], [{"content": ["x"]}], [{"content": ""}]])
def test_any_shape_is_survived(messages: Any) -> None:
    assert first_mismatch({"messages": messages}) is None
    assert sign({"messages": messages}, [], "x") == sign({"messages": messages}, [], "x")
