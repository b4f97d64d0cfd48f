"""What the tests of blocking clients share: a client of a scripted API in memory, and the parameters of a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trio_stream import blocking
from trio_stream.testing import ScriptedAPI, Step

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hi"}],
}


@contextmanager
def client_of(*scripts: list[Step], **options: Any) -> Iterator[tuple[blocking.Client, ScriptedAPI]]:
    """A client without retries whose requests get these scripts in turn; afterwards nothing of it is left."""
    api = ScriptedAPI(*scripts)
    options.setdefault("max_retries", 0)
    with blocking.Client(api_key="test-key", transport=api, **options) as client:
        yield client, api
    assert api.open_streams == 0


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread is about to do."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
