"""Whatever is done to a run at whichever of its steps, the history is valid and the conversation goes on."""

from __future__ import annotations

import pytest

from tests.agent.sweeping import BLOCKS, CASES, ENDINGS, end, sweep, sweep_one_reply, sweep_over_a_port
from tests.soak.form import LONG

ACTIONS = ["cancel", "interrupt", "now", "next", "idle", "call", "leave"]

# In the short form each case meets one action, and each action at least one case.
SAMPLE = {(name, ACTIONS[index % len(ACTIONS)]) for index, name in enumerate(CASES)}


POINTS: list[int] = []
"""At how many steps each of the sweeps in this process did something."""


@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "action"), [(name, action) for name in CASES for action in ACTIONS])
async def test_sweep(name: str, action: str, autojump_clock: object) -> None:
    """The history is checked after every step, and the conversation continued after each run."""
    if not LONG and (name, action) not in SAMPLE:
        pytest.skip("a sample runs in every test run, all of it with TRIO_STREAM_SOAK=1")
    points = await sweep(name, action, "both" if LONG else "after")
    POINTS.append(points)
    print(f"{name}, {action}: {points} points")
    assert points > (10 if LONG else 1)


async def test_interrupted_at_every_step_of_a_reply(autojump_clock: object) -> None:
    """One after another in every run: its last moment is one of them, in which nothing can be cancelled any more."""
    assert await sweep_one_reply("interrupt") > 10


@pytest.mark.no_cover
@pytest.mark.parametrize("action", ACTIONS)
async def test_over_a_port(action: str) -> None:
    """The same over sockets; nothing of them is left either."""
    if not LONG and action != "cancel":
        pytest.skip("a sample runs in every test run, all of it with TRIO_STREAM_SOAK=1")
    points = await sweep_over_a_port(action, "both" if LONG else "after")
    POINTS.append(points)
    print(f"over a port, {action}: {points} points")
    assert points > (10 if LONG else 1)


def test_the_number_of_points(capsys: pytest.CaptureFixture[str]) -> None:
    """Where all sweeps run, there are enough of them."""
    if len(POINTS) < (len(CASES) + 1) * len(ACTIONS):
        pytest.skip("only a part of the sweeps has run in this process")
    with capsys.disabled():
        print(f"\nagents: {sum(POINTS)} points in {len(POINTS)} sweeps")
    assert sum(POINTS) >= 1_600


@pytest.mark.no_cover
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", BLOCKS)
async def test_a_reply_ends_after_any_of_its_blocks(name: str, ending: str, autojump_clock: object) -> None:
    """In every way; the history is valid all the time, also as a file, and the conversation goes on."""
    blocks = BLOCKS[name]
    for count in range(len(blocks) + 1):
        await end(blocks[:count], ENDINGS[ending])
