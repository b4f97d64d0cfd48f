"""Events of the wire to the events that a stream delivers, and to a message.

What belongs here: which event may follow which, adding each to its block, making the helper events, and the bounds on
a message. What does not: what an event looks like (`_events`, `_decode`).

The work per event does not depend on what came before: text, thinking and tool input stay in pieces until they are
read, or until their block is complete.

An event that is refused changes nothing, and nothing is told of it: each method first looks whether all of the event
may come (`_grow` is the last that can raise), and then takes it.

The rules of order::

    ping, unknown events      any time
    message_start             before anything else; again only for the same message, before its first block
    content_block_start       with an index of which no block is open; blocks may overlap
    content_block_delta       of an open block; what does not fit it is kept beside its content
    content_block_stop        of an open block, which it closes; of any other it means nothing
    message_delta             any time
    message_stop              once; nothing follows. A block still open is incomplete.

Servers depart from the API in many ways. What cannot change the meaning of the message is taken as it is meant, and
each kind of it is told once (`Oddity`); anything else is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast, final

import msgspec

from trio_stream._errors import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol._block_bases import Block, InputBlock
from trio_stream._protocol._block_state import BlockState, is_half, join_halves, without_halves
from trio_stream._protocol._blocks import ContentBlock, FallbackBlock, UnknownBlock
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
from trio_stream._protocol._growth import Append, Collect
from trio_stream._protocol._message import Message
from trio_stream._protocol._oddities import Oddity
from trio_stream._protocol._partial_json import Pieces
from trio_stream._protocol._sizes import extra_size, size_of, utf8_length
from trio_stream._protocol._stop_reason import MessageStopReason
from trio_stream._protocol._usage import Usage
from trio_stream._protocol._values import NO_FIELDS, Value, set_fields

# After one of these, a tool input that does not parse is a mistake of the model. After any other, ``max_tokens`` first
# of all, the input was cut: "a cut-off reply closes its last call too", so ``content_block_stop`` proves nothing.
_WHOLE_STOP_REASONS: Final = frozenset({"end_turn", "tool_use", "pause_turn"})


@final
class MessageAccumulator:
    """Puts the message of one stream together, and makes the events that the stream delivers.

    Args:
      max_message_bytes: The largest message, in bytes of UTF-8: its text, thinking and tool input, and the JSON of
        everything that arrives whole.
      max_blocks: The largest number of content blocks.
      on_oddity: Called once for each kind of departure from the protocol that is taken all the same.

    Attributes:
      complete: Whether ``message_stop`` has arrived.
      text_parts: Every non-empty piece of text, of all text blocks, in the order of arrival.
    """

    __slots__ = (
        "_blocks",
        "_by_index",
        "_bytes",
        "_extra",
        "_max_blocks",
        "_max_message_bytes",
        "_message",
        "_oddities",
        "_on_oddity",
        "_snapshot",
        "_thinking_parts",
        "_usage_extra",
        "complete",
        "text_parts",
    )

    complete: bool
    text_parts: list[str]

    def __init__(
        self,
        *,
        max_message_bytes: int = 256 * 1024 * 1024,
        max_blocks: int = 10_000,
        on_oddity: Callable[[Oddity], None] | None = None,
    ) -> None:
        self.complete = False
        self.text_parts = []
        self._thinking_parts: list[str] | None = None  # few messages have any
        self._max_message_bytes = max_message_bytes
        self._max_blocks = max_blocks
        self._bytes = 0
        self._message: Message | None = None  # all but the content, and what follows
        # The unknown fields of all events of the message, and of its usage. There may be thousands of events with some.
        self._extra: dict[str, Any] | None = None
        self._usage_extra: dict[str, Any] | None = None
        self._blocks: list[BlockState] = []  # until the message is complete
        self._by_index: dict[int, BlockState] = {}  # the last one that was started with each index
        self._on_oddity = on_oddity
        self._oddities: set[Oddity] | None = None  # those that were told; most streams have none
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
        if self._message is None:
            return Usage()
        usage = self._message.usage
        if not self._usage_extra:
            return usage
        return msgspec.structs.replace(usage, extra={**usage.extra, **self._usage_extra})

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
            block = self._by_index.get(event.index)
            if block is None or block.closed:
                raise _unexpected(event, self._why_not_open(event.index))
            delta = event.delta
            if type(delta) is TextDelta and block.takes is TextDelta and not delta.extra:
                text = delta.text
                pieces = block.pieces
                if text:
                    # The same as `_grow`, without a call for every event.
                    try:
                        size = self._bytes + (len(text) if text.isascii() else len(text.encode()))
                    except UnicodeEncodeError:  # it begins or ends with half of a surrogate pair
                        return self._add_delta(event, delta, block)
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
            if event.extra:
                self._grow(size_of(event.extra))
            if self._message.stop_reason is None:
                self.tell(Oddity.NO_STOP_REASON)
            if event.extra:
                self._keep_extra(event.extra)
            stop = self._stop_message()
            return (msgspec.structs.replace(stop, extra=event.extra) if event.extra else stop,)
        raise _unexpected(event, "an error is no part of a message")

    def snapshot(self) -> Message | None:
        """The message as far as it has arrived, or None before ``message_start``.

        Open blocks are marked incomplete, and so is a tool block whose input was cut. Calling it again costs nothing
        until the next event.
        """
        if self._snapshot is None and self._message is not None:
            message = self._message
            content = [block.build() for block in self._blocks]
            if message.stop_reason not in _WHOLE_STOP_REASONS:
                _mark_cut(content)
            extra = {**message.extra, **self._extra} if self._extra else message.extra
            self._snapshot = msgspec.structs.replace(message, content=tuple(content), usage=self.usage, extra=extra)
        return self._snapshot

    def fork(self) -> MessageAccumulator:
        """A copy as of the last event, which takes further events by itself.

        For whoever reads ahead, and is asked about an earlier event then. It takes about as long as copying the list of
        the pieces.
        """
        copy = MessageAccumulator(max_message_bytes=self._max_message_bytes, max_blocks=self._max_blocks)
        copy.complete = self.complete
        copy.text_parts = list(self.text_parts)
        copy._thinking_parts = None if self._thinking_parts is None else list(self._thinking_parts)
        copy._bytes = self._bytes
        copy._message = self._message
        copy._extra = None if self._extra is None else dict(self._extra)
        copy._usage_extra = None if self._usage_extra is None else dict(self._usage_extra)
        # A closed block does not change any more, and one that is not the last with its index is closed.
        open_blocks = {id(block): block.fork() for block in self._by_index.values() if not block.closed}
        copy._blocks = [open_blocks.get(id(block), block) for block in self._blocks]
        copy._by_index = {index: open_blocks.get(id(block), block) for index, block in self._by_index.items()}
        copy._snapshot = self._snapshot
        return copy

    def tell(self, oddity: Oddity) -> None:
        """Tell of a departure from the protocol, unless that kind has been told."""
        if self._on_oddity is None:
            return
        if self._oddities is None:
            self._oddities = set()
        if oddity not in self._oddities:
            self._oddities.add(oddity)
            self._on_oddity(oddity)

    def complete_without_stop(self) -> MessageStopEvent | None:
        """Take the message for complete although there was no ``message_stop``.

        Returns:
          The event that stands for it; None if the message cannot be complete, because it has no ``stop_reason``.
        """
        if self._message is None or self._message.stop_reason is None:
            return None
        self.tell(Oddity.NO_MESSAGE_STOP)
        return self._stop_message()

    def _start_message(self, event: MessageStartEvent) -> tuple[MessageStreamEvent, ...]:
        if self._message is not None:
            if self._message.id != event.message.id or self._blocks or event.message.content:
                raise _unexpected(event, "the message has started")
            self.tell(Oddity.REPEATED_START)
            return ()
        self._check_number(len(event.message.content))
        self._grow(size_of(event.message) + extra_size(event))
        self._message = event.message
        if event.extra:
            self._keep_extra(event.extra)
        for index, block in enumerate(event.message.content):
            self._by_index[index] = state = BlockState(block, closed=True)
            self._append(state)
        return (event,)

    def _start_block(self, event: ContentBlockStartEvent) -> tuple[MessageStreamEvent, ...]:
        index = event.index
        before = self._by_index.get(index)
        if before is not None and not before.closed:
            raise _unexpected(event, f"block {index} is open")
        self._check_number(len(self._blocks) + 1)
        self._grow(size_of(event.content_block))
        if before is not None:
            self.tell(Oddity.REUSED_INDEX)
        elif index != len(self._by_index):
            self.tell(Oddity.INDEX_GAP)
        start = event.content_block
        self._by_index[index] = block = BlockState(start)
        self._append(block)
        if type(start) is FallbackBlock and start.to is not None and self._message is not None:
            # API docs, fallbacks: "The final hop's fallback block names the model that served the response."
            self._message = msgspec.structs.replace(self._message, model=start.to.model)
        return (event,)

    def _append(self, block: BlockState) -> None:
        self._snapshot = None
        self._blocks.append(block)
        if block.takes is TextDelta:
            self.text_parts += block.pieces
        elif block.takes is ThinkingDelta:
            self.thinking_parts.extend(block.pieces)

    def _add_delta(
        self, event: ContentBlockDeltaEvent, delta: Delta, block: BlockState
    ) -> tuple[MessageStreamEvent, ...]:
        """Add any delta but text to a text block, which is by far the most frequent and is added by `add` itself."""
        start = block.start
        if isinstance(delta, UnknownDelta) or isinstance(start, UnknownBlock):
            return self._keep_delta(event, delta, block)
        growth = start.grows_by.get(type(delta))
        if growth is None:
            kept = self._keep_delta(event, delta, block)
            self.tell(Oddity.UNFITTING_DELTA)
            return kept
        says: tuple[object, ...]  # what the helper event says
        if type(growth) is Append:
            piece: str = getattr(delta, growth.piece)
            half = block.half
            if piece and (half or is_half(piece[0]) or is_half(piece[-1])):
                # The first half of a surrogate pair waits for the next delta, or for the end of the block.
                piece, half = join_halves(half + piece)
                delta = msgspec.structs.replace(delta, **{growth.piece: piece})
                event = msgspec.structs.replace(event, delta=delta)
            self._grow(utf8_length(piece) + extra_size(delta))
            if half != block.half:
                block.half = half
                block.takes = None if half else type(delta)
            if piece:
                self._append_piece(piece, block, type(delta))
            says = (piece, block.pieces, len(block.pieces))
        elif type(growth) is Collect:
            self._grow(size_of(delta) + extra_size(delta))
            if block.collected is None:
                block.collected = []
            item = getattr(delta, growth.item)
            block.collected.append(item)
            says = (item, block.collected, len(block.collected))
        else:
            self._grow(size_of(delta) + extra_size(delta))
            block.changes = {**(block.changes or {}), **set_fields(delta)}
            says = tuple(getattr(delta, name) for name in delta.__struct_fields__ if name != "extra")
        if delta.extra:
            block.extra = block.extra or {}
            block.extra.update(delta.extra)
        block.built = self._snapshot = None
        helper = HELPER_EVENTS.get(type(delta))
        return (event,) if helper is None else (event, helper(*says))

    def _keep_delta(
        self, event: ContentBlockDeltaEvent, delta: Delta, block: BlockState
    ) -> tuple[MessageStreamEvent, ...]:
        """Keep a delta beside its block, which it cannot be joined with."""
        halves = without_halves(delta)
        if halves is not delta:
            delta = halves
            event = msgspec.structs.replace(event, delta=delta)
        self._grow(size_of(delta))
        if block.deltas is None:
            block.deltas = []
        block.deltas.append(delta)
        block.built = self._snapshot = None
        return (event,)

    def _append_piece(self, piece: str, block: BlockState, kind: type[Value]) -> None:
        block.pieces.append(piece)
        if kind is TextDelta:
            self.text_parts.append(piece)
        elif kind is ThinkingDelta:
            self.thinking_parts.append(piece)

    def _stop_block(self, event: RawContentBlockStopEvent) -> tuple[MessageStreamEvent, ...]:
        index = event.index
        block = self._by_index.get(index)
        if block is None or block.closed:
            self.tell(Oddity.STRAY_BLOCK_STOP)
            return ()
        self._close(block)
        built = block.build()
        block.pieces = Pieces()  # the block has them joined now; events that were delivered still share the old list
        return (ContentBlockStopEvent(index, built, extra=event.extra),)

    def _close(self, block: BlockState) -> None:
        self._end_half(block)
        block.closed = True
        block.built = self._snapshot = None

    def _end_half(self, block: BlockState) -> None:
        """There will be no second half."""
        if block.half:
            block.half = ""
            grows_by = cast("Block", block.start).grows_by
            kinds = [kind for kind, growth in grows_by.items() if type(growth) is Append]
            self._append_piece("\ufffd", block, kinds[0])
            block.built = self._snapshot = None

    def _change_message(self, message: Message, event: MessageDeltaEvent) -> tuple[MessageStreamEvent, ...]:
        # What the event does not have stays as it was.
        changes = set_fields(event.delta)
        if event.context_management is not None:
            changes["context_management"] = event.context_management
        if event.input_transformations is not None:
            changes["input_transformations"] = event.input_transformations
        usage = event.usage
        if event.extra or event.delta.extra or usage.extra:
            self._grow(extra_size(event) + extra_size(event.delta) + extra_size(usage))
        if event.extra:
            self._keep_extra(event.extra)
        if event.delta.extra:
            self._keep_extra(event.delta.extra)
        if usage.extra:
            # Beside the usage until it is looked at: adding them to it each time would take quadratic time.
            self._usage_extra = self._usage_extra or {}
            self._usage_extra.update(usage.extra)
            usage = msgspec.structs.replace(usage, extra=NO_FIELDS)
        self._message = msgspec.structs.replace(message, usage=message.usage.updated(usage), **changes)
        self._snapshot = None
        return (event,)

    def _keep_extra(self, extra: Mapping[str, Any]) -> None:
        """Keep the unknown fields of an event as fields of the message."""
        self._extra = self._extra or {}
        self._extra.update(extra)
        self._snapshot = None

    def _stop_message(self) -> MessageStopEvent:
        for block in self._blocks:
            self._end_half(block)
        self.complete = True
        final = self.snapshot()
        assert final is not None
        self._blocks = []  # nothing changes any more, and the snapshot has all blocks
        self._by_index = {}
        return MessageStopEvent(final)

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
        if index in self._by_index:
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


def _unexpected(event: RawMessageStreamEvent, reason: str) -> InvalidResponseError:
    return InvalidResponseError(f"unexpected {event_name(event.type)} event: {reason}")
