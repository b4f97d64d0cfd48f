"""``.venv-ray/bin/python -m tests.bench.ray_throughput``: how much of the possible throughput Ray's actors reach.

What belongs here: `StreamBatch` beside two ways to do without it. What does not: whether they are right (`tests/ray`).

Answers take as long as answers do: half of them half a second, some ten times as long. All contenders may have as many requests
under way, and the ideal is that they always do. Times are the server's, from the first request to the last answer, so
that starting Ray is not in them. It needs Ray: ``make test-ray`` makes ``.venv-ray``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import trio

import trio_stream as ts
from tests.ray.api import PARAMS, prompt_of
from tests.ray.cluster import client_of, local_ray, serving
from trio_stream.ray import StreamBatch
from trio_stream.testing import ScriptedAPI, say

ACTORS = 2
MEDIAN = 0.5
UNDER_WAY = 64
"""Requests, in one actor."""
CALLS = 8
BATCH = 64


class RunPerBatch:
    """What one writes first: a loop, a client and a fan-out for each batch."""

    def __init__(self, client: Callable[[], ts.Client], limit: int) -> None:
        self._client = client
        self._limit = limit

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        async def ask() -> list[ts.Outcome]:
            async with self._client() as client:
                return await ts.gather_outcomes(client, batch["prompt"].tolist(), limit=self._limit, **PARAMS)

        return {**batch, "text": [outcome.text for outcome in trio.run(ask)]}


def main() -> None:
    """Run all, and say what came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ray_throughput")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    seconds = [min(MEDIAN * rng.lognormvariate(0.0, 1.0), 10 * MEDIAN) for _ in range(options.rows)]
    ideal = sum(seconds) / (ACTORS * UNDER_WAY)
    print(
        f"{options.rows} rows, {ACTORS} actors with {UNDER_WAY} requests each, batches of {BATCH}; answers take "
        f"{MEDIAN} s (median) to {max(seconds):.1f} s; ideal {ideal:.1f} s"
    )
    reached: dict[str, float] = {}
    with local_ray():
        for name, calls, contender in (
            ("StreamBatch, 8 calls at once", CALLS, stream_batch),
            ("trio.run per batch", 1, run_per_batch(UNDER_WAY)),
            ("trio.run per batch, 8 calls at once", CALLS, run_per_batch(UNDER_WAY // CALLS)),
        ):
            took = measure(seconds, calls, contender)
            reached[name] = ideal / took
            print(f"{name:36} {took:6.1f} s  {ideal / took:4.0%} of the ideal", flush=True)
    first, second, _ = reached.values()
    print(f"StreamBatch has {first / second:.1f} times the throughput of trio.run per batch")


def stream_batch(url: str) -> tuple[type, dict[str, Any]]:
    """An actor's loop for its life."""
    return StreamBatch, {"client": client_of(url), "limit": UNDER_WAY, **PARAMS}


def run_per_batch(limit: int) -> Callable[[str], tuple[type, dict[str, Any]]]:
    """A loop for each batch."""
    return lambda url: (RunPerBatch, {"client": client_of(url), "limit": limit})


def measure(seconds: list[float], calls: int, contender: Callable[[str], tuple[type, dict[str, Any]]]) -> float:
    """Seconds from the first request to the last answer."""
    import ray.data

    api = ScriptedAPI(default=lambda request: [say("An answer.", ttft=seconds[int(prompt_of(request))])])
    with serving(api) as url:
        kind, arguments = contender(url)
        data = ray.data.from_items([{"prompt": str(number)} for number in range(len(seconds))], override_num_blocks=64)
        rows = data.map_batches(
            kind,
            fn_constructor_kwargs=arguments,
            batch_size=BATCH,
            compute=ray.data.ActorPoolStrategy(
                size=ACTORS, max_concurrent_calls_per_actor=calls, enable_true_multi_threading=True
            ),
        ).take_all()
    assert [row["text"] for row in rows] == ["An answer."] * len(seconds)
    assert len(api.requests) == len(seconds), f"{len(api.requests)} requests"
    return max(request.closed_at or 0.0 for request in api.requests) - min(request.at for request in api.requests)


if __name__ == "__main__":
    main()
