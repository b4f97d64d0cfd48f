"""The encoder for the UI message stream, version 1, of Vercel's AI SDK: what ``useChat`` reads.

What belongs here: which chunks of that protocol say what. What does not: what the events of a message mean (`_parts`).

The protocol is in the SDK's documentation ("Stream Protocols"); what its reader does with each chunk is in
``process-ui-message-stream.ts`` of the package ``ai``. It ends the stream with an error where a chunk refers to a part
that has not begun, so each ``-delta``, ``-end`` and ``tool-output-...`` follows a ``-start`` here whatever the model
sends. A stream that just ends is complete to it, so only `_finished`, `_failed` and `_aborted` send the last chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from trio_stream._protocol import UnknownObject
from trio_stream.agent import ApprovalEvent, NestedEvent, ToolStartEvent, ToolStopEvent
from trio_stream.types import (
    Citation,
    CitationPageLocation,
    CitationsSearchResultLocation,
    CitationsWebSearchResultLocation,
    ContentBlock,
    UnknownEvent,
    Usage,
)

from ._calls import Call
from ._encoder import Frames
from ._event_json import event_json
from ._failure import Failure
from ._frames import EVENT_STREAM, frame
from ._page import ReasoningPart, Reply, TextPart
from ._parts import PartsEncoder

_HEADERS: Final = {"content-type": EVENT_STREAM, "x-vercel-ai-ui-message-stream": "v1"}
_DONE: Final = frame("", b"[DONE]")

_FINISH_REASONS: Final[Mapping[str | None, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}
"""The reasons of the protocol for the stop reasons of the API. Any other is ``other``."""

_PROVIDER: Final = "anthropic"
"""The key of what only this API has, as the SDK's own provider for it spells it."""


@final
class AISDK(PartsEncoder):
    """Encodes an answer for ``useChat`` and everything else that reads UI messages of Vercel's AI SDK, version 5 to 7.

    Text, reasoning and calls become the parts of one message of the assistant; each reply of the model is a step.
    Tools are ``dynamic``; those that the API runs are ``providerExecuted``. Pages of citations are ``source-url`` or
    ``source-document`` parts, each once. A block for which the SDK has no part is a ``custom`` part of the kind
    ``anthropic.TYPE``. ``finish`` carries ``messageMetadata`` with ``usage`` (the SDK's names and sums), ``model`` and
    ``stopReason``.

    What the program says itself is a ``data-...`` part: ``{"type": "data-weather", "id": "1", "data": ...}`` goes out
    as it is, and what has another ``type`` becomes the ``data`` of ``data-TYPE``.

    Args:
      message_id: The identifier that the page gives the message. By default it is that of the model's first reply.
    """

    def __init__(self, message_id: str | None = None) -> None:
        super().__init__()
        self._message_id = message_id
        self._begun = False
        self._step_is_open = False
        self._restarted = False  # the open step waits for another reply in place of its own
        self._said = 0
        self._sources: set[tuple[str, str]] = set()

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Encoder.headers`."""
        return _HEADERS

    def start(self) -> Frames:
        """As `Encoder.start`. The first chunk names the message, so it waits until the name is known."""
        if self._message_id is not None:
            self._begin(self._message_id)
        return self._flush()

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """As `Encoder.refusal`: a sentence, because ``useChat`` takes the body for the text of its error."""
        return "text/plain; charset=utf-8", failure.message.encode("utf-8", "replace")

    def renew(self) -> AISDK:
        """As `Encoder.renew`."""
        return AISDK(self._message_id)

    # Steps.

    def _begin(self, message_id: str | None = None) -> None:
        """The first chunk. A second one of another message would make a page drop what it has."""
        if not self._begun:
            self._begun = True
            self._send({"type": "start"} if message_id is None else {"type": "start", "messageId": message_id})

    def _end_step(self) -> None:
        if self._step_is_open:
            self._step_is_open = False
            self._send({"type": "finish-step"})

    def _reply_starts(self, reply: Reply) -> None:
        """A step is a reply and the results of its calls."""
        self._begin(reply.id)
        if self._restarted:
            self._restarted = False
            return
        self._end_step()
        self._step_is_open = True
        self._send({"type": "start-step"})

    def _reply_stops(self) -> None:
        """The step goes on with the results of the calls."""

    def _turn_starts(self, turn: int) -> None:
        """Its reply says it."""

    def _turn_stops(self) -> None:
        """The step has ended."""
        self._end_step()

    def _turn_restarts(self) -> None:
        """Everything since the beginning of the step goes. Without an open step that would be the one before."""
        if self._step_is_open and not self._restarted:
            self._restarted = True
            self._send({"type": "reset-step"})
            self._sources.clear()

    # Text and reasoning.

    def _part_id(self) -> str:
        """Parts are counted."""
        return str(self._parts)

    def _text_starts(self, part: TextPart) -> None:
        """``text-start``."""
        self._send({"type": "text-start", "id": part.id})

    def _text_grows(self, part: TextPart, text: str) -> None:
        """``text-delta``."""
        self._send({"type": "text-delta", "id": part.id, "delta": text})

    def _text_is_cited(self, part: TextPart, citation: Citation) -> None:  # noqa: ARG002 - a source is one of the message
        """``source-url`` or ``source-document``, for each source once."""
        source = _source(citation)
        if source is None:
            return
        kind, id_ = source.pop("sourceType"), source.pop("id")
        if (kind, id_) not in self._sources:
            self._sources.add((kind, id_))
            self._send({"type": f"source-{kind}", "sourceId": id_, **source})

    def _text_ends(self, part: TextPart) -> None:
        """``text-end``, with all citations of the text."""
        chunk: dict[str, Any] = {"type": "text-end", "id": part.id}
        cited = [
            {"source": {"type": "source", **source}, "citedText": str(getattr(citation, "cited_text", ""))}
            for citation in part.citations
            if (source := _source(citation)) is not None
        ]
        if cited:
            chunk["citations"] = cited
        self._send(chunk)

    def _reasoning_starts(self, part: ReasoningPart, redacted: str | None) -> None:
        """``reasoning-start``."""
        chunk: dict[str, Any] = {"type": "reasoning-start", "id": part.id}
        if redacted is not None:
            chunk["providerMetadata"] = {_PROVIDER: {"redactedData": redacted}}
        self._send(chunk)

    def _reasoning_grows(self, part: ReasoningPart, text: str) -> None:
        """``reasoning-delta``."""
        self._send({"type": "reasoning-delta", "id": part.id, "delta": text})

    def _reasoning_ends(self, part: ReasoningPart) -> None:
        """``reasoning-end``, with the signature."""
        chunk: dict[str, Any] = {"type": "reasoning-end", "id": part.id}
        if part.signature:
            chunk["providerMetadata"] = {_PROVIDER: {"signature": part.signature}}
        self._send(chunk)

    # Calls.

    def _send_call(self, kind: str, call: Call, **fields: Any) -> None:
        chunk: dict[str, Any] = {"type": kind, "toolCallId": call.id, "toolName": call.name, **fields, "dynamic": True}
        if call.by_api:
            chunk["providerExecuted"] = True
        self._begin()
        self._send(chunk)

    def _call_starts(self, call: Call, server: str | None) -> None:
        """``tool-input-start``."""
        metadata = {"type": "mcp-tool-use", "serverName": server}
        self._send_call(
            "tool-input-start", call, **({} if server is None else {"providerMetadata": {_PROVIDER: metadata}})
        )

    def _call_grows(self, call: Call, piece: str) -> None:
        """``tool-input-delta``."""
        self._send({"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": piece})

    def _call_is_whole(self, call: Call, given: Mapping[str, Any]) -> None:
        """``tool-input-available``, which makes a page run its tools."""
        self._send_call("tool-input-available", call, input=given)

    def _call_fails(self, call: Call, why: str) -> None:
        """``tool-input-error``."""
        given = call.input()
        self._send_call("tool-input-error", call, input=call.input_text if given is None else given, errorText=why)

    def _call_is_asked(self, call: Call, given: Mapping[str, Any]) -> None:  # noqa: ARG002 - the page knows it
        """``tool-approval-request``. Whoever answers it names the call."""
        self._send({"type": "tool-approval-request", "approvalId": call.id, "toolCallId": call.id})

    def _call_is_allowed(self, call: Call) -> None:
        """``tool-approval-response``, for pages that come later."""
        self._send({"type": "tool-approval-response", "approvalId": call.id, "approved": True})

    def _call_progresses(self, call: Call, progress: object) -> None:
        """``tool-output-available`` that is ``preliminary``."""
        told = {"output": progress, "dynamic": True, "preliminary": True}
        self._send({"type": "tool-output-available", "toolCallId": call.id, **told})

    def _call_has_result(self, call: Call, result: object, error: str | None) -> None:
        """``tool-output-available`` or ``tool-output-error``; ``tool-output-denied`` if nobody allowed the call."""
        if error is not None and call.asked:
            response = {"type": "tool-approval-response", "approvalId": call.id, "approved": False, "reason": error}
            self._send(response)
            self._send({"type": "tool-output-denied", "toolCallId": call.id})
            return
        chunk: dict[str, Any] = {"toolCallId": call.id, "dynamic": True}
        if call.by_api:
            chunk["providerExecuted"] = True
        if error is None:
            self._send({"type": "tool-output-available", **chunk, "output": result})
        else:
            self._send({"type": "tool-output-error", **chunk, "errorText": error})

    # Everything else.

    def _other_block(self, block: ContentBlock) -> None:
        """``custom``, with the JSON of the block."""
        fields = block.to_dict()
        metadata = {_PROVIDER: fields}
        self._send({"type": "custom", "kind": f"{_PROVIDER}.{fields.get('type')}", "providerMetadata": metadata})

    def _unknown_event(self, event: UnknownEvent) -> None:
        """A part that pages may look at, and that is not kept in the message."""
        self._begin()
        self._send({"type": f"data-{_PROVIDER}", "data": event_json(event), "transient": True})

    def _user_said(self, text: str) -> None:
        """``steering-message``."""
        self._said += 1
        parts = [{"type": "text", "text": text}]
        self._begin()
        self._send({"type": "steering-message", "id": f"steer-{self._said}", "parts": parts})

    def _take_nested(self, event: NestedEvent) -> None:
        """What concerns approvals becomes part of this message; the rest goes out as transient ``data-nested``."""
        inner = event.event
        while isinstance(inner, NestedEvent):
            inner = inner.event
        settles = isinstance(inner, ToolStartEvent | ToolStopEvent) and self._knows(inner.id)
        if settles or isinstance(inner, ApprovalEvent):
            self._take(inner)
        else:
            super()._take_nested(event)

    def _nest(self, call: Call) -> AISDK:
        """The chunks of a run within a call, for pages that show it."""
        inner = AISDK()

        def wrapped(chunk: dict[str, Any]) -> dict[str, Any]:
            nested = {"toolCallId": call.id, "chunk": chunk}
            return self._wrap({"type": "data-nested", "data": nested, "transient": True})

        inner._wrap = wrapped
        return inner

    def _nested_stops(self, call: Call, error: str | None) -> None:
        """Its result says it."""

    def _own_data(self, kind: str, fields: dict[str, Any]) -> None:
        """A ``data-...`` part: as it is, or made of what is said."""
        self._begin()
        self._send({"type": kind, **fields} if kind.startswith("data-") else {"type": f"data-{kind}", "data": fields})

    def _finished(self) -> None:
        """``finish``."""
        reason = self._replies[-1].stop_reason if self._replies else "end_turn"
        self._finish(_FINISH_REASONS.get(reason, "other"))

    def _failed(self, failure: Failure) -> None:
        """``error``, at which ``useChat`` ends with its error; other readers go on to ``finish``."""
        self._begin()
        if self._replies:  # what `finish` says would come too late
            self._send({"type": "message-metadata", "messageMetadata": self._metadata()})
        self._send({"type": "error", "errorText": failure.message})
        self._finish("error")

    def _aborted(self, reason: str) -> None:
        """``abort``, and the finish reason that makes ``useChat`` not go on by itself."""
        self._begin()
        self._send({"type": "abort", "reason": reason})
        self._finish("interrupted")

    def _finish(self, reason: str) -> None:
        self._begin()
        self._end_step()
        chunk: dict[str, Any] = {"type": "finish", "finishReason": reason}
        if self._replies:
            chunk["messageMetadata"] = self._metadata()
        self._send(chunk)
        self._send_frame(_DONE)

    def _metadata(self) -> dict[str, Any]:
        last = self._replies[-1]
        metadata = {"usage": _usage(sum(self._usage_by_model().values(), Usage())), "model": last.model}
        return metadata if last.stop_reason is None else {**metadata, "stopReason": last.stop_reason}


def _source(citation: Citation) -> dict[str, Any] | None:
    """The source of a citation, in the form that it has in the citations of a text; None if it is not known."""
    if isinstance(citation, UnknownObject):
        return None
    if isinstance(citation, CitationsWebSearchResultLocation):
        return _page(citation.url, citation.title)
    if isinstance(citation, CitationsSearchResultLocation):
        return _page(citation.source, citation.title) or _document(citation.source, citation.title, "text/plain")
    kind = "application/pdf" if isinstance(citation, CitationPageLocation) else "text/plain"
    return _document(f"document {citation.document_index + 1}", citation.document_title, kind)


def _page(url: str, title: str | None) -> dict[str, Any] | None:
    """A page, if its address is one that a browser may open."""
    if not url.lower().startswith(("https://", "http://")):
        return None
    page: dict[str, Any] = {"sourceType": "url", "id": url, "url": url}
    return page if title is None else {**page, "title": title}


def _document(name: str, title: str | None, kind: str) -> dict[str, Any]:
    return {"sourceType": "document", "id": name, "mediaType": kind, "title": title or name}


def _usage(usage: Usage) -> dict[str, Any]:
    """A usage by the names of the SDK, to which ``inputTokens`` are all of them, those from the cache included."""
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    total = usage.input_tokens + read + written
    details: dict[str, Any] = {}
    if usage.output_tokens_details is not None:
        thinking = usage.output_tokens_details.thinking_tokens
        details = {"reasoningTokens": thinking, "textTokens": usage.output_tokens - thinking}
    return {
        "inputTokens": total,
        "inputTokenDetails": {
            "noCacheTokens": usage.input_tokens,
            "cacheReadTokens": read,
            "cacheWriteTokens": written,
        },
        "outputTokens": usage.output_tokens,
        "outputTokenDetails": details,
        "totalTokens": total + usage.output_tokens,
    }
