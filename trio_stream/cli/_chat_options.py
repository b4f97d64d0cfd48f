"""The options of ``trio-stream chat``, as a value.

What belongs here: the options. What does not: reading them from a command line (`_chat_command`), and acting on them
(`_chat`).
"""

from __future__ import annotations

import msgspec


class ChatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options, named as on the command line, in seconds and dollars."""

    model: str
    system: str | None
    max_tokens: int
    tools: tuple[str, ...]
    mcp: tuple[str, ...]
    yes: bool
    load: str | None
    price: tuple[float, float] | None
    base_url: str | None
    timeout: float | None
