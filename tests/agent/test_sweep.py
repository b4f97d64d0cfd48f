"""Whatever is done to a run at whichever of its steps, the history is valid and the conversation goes on."""

from __future__ import annotations

import os

import pytest

from tests.agent.sweeping import CASES, sweep

ACTIONS = ["cancel", "interrupt", "now", "next", "idle", "call", "leave"]
LONG = os.environ.get("TRIO_STREAM_SOAK") == "1"

# In the short form each case meets one action, and each action at least one case.
SAMPLE = {(name, ACTIONS[index % len(ACTIONS)]) for index, name in enumerate(CASES)}


@pytest.mark.parametrize(("name", "action"), [(name, action) for name in CASES for action in ACTIONS])
async def test_sweep(name: str, action: str, autojump_clock: object) -> None:
    """The history is checked after every step, and the conversation continued after each run."""
    if not LONG and (name, action) not in SAMPLE:
        pytest.skip("a sample runs in every test run, all of it with TRIO_STREAM_SOAK=1")
    points = await sweep(name, action, "both" if LONG else "after")
    print(f"{name}, {action}: {points} points")
    assert points > 10
