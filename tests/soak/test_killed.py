"""A job via message batches that is killed (SIGKILL) again and again: nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.processes import environment
from tests.soak.form import LONG
from tests.soak.killed import ITEMS, prompts_of
from trio_stream.testing import Batches, RecordedRequest, ScriptedAPI, say

pytestmark = pytest.mark.timeout(600)

KILLS = 20 if LONG else 2


@pytest.mark.parametrize("faults", [[], ["lost_answer", "foreign", "lost_answer", "results_cut", "foreign"]])
async def test_kills(tmp_path: Path, faults: Any) -> None:
    """The server keeps the books: each item is answered once, whenever the process died."""
    answered: Counter[str] = Counter()

    def answer(request: RecordedRequest) -> Any:
        prompt = request.messages[-1]["content"]
        answered[prompt] += 1
        return [say(f"<{prompt}>")]

    # The list is not later than `settle` seconds.
    api = ScriptedAPI(default=answer, batches=Batches(seconds=0.7, list_lag=0.3, faults=faults))
    dice = random.Random(len(faults))
    killed = rounds = 0
    async with api.serve() as server:
        while killed < KILLS:
            rounds += 1
            journal = tmp_path / f"journal-{rounds}"
            command = [sys.executable, "-m", "tests.soak.killed", server.base_url, str(journal), str(rounds)]
            with trio.fail_after(120):
                while (code := await run_for_a_while(command, api, dice)) != 0:
                    assert code == -signal.SIGKILL
                    killed += 1
            texts = sorted(outcome.text for outcome in ts.read_journal(journal))
            assert texts == sorted(f"<{prompt}>" for prompt in prompts_of(rounds))
        await trio.sleep(1)
        assert api.batches is not None
        assert len(api.batches.billed) == ITEMS * rounds
    assert answered == {prompt: 1 for number in range(rounds) for prompt in prompts_of(number + 1)}
    assert api.batches.faults_left == []


async def run_for_a_while(command: list[str], api: ScriptedAPI, dice: random.Random) -> int:
    """Run the program, kill it right after one of its requests, unless it has ended, and return its exit code."""
    process = await trio.lowlevel.open_process(command, env=environment())
    enough = len(api.requests) + dice.randrange(1, 12)
    while len(api.requests) < enough and process.poll() is None:
        await trio.sleep(0.001)
    await trio.sleep(dice.uniform(0, 0.02))
    process.kill()
    return await process.wait()
