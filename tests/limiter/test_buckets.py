"""One token bucket."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trio_stream._limiter._buckets import Bucket


def full(per_minute: float = 60.0) -> Bucket:
    bucket = Bucket()
    bucket.limit(per_minute, 0.0)
    return bucket


def test_an_unknown_limit_holds_nothing_back():
    bucket = Bucket()
    bucket.take(1e9, 0.0)
    bucket.correct(0.0, 0.0)
    bucket.at_most(-5.0, 0.0)
    assert bucket.wait(1e9, 0.0) == 0.0
    assert not bucket.known


def test_it_refills_and_never_above_its_capacity():
    """trimeter takes the greater of the two, which is no limit at all."""
    bucket = full()
    bucket.take(30.0, 0.0)
    assert bucket.level(10.0) == 40.0
    assert bucket.level(1000.0) == 60.0
    assert bucket.wait(61.0, 1000.0) == 0.0  # more than it holds: when it is full


def test_it_says_how_long_to_wait():
    bucket = full()
    bucket.take(70.0, 0.0)
    assert bucket.wait(5.0, 0.0) == 15.0
    assert bucket.wait(5.0, 15.0) == 0.0


def test_corrections():
    bucket = full()
    bucket.correct(10.0, 0.0)
    assert bucket.level(0.0) == 10.0
    bucket.correct(1000.0, 0.0)
    assert bucket.level(0.0) == 60.0
    bucket.at_most(20.0, 0.0)
    bucket.at_most(30.0, 0.0)
    assert bucket.level(0.0) == 20.0


def test_a_limit_that_changes():
    bucket = full(60.0)
    bucket.limit(30.0, 0.0)
    assert bucket.level(0.0) == 30.0
    bucket.limit(120.0, 10.0)
    assert bucket.level(10.0) == 30.0


def test_nothing_is_allowed():
    bucket = full(60.0)
    bucket.take(60.0, 0.0)
    bucket.limit(0.0, 0.0)
    assert bucket.wait(1.0, 0.0) in (0.0, math.inf)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), max_size=60))
def test_it_never_gives_more_than_a_burst_and_the_refill(steps):
    bucket, now, given_out = full(), 0.0, 0.0
    for wait, amount in steps:
        now += wait
        if bucket.wait(amount, now) == 0.0:
            bucket.take(amount, now)
            given_out += amount
    assert given_out <= 60 + now + 1e-6


def test_what_was_charged_is_counted():
    bucket = Bucket()
    bucket.take(3.0, 0.0)
    bucket.take(-1.0, 0.0)
    assert bucket.charged == pytest.approx(2.0)
