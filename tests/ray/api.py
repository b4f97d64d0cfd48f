"""What the tests of the Ray adapter share: a scripted API in memory that is asked from another thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import trio_stream as ts
from trio_stream.ray import StreamBatch
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, say

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 256}


def prompt_of(request: RecordedRequest) -> str:
    content = request.messages[-1]["content"]
    assert isinstance(content, str)
    return content


def echo(request: RecordedRequest) -> list[Step]:
    return [say(f"<{prompt_of(request)}>")]


class Maker:
    """Makes `StreamBatch`es of a scripted API, and ends them after the test."""

    def __init__(self) -> None:
        self.made: list[StreamBatch] = []

    def __call__(self, api: ScriptedAPI, **options: Any) -> StreamBatch:
        batch = StreamBatch(**{**PARAMS, "client": lambda: ts.Client(api_key="test", transport=api), **options})
        self.made.append(batch)
        return batch


@pytest.fixture
def make() -> Iterator[Maker]:
    maker = Maker()
    yield maker
    for batch in maker.made:
        batch.close()
