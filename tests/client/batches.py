"""What the tests of message batches share: requests, clients of a scripted API, and answers as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import trio

import trio_stream as ts
from tests.wire.answers import api_error, sized
from trio_stream.testing import Batches, ScriptedAPI, Step, say

PARAMS: Any = {"model": "claude-sonnet-5", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}]}
BATCH: dict[str, Any] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {},
}
JSON = b"application/json"


def requests_of(number: int) -> Iterator[ts.BatchRequest]:
    for index in range(number):
        yield {"custom_id": f"q-{index}", "params": PARAMS}


def client_of(*scripts: list[Step], options: dict[str, Any] | None = None, **batches: Any) -> tuple[ts.Client, Any]:
    api = ScriptedAPI(*scripts, default=[say("Hello")], batches=Batches(**batches))
    return ts.Client(api_key="test", transport=api, **(options or {})), api


async def ended(client: ts.Client, number: int) -> ts.MessageBatch:
    """A batch with so many requests that has ended."""
    batch = await client.messages.batches.create(requests_of(number))
    await trio.sleep(60)
    batch = await client.messages.batches.retrieve(batch.id)
    assert batch.ended
    return batch


def answer_of(value: object) -> bytes:
    return sized(json.dumps(value).encode(), content_type=JSON)


def answers(status: int, kind: str, *headers: bytes) -> bytes:
    return api_error(f"{status} X".encode(), kind, *headers)
