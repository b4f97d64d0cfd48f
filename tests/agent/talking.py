"""What the tests of conversations share: a conversation with a scripted API, and looking at its history.

What belongs here: making them. What does not: the sweep over all steps (`sweeping`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import trio

import trio_stream as ts
from trio_stream import agent
from trio_stream.testing import ScriptedAPI

MODEL = "claude-sonnet-5-5"


@agent.tool
async def wait(seconds: float) -> str:
    """Wait."""
    await trio.sleep(seconds)
    return f"waited {seconds:g}"


def conversation(api: ScriptedAPI, *tools: Any, **options: Any) -> agent.Conversation:
    """A conversation whose client does not try again."""
    return agent.Conversation(client_of(api), **{"model": MODEL, "max_tokens": 64, "tools": tools, **options})


def client_of(api: ScriptedAPI) -> ts.Client:
    return ts.Client(api_key="test", transport=api, max_retries=0)


def results_in(message: Mapping[str, Any]) -> list[str]:
    """The results of calls in a message."""
    return [block["content"] for block in message["content"] if block["type"] == "tool_result"]


def sent(api: ScriptedAPI, number: int) -> list[dict[str, Any]]:
    """The messages of a request, counted from 0."""
    messages: list[dict[str, Any]] = api.requests[number].body["messages"]
    return messages


async def read(run: agent.Run) -> list[Any]:
    """All events of a run."""
    return [event async for event in run]


def of_type(events: Iterable[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
