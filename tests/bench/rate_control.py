"""Rate control against the documented token buckets, on a mock clock: ``python -m tests.bench.rate_control``.

Three ways to keep many requests below a quota: each request waits for its own ``retry-after``; all wait together
(a shared pause); and `trio_stream.fan_out`. For each: time against what the quota allows, and refusals.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio
import trio.testing

import trio_stream as ts
from trio_stream.batch import Adaptive, fan_out
from trio_stream.testing import Quota, RecordedRequest, ScriptedAPI, Step, event, pause, say, usage

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 8192}
TOKENS_PER_SECOND = 80.0
MOST_AT_ONCE = 100


class Scenario(NamedTuple):
    """What is asked, and what the quota allows."""

    name: str
    items: int
    input_tokens: int
    output_tokens: int
    quota: dict[str, Any]
    most_refusals: int
    least_share: float = 0.94

    def prompts(self) -> list[str]:
        rng = random.Random(5)
        return [
            f"item {number} " + "word" * int(self.input_tokens * rng.uniform(0.7, 1.3)) for number in range(self.items)
        ]

    def lengths(self) -> list[int]:
        """Output tokens of each item, heavy-tailed."""
        rng = random.Random(6)
        return [max(8, int(self.output_tokens * rng.lognormvariate(-0.32, 0.8))) for _ in range(self.items)]

    def ideal(self, prompts: list[str], lengths: list[int]) -> float:
        """Seconds that the tightest bucket needs for all this, beginning full."""
        totals = {
            "requests_per_minute": float(self.items),
            "input_tokens_per_minute": sum(len(prompt) / 4 + 9 for prompt in prompts),
            "output_tokens_per_minute": float(sum(lengths)),
        }
        burst = self.quota.get("burst", 1.0)
        return max(
            (60 * (totals[name] / rate - burst) for name, rate in self.quota.items() if name in totals), default=0.0
        )


def scenarios(items: int) -> list[Scenario]:
    """The table of the specification, at any size: the rates are chosen for the same times."""
    share = items / 1500

    def rate(total: float, seconds: float) -> float:
        return total * share / (seconds * share / 60 + 1)

    return [
        Scenario("output-bound", items, 100, 400, {"output_tokens_per_minute": rate(600_000, 306)}, 60),
        Scenario("input-bound", items, 2000, 60, {"input_tokens_per_minute": rate(3_000_000, 447)}, 10),
        Scenario("requests-bound", items, 100, 60, {"requests_per_minute": rate(1500, 450)}, 10),
    ]


def script(lengths: list[int], request: RecordedRequest) -> list[Step]:
    """An answer of the item's length, a piece a second."""
    number = int(request.messages[0]["content"].split()[1])
    tokens = lengths[number]
    rng = random.Random(number)
    parts: list[str | Step] = []
    left = tokens
    while left > 0:
        size = min(left, int(TOKENS_PER_SECOND))
        left -= size
        parts.append(pause(size / TOKENS_PER_SECOND))
        delta = {"type": "text_delta", "text": "word" * size}
        parts.append(event({"type": "content_block_delta", "index": 0, "delta": delta}))
    return [say(*parts, ttft=rng.uniform(0.3, 1.2)), usage(output_tokens=tokens)]


class Result(NamedTuple):
    """How a strategy did."""

    seconds: float
    refused: int
    failed: int


Strategy = Callable[[ts.Client, list[str]], Awaitable[int]]


async def _ask(client: ts.Client, prompt: str) -> None:
    async with client.messages.stream(
        **PARAMS, messages=[{"role": "user", "content": prompt}], max_retries=0
    ) as stream:
        await stream.until_done()


async def each_by_itself(client: ts.Client, prompts: list[str]) -> int:
    """Every request waits for its own retry-after."""
    limit = trio.CapacityLimiter(MOST_AT_ONCE)

    async def work(prompt: str) -> None:
        async with limit:
            while True:
                try:
                    return await _ask(client, prompt)
                except ts.RateLimitError as error:
                    await trio.sleep(error.retry_after or 1.0)

    async with trio.open_nursery() as nursery:
        for prompt in prompts:
            nursery.start_soon(work, prompt)
    return 0


async def shared_pause(client: ts.Client, prompts: list[str]) -> int:
    """A retry-after holds back every request."""
    limit = trio.CapacityLimiter(MOST_AT_ONCE)
    not_before = -math.inf

    async def work(prompt: str) -> None:
        nonlocal not_before
        async with limit:
            while True:
                while not_before > trio.current_time():
                    await trio.sleep_until(not_before)
                try:
                    return await _ask(client, prompt)
                except ts.RateLimitError as error:
                    not_before = max(not_before, trio.current_time() + (error.retry_after or 1.0))

    async with trio.open_nursery() as nursery:
        for prompt in prompts:
            nursery.start_soon(work, prompt)
    return 0


async def ours(client: ts.Client, prompts: list[str]) -> int:
    """`trio_stream.fan_out`."""
    failed = 0
    async with fan_out(client, prompts, limit=Adaptive(2, 8, MOST_AT_ONCE), **PARAMS) as results:
        async for outcome in results:
            failed += outcome.status != "ok"
    return failed


STRATEGIES: dict[str, Strategy] = {
    "retry-after per request": each_by_itself,
    "shared pause only": shared_pause,
    "fan_out": ours,
}


def play(scenario: Scenario, strategy: Strategy) -> tuple[Result, float]:
    """Run a strategy on a mock clock; also what the quota allows, in seconds."""
    prompts, lengths = scenario.prompts(), scenario.lengths()
    quota = Quota(**scenario.quota)
    api = ScriptedAPI(default=lambda request: script(lengths, request), strict=False, keep_requests=1, quota=quota)

    async def main() -> Result:
        async with ts.Client(api_key="test", transport=api) as client:
            began = trio.current_time()
            failed = await strategy(client, prompts)
            return Result(trio.current_time() - began, quota.refused, failed)

    random.seed(7)
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock=clock), scenario.ideal(prompts, lengths)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--burst", type=float, default=1.0, help="what the buckets hold, in minutes")
    parser.add_argument("--only", choices=list(STRATEGIES))
    options = parser.parse_args()
    print("| scenario | allowed | strategy | time | of the quota | refused | failed | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for scenario in scenarios(options.items):
        scenario.quota["burst"] = options.burst
        for name, strategy in STRATEGIES.items():
            if options.only not in (None, name):
                continue
            began = time.process_time()
            result, ideal = play(scenario, strategy)
            cpu = time.process_time() - began
            share = ideal / result.seconds
            print(
                f"| {scenario.name} | {ideal:.0f} s | {name} | {result.seconds:.0f} s | {share:.1%} | "
                f"{result.refused} | {result.failed} | {cpu:.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
