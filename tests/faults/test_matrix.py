"""The matrix is one: its page, the tests of this library, and the scripts for the official SDK have the same rows."""

from __future__ import annotations

import importlib

import pytest

from tests.faults.reliability import read_matrix
from tests.faults.rows import Section

NOT_ASKED = ("People",)
"""Rows of this library's own surface, which the SDK does not have: the page says that they are not asked of it."""


@pytest.mark.parametrize("section", read_matrix())
def test_every_row_has_a_test_and_a_script(section: str) -> None:
    """And there is none for a row that is not there."""
    from tests.faults import matrix  # a second, for those who only collect tests

    rows = [*read_matrix()[section]]
    assert len(rows) == len({*rows})
    module = importlib.import_module("tests.faults." + matrix.TESTS[section].partition(".")[0])
    (tested,) = (value for value in vars(module).values() if isinstance(value, Section) and value.name == section)
    assert {check.id for check in tested.checks()} == {*rows}
    if section in NOT_ASKED:
        assert section not in matrix.ROWS
    else:
        assert {*matrix.ROWS[section]} == {*rows}


def test_every_section_is_in_the_matrix() -> None:
    """Those that are run, for the one and the other."""
    from tests.faults import matrix

    assert {*read_matrix()} == {*matrix.TESTS} == {*matrix.ROWS, *NOT_ASKED}
