"""What a conversation looks like in the terminal.

What belongs here: showing each event of a run. What does not: reading lines (`_chat_input`), and writing safely to
terminals and pipes (`_terminal`).

Only the model's text goes to a pipe; all else is shown dimmed, on terminals only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec

import trio_stream as ts
from trio_stream.cli._terminal import Output, complain, one_line

_MOST_OF_AN_INPUT: Final = 200

_ENDINGS: Final[Mapping[str, str]] = {
    "interrupted": "interrupted",
    "truncated": "the answer was cut at --max-tokens",
    "refused": "the model refused to answer; /undo takes the message back",
    "max_turns": "stopped: too many turns in a row",
    "budget": "stopped: the budget is used up",
}


@final
class ChatView:
    """Shows the events of runs on one output."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._thinking = False
        self._shown_calls: set[str] = set()  # whoever was asked has seen the call before it starts

    def note(self, sentence: str) -> None:
        """Show a line that is not the model's."""
        if self._output.is_terminal:
            self._output.end_line()
            self._output.dim(f"{one_line(sentence)}\n")

    def call(self, event: ts.ApprovalEvent | ts.ToolStartEvent, *, indent: str = "") -> None:
        """Show the call of a tool, once."""
        if event.id not in self._shown_calls:
            self._shown_calls.add(event.id)
            self.note(f"{indent}{event.name}({_arguments(event.input)})")

    def show(self, event: ts.RunEvent, *, indent: str = "") -> None:
        """Show an event of a run."""
        match event:
            case ts.TextEvent(text=text) if not indent:
                self._end_thinking()
                self._output.text(text)
            case ts.ThinkingEvent(thinking=thinking) if not indent:
                self._thinking = True
                self._output.dim(thinking)
            case ts.ToolStartEvent():
                self.call(event, indent=indent)
            case ts.ToolStopEvent(name=name, is_error=is_error):
                self.note(f"{indent}{name}: {_words(event.result) if is_error else 'done'}")
            case ts.TurnRestartEvent(error=error):
                self.end()
                complain("chat", f"{indent}that answer is void, asking again: {error}")
            case ts.NestedEvent(event=inner):
                self.show(inner, indent=f"{indent}  ")
            case _:
                pass

    def end(self) -> None:
        """End what has been shown of an answer."""
        self._end_thinking()
        self._output.end_line()

    def say_how_it_ended(self, run: ts.Run) -> None:
        """Say why an answer is not complete, if it is not."""
        sentence = _ENDINGS.get(run.outcome or "")
        if sentence is not None:
            complain("chat", sentence)

    def _end_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._output.dim("\n\n")


def _arguments(tool_input: Mapping[str, Any]) -> str:
    """The arguments of a call as a line of bounded length."""
    words = ", ".join(f"{name}={_json(value)}" for name, value in tool_input.items())
    return words if len(words) <= _MOST_OF_AN_INPUT else f"{words[:_MOST_OF_AN_INPUT]}..."


def _words(result: Mapping[str, Any]) -> str:
    """What the model is told of a call that failed."""
    content = result.get("content", "")
    if isinstance(content, str):
        return content
    return " ".join(block.get("text", "") for block in content)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode("utf-8", "replace")
