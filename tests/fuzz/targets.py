"""What must hold for any bytes: one function per target, that returns, or raises because it found a mistake.

What belongs here: the properties, as functions of bytes, for whoever makes up the bytes (`python -m tests.fuzz` does
it guided by coverage, the tests beside this module replay). What does not: making them up, where to begin (`seeds`),
and anything that waits.

The first bytes of most inputs say how the others are cut, so that the fuzzer decides that, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import h11
import jiter

from trio_stream import InvalidResponseError, InvalidToolInputError
from trio_stream._http._parser import ResponseParser
from trio_stream._protocol import (
    ErrorEvent,
    EventStreamParser,
    Message,
    MessageAccumulator,
    Oddity,
    RawEvent,
    decode_event,
    error_from_event,
)
from trio_stream._protocol._partial_json import PartialJSON
from trio_stream.types import ContentBlockStopEvent, TextEvent, ThinkingEvent, UnknownEvent

LONGEST_TEXT = 4096
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What does something to a terminal, or begins a new line of a log."""

HEADER_BYTES = 65_536
INTERIM_ANSWERS = 4


def pieces_of(sizes: bytes, data: bytes) -> Iterator[bytes]:
    """Cut data: the sizes, in turn, are those of the pieces."""
    position = number = 0
    while position < len(data):
        size = sizes[number % len(sizes)] + 1
        yield data[position : position + size]
        position += size
        number += 1


def check_sentence(error: BaseException) -> None:
    """What an error says is short, is one line, and can be printed."""
    sentence = str(error)
    assert sentence
    assert len(sentence.encode()) < LONGEST_TEXT
    assert not CONTROLS.search(sentence), repr(sentence)


# The event-stream parser.


def event_stream(data: bytes) -> None:
    """The same events, failure, id and time, however the bytes are cut; of a beginning, the first; its end ends a line."""
    sizes, stream = data[:4], data[4:]
    if len(sizes) < 4:
        return
    limit = 32 if sizes[0] & 1 else 1 << 20
    whole = EventStreamParser(max_event_bytes=limit)
    events = whole.feed(stream)
    split = EventStreamParser(max_event_bytes=limit)
    found: list[RawEvent] = []
    for piece in pieces_of(sizes, stream):
        found += split.feed(piece)
        assert events[: len(found)] == found, "a beginning of the stream has other events"
    assert found == events
    assert str(split.failure) == str(whole.failure)
    assert (split.last_event_id, split.retry) == (whole.last_event_id, whole.retry)
    for name, content in events:
        assert len(content) <= max(limit, 1)
        assert content or name == "error", "an event without data was dispatched"
    if whole.failure is not None:
        check_sentence(whole.failure)
        assert whole.feed(b"data: 1\n\n") == []
    rest = whole.end()
    assert split.end() == rest
    ended = EventStreamParser(max_event_bytes=limit)
    assert ended.feed(stream + b"\n\n\n") == events + rest, "the end of the stream is not as a blank line"


# Decoding.


def decode(data: bytes) -> None:
    """A value that can be printed, written, and sent back, or `InvalidResponseError`."""
    name, _, content = data.partition(b"\n")
    try:
        event = decode_event((name.decode("utf-8", "replace"), content))
    except InvalidResponseError as error:
        check_sentence(error)
        return
    repr(event)
    if isinstance(event, ErrorEvent):
        check_sentence(error_from_event(event, None))
        return
    if isinstance(event, UnknownEvent):
        assert isinstance(event.raw, dict)
    json.dumps(event.to_dict(), allow_nan=False).encode()
    accumulator = MessageAccumulator()
    try:
        accumulator.add(event)
    except InvalidResponseError as error:
        check_sentence(error)
    check_message(accumulator)


def check_message(accumulator: MessageAccumulator) -> None:
    """The message of the moment says one thing, whichever way it is asked."""
    message = accumulator.snapshot()
    assert (message is not None) is accumulator.started
    if message is None:
        assert accumulator.text == ""
        return
    assert message.text.encode().decode() == accumulator.text or len(message.content) > 1
    assert sorted(message.text) == sorted(accumulator.text)
    repr(message)
    json.dumps(message.to_dict(), allow_nan=False).encode()
    try:
        param = message.to_param()
    except InvalidToolInputError as error:
        check_sentence(error)
    else:
        json.dumps(param, allow_nan=False).encode()
        again = Message.from_dict({"content": param["content"]})
        assert again.to_param() == param, "what goes back is not what was read"


# A whole stream: bytes to message.


def stream(data: bytes) -> None:
    """The same outcome however the bytes are cut, and nothing but our errors."""
    sizes, content = data[:4], data[4:]
    if len(sizes) == 4:
        whole = _outcome(iter([content]))
        assert _outcome(pieces_of(sizes, content)) == whole


def _outcome(pieces: Iterator[bytes]) -> tuple[object, ...]:
    told: list[Oddity] = []
    parser = EventStreamParser(max_event_bytes=1 << 20)
    accumulator = MessageAccumulator(max_blocks=20, on_oddity=told.append)
    ended: tuple[object, ...] = ("ended",)
    try:
        for piece in pieces:
            for raw in parser.feed(piece):
                event = decode_event(raw)
                if isinstance(event, ErrorEvent):
                    raise error_from_event(event, "req_1")
                before = accumulator.snapshot()
                try:
                    delivered = accumulator.add(event)
                except InvalidResponseError:
                    assert accumulator.snapshot() == before, "a refused event changed the message"
                    raise
                for item in delivered:
                    repr(item)
    except Exception as error:
        if not type(error).__module__.startswith("trio_stream"):
            raise
        check_sentence(error)
        ended = (type(error), str(error))
    check_message(accumulator)
    assert len(told) == len(set(told)), "a kind of departure was told twice"
    return (*ended, accumulator.text, accumulator.complete, accumulator.snapshot(), told)


# The accumulator: a program of events, against a model of the rules.

_PIECES = ("", "a", "é", "\N{GRINNING FACE}", '{"a": ', "1}", '"', "\\u00", "b\ud83d", "\ude00c", "\ud83d", "\ude00")

_TAKES = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
_SAID_BY = {"text": "text", "thinking": "thinking", "tool_use": "input_json"}
_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_STARTS: tuple[dict[str, Any], ...] = (
    {"type": "text", "text": ""},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    {"type": "hologram", "n": 1},
)
_STOP_REASONS = ("end_turn", "max_tokens", "tool_use", None)


@cache
def _event_of(operation: int, operand: int) -> dict[str, Any]:
    """One event for every pair of bytes."""
    index, piece = operand & 7, _PIECES[(operand >> 3) % len(_PIECES)]
    match operation % 8:
        case 0 | 1:
            kind = ("text_delta", "thinking_delta", "input_json_delta", "sparkle_delta")[operation >> 3 & 3]
            delta = {"type": kind, _FIELDS.get(kind, "sparkle"): piece}
            return {"type": "content_block_delta", "index": index, "delta": delta}
        case 2:
            return {"type": "content_block_start", "index": index, "content_block": _STARTS[operand >> 3 & 3]}
        case 3:
            return {"type": "content_block_stop", "index": index}
        case 4:
            delta = {"stop_reason": _STOP_REASONS[operand & 3]}
            return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": operand}}
        case 5:
            return {"type": "message_stop"} if operand & 1 else {"type": "ping"}
        case 6:
            return {"type": "novelty", "n": operand}
        case _:
            message = {"id": f"msg_{operand & 1}", "type": "message", "role": "assistant", "model": "m", "content": []}
            return {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1}}}


def _readable(text: str) -> str:
    """Text in which the halves of a surrogate pair that meet are one character, and any others are U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _ModelBlock:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open = True
        self.sent = ""  # all its text, halves of surrogate pairs included
        self.kept: list[dict[str, Any]] = []  # the deltas that are no part of its content

    @property
    def said(self) -> str:
        """What its content must be: while it is open, a first half at the end may yet get its second one."""
        waits = self.open and "\ud800" <= self.sent[-1:] <= "\udbff"
        return _readable(self.sent[:-1] if waits else self.sent)


class _Model:
    """The rules of order, written down a second time and as simply as can be."""

    def __init__(self) -> None:
        self.id: str | None = None  # of the message; None before it starts
        self.complete = False
        self.stop_reason: str | None = None
        self.blocks: list[_ModelBlock] = []  # in order of starting
        self.open: dict[int, _ModelBlock] = {}
        self.used: set[int] = set()  # every index of a block
        self.text = ""
        self.told: set[Oddity] = set()

    def takes(self, event: dict[str, Any]) -> bool:
        kind = event["type"]
        if kind == "ping":
            return True
        if self.complete:
            return False
        if kind == "novelty":
            return True
        if kind == "message_start":
            return self.id is None or (event["message"]["id"] == self.id and not self.blocks)
        if self.id is None:
            return False
        if kind == "content_block_start":
            return event["index"] not in self.open
        if kind == "content_block_delta":
            return event["index"] in self.open
        return True

    def add(self, event: dict[str, Any]) -> list[str]:
        """Take an event; the types of the events that are delivered for it."""
        delivered = [event["type"]]
        match event["type"]:
            case "ping":
                return []
            case "message_start":
                if self.id is not None:
                    self.told.add(Oddity.REPEATED_START)
                    return []
                self.id = event["message"]["id"]
            case "content_block_start":
                index = event["index"]
                if index in self.used:
                    self.told.add(Oddity.REUSED_INDEX)
                elif not self.used.issuperset(range(index)):
                    self.told.add(Oddity.INDEX_GAP)
                self.used.add(index)
                self.open[index] = _ModelBlock(event["content_block"]["type"])
                self.blocks.append(self.open[index])
            case "content_block_stop":
                if event["index"] not in self.open:
                    self.told.add(Oddity.STRAY_BLOCK_STOP)
                    return []
                self._close(self.open.pop(event["index"]))
            case "content_block_delta":
                block, delta = self.open[event["index"]], event["delta"]
                if _TAKES.get(block.kind) == delta["type"]:
                    self._say(block, delta[_FIELDS[delta["type"]]])
                    return [*delivered, _SAID_BY[block.kind]]
                block.kept.append({name: _readable(value) for name, value in delta.items()})
                if block.kind != "hologram" and delta["type"] != "sparkle_delta":
                    self.told.add(Oddity.UNFITTING_DELTA)
            case "message_delta":
                self.stop_reason = event["delta"]["stop_reason"] or self.stop_reason
            case "message_stop":
                if self.stop_reason is None:
                    self.told.add(Oddity.NO_STOP_REASON)
                for block in self.blocks:
                    self._end_text(block)
                self.complete = True
        return delivered

    def _say(self, block: _ModelBlock, piece: str) -> None:
        before = len(block.said)
        block.sent += piece
        self.text += block.said[before:] if block.kind == "text" else ""

    def _close(self, block: _ModelBlock) -> None:
        self._end_text(block)
        block.open = False

    def _end_text(self, block: _ModelBlock) -> None:
        """There is no second half any more."""
        sent = _readable(block.sent)
        self.text += sent[len(block.said) :] if block.kind == "text" else ""
        block.sent = sent


def accumulator(data: bytes) -> None:
    """Events in any order: those that the rules allow make the message that they must, the others change nothing."""
    told: list[Oddity] = []
    message, model = MessageAccumulator(on_oddity=told.append), _Model()
    later: list[tuple[Any, str]] = []  # helper events with the snapshot that they must still have in the end
    for number in range(0, len(data) - 1, 2):
        wire = _event_of(data[number], data[number + 1])
        event = decode_event((wire["type"], json.dumps(wire).encode()))
        assert not isinstance(event, ErrorEvent)
        before = message.snapshot()
        try:
            delivered = message.add(event)
        except InvalidResponseError as error:
            assert not model.takes(wire), f"{wire} was refused: {error}"
            check_sentence(error)
            assert message.snapshot() == before
            continue
        assert model.takes(wire), f"{wire} was taken"
        block = model.open.get(wire.get("index", -1))
        said = "" if block is None else block.said
        expected = model.add(wire)
        assert [str(item.type) for item in delivered] == expected, wire
        assert sorted(told, key=str) == sorted(model.told, key=str), wire
        for item in delivered:
            if isinstance(item, TextEvent | ThinkingEvent):
                assert block is not None
                assert said + (item.text if isinstance(item, TextEvent) else item.thinking) == block.said
                later.append((item, block.said))
            elif isinstance(item, ContentBlockStopEvent):
                assert block is not None
                _check_block(item.content_block, block)
        _check_like(message, model)
    for helper, said in later:
        assert helper.snapshot == said
    check_message(message)


def _check_like(message: MessageAccumulator, model: _Model) -> None:
    assert message.started is (model.id is not None)
    assert message.complete is model.complete
    assert message.stop_reason == model.stop_reason
    assert message.text == model.text
    snapshot = message.snapshot()
    if snapshot is None:
        return
    assert snapshot.id == model.id
    assert len(snapshot.content) == len(model.blocks)
    for block, expected in zip(snapshot.content, model.blocks, strict=True):
        _check_block(block, expected)


def _check_block(block: Any, expected: _ModelBlock) -> None:
    assert block.type == expected.kind
    assert getattr(block, _SAID_BY.get(block.type, ""), "") == expected.said
    kept = block.deltas if expected.kind == "hologram" else [delta.raw for delta in block.unknown_deltas]
    assert list(kept) == expected.kept
    # A tool block is incomplete, too, if its input was cut.
    assert block.incomplete is expected.open or (block.incomplete and expected.kind == "tool_use")


# HTTP.


def http(data: bytes) -> None:
    """The same answer however the bytes are cut; nothing raised; and where h11 reads an answer, it reads this one."""
    sizes, wire = data[:4], data[4:]
    if len(sizes) < 4:
        return
    whole = parse_answer(iter([wire] if wire else []))
    assert parse_answer(pieces_of(sizes, wire)) == whole
    head, body, complete, failure = whole[:4]
    assert len(body) <= len(wire)
    assert complete is not bool(failure), "neither complete nor failed, or both"
    if failure is not None:
        assert not CONTROLS.search(failure), repr(failure)
        assert len(failure) < LONGEST_TEXT
    if complete:
        theirs = _h11_reads(wire)
        if theirs is not None:
            assert head is not None
            assert (head.status_code, body) == theirs, theirs


def parse_answer(pieces: Iterator[bytes]) -> tuple[Any, bytes, bool, str | None, bool]:
    """Head, body, whether it is complete, the failure, and whether the connection can be used again before its EOF."""
    parser = ResponseParser(method="POST", max_header_bytes=HEADER_BYTES, max_interim_answers=INTERIM_ANSWERS)
    body = b""
    for piece in pieces:
        if parser.ended:
            break
        body += parser.feed(piece)
        assert parser.ended or parser.failure is None
    assert not parser.reusable or parser.complete
    parser.feed_eof()
    assert parser.ended
    assert not parser.reusable
    parser.discard()
    return parser.head, body, parser.complete, parser.failure, parser.started


def _h11_reads(wire: bytes) -> tuple[int, bytes] | None:
    """Status and body as h11 has them, None where it finds fault with them."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(wire)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


# Partial JSON.


def parsed_at_once(text: str) -> object:
    """The value of a text that has arrived in one piece."""
    partial = PartialJSON()
    partial.feed(text)
    return partial.snapshot()


def partial_json(data: bytes) -> None:
    """Of any beginning of JSON, the value that jiter has; of anything else, a value or a `ValueError`."""
    text = data[:200].decode("utf-8", "ignore")
    try:
        jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError:
        valid = False
    else:
        valid = text.lstrip()[:1] in ("{", "[")
    partial = PartialJSON()
    for end in range(1, len(text) + 1):
        partial.feed(text[end - 1])
        try:
            value = parsed_at_once(text[:end])
        except ValueError:
            assert not valid, f"{text[:end]!r} was refused"
            continue
        assert partial.snapshot() == value
        if valid:
            expected = jiter.from_json(text[:end].encode(), partial_mode=True) if text[:end].strip() else {}
            assert value == expected, text[:end]


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (event_stream, decode, stream, accumulator, http, partial_json)
}
