"""A conversation as JSON, to be continued by another program.

What belongs here: what is written, and reading it. What does not: when it is written (`_turn_loop`).

Tools are saved as their definitions, which are sent again as they were: functions are matched by their names.
Credentials, and the options of a client (timeouts, extra headers), are not saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

import msgspec

from trio_stream._client import OPTION_NAMES, Client
from trio_stream._protocol import JSON_ERRORS, Usage, encode_json
from trio_stream.agent._dialogue import ConversationUsage, Dialogue
from trio_stream.agent._tool import Tool
from trio_stream.agent._toolset import Toolset
from trio_stream.agent._transcript import describe

VERSION: Final = 1


class _SavedMessage(msgspec.Struct, frozen=True):
    """As much of a message as has to be right for it to be read."""

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]] = ""


class _SavedFixed(msgspec.Struct, frozen=True):
    """The same of what never changes."""

    system: str | list[dict[str, Any]] = ""
    tools: list[dict[str, Any]] = []


class _Saved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is saved of a conversation."""

    version: int
    params: dict[str, Any]
    fixed: dict[str, Any]
    messages: list[msgspec.Raw]
    interrupted: bool = False
    container: str | None = None
    note: str | None = None
    cache: Literal["5m", "1h"] | None = None
    usage: dict[str, Any] = {}
    replies: int = 0
    unknown_replies: int = 0


def to_json(dialogue: Dialogue) -> bytes:
    """Write a conversation as it would be if nothing came any more.

    Raises:
      TypeError: A parameter is not JSON.
      ValueError: A parameter cannot be written as JSON.
    """
    now = dialogue.snapshot()
    params = {name: value for name, value in now.params.items() if name not in OPTION_NAMES}
    saved = _Saved(
        version=VERSION,
        params=msgspec.json.decode(encode_json(params, "parameters"), type=dict[str, Any]),
        fixed=dict(now.fixed),
        messages=[entry.raw for entry in now.transcript.entries],
        interrupted=now.transcript.interrupted,
        container=now.container,
        note=now.note,
        cache=now.cache,
        usage=now.usage.total.to_dict(),
        replies=now.usage.replies,
        unknown_replies=now.usage.unknown_replies,
    )
    return msgspec.json.encode(saved)


def from_json(client: Client, data: bytes | str, tools: Iterable[Tool | Mapping[str, Any]]) -> Dialogue:
    """Read a conversation.

    Raises:
      ValueError: It is none, or of a later version; or a tool is not one of the conversation's.
    """
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        for raw in saved.messages:
            msgspec.json.decode(raw, type=_SavedMessage)
        msgspec.convert(saved.fixed, _SavedFixed)
    except JSON_ERRORS as error:
        raise ValueError(f"this is not a saved conversation: {error}") from error
    if saved.version != VERSION:
        raise ValueError(f"this conversation was saved in the form {saved.version}, and {VERSION} is known")
    given = Toolset(tools)
    known = {definition.get("name") for definition in saved.fixed.get("tools", ())}
    for definition in given.definitions:
        if definition.get("name") not in known:
            raise ValueError(f"the saved conversation has no tool {definition.get('name')!r}: its tools cannot change")
    dialogue = Dialogue(client, params=saved.params, fixed=saved.fixed, tools=given, note=saved.note, cache=saved.cache)
    dialogue.container = saved.container
    dialogue.usage = ConversationUsage(
        total=Usage.from_wire(saved.usage), replies=saved.replies, unknown_replies=saved.unknown_replies
    )
    dialogue.transcript.extend(
        [describe(raw, cast("dict[str, Any]", msgspec.json.decode(raw))) for raw in saved.messages]
    )
    dialogue.transcript.interrupted = saved.interrupted
    return dialogue
