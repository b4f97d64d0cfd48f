"""Against the types of the official SDK, where that is installed (``make sdk``), and against our own elsewhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import trio_stream as ts
from tests.protocol.any_json import AnyJSON, missing, our_types
from tests.protocol.feeding import accumulate
from tests.testing.test_official_sdk import sdk_python
from trio_stream import types
from trio_stream._protocol import ErrorEvent, Message, build_body, decode_event, error_from_event, events_of_message

SAMPLES = 300
NAMES_THAT_DIFFER = frozenset(
    {
        *("APIErrorObject", "AuthenticationErrorObject", "BashCodeExecutionToolResultErrorObject"),
        *("BillingErrorObject", "CodeExecutionToolResultErrorObject", "ContainerSkill", "ErrorResponse"),
        *("GatewayTimeoutErrorObject", "InvalidRequestErrorObject", "NotFoundErrorObject", "OverloadedErrorObject"),
        *("PermissionErrorObject", "RateLimitErrorObject", "RawContentBlockDeltaEvent", "RawContentBlockStartEvent"),
        *("RawMessageDeltaEvent", "RawMessageStartEvent", "TextEditorCodeExecutionToolResultErrorObject"),
        *("ToolSearchToolResultErrorObject", "WebSearchToolResultErrorObject"),
    }
)
"""The names of SDK 2.14.0 for which there is another name here."""


def sdk_types() -> dict[str, Any]:
    script = Path(__file__).with_name("sdk_types.py")
    done = subprocess.run([str(sdk_python()), str(script)], capture_output=True, check=True)
    schema: dict[str, Any] = json.loads(done.stdout)
    return schema


@pytest.fixture(scope="module", params=["ours"] if sdk_python() is None else ["ours", "anthropic"])
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The types, asked for once."""
    return our_types() if request.param == "ours" else sdk_types()


def test_names_of_the_sdk(schema: dict[str, Any]) -> None:
    """Code that comes from there finds every name that the parts of an answer have."""
    names = {*NAMES_THAT_DIFFER}
    if "version" in schema:
        names |= {name for name in schema["models"] if not name.startswith("Beta")}
    assert names <= vars(types).keys()


def through_a_stream(raw: dict[str, Any]) -> Message:
    accumulator, _ = accumulate(events_of_message(raw))
    message = accumulator.snapshot()
    assert message is not None
    return message


def test_messages(schema: dict[str, Any]) -> None:
    """From the stream, and from a whole answer: to a dict, to JSON, and the next request."""
    for seed in range(SAMPLES):
        raw = AnyJSON(schema, seed).make("message")
        if any("input" in block for block in raw["content"]):
            raw["stop_reason"] = "tool_use"  # after others, an empty input is taken for one that was cut
        for message in (through_a_stream(raw), Message.from_dict(raw)):
            if any(block["type"] == "fallback" for block in raw["content"]):
                raw["model"] = message.model  # that of the model which took over
            out = message.to_dict()
            assert missing(out, raw) is None, seed
            assert missing(Message.from_json(json.dumps(out)).to_dict(), raw) is None, seed
            assert Message.from_dict(out).to_dict() == out, seed
            sent = json.loads(build_body({"model": "m", "max_tokens": 1, "messages": [message]}, stream=True))[
                "messages"
            ][0]
            for param in (message.to_param(), sent, Message.from_dict(out).to_param()):
                assert missing(param["content"], raw["content"]) is None, seed


def test_the_journal(schema: dict[str, Any], tmp_path: Path) -> None:
    """Noted in one run and read in the next, and after it was merged: the message, its usage, what failed."""
    path, merged = tmp_path / "journal", tmp_path / "merged"
    raws: dict[str, dict[str, Any]] = {}
    errors: dict[str, dict[str, Any]] = {}
    messages: dict[str, Message] = {}
    with ts.Journal(path) as journal:
        for seed in range(SAMPLES):
            raw = AnyJSON(schema, seed).make("message")
            if seed % 2:
                raw["content"] = [block for block in raw["content"] if block["type"] == "text"][:1]
            raws[f"m{seed}"] = raw
            messages[f"m{seed}"] = message = Message.from_dict(raw)
            journal.start(f"m{seed}", "hash", index=seed)
            if seed % 3 == 0:
                journal.partial(f"m{seed}", "a part", usage=message.usage)
            outcome: ts.Outcome[Any] = ts.Outcome(
                id=f"m{seed}",
                index=seed,
                status="ok",
                text=message.text,
                message=message,
                usage=message.usage,
                stop_reason=message.stop_reason,
            )
            journal.end(f"m{seed}", outcome)
            errors[f"e{seed}"] = AnyJSON(schema, seed).make("error")
            event = decode_event(("error", json.dumps(errors[f"e{seed}"]).encode()))
            assert isinstance(event, ErrorEvent)
            journal.start(f"e{seed}", "hash", index=seed)
            failed: ts.Outcome[Any] = ts.Outcome(
                id=f"e{seed}", status="error", error=error_from_event(event, None), message=message, usage=message.usage
            )
            journal.end(f"e{seed}", failed)
    ts.merge_journals([path], merged)
    for file in (path, merged):
        with ts.Journal(file) as journal:
            for key, raw in raws.items():
                found = journal.lookup(key, "hash")
                assert found is not None
                assert found.message == messages[key], key
                assert missing(found.message.to_dict(), raw) is None, key
                assert found.usage == messages[key].usage, key
        for found in ts.read_journal(file):
            key = str(found.id)
            if key in errors:
                assert isinstance(found.error, ts.APIStatusError)
                assert found.error.body == errors[key], key
                assert found.message == messages["m" + key[1:]], key
            else:
                assert found.message == messages[key], key


def test_events(schema: dict[str, Any]) -> None:
    """Decoded, and pickled into a block."""
    for seed in range(SAMPLES):
        raw = AnyJSON(schema, seed).make("event")
        event = decode_event((raw["type"], json.dumps(raw).encode()))
        assert missing(event.to_dict(), raw) is None, seed
        if raw["type"] == "content_block_start":
            assert missing(event.content_block.to_param(), raw["content_block"]) is None, seed  # type: ignore[union-attr]


def test_errors(schema: dict[str, Any]) -> None:
    """In the event, and in the exception."""
    for seed in range(SAMPLES):
        raw = AnyJSON(schema, seed).make("error")
        event = decode_event(("error", json.dumps(raw).encode()))
        assert isinstance(event, ErrorEvent)
        assert missing(event.to_dict(), raw) is None, seed
        assert error_from_event(event, None).body == raw


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("batch", types.MessageBatch),
        ("deleted", types.DeletedMessageBatch),
        ("result", types.MessageBatchIndividualResponse),
    ],
)
def test_batches(schema: dict[str, Any], kind: str, cls: Any) -> None:
    """A batch, a deleted one, and each line of the results."""
    for seed in range(SAMPLES):
        raw = AnyJSON(schema, seed).make(kind)
        value = cls.from_dict(raw)
        assert missing(value.to_dict(), raw) is None, seed
        assert cls.from_dict(value.to_dict()).to_dict() == value.to_dict(), seed


def test_counts(schema: dict[str, Any]) -> None:
    """Beside the number."""
    for seed in range(SAMPLES):
        raw = AnyJSON(schema, seed).make("count")
        assert missing(types.MessageTokensCount.from_wire(raw).to_dict(), raw) is None, seed
