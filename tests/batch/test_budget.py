"""Adding up what was used, and saying when it is enough."""

from __future__ import annotations

import pytest

import trio_stream as ts
from trio_stream._money import Ledger


def test_prices():
    usage = ts.Usage(
        input_tokens=1_000_000,
        output_tokens=2_000_000,
        cache_creation_input_tokens=1_000_000,
        cache_read_input_tokens=1_000_000,
    )
    assert ts.Prices(input=4, output=10).cost(usage) == pytest.approx(4 + 20 + 5 + 0.4)
    assert ts.Prices(input=4, output=10, cache_write=1, cache_read=2).cost(usage) == pytest.approx(4 + 20 + 1 + 2)


@pytest.mark.parametrize("options", [{"requests": -1}, {"cost": float("nan")}, {"cost": 5.0}])
def test_budgets_that_cannot_be(options):
    with pytest.raises(ValueError, match="budget"):
        ts.Budget(**options)


def test_no_budget_is_never_used_up():
    ledger = Ledger(ts.Budget())
    ledger.add(ts.Usage(output_tokens=10**12))
    assert ledger.used_up() is None
    assert ledger.has_room(10**6, lambda: 10**6)


def test_requests():
    ledger = Ledger(ts.Budget(requests=5))
    ledger.requests = 3
    assert ledger.has_room(2, lambda: 1)
    assert not ledger.has_room(2, lambda: 2)
    ledger.requests = 5
    assert "5 of 5 requests" in str(ledger.used_up())


def test_those_under_way_are_taken_to_be_like_those_before():
    ledger = Ledger(ts.Budget(output_tokens=1000))
    for _ in range(4):
        ledger.add(ts.Usage(output_tokens=100))
    assert ledger.has_room(5, int)
    assert not ledger.has_room(6, int)
    assert ledger.has_room(0, int)
    ledger.add(ts.Usage(output_tokens=600))
    assert "1000 of 1000 output tokens" in str(ledger.used_up())


def test_money():
    ledger = Ledger(ts.Budget(cost=1.0, prices=ts.Prices(input=0, output=100)))
    ledger.add(ts.Usage(output_tokens=4000))
    assert ledger.cost == pytest.approx(0.4)
    assert not ledger.has_room(2, int)
    assert ledger.used_up() is None
    ledger.add(ts.Usage(output_tokens=6000))
    assert "cost" in str(ledger.used_up())
