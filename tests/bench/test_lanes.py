"""The table of one limiter for a program: a sample in every run, all of it in ``make soak``.

What belongs here: that the figures hold. What does not: the rules behind them (``tests/limiter``).
"""

from __future__ import annotations

import pytest

import trio_stream as ts
from tests.bench import lanes
from tests.soak.form import LONG

WAYS = {way.name: way for way in lanes.WAYS}


@pytest.mark.no_cover
@pytest.mark.skipif(not LONG, reason="half a minute: make soak")
def test_the_whole_table():
    """Every figure is within a tenth of the specification's."""
    assert [row for row in lanes.rows() if not row.fits] == []


@pytest.mark.no_cover
@pytest.mark.parametrize("reserve", [0.1, 0.2])
def test_people_beside_a_batch(reserve):
    """They hardly wait, nothing is refused, and the batch takes what the limit needs, less what it leaves."""
    way = WAYS["lanes" if reserve == 0.1 else "reserve 0.2"]
    result = lanes.play(way, people_tokens=1000, items=250, people=8)
    assert (result.failed, result.refused) == (0, 0)
    assert max(result.waits) == pytest.approx(0.5, abs=0.06)
    assert result.batch == pytest.approx(60 * (2.5 + 0.08 - 1 + reserve), rel=0.02)


@pytest.mark.no_cover
def test_people_with_long_prompts_beside_a_batch():
    """The reserve has the tokens of one of them. Without a limiter the bucket never holds so many."""
    result = lanes.play(WAYS["lanes"], people_tokens=10_000, items=250, people=3)
    assert result.failed == 0
    assert result.percentile(50) < 1
    assert max(result.waits) < 13
    assert lanes.play(WAYS["today"], people_tokens=10_000, items=250, people=3).failed == 3


@pytest.mark.no_cover
@pytest.mark.parametrize("floor", [0.1, 0.0])
def test_a_flood_of_people_leaves_the_floor(floor):
    """A tenth of the tokens is ten items a minute."""
    items = lanes.flood(ts.HeaderRateLimiter(reserve=0.1, floor=floor), minutes=3)
    assert items == pytest.approx(100 * floor, rel=0.1)
