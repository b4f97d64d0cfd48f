"""The encoder for AG-UI, version 1.0: what ``HttpAgent`` and the libraries on it read.

What belongs here: which events of that protocol say what. What does not: what the events of a message mean (`_parts`).

The rules of order are in ``verify.ts`` of the package ``@ag-ui/client``: what has begun must end before
``RUN_FINISHED``, and nothing may be told of what has not begun. ``RUN_ERROR`` may come at any time. A stream that just
ends is complete to the client, so only `_finished`, `_failed` and `_aborted` send the last event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from trio_stream.types import Citation, ContentBlock, UnknownEvent, Usage

from ._calls import Call
from ._encoder import Frames
from ._event_json import event_json
from ._failure import Failure
from ._page import ReasoningPart, Reply, TextPart
from ._parts import PartsEncoder
from ._plain_json import plain_json

_PROVIDER: Final = "anthropic"

_ANSWER_SCHEMA: Final = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
"""The answer to an interrupt that asks about a call."""


@final
class AGUI(PartsEncoder):
    """Encodes an answer for ``HttpAgent`` and everything else that reads AG-UI 1.0.

    Text that nothing interrupts is one message of the assistant, and the calls after it belong to it. Thinking is a
    reasoning message, with its signature as ``REASONING_ENCRYPTED_VALUE``. Turns of a run are steps, and runs within
    a call are subagents. ``RUN_FINISHED`` names the calls that the page has to run in ``pendingToolCallIds``, and the
    stop reason in its ``metadata``. Citations are ``CUSTOM`` events named ``citation``; blocks and events for which
    AG-UI has no event are ``RAW``. What the program says itself is ``CUSTOM`` under its ``type``.

    A call that waits for approval is announced by ``CUSTOM`` ``approval``. If the answer ends while it waits, the run
    ends with an ``interrupt`` for it.

    Args:
      thread_id: ``threadId`` of the request.
      run_id: ``runId`` of the request.
    """

    def __init__(self, thread_id: str, run_id: str) -> None:
        super().__init__()
        self._thread_id = thread_id
        self._run_id = run_id
        self._subagent: str | None = None  # of a run within a call
        self._text: str | None = None  # the message of the open text
        self._parent: str | None = None  # the last message of text in this reply
        self._step: str | None = None
        self._first_text = run_id  # the name of its first message of text, which is that of the reply
        self._said: list[str] = []  # the messages of this reply
        self._steers = 0

    def start(self) -> Frames:
        """As `Encoder.start`: ``RUN_STARTED``."""
        self._send({"type": "RUN_STARTED", "threadId": self._thread_id, "runId": self._run_id})
        return self._flush()

    def renew(self) -> AGUI:
        """As `Encoder.renew`."""
        return AGUI(self._thread_id, self._run_id)

    def error(self, failure: Failure) -> Frames:
        """As `Encoder.error`. Calls that were cut stay open: pages run what has ended."""
        self._end_texts()
        self._failed(failure)
        return self._flush()

    # Replies and steps.

    def _reply_starts(self, reply: Reply) -> None:
        """Its first part says it."""
        self._end_text()
        self._parent = None
        self._said = []
        self._first_text = reply.id

    def _reply_stops(self) -> None:
        """Nothing more joins its text."""
        self._end_text()

    def _turn_starts(self, turn: int) -> None:
        """``STEP_STARTED``."""
        self._end_step()
        self._step = f"turn {turn}"
        self._send({"type": "STEP_STARTED", "stepName": self._step})

    def _turn_stops(self) -> None:
        """``STEP_FINISHED``."""
        self._end_step()

    def _end_step(self) -> None:
        self._end_text()
        if self._step is not None:
            self._send({"type": "STEP_FINISHED", "stepName": self._step})
            self._step = None

    def _turn_restarts(self) -> None:
        """``CUSTOM``: AG-UI has no way to take back what was said, so the page is told which messages are void."""
        self._end_text()
        self._send({"type": "CUSTOM", "name": "turn_restart", "value": {"messageIds": self._said}})
        self._said = []

    # Text and reasoning.

    def _part_id(self) -> str:
        """The reply and the number of the block in it."""
        reply = self._replies[-1]
        return self._unique(f"{reply.id}-{reply.blocks}")

    def _text_starts(self, part: TextPart) -> None:
        """Its first piece begins a message, unless it goes on with one: cited text comes in many blocks."""
        if self._text is not None:
            part.id = self._text
        elif self._parent is None:
            part.id = self._first_text

    def _text_grows(self, part: TextPart, text: str) -> None:
        """``TEXT_MESSAGE_CONTENT``."""
        if self._text != part.id:
            self._end_text()
            self._text = self._parent = part.id
            self._said.append(part.id)
            self._send({"type": "TEXT_MESSAGE_START", "messageId": part.id, "role": "assistant"})
        self._send({"type": "TEXT_MESSAGE_CONTENT", "messageId": part.id, "delta": text})

    def _text_is_cited(self, part: TextPart, citation: Citation) -> None:
        """``CUSTOM``."""
        value = {"messageId": part.id, "citation": citation.to_dict()}
        self._send({"type": "CUSTOM", "name": "citation", "value": value})

    def _text_ends(self, part: TextPart) -> None:
        """The next block says whether the message goes on."""

    def _end_text(self) -> None:
        if self._text is not None:
            self._send({"type": "TEXT_MESSAGE_END", "messageId": self._text})
            self._text = None

    def _reasoning_starts(self, part: ReasoningPart, redacted: str | None) -> None:
        """``REASONING_START`` and the message in it."""
        self._end_text()
        self._said.append(part.id)
        self._send({"type": "REASONING_START", "messageId": part.id})
        self._send({"type": "REASONING_MESSAGE_START", "messageId": part.id, "role": "reasoning"})
        if redacted is not None:
            part.signature = redacted

    def _reasoning_grows(self, part: ReasoningPart, text: str) -> None:
        """``REASONING_MESSAGE_CONTENT``."""
        self._send({"type": "REASONING_MESSAGE_CONTENT", "messageId": part.id, "delta": text})

    def _reasoning_ends(self, part: ReasoningPart) -> None:
        """The end of both, with what is encrypted of it."""
        self._send({"type": "REASONING_MESSAGE_END", "messageId": part.id})
        if part.signature:
            encrypted = {"subtype": "message", "entityId": part.id, "encryptedValue": part.signature}
            self._send({"type": "REASONING_ENCRYPTED_VALUE", **encrypted})
        self._send({"type": "REASONING_END", "messageId": part.id})

    # Calls.

    def _call_starts(self, call: Call, server: str | None) -> None:
        """``TOOL_CALL_START``. A parent is named only if it exists: the client warns of any other."""
        self._end_text()
        event: dict[str, Any] = {"type": "TOOL_CALL_START", "toolCallId": call.id, "toolCallName": call.name}
        if self._parent is not None:
            event["parentMessageId"] = self._parent
        else:
            self._said.append(call.id)
        if server is not None:
            event["metadata"] = {_PROVIDER: {"serverName": server}}
        self._send(event)

    def _call_grows(self, call: Call, piece: str) -> None:
        """``TOOL_CALL_ARGS``."""
        self._send({"type": "TOOL_CALL_ARGS", "toolCallId": call.id, "delta": piece})

    def _call_is_whole(self, call: Call, given: Mapping[str, Any]) -> None:
        """``TOOL_CALL_END``, which makes a page look at the call."""
        if not call.is_streamed:
            self._call_grows(call, plain_json(given).decode())
        self._send({"type": "TOOL_CALL_END", "toolCallId": call.id})

    def _call_fails(self, call: Call, why: str) -> None:
        """Its end, and a result: a call without one is left to the page to run."""
        self._send({"type": "TOOL_CALL_END", "toolCallId": call.id})
        self._call_has_result(call, why, why)

    def _call_is_asked(self, call: Call, given: Mapping[str, Any]) -> None:
        """``CUSTOM``. Whoever answers it names the call."""
        value = {"id": call.id, "toolCallId": call.id, "toolCallName": call.name, "input": given}
        self._send({"type": "CUSTOM", "name": "approval", "value": value})

    def _call_is_allowed(self, call: Call) -> None:
        """``CUSTOM``, for pages that come later."""
        self._send({"type": "CUSTOM", "name": "approval_response", "value": {"id": call.id, "approved": True}})

    def _call_progresses(self, call: Call, progress: object) -> None:
        """``ACTIVITY_SNAPSHOT``, each in the place of the one before."""
        content = {"toolCallId": call.id, "toolCallName": call.name, "progress": progress}
        activity = {"messageId": f"{call.id}-progress", "activityType": "tool_progress", "content": content}
        self._send({"type": "ACTIVITY_SNAPSHOT", **activity})

    def _call_has_result(self, call: Call, result: object, error: str | None) -> None:
        """``TOOL_CALL_RESULT``, whose content is text."""
        content = result if isinstance(result, str) else plain_json(result).decode()
        event: dict[str, Any] = {"type": "TOOL_CALL_RESULT", "messageId": f"{call.id}-result", "toolCallId": call.id}
        if error is not None:
            event["metadata"] = {"isError": True}
            content = error
        self._send({**event, "role": "tool", "content": content})

    # Everything else.

    def _other_block(self, block: ContentBlock) -> None:
        """``RAW``."""
        self._send({"type": "RAW", "event": block.to_dict(), "source": _PROVIDER})

    def _unknown_event(self, event: UnknownEvent) -> None:
        """``RAW``."""
        self._send({"type": "RAW", "event": event_json(event), "source": _PROVIDER})

    def _user_said(self, text: str) -> None:
        """A message of the user."""
        self._end_text()
        self._steers += 1
        name = self._unique(f"{self._run_id}-steer-{self._steers}")
        self._send({"type": "TEXT_MESSAGE_START", "messageId": name, "role": "user"})
        self._send({"type": "TEXT_MESSAGE_CONTENT", "messageId": name, "delta": text})
        self._send({"type": "TEXT_MESSAGE_END", "messageId": name})

    def _nest(self, call: Call) -> AGUI:
        """A subagent. Its events are those of the run, each with the name of the subagent on it."""
        inner = AGUI(self._thread_id, self._run_id)
        inner._subagent = call.id
        inner._taken = self._taken

        def wrapped(event: dict[str, Any]) -> dict[str, Any]:
            return self._wrap({"subagentRunId": call.id, **event})

        inner._wrap = wrapped
        started = {"type": "SUBAGENT_STARTED", "subagentRunId": call.id, "name": call.name, "parentToolCallId": call.id}
        if self._subagent is not None:
            started["parentSubagentRunId"] = self._subagent
        self._send(started)
        return inner

    def _nested_stops(self, call: Call, error: str | None) -> None:
        """``SUBAGENT_FINISHED`` or ``SUBAGENT_ERROR``."""
        if error is None:
            self._send({"type": "SUBAGENT_FINISHED", "subagentRunId": call.id})
        else:
            self._send({"type": "SUBAGENT_ERROR", "subagentRunId": call.id, "message": error})

    def _own_data(self, kind: str, fields: dict[str, Any]) -> None:
        """``CUSTOM``."""
        self._send({"type": "CUSTOM", "name": kind, "value": fields})

    def _close_parts(self) -> None:
        """As the base does; a step is open only while something of it is."""
        super()._close_parts()
        self._end_step()

    def _finished(self) -> None:
        """``RUN_FINISHED``, which is an interrupt if somebody is still asked about a call."""
        self._end_step()
        asked = [_interrupt(call) for call in self._asked_calls()]
        outcome: dict[str, Any]
        if asked:
            outcome = {"type": "interrupt", "interrupts": asked}
        else:
            outcome = {"type": "success", "pendingToolCallIds": self._calls_of_page()}
        self._finish(outcome)

    def _failed(self, failure: Failure) -> None:
        """``RUN_ERROR``."""
        self._end_text()
        self._send({"type": "RUN_ERROR", "message": failure.message, "code": failure.type, "usage": self._usage()})

    def _aborted(self, reason: str) -> None:
        """``RUN_FINISHED`` with the outcome ``cancelled``, after all that was open."""
        self._finish({"type": "cancelled"}, reason=reason)

    def _finish(self, outcome: dict[str, Any], **metadata: Any) -> None:
        if self._replies and self._replies[-1].stop_reason is not None:
            metadata["stopReason"] = self._replies[-1].stop_reason
        event: dict[str, Any] = {"type": "RUN_FINISHED", "threadId": self._thread_id, "runId": self._run_id}
        if metadata:
            event["metadata"] = metadata
        self._send({**event, "outcome": outcome, "usage": self._usage()})

    def _usage(self) -> list[dict[str, Any]]:
        return [_usage(model, usage) for model, usage in self._usage_by_model().items()]


def _interrupt(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "reason": "tool_call",
        "message": f"May {call.name} run?",
        "toolCallId": call.id,
        "responseSchema": _ANSWER_SCHEMA,
    }


def _usage(model: str, usage: Usage) -> dict[str, Any]:
    """A usage by the names of AG-UI, to which ``inputTokens`` are all of them, those from the cache included."""
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    total = usage.input_tokens + read + written
    out: dict[str, Any] = {
        "provider": _PROVIDER,
        "model": model,
        "inputTokens": total,
        "outputTokens": usage.output_tokens,
        "totalTokens": total + usage.output_tokens,
        "cachedInputTokens": read,
        "cacheWriteInputTokens": written,
    }
    if usage.output_tokens_details is not None:
        out["reasoningTokens"] = usage.output_tokens_details.thinking_tokens
    return out
