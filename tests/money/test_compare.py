"""That ``make prices`` would notice what differs. It asks the real package; here another table is made up."""

from __future__ import annotations

import trio_stream as ts

from .compare import CASES, Case, differences


def ours(model: str, case: Case) -> float | None:
    prices = ts.Prices.of(model)
    return None if prices is None else prices.costs(case.charge).total


def test_equal_tables_do_not_differ():
    """Prices that the other table does not have, as those of fast mode, are no difference."""
    assert differences([], ours) == []
    assert differences([], lambda model, case: None if case.context else ours(model, case)) == []


def test_every_rule_is_compared():
    """Where one figure differs, the line says which."""
    for wrong in CASES:
        lines = differences(
            [], lambda model, case, name=wrong.name: (ours(model, case) or 0) * (1 + (case.name == name))
        )
        assert len(lines) == 17
        assert all(f": {wrong.name} costs " in line for line in lines)


def test_models_of_one_table_alone():
    """They are named too."""
    lines = differences(["claude-next"], lambda model, case: 1.5 if model == "claude-next" else None)
    assert lines[-1] == "claude-next: not here; there input and output cost 1.5 and 1.5"
    assert lines[0] == "claude-fable-5-2: not there"
