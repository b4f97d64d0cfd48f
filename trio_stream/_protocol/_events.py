"""The events of a stream: those of the wire, and the helper events that are made of them.

What belongs here: what each event says, and reading it from its JSON object. What does not: which bytes are an event
(`_decode`), and making the helper events (`_accumulator`).

Two events of the wire have less than those that a `MessageStream` delivers in their place, and are named ``Raw...``:
``content_block_stop``, to which the stream adds the block, and ``message_stop``, to which it adds the message.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, cast, final

import msgspec

from trio_stream._errors import InvalidToolInputError, OutputParseError
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
from trio_stream._protocol._error_words import find_sentence
from trio_stream._protocol._json import JSON_ERRORS
from trio_stream._protocol._message import (
    Container,
    ContextManagement,
    InputTransformation,
    Message,
    StopDetails,
)
from trio_stream._protocol._partial_json import Pieces
from trio_stream._protocol._stop_reason import MessageStopReason
from trio_stream._protocol._usage import MessageDeltaUsage
from trio_stream._protocol._values import Extended, ExtendedT, Tagged, Unknown, Value

Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""The zero-based position of a block in its message."""

_LONGEST_SENTENCE: Final = 500
"""Characters of an error that is not JSON which are taken for its sentence."""

_BODY: Final = "(body)"

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
        message = Message.from_wire(_object(raw, "message"))
        extra = {name: value for name, value in raw.items() if name not in ("type", "message")}
        return cls(message, extra=extra) if extra else cls(message)


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
class MessageDelta(Extended, frozen=True, kw_only=True):
    """The fields of a message that are known only at its end."""

    strict_fields: ClassVar[frozenset[str]] = frozenset({"stop_reason"})
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
class ErrorObject(Extended, frozen=True, kw_only=True):
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
    """The API, or whatever stands between, reported an error within the stream.

    Attributes:
      error: What it says, in whichever dialect.
      request_id: The request id in it, or None.
      body: The whole of it as it came: decoded JSON, or text if it is not JSON; None if there was nothing.
    """

    type: ClassVar[Literal["error"]] = "error"
    error: ErrorObject
    request_id: str | None = None
    body: Any = msgspec.field(default=None, name=_BODY)

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this event from whatever an ``error`` event holds. It never fails: an error must not be lost."""
        inner = _dict(raw.get("error"))
        fields = raw if inner is None else inner
        error = ErrorObject(
            type=tag if (tag := _text(fields, "type")) != "error" else None,
            message=find_sentence(raw.get("error")) or find_sentence(raw) or "",
            details=_dict(fields.get("details")),
        )
        # What is read stands in the fields, everything else in `extra`, at the place where it came.
        request_id = _text(raw, "request_id")
        extra = {name: value for name, value in raw.items() if name not in ("type", "error")}
        if request_id is not None:
            del extra["request_id"]
        if inner is not None:
            read = {name for name, value in error.to_dict().items() if inner.get(name) == value}
            error = _extended(error, {name: value for name, value in inner.items() if name not in read})
        elif raw.get("error") not in (None, error.message):
            extra["error"] = raw["error"]
        return _extended(cls(error=error, request_id=request_id, body=dict(raw)), extra)

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Make this event of something that is not a JSON object."""
        return cls(error=ErrorObject(message=text[:_LONGEST_SENTENCE]), body=text or None)

    def fields_as_json(self, *, param: bool) -> dict[str, Any]:
        """The fields of the API; `body` has them a second time."""
        out = super().fields_as_json(param=param)
        out.pop(_BODY, None)
        return out


@final
class UnknownEvent(Unknown, frozen=True, kw_only=True, tag="(unknown)"):
    """An event that this version does not know, with what came in it.

    ``type`` is that of its JSON, or the name of the event where its JSON has none.

    Attributes:
      raw: Its data, if that is a JSON object; else empty.
      name: The name in its ``event:`` line, if its JSON has no ``type``.
      data: Its data as text, if that is not a JSON object.
    """

    name: str = ""
    data: str | None = None

    if not TYPE_CHECKING:

        @property
        def type(self) -> str:
            tag = self.raw.get("type")
            return tag if isinstance(tag, str) else self.name

    @property
    def ends_stream(self) -> bool:
        """Whether it is ``[DONE]``, with which other APIs end a stream."""
        return self.data is not None and self.data.strip().strip('"') == "[DONE]"

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """The JSON object as it came, if it is one."""
        out = super().as_json(param=param)
        if self.data is not None:
            return {"type": self.name, "data": self.data}
        return out if "type" in out else {"type": self.name, **out}


class _HelperEvent(Value, frozen=True, tag_field="type", tag="(abstract)"):
    """The base of the events that are not on the wire: each is made of a delta, and easier to use."""


@final
class TextEvent(_HelperEvent, frozen=True, gc=False, tag="text"):
    """Text has been added to a text block.

    Attributes:
      text: The text that was added.
    """

    type: ClassVar[Literal["text"]] = "text"
    made_of: ClassVar[_DeltaClass] = TextDelta
    text: str
    _pieces: Pieces  # of the whole block, shared with it: an event keeps no copy
    _count: int  # the number of pieces at this event

    @property
    def snapshot(self) -> str:
        """The text of the block as of this event; joined when it is read."""
        return "".join(self._pieces[: self._count])

    def parsed_snapshot(self) -> object:
        """The JSON value of the text of the block as of this event: of an answer that was asked for with ``output=``.

        Open arrays, objects and strings are closed where the text ends; an empty object while there is no value yet.
        Only what is new since the last look is read, so looking at each event is fine. The value is correct for this
        event, and what is closed within it is shared with later looks: read it, and do not change it.

        Raises:
          OutputParseError: the text is not the beginning of JSON.
        """
        try:
            return self._pieces.value(self._count, trailing_strings=True)
        except JSON_ERRORS as error:
            raise OutputParseError(
                f"the text so far is not the beginning of valid JSON: {error}", text=self.snapshot
            ) from error

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "text", "text": self.text, "snapshot": self.snapshot}


@final
class ThinkingEvent(_HelperEvent, frozen=True, gc=False, tag="thinking"):
    """Text has been added to a thinking block.

    Attributes:
      thinking: The thinking that was added.
    """

    type: ClassVar[Literal["thinking"]] = "thinking"
    made_of: ClassVar[_DeltaClass] = ThinkingDelta
    thinking: str
    _pieces: Pieces
    _count: int

    @property
    def snapshot(self) -> str:
        """The thinking of the block as of this event; joined when it is read."""
        return "".join(self._pieces[: self._count])

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "thinking", "thinking": self.thinking, "snapshot": self.snapshot}


@final
class InputJsonEvent(_HelperEvent, frozen=True, gc=False, tag="input_json"):
    """JSON text has been added to the input of a tool call.

    Attributes:
      partial_json: The JSON text that was added.
    """

    type: ClassVar[Literal["input_json"]] = "input_json"
    made_of: ClassVar[_DeltaClass] = InputJSONDelta
    partial_json: str
    _pieces: Pieces
    _count: int

    @property
    def snapshot(self) -> object:
        """The input of the tool as of this event; read when it is looked at.

        Only what is new since the last look is read, so looking at each event is fine. The value is correct for this
        event, and what is closed within it is shared with later looks: read it, and do not change it.

        Raises:
          InvalidToolInputError: what has arrived cannot be the beginning of JSON.
        """
        try:
            return self._pieces.value(self._count)
        except JSON_ERRORS as error:
            raise InvalidToolInputError(
                "the tool input so far is not the beginning of valid JSON",
                input_json="".join(self._pieces[: self._count]),
                incomplete=True,
            ) from error

    def as_json(self, *, param: bool) -> dict[str, Any]:  # noqa: ARG002
        """This event as JSON-able data."""
        return {"type": "input_json", "partial_json": self.partial_json, "snapshot": self.snapshot}


@final
class CitationEvent(_HelperEvent, frozen=True, tag="citation"):
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
class SignatureEvent(_HelperEvent, frozen=True, gc=False, tag="signature"):
    """A block has been signed."""

    type: ClassVar[Literal["signature"]] = "signature"
    made_of: ClassVar[_DeltaClass] = SignatureDelta
    signature: str


@final
class CompactionEvent(_HelperEvent, frozen=True, gc=False, tag="compaction"):
    """The summary of a compaction block has arrived. Beta."""

    type: ClassVar[Literal["compaction"]] = "compaction"
    made_of: ClassVar[_DeltaClass] = CompactionDelta
    content: str | None = None
    encrypted_content: str | None = None


def _extended(value: ExtendedT, extra: Mapping[str, Any]) -> ExtendedT:
    return msgspec.structs.replace(value, extra=extra) if extra else value


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object` - at `$.{name}`")
    return cast("dict[str, Any]", value)


def _dict(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


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

HELPER_EVENTS: Final[Mapping[type[Value], Callable[..., MessageStreamEvent]]] = {
    event.made_of: event for event in typing.get_args(MessageStreamEvent) if hasattr(event, "made_of")
}
"""The helper event that follows each kind of delta. A delta without one is followed by none."""
