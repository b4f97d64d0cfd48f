"""What is taken from a stream although it departs from the protocol, by kind.

What belongs here: the kinds, in the words in which people are told of them. What does not: finding them
(`_accumulator`), and telling (`_stream`).
"""

from __future__ import annotations

from enum import Enum


class Oddity(Enum):
    """A departure from the protocol that does not change what the message means."""

    REPEATED_START = "message_start was sent again for the same message"
    UNFITTING_DELTA = "a delta does not fit its block; the block keeps it beside its content"
    STRAY_BLOCK_STOP = "content_block_stop was sent for a block that is not open"
    REUSED_INDEX = "the index of a block was used again"
    INDEX_GAP = "the indexes of the blocks have gaps"
    NO_STOP_REASON = "message_stop was sent without a stop_reason"
    NO_MESSAGE_STOP = "the stream ended without message_stop"
    UNFINISHED_END = "the last event was sent without its blank line"
    WHOLE_MESSAGE = "the answer is a whole message, not an event stream"
