"""`StreamBatch` in real Ray actors. Without Ray these are skipped; ``make test-ray`` has one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.ray.api import PARAMS, prompt_of
from tests.ray.cluster import SECONDS, client_of, local_ray, serving
from trio_stream._limiter import Permit
from trio_stream.ray import ActorRateLimiter, StreamBatch
from trio_stream.testing import RecordedRequest, ScriptedAPI, Step, http_error, say

ray = pytest.importorskip("ray", reason="Ray is not installed: see `make test-ray`")
pytest.importorskip("ray.data", reason="Ray is not installed: see `make test-ray`")

ROOT = Path(__file__).parents[2]

# Its own use of what it deprecates itself.
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with local_ray():
        yield


def dataset(count: int, *, blocks: int) -> Any:
    rows = [{"id": number, "prompt": f"q{number}"} for number in range(count)]
    return ray.data.from_items(rows, override_num_blocks=blocks)


def answer(
    data: Any, url: str, *, size: int = 1, calls: int = 4, batch_size: int, batch_format: str = "numpy", **options: Any
) -> Any:
    return data.map_batches(
        StreamBatch,
        fn_constructor_kwargs={"id": "id", "client": client_of(url), **PARAMS, **options},
        batch_size=batch_size,
        batch_format=batch_format,
        compute=ray.data.ActorPoolStrategy(
            size=size, max_concurrent_calls_per_actor=calls, enable_true_multi_threading=True
        ),
    )


def echo(ttft: float) -> Any:
    return lambda request: [say(f"<{prompt_of(request)}>", ttft=ttft)]


@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_rows_keep_their_order_and_bad_ones_their_errors(batch_format: str, tmp_path: Path) -> None:
    """In each of Ray's formats; and the columns have the same types in all blocks."""

    def script(request: RecordedRequest) -> list[Step]:
        number = int(prompt_of(request)[1:])
        if number == 13:
            return [http_error(400)]
        return [say(f"<q{number}>", ttft=0.05 * (number % 5))]

    with serving(ScriptedAPI(default=script)) as url:
        answered = answer(dataset(60, blocks=6), url, batch_size=10, batch_format=batch_format).materialize()
    rows = answered.take_all()
    assert [row["id"] for row in rows] == list(range(60))
    for row in rows:
        if row["id"] == 13:
            assert row["error"].startswith("BadRequestError: 400 ")
            assert (row["text"], row["stop_reason"], row["output_tokens"]) == ("", "", 0)
        else:
            assert row["error"] == ""
            assert (row["text"], row["stop_reason"], row["attempts"]) == (f"<{row['prompt']}>", "end_turn", 1)
            assert row["input_tokens"] > 0
    answered.write_parquet(str(tmp_path))
    assert len({str(ray.get(block).schema) for block in answered.to_arrow_refs()}) == 1
    kinds = dict(zip(answered.schema().names, map(str, answered.schema().types), strict=True))
    assert {kinds[name] for name in ("text", "stop_reason", "request_id", "error")} <= {"string", "large_string"}
    assert {kinds[name] for name in ("input_tokens", "output_tokens", "cache_read_tokens", "attempts")} == {"int64"}
    assert ray.data.read_parquet(str(tmp_path)).count() == 60


def test_values_of_real_arrays() -> None:
    """Numbers and nested messages come as NumPy's, and requests are JSON."""
    rows = [{"messages": [{"role": "user", "content": f"deep {number}"}], "most": 10 + number} for number in range(4)]
    api = ScriptedAPI(default=echo(0.0))
    with serving(api) as url:
        answered = ray.data.from_items(rows).map_batches(
            StreamBatch,
            fn_constructor_kwargs={
                "prompt": lambda row: {"messages": row["messages"], "max_tokens": row["most"]},
                "client": client_of(url),
                **PARAMS,
            },
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        assert [row["text"] for row in answered.take_all()] == [f"<deep {number}>" for number in range(4)]
    assert sorted(request.body["max_tokens"] for request in api.requests) == [10, 11, 12, 13]


def test_calls_of_one_actor_are_under_way_at_once() -> None:
    """Four calls of two rows each make eight requests."""
    api = ScriptedAPI(default=echo(4.0))
    with serving(api) as url:
        rows = answer(dataset(8, blocks=4), url, batch_size=2).take_all()
    assert [row["text"] for row in rows] == [f"<q{number}>" for number in range(8)]
    arrived = [request.at for request in api.requests]
    closed = [request.closed_at for request in api.requests if request.closed_at is not None]
    assert len(closed) == 8
    assert max(arrived) < min(closed), "all eight were open at once"


class Killer:
    """Kills the first actor that has finished so many rows, once."""

    def __init__(self, folder: Path, *, after: int) -> None:
        self._folder = folder
        self._after = after
        self._over = threading.Event()
        self.finished: set[str] | None = None
        """The rows that it had finished."""

    def __call__(self) -> None:
        while not self._over.wait(0.01):
            for path in self._folder.glob("*.journal"):
                if path.read_text().count('"record":"end"') >= self._after:
                    os.kill(int(path.name.split("-")[-2]), signal.SIGKILL)
                    time.sleep(0.2)
                    self.finished = {str(o.id) for o in ts.read_journal(path) if o.status == "ok"}
                    return

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(SECONDS)


def test_what_an_actor_that_was_killed_had_finished_is_not_paid_twice(tmp_path: Path) -> None:
    """Ray gives its rows to others. Asked twice are at most those that were under way in it: ten."""
    api = ScriptedAPI(default=echo(0.2))
    killer = Killer(tmp_path, after=35)
    with serving(api) as url:
        data = dataset(320, blocks=16)
        answered = answer(data, url, size=2, batch_size=20, limit=10, journal_dir=str(tmp_path))
        with killer.at_work():
            rows = answered.take_all()
        asked = Counter(prompt_of(request) for request in api.requests)
        assert killer.finished is not None
        assert len(killer.finished) >= 35
        assert [row["id"] for row in rows] == list(range(320))
        assert [(row["text"], row["error"]) for row in rows] == [(f"<q{number}>", "") for number in range(320)]
        assert len(asked) == 320
        twice = [prompt for prompt, count in asked.items() if count > 1]
        assert 0 < len(twice) <= 10
        assert max(asked.values()) == 2
        assert not {f"q{name}" for name in killer.finished} & set(twice)

        # And the whole job, begun again, asks nothing.
        again = answer(data, url, batch_size=64, journal_dir=str(tmp_path)).take_all()
        assert [row["text"] for row in again] == [row["text"] for row in rows]
        assert len(api.requests) == asked.total()


def test_an_error_may_fail_the_job() -> None:
    """With the error of the row, which Ray takes from process to process."""
    api = ScriptedAPI(default=[http_error(400, message="no such thing")])
    with serving(api) as url, pytest.raises(ray.exceptions.RayTaskError) as raised:
        answer(dataset(4, blocks=1), url, batch_size=4, on_error="raise").take_all()
    assert "trio_stream._errors.BadRequestError: 400 invalid_request_error: no such thing" in str(raised.value)


def test_the_example(tmp_path: Path) -> None:
    """Twice: the second time everything is in the journals."""
    api = ScriptedAPI(default=echo(0.0))
    with serving(api) as url:
        outputs = [
            subprocess.run(
                [sys.executable, str(ROOT / "examples" / "ray_data.py")],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
                    "ANTHROPIC_BASE_URL": url,
                    "JOURNALS": str(tmp_path),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=60,
                check=True,
            ).stdout
            for _ in range(2)
        ]
    assert outputs[0].startswith("What is 0 + 2? <What is 0 + 2?>\nWhat is 1 + 2? ")
    assert "\n40 rows, 0 errors, " in outputs[0]
    assert outputs[1] == outputs[0]
    assert len(api.requests) == 40


def test_one_rate_for_all_actors() -> None:
    """Ten a second for both together, after ten seconds' worth at once."""
    limiter = ActorRateLimiter("one rate", requests_per_minute=600)
    assert ray.get_actor("one rate") is not None
    api = ScriptedAPI(default=echo(0.0))
    with serving(api) as url:
        rows = answer(dataset(150, blocks=10), url, size=2, batch_size=15, limiter=limiter, limit=50).take_all()
    assert [row["error"] for row in rows] == [""] * 150
    assert api.requests[-1].at - api.requests[0].at >= 4.0


def test_a_named_actor_that_is_killed_is_replaced() -> None:
    limiter = ActorRateLimiter("mortal", requests_per_minute=60_000, per_lease=1)

    async def acquire() -> None:
        with trio.fail_after(SECONDS):
            await limiter.acquire(Permit(input_tokens=5, max_tokens=10))

    trio.run(acquire)
    first = ray.get_actor("mortal")
    ray.kill(first)  # which does not wait until it is dead
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            ray.get_actor("mortal")
        except ValueError:
            break
        time.sleep(0.05)
    trio.run(acquire)
    assert ray.get_actor("mortal") != first
