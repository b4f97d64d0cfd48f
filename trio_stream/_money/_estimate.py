"""How many output tokens there are in what has arrived of an answer.

What belongs here: estimates for answers that have not told their usage yet, or never will. What does not: prices.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from trio_stream._protocol import InputBlock, Message, TextBlock, ThinkingBlock, UnknownObject, Usage
from trio_stream.types import CompactionBlock

_FIRST_TOKENS_PER_CHARACTER: Final = 1 / 2.7
"""From recordings; until an answer of the model has ended."""


@final
class OutputEstimate:
    """Learns from whole answers how many tokens of a model make a character, and an event of its stream."""

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = {}  # by model: tokens, characters and events of whole answers

    def learn(self, message: Message, events: int) -> None:
        """Take the numbers of a whole answer.

        Args:
          message: The answer.
          events: The events of its stream.
        """
        self.learn_counts(
            message.model, tokens=message.usage.output_tokens, characters=_characters(message), events=events
        )

    def learn_counts(self, model: str, *, tokens: int, characters: int, events: int = 0) -> None:
        """Take the numbers of a whole answer where the answer itself is not at hand.

        Args:
          model: Its model.
          tokens: Its output tokens.
          characters: The characters of its text, its thinking and the inputs of its tools.
          events: The events of its stream; 0 where `tokens_of` is not asked for.
        """
        if characters:
            seen = self._seen.setdefault(model, [0, 0, 0])
            for place, number in enumerate((tokens, characters, events)):
                seen[place] += number

    def tokens_in(self, message: Message) -> int:
        """Estimate the output tokens of an answer that was cut. They are at least those that it told."""
        characters = _characters(message) + _compacted(message)
        return max(message.usage.output_tokens, round(self.tokens_in_characters(message.model, characters)))

    def usage_of_cut(self, message: Message) -> Usage:
        """Return the usage of an answer that was cut, with an estimate of its output.

        Args:
          message: As much of it as has arrived.
        """
        tokens = self.tokens_in(message)
        usage = msgspec.structs.replace(message.usage, output_tokens=tokens)
        if not usage.iterations:
            return usage
        # Its steps are what is charged for. What was written last belongs to the last of them.
        *earlier, last = usage.iterations
        if isinstance(last, UnknownObject):
            return usage
        tokens -= sum(0 if isinstance(step, UnknownObject) else step.output_tokens for step in earlier)
        last = msgspec.structs.replace(last, output_tokens=max(last.output_tokens, tokens))
        return msgspec.structs.replace(usage, iterations=(*earlier, last))

    def tokens_in_characters(self, model: str, characters: float) -> float:
        """Estimate the output tokens of so many characters."""
        tokens, seen, _ = self._seen.get(model, (0, 0, 0))
        return characters * (tokens / seen if seen else _FIRST_TOKENS_PER_CHARACTER)

    def tokens_of(self, model: str, events: int) -> int:
        """Estimate the output tokens of so many events: less exact, but at no cost. 0 until an answer has ended."""
        tokens, _, seen = self._seen.get(model, (0, 0, 0))
        return events * tokens // seen if seen else 0


def _characters(message: Message) -> int:
    characters = 0
    for block in message.content:
        if isinstance(block, TextBlock):
            characters += len(block.text)
        elif isinstance(block, ThinkingBlock):
            characters += len(block.thinking)
        elif isinstance(block, InputBlock):
            characters += len(block.input_json)
    return characters


def _compacted(message: Message) -> int:
    """The characters of summaries. Nothing is learned of them: the output tokens of a whole answer leave them out."""
    return sum(len(block.content or "") for block in message.content if isinstance(block, CompactionBlock))
