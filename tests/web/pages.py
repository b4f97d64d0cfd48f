"""Pages in Python: what the clients of two protocols know after some frames, and what they would not take.

The rules are those of ``process-ui-message-stream.ts`` of the package ``ai`` and of ``verify.ts`` of
``@ag-ui/client``. `test_clients` has the clients themselves read the same answers; here each answer can be cut
everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


def chunks(frames: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the frames of an event stream say. Each must be one event."""
    said = []
    for frame in frames:
        assert frame.startswith(b"data: "), frame
        assert frame.endswith(b"\n\n"), frame
        assert frame.count(b"\n") == 2, frame
        if frame != b"data: [DONE]\n\n":
            said.append(msgspec.json.decode(frame[6:]))
    return said


class AISDKPage:
    """A message of the AI SDK.

    Attributes:
      parts: The parts of the message.
      ran: The calls that the page was told to run, with their inputs.
      ending: The finish reason; None while there is none.
      errors: What it was told of errors.
    """

    def __init__(self, frames: Sequence[bytes] = ()) -> None:
        self.id: str | None = None
        self.parts: list[dict[str, Any]] = []
        self.open: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, dict[str, Any]] = {}
        self.ran: dict[str, Any] = {}
        self.transient: list[dict[str, Any]] = []
        self.metadata: Any = None
        self.ending: str | None = None
        self.errors: list[str] = []
        self.aborted: str | None = None
        self.begun = self.done = False
        self.read(frames)

    def read(self, frames: Sequence[bytes]) -> None:
        """Take frames in."""
        for frame in frames:
            assert not self.done, "a frame after [DONE]"
            self.done = frame == b"data: [DONE]\n\n"
        for chunk in chunks(frames):
            assert self.ending is None, "a chunk after finish"
            kind = chunk["type"]
            assert self.begun or kind == "start", kind
            self.begun = True
            read = self._data if kind.startswith("data-") else getattr(self, "_" + kind.replace("-", "_"))
            read(chunk)

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    def _data(self, chunk: dict[str, Any]) -> None:
        if chunk.get("transient"):
            self.transient.append(chunk)
        else:
            self.parts.append(chunk)

    def _start(self, chunk: dict[str, Any]) -> None:
        self.id = chunk.get("messageId")

    def _start_step(self, _: dict[str, Any]) -> None:
        self.parts.append({"type": "step-start"})

    def _finish_step(self, _: dict[str, Any]) -> None:
        assert not self.open

    def _reset_step(self, _: dict[str, Any]) -> None:
        while self.parts and self.parts[-1]["type"] != "step-start":
            self.parts.pop()
        self.open.clear()

    def _begin(self, chunk: dict[str, Any], kind: str) -> None:
        assert chunk["id"] not in self.open
        part = {"type": kind, "text": "", "state": "streaming", **_metadata(chunk)}
        self.open[chunk["id"]] = part
        self.parts.append(part)

    def _text_start(self, chunk: dict[str, Any]) -> None:
        self._begin(chunk, "text")

    def _reasoning_start(self, chunk: dict[str, Any]) -> None:
        self._begin(chunk, "reasoning")

    def _text_delta(self, chunk: dict[str, Any]) -> None:
        assert chunk["delta"]
        self.open[chunk["id"]]["text"] += chunk["delta"]

    _reasoning_delta = _text_delta

    def _text_end(self, chunk: dict[str, Any]) -> None:
        part = self.open.pop(chunk["id"])
        part.update(state="done", **_metadata(chunk))
        if "citations" in chunk:
            part["citations"] = chunk["citations"]

    _reasoning_end = _text_end

    def _source_url(self, chunk: dict[str, Any]) -> None:
        self.parts.append(chunk)

    _source_document = _custom = _steering_message = _source_url

    def _tool_input_start(self, chunk: dict[str, Any]) -> None:
        assert chunk["dynamic"] is True
        part = {"type": "dynamic-tool", "state": "input-streaming", "text": "", **chunk}
        part["type"] = "dynamic-tool"
        self.calls[chunk["toolCallId"]] = part
        self.parts.append(part)

    def _tool_input_delta(self, chunk: dict[str, Any]) -> None:
        call = self.calls[chunk["toolCallId"]]
        assert call["state"] == "input-streaming"
        call["text"] += chunk["inputTextDelta"]

    def _tool_input_available(self, chunk: dict[str, Any]) -> None:
        call = self.calls[chunk["toolCallId"]]
        assert call["state"] == "input-streaming"
        call.update(state="input-available", input=chunk["input"], text="")
        if not call.get("providerExecuted"):
            self.ran[chunk["toolCallId"]] = chunk["input"]

    def _tool_input_error(self, chunk: dict[str, Any]) -> None:
        call = self.calls[chunk["toolCallId"]]
        assert call["state"] == "input-streaming"
        call.update(state="output-error", input=chunk["input"], errorText=chunk["errorText"], text="")

    def _tool_approval_request(self, chunk: dict[str, Any]) -> None:
        self.calls[chunk["toolCallId"]].update(state="approval-requested", approval={"id": chunk["approvalId"]})

    def _tool_approval_response(self, chunk: dict[str, Any]) -> None:
        (call,) = (one for one in self.calls.values() if one.get("approval", {}).get("id") == chunk["approvalId"])
        answer = {key: chunk[key] for key in ("approved", "reason") if key in chunk}
        call.update(state="approval-responded", approval={"id": chunk["approvalId"], **answer})

    def _tool_output_available(self, chunk: dict[str, Any]) -> None:
        call = self.calls[chunk["toolCallId"]]
        call.update(state="output-available", output=chunk["output"], preliminary=chunk.get("preliminary"))

    def _tool_output_error(self, chunk: dict[str, Any]) -> None:
        self.calls[chunk["toolCallId"]].update(state="output-error", errorText=chunk["errorText"])

    def _tool_output_denied(self, chunk: dict[str, Any]) -> None:
        self.calls[chunk["toolCallId"]].update(state="output-denied")

    def _message_metadata(self, chunk: dict[str, Any]) -> None:
        self.metadata = chunk["messageMetadata"]

    def _error(self, chunk: dict[str, Any]) -> None:
        self.errors.append(chunk["errorText"])

    def _abort(self, chunk: dict[str, Any]) -> None:
        self.aborted = chunk["reason"]

    def _finish(self, chunk: dict[str, Any]) -> None:
        assert not self.open, "parts are open at the end"
        self.ending = chunk["finishReason"]
        self.metadata = chunk.get("messageMetadata")


def _metadata(chunk: dict[str, Any]) -> dict[str, Any]:
    return {"providerMetadata": chunk["providerMetadata"]} if "providerMetadata" in chunk else {}


class AGUIPage:
    """A thread of AG-UI.

    Attributes:
      messages: Its messages.
      ended: The calls whose arguments the page was told are whole, with these; without those that have a result.
      last: ``RUN_FINISHED`` or ``RUN_ERROR``; None while there is none.
    """

    def __init__(self, frames: Sequence[bytes] = ()) -> None:
        self.messages: list[dict[str, Any]] = []
        self.texts: set[str] = set()
        self.spans: set[str] = set()
        self.reasonings: set[str] = set()
        self.open_calls: set[str] = set()
        self.calls: dict[str, dict[str, Any]] = {}
        self.steps: set[tuple[str | None, str]] = set()
        self.subagents: set[str] = set()
        self.gone: set[str] = set()
        self.custom: list[tuple[str, Any]] = []
        self.raw: list[Any] = []
        self.last: dict[str, Any] | None = None
        self.begun = False
        self.read(frames)

    def read(self, frames: Sequence[bytes]) -> None:
        """Take frames in."""
        for event in chunks(frames):
            assert self.last is None, "an event after the last one"
            assert self.begun or event["type"] == "RUN_STARTED"
            assert all(value is not None for value in event.values()), event
            self.begun = True
            getattr(self, "_" + event["type"].lower())(event)

    @property
    def text(self) -> str:
        return "".join(message["content"] for message in self.messages if message["role"] == "assistant")

    @property
    def pending(self) -> dict[str, str]:
        """The calls that the page would run, with their arguments."""
        answered = {message["toolCallId"] for message in self.messages if message["role"] == "tool"}
        settled = answered | self.open_calls
        return {name: call["arguments"] for name, call in self.calls.items() if name not in settled}

    def find(self, name: str) -> dict[str, Any] | None:
        return next((message for message in self.messages if message["id"] == name), None)

    def _run_started(self, event: dict[str, Any]) -> None:
        assert not self.messages

    def _text_message_start(self, event: dict[str, Any]) -> None:
        name = event["messageId"]
        assert name not in self.texts
        self.texts.add(name)
        found = self.find(name)
        if found is None:
            self.messages.append({"id": name, "role": event["role"], "content": "", "calls": []})
        else:
            assert found["role"] == event["role"]

    def _text_message_content(self, event: dict[str, Any]) -> None:
        assert event["messageId"] in self.texts
        found = self.find(event["messageId"])
        assert found
        found["content"] += event["delta"]

    def _text_message_end(self, event: dict[str, Any]) -> None:
        self.texts.remove(event["messageId"])

    def _reasoning_start(self, event: dict[str, Any]) -> None:
        assert event["messageId"] not in self.spans
        self.spans.add(event["messageId"])

    def _reasoning_message_start(self, event: dict[str, Any]) -> None:
        assert self.find(event["messageId"]) is None
        self.reasonings.add(event["messageId"])
        self.messages.append({"id": event["messageId"], "role": "reasoning", "content": ""})

    def _reasoning_message_content(self, event: dict[str, Any]) -> None:
        assert event["messageId"] in self.reasonings
        found = self.find(event["messageId"])
        assert found
        found["content"] += event["delta"]

    def _reasoning_message_end(self, event: dict[str, Any]) -> None:
        self.reasonings.remove(event["messageId"])

    def _reasoning_encrypted_value(self, event: dict[str, Any]) -> None:
        assert event["subtype"] == "message"
        found = self.find(event["entityId"])
        assert found
        found["encryptedValue"] = event["encryptedValue"]

    def _reasoning_end(self, event: dict[str, Any]) -> None:
        self.spans.remove(event["messageId"])

    def _tool_call_start(self, event: dict[str, Any]) -> None:
        name = event["toolCallId"]
        assert name not in self.calls
        self.calls[name] = {"name": event["toolCallName"], "arguments": ""}
        self.open_calls.add(name)
        parent = event.get("parentMessageId")
        if parent is not None:
            found = self.find(parent)
            assert found, "the parent does not exist, which the client warns of"
            assert found["role"] == "assistant"
            found["calls"].append(name)
        else:
            assert self.find(name) is None
            self.messages.append({"id": name, "role": "assistant", "content": "", "calls": [name]})

    def _tool_call_args(self, event: dict[str, Any]) -> None:
        assert event["toolCallId"] in self.open_calls
        self.calls[event["toolCallId"]]["arguments"] += event["delta"]

    def _tool_call_end(self, event: dict[str, Any]) -> None:
        self.open_calls.remove(event["toolCallId"])

    def _tool_call_result(self, event: dict[str, Any]) -> None:
        assert event["toolCallId"] in self.calls
        assert self.find(event["messageId"]) is None
        assert isinstance(event["content"], str)
        message = {key: event[key] for key in ("toolCallId", "content")}
        is_error = event.get("metadata", {}).get("isError", False)
        owner = next(at for at, one in enumerate(self.messages) if event["toolCallId"] in one.get("calls", ()))
        while owner + 1 < len(self.messages) and self.messages[owner + 1]["role"] == "tool":
            owner += 1
        self.messages.insert(owner + 1, {"id": event["messageId"], "role": "tool", **message, "isError": is_error})

    def _activity_snapshot(self, event: dict[str, Any]) -> None:
        found = self.find(event["messageId"])
        if found is None:
            found = {"id": event["messageId"], "role": "activity"}
            self.messages.append(found)
        found["content"] = event["content"]

    def _step_started(self, event: dict[str, Any]) -> None:
        step = event.get("subagentRunId"), event["stepName"]
        assert step not in self.steps
        self.steps.add(step)

    def _step_finished(self, event: dict[str, Any]) -> None:
        self.steps.remove((event.get("subagentRunId"), event["stepName"]))

    def _subagent_started(self, event: dict[str, Any]) -> None:
        assert event["subagentRunId"] not in self.subagents | self.gone
        assert event.get("parentSubagentRunId") in {None, *self.subagents}
        self.subagents.add(event["subagentRunId"])

    def _subagent_finished(self, event: dict[str, Any]) -> None:
        self.subagents.remove(event["subagentRunId"])
        self.gone.add(event["subagentRunId"])

    _subagent_error = _subagent_finished

    def _custom(self, event: dict[str, Any]) -> None:
        self.custom.append((event["name"], event["value"]))

    def _raw(self, event: dict[str, Any]) -> None:
        self.raw.append(event["event"])

    def _run_finished(self, event: dict[str, Any]) -> None:
        for what in (self.texts, self.spans, self.reasonings, self.open_calls, self.steps, self.subagents):
            assert not what
        self.last = event

    def _run_error(self, event: dict[str, Any]) -> None:
        self.last = event
