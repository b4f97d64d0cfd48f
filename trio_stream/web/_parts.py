"""The parts of an answer as pages show them: text, reasoning, calls with their results, sources.

What belongs here: what the events of messages and runs mean for a page, whichever protocol it speaks: which call is
whole, which was cut, what is open when the answer ends. What does not: what each protocol says of it (`_ai_sdk`,
`_ag_ui`), and a single call (`_calls`).

When a call is whole
--------------------

A page runs a tool as soon as it is told that the call is whole, so nothing that may be cut must be called that. The end
of its block says little: a reply that ends at ``max_tokens`` closes its last block too. A call is whole once the reply
went past it: when the next block begins, or when the reply ends with a stop reason after which calls are run. That is
the rule of `ToolRunner`, with its exceptions: a ``fallback`` block follows what another model may have left unfinished,
and a call by a program of the model's waits for the end of the reply.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, final

from trio_stream._protocol import InputBlock, is_by_program
from trio_stream.agent import (
    RUNS_CALLS,
    AgentEvent,
    ApprovalEvent,
    NestedEvent,
    RunEvent,
    SteerEvent,
    ToolProgressEvent,
    ToolStartEvent,
    ToolStopEvent,
    TurnRestartEvent,
    TurnStartEvent,
    TurnStopEvent,
)
from trio_stream.types import (
    Citation,
    CitationsDelta,
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    FallbackBlock,
    InputJSONDelta,
    Message,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    RedactedThinkingBlock,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    UnknownEvent,
)

from ._calls import Call, CallState, error_of, shown_result, text_of
from ._encoder import Frames
from ._event_json import data_of, error_data
from ._failure import Failure
from ._frames import COMMENT, EVENT_STREAM
from ._page import OtherPart, Page, Part, ReasoningPart, Reply, TextPart

_HEADERS: Final = {"content-type": EVENT_STREAM}

WAS_CUT: Final = "The answer was cut off before this call was complete."
WAS_LEFT: Final = "The answer ended before this call had a result."
FELL_BACK: Final = "Another model took over before this call was complete."
NOT_JSON: Final = "The input of this call is not a JSON object."
LEFT_EARLY: Final = "the program left the answer before its end"

_WHOLE_FOR_API: Final = RUNS_CALLS | {"end_turn", "stop_sequence"}
"""The stop reasons of replies that were not cut: what the API itself was asked for in them was asked for as a whole."""


class PartsEncoder(Page):
    """The base of the encoders for protocols that speak of parts.

    What happens to the answer comes in by the methods of `Encoder`. What that means for the page goes to the methods
    that a protocol implements, which `_send` the events of the protocol.

    """

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, Part] = {}  # by the indexes of their blocks
        self._calls: list[Call] = []
        self._by_id: dict[str, Call] = {}  # by the identifiers of the API, which are those of the latest
        self._reply_from = 0  # where the calls of the current reply begin
        self._in_turn = False
        self._closed: list[Call] = []
        self._nested: dict[str, PartsEncoder] = {}  # by the identifiers of the calls in which they are

    # The methods of `Encoder`, but for `start` and `renew`.

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Encoder.headers`."""
        return _HEADERS

    @property
    def numbered(self) -> bool:
        """As `Encoder.numbered`."""
        return True

    @property
    def wants_data(self) -> bool:
        """As `Encoder.wants_data`."""
        return False

    @property
    def heartbeat(self) -> bytes:
        """As `Encoder.heartbeat`: a comment."""
        return COMMENT

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """As `Encoder.refusal`: the error, in the shape of the API."""
        return "application/json", error_data(failure.type, failure.message)

    def event(self, event: RunEvent, data: bytes | None) -> Frames:
        """As `Encoder.event`."""
        del data
        if type(event) is ContentBlockDeltaEvent:
            self._take_delta(event)
        else:
            self._take(event)
        return self._flush()

    def data(self, value: Mapping[str, Any]) -> Frames:
        """As `Encoder.data`."""
        kind, _ = data_of(value)
        self._own_data(kind, {name: item for name, item in value.items() if name != "type"})
        return self._flush()

    def end(self) -> Frames:
        """As `Encoder.end`."""
        if self._replies and not self._replies[-1].complete:
            return self.abort(LEFT_EARLY)
        self._leave_calls(self._is_left)
        self._finished()
        return self._flush()

    def _is_left(self, call: Call) -> bool:
        """Whether nobody will answer a call when the answer has ended."""
        if call.id in self._nested:
            return True  # whatever else it is, the run within it has ended too
        if call.asked:
            return False
        # The API answers its own in the reply that goes on with this one.
        last = self._replies[-1] if self._replies else None
        goes_on = last is not None and last.stop_reason in RUNS_CALLS
        return not (call.by_api and goes_on and call in self._calls[self._reply_from :])

    def error(self, failure: Failure) -> Frames:
        """As `Encoder.error`."""
        self._close_parts()
        self._failed(failure)
        return self._flush()

    def abort(self, reason: str) -> Frames:
        """As `Encoder.abort`."""
        self._close_parts()
        self._aborted(reason)
        return self._flush()

    # For protocols.

    @final
    def _knows(self, call_id: str) -> bool:
        """Whether the page knows the call that has this identifier of the API's."""
        return call_id in self._by_id

    @final
    def _calls_of_page(self) -> list[str]:
        """The identifiers of the calls that wait for whoever reads the answer."""
        return [call.id for call in self._calls if call.state is CallState.WHOLE and not call.runs_here]

    @final
    def _asked_calls(self) -> list[Call]:
        """The calls that wait for somebody to allow them."""
        return [call for call in self._calls if call.asked and call.state is not CallState.SETTLED]

    @abc.abstractmethod
    def _nest(self, call: Call) -> PartsEncoder:
        """The encoder for a run within a call: its `_send` hands the events to this one."""

    @abc.abstractmethod
    def _nested_stops(self, call: Call, error: str | None) -> None:
        """The run within a call has ended."""

    def _close_parts(self) -> None:
        """End everything that is under way, because nothing more comes."""
        self._cut_reply()
        self._leave_calls(lambda _: True)

    @final
    def _end_texts(self) -> list[Call]:
        """End the open parts, but for the calls, which are returned."""
        calls: list[Call] = []
        for part in self._open.values():
            if type(part) is TextPart:
                self._text_ends(part)
            elif type(part) is ReasoningPart:
                self._reasoning_ends(part)
            elif type(part) is Call:
                calls.append(part)
        self._open.clear()
        return calls

    def _leave_calls(self, which: Callable[[Call], bool]) -> None:
        for call in self._calls:
            if call.runs_here and which(call):
                self._settle(call, WAS_LEFT, WAS_LEFT)

    # The events of messages.

    def _take_delta(self, event: ContentBlockDeltaEvent) -> None:
        part, delta = self._open.get(event.index), event.delta
        if type(part) is TextPart:
            if type(delta) is TextDelta:
                if delta.text:
                    self._text_grows(part, delta.text)
            elif type(delta) is CitationsDelta:
                self._cite(part, delta.citation)
        elif type(part) is Call:
            if type(delta) is InputJSONDelta and delta.partial_json and part.state is CallState.OPEN:
                part.add(delta.partial_json)
                self._call_grows(part, delta.partial_json)
        elif type(part) is ReasoningPart:
            if type(delta) is ThinkingDelta:
                if delta.thinking:
                    self._reasoning_grows(part, delta.thinking)
            elif type(delta) is SignatureDelta and delta.signature:
                part.signature = delta.signature

    def _take(self, event: RunEvent) -> None:
        """Any event but a delta."""
        match event:
            case ContentBlockStartEvent():
                self._start_block(event.index, event.content_block)
            case ContentBlockStopEvent():
                self._end_part(event.index, event.content_block)
            case MessageStartEvent():
                self._start_reply(event.message)
            case MessageDeltaEvent():
                self._change_reply(event)
            case MessageStopEvent():
                self._stop_reply(event.message)
            case UnknownEvent():
                self._unknown_event(event)
            case _:
                self._take_of_run(cast("AgentEvent", event))

    def _start_reply(self, message: Message) -> None:
        self._cut_reply()
        reply = Reply(self._unique(message.id or f"message-{len(self._replies) + 1}"), message)
        self._replies.append(reply)
        self._reply_from = len(self._calls)
        self._reply_starts(reply)
        for block in message.content:
            self._start_block(-1, block)
            self._end_part(-1, block)

    def _start_block(self, index: int, block: ContentBlock) -> None:
        if not self._replies:  # of a run within a call, a tool may show any part
            self._start_reply(Message())
        self._go_past(block)
        self._parts += 1
        self._replies[-1].blocks += 1
        part: Part
        if isinstance(block, TextBlock):
            part = TextPart(self._part_id())
            self._text_starts(part)
            if block.text:
                self._text_grows(part, block.text)
            for citation in block.citations or ():
                self._cite(part, citation)
        elif isinstance(block, ThinkingBlock):
            part = ReasoningPart(self._part_id())
            part.signature = block.signature
            self._reasoning_starts(part, None)
            if block.thinking:
                self._reasoning_grows(part, block.thinking)
        elif isinstance(block, RedactedThinkingBlock):
            part = ReasoningPart(self._part_id())
            self._reasoning_starts(part, block.data)
        elif isinstance(block, InputBlock):
            part = self._start_call(block)
        else:
            part = OtherPart()
            call_id: object = getattr(block, "tool_use_id", None)
            if isinstance(call_id, str):
                self._take_result(call_id, block)
        self._open[index] = part

    def _start_call(self, block: InputBlock) -> Call:
        by_api = not isinstance(block, ToolUseBlock)
        call = Call.of_block(self._unique(block.id or f"call-{self._parts}"), block, by_api=by_api)
        call.waits_for_end = is_by_program(cast("ContentBlock", block))
        self._add_call(block.id, call, getattr(block, "server_name", None))
        return call

    def _end_part(self, index: int, block: ContentBlock) -> None:
        """The block of a part is complete."""
        part = self._open.pop(index, None)
        if type(part) is TextPart:
            self._text_ends(part)
        elif type(part) is ReasoningPart:
            self._reasoning_ends(part)
        elif type(part) is Call:
            if part.state is CallState.OPEN:
                part.state = CallState.CLOSED
                self._closed.append(part)
        elif type(part) is OtherPart and not hasattr(block, "tool_use_id"):
            self._other_block(block)

    def _cite(self, part: TextPart, citation: Citation) -> None:
        part.citations.append(citation)
        self._text_is_cited(part, citation)

    def _change_reply(self, event: MessageDeltaEvent) -> None:
        if not self._replies:
            return
        reply = self._replies[-1]
        reply.usage = reply.usage.updated(event.usage)
        reason = event.delta.stop_reason
        if reason is None:
            return
        reply.stop_reason = reason
        closed, self._closed = self._closed, []
        for call in closed:
            if reason in (_WHOLE_FOR_API if call.by_api else RUNS_CALLS):
                self._make_whole(call)
            else:
                self._fail(call, f"The answer ended with {reason!r} before this call was run.")

    def _stop_reply(self, message: Message) -> None:
        self._cut_reply()
        if self._replies:
            reply = self._replies[-1]
            reply.complete = True
            reply.model, reply.usage, reply.stop_reason = message.model, message.usage, message.stop_reason
        self._reply_stops()

    def _cut_reply(self) -> None:
        """End what is open of the reply: nothing more comes of it."""
        cut = self._end_texts()
        cut += self._closed
        self._closed = []
        for call in cut:
            self._fail(call, WAS_CUT)

    # Calls.

    def _add_call(self, call_id: str, call: Call, server: str | None) -> None:
        call.runs_here = call.by_api or self._in_turn
        self._calls.append(call)
        self._by_id[call_id] = call
        self._call_starts(call, server)

    def _go_past(self, block: ContentBlock) -> None:
        """Another block begins."""
        if isinstance(block, FallbackBlock):
            self._replies[-1].fell_back = True
            closed, self._closed = self._closed, []
            for call in closed:
                self._fail(call, FELL_BACK)
        elif self._closed and not self._replies[-1].fell_back:
            passed = [call for call in self._closed if not call.waits_for_end]
            self._closed = [call for call in self._closed if call.waits_for_end]
            for call in passed:
                self._make_whole(call)

    def _make_whole(self, call: Call, given: Mapping[str, Any] | None = None) -> None:
        if call.state not in (CallState.OPEN, CallState.CLOSED):
            return
        given = call.input() if given is None else given
        if given is None:
            self._fail(call, NOT_JSON)
            return
        call.state = CallState.WHOLE
        if call in self._closed:
            self._closed.remove(call)
        self._call_is_whole(call, given)

    def _fail(self, call: Call, why: str) -> None:
        if call.state in (CallState.OPEN, CallState.CLOSED):
            call.state = CallState.SETTLED
            self._call_fails(call, why)

    def _settle(self, call: Call, result: object, error: str | None) -> None:
        if call.state is CallState.WHOLE:
            call.state = CallState.SETTLED
            if (nested := self._nested.pop(call.id, None)) is not None:
                nested._close_parts()
                self._frames += nested._flush()
                self._nested_stops(call, error)
            self._call_has_result(call, result, error)

    def _find(self, call_id: str, name: str, given: Mapping[str, Any] | None, *, by_api: bool = False) -> Call:
        """The call with an identifier of the API's, which is whole; it is told of if the page does not know it.

        That happens where a reply goes on with what an earlier one began, and where a run dropped the events of a reply
        that it was told to leave.
        """
        call = self._by_id.get(call_id)
        if call is None:
            call = Call(self._unique(call_id or f"call-{self._parts}"), name, by_api=by_api)
            self._add_call(call_id, call, None)
        self._make_whole(call, (call.input() or {}) if given is None else given)
        return call

    def _take_result(self, call_id: str, block: ContentBlock) -> None:
        """A tool of the API's has answered."""
        fields = block.to_dict()
        content: object = fields.get("content")
        error = error_of(content)
        if fields.get("is_error") is True:
            error = text_of(content) or "The tool failed."
        name = str(fields.get("type")).removesuffix("_tool_result")
        self._settle(self._find(call_id, name, None, by_api=True), shown_result(content), error)

    # The events of runs.

    def _take_of_run(self, event: AgentEvent) -> None:
        match event:
            case TurnStartEvent():
                self._in_turn = True
                self._turn_starts(event.turn)
            case TurnStopEvent():
                self._in_turn = False
                self._cut_reply()
                if self._replies and event.message is not None and event.message.stop_reason is not None:
                    self._replies[-1].complete = True
                self._turn_stops()
            case TurnRestartEvent():
                self._restart()
            case ToolStartEvent():
                call = self._find(event.id, event.name, event.input)
                call.runs_here = True
                self._answer(call)
            case ToolProgressEvent():
                call = self._find(event.id, event.name, None)
                if call.state is CallState.WHOLE:
                    self._call_progresses(call, event.progress)
            case ToolStopEvent():
                self._take_tool_stop(event)
            case ApprovalEvent():
                call = self._find(event.id, event.name, event.input)
                if call.state is CallState.WHOLE and call.id not in self._nested:
                    call.asked = call.runs_here = True
                    self._call_is_asked(call, event.input)
            case SteerEvent():
                content: object = event.content
                self._user_said(text_of(content) or "")
            case NestedEvent():
                self._take_nested(event)
            case _:  # helper events, which repeat a delta
                pass

    def _answer(self, call: Call) -> None:
        if call.asked:
            call.asked = False
            self._call_is_allowed(call)

    def _take_tool_stop(self, event: ToolStopEvent) -> None:
        content: object = event.result.get("content")
        error = (text_of(content) or "The tool failed.") if event.is_error else None
        known = self._by_id.get(event.id)
        if error is not None and known is not None and known.state in (CallState.OPEN, CallState.CLOSED):
            self._fail(known, error)
            return
        call = self._find(event.id, event.name, None)
        call.runs_here = True
        self._settle(call, shown_result(content), error)

    def _take_nested(self, event: NestedEvent) -> None:
        """A run within a call has an event."""
        call = self._find(event.id, event.name, None)
        call.runs_here = True
        if call.state is not CallState.WHOLE:
            return
        self._answer(call)  # it runs, so somebody has allowed it
        nested = self._nested.get(call.id)
        if nested is None:
            nested = self._nested[call.id] = self._nest(call)
            nested._in_turn = True  # also where the tool shows only some of its events
        self._frames += nested.event(event.event, None)

    def _restart(self) -> None:
        self._cut_reply()
        # Nothing of the void reply waits for anybody.
        for call in self._calls[self._reply_from :]:
            self._settle(call, WAS_CUT, WAS_CUT)
        self._turn_restarts()
