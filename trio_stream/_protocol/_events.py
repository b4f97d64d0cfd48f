"""The events of a stream: those of the wire, and the helper events that are made of them.

What belongs here: what each event says, and reading it from its JSON object. What does not: which bytes are an event
(`_decode`), and making the helper events (`_accumulator`).

Two events of the wire have less than those that a `MessageStream` delivers in their place, and are named ``Raw...``:
``content_block_stop``, to which the stream adds the block, and ``message_stop``, to which it adds the message.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, cast, final

import msgspec

from trio_stream._protocol._blocks import ContentBlock
from trio_stream._protocol._citations import Citation
from trio_stream._protocol._deltas import (
    CitationsDelta,
    CompactionDelta,
    Delta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from trio_stream._protocol._message import (
    Container,
    ContextManagement,
    InputTransformation,
    Message,
    StopDetails,
)
from trio_stream._protocol._partial_json import parse_partial_json
from trio_stream._protocol._stop_reason import MessageStopReason
from trio_stream._protocol._usage import MessageDeltaUsage
from trio_stream._protocol._values import Tagged, Unknown, Value

Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""The zero-based position of a block in its message."""

_DeltaClass: TypeAlias = type[Delta]
"""A class of deltas."""

# Most events hold no reference cycles, so the garbage collector may ignore them.


@final
class MessageStartEvent(Tagged, frozen=True, tag="message_start"):
    """The message has started. Its content is empty, and its usage is preliminary."""

    type: ClassVar[Literal["message_start"]] = "message_start"
    message: Message

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this event from a JSON object. Its ``message`` is taken for one, whether or not it has a ``type``.

        Raises:
          msgspec.ValidationError: a field has the wrong JSON type.
        """
        return cls(Message.from_wire(_object(raw, "message")))


@final
class ContentBlockStartEvent(Tagged, frozen=True, tag="content_block_start"):
    """A block has started. A block that gets no deltas is already whole here."""

    type: ClassVar[Literal["content_block_start"]] = "content_block_start"
    index: Index
    content_block: ContentBlock


@final
class ContentBlockDeltaEvent(Tagged, frozen=True, gc=False, tag="content_block_delta"):
    """A delta has arrived for a block."""

    type: ClassVar[Literal["content_block_delta"]] = "content_block_delta"
    index: Index
    delta: Delta


@final
class RawContentBlockStopEvent(Tagged, frozen=True, gc=False, tag="content_block_stop"):
    """A block is complete."""

    type: ClassVar[Literal["content_block_stop"]] = "content_block_stop"
    index: Index


@final
class ContentBlockStopEvent(Tagged, frozen=True, tag="content_block_stop"):
    """A block is complete, and is here as a whole."""

    type: ClassVar[Literal["content_block_stop"]] = "content_block_stop"
    index: Index
    content_block: ContentBlock


@final
class MessageDelta(Value, frozen=True, kw_only=True):
    """The fields of a message that are known only at its end."""

    container: Container | None = None
    stop_details: StopDetails | None = None
    stop_reason: MessageStopReason | None = None
    stop_sequence: str | None = None


@final
class MessageDeltaEvent(Tagged, frozen=True, kw_only=True, tag="message_delta"):
    """The fields of a message that are known only at its end, its stop reason and its usage first of all."""

    type: ClassVar[Literal["message_delta"]] = "message_delta"
    delta: MessageDelta
    usage: MessageDeltaUsage = msgspec.field(default_factory=MessageDeltaUsage)
    context_management: ContextManagement | None = None
    input_transformations: tuple[InputTransformation, ...] | None = None


@final
class RawMessageStopEvent(Tagged, frozen=True, gc=False, tag="message_stop"):
    """The message is complete."""

    type: ClassVar[Literal["message_stop"]] = "message_stop"


@final
class MessageStopEvent(Tagged, frozen=True, tag="message_stop"):
    """The message is complete, and is here as a whole."""

    type: ClassVar[Literal["message_stop"]] = "message_stop"
    message: Message


@final
class PingEvent(Tagged, frozen=True, gc=False, tag="ping"):
    """A sign that the connection is alive."""

    type: ClassVar[Literal["ping"]] = "ping"


@final
class ErrorObject(Value, frozen=True, kw_only=True):
    """The API's description of an error.

    Attributes:
      type: The kind of error, for example ``"overloaded_error"``; None if the API did not say.
      message: The sentence of the API.
      details: More about some errors; ``error_code`` in it is a stable name of the cause.
    """

    type: str | None = None
    message: str = ""
    details: dict[str, Any] | None = None


@final
class ErrorEvent(Tagged, frozen=True, kw_only=True, tag="error"):
    """The API reported an error within the stream."""

    type: ClassVar[Literal["error"]] = "error"
    error: ErrorObject
    request_id: str | None = None

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this event from whatever an ``error`` event holds. It never fails: an error must not be lost."""
        held = raw.get("error", raw)
        if not isinstance(held, dict):
            error = ErrorObject(message=held if isinstance(held, str) else "")
        else:
            fields = cast("dict[str, Any]", held)
            details = fields.get("details")
            error = ErrorObject(
                type=tag if (tag := _text(fields, "type")) != "error" else None,
                message=_text(fields, "message") or "",
                details=cast("dict[str, Any]", details) if isinstance(details, dict) else None,
            )
        return cls(error=error, request_id=_text(raw, "request_id"))


@final
class UnknownEvent(Unknown, frozen=True, kw_only=True, tag="(unknown)"):
    """An event whose ``type`` this version does not know."""


@final
class TextEvent(Tagged, frozen=True, gc=False, tag="text"):
    """Text has been added to a text block.

    Attributes:
      text: The text that was added.
    """

    type: ClassVar[Literal["text"]] = "text"
    made_of: ClassVar[_DeltaClass] = TextDelta
    text: str
    _pieces: list[str]  # of the whole block, shared with it: an event keeps no copy
    _count: int  # the number of pieces at this event

    @property
    def snapshot(self) -> str:
        """The text of the block as of this event; joined when it is read."""
        return "".join(self._pieces[: self._count])

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "text", "text": self.text, "snapshot": self.snapshot}


@final
class ThinkingEvent(Tagged, frozen=True, gc=False, tag="thinking"):
    """Text has been added to a thinking block.

    Attributes:
      thinking: The thinking that was added.
    """

    type: ClassVar[Literal["thinking"]] = "thinking"
    made_of: ClassVar[_DeltaClass] = ThinkingDelta
    thinking: str
    _pieces: list[str]
    _count: int

    @property
    def snapshot(self) -> str:
        """The thinking of the block as of this event; joined when it is read."""
        return "".join(self._pieces[: self._count])

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "thinking", "thinking": self.thinking, "snapshot": self.snapshot}


@final
class InputJsonEvent(Tagged, frozen=True, gc=False, tag="input_json"):
    """JSON text has been added to the input of a tool call.

    Attributes:
      partial_json: The JSON text that was added.
    """

    type: ClassVar[Literal["input_json"]] = "input_json"
    made_of: ClassVar[_DeltaClass] = InputJSONDelta
    partial_json: str
    _pieces: list[str]
    _count: int

    @property
    def snapshot(self) -> object:
        """The input of the tool as of this event; parsed when it is read.

        Raises:
          InvalidToolInputError: what has arrived cannot be the beginning of JSON.
        """
        return parse_partial_json("".join(self._pieces[: self._count]))

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "input_json", "partial_json": self.partial_json, "snapshot": self.snapshot}


@final
class CitationEvent(Tagged, frozen=True, tag="citation"):
    """A citation has been added to a text block.

    Attributes:
      citation: The citation that was added.
    """

    type: ClassVar[Literal["citation"]] = "citation"
    made_of: ClassVar[_DeltaClass] = CitationsDelta
    citation: Citation
    _citations: list[Citation]
    _count: int

    @property
    def snapshot(self) -> tuple[Citation, ...]:
        """All citations of the block as of this event."""
        return tuple(self._citations[: self._count])

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {
            "type": "citation",
            "citation": self.citation.to_dict(),
            "snapshot": [citation.to_dict() for citation in self.snapshot],
        }


@final
class SignatureEvent(Tagged, frozen=True, gc=False, tag="signature"):
    """A block has been signed."""

    type: ClassVar[Literal["signature"]] = "signature"
    made_of: ClassVar[_DeltaClass] = SignatureDelta
    signature: str


@final
class CompactionEvent(Tagged, frozen=True, gc=False, tag="compaction"):
    """The summary of a compaction block has arrived. Beta."""

    type: ClassVar[Literal["compaction"]] = "compaction"
    made_of: ClassVar[_DeltaClass] = CompactionDelta
    content: str | None = None
    encrypted_content: str | None = None


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object` - at `$.{name}`")
    return cast("dict[str, Any]", value)


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None


_LONGEST_NAME = 50


def event_name(given: str) -> str:
    """The name of an event in the form that the text of an error shows: short, without control characters."""
    return "".join(filter(str.isprintable, given[:_LONGEST_NAME])).strip() or "unnamed"


RawMessageStreamEvent: TypeAlias = (
    MessageStartEvent
    | MessageDeltaEvent
    | RawMessageStopEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | RawContentBlockStopEvent
    | PingEvent
    | ErrorEvent
    | UnknownEvent
)
"""Any event of the wire."""

MessageStreamEvent: TypeAlias = (
    MessageStartEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | TextEvent
    | ThinkingEvent
    | InputJsonEvent
    | CitationEvent
    | SignatureEvent
    | CompactionEvent
    | UnknownEvent
)
"""Any event that a `MessageStream` delivers."""

HELPER_EVENTS: Final[Mapping[type[Tagged], Callable[..., MessageStreamEvent]]] = {
    event.made_of: event for event in typing.get_args(MessageStreamEvent) if hasattr(event, "made_of")
}
"""The helper event that follows each kind of delta. A delta without one is followed by none."""
