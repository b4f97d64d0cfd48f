"""Masking: what was said is hidden, and its shape is not."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from tests.corpora import Recorded, parametrized
from trio_stream.testing._mask import MaskedBody, mask_text
from trio_stream.testing._recording import Arrival

EVENTS = "text/event-stream; charset=utf-8"


def masked(content_type: str, *pieces: bytes) -> list[Arrival]:
    body = MaskedBody(content_type)
    given_out: list[Arrival] = []
    for number, piece in enumerate(pieces):
        given_out += body.feed(Arrival(float(number), piece))
    return given_out + body.finish()


def joined(arrivals: list[Arrival]) -> bytes:
    return b"".join(arrival.data for arrival in arrivals)


def data_of(body: bytes) -> list[Any]:
    """The data of the events in a body."""
    return [msgspec.json.decode(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]


def shape(value: Any) -> Any:
    """A value without its text: what masking has to leave as it is."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return [(len(name), shape(item)) for name, item in value.items()]
    return type(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@parametrized()
def test_recordings_keep_their_shape(stream: Recorded) -> None:
    """Every event has the keys, figures and lengths that it had; pieces that end anywhere make no difference."""
    whole = joined(masked(EVENTS, stream.whole))
    assert list(map(shape, data_of(whole))) == list(map(shape, data_of(stream.whole)))
    assert [event["type"] for event in data_of(whole)] == [event["type"] for event in data_of(stream.whole)]
    pieces = [stream.whole[start : start + 997] for start in range(0, len(stream.whole), 997)]
    split = masked(EVENTS, *pieces)
    assert joined(split) == whole
    assert [arrival.at for arrival in split] == sorted({arrival.at for arrival in split})


def test_an_arrival_is_given_out_when_its_events_are_whole() -> None:
    """What arrived in pieces comes in pieces, with the times of the pieces."""
    body = MaskedBody(EVENTS)
    first = b'event: ping\ndata: {"type":"ping"}\n\nevent: error\nda'
    assert [arrival.data for arrival in body.feed(Arrival(1.0, first))] == []
    ready = body.feed(Arrival(2.0, b'ta: {"type":"error","why":"Ab1"}\n\n'))
    assert [arrival.at for arrival in ready] == [1.0, 2.0]
    assert (
        joined(ready) == b'event: ping\ndata: {"type":"ping"}\n\nevent: error\ndata: {"type":"error","why":"xx0"}\n\n'
    )
    assert ready[0].data == first
    assert body.finish() == []


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (EVENTS, b"event: x\ndata: secret 12\n\n", b"event: x\ndata: xxxxxx 00\n\n"),
        (EVENTS, b": secret\nid: 7b\nretry: 10\n\n", b": xxxxxx\nxx: 0x\nretry: 10\n\n"),
        (EVENTS, b'data: {"text":\ndata: "ab"}\n\n', b'data: {"text":"xx"}\n\n\n'),
        (EVENTS, b'data: {"text":"a', b'data: {"xxxx":"x'),
        ("application/json", b'{"id":"msg_1","text":"ab 1"}', b'{"id":"msg_1","text":"xx 0"}'),
        ("application/json", b'"ab"\n', b'"xx"\n'),
        ("application/x-jsonl", b'{"a":"b"}\n{"a":"c"}\n{"a', b'{"a":"x"}\n{"a":"x"}\n{"x'),
        ("", b"caf\xc3\xa9 \xff 9", b"xxxxx x 0"),
        ("application/json", b'{"input":{"on":true,"n":[1.5,{"key":null}]},"n":3}', None),
        ("", b"", b""),
        ("application/json", b'{"type":"tool_use","name":"look_up"}', b'{"type":"tool_use","name":"look_up"}'),
        ("application/json", b'{"type":"person","name":"Ann"}', b'{"type":"person","name":"xxx"}'),
        ("application/json", b"[" * 400 + b'"ab"' + b"]" * 400, b"[" * 400 + b'"xx"' + b"]" * 400),
    ],
)
def test_bodies(content_type: str, body: bytes, expected: bytes | None) -> None:
    """Events, lines, JSON, and what is none of them; of an input the names and figures are hidden too."""
    expected = b'{"input":{"xx":true,"x":[0,{"xxx":null}]},"n":3}' if expected is None else expected
    assert joined(masked(content_type, body)) == expected


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())),
    st.lists(st.integers(0, 200), max_size=5),
    st.booleans(),
)
def test_the_input_of_a_tool_remains_json(value: dict[str, Any], cuts: list[int], ascii_only: bool) -> None:
    """However the model writes it, and wherever it is cut."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    events = b"".join(
        b"data: "
        + msgspec.json.encode({"index": 1, "delta": {"type": "input_json_delta", "partial_json": text[start:end]}})
        + b"\n\n"
        for start, end in itertools.pairwise(ends)
    )
    pieces = [event["delta"]["partial_json"] for event in data_of(joined(masked(EVENTS, events)))]
    assert [len(piece) for piece in pieces] == [end - start for start, end in itertools.pairwise(ends)]
    json.loads("".join(pieces))


def test_letters_and_digits_of_any_script() -> None:
    assert mask_text("Ab9 é漢 ½٣-!") == "xx0 xx 00-!"
