"""Budgets of money against answers of unknown length, on a mock clock: ``python -m tests.bench.budgets``.

100 at once, answers of heavy-tailed lengths, and a budget. For each budget: what was spent in the end as a share of it,
and the time beside that of the same job without a budget.
"""

from __future__ import annotations

import argparse
import random
import statistics
from typing import Any, NamedTuple

import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, event, pause, say, usage

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 4096}
AT_ONCE = 100
TOKENS_PER_SECOND = 80.0
MEAN_TOKENS = 1_000
PIECE = 40
"""How many tokens an event has. Real ones have fewer; what has arrived is then known more exactly."""


def answer(request: RecordedRequest, *, seed: int, most: int) -> list[Step]:
    """An answer of heavy-tailed length, always the same for an item."""
    rng = random.Random(f"{seed} {request.messages[0]['content']}")
    tokens = min(most, max(8, int(MEAN_TOKENS * rng.lognormvariate(-0.32, 0.8))))
    parts: list[str | Step] = []
    left = tokens
    while left > 0:
        size = min(left, PIECE)
        left -= size
        parts.append(pause(size / TOKENS_PER_SECOND))
        delta = {"type": "text_delta", "text": "abc" * size}
        parts.append(event({"type": "content_block_delta", "index": 0, "delta": delta}))
    return [say(*parts, ttft=rng.uniform(0.3, 1.2)), usage(input_tokens=100, output_tokens=tokens)]


class Result(NamedTuple):
    """How one job did."""

    spent: float
    ok: int
    seconds: float


def play(cost: float | None, *, seed: int, items: int = 100_000, at_once: int = AT_ONCE, most: int = 4096) -> Result:
    """Run a job with a budget on a mock clock; without one it ends with its items."""
    api = ScriptedAPI(default=lambda request: answer(request, seed=seed, most=most), strict=False, keep_requests=1)

    async def main() -> Result:
        budget = None if cost is None else ts.Budget(cost=cost)
        async with ts.Client(api_key="test", transport=api) as client:
            prompts = (f"item {number}" for number in range(items))
            params = {**PARAMS, "max_tokens": most}
            async with ts.fan_out(client, prompts, limit=at_once, budget=budget, **params) as results:
                ok = 0
                async for outcome in results:
                    ok += outcome.status == "ok"
            stats = results.stats
            assert stats.cost is not None
            return Result(stats.cost, ok, stats.seconds)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="jobs for each budget")
    parser.add_argument("--max-tokens", type=int, default=4096)
    options = parser.parse_args()
    print("| budget | spent, median | max | answers | time beside a job without a budget |")
    print("|---|---|---|---|---|")
    for cost, seeds in ((0.10, options.seeds), (1.0, options.seeds), (20.0, max(1, options.seeds // 5))):
        shares, times, counts = [], [], []
        for seed in range(seeds):
            result = play(cost, seed=seed, most=options.max_tokens)
            free = play(None, seed=seed, items=result.ok, most=options.max_tokens)
            shares.append(result.spent / cost)
            times.append(result.seconds / free.seconds)
            counts.append(result.ok)
        print(
            f"| ${cost:g} | {statistics.median(shares):.2f} | {max(shares):.2f} | {statistics.median(counts):.0f} | "
            f"x{statistics.median(times):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
