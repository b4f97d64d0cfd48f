"""What is usual is decoded in one step, to the same values as in two steps: lines of results, and deltas."""

from __future__ import annotations

import copy
import json
import typing
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
import pytest

from tests.protocol.any_json import AnyJSON, our_types
from trio_stream import APIError, types
from trio_stream._protocol._blocks import BLOCKS, is_read_in_one_step
from trio_stream._protocol._decode import _decode_any_event, decode_event
from trio_stream._protocol._values import OURS, Extended, Value

CITATION = {"type": "char_location", "cited_text": "c", "document_index": 0, "start_char_index": 1, "end_char_index": 2}
LINE: dict[str, Any] = {
    "custom_id": "a-1",
    "result": {
        "type": "succeeded",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "Hello", "citations": [CITATION, {"type": "new", "x": None}]},
                {"type": "compaction", "content": "c"},
            ],
            "stop_reason": "refusal",
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": None, "explanation": "No"},
            "container": {"id": "c", "expires_at": "2026-01-01T00:00:00Z", "skills": []},
            "context_management": {"applied_edits": [{"type": "clear_thinking_20251015", "cleared_input_tokens": 1}]},
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 300,
                "server_tool_use": {"web_search_requests": 1},
                "service_tier": "batch",
                "iterations": [{"type": "message", "input_tokens": 1}, {"type": "new", "input_tokens": 1}],
            },
        },
    },
}
USUAL: dict[str, Any] = copy.deepcopy(LINE)
del USUAL["result"]["message"]["content"][2]["citations"][1], USUAL["result"]["message"]["usage"]["iterations"][1]

VALUES = (None, True, 0, -1, 1.0, 1.5, "", "1", "x", "(unknown)", [], [None], {}, {"type": "text"}, {"type": None})
NAMES = (
    "new",
    "type",
    "extra",
    "(extra)",
    "incomplete",
    "(incomplete)",
    "unknown_deltas",
    "raw",
    "(raw)",
    "input_json",
)
ADDED = (*VALUES, [{"type": "x"}])


def read(line: str) -> tuple[object, object]:
    """What is read from a line, and how it is written; or the error."""
    try:
        value = types.MessageBatchIndividualResponse.from_json(line)
    except APIError as error:
        return str(error), None
    return value, json.dumps(value.to_dict(), sort_keys=True)


def read_in_two_steps(line: str) -> tuple[object, object]:
    """The same, by the general way."""
    try:
        value = types.MessageBatchIndividualResponse.from_dict(json.loads(line))
    except APIError as error:
        return str(error), None
    return value, json.dumps(value.to_dict(), sort_keys=True)


def changed(raw: dict[str, Any], names: tuple[str, ...] = NAMES) -> Iterator[str]:
    """Lines with one thing changed: every value within replaced or left out, and every object with one more field."""
    line = copy.deepcopy(raw)

    def visit(holder: Any, key: Any) -> Iterator[str]:
        old = holder[key]
        for value in VALUES:
            holder[key] = value
            yield json.dumps(line)
        holder[key] = old
        if isinstance(old, dict):
            members = cast("dict[str, Any]", old)
            for name in names:
                if name not in members:
                    for value in ADDED:
                        members[name] = value
                        yield json.dumps(line)
                    del members[name]
            for name in list(members):
                yield from visit(members, name)
                kept = members.pop(name)
                yield json.dumps(line)
                members[name] = kept
        elif isinstance(old, list):
            for index in range(len(cast("list[Any]", old))):
                yield from visit(old, index)

    yield from visit({"line": line}, "line")


@pytest.mark.parametrize("raw", [LINE, USUAL], ids=["unusual", "usual"])
def test_one_step_makes_what_two_steps_make(raw: dict[str, Any]) -> None:
    """Whatever is changed in a line: its value, what it is written as, and the error where it cannot be read."""
    count = 0
    for line in changed(raw):
        assert read(line) == read_in_two_steps(line), line
        count += 1
    assert count > 3_000


@pytest.mark.parametrize(
    "delta",
    [
        {"type": "text_delta", "text": "x"},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "compaction_delta", "content": "x", "encrypted_content": None},
    ],
    ids=lambda delta: delta["type"],
)
def test_deltas(delta: dict[str, Any]) -> None:
    """The same for events. Names of fields of ours are not sent: no API has them."""
    names = tuple(name for name in NAMES if not name.startswith(OURS))
    raw = {"type": "content_block_delta", "index": 0, "delta": delta}
    for line in changed(raw, names):
        assert in_events(decode_event, line) == in_events(decode_in_two_steps, line), line


def in_events(decode: Callable[[tuple[str, bytes]], Value], line: str) -> tuple[object, object]:
    """What an event is decoded as, and how it is written; or the error."""
    try:
        event = decode(("content_block_delta", line.encode()))
    except APIError as error:
        return str(error), None
    return event, event.to_dict()


def decode_in_two_steps(raw: tuple[str, bytes]) -> Value:
    """As `decode_event`, by the general way."""
    return _decode_any_event(*raw)


def test_every_type_within() -> None:
    """Random lines with all types, nested as they may be."""
    schema = our_types()
    for seed in range(1_000):
        line = json.dumps(AnyJSON(schema, seed).make("result")).replace('"a_new_field":', '"type":')
        assert read(line) == read_in_two_steps(line), seed


def test_the_usual_line_takes_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would compare two steps with two steps."""
    line = json.dumps(USUAL)

    def refuse(cls: type[Extended], raw: object) -> Extended:
        raise AssertionError(cls)

    monkeypatch.setattr(types.MessageBatchIndividualResponse, "from_dict", classmethod(refuse))
    assert types.MessageBatchIndividualResponse.from_json(line).to_dict()["custom_id"] == "a-1"


def test_the_blocks_that_take_one_step() -> None:
    """Those of text and thinking do, and none that holds what a request takes back as it came."""
    names = {name for name, block in BLOCKS.items() if is_read_in_one_step(cast("Any", block))}
    assert names == {"text", "thinking", "redacted_thinking", "container_upload", "compaction"}


def _all_classes(cls: type[Value] = Value) -> Iterator[type[Value]]:
    for each in cls.__subclasses__():
        yield each
        yield from _all_classes(each)


def test_null_means_nothing() -> None:
    """In one step null is a value, and in two it is left out: a field that may be null has to be null by default."""
    count = 0
    for cls in _all_classes():
        hints = typing.get_type_hints(cls)
        for field in msgspec.structs.fields(cls):
            if not field.encode_name.startswith(OURS):
                count += 1
                may_be_null = type(None) in typing.get_args(hints[field.name])
                assert not may_be_null or field.default is None, (cls, field.name)
    assert count > 300
