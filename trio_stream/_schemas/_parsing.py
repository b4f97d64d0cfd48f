"""The value in the message of a model that was asked for a type.

What belongs here: which text of a message is its output, and judging it. What does not: decoding (`_output_type`).
"""

from __future__ import annotations

from itertools import groupby
from typing import Final, TypeVar

from trio_stream._errors import OutputParseError
from trio_stream._protocol import Message, TextBlock
from trio_stream._schemas._faults import MismatchError
from trio_stream._schemas._output_type import OutputType, decode_as

T = TypeVar("T")

_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_REFUSED: Final = "refusal"


def parse_message(message: Message, output: type[T] | OutputType[T]) -> T:
    """Make a value of what a message says.

    A message that was cut has no value, even if what there is of it fits: a number may have lost its last digits.

    Args:
      message: A whole message.
      output: The type.

    Raises:
      OutputParseError: The message was cut or refused, or does not fit.
      TypeError: It is not a type that JSON can be decoded into.
    """
    text, stop_reason = output_text(message), message.stop_reason
    if stop_reason in _CUT:
        raise OutputParseError(
            f"the output was cut ({stop_reason})",
            text=text,
            fault="truncated",
            stop_reason=stop_reason,
            partial=message,
        )
    if stop_reason == _REFUSED:
        raise OutputParseError(
            "the model refused to answer", text=text, fault="refused", stop_reason=stop_reason, partial=message
        )
    try:
        return decode_as(output, text)
    except MismatchError as error:
        raise OutputParseError(
            f"the output cannot be used: {error}", text=text, stop_reason=stop_reason, partial=message
        ) from error


def output_text(message: Message) -> str:
    """The text that is the output: that of the last text blocks, where the model has used tools of the API's before."""
    texts = [list(blocks) for is_text, blocks in groupby(message.content, _is_text) if is_text]
    return "".join(block.text for block in texts[-1] if isinstance(block, TextBlock)) if texts else ""


def _is_text(block: object) -> bool:
    return isinstance(block, TextBlock)
