"""`fan_out(via="batch")` that ends at any step, and the run that follows: nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import pytest
import trio

import trio_stream as ts
from tests.soak.form import LONG
from trio_stream.batch import _via_batch
from trio_stream.testing import Batches, BatchFault, PromptCache, RecordedRequest, ScriptedAPI, cancel_everywhere

from .api import PARAMS, echo

pytestmark = pytest.mark.no_cover

PROMPTS = ["a", "b", "c"]


Via: TypeAlias = ts.ViaBatch | Literal["stream"]


class Books:
    """Keeps the books of a scripted API: which prompts it has answered, and so bills, in batches and in streams."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.batched: Counter[str] = Counter()
        self.streamed: Counter[str] = Counter()

    def answer(self, request: RecordedRequest) -> Any:
        prompt = request.messages[-1]["content"]
        (self.streamed if request.stream else self.batched)[prompt] += 1
        return echo(request)


async def answers_of(client: ts.Client, journal: Path, via: Via, **options: Any) -> list[str]:
    options = {**PARAMS, **options}
    async with ts.fan_out(client, PROMPTS, journal=journal, via=via, **options) as results:
        return sorted([outcome.unwrap() async for outcome in results if outcome.status != "skipped"])


ALL = ["<a>", "<b>", "<c>"]
TWO = ts.ViaBatch(probe=False, max_requests=2)
DETACH = ts.ViaBatch(probe=False, max_requests=2, detach=True)
LATE = ts.ViaBatch(probe=False, max_requests=2, deadline=25)

SYSTEM = "You are a judge. " * 300


class Way(NamedTuple):
    """What happens: the runs that may be ended at any step, and the server's part in it."""

    runs: tuple[Via, ...] = (TWO,)
    faults: tuple[BatchFault, ...] = ()
    list_lag: float = 0.0
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it


WAYS = {
    "plain": Way(),
    "lost": Way(faults=("lost_answer",)),
    "foreign-late": Way(faults=("lost_answer", "foreign"), list_lag=120.0),
    "queue-full": Way(faults=("queue_full",)),
    "cut": Way(faults=("results_cut", "shuffled", "not_found")),
    "again": Way(faults=("errored",)),
    "resumed": Way(runs=(DETACH, TWO)),
    "resumed-lost": Way(runs=(DETACH, DETACH, TWO), faults=("lost_answer",)),
    "warmed": Way(options={"cache": "1h", "system": SYSTEM}),
    "deadline": Way(runs=(LATE,)),
    "then-streams": Way(runs=(DETACH, "stream"), faults=("lost_answer",)),
}


@pytest.mark.parametrize("cancels", [True, False], ids=["left", "killed"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_that_ends_at_any_step(autojump_clock, tmp_path, monkeypatch, cancels, way):
    """Left or killed at each step in turn, and continued: every item is answered once.

    A process that is killed cancels no batch: so does one whose time for that is 0. Only streams that were under way,
    after the deadline, are asked for twice.
    """
    if not cancels:
        monkeypatch.setattr(_via_batch, "_LEAVE_SECONDS", 0)
    runs, faults, list_lag, options = WAYS[way]
    numbers = itertools.count()
    client: ts.Client
    books: Books
    journal: Path

    async def fn() -> None:
        nonlocal client, books, journal
        books = Books(Batches(seconds=40, list_lag=list_lag, faults=faults))
        journal = tmp_path / f"journal-{next(numbers)}"
        api = ScriptedAPI(default=books.answer, batches=books.batches, prompt_cache=PromptCache())
        client = ts.Client(api_key="test-key", transport=api)
        for via in runs:
            answers = await answers_of(client, journal, via, **options)
        assert answers == ALL

    async def check() -> None:
        assert await answers_of(client, journal, runs[-1], **options) == ALL
        await trio.sleep(1000)
        assert len(books.batches.billed) == books.batched.total()
        assert max(books.batched.values(), default=1) == 1
        if way == "then-streams":
            assert not books.batched.keys() & books.streamed.keys()
        if way in ("deadline", "then-streams"):
            assert books.batched.keys() | books.streamed.keys() == set(PROMPTS)
            assert max(books.streamed.values(), default=0) <= 2
        else:
            assert (books.batched.keys(), books.streamed) == (set(PROMPTS), {})

    every = 1 if LONG else 9 if way in ("plain", "lost", "foreign-late") else 53
    assert await cancel_everywhere(fn, check, every=every) > (100 if LONG else 2)
