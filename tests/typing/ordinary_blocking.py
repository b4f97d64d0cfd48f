"""Ordinary use of the blocking client, as a user's program has it: type checkers in strict mode find nothing to say of it.

It is checked, and not run (`make check`, `test_typing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import trio_stream as ts
from trio_stream import blocking


@dataclass
class Report:
    pages: int


def make() -> blocking.Client:
    client = blocking.Client(api_key=lambda: "key", max_retries=3, timeout=ts.Timeouts(silence=30))
    assert_type(client.with_options(max_retries=0), blocking.Client)
    return client


def read(client: blocking.Client, history: list[ts.MessageParam]) -> str:
    call: ts.MessageCall = {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": history}
    assert_type(client.messages.create(**call), ts.Message)
    with client.messages.create(**call, stream=True) as events:
        for raw_event in events:
            assert_type(raw_event, ts.RawMessageStreamEvent)
    with client.messages.stream(**call) as stream:
        for event in stream:
            if event.type == "text":
                assert_type(event.text, str)
        for text in stream.text_stream:
            assert_type(text, str)
        assert_type(stream.get_final_message(), ts.Message)
    with client.beta.messages.stream(**call, output=Report, betas=["b"]) as typed:
        typed.until_done()
        assert_type(typed.parse(), Report)
    assert_type(client.messages.parse(**call, output=Report), Report)
    outcomes = blocking.gather_outcomes(client, ["a"], output=Report, model="m", max_tokens=5)
    assert_type(outcomes[0].value, Report)
    return "".join(blocking.gather_texts(client, ["a"], model="m", max_tokens=5))


def batches(client: blocking.Client) -> int:
    for batch in client.messages.batches.list(limit=5):
        assert_type(batch, ts.MessageBatch)
        for line in client.messages.batches.results(batch):
            assert_type(line, ts.MessageBatchIndividualResponse)
    return client.messages.count_tokens(model="m", messages=[]).input_tokens
