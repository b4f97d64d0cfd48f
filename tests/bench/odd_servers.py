"""Bad days and odd servers, on a mock clock: ``python -m tests.bench.odd_servers``.

What belongs here: the scenarios, and what `trio_stream.fan_out` makes of each. What does not: full quotas, and other
strategies (`rate_control`).

Each line of the table stands for one scenario: how long the job took, how many of its requests failed, and how many
items have no answer at the end.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import trio
import trio.testing

import trio_stream as ts
from trio_stream.batch import Adaptive, fan_out
from trio_stream.testing import Quota, RecordedRequest, ScriptedAPI, Step, disconnect, headers, http_error, pause, say

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 1024}
MOST_ATTEMPTS = 8
"""As on the command line."""

_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
NO_LIMITS: dict[str, str | None] = dict.fromkeys(
    f"anthropic-ratelimit-{kind}-{what}" for kind in _KINDS for what in ("limit", "remaining", "reset")
)

Answer: TypeAlias = Callable[[RecordedRequest, float], Sequence[Step]]
"""The answer to a request, and the seconds since the first one."""


class Scenario(NamedTuple):
    """What is asked, and how the server behaves.

    Attributes:
      name: As in the table.
      prompts: The items.
      answer: The server.
    """

    name: str
    prompts: list[str]
    answer: Answer


class Result(NamedTuple):
    """How a job went."""

    seconds: float
    statuses: Counter[str]
    requests: int
    stopped: str | None

    @property
    def lost(self) -> int:
        """How many items have no answer."""
        return self.statuses.total() - self.statuses["ok"]

    @property
    def failed(self) -> int:
        """How many requests had no answer."""
        return self.requests - self.statuses["ok"]


def prompts(count: int, tokens: int = 100) -> list[str]:
    """As many prompts, each of about so many input tokens."""
    return [f"item {number} " + "word" * tokens for number in range(count)]


def outage(seconds: float, *, items: int = 3000) -> Scenario:
    """From the second minute on the server is out of order for a while: what it works on is cut, the rest gets a 503."""
    begin, end = 60.0, 60.0 + seconds

    def answer(request: RecordedRequest, at: float) -> list[Step]:
        if begin <= at < end:
            return [http_error(503)]
        length = random.Random(request.content).uniform(4, 12)
        if at < begin < at + length:
            return [pause(begin - at), disconnect()]
        return [say("x", pause(length - 0.5), ttft=0.5)]

    return Scenario(f"outage of {seconds:g} s", prompts(items), answer)


def oversize(*, items: int = 201) -> Scenario:
    """One item has more input than the bucket of a minute can hold, among others that use the quota."""
    quota = Quota(input_tokens_per_minute=50_000)

    def answer(request: RecordedRequest, at: float) -> list[Step]:
        refused = quota.refuse(request.body, under_way=1, now=trio.current_time())
        if refused is not None:
            return [refused]
        return [headers({**NO_LIMITS, **quota.headers(trio.current_time())}), say("x", ttft=1.0)]

    big = "item big " + "word" * 66_000
    others = prompts(items - 1, 980)
    return Scenario("larger than the bucket", [*others[:20], big, *others[20:]], answer)


def retry_after_zero(*, items: int = 200) -> Scenario:
    """The server refuses what is beyond its quota with ``retry-after: 0``."""
    quota = Quota(requests_per_minute=60)

    def answer(request: RecordedRequest, at: float) -> list[Step]:
        refused = quota.refuse(request.body, under_way=1, now=trio.current_time())
        if refused is not None:
            return [pause(0.065), http_error(429, retry_after=0, headers=NO_LIMITS)]
        return [headers(NO_LIMITS), say("x", pause(2), ttft=0.5)]

    return Scenario("retry-after: 0", prompts(items), answer)


def limit_zero(*, items: int = 600) -> Scenario:
    """Gateways write ``limit: 0`` and ``remaining: 0`` for a limit that does not exist."""
    told = {f"anthropic-ratelimit-{kind}-{what}": "0" for kind in _KINDS for what in ("limit", "remaining")}

    def answer(request: RecordedRequest, at: float) -> list[Step]:
        return [headers({**NO_LIMITS, **told}), say("x", pause(60), ttft=0.7)]

    return Scenario("limit: 0", prompts(items), answer)


def long_answers(*, items: int = 600) -> Scenario:
    """Every answer takes minutes, so that a window that grows with its end only grows slowly."""

    def answer(request: RecordedRequest, at: float) -> list[Step]:
        return [headers(NO_LIMITS), say("x", pause(60), ttft=0.7)]

    return Scenario("long answers", prompts(items), answer)


def scenarios() -> list[Scenario]:
    """The table of the specification."""
    return [outage(90), outage(600), oversize(), retry_after_zero(), limit_zero(), long_answers()]


def play(scenario: Scenario, *, at_most: float = 10_000.0, **options: Any) -> Result:
    """Run a scenario on a mock clock, for so many seconds at most."""

    async def main() -> Result:
        began = trio.current_time()
        api = ScriptedAPI(
            default=lambda request: scenario.answer(request, request.at - began), strict=False, keep_requests=1
        )
        statuses: Counter[str] = Counter()
        options.setdefault("max_attempts", MOST_ATTEMPTS)
        async with ts.Client(api_key="test", transport=api) as client:
            results = fan_out(client, scenario.prompts, limit=Adaptive(2, 8, 100), **options, **PARAMS)
            with trio.move_on_after(at_most):
                async with results:
                    async for outcome in results:
                        statuses[outcome.status] += 1
            stats = results.stats
            statuses.update(outcome.status for outcome in results.unread)
        stopped = None if stats.stopped is None else stats.stopped.reason
        return Result(trio.current_time() - began, statuses, stats.requests, stopped)

    random.seed(7)
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| scenario | items | time | requests that failed | items without an answer | CPU |")
    print("|---|---|---|---|---|---|")
    for scenario in scenarios():
        began = time.process_time()
        result = play(scenario)
        cpu = time.process_time() - began
        print(
            f"| {scenario.name} | {len(scenario.prompts)} | {result.seconds:.0f} s | {result.failed} | "
            f"{result.lost}{'' if result.stopped is None else f', {result.stopped}'} | {cpu:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
