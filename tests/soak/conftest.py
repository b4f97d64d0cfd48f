"""The long tests: nothing may be left behind by any of them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_left_by_any_test(nothing_left: None) -> None:
    """As `nothing_left`, for every test."""
