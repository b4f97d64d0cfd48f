"""`_whole_message`: a whole message as the events in which it would have been streamed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocol.feeding import accumulate
from trio_stream import InvalidResponseError
from trio_stream._protocol import Message, events_of_message, is_message


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"type": "message", "content": []}, True),
        ({"content": []}, True),
        ({"content": [], "error": {"message": "m"}}, False),
        ({"type": "message", "content": "x"}, False),
        ({"type": "error", "content": []}, False),
        ({}, False),
        ([], False),
        (None, False),
    ],
)
def test_is_message(value: object, *, found: bool) -> None:
    assert is_message(value) is found


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "a"},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "i", "name": "n", "input": {"a": [1]}},
        {"type": "tool_use", "id": "i", "name": "n", "input": '{"a": 1}'},
        {"type": "compaction", "content": "c"},
        {"type": "new", "text": "a"},
    ],
)
def test_blocks(block: dict[str, Any]) -> None:
    raw = {"type": "message", "content": [block], "stop_reason": "end_turn"}
    accumulator, _ = accumulate(events_of_message(raw))
    assert accumulator.snapshot() == Message.from_dict(raw)


@pytest.mark.parametrize("block", ["x", {"type": "text", "text": 5}, {"type": "thinking", "thinking": ["x"]}])
def test_what_is_no_block(block: object) -> None:
    with pytest.raises(InvalidResponseError):
        accumulate(events_of_message({"content": [block]}))
