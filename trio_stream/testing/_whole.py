"""The message that the events of a scripted answer add up to.

What belongs here: adding events up, for answers that are not streamed and for conversations that are held. What does
not: which events there are (`_timeline`). A script may do what no real stream does, so this is not what clients use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import msgspec


@final
class WholeMessage:
    """The message that the events of a stream add up to."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self._input = ""

    def add(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        if kind == "message_start":
            self.fields = dict(event["message"])
            self.fields["content"] = []
        elif kind == "content_block_start":
            self._input = ""
            self.fields["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._delta(event["delta"])
        elif kind == "content_block_stop":
            self._finish_input()
        elif kind == "message_delta":
            self._finish_input()
            self.fields.update(event["delta"])
            self.fields["usage"] = {**self.fields["usage"], **event["usage"]}

    def _delta(self, delta: Mapping[str, Any]) -> None:
        last: dict[str, Any] = self.fields["content"][-1]
        kind = delta["type"]
        if kind == "input_json_delta":
            self._input += str(delta["partial_json"])
        elif kind == "citations_delta":
            last["citations"] = [*(last.get("citations") or ()), delta["citation"]]
        elif kind == "signature_delta":
            last["signature"] = delta["signature"]
        elif kind == "text_delta":
            last["text"] += delta["text"]
        elif kind == "thinking_delta":
            last["thinking"] += delta["thinking"]
        elif kind == "compaction_delta":
            last["content"] = delta["content"]

    def _finish_input(self) -> None:
        if self._input:
            try:
                self.fields["content"][-1]["input"] = msgspec.json.decode(self._input)
            except msgspec.DecodeError as error:
                raise ValueError("a tool input that is not JSON can only be streamed") from error
            self._input = ""
