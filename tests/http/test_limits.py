"""Limits are whole positive numbers."""

from __future__ import annotations

import pytest

from trio_stream._http import Transport
from trio_stream._limits import Limits


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many", None])
def test_refused(value):
    with pytest.raises(ValueError, match=r"Limits\.header_bytes"):
        Limits(header_bytes=value)


def test_defaults():
    limits = Limits()
    assert (limits.event_bytes, limits.message_bytes) == (16 << 20, 256 << 20)
    assert (limits.header_bytes, limits.error_body_bytes) == (64 << 10, 1 << 20)


@pytest.mark.parametrize("value", [0, -1])
def test_max_connections(value):
    with pytest.raises(ValueError, match="max_connections"):
        Transport(max_connections=value)
