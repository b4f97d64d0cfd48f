"""The value in a message that a model was asked for."""

from __future__ import annotations

import pytest

from trio_stream import OutputParseError
from trio_stream._schemas import parse_message
from trio_stream.types import Message, ServerToolUseBlock, TextBlock


@pytest.mark.parametrize(
    ("stop_reason", "fault", "says"),
    [
        ("max_tokens", "truncated", "was cut"),
        ("model_context_window_exceeded", "truncated", "was cut"),
        ("refusal", "refused", "refused"),
    ],
)
def test_what_is_not_whole_has_no_value(stop_reason: str, fault: str, says: str) -> None:
    """Even if what there is of it fits: a number may have lost its last digits."""
    message = Message(content=[TextBlock(text="12")], stop_reason=stop_reason)
    with pytest.raises(OutputParseError, match=says) as caught:
        parse_message(message, int)
    error = caught.value
    assert (error.text, error.fault, error.stop_reason, error.partial) == ("12", fault, stop_reason, message)


def test_the_last_text_counts() -> None:
    """What the model said before it used a tool of the API's is no part of it."""
    used = ServerToolUseBlock(id="srvtoolu_1", name="web_search")
    blocks = (TextBlock(text="Let me see."), used, TextBlock(text="[1, "), TextBlock(text="2]"))
    assert parse_message(Message(content=blocks, stop_reason="end_turn"), list[int]) == [1, 2]
    with pytest.raises(OutputParseError, match="it is empty"):
        parse_message(Message(content=(used,), stop_reason="end_turn"), list[int])
