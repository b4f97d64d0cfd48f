"""What a caller may give as a timeout."""

from __future__ import annotations

import math

import httpx
import pytest

from trio_stream._timeouts import Timeouts


@pytest.mark.parametrize(
    "given, expected",
    [
        (5, Timeouts(connect=5.0, send=5.0, first_event=5.0, silence=5.0)),
        (0.5, Timeouts(connect=0.5, send=0.5, first_event=0.5, silence=0.5)),
        (None, Timeouts(connect=None, send=None, first_event=None, silence=None)),
        (math.inf, Timeouts(connect=None, send=None, first_event=None, silence=None)),
        (Timeouts(stall=3), Timeouts(stall=3)),
        (httpx.Timeout(7, connect=2), Timeouts(connect=2, send=7, first_event=7, silence=7)),
        (httpx.Timeout(None), Timeouts(connect=None, send=None, first_event=None, silence=None)),
    ],
)
def test_of(given, expected):
    assert Timeouts.of(given) == expected


@pytest.mark.parametrize("given", [True, "5", [1], object()])
def test_of_refuses(given):
    with pytest.raises(TypeError, match="timeout must be"):
        Timeouts.of(given)


@pytest.mark.parametrize("value", [0, -1, "1", math.nan, -math.inf])
@pytest.mark.parametrize("clock", ["connect", "send", "first_event", "silence", "stall", "total"])
def test_values_are_positive(clock, value):
    with pytest.raises(ValueError, match=rf"Timeouts\.{clock}"):
        Timeouts(**{clock: value})


def test_to_httpx():
    assert Timeouts(connect=1, send=2).to_httpx() == {"connect": 1, "read": None, "write": 2, "pool": None}
