"""What the tests of the fan-out share: a client of a scripted API in memory, and a journal that only remembers."""

from __future__ import annotations

from typing import Any

import trio_stream as ts
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, say

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 256}


NO_LIMITS: dict[str, str | None] = dict.fromkeys(
    f"anthropic-ratelimit-{kind}-{what}"
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    for what in ("limit", "remaining", "reset")
)
"""Takes away the headers of rate limits that a scripted answer has by itself."""


def prompt_of(request: RecordedRequest) -> str:
    content = request.messages[-1]["content"]
    assert isinstance(content, str)
    return content


def echo(request: RecordedRequest) -> list[Step]:
    """An answer that repeats the prompt, a second later."""
    return [say(f"<{prompt_of(request)}>", ttft=1.0)]


def by_prompt(**scripts: list[Step]) -> Any:
    """A default that answers each prompt by its own script: tasks start in any order."""
    return lambda request: scripts[prompt_of(request)]


def client_of(*scripts: list[Step], default: Any = echo, **options: Any) -> tuple[ts.Client, ScriptedAPI]:
    """A client whose requests get these scripts in turn, and then the default."""
    api = ScriptedAPI(*scripts, default=default, **options)
    return ts.Client(api_key="test-key", transport=api), api


class Notes:
    """A journal in memory, and what was called on it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.hashes: dict[str, str] = {}
        self.ended: dict[str, ts.Outcome] = {}
        self.partials: dict[str, str] = {}
        self.closed = False

    def lookup(self, key: str, request_hash: str) -> ts.Outcome | None:
        if self.hashes.setdefault(key, request_hash) != request_hash:
            raise ts.JournalConflictError("another request", id=key)
        known = self.ended.get(key)
        return None if known is None else ts.Outcome(status="cached", text=known.text)

    def start(self, key: str, request_hash: str, *, index: int, tag: object) -> None:
        self.calls.append(("start", key))

    def end(self, key: str, outcome: ts.Outcome) -> None:
        self.calls.append(("end", key))
        self.ended[key] = outcome

    def partial(self, key: str, text: str, *, request_id: str | None = None, usage: ts.Usage | None = None) -> None:
        self.calls.append(("partial", key))
        self.partials[key] = text

    def close(self) -> None:
        self.closed = True
