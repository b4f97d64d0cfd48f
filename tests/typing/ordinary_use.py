"""Ordinary use of this library, as a user's program has it: type checkers in strict mode find nothing to say of it.

It is checked, and not run (`make check`, `test_typing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import trio_stream as ts

WEATHER: ts.ToolParam = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def converse(client: ts.Client, question: str) -> str:
    messages: list[ts.InputMessage] = [{"role": "user", "content": question}]
    while True:
        async with client.messages.stream(
            model="claude-sonnet-4-5", max_tokens=1024, messages=messages, tools=[WEATHER]
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="")
        message = stream.message
        messages.append(message)
        if message.stop_reason != "tool_use":
            return message.text
        results: list[ts.ContentBlockParam] = []
        for block in message.content:
            if block.type == "tool_use":
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": look_up(block)})
        messages.append({"role": "user", "content": results})


def look_up(block: ts.ToolUseBlock) -> str:
    match block.input.get("city"):
        case str(city):
            return f"sunny in {city}"
        case _:
            return "which city?"


def as_params(message: ts.Message) -> list[ts.MessageParam]:
    """The same conversation without a `Message` in it."""
    turn = message.to_param()
    blocks: list[ts.ContentBlockParam] = [block.to_param() for block in message.content]
    also: ts.MessageParam = {"role": "assistant", "content": message.content}
    cached = ts.TextBlock(text="Hi").to_param()
    cached["cache_control"] = {"type": "ephemeral"}
    call = ts.ToolUseBlock(id="t", name="weather").to_param()
    call["cache_control"] = {"type": "ephemeral"}
    return [turn, also, {"role": "assistant", "content": [*blocks, cached, call]}]


async def count(client: ts.Client, history: list[ts.MessageParam]) -> int:
    call: ts.MessageCall = {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": history, "timeout": 30}
    message = await client.messages.create(**call)
    counted = await client.messages.count_tokens(model=call["model"], messages=[*history, message])
    return counted.input_tokens + (message.usage.output_tokens or 0)


@dataclass
class Row:
    number: int


async def many(client: ts.Client, rows: list[Row]) -> dict[int, str]:
    items = [ts.Item(f"Translate row {row.number}", tag=row) for row in rows]
    texts: dict[int, str] = {}
    shared: ts.SharedCall = {"model": "claude-haiku-4-5", "max_tokens": 100, "system": "Translate."}
    async with ts.fan_out(
        client, items, limit=ts.Adaptive(1, 8, 64), budget=ts.Budget(requests=9), prices=ts.Prices.of, **shared
    ) as results:
        async for outcome in results:
            texts[outcome.tag.number] = outcome.text
            assert_type(outcome.tag, Row)
    for outcome in await ts.gather_outcomes(client, items, max_attempts=2, **shared):
        texts[outcome.tag.number] = outcome.unwrap()
    plain: list[str] = await ts.gather_texts(client, ["a", "b"], limit=2, model="claude-haiku-4-5", max_tokens=5)
    first = await ts.race(client, [items[0], {"messages": [{"role": "user", "content": "a"}]}], stagger=1, **shared)
    second: ts.Outcome[Row] = await ts.hedge(client, items[0], after=2.0, max_retries=1, **shared)
    untyped: list[ts.Outcome] = await ts.gather_outcomes(client, plain, **shared)
    return texts | {first.tag.number: first.text, second.tag.number: second.text, -1: untyped[0].text}


async def extract(client: ts.Client, rows: list[Row]) -> list[Row]:
    shared: ts.MessageCall = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": []}
    found = await client.messages.parse(output=Row, **shared)
    assert_type(found, Row)
    assert_type(await client.beta.messages.parse(output=list[Row], **shared), list[Row])
    items = ts.Items(Row)
    async with client.messages.stream(output=list[Row], **shared) as stream:
        async for text in stream.text_stream:
            for row in items.feed(text):
                assert_type(row, Row)
    assert_type(stream.parse(), list[Row])
    assert_type(stream.parse(dict[str, int]), dict[str, int])
    async with client.messages.stream(**shared) as plain:
        read_out(plain)
    read_out(stream)
    assert_type(ts.OutputType(Row), ts.OutputType[Row])
    either: ts.OutputType[Row | int] = ts.OutputType(Row | int)
    assert_type(await client.messages.parse(output=either, **shared), Row | int)
    async with ts.fan_out(
        client, [ts.Item("a", tag=row) for row in rows], output=Row, retry_invalid=1, model="m", max_tokens=5
    ) as results:
        async for outcome in results:
            assert_type(outcome.value, Row)
            assert_type(outcome.tag, Row)
    for answer in await ts.gather_outcomes(client, ["a"], output=Row, model="m", max_tokens=5):
        assert_type(answer.value, Row)
    return [found]


def read_out(stream: ts.MessageStream) -> str:
    return stream.text


async def at_half_the_price(client: ts.Client, questions: list[str]) -> dict[str, str]:
    batches = client.messages.batches
    requests: list[ts.BatchRequest] = [
        {
            "custom_id": f"q-{number}",
            "params": {
                "model": "claude-haiku-4-5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": question}],
            },
        }
        for number, question in enumerate(questions)
    ]
    batch = await batches.create(requests, timeout=60, workspace_id="wrkspc_1")
    page = await batches.list(limit=5)
    assert_type(page.data, tuple[ts.MessageBatch, ...])
    async for other in batches.list(after_id=batch.id):
        assert_type(other, ts.MessageBatch)
    found: dict[str, str] = {}
    async with batches.results(batch) as lines:
        async for line in lines:
            match line.result:
                case ts.MessageBatchSucceededResult(message=message):
                    found[line.custom_id] = message.text
                case ts.MessageBatchErroredResult(error=error):
                    found[line.custom_id] = error.error.message
                case other_result:
                    found[line.custom_id] = str(other_result.type)
            if line.result.type == "succeeded":
                assert_type(line.result, ts.MessageBatchSucceededResult)
    await client.beta.messages.batches.delete(batch.id, betas=["new-2026-11-01"])
    return found


def why(message: ts.Message, outcome: ts.Outcome) -> str:
    reason: str | None = message.stop_reason
    return "cut" if message.stop_reason == "max_tokens" or outcome.stop_reason == "a_new_reason" else str(reason)


async def ask_for_token() -> ts.Token:
    return ts.Token("secret", expires_at=1e9)


def clients() -> list[ts.Client]:
    first = ts.Client(api_key=lambda: "key")
    return [first, ts.Client(auth_token=ask_for_token), ts.Client(auth=None), first.with_options(api_key=ask_for_token)]
