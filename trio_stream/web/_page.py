"""A page, as an encoder for parts sees it: what can be told it, and what has been.

What belongs here: the things that a protocol of parts has to say, one method each, and the frames that say them. What
does not: when each of them is said (`_parts`), and how (`_ai_sdk`, `_ag_ui`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

from trio_stream.types import Citation, ContentBlock, Message, UnknownEvent, Usage

from ._calls import Call
from ._failure import Failure
from ._frames import frame
from ._plain_json import plain_json


@final
class TextPart:
    """A text block whose end has not come."""

    __slots__ = ("citations", "id")

    id: str
    citations: list[Citation]

    def __init__(self, id: str) -> None:  # noqa: A002 - the name of the field
        self.id = id
        self.citations = []


@final
class ReasoningPart:
    """A thinking block whose end has not come."""

    __slots__ = ("id", "signature")

    id: str
    signature: str

    def __init__(self, id: str) -> None:  # noqa: A002 - the name of the field
        self.id = id
        self.signature = ""


@final
class OtherPart:
    """A block that is shown when it is whole, if at all."""

    __slots__ = ()


Part: TypeAlias = TextPart | ReasoningPart | OtherPart | Call


@final
class Reply:
    """A message of the model, which is one of several in the answer of a run.

    Attributes:
      id: The identifier of the message, or one that stands for it; no other reply of the answer has it.
      blocks: How many blocks have begun.
    """

    __slots__ = ("blocks", "complete", "fell_back", "id", "model", "stop_reason", "usage")

    id: str
    blocks: int
    complete: bool
    fell_back: bool
    model: str
    stop_reason: str | None
    usage: Usage

    def __init__(self, id: str, message: Message) -> None:  # noqa: A002 - the name of the field
        self.id = id
        self.blocks = 0
        self.complete = False
        self.fell_back = False
        self.model = message.model
        self.stop_reason = None
        self.usage = message.usage


class Page(abc.ABC):
    """What is told a page, and what it knows.

    What there is in common, for those who implement a protocol:

    * ``_wrap``: what `_send` does to each event first; an encoder for a run within a call makes them events of the
      outer one.
    * ``_replies``: the replies of the model, the current one last.
    * ``_parts``: how many blocks have begun, in all replies.
    * ``_taken``: the identifiers that the page knows.
    """

    _wrap: Callable[[dict[str, Any]], dict[str, Any]]
    _replies: list[Reply]
    _parts: int
    _taken: set[str]

    def __init__(self) -> None:
        self._wrap = lambda event: event
        self._replies = []
        self._parts = 0
        self._taken = set()
        self._frames: list[bytes] = []

    @final
    def _send(self, event: dict[str, Any]) -> None:
        """Send an event of the protocol."""
        self._send_frame(frame("", plain_json(self._wrap(event))))

    @final
    def _send_frame(self, data: bytes) -> None:
        """Send a frame as it is."""
        self._frames.append(data)

    @final
    def _flush(self) -> list[bytes]:
        """The frames that have not been returned yet."""
        frames, self._frames = self._frames, []
        return frames

    @final
    def _unique(self, wanted: str) -> str:
        """An identifier that the page does not know yet: the one that is wanted, if that is free."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}~{number}"
        self._taken.add(name)
        return name

    @final
    def _usage_by_model(self) -> dict[str, Usage]:
        """What the replies have cost, those included that were void."""
        sums: dict[str, Usage] = {}
        for reply in self._replies:
            sums[reply.model] = sums.get(reply.model, Usage()) + reply.usage
        return sums

    @abc.abstractmethod
    def _part_id(self) -> str:
        """The identifier of a text or reasoning part that begins now."""

    @abc.abstractmethod
    def _reply_starts(self, reply: Reply) -> None:
        """The model begins to answer."""

    @abc.abstractmethod
    def _reply_stops(self) -> None:
        """The model has answered."""

    @abc.abstractmethod
    def _turn_starts(self, turn: int) -> None:
        """A turn of a run begins."""

    @abc.abstractmethod
    def _turn_stops(self) -> None:
        """A turn of a run has ended."""

    @abc.abstractmethod
    def _turn_restarts(self) -> None:
        """What the reply has said is void: it failed, and another one comes in its place."""

    @abc.abstractmethod
    def _text_starts(self, part: TextPart) -> None:
        """A text part begins."""

    @abc.abstractmethod
    def _text_grows(self, part: TextPart, text: str) -> None:
        """A text part has more text."""

    @abc.abstractmethod
    def _text_is_cited(self, part: TextPart, citation: Citation) -> None:
        """A text part has another citation."""

    @abc.abstractmethod
    def _text_ends(self, part: TextPart) -> None:
        """A text part is complete, or as complete as it will be."""

    @abc.abstractmethod
    def _reasoning_starts(self, part: ReasoningPart, redacted: str | None) -> None:
        """A reasoning part begins; ``redacted``: it is nothing but this, which is encrypted."""

    @abc.abstractmethod
    def _reasoning_grows(self, part: ReasoningPart, text: str) -> None:
        """A reasoning part has more text."""

    @abc.abstractmethod
    def _reasoning_ends(self, part: ReasoningPart) -> None:
        """A reasoning part is complete, or as complete as it will be. Then it has no signature."""

    @abc.abstractmethod
    def _call_starts(self, call: Call, server: str | None) -> None:
        """The model begins a call; ``server``: the name of the MCP server on which the API makes it."""

    @abc.abstractmethod
    def _call_grows(self, call: Call, piece: str) -> None:
        """A call has more input."""

    @abc.abstractmethod
    def _call_is_whole(self, call: Call, given: Mapping[str, Any]) -> None:
        """A call is whole; its input is ``given``. Whoever has the tool may run it now."""

    @abc.abstractmethod
    def _call_fails(self, call: Call, why: str) -> None:
        """A call will never run: it was cut, or its input is of no use."""

    @abc.abstractmethod
    def _call_is_asked(self, call: Call, given: Mapping[str, Any]) -> None:
        """Somebody is asked to allow a call."""

    @abc.abstractmethod
    def _call_is_allowed(self, call: Call) -> None:
        """Somebody has allowed a call."""

    @abc.abstractmethod
    def _call_progresses(self, call: Call, progress: object) -> None:
        """A tool tells how far it is."""

    @abc.abstractmethod
    def _call_has_result(self, call: Call, result: object, error: str | None) -> None:
        """A call has its result; ``error``: what went wrong, if that is the result."""

    @abc.abstractmethod
    def _other_block(self, block: ContentBlock) -> None:
        """A block has come for which there is no part."""

    @abc.abstractmethod
    def _unknown_event(self, event: UnknownEvent) -> None:
        """The API has sent an event that this version does not know."""

    @abc.abstractmethod
    def _user_said(self, text: str) -> None:
        """What was said during a run goes to the model."""

    @abc.abstractmethod
    def _own_data(self, kind: str, fields: dict[str, Any]) -> None:
        """The program says something of its own."""

    @abc.abstractmethod
    def _finished(self) -> None:
        """The answer has ended, and nothing is open."""

    @abc.abstractmethod
    def _failed(self, failure: Failure) -> None:
        """The answer has failed."""

    @abc.abstractmethod
    def _aborted(self, reason: str) -> None:
        """The answer was stopped."""
