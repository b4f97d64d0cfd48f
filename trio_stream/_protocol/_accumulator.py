"""Events of the wire to the events that a stream delivers, and to a message.

What belongs here: which event may follow which, adding each to its block, making the helper events, and the bounds on
a message. What does not: what an event looks like (`_events`, `_decode`).

The work per event does not depend on what came before: text, thinking and tool input stay in pieces until they are
read, or until their block is complete.

The rules of order::

    ping, unknown events      any time
    message_start             once, before anything else
    content_block_start       with the next index; blocks may overlap
    content_block_delta       of a kind that fits its block, which is open
    content_block_stop        of an open block, which it closes
    message_delta             any time
    message_stop              once, after a stop_reason; nothing follows. A block still open is incomplete.
"""

from __future__ import annotations

from typing import Any, Final, final

import msgspec

from trio_stream._errors import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol._blocks import ContentBlock, FallbackBlock, InputBlock, UnknownBlock
from trio_stream._protocol._deltas import Delta, TextDelta, ThinkingDelta, UnknownDelta
from trio_stream._protocol._events import (
    HELPER_EVENTS,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStreamEvent,
    PingEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    TextEvent,
    UnknownEvent,
    event_name,
)
from trio_stream._protocol._growth import Append, Collect, Replace
from trio_stream._protocol._message import Message
from trio_stream._protocol._stop_reason import MessageStopReason
from trio_stream._protocol._usage import Usage
from trio_stream._protocol._values import Tagged, set_fields

# After one of these, a tool input that does not parse is a mistake of the model. After any other, ``max_tokens`` first
# of all, the input was cut: "a cut-off reply closes its last call too", so ``content_block_stop`` proves nothing.
_WHOLE_STOP_REASONS: Final = frozenset({"end_turn", "tool_use", "pause_turn"})


class _BlockState:
    """A block that is being put together.

    A message may have thousands of these, so the lists that few blocks need are made when they are needed.
    """

    __slots__ = ("built", "changes", "closed", "collected", "deltas", "pieces", "start", "takes")

    def __init__(self, start: ContentBlock, *, closed: bool = False) -> None:
        self.start = start
        self.closed = closed
        self.built: ContentBlock | None = start if closed else None
        self.takes: type[Tagged] | None = None  # the kind of delta that appends to `pieces`
        self.pieces: list[str] = []
        self.collected: list[Any] | None = None
        self.changes: dict[str, Any] | None = None  # fields that were sent whole
        self.deltas: list[Delta] | None = None  # those that cannot be added, because this version does not know how
        if type(start) is UnknownBlock:
            return
        for delta, growth in start.grows_by.items():
            if type(growth) is Append:
                self.takes = delta
                if growth.continues and (text := getattr(start, growth.field)):
                    self.pieces.append(text)
            elif type(growth) is Collect and (items := getattr(start, growth.field)):
                self.collected = list(items)

    def build(self) -> ContentBlock:
        """The block as it is now."""
        if self.built is None:
            self.built = self._build()
        return self.built

    def _build(self) -> ContentBlock:
        start = self.start
        changes: dict[str, Any] = {"incomplete": not self.closed}
        if type(start) is UnknownBlock:
            changes["deltas"] = tuple(delta.to_dict() for delta in self.deltas or ())
            return msgspec.structs.replace(start, **changes)
        changes["unknown_deltas"] = tuple(self.deltas or ())
        if self.changes:
            changes.update(self.changes)
        for growth in start.grows_by.values():
            if type(growth) is Append and self.pieces:
                changes[growth.field] = "".join(self.pieces)
            elif type(growth) is Collect and self.collected:
                changes[growth.field] = tuple(self.collected)
        return msgspec.structs.replace(start, **changes)


@final
class MessageAccumulator:
    """Puts the message of one stream together, and makes the events that the stream delivers.

    Args:
      max_message_bytes: The largest message, in bytes of UTF-8: its text, thinking and tool input, and the JSON of
        everything that arrives whole.
      max_blocks: The largest number of content blocks.

    Attributes:
      complete: Whether ``message_stop`` has arrived.
      text_parts: Every non-empty piece of text, of all text blocks, in the order of arrival.
    """

    __slots__ = (
        "_blocks",
        "_bytes",
        "_max_blocks",
        "_max_message_bytes",
        "_message",
        "_snapshot",
        "_thinking_parts",
        "complete",
        "text_parts",
    )

    complete: bool
    text_parts: list[str]

    def __init__(self, *, max_message_bytes: int = 256 * 1024 * 1024, max_blocks: int = 10_000) -> None:
        self.complete = False
        self.text_parts = []
        self._thinking_parts: list[str] | None = None  # few messages have any
        self._max_message_bytes = max_message_bytes
        self._max_blocks = max_blocks
        self._bytes = 0
        self._message: Message | None = None  # all but the content
        self._blocks: list[_BlockState] = []  # until the message is complete
        self._snapshot: Message | None = None  # valid until the next event

    @property
    def started(self) -> bool:
        """Whether ``message_start`` has arrived."""
        return self._message is not None

    @property
    def text(self) -> str:
        """The text of all text blocks so far, joined."""
        return "".join(self.text_parts)

    @property
    def thinking_parts(self) -> list[str]:
        """Every non-empty piece of thinking, of all thinking blocks, in the order of arrival."""
        if self._thinking_parts is None:
            self._thinking_parts = []
        return self._thinking_parts

    @property
    def usage(self) -> Usage:
        """The usage so far; all zero before ``message_start``."""
        return Usage() if self._message is None else self._message.usage

    @property
    def stop_reason(self) -> MessageStopReason | None:
        """Why the model stopped, or None while that is not known."""
        return None if self._message is None else self._message.stop_reason

    def add(self, event: RawMessageStreamEvent) -> tuple[MessageStreamEvent, ...]:
        """Take the next event of the wire.

        Args:
          event: An event that `decode_event` returned. For an `ErrorEvent` the caller raises its error instead.

        Returns:
          The events that a stream delivers for it: none for a ping; else the event itself, followed by the helper event
          if it is a delta that has one.

        Raises:
          InvalidResponseError: the event does not fit what came before, or the message is larger than a limit. The
            message so far stays as it was.
        """
        if type(event) is ContentBlockDeltaEvent:
            index = event.index
            if not 0 <= index < len(self._blocks) or (block := self._blocks[index]).closed:
                raise _unexpected(event, self._why_not_open(index))
            delta = event.delta
            if type(delta) is TextDelta and block.takes is TextDelta:
                text = delta.text
                pieces = block.pieces
                if text:
                    # The same as `_grow`, without a call for every event.
                    size = self._bytes + (len(text) if text.isascii() else len(text.encode()))
                    if size > self._max_message_bytes:
                        raise self._too_large()
                    self._bytes = size
                    pieces.append(text)
                    block.built = None
                    self._snapshot = None
                    self.text_parts.append(text)
                return event, TextEvent(text, pieces, len(pieces))
            return self._add_delta(event, delta, block)
        if type(event) is PingEvent:
            return ()
        if self.complete:
            raise _unexpected(event, "the message is complete")
        if type(event) is UnknownEvent:
            return (event,)
        if type(event) is MessageStartEvent:
            return self._start_message(event)
        if self._message is None:
            raise _unexpected(event, "there was no message_start")
        if type(event) is ContentBlockStartEvent:
            return self._start_block(event)
        if type(event) is RawContentBlockStopEvent:
            return self._stop_block(event)
        if type(event) is MessageDeltaEvent:
            return self._change_message(self._message, event)
        if type(event) is RawMessageStopEvent:
            return self._stop_message(self._message)
        raise _unexpected(event, "an error is no part of a message")

    def snapshot(self) -> Message | None:
        """The message as far as it has arrived, or None before ``message_start``.

        Open blocks are marked incomplete, and so is a tool block whose input was cut. Calling it again costs nothing
        until the next event.
        """
        if self._snapshot is None and self._message is not None:
            content = [block.build() for block in self._blocks]
            if self._message.stop_reason not in _WHOLE_STOP_REASONS:
                _mark_cut(content)
            self._snapshot = msgspec.structs.replace(self._message, content=tuple(content))
        return self._snapshot

    def _start_message(self, event: MessageStartEvent) -> tuple[MessageStreamEvent, ...]:
        if self._message is not None:
            raise _unexpected(event, "the message has started")
        self._check_number(len(event.message.content))
        self._grow(_size(event.message))
        self._message = event.message
        for block in event.message.content:
            self._append(_BlockState(block, closed=True))
        return (event,)

    def _start_block(self, event: ContentBlockStartEvent) -> tuple[MessageStreamEvent, ...]:
        index = event.index
        if index != len(self._blocks):
            raise _unexpected(event, f"it starts block {index}; the next is {len(self._blocks)}")
        self._check_number(index + 1)
        self._grow(_size(event.content_block))
        start = event.content_block
        self._append(_BlockState(start))
        if type(start) is FallbackBlock and start.to is not None and self._message is not None:
            # API docs, fallbacks: "The final hop's fallback block names the model that served the response."
            self._message = msgspec.structs.replace(self._message, model=start.to.model)
        return (event,)

    def _append(self, block: _BlockState) -> None:
        self._snapshot = None
        self._blocks.append(block)
        if block.takes is TextDelta:
            self.text_parts += block.pieces
        elif block.takes is ThinkingDelta:
            self.thinking_parts.extend(block.pieces)

    def _add_delta(
        self, event: ContentBlockDeltaEvent, delta: Delta, block: _BlockState
    ) -> tuple[MessageStreamEvent, ...]:
        """Add any delta but text to a text block, which is by far the most frequent and is added by `add` itself."""
        start = block.start
        if isinstance(delta, UnknownDelta) or isinstance(start, UnknownBlock):
            self._grow(_size(delta))
            if block.deltas is None:
                block.deltas = []
            block.deltas.append(delta)
            block.built = self._snapshot = None
            return (event,)
        growth = start.grows_by.get(type(delta))
        says: tuple[object, ...]  # what the helper event says
        if type(growth) is Append:
            piece: str = getattr(delta, growth.piece)
            pieces = block.pieces
            if piece:
                self._grow(_utf8_length(piece))
                pieces.append(piece)
                if type(delta) is ThinkingDelta:
                    self.thinking_parts.append(piece)
            says = (piece, pieces, len(pieces))
        elif type(growth) is Collect:
            self._grow(_size(delta))
            if block.collected is None:
                block.collected = []
            item = getattr(delta, growth.item)
            block.collected.append(item)
            says = (item, block.collected, len(block.collected))
        elif type(growth) is Replace:
            self._grow(_size(delta))
            block.changes = {**(block.changes or {}), **set_fields(delta)}
            says = msgspec.structs.astuple(delta)
        else:
            raise _unexpected(event, f"a {start.type} block takes no {delta.type}")
        block.built = self._snapshot = None
        helper = HELPER_EVENTS.get(type(delta))
        return (event,) if helper is None else (event, helper(*says))

    def _stop_block(self, event: RawContentBlockStopEvent) -> tuple[MessageStreamEvent, ...]:
        index = event.index
        if not 0 <= index < len(self._blocks) or (block := self._blocks[index]).closed:
            raise _unexpected(event, self._why_not_open(index))
        block.closed = True
        block.built = self._snapshot = None
        built = block.build()
        block.pieces = []  # the block has them joined now; events that were delivered still share the old list
        return (ContentBlockStopEvent(index, built),)

    def _change_message(self, message: Message, event: MessageDeltaEvent) -> tuple[MessageStreamEvent, ...]:
        # What the event does not have stays as it was.
        changes = set_fields(event.delta)
        if event.context_management is not None:
            changes["context_management"] = event.context_management
        if event.input_transformations is not None:
            changes["input_transformations"] = event.input_transformations
        self._message = msgspec.structs.replace(message, usage=message.usage.updated(event.usage), **changes)
        self._snapshot = None
        return (event,)

    def _stop_message(self, message: Message) -> tuple[MessageStreamEvent, ...]:
        if message.stop_reason is None:
            raise InvalidResponseError("unexpected message_stop event: there was no stop_reason")
        self.complete = True
        final = self.snapshot()
        assert final is not None
        self._blocks = []  # nothing changes any more, and the snapshot has all blocks
        return (MessageStopEvent(final),)

    def _grow(self, size: int) -> None:
        size += self._bytes
        if size > self._max_message_bytes:
            raise self._too_large()
        self._bytes = size

    def _too_large(self) -> InvalidResponseError:
        return InvalidResponseError(f"message too large: more than {self._max_message_bytes} bytes (max_message_bytes)")

    def _check_number(self, blocks: int) -> None:
        if blocks > self._max_blocks:
            raise InvalidResponseError(f"message too large: more than {self._max_blocks} blocks (max_blocks)")

    def _why_not_open(self, index: int) -> str:
        if self.complete:
            return "the message is complete"
        if self._message is None:
            return "there was no message_start"
        if index < len(self._blocks):
            return f"block {index} is complete"
        return f"block {index} has not started"


def _mark_cut(content: list[ContentBlock]) -> None:
    """Mark the last tool block incomplete if its input was cut, so that no input is ever invented."""
    for index in range(len(content) - 1, -1, -1):
        block = content[index]
        if isinstance(block, InputBlock):
            # An empty text means "no arguments", or that it was cut before the first. Only the last block may be cut.
            cut = index == len(content) - 1 and not block.input_json.strip()
            if cut or not _parses(block):
                content[index] = msgspec.structs.replace(block, incomplete=True)
            return


def _parses(block: InputBlock) -> bool:
    try:
        block.input  # noqa: B018 - it is parsed when looked at
    except InvalidToolInputError:
        return False
    return True


def _size(value: object) -> int:
    try:
        return len(msgspec.json.encode(value))
    except RecursionError as error:
        raise InvalidResponseError("invalid event: nested too deeply") from error


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _unexpected(event: RawMessageStreamEvent, reason: str) -> InvalidResponseError:
    return InvalidResponseError(f"unexpected {event_name(event.type)} event: {reason}")
