"""A call of a tool as a page sees it, and what there is to show of its result.

What belongs here: the state of one call, and results as values. What does not: when a call changes its state
(`_parts`), and the frames that tell of it (`_ai_sdk`, `_ag_ui`).

::

    OPEN ── content_block_stop ──▶ CLOSED ── the reply went past it ──▶ WHOLE ── its result ──▶ SETTLED
      │                              │                                    │                        ▲
      └────────── the reply was cut ─┴────────────────────────────────────┴── nobody will answer ──┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast, final

from trio_stream._protocol import JSON_ERRORS, InputBlock, decode_json


class CallState(Enum):
    """How far a call is."""

    OPEN = "its input is arriving"
    CLOSED = "its block has ended, which proves nothing: a reply that is cut closes its last block too"
    WHOLE = "its input is whole, and it has no result"
    SETTLED = "it has its result, or will never run"


@final
class Call:
    """A call of a tool.

    Args:
      id: How the page knows it.
      name: The name of the tool.
      by_api: Whether the API itself runs the tool.

    Attributes:
      waits_for_end: Whether only the end of the reply tells that the call is whole: a program of the model's makes it.
      runs_here: Whether somebody on this side of the page runs it: the API, or a run of an agent.
      asked: Whether somebody is asked to allow it, and has not answered as far as is known.
      state: How far it is.
    """

    __slots__ = ("_pieces", "_start", "asked", "by_api", "id", "name", "runs_here", "state", "waits_for_end")

    id: str
    name: str
    by_api: bool
    waits_for_end: bool
    runs_here: bool
    asked: bool
    state: CallState

    def __init__(self, id: str, name: str, *, by_api: bool = False) -> None:  # noqa: A002 - the name of the field
        self.id = id
        self.name = name
        self.by_api = by_api
        self.waits_for_end = False
        self.runs_here = by_api
        self.asked = False
        self.state = CallState.OPEN
        self._start = ""
        self._pieces: list[str] = []

    @classmethod
    def of_block(cls, id: str, block: InputBlock, *, by_api: bool) -> Call:  # noqa: A002 - the name of the field
        """The call of a block that has just begun."""
        call = cls(id, block.name, by_api=by_api)
        call._start = block.input_json
        return call

    def add(self, piece: str) -> None:
        """A piece of the input has arrived."""
        self._pieces.append(piece)

    @property
    def is_streamed(self) -> bool:
        """Whether the input has come in pieces, and not with the beginning of the block."""
        return bool(self._pieces)

    @property
    def input_text(self) -> str:
        """The input as far as it has come."""
        return "".join(self._pieces) if self._pieces else self._start

    def input(self) -> dict[str, Any] | None:
        """The input, or None if it is not a JSON object."""
        text = self.input_text
        if not text.strip():
            return {}
        try:
            value = decode_json(text.encode())
        except JSON_ERRORS:
            return None
        return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def shown_result(content: object) -> object:
    """A result as a page shows it: the text where it is text alone, or else its JSON.

    Args:
      content: The ``content`` of a block with a result, as JSON-able data.
    """
    text = text_of(content)
    return content if text is None else text


def text_of(content: object) -> str | None:
    """The text of content, if it is nothing but text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return None
    texts: list[str] = []
    for block in cast("Sequence[object]", content):
        if not isinstance(block, Mapping):
            return None
        fields = cast("Mapping[str, object]", block)
        text = fields.get("text")
        if fields.get("type") != "text" or not isinstance(text, str):
            return None
        texts.append(text)
    return "".join(texts)


def error_of(content: object) -> str | None:
    """The error code in the result of a tool of the API's, or None if it is no error.

    Each of these tools has a kind of content of its own for errors: ``web_search_tool_result_error`` and so on.
    """
    if not isinstance(content, Mapping):
        return None
    fields = cast("Mapping[str, object]", content)
    kind, code = fields.get("type"), fields.get("error_code")
    if not isinstance(kind, str) or not kind.endswith("_error"):
        return None
    return code if isinstance(code, str) and code else kind
