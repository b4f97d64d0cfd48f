"""Conversations that the scripted API holds, so that requests send only what is new: message threads, a beta.

What belongs here: what is held under the id of a message, and whether a request may go on from there. What does not:
what a request with all of its conversation must be like (`_strict`), answering it (`_scripted`).

The states of a message that was kept, each `continue` of which is one request::

    FREE --- a request goes on from it ---> IN_FLIGHT --- its answer is complete ---> CONTINUED
      ^                                        |
      +---- it was refused, failed or cut -----+
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, final

from trio_stream.testing._faults import EXTRA
from trio_stream.testing._json import as_list, as_object, at_path
from trio_stream.testing._steps import HTTPError

EXPIRES_AFTER: Final = 300.0
"""Seconds without a request, after which a conversation is held no more (API docs, message threads)."""

_CREATE_ONLY: Final = ("system", "tools")
"""What a thread keeps from its first request, so that no later one may have it."""


class _State(enum.Enum):
    FREE = enum.auto()
    IN_FLIGHT = enum.auto()
    CONTINUED = enum.auto()


@final
class _Held:
    """What is held under the id of one message: the parameters a thread keeps, and the conversation up to there."""

    __slots__ = ("at", "kept", "messages", "state")

    def __init__(self, kept: Mapping[str, Any], messages: list[Any], at: float) -> None:
        self.kept = kept
        self.messages = messages
        self.at = at
        self.state = _State.FREE


@final
class Turn:
    """One request of a thread, from when it is resolved until its answer is over.

    Attributes:
      body: The request with all of its conversation.
    """

    __slots__ = ("_from", "_threads", "body")

    def __init__(self, threads: Threads, body: Mapping[str, Any], held: _Held | None) -> None:
        self.body = body
        self._threads = threads
        self._from = held
        if held is not None:
            held.state = _State.IN_FLIGHT

    def keep(self, message: Mapping[str, Any], now: float) -> None:
        """Hold the conversation with its answer, which is complete, under the answer's id."""
        kept = {name: self.body[name] for name in _CREATE_ONLY if name in self.body}
        messages = [*as_list(self.body.get("messages")), {"role": "assistant", "content": message["content"]}]
        self._threads.hold(str(message["id"]), _Held(kept, messages, now), now)
        if self._from is not None:
            self._from.state = _State.CONTINUED

    def end(self) -> None:
        """The answer is over, complete or not."""
        if self._from is not None and self._from.state is _State.IN_FLIGHT:
            self._from.state = _State.FREE


@final
class Threads:
    """The conversations that are held, by the ids of their messages."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def hold(self, message_id: str, held: _Held, now: float) -> None:
        """Hold a conversation, and let go of those whose time is over."""
        self._held = {name: other for name, other in self._held.items() if not _is_over(other, now)}
        self._held[message_id] = held

    def resolve(self, body: Mapping[str, Any], now: float) -> Turn | HTTPError | None:
        """The turn of a thread that a request is, or what is wrong with that; None for a request of no thread."""
        kind = at_path(body, "thread", "type")
        if kind == "create":
            return Turn(self, body, None)
        if kind != "continue":
            return None if body.get("thread") is None else _error(400, "thread: Input tag is not one of those expected")
        for name in _CREATE_ONLY:
            if name in body:
                return _error(400, f"{name}: {EXTRA} when a thread is continued: it keeps its own")
        held = self._held.get(str(at_path(body, "thread", "previous_message_id")))
        if held is None or _is_over(held, now):
            sentence = "No usable thread state was found for `previous_message_id`. Replay the full conversation"
            return _error(404, sentence, "thread_not_found")
        if held.state is _State.IN_FLIGHT:
            sentence = "Another request is still continuing from the same `previous_message_id`"
            return _error(400, sentence, "thread_continue_in_flight")
        if held.state is _State.CONTINUED:
            sentence = "The response that `previous_message_id` names has already been continued"
            return _error(400, sentence, "thread_already_continued")
        held.at = now
        new = as_list(body.get("messages"))
        return Turn(self, {**as_object(body), **held.kept, "messages": [*held.messages, *new]}, held)


def _is_over(held: _Held, now: float) -> bool:
    return now - held.at > EXPIRES_AFTER


def _error(status: int, message: str, code: str | None = None) -> HTTPError:
    details = None if code is None else {"error_code": code}
    return HTTPError(status, None, message, None, {}, None, details)
