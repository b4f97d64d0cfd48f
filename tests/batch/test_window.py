"""The window and the breaker, by themselves."""

from __future__ import annotations

import pytest

from trio_stream.batch import Adaptive
from trio_stream.batch._window import Breaker, Window


def test_it_grows_with_every_success_until_the_first_cut():
    window = Window(Adaptive(2, 8, 20))
    for _ in range(5):
        window.succeeded(0.0)
    assert window.size == 13
    for _ in range(50):
        window.succeeded(0.0)
    assert window.size == 20


def test_after_a_cut_it_grows_by_two_per_window():
    window = Window(Adaptive(2, 20, 100))
    window.refused(0.0)
    assert window.size == 14
    for _ in range(14):
        window.succeeded(0.0)
    assert window.size == 15
    window.succeeded(0.0)
    assert window.size == 16


def test_a_burst_of_refusals_cuts_once():
    window = Window(Adaptive(2, 100, 100))
    for moment in (0.0, 0.1, 2.0, 4.9):
        window.refused(moment)
    assert window.size == 70
    window.refused(5.0)
    assert window.size == 49


def test_it_is_never_cut_below_its_minimum():
    window = Window(Adaptive(3, 8, 100))
    for moment in range(0, 1000, 10):
        window.refused(float(moment))
    assert window.size == 3


def test_a_ramp_limit_makes_it_grow_slowly():
    window = Window(Adaptive(2, 40, 100))
    window.ramp(0.0, 40)
    assert window.size == 20
    for _ in range(40):
        window.succeeded(1.0)
    assert window.size == 20
    window.succeeded(1.0)
    assert window.size == 21


def test_a_ramp_limit_cuts_what_is_used_of_it():
    """Else a window of a hundred with ten under way could grow tenfold right after the cut."""
    window = Window(Adaptive(2, 100, 100))
    window.ramp(0.0, 10)
    assert window.size == 5


def test_growth_comes_back_with_quiet_minutes():
    window = Window(Adaptive(1, 20, 100))
    window.ramp(0.0, 20)
    growth = []
    for minute in range(5):
        before = window._size
        window.succeeded(60.0 * minute)
        growth.append((window._size - before) * before)
    assert growth == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0])
    window.ramp(600.0, 10)
    before = window._size
    window.succeeded(601.0)
    assert (window._size - before) * before == pytest.approx(0.5)


@pytest.mark.parametrize("bounds", [(0, 1, 2), (3, 2, 4), (1, 5, 4)])
def test_bounds_that_cannot_be(bounds):
    with pytest.raises(ValueError, match="minimum <= start <= maximum"):
        Adaptive(*bounds)


def test_a_number_is_a_window_that_stays():
    window = Window(Adaptive.of(5))
    window.refused(0.0)
    window.succeeded(0.0)
    assert window.size == 5


def test_the_breaker_opens_when_most_answers_were_529():
    breaker = Breaker()
    for number in range(7):
        breaker.note(failed=True, now=float(number))
    assert not breaker.is_open
    breaker.note(failed=False, now=7.0)
    breaker.note(failed=True, now=8.0)
    assert breaker.is_open
    assert breaker.wait(8.0) == 2.0


def test_old_overloads_are_forgotten():
    breaker = Breaker()
    for _ in range(20):
        for failed in (True, False):
            breaker.note(failed=failed, now=0.0)
    assert not breaker.is_open


def test_it_probes_every_two_seconds_and_closes_at_the_first_success():
    breaker = Breaker()
    for _ in range(8):
        breaker.note(failed=True, now=0.0)
    assert breaker.wait(2.0) == 0.0
    breaker.sent(2.0)
    assert breaker.wait(2.5) == 1.5
    breaker.note(failed=True, now=3.0)
    breaker.note(failed=False, now=4.0)
    assert not breaker.is_open
    assert breaker.wait(4.0) == 0.0
    # Seven more of the old storm do not open it again.
    for _ in range(7):
        breaker.note(failed=True, now=4.0)
    assert not breaker.is_open
