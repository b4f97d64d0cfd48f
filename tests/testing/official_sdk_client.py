"""Run by the official SDK's own Python (see test_official_sdk.py): talks to the served port, prints what it got.

Usage: python official_sdk_client.py BASE_URL
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import anthropic  # type: ignore[import-not-found, unused-ignore]
import trio

TOOLS: list[Any] = [
    {
        "name": "get_weather",
        "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
MESSAGES: list[Any] = [{"role": "user", "content": "How is the weather?"}]
COMMON: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 2048}


def blocks(message: Any) -> list[Any]:
    return [block.model_dump(exclude_none=True) for block in message.content]


async def streamed(client: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with client.messages.stream(**COMMON, messages=MESSAGES) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    seen["texts"] = texts
    seen["text"] = message.content[0].text
    seen["stop_reason"] = message.stop_reason
    seen["output_tokens"] = message.usage.output_tokens
    return seen


async def conversation(client: Any) -> dict[str, Any]:
    """Thinking, then a tool, then its result: the server is strict about all of it."""
    seen: dict[str, Any] = {}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    messages = list(MESSAGES)
    async with client.messages.stream(**COMMON, messages=messages, tools=TOOLS, thinking=thinking) as stream:
        seen["events"] = [event.type async for event in stream]
        first = await stream.get_final_message()
    seen["first"] = blocks(first)
    seen["stop_reason"] = first.stop_reason
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    async with client.messages.stream(**COMMON, messages=messages, tools=TOOLS, thinking=thinking) as stream:
        second = await stream.get_final_message()
    seen["second"] = blocks(second)
    return seen


async def beta(client: Any) -> Any:
    async with client.beta.messages.stream(**COMMON, messages=MESSAGES, betas=["some-beta-2026-01-01"]) as stream:
        message = await stream.get_final_message()
    return message.content[0].text


async def errors(client: Any) -> list[Any]:
    seen: list[Any] = []
    for _ in range(2):
        try:
            async with client.messages.stream(**COMMON, messages=MESSAGES) as stream:
                await stream.get_final_message()
        except anthropic.APIStatusError as error:
            seen.append([type(error).__name__, error.status_code, error.type, error.request_id is not None])
    return seen


async def batches(client: Any) -> dict[str, Any]:
    """One that ends at once, from its creation to its deletion."""
    requests = [{"custom_id": f"q-{number}", "params": {**COMMON, "messages": MESSAGES}} for number in range(3)]
    batch = await client.messages.batches.create(requests=requests)
    looked_at = await client.messages.batches.retrieve(batch.id)
    found = [
        [line.custom_id, line.result.model_dump(exclude_none=True)]
        async for line in await client.messages.batches.results(batch.id)
    ]
    listed = [other.id async for other in client.messages.batches.list(limit=1)]
    deleted = await client.messages.batches.delete(batch.id)
    return {
        "status": looked_at.processing_status,
        "counts": looked_at.request_counts.model_dump(),
        "hour": (looked_at.expires_at - looked_at.created_at).total_seconds() / 3600,
        "found": found,
        "listed": listed == [batch.id] and deleted.id == batch.id,
        "deleted": deleted.type,
    }


async def main(base_url: str) -> dict[str, Any]:
    report: dict[str, Any] = {"version": anthropic.__version__}
    async with anthropic.AsyncAnthropic(base_url=base_url, api_key="key", max_retries=0) as client:
        report["streamed"] = await streamed(client)
        report["conversation"] = await conversation(client)
        report["beta"] = await beta(client)
        message = await client.messages.create(**COMMON, messages=MESSAGES)
        report["created"] = blocks(message)
        counted = await client.messages.count_tokens(model="claude-opus-5", messages=MESSAGES)
        report["counted"] = counted.input_tokens
        report["errors"] = await errors(client)
        report["batches"] = await batches(client)
    report["sync"] = sync(base_url)
    return report


def sync(base_url: str) -> str:
    with (
        anthropic.Anthropic(base_url=base_url, auth_token="token", max_retries=0) as client,
        client.messages.stream(**COMMON, messages=MESSAGES) as stream,
    ):
        return "".join(stream.text_stream)


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = trio.run(main, sys.argv[1])
    # Its abandoned async generators are its own affair; what it says about the answers is ours.
    report["complaints"] = [str(warning.message) for warning in caught if warning.category is not ResourceWarning]
    print(json.dumps(report))
