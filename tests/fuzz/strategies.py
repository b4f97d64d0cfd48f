"""Bytes for hypothesis: good ones with mistakes in them, and cuts.

What belongs here: strategies, and how hypothesis runs in this folder. What does not: what must hold (the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import settings, strategies as st

BOUNDED = settings(max_examples=60)
"""The folder takes seconds. `make fuzz` has the time."""

MANY = settings(BOUNDED, max_examples=200)
"""For what takes no time."""

_WORDS = (b"\r\n", b"\n\n", b"\r", b"\0", b"\xff", b"0", b"-1", b"{}", b'"', b"data: ", b"event: error\n", b"{" * 9)


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the originals with some mistakes: bytes that are missing, repeated, replaced, or too many."""
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 40)))
        match draw(st.sampled_from(("delete", "repeat", "replace", "insert", "cut"))):
            case "delete":
                data = data[:begin] + data[end:]
            case "repeat":
                data = data[:end] + data[begin:]
            case "replace":
                data = data[:begin] + draw(st.binary(min_size=1, max_size=3)) + data[begin + 1 :]
            case "insert":
                data = data[:begin] + draw(st.sampled_from(_WORDS)) + data[begin:]
            case _:
                data = data[:begin]
    return data


@st.composite
def pieces(draw: st.DrawFn, data: bytes, *, most: int = 8) -> list[bytes]:
    """The same bytes in at most so many pieces."""
    points = draw(st.lists(st.integers(0, len(data)), max_size=most - 1))
    return [data[begin:end] for begin, end in pairwise([0, *sorted(points), len(data)]) if begin < end]
