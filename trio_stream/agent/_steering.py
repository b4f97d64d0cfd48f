"""What is said to a run while it goes on.

What belongs here: keeping it until it can be delivered, in which order and at which boundary. What does not: the
boundaries themselves (`_turn_loop`).

A text is delivered, or it is in `unsaid`, or `Run.say` returned False: it is never lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, final

import msgspec

from trio_stream._protocol import encode_json

When: TypeAlias = Literal["next", "idle", "now"]
"""When a text is delivered: with the next request, when no call is left, or at once."""

Said: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A text, or content blocks."""

_NOT_SAID: Final = frozenset({"tool_use", "tool_result"})


class Text(NamedTuple):
    """What was said, and when it is to be delivered."""

    content: Said
    when: When


@final
class Steering:
    """The texts of one run that are not delivered yet."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Text] = []

    @property
    def unsaid(self) -> list[Said]:
        """What has not been delivered, in the order in which it was said."""
        return [text.content for text in self._waiting]

    @property
    def is_urgent(self) -> bool:
        """Whether something was said that is to be delivered at once."""
        return any(text.when == "now" for text in self._waiting)

    def add(self, content: Said, when: When) -> None:
        """Keep a text until it can be delivered."""
        self._waiting.append(Text(content, when))

    def take(self, *, idle: bool) -> list[Text]:
        """Take out what is to be delivered at a boundary.

        Args:
          idle: Whether no call is left, and the model has nothing more to say.
        """
        taken = [text for text in self._waiting if idle or text.when != "idle"]
        self._waiting = [text for text in self._waiting if not idle and text.when == "idle"]
        return taken


def content_of(parts: tuple[Any, ...]) -> Said:
    """The content of a message that is made of texts and blocks, as plain JSON that nobody else holds and can change.

    What the API would refuse in every later request is refused here, or left out: blank texts, and calls and their
    results, which are the model's and the run's.

    Raises:
      ValueError: There is nothing in it, or calls or results are; or it cannot be written as JSON.
      TypeError: A part is neither a text nor a block, or is not JSON.
    """
    given: list[object] = []
    for part in parts:
        if isinstance(part, str):
            given.append({"type": "text", "text": part})
        elif isinstance(part, Mapping) or hasattr(part, "to_param"):
            given.append(cast("object", part))
        else:
            raise TypeError(f"content is made of texts and content blocks, not of {type(part).__name__}")
    blocks = msgspec.json.decode(encode_json(given, "content"), type=list[dict[str, Any]])
    blocks = [block for block in blocks if not _is_blank(block)]
    if not blocks:
        raise ValueError("there is nothing to say: the content is empty")
    for block in blocks:
        if block.get("type") in _NOT_SAID:
            raise ValueError(
                f"a {block['type']} block cannot be said: calls are the model's, and results are the run's"
            )
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return blocks


def _is_blank(block: Mapping[str, Any]) -> bool:
    text = block.get("text")
    return block.get("type") == "text" and isinstance(text, str) and not text.strip()
