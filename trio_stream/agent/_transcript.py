"""The committed messages of a conversation.

What belongs here: keeping them as JSON, and what has to be known of them without decoding them all. What does not: the
turn that is under way (`_turn`), and how the messages of a reply come about (`_protocol`).

A message is encoded once. A request has most of its messages in common with the one before, so it costs nothing to make
it of a thousand of them. What is committed never changes: messages are only appended, and `Conversation.compact` alone
puts others in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast, final

import msgspec

from trio_stream._protocol import encode_json
from trio_stream.agent._steering import Said

_SERVER_CALLS: Final = frozenset({"server_tool_use", "mcp_tool_use"})

INTERRUPT_NOTE: Final = "(The reply before this was interrupted.)"


class Entry(NamedTuple):
    """A message, and what is known of it.

    Attributes:
      raw: The message as JSON.
      role: Whose message it is.
      blocks: How many blocks it has.
      breakpoints: How many of them are breakpoints of the prompt cache.
      holds_calls: Whether it holds calls of the caller's tools.
      holds_results: Whether it holds their results.
      calls_by_programs: Whether it holds calls that a program of the model's has made.
      server_calls: The ids of its calls of the API's own tools.
      answers: The ids of the calls whose results it holds.
    """

    raw: msgspec.Raw
    role: str
    blocks: int
    breakpoints: int
    holds_calls: bool
    holds_results: bool
    calls_by_programs: bool
    server_calls: frozenset[str]
    answers: frozenset[str]


@final
class Transcript:
    """Messages that only become more.

    Attributes:
      entries: The messages.
      interrupted: Whether the last reply was cut, so that the next text has to say so.
      unanswered: The ids of calls of the API's own tools that have no result.
    """

    __slots__ = ("entries", "interrupted", "unanswered")

    interrupted: bool

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.interrupted = False
        self.unanswered: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Commit messages: all of them, or none if one cannot be encoded.

        Raises:
          Exception: As `encode_json`.
        """
        self.extend([encode(message) for message in messages])

    def extend(self, entries: Sequence[Entry]) -> None:
        """Commit messages that are encoded."""
        self.entries.extend(entries)
        for entry in entries:
            self.unanswered = (self.unanswered | entry.server_calls) - entry.answers

    def say(self, content: Said, note: str | None) -> None:
        """Commit what the user says, after the note if the reply before was cut.

        Raises:
          Exception: As `encode_json`.
        """
        if note is not None and self.interrupted:
            is_text = isinstance(content, str)
            content = f"{note}\n\n{content}" if is_text else [{"type": "text", "text": note}, *content]
        self.append([{"role": "user", "content": content}])
        self.interrupted = False

    def messages(self) -> list[dict[str, Any]]:
        """The messages, decoded: a list that the caller may change."""
        return [msgspec.json.decode(entry.raw) for entry in self.entries]

    @property
    def waits_for_reply(self) -> bool:
        """Whether the last message is one that the model has to answer."""
        return bool(self.entries) and self.entries[-1].role == "user"

    @property
    def takes_only_a_reply(self) -> bool:
        """Whether nothing but a reply may follow: a program of the model's waits for the results of its calls."""
        return len(self.entries) > 1 and self.entries[-1].holds_results and self.entries[-2].calls_by_programs

    def beside_summary(self) -> list[Entry]:
        """What a summary cannot stand for: messages of the system's, and what the user has said since the last reply.

        Results of calls are no part of what the user has said.
        """
        answered = len(self.entries)
        while answered and not (
            self.entries[answered - 1].role == "assistant" or self.entries[answered - 1].holds_results
        ):
            answered -= 1
        return [entry for number, entry in enumerate(self.entries) if entry.role == "system" or number >= answered]

    def boundary(self, upto: int) -> int:
        """The greatest number of messages, up to ``upto``, that can be taken without parting calls and results."""
        if upto >= len(self.entries):
            return len(self.entries)
        boundary = 0
        unanswered: frozenset[str] = frozenset()
        for number, entry in enumerate(self.entries[: max(upto, 0)], start=1):
            unanswered = (unanswered | entry.server_calls) - entry.answers
            if not unanswered and not entry.holds_calls:
                boundary = number
        return boundary


def encode(message: Mapping[str, Any]) -> Entry:
    """Encode a message.

    Raises:
      Exception: As `encode_json`.
    """
    raw = encode_json(message, "message")
    return describe(raw, cast("Mapping[str, Any]", msgspec.json.decode(raw)))


def describe(raw: msgspec.Raw, message: Mapping[str, Any]) -> Entry:
    """What has to be known of a message.

    Args:
      raw: The message as JSON.
      message: The same, decoded.
    """
    blocks = _blocks(message)
    return Entry(
        raw=raw,
        role=message["role"],
        blocks=len(blocks),
        breakpoints=sum(1 for block in blocks if block.get("cache_control")),
        holds_calls=any(block.get("type") == "tool_use" for block in blocks),
        holds_results=any(block.get("type") == "tool_result" for block in blocks),
        calls_by_programs=any(block.get("type") == "tool_use" and _is_by_program(block) for block in blocks),
        server_calls=frozenset(block["id"] for block in blocks if block.get("type") in _SERVER_CALLS),
        answers=frozenset(str(block.get("tool_use_id")) for block in blocks if "tool_use_id" in block),
    )


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message.get("content", ())
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(_objects(content))


def _objects(content: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    return (cast("Mapping[str, Any]", block) for block in content if isinstance(block, Mapping))


def _is_by_program(block: Mapping[str, Any]) -> bool:
    caller = block.get("caller")
    return isinstance(caller, Mapping) and "tool_id" in caller
