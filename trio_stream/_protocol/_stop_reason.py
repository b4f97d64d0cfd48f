"""Why the model stopped.

What belongs here: the type of ``stop_reason``. What does not: what follows from a reason (`_accumulator`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

KnownStopReason: TypeAlias = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "compaction",
    "refusal",
    "model_context_window_exceeded",
]
"""The reasons that the API has."""

if TYPE_CHECKING:
    MessageStopReason: TypeAlias = KnownStopReason | str
    """Why the model stopped. The API may add reasons, so it is any text; editors offer those that are known."""
else:
    # To msgspec a literal and a text are two texts in one union, which it does not read.
    MessageStopReason = str
