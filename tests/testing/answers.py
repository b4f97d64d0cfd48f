"""Reading scripted answers in tests, with nothing of the library: events by `json`, timelines without a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import trio

from trio_stream.testing import Step
from trio_stream.testing._timeline import AnswerContext, AnswerHead, Cut, Data, Moment, Wait, timeline

KEY = {"x-api-key": "key", "anthropic-version": "2026-10-21"}
PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "hello there"}]
BODY: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 1024, "messages": PROMPT, "stream": True}


def facts(body: dict[str, Any] | None = None, *, stream: bool = True) -> AnswerContext:
    return AnswerContext(number=1, request_id="req_1", body=BODY if body is None else body, stream=stream)


def moments(steps: Iterable[Step], *, stream: bool = True) -> list[Moment]:
    return list(timeline(steps, facts(stream=stream)))


def text_of(steps: Iterable[Step], *, stream: bool = True) -> bytes:
    return b"".join(moment.data for moment in moments(steps, stream=stream) if isinstance(moment, Data))


def events(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream; checks the outer form of each."""
    found: list[dict[str, Any]] = []
    assert data.endswith(b"\n\n")
    for text in data.decode().removesuffix("\n\n").split("\n\n"):
        name, line = text.split("\n")
        fields = json.loads(line.removeprefix("data: "))
        assert name == f"event: {fields['type']}"
        found.append(fields)
    return found


def events_of(*steps: Step) -> list[dict[str, Any]]:
    return events(text_of(steps))


def kinds(found: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]


async def until(condition: Callable[[], object]) -> None:
    """Wait, in real time, for what another task or the kernel is about to do."""
    for _ in range(5_000):
        if condition():
            return
        await trio.sleep(0.001)
    raise AssertionError("it did not happen within five seconds")


def outline(steps: Iterable[Step]) -> list[str | float]:
    """A timeline in short: seconds waited, the status of the head, the types of events, how it was cut."""
    short: list[str | float] = []
    for moment in moments(steps):
        match moment:
            case Wait(seconds=seconds):
                short.append(seconds)
            case AnswerHead(status=status):
                short.append(f"head {status}")
            case Data(data=data):
                short.append(data.partition(b"\n")[0].removeprefix(b"event: ").decode())
            case Cut(reset=reset):
                short.append("reset" if reset else "cut")
    return short
