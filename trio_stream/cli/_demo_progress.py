"""The state of the streams of the demonstration while they run.

What belongs here: plain state, which the streams write and the views read. What does not: the streams and the views.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

import trio

import trio_stream as ts
from trio_stream.testing import Server

State: TypeAlias = Literal["waiting", "thinking", "writing", "calling", "complete", "cancelled", "failed"]
Kind: TypeAlias = Literal["thinking", "tool", "text"]

RUNNING: frozenset[State] = frozenset({"waiting", "thinking", "writing", "calling"})
_STATES: dict[Kind, State] = {"thinking": "thinking", "tool": "calling", "text": "writing"}


@final
class Card:
    """The state of one stream.

    Attributes:
      name: A short name.
      prompt: The prompt.
      state: What it is doing.
      parts: The pieces that have arrived, in order, grouped by kind.
      reason: Why it was cancelled, or how it failed.
      first_text: Seconds to the first text; None before.
      seconds: How many seconds it took; None while it runs.
      input_tokens: The input tokens of all turns that are complete.
      output_tokens: The output tokens of all turns that are complete.
      characters: The characters of text so far.
    """

    def __init__(self, name: str, prompt: str) -> None:
        self.name = name
        self.prompt = prompt
        self.state: State = "waiting"
        self.parts: list[tuple[Kind, list[str]]] = []
        self.reason = ""
        self.first_text: float | None = None
        self.seconds: float | None = None
        self.input_tokens = 0
        self.output_tokens = 0
        self.characters = 0
        self._began = trio.current_time()

    def hear(self, kind: Kind, piece: str) -> None:
        """Note a piece that has arrived."""
        self.state = _STATES[kind]
        if kind == "text":
            self.characters += len(piece)
            if self.first_text is None:
                self.first_text = trio.current_time() - self._began
        if self.parts and self.parts[-1][0] == kind:
            self.parts[-1][1].append(piece)
        else:
            self.parts.append((kind, [piece]))

    def count(self, usage: ts.Usage) -> None:
        """Add the tokens of a turn."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens

    def end(self, state: State, reason: str = "") -> None:
        """Note how it ended."""
        self.state = state
        self.reason = reason
        self.seconds = trio.current_time() - self._began

    @property
    def text(self) -> str:
        """The text so far, without thinking and tools. Each turn has a line of its own."""
        return "\n".join("".join(pieces).strip() for kind, pieces in self.parts if kind == "text")


@final
class Progress:
    """The state of all streams together.

    Attributes:
      cards: The streams.
      server: The server that they come from.
      client: The client; None before there is one.
      interrupted: Whether Ctrl-C was pressed.
    """

    def __init__(self, *, cards: list[Card], server: Server) -> None:
        self.cards = cards
        self.server = server
        self.client: ts.Client | None = None
        self.interrupted = False
        self._began = trio.current_time()
        self._ended: float | None = None

    def stop_clock(self) -> None:
        """Note that everything has ended."""
        self._ended = trio.current_time()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning, up to the end."""
        return (trio.current_time() if self._ended is None else self._ended) - self._began

    def count_of(self, *states: State) -> int:
        """Return how many streams are in one of these states."""
        return sum(card.state in states for card in self.cards)
