"""`_sse`: any bytes, cut anywhere, to raw events."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from tests.corpora import Recorded, event_stream_vectors, needs_corpora, parametrized
from tests.protocol.feeding import one_by_one, parse, parse_pieces
from tests.soak.form import cuts
from tests.wire.answers import sse
from tests.wire.events import text_delta
from trio_stream import InvalidResponseError
from trio_stream._protocol import EventStreamParser

BOM = b"\xef\xbb\xbf"
EVENTS = [("ping", b"{}"), ("content_block_delta", b'{"a": "\xe2\x80\xa8\xc2\x85"}'), ("", b"3")]
STREAM = b'event: ping\ndata: {}\n\nevent: content_block_delta\ndata: {"a": "\xe2\x80\xa8\xc2\x85"}\n\ndata: 3\n\n'


def every_way(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut in two at every byte."""
    in_two = [[data[:cut], data[cut:]] for cut in range(len(data) + 1)]
    return [[data], list(one_by_one(data)), *in_two]


@needs_corpora
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in event_stream_vectors()])
def test_web_platform_tests(case: dict[str, Any]) -> None:
    """Whole, byte by byte and cut in two at every byte: the events, their ids, and the reconnection time."""
    # Two differences: no ``event:`` line is "" here, and what has no data is not dispatched.
    expected = [
        ("" if event["type"] == "message" else event["type"], event["data"], event["id"])
        for event in case["events"]
        if event["data"]
    ]
    for pieces in every_way(base64.b64decode(case["input_b64"])):
        parser = EventStreamParser()
        found: list[tuple[str, str, str]] = []
        for piece in pieces:
            events = parser.feed(piece)
            if len(pieces) > 2:  # byte by byte, the id is known for each event
                found += [(name, data.decode(), parser.last_event_id) for name, data in events]
            else:
                found += [(name, data.decode(), "") for name, data in events]
        if len(pieces) <= 2:
            assert found == [(name, data, "") for name, data, _ in expected]
        else:
            assert found == expected
        assert parser.retry == case["retry"]
        assert parser.last_event_id == case["last_event_id"]
        assert parser.failure is None


@parametrized()
def test_recorded_streams_cut_anywhere(stream: Recorded) -> None:
    """Every recorded stream gives the same raw events however it is cut."""
    whole = parse(stream.whole)
    assert whole
    assert parse_pieces(one_by_one(stream.whole)) == whole
    for cut in cuts(stream.whole, sample=200):
        assert parse_pieces([stream.whole[:cut], stream.whole[cut:]]) == whole


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(STREAM, id="LF"),
        pytest.param(STREAM.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(STREAM.replace(b"\n", b"\r"), id="CR"),
        pytest.param(STREAM.replace(b"\n\n", b"\r\n\r").replace(b"}\n", b"}\r"), id="mixed"),
        pytest.param(BOM + STREAM, id="BOM"),
        pytest.param(b"\n\n\n" + STREAM.replace(b"\n\n", b"\n\n\n\n"), id="blank lines"),
        pytest.param(STREAM.replace(b": {", b":{").replace(b": p", b":p"), id="no space"),
        pytest.param(b": hello\n\n:\n" + STREAM.replace(b"\n", b"\n: \xff\n"), id="comments"),
        pytest.param(STREAM.replace(b"data", b"unknown: field\nid: 4\nretry: 5\ndata"), id="other fields"),
        pytest.param(STREAM.replace(b"event: ping\n", b"event: x\nevent: ping\n"), id="type twice"),
        pytest.param(STREAM + b"event: ping\ndata: {}\n", id="no blank line at the end"),
        pytest.param(STREAM + b"event: ping\ndata\n\nevent: ping\n\ndata:\n\n", id="no data"),
    ],
)
def test_same_events(data: bytes) -> None:
    """However a stream is written and cut, these are its events."""
    for pieces in every_way(data):
        assert parse_pieces(pieces) == EVENTS


def test_several_data_lines() -> None:
    """They are joined with LF; an empty one is a line as well."""
    for pieces in every_way(b"data: {\ndata:  1\ndata\ndata: }\n\n"):
        assert parse_pieces(pieces) == [("", b"{\n 1\n\n}")]


@pytest.mark.parametrize("data", [b"event: error\n\n", b"event: error\ndata\n\n", b"event: error\ndata: \n\n"])
def test_error_without_data(data: bytes) -> None:
    """An error is dispatched even if it says nothing."""
    for pieces in every_way(data + b"event: ping\ndata: 1\n\n"):
        assert parse_pieces(pieces) == [("error", b""), ("ping", b"1")]


def test_type_that_is_not_utf8() -> None:
    """An unknown type is decoded as WHATWG has it: with U+FFFD for what is not UTF-8."""
    assert parse(b"event: n\xc3\xa9w\xff\ndata: 1\n\n") == [("n\xe9w\ufffd", b"1")]


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1e3", b"\xd9\xa1", b"9" * 19, b"9" * 5000])
def test_reconnection_time_that_is_none(value: bytes) -> None:
    """Anything but a sensible number of ASCII digits is ignored."""
    parser = EventStreamParser()
    parser.feed(b"retry: 10\nretry: " + value + b"\n\n")
    assert parser.retry == 10


def test_id_counts_from_the_blank_line() -> None:
    """An event that is never dispatched does not change the last event id."""
    parser = EventStreamParser()
    parser.feed(b"id: 1\n\nid: 2\ndata: x\n")
    assert parser.last_event_id == "1"
    parser.feed(b"\nevent: ping\ndata: y\n\n")
    assert parser.last_event_id == "2"


def test_byte_order_mark_that_is_none() -> None:
    """The first bytes of one are bytes like any others."""
    assert parse_pieces([b"\xef", b"\xbb:\n", b"data: 1\n\n"]) == [("", b"1")]
    assert parse_pieces([b"", b"\xef", b"", b"\xbb", b"\xbf", b"", b"data: 1\n\n"]) == [("", b"1")]


@pytest.mark.parametrize(
    "chunk",
    [
        b"event: ping\ndata: 1\n\n",
        b"event: message_delta\ndata: {}\n\n",
        b"event: new\ndata: 1\n\n",
        b"event: ping \ndata: 1\n\n",
        b"event: ping\ndata: \n\n",
        b"event: error\ndata: \n\n",
        b"event: ping\ndata:  1\n\n",
        b"event: ping\ndata: 1\ndata: 2\n\n",
        b"event: ping\ndata: 1\n\n\n",
        b"event: ping\ndata: 1\n\n: comment\n",
        b"event: ping\ndata: 1\rdata: 2\n\n",
        b"event: ping\ndata: 1\r\n\n",
        b"event: ping\ndata: 1\n\r",
        b"event: ping\n\ndata: 1\n\n",
        b"event: ping\nevent: message_stop\ndata: 1\n\n",
        b"event: ping\ndata: 1\n",
        b"data: 1\n\n",
        BOM + b"event: ping\ndata: 1\n\n",
        b"",
    ],
)
@pytest.mark.parametrize("before", [b"", BOM, b"event: ping\ndata: 0\n\n", b"event: ping\ndata: 0\n", b": x\n", b"\r"])
def test_a_chunk_that_looks_like_one_event(before: bytes, chunk: bytes) -> None:
    """Between two events, at the very beginning and elsewhere: what it holds, it holds; what follows is as before."""
    end = b"event: ping\ndata: 3\n\n"
    assert parse_pieces([before, chunk, end, end]) == simple_parser(before + chunk + end + end)
    assert parse_pieces([before + chunk, end, end]) == simple_parser(before + chunk + end + end)


LINES = st.lists(
    st.sampled_from(
        [
            b"data",
            b"event",
            b"id",
            b"retry",
            b"",
            b":",
            b": ",
            b" ",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"\r\n\r\n",
            b"unknown",
            b"x" * 20,
            b"ping",
            b"error",
            b"{}",
            b"\xef\xbb\xbf",
            b"\0",
            b"\xff",
            b"12",
            b"event: ping\ndata: {}\n\n",
        ]
    ),
    max_size=40,
).map(b"".join)


@given(st.one_of(st.binary(max_size=60), LINES), st.lists(st.integers(0, 200), max_size=6), st.integers(8, 60))
@example(b"\xef\xbb\xbf:\r\n\r\r\n", [1, 2, 3, 4, 5], 20)
def test_any_cut_of_any_bytes(data: bytes, cuts: list[int], limit: int) -> None:
    """The same events, the same failure, the same id and time, however any bytes are cut."""
    whole = EventStreamParser(max_event_bytes=limit)
    expected = whole.feed(data)
    points = [0, *sorted(cuts), len(data)]
    pieces = [data[before:after] for before, after in pairwise(points)]
    for way in (pieces, one_by_one(data)):
        parser = EventStreamParser(max_event_bytes=limit)
        assert [event for piece in way for event in parser.feed(piece)] == expected
        assert str(parser.failure) == str(whole.failure)
        assert (parser.last_event_id, parser.retry) == (whole.last_event_id, whole.retry)


def simple_parser(data: bytes) -> list[tuple[str, bytes]]:
    """WHATWG's algorithm to the letter, for a whole stream, with our two differences."""
    name, buffer = b"", b""
    events: list[tuple[str, bytes]] = []
    lines = data.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines[:-1]:
        if not line:
            if buffer[:-1] or name == b"error":
                events.append((name.decode("utf-8", "replace"), buffer[:-1]))
            name, buffer = b"", b""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"event":
            name = value
        elif field == b"data":
            buffer += value + b"\n"
    return events


@given(LINES)
def test_against_the_letter_of_the_standard(data: bytes) -> None:
    """The parser agrees with a naive one."""
    assert parse(data) == simple_parser(data)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"data: " + b"x" * 200, id="data"),
        pytest.param(b"x" * 200, id="nonsense"),
        pytest.param(b"unknown: " + b"x" * 200, id="unknown field"),
        pytest.param(b"id: " + b"x" * 200, id="id"),
        pytest.param(b"event: ping\n" + b"data: 12345\n" * 30, id="many lines"),
        pytest.param(b"event: ping\ndata: " + b"x" * 200 + b"\n\n", id="usual event"),
    ],
)
@pytest.mark.parametrize("ended", [b"", b"\n", b"\r\n\r\n", b"\n\nevent: ping\ndata: 2\n\n"])
def test_event_size_limit(line: bytes, ended: bytes) -> None:
    """What is too large ends the stream; the events before it count, nothing after it does."""
    for pieces in every_way(b"event: ping\ndata: 1\n\n" + line + ended):
        parser = EventStreamParser(max_event_bytes=100)
        assert [event for piece in pieces for event in parser.feed(piece)] == [("ping", b"1")]
        assert isinstance(parser.failure, InvalidResponseError)
        assert "100 bytes (max_event_bytes)" in str(parser.failure)
        assert parser.feed(b"\n\nevent: ping\ndata: 2\n\n") == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"event: ping\n: " + b"x" * 500 + b"\ndata: 1\n\n", id="long comment"),
        pytest.param(b"event: ping\n" + b":\n" * 500 + b"data: 1\n\n", id="many comments"),
        pytest.param(b":\n" * 500 + b"event: ping\ndata: 1\n\n", id="many comments first"),
        pytest.param(b"event: ping\n" + b"x: 1\n" * 200 + b"data: 1\n\n", id="many fields"),
        pytest.param(b"\n" * 500 + b"event: ping\ndata: 1\n\n" + b"\n" * 500, id="blank lines"),
    ],
)
def test_what_the_limit_does_not_count(data: bytes) -> None:
    """Comments of any length, blank lines, and any number of fields that are ignored."""
    for pieces in every_way(data):
        parser = EventStreamParser(max_event_bytes=100)
        assert [event for piece in pieces for event in parser.feed(piece)] == [("ping", b"1")]
        assert parser.failure is None


@pytest.mark.parametrize(
    "more", [b": x\n", b": x\n\n", b":", b"\r\n", b"retry: 1\n", b"new: x\r\n\r\n", b"event: ping\n"]
)
def test_how_much_may_come_without_an_event(more: bytes) -> None:
    """Also a limit. Any event, however its bytes are cut, begins the count anew."""
    fill = more * (1000 // len(more))
    for end in (b"\n\nevent: ping\ndata: 1\n\n", b"\n\nevent: ping\ndata: 1", b"\n\nevent: ping"):
        parser = EventStreamParser(max_event_bytes=100, max_eventless_bytes=1600)
        parser.feed(b"\n")
        for _ in range(10):
            parser.feed(fill)
            parser.feed(end)
            parser.feed(b"\ndata: 1\n\n")
        assert parser.failure is None
        parser.feed(b"event: ping\ndata: 1\n\n")  # alone, as events nearly always come
        parser.feed(fill)
        assert parser.failure is None
        parser.feed(fill)
        assert "more than 1600 bytes without an event" in str(parser.failure)
        assert parser.feed(b"\n\nevent: ping\ndata: 1\n\n") == []


def kept_bytes(parser: EventStreamParser) -> int:
    """How much a parser holds between two calls."""
    return sum(
        len(value) for name in parser.__slots__ if isinstance(value := getattr(parser, name), bytes | bytearray | str)
    )


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b":", b"x"),
        (b": x\n", b": x\n"),
        (b"unknown", b"x"),
        (b"\n", b"\n"),
        (b"unknown: x\n", b"unknown: x\n"),
    ],
)
def test_what_is_ignored_is_not_kept(first: bytes, more: bytes) -> None:
    """Comments and unknown fields are dropped as they come, a line without end as well."""
    parser = EventStreamParser()
    parser.feed(first)
    for _ in range(100):
        parser.feed(more * 100)
        assert kept_bytes(parser) < 100
    assert parser.failure is None


def test_work_is_linear() -> None:
    """A line that comes byte by byte is not looked at again and again: bytes are kept in one growing buffer."""

    parser = EventStreamParser()
    parser.feed(b"data: ")
    buffer = parser._line
    for _ in range(1000):
        parser.feed(b"x")
    assert parser._line is buffer
    assert len(buffer) == 1006


def test_large_input_is_parsed_in_windows() -> None:
    """One call with a great many events returns them all."""
    events = [text_delta(f"piece {number}") for number in range(5000)]
    data = sse(*events)
    assert len(data) > 512 * 1024
    assert len(parse(data)) == 5000


def test_an_id_with_a_nul_is_ignored() -> None:
    """WHATWG, 9.2.6: "If the field value does not contain U+0000 NULL, then set the last event ID buffer"."""
    parser = EventStreamParser()
    parser.feed(b"id: good\ndata: 1\n\n")
    assert parser.last_event_id == "good"
    parser.feed(b"id: b\0d\ndata: 2\n\n")
    assert parser.last_event_id == "good"
