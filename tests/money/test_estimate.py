"""Estimating the output tokens of answers that were cut."""

from __future__ import annotations

from typing import Any

import pytest

import trio_stream as ts
from trio_stream._money import Budget, Ledger, OutputEstimate, charges_of
from trio_stream.types import Message, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock


def message(characters: int, *, tokens: int = 1) -> Message:
    return Message(model="m", content=(TextBlock(text="x" * characters),), usage=ts.Usage(output_tokens=tokens))


def test_the_first_estimate_is_from_recordings():
    """A token has 2.7 characters, until an answer of the model has ended."""
    estimate = Ledger(Budget()).estimate
    assert estimate.tokens_in(message(270)) == 100
    assert estimate.tokens_of("m", 10) == 0


def test_it_learns_from_whole_answers():
    """Tokens per character, and per event, are those of all answers of the model so far."""
    estimate = Ledger(Budget()).estimate
    estimate.learn(message(0, tokens=9), 1)  # no characters: it says nothing
    estimate.learn(message(100, tokens=50), 10)
    estimate.learn(message(300, tokens=50), 30)
    assert estimate.tokens_in(message(40)) == 10
    assert estimate.tokens_of("m", 8) == 20


def test_thinking_and_tool_input_are_output_too():
    """All that the model wrote counts; what it was told is at least that."""
    estimate = Ledger(Budget()).estimate
    cut = Message(
        model="m",
        content=(
            ThinkingBlock(thinking="x" * 27),
            RedactedThinkingBlock(data="x" * 1000),
            ToolUseBlock(id="t", name="f", input_json='{"a": "' + "x" * 20),
        ),
    )
    assert estimate.tokens_in(cut) == 20
    assert estimate.tokens_in(message(27, tokens=500)) == 500


STEP = {"type": "message", "input_tokens": 5, "output_tokens": 1}


@pytest.mark.parametrize(
    ("steps", "outputs"),
    [
        ([STEP], [100]),
        ([{**STEP, "type": "compaction", "output_tokens": 30}, STEP], [30, 70]),
        ([{**STEP, "type": "of_next_year"}, STEP], [1, 100]),
        ([STEP, {**STEP, "type": "of_next_year"}], [1, 1]),
        ([{**STEP, "output_tokens": 300}, {**STEP, "output_tokens": 7}], [300, 7]),
    ],
)
def test_the_steps_of_an_answer_that_was_cut(steps: list[Any], outputs: list[int]):
    """They are what is charged for, so the estimate belongs to the last of them."""
    cut = Message.from_dict({"content": [{"type": "text", "text": "x" * 270}], "usage": {"iterations": steps}})
    charges = charges_of(OutputEstimate().usage_of_cut(cut))
    assert [charge.output for charge in charges] == outputs


def test_summaries_are_output_too():
    """They are no part of what whole answers tell of their output, so nothing is learned of them."""
    compaction = {"type": "compaction", "content": "x" * 270}
    cut = Message.from_dict({"content": [compaction, {"type": "compaction", "content": None}]})
    estimate = OutputEstimate()
    estimate.learn(Message.from_dict({"content": [compaction], "usage": {"output_tokens": 1}}), 1)
    assert estimate.usage_of_cut(cut).output_tokens == 100
