"""The deltas of ``content_block_delta`` events.

What belongs here: what each delta holds. What does not: which block takes it, and what it does there (`_blocks`).
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, final

from trio_stream._protocol._citations import Citation
from trio_stream._protocol._values import Tagged, Unknown

# Deltas are made for every event. They hold no reference cycles, so the garbage collector may ignore them.


@final
class TextDelta(Tagged, frozen=True, gc=False, tag="text_delta"):
    """Text to append to a text block."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    text: str


@final
class InputJSONDelta(Tagged, frozen=True, gc=False, tag="input_json_delta"):
    """JSON text to append to the input of a tool call."""

    type: ClassVar[Literal["input_json_delta"]] = "input_json_delta"
    partial_json: str


@final
class ThinkingDelta(Tagged, frozen=True, gc=False, tag="thinking_delta"):
    """Text to append to a thinking block.

    Attributes:
      thinking: The text to append.
      estimated_tokens: A rough count of the thinking tokens since the last such delta. Beta.
    """

    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    thinking: str
    estimated_tokens: int | None = None


@final
class SignatureDelta(Tagged, frozen=True, gc=False, tag="signature_delta"):
    """The whole signature of a thinking block; empty where null was sent, which changes nothing."""

    type: ClassVar[Literal["signature_delta"]] = "signature_delta"
    signature: str = ""


@final
class CitationsDelta(Tagged, frozen=True, tag="citations_delta"):
    """A citation to add to a text block."""

    type: ClassVar[Literal["citations_delta"]] = "citations_delta"
    citation: Citation


@final
class CompactionDelta(Tagged, frozen=True, gc=False, tag="compaction_delta"):
    """The whole summary of a compaction block. Beta."""

    type: ClassVar[Literal["compaction_delta"]] = "compaction_delta"
    content: str | None = None
    encrypted_content: str | None = None


@final
class UnknownDelta(Unknown, frozen=True, kw_only=True, tag="(unknown)"):
    """A delta whose ``type`` this version does not know. Its block keeps it as it came."""


Delta: TypeAlias = (
    TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta | CitationsDelta | CompactionDelta | UnknownDelta
)
"""Any delta. One whose ``type`` this version does not know is an `UnknownDelta`."""
