"""`fan_out(via="batch")` that ends at any step, and the run that follows: nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.soak.form import LONG
from trio_stream.batch import _via_batch
from trio_stream.testing import Batches, RecordedRequest, ScriptedAPI, cancel_everywhere

from .api import PARAMS, echo

pytestmark = pytest.mark.no_cover

PROMPTS = ["a", "b", "c"]


class Books:
    """Keeps the books of a scripted API: which prompts it has answered, and so bills, in which batch."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.answered: Counter[str] = Counter()

    def answer(self, request: RecordedRequest) -> Any:
        self.answered[request.messages[-1]["content"]] += 1
        return echo(request)


async def answers_of(client: ts.Client, journal: Path, via: ts.ViaBatch) -> list[str]:
    async with ts.fan_out(client, PROMPTS, journal=journal, via=via, **PARAMS) as results:
        return sorted([outcome.unwrap() async for outcome in results])


@pytest.mark.parametrize("cancels", [True, False], ids=["left", "killed"])
@pytest.mark.parametrize(
    ("faults", "list_lag"),
    [((), 0.0), (("lost_answer",), 0.0), (("lost_answer", "foreign"), 120.0)],
    ids=["plain", "lost", "foreign-late"],
)
async def test_a_run_that_ends_at_any_step(autojump_clock, tmp_path, monkeypatch, cancels, faults, list_lag):
    """Left or killed at each step in turn, and continued: every item is answered once.

    A process that is killed cancels no batch: so does one whose time for that is 0.
    """
    if not cancels:
        monkeypatch.setattr(_via_batch, "_LEAVE_SECONDS", 0)
    numbers = itertools.count()
    via = ts.ViaBatch(probe=False, max_requests=2)
    client: ts.Client
    books: Books
    journal: Path

    async def fn() -> None:
        nonlocal client, books, journal
        books = Books(Batches(seconds=40, list_lag=list_lag, faults=faults))  # type: ignore[arg-type]
        journal = tmp_path / f"journal-{next(numbers)}"
        api = ScriptedAPI(default=books.answer, batches=books.batches)
        client = ts.Client(api_key="test-key", transport=api)
        assert await answers_of(client, journal, via) == ["<a>", "<b>", "<c>"]

    async def check() -> None:
        assert await answers_of(client, journal, via) == ["<a>", "<b>", "<c>"]
        await trio.sleep(1000)
        assert len(books.batches.billed) == 3
        assert books.answered == dict.fromkeys(PROMPTS, 1)

    assert await cancel_everywhere(fn, check, every=1 if LONG else 9) > (100 if LONG else 12)
