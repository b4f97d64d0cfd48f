"""What the tests of fan-outs via batches share: a client of a scripted API with batches, and what was asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

import trio_stream as ts
from trio_stream.testing import Batches, RecordedRequest, ScriptedAPI, http_error
from trio_stream.testing._timeline import Wait, error_answer

from .api import PARAMS, echo, prompt_of


def api_of(batches: Batches | None = None, default: Any = echo) -> tuple[ts.Client, ScriptedAPI]:
    """A client of a scripted API with batches."""
    api = ScriptedAPI(default=default, batches=batches or Batches(), strict=True)
    return ts.Client(api_key="test-key", transport=api), api


def items_of(count: int) -> list[ts.Item]:
    return [ts.Item(f"prompt {number}", id=f"q{number}") for number in range(count)]


async def run(client: ts.Client, items: Any, **options: Any) -> tuple[list[ts.Outcome], ts.FanOut]:
    options = {**PARAMS, "via": "batch", **options}
    async with ts.fan_out(client, items, **options) as results:
        outcomes = [outcome async for outcome in results]
    return outcomes, results


def streamed(api: ScriptedAPI) -> list[str]:
    """The prompts of the messages that were streamed."""
    return [prompt_of(request) for request in api.requests if request.path == "/v1/messages"]


def creations(api: ScriptedAPI) -> list[RecordedRequest]:
    """The requests that were to create a batch."""
    return [request for request in api.requests if (request.method, request.path) == ("POST", "/v1/messages/batches")]


def asked(api: ScriptedAPI) -> Counter[str]:
    """How often each prompt was asked, in batches that exist and in streams."""
    assert api.batches is not None
    found = Counter(streamed(api))
    for request in creations(api):
        found.update(each["params"]["messages"][0]["content"] for each in request.body["requests"])
    return found


def statuses(outcomes: list[ts.Outcome]) -> Counter[str]:
    return Counter(outcome.status for outcome in outcomes)


def reason_of(results: ts.FanOut) -> str | None:
    """Why a run stopped before its end."""
    return None if results.stats.stopped is None else results.stats.stopped.reason


def records(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


# What a server may do that is in no list of faults.

NEVER = object()
"""A request that is not answered."""

Odds: TypeAlias = Callable[[RecordedRequest], Any]


class Odd(Batches):
    """Answers some requests about batches in its own way: with an `http_error`, or `NEVER`."""

    def __init__(self, odds: Odds, **options: Any) -> None:
        super().__init__(**options)
        self.odds = odds

    def answer(self, request: RecordedRequest, *arguments: Any, **more: Any) -> Any:
        odd = self.odds(request)
        if odd is NEVER:
            return iter([Wait(float("inf"))])
        if odd is not None:
            return error_answer(odd, *arguments)
        return super().answer(request, *arguments, **more)


def is_creation(request: RecordedRequest) -> bool:
    return (request.method, request.path) == ("POST", "/v1/messages/batches")


def is_list(request: RecordedRequest) -> bool:
    return (request.method, request.path) == ("GET", "/v1/messages/batches")


def once(which: Callable[[RecordedRequest], bool], status: int, message: str, **more: Any) -> Odds:
    """The first such request fails."""
    done: list[RecordedRequest] = []

    def odds(request: RecordedRequest) -> Any:
        if not which(request) or done:
            return None
        done.append(request)
        return http_error(status, message=message, **more)

    return odds


def always(which: Callable[[RecordedRequest], bool], status: int, *, since: float = 0.0) -> Odds:
    """All such requests fail from a moment on."""
    return lambda request: http_error(status) if which(request) and request.at >= since else None
