"""What all tests share: the modules of checks whose assertions pytest explains, named before anything imports them."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.faults.rows", "tests.soak.churn", "tests.soak.every_step", "tests.soak.interrupts"
)
