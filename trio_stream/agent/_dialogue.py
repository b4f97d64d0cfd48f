"""The state of a conversation, and the requests that are made of it.

What belongs here: what is committed, what is under way, and the parameters of the next request. What does not: the
course of a run (`_turn_loop`), and what users see (`_conversation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, final

import msgspec

from trio_stream._client import Client
from trio_stream._limiter import Lane
from trio_stream._protocol import Message, Reply, Usage, replies_as_history
from trio_stream._stream import MessageStreamManager
from trio_stream.agent._cache_marks import Lifetime, cache_breakpoint, mark
from trio_stream.agent._toolset import Toolset
from trio_stream.agent._transcript import Transcript, encode
from trio_stream.agent._turn import Turn


@final
class ConversationUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the replies of a conversation have used.

    Attributes:
      total: The sum over all replies that came to their end, and the input of those that were cut.
      replies: How many replies came to their end.
      unknown_replies: How many were cut: their output is not known, so it is in no sum.
    """

    total: Usage = msgspec.field(default_factory=Usage)
    replies: int = 0
    unknown_replies: int = 0

    @property
    def input_tokens(self) -> int:
        """Uncached input tokens."""
        return self.total.input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens of the replies that came to their end."""
        return self.total.output_tokens

    @property
    def cache_read_input_tokens(self) -> int:
        """Input tokens read from the prompt cache."""
        return self.total.cache_read_input_tokens or 0

    @property
    def cache_creation_input_tokens(self) -> int:
        """Input tokens written to the prompt cache."""
        return self.total.cache_creation_input_tokens or 0

    def add(self, usage: Usage) -> ConversationUsage:
        """This and a reply that came to its end."""
        return msgspec.structs.replace(self, total=self.total + usage, replies=self.replies + 1)

    def add_cut(self, usage: Usage) -> ConversationUsage:
        """This and a reply that was cut."""
        known = msgspec.structs.replace(usage, output_tokens=0, output_tokens_details=None)
        return msgspec.structs.replace(self, total=self.total + known, unknown_replies=self.unknown_replies + 1)


@final
class Dialogue:
    """The state of one conversation.

    Attributes:
      client: Sends the requests.
      params: The parameters of every request, but for messages, ``system`` and ``tools``.
      fixed: ``system`` and ``tools`` as they are sent: built once, because a change of them makes the prompt cache
        worthless.
      tools: Runs the calls.
      note: What the text after a cut reply begins with, or None.
      cache: How long the prompt cache is to last, or None for no breakpoints.
      transcript: What is committed.
      pending: Whole replies that the next one goes on from. They are committed with it.
      turn: The turn that is under way, or None.
      container: The container of the last reply that had one.
      usage: What the replies have used.
      busy: Whether a run is under way.
    """

    cache: Lifetime | None
    transcript: Transcript
    usage: ConversationUsage

    def __init__(
        self,
        client: Client,
        *,
        params: Mapping[str, Any],
        fixed: Mapping[str, Any],
        tools: Toolset,
        note: str | None,
        cache: Lifetime | None,
    ) -> None:
        self.client = client
        self.params = params
        self.fixed = fixed
        self.tools = tools
        self.note = note
        self.cache = cache
        self.transcript = Transcript()
        self.pending: list[Reply] = []
        self.turn: Turn | None = None
        self.container: str | None = None
        self.usage = ConversationUsage()
        self.busy = False

    def check_idle(self) -> None:
        """Refuse a second run.

        Raises:
          RuntimeError: One is under way.
        """
        if self.busy:
            raise RuntimeError("a run of this conversation is under way: say something to it, or fork the conversation")

    def copy(self, upto: int | None) -> Dialogue:
        """A dialogue with the committed messages up to a number, and nothing that is under way."""
        copy = Dialogue(
            self.client, params=self.params, fixed=self.fixed, tools=self.tools, note=self.note, cache=self.cache
        )
        entries = self.transcript.entries
        boundary = len(entries) if upto is None else self.transcript.boundary(upto)
        copy.transcript.extend(entries[:boundary])
        copy.transcript.interrupted = boundary == len(entries) and self.transcript.interrupted
        copy.container = self.container
        return copy

    def open_replies(self) -> list[Reply]:
        """The replies that are not committed."""
        return list(self.pending) if self.turn is None else self.turn.replies()

    def _history(self, replies: Sequence[Reply], *, goes_on: bool = False) -> list[Mapping[str, Any]]:
        """The messages of replies that go on from one another.

        Args:
          replies: The replies.
          goes_on: Whether they are sent in order to be gone on from.
        """
        kept = replies_as_history(
            replies,
            goes_on=goes_on,
            container_known=self.known_container is not None,
            waiting=self.transcript.unanswered,
        )
        return cast("list[Mapping[str, Any]]", kept)

    @property
    def known_container(self) -> str | None:
        """The container of the model's programs, as far as it is known now."""
        message = None if self.turn is None else self.turn.message
        return self.container if message is None or message.container is None else message.container.id

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as it would be if nothing came any more: what is committed, and what is kept of the rest."""
        return [*self.transcript.messages(), *(dict(message) for message in self._history(self.open_replies()))]

    def snapshot(self) -> Dialogue:
        """A dialogue as this one would be if nothing came any more."""
        snapshot = self.copy(None)
        snapshot.usage, snapshot.container = self.usage, self.known_container
        replies = self.open_replies()
        if replies:
            snapshot.commit(replies, cut=replies[-1].stop_reason is None or bool(self.pending))
        return snapshot

    def commit(self, replies: Sequence[Reply], *, cut: bool) -> None:
        """Commit replies and the results of their calls.

        Args:
          replies: The replies.
          cut: Whether the last of them stopped where nobody meant it to stop.
        """
        kept = self._history(replies)
        self.pending = []
        self.transcript.append(kept)
        if kept:
            # With results after it, the reply was whole.
            self.transcript.interrupted = cut and kept[-1]["role"] == "assistant"

    def count(self, message: Message, *, cut: bool) -> None:
        """Add up what a reply used."""
        self.usage = self.usage.add_cut(message.usage) if cut else self.usage.add(message.usage)

    def lane(self, params: Mapping[str, Any]) -> Lane | None:
        """The lane that requests of a run wait in; None if neither they nor the client say one.

        Args:
          params: Parameters of the run alone.
        """
        lane: Lane | None = {**self.params, **params}.get("lane", self.client.lane)
        return lane

    def request(
        self, params: Mapping[str, Any], *, first: bool, more: Sequence[Mapping[str, Any]] = ()
    ) -> MessageStreamManager:
        """The next request.

        Args:
          params: Parameters of this run alone.
          first: Whether it is the first request of the run.
          more: Messages after those of the conversation.

        Raises:
          Exception: As ``client.messages.stream``.
        """
        call: dict[str, Any] = {**self.params, **params}
        choice: Mapping[str, Any] = call.get("tool_choice") or {}
        if not first and choice.get("type") in ("any", "tool"):
            # It would make the model call tools for ever. Whether it may call several at once stays as it was.
            del call["tool_choice"]
            if "disable_parallel_tool_use" in choice:
                one_by_one = choice["disable_parallel_tool_use"]
                call["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": one_by_one}
        if self.container is not None:
            given: object = call.get("container")
            skills = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else None
            call["container"] = self.container if skills is None else {**skills, "id": self.container}
        call.update(self.fixed)
        entries = [
            *self.transcript.entries,
            *map(encode, self._history(self.pending, goes_on=True)),
            *map(encode, more),
        ]
        if self.cache is None:
            call["messages"] = [entry.raw for entry in entries]
        else:
            call["cache_control"] = cache_breakpoint(self.cache)
            call["messages"] = mark(entries, self.cache, elsewhere=_breakpoints(self.fixed))
        messages = self.client.beta.messages if "betas" in call else self.client.messages
        return messages.stream(**call)


def _breakpoints(fixed: Mapping[str, Any]) -> int:
    """How many blocks of ``system`` and ``tools`` are breakpoints of the prompt cache."""
    count = 0
    for name in ("system", "tools"):
        parts = fixed.get(name) or ()
        count += 0 if isinstance(parts, str) else sum(1 for part in parts if part.get("cache_control"))
    return count
