"""One turn: a reply of the model, its calls, and what they add to the history at any instant.

What belongs here: the state of a turn, what the end of a reply leads to, and the messages that a turn would leave if
nothing came after it. What does not: reading the reply and waiting for the calls (`_turn_loop`), which blocks of a
reply may stay (`_protocol`), and when a call starts (`_tool_runner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, final

import trio

from trio_stream._protocol import Message, Reply, ToolUseBlock, is_unanswered
from trio_stream._stream import MessageStream
from trio_stream.agent._tool_runner import ToolRunner


class Follows(Enum):
    """What the end of a reply leads to."""

    CALLS = "its calls run, and their results go to the model"
    RESUMED = "it is sent back as it is, and the model goes on"
    REST = "the model has nothing more to say"
    TRUNCATED = "it has reached a limit on its length"
    REFUSED = "the model refuses to go on"


_TRUNCATED: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_RESUMED: Final = frozenset({"pause_turn", "compaction"})


def what_follows(message: Message) -> Follows:
    """What a whole reply leads to.

    A stop reason that nobody knows is taken for the end of what the model has to say.
    """
    reason = message.stop_reason
    called = any(isinstance(block, ToolUseBlock) and not block.incomplete for block in message.content)
    if reason in _TRUNCATED:
        return Follows.TRUNCATED
    if reason == "refusal":
        return Follows.REFUSED
    if called and (reason == "tool_use" or reason in _RESUMED):
        return Follows.CALLS
    return Follows.RESUMED if reason in _RESUMED else Follows.REST


class TurnState(Enum):
    """Where a turn stands."""

    READING = "its reply is awaited or read"
    CALLING = "its reply is whole, and its calls run"
    STOPPED = "it was stopped, and what still runs comes to its end"
    CLOSED = "it is part of the conversation"


@final
class Turn:
    """A turn that is under way.

    Args:
      number: Its number in the run, from 1.
      before: The replies that this one goes on from: they are not committed yet.

    Attributes:
      state: Where it stands.
      scope: Cancelled to stop the reading and the waiting.
      stop_reason: Why it was stopped, or None.
    """

    __slots__ = ("_runner", "_stream", "before", "number", "scope", "state", "stop_reason")

    before: Sequence[Reply]
    number: int
    scope: trio.CancelScope
    state: TurnState

    def __init__(self, number: int, before: Sequence[Reply], runner: ToolRunner) -> None:
        self.number = number
        self.before = before
        self.state = TurnState.READING
        self.scope = trio.CancelScope()
        self.stop_reason: str | None = None
        self._runner = runner
        self._stream: MessageStream | None = None

    @property
    def runner(self) -> ToolRunner:
        """Runs the calls."""
        return self._runner

    @property
    def message(self) -> Message | None:
        """The reply as far as it has come."""
        return None if self._stream is None else self._stream.partial

    def begin_reading(self, stream: MessageStream) -> None:
        """The reply has begun."""
        self._stream = stream

    def begin_again(self, runner: ToolRunner) -> None:
        """The reply has failed, and is asked for again: what it said is void."""
        self._stream = None
        self._runner = runner

    def stop(self, reason: str) -> None:
        """Stop reading and calls; the first reason is the one that counts. Never fails, never waits."""
        if self.state in (TurnState.READING, TurnState.CALLING):
            self.state = TurnState.STOPPED
            self.stop_reason = reason
            self._runner.stop(reason)
            self.scope.cancel(reason=reason)

    # What it leaves. All of it is a function of the reply and of the results of its calls, which are there at every
    # instant, so there is no moment at which a reply stands without its results.

    def replies(self) -> list[Reply]:
        """The replies that are not committed: those before, and this one as far as it has come."""
        message = self.message
        if message is None:
            return list(self.before)
        return [*self.before, Reply(message.content, message.stop_reason, self._runner.results())]

    @property
    def goes_on(self) -> bool:
        """Whether the next reply goes on from this one, so that neither can be committed before the other."""
        message = self.message
        if message is None or self.state is not TurnState.CALLING:
            return False
        follows = what_follows(message)
        return follows is Follows.RESUMED or (follows is Follows.CALLS and is_unanswered(self.replies()))
