"""The event stream, decoding and accumulating on good streams with mistakes in them: the targets, unguided."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.fuzz import targets
from tests.fuzz.seeds import STREAMS, recorded
from tests.fuzz.strategies import MANY, mutated

RECORDED = [*STREAMS, *(data for data in recorded() if len(data) < 6000)]
EVENTS = [part for stream in RECORDED for part in stream.replace(b"\r\n", b"\n").split(b"\n\n") if b"\ndata: " in part]
CUTS = st.binary(min_size=4, max_size=4)

pytestmark = pytest.mark.no_cover  # nothing is covered here alone: it would only take longer


@MANY
@given(mutated(EVENTS))
def test_recorded_events_with_mistakes(part: bytes) -> None:
    """An event that can be printed, written and sent back, or `InvalidResponseError`."""
    name, _, content = part.partition(b"\ndata: ")
    targets.decode(name.removeprefix(b"event: ") + b"\n" + content)


@MANY
@given(CUTS, mutated(RECORDED))
def test_recorded_streams_with_mistakes(cuts: bytes, stream: bytes) -> None:
    """The same events, the same message or the same error, however the bytes are cut."""
    targets.event_stream(cuts + stream)
    targets.stream(cuts + stream)


@MANY
@given(st.lists(st.sampled_from(EVENTS), max_size=12), CUTS)
def test_recorded_events_in_any_order(parts: list[bytes], cuts: bytes) -> None:
    """Of several messages, mixed."""
    targets.stream(cuts + b"\n\n".join([*parts, b""]))


OPERATIONS = st.tuples(st.integers(0, 7), st.integers(0, 3), st.integers(0, 255)).map(
    lambda drawn: bytes([drawn[0] | drawn[1] << 3, drawn[2]])
)
START = bytes([7, 0])


@MANY
@given(st.lists(OPERATIONS, max_size=40))
def test_events_in_any_order(program: list[bytes]) -> None:
    """Taken or refused as the rules say, and what was taken makes the message that it must."""
    targets.accumulator(START + b"".join(program))


@st.composite
def interleaved(draw: st.DrawFn) -> bytes:
    """Several blocks at once, with deltas of their kind, and indexes that are used again: nothing of it is refused."""
    program = [START]
    opened: dict[int, int] = {}  # the kinds of the blocks that are open, by index
    for _ in range(draw(st.integers(1, 30))):
        index = draw(st.integers(0, 3))
        if index not in opened:
            opened[index] = draw(st.integers(0, 2))
            program.append(bytes([2, index | opened[index] << 3]))
        elif draw(st.integers(0, 3)):
            program.append(bytes([opened[index] << 3, index | draw(st.integers(0, 31)) << 3]))
        else:
            del opened[index]
            program.append(bytes([3, index]))
    for index in draw(st.permutations(sorted(opened))):
        program.append(bytes([3, index]))
    return b"".join([*program, bytes([4, 0]), bytes([5, 1])])


@MANY
@given(interleaved())
def test_blocks_at_the_same_time(program: bytes) -> None:
    """Each block has its own pieces in their order."""
    targets.accumulator(program)


@MANY
@given(mutated([b'{"a": [1, -2.5e3, null, {"b": "\\u00e9\\\\"}], "c": true}', b'[{}, "x", 0.1]']))
def test_partial_json_with_mistakes(text: bytes) -> None:
    """jiter's value for every beginning, or `InvalidToolInputError` where it is none."""
    targets.partial_json(text)
