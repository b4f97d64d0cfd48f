"""What the stream tests share: a client of a scripted API in memory, and the parameters of a plain request."""

from __future__ import annotations

from typing import Any

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, Step

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hi"}],
}


def client_of(*scripts: list[Step], default: list[Step] | None = None, **options: Any) -> tuple[ts.Client, ScriptedAPI]:
    """A client without retries whose requests get these scripts in turn."""
    api = ScriptedAPI(*scripts, default=default)
    options.setdefault("max_retries", 0)
    return ts.Client(api_key="test-key", transport=api, **options), api
