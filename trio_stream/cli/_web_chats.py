"""The conversations of `trio-stream web`, which are the server's: a page says what the user says, and nothing else.

What belongs here: conversations, their turns, and what a page can ask of them. What does not: requests and responses
(`_web_app`), and what a run says to the tabs that read it (`trio_stream.web`).

Each turn of the user's is a run of the hub, under a key of its own. A tab shows a conversation by reading the runs of
all its turns, so what it shows after a reload is what it has shown before, with errors and all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, final

import trio

import trio_stream as ts
from trio_stream import web

_MOST_CHATS: Final = 50
"""Conversations that are kept. The one that was used longest ago makes room for a new one."""

_MOST_TURNS: Final = 100
"""Questions in one conversation."""

_TITLE: Final = 60
"""Characters of the first question that are the title of a conversation."""


class RefusedError(Exception):
    """What a page asks for cannot be done.

    Attributes:
      status: The status of the response. Its text is the sentence of this error.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@final
class Turn:
    """One question and its answer.

    Attributes:
      number: Its number in the conversation. One that is asked again gets a new number.
      content: What the user said, in the form that the API takes.
      first_message: How many messages the conversation had before it.
      run: Its run; None before that has begun.
    """

    def __init__(self, number: int, content: web.UserContent, first_message: int) -> None:
        self.number = number
        self.content = content
        self.first_message = first_message
        self.run: ts.Run | None = None

    @property
    def question(self) -> str:
        """What the user said, as text."""
        return "\n\n".join(block["text"] for block in self.content if block["type"] == "text")


@final
class Chat:
    """One conversation.

    Attributes:
      id: Its id.
      conversation: What the model knows of it.
      turns: Its turns.
      asked: The calls that wait for the user to allow them, by their ids.
      meter: What it has used.
    """

    def __init__(self, conversation: ts.Conversation) -> None:
        self.id = secrets.token_urlsafe(9)
        self.conversation = conversation
        self.turns: list[Turn] = []
        self.asked: dict[str, ts.ApprovalEvent] = {}
        self.meter = ts.Meter()
        self._number = 0

    @property
    def title(self) -> str:
        """The beginning of the first question."""
        if not self.turns:
            return "New conversation"
        words = " ".join(self.turns[0].question.split())
        return words if len(words) <= _TITLE else f"{words[:_TITLE].rstrip()}…"

    def begin(self, content: web.UserContent) -> Turn:
        """Add a turn."""
        self._number += 1
        turn = Turn(self._number, content, len(self.conversation.messages))
        self.turns.append(turn)
        return turn

    def key(self, turn: Turn) -> str:
        """The key of a turn's run in the hub."""
        return f"{self.id}/{turn.number}"


@final
class Chats:
    """All conversations.

    Args:
      hub: Runs the answers.
      new_conversation: Makes a conversation.
      approve: Whether the calls of tools that need it are allowed without asking, or asked about.
      tells_cost: Whether answers cost money.
    """

    def __init__(
        self,
        hub: web.Hub,
        new_conversation: Callable[[], ts.Conversation],
        *,
        approve: Literal["all", "ask"],
        tells_cost: bool,
    ) -> None:
        self._hub = hub
        self._new_conversation = new_conversation
        self._approve = approve
        self._tells_cost = tells_cost
        self._chats: dict[str, Chat] = {}  # the one that was used last is the last

    # What there is.

    def all(self) -> list[dict[str, Any]]:
        """The conversations, the last used first, as JSON."""
        return [
            {"id": chat.id, "title": chat.title, "live": self._is_live(chat)}
            for chat in reversed(self._chats.values())
            if chat.turns
        ]

    def show(self, chat_id: str) -> dict[str, Any]:
        """One conversation, as JSON."""
        chat = self._get(chat_id)
        turns = [{"number": turn.number, "question": turn.question} for turn in chat.turns]
        return {"id": chat.id, "title": chat.title, "turns": turns, "live": self._is_live(chat)}

    def read(self, chat_id: str, number: str, after: str | None) -> web.Respondent:
        """The response that reads the answer of a turn."""
        return self._hub.attach(f"{chat_id}/{number}", after)

    # What a page asks for.

    def new(self) -> dict[str, Any]:
        """Begin a conversation."""
        if len(self._chats) >= _MOST_CHATS:
            idle = next((chat for chat in self._chats.values() if not self._is_live(chat)), None)
            if idle is None:
                raise RefusedError(503, "There are too many answers under way.")
            del self._chats[idle.id]
        chat = Chat(self._new_conversation())
        self._chats[chat.id] = chat
        return self.show(chat.id)

    def ask(self, chat_id: str, content: web.UserContent) -> dict[str, Any]:
        """Say something, which the model answers."""
        chat = self._get_idle(chat_id)
        if len(chat.turns) >= _MOST_TURNS:
            raise RefusedError(409, "This conversation is full: begin a new one.")
        self._chats[chat.id] = self._chats.pop(chat.id)
        return self._start(chat, content)

    def ask_again(self, chat_id: str) -> dict[str, Any]:
        """Ask the last question again, as if it had not been asked before."""
        chat = self._get_idle(chat_id)
        if not chat.turns:
            raise RefusedError(409, "There is nothing to try again.")
        last = chat.turns.pop()
        chat.conversation = chat.conversation.fork(last.first_message)
        return self._start(chat, last.content)

    def stop(self, chat_id: str) -> dict[str, Any]:
        """Stop the answer that is under way."""
        chat = self._get(chat_id)
        if not self._is_live(chat):
            return {"stopped": False}
        turn = chat.turns[-1]
        reason = "You stopped this answer."
        if turn.run is None:  # it is about to begin
            return {"stopped": self._hub.stop(chat.key(turn), reason)}
        turn.run.interrupt(reason)  # what has been said stays in the conversation
        return {"stopped": True}

    def decide(self, chat_id: str, call_id: str, *, is_allowed: bool) -> dict[str, Any]:
        """Allow a call of a tool, or do not."""
        event = self._get(chat_id).asked.pop(call_id, None)
        if event is None:
            raise RefusedError(409, "This call does not wait for an answer any more.")
        if is_allowed:
            event.allow()
        else:
            event.deny("the user did not allow it")
        return {"decided": is_allowed}

    def _get(self, chat_id: str) -> Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            raise RefusedError(404, "This conversation is not here any more.")
        return chat

    def _get_idle(self, chat_id: str) -> Chat:
        chat = self._get(chat_id)
        if self._is_live(chat):
            raise RefusedError(409, "An answer is under way in this conversation.")
        return chat

    def _is_live(self, chat: Chat) -> bool:
        return bool(chat.turns) and chat.key(chat.turns[-1]) in self._hub

    # Answers.

    def _start(self, chat: Chat, content: web.UserContent) -> dict[str, Any]:
        turn = chat.begin(content)

        async def answer(out: web.Output) -> None:
            await self._answer(chat, turn, out)

        def done(_run: web.HubRun) -> None:
            chat.asked.clear()
            turn.run = None

        try:
            self._hub.start(chat.key(turn), answer, web.Anthropic(), done=done)
        except web.HubFullError as error:
            chat.turns.pop()
            raise RefusedError(503, "There are too many answers under way.") from error
        return {"turn": turn.number}

    async def _answer(self, chat: Chat, turn: Turn, out: web.Output) -> None:
        content: list[Mapping[str, Any]] = [*turn.content]
        approve: Any = "ask" if self._approve == "ask" else _allow
        async with chat.conversation.run(*content, approve=approve, meter=chat.meter) as run:
            turn.run = run
            async for event in run:
                question = _question_in(event)
                if question is not None and self._approve == "all":  # of an agent within a tool, which asks itself
                    question.allow()
                elif question is not None:
                    chat.asked[question.id] = question
                await out.emit(event)
        if run.outcome == "interrupted":
            self._hub.stop(chat.key(turn), run.reason or "interrupted")  # which tells the tabs so
            await trio.lowlevel.checkpoint()
        # The frame that says how it has ended, without which the page takes the answer for cut.
        await out.emit(
            {
                "type": "run_end",
                "outcome": run.outcome,
                "tokens": chat.meter.input_tokens + chat.meter.output_tokens,
                "cost": chat.meter.cost if self._tells_cost else None,
            }
        )


def _question_in(event: ts.RunEvent) -> ts.ApprovalEvent | None:
    """The question that an event asks, also from within a tool."""
    while isinstance(event, ts.NestedEvent):
        event = event.event
    return event if isinstance(event, ts.ApprovalEvent) else None


async def _allow(call: ts.ToolCall) -> Literal[True]:  # noqa: ARG001 - each call alike
    await trio.lowlevel.checkpoint()
    return True
