"""The clients that pages use, from npm, read what the encoders make: ``useChat``, ``HttpAgent`` and the API's own.

All answers are read by one node process (``node/clients.mjs``). What the clients know in the end is what the pages of
`pages` know, with which the other tests look at every cut.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.corpora import recorded
from trio_stream.types import MessageStopEvent
from trio_stream.web import AGUI, AISDK, Anthropic, Encoder, JSONLines, RelayedEvent

from .answers import OVERLOADED, condensed, encoded, end, recorded_events
from .pages import AGUIPage, AISDKPage
from .zoo import ANSWERS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def node_modules() -> Path | None:
    """The folder with ``node_modules`` in which the clients are."""
    named = os.environ.get("TRIO_STREAM_SDK_NODE")
    folder = Path(named) if named else ROOT / ".venv-sdk"
    needed = ("ai", "@ag-ui/client", "@anthropic-ai/sdk")
    return folder if all((folder / "node_modules" / name).exists() for name in needed) else None


pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(node_modules() is None, reason="no clients of pages: make sdk, where npm is"),
]

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "ai-sdk": AISDK,
    "ai-sdk-reader": AISDK,
    "ag-ui": lambda: AGUI("thread", "run"),
    "anthropic": Anthropic,
    "json-lines": JSONLines,
}

WAYS = ("error", "abort", "cut", "early end", "refusal")


class Case(NamedTuple):
    """A client and the response that it reads."""

    client: str
    frames: list[bytes]
    cut: bool = False
    status: int = 200
    type: str = "text/event-stream"


def recordings() -> dict[str, list[RelayedEvent]]:
    return {stream.name: recorded_events(stream.whole) for stream in recorded()}


def complete(events: list[RelayedEvent]) -> bool:
    return bool(events) and isinstance(events[-1], MessageStopEvent)


def beginning(client: str, ending: str | None) -> list[bytes]:
    """The frames of an answer that ends in the middle of its second call."""
    return encoded(ENCODERS[client](), ANSWERS["a cut call"][:-4], ending)


def make_cases() -> dict[tuple[str, ...], Case]:
    cases: dict[tuple[str, ...], Case] = {}
    for name, events in {**ANSWERS, **recordings()}.items():
        for client in ("ai-sdk", "ag-ui"):
            cases["whole", name, client] = Case(client, encoded(ENCODERS[client](), events))
    for name, events in recordings().items():
        for client in ("anthropic", "json-lines"):
            if complete(events):
                cases["whole", name, client] = Case(client, encoded(ENCODERS[client](), events))
    for client, make in ENCODERS.items():
        cases["error", client] = Case(client, beginning(client, "error"))
        cases["abort", client] = Case(client, beginning(client, "abort"))
        cases["cut", client] = Case(client, beginning(client, None), cut=True)
        cases["early end", client] = Case(client, beginning(client, "end"))
        kind, body = make().refusal(OVERLOADED)
        cases["refusal", client] = Case(client, [body], status=OVERLOADED.status, type=kind)
    for name in ("every block", "a search", "a run", "approvals", "a run within a call", "a reply that begins again"):
        events = ANSWERS[name]
        for client in ("ai-sdk", "ag-ui"):
            for cut in range(0, len(events), 5):
                encoder = ENCODERS[client]()
                encoded(encoder, events[:cut], None)
                frames = condensed(encoder, events[:cut])
                frames += [frame for event in events[cut:] for frame in encoder.event(event, None)] + end(encoder)
                cases["late", name, client, str(cut)] = Case(client, frames)
    return cases


@pytest.fixture(scope="module")
def read() -> dict[tuple[str, ...], dict[str, Any]]:
    """What the clients have made of all cases."""
    cases = make_cases()
    given = [{**case._asdict(), "frames": [frame.decode() for frame in case.frames]} for case in cases.values()]
    done = subprocess.run(
        ["node", str(HERE / "node" / "clients.mjs"), str(node_modules())],
        input=json.dumps(given).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers = dict(zip(cases, json.loads(done.stdout), strict=True))
    for name, answer in answers.items():
        assert answer["warnings"] == [], name
    return answers


def shown_part(part: dict[str, Any]) -> dict[str, Any]:
    """What a page shows of a part; the clients keep more."""
    kind = part["type"]
    if kind == "dynamic-tool":
        names = ["toolName", "toolCallId", "state", "output", "errorText", "providerExecuted", "approval"]
        if part["state"] != "input-streaming":
            names.append("input")
    else:
        names = [name for name in part if name not in ("text", "state")] + ["text", "state"]
    shown = {name: part[name] for name in names if part.get(name) is not None}
    return {"type": kind, **shown, **({"text": part["text"]} if kind in ("text", "reasoning") else {})}


def shown_in_python(page: AISDKPage) -> list[dict[str, Any]]:
    return [{key: value for key, value in shown_part(part).items() if key != "id"} for part in page.parts]


def shown_by_client(answer: dict[str, Any]) -> list[dict[str, Any]]:
    parts = answer.get("message", {}).get("parts", [])
    return [{key: value for key, value in shown_part(part).items() if key != "id"} for part in parts]


def messages_in_python(page: AGUIPage) -> list[dict[str, Any]]:
    return [
        {
            "id": message["id"],
            "role": message["role"],
            "content": message["content"],
            "calls": [
                (name, page.calls[name]["name"], page.calls[name]["arguments"]) for name in message.get("calls", ())
            ],
            "encrypted": message.get("encryptedValue"),
            "call": message.get("toolCallId"),
        }
        for message in page.messages
    ]


def messages_of_client(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": message["id"],
            "role": message["role"],
            "content": message.get("content", ""),
            "calls": [
                (call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in message.get("toolCalls", ())
            ],
            "encrypted": message.get("encryptedValue"),
            "call": message.get("toolCallId"),
        }
        for message in answer["messages"]
    ]


Read = dict[tuple[str, ...], dict[str, Any]]


def test_use_chat_reads_every_answer(read: Read) -> None:
    """``useChat`` has the parts that the page in Python has, runs the same calls, and ends as it was told."""
    for name, events in {**ANSWERS, **recordings()}.items():
        answer, page = read["whole", name, "ai-sdk"], AISDKPage(encoded(AISDK(), events))
        assert answer["status"] == "ready", name
        assert answer["finish"]["finishReason"] == page.ending, name
        assert shown_by_client(answer) == shown_in_python(page), name
        assert {one["id"]: one["input"] for one in answer["ran"]} == page.ran, name
        assert answer.get("message", {}).get("metadata") == page.metadata, name
        assert len(answer["transient"]) == len(page.transient) + sum("data-" in part["type"] for part in page.parts)


def test_an_http_agent_reads_every_answer(read: Read) -> None:
    """``HttpAgent`` has the messages that the page in Python has, and no call to run that it should not."""
    for name, events in {**ANSWERS, **recordings()}.items():
        answer, page = read["whole", name, "ag-ui"], AGUIPage(encoded(AGUI("thread", "run"), events))
        assert "error" not in answer, (name, answer["error"])
        assert page.last is not None
        outcome = page.last["outcome"]
        assert messages_of_client(answer) == messages_in_python(page), name
        assert answer["finish"]["outcome"] == outcome["type"], name
        assert answer["finish"]["usage"] == page.last["usage"]
        if pending := outcome.get("pendingToolCallIds"):
            assert answer["finish"]["pendingToolCallIds"] == pending, name
        assert answer["pendingInterrupts"] == outcome.get("interrupts", []), name
        assert [(one["name"], one["value"]) for one in answer["custom"]] == page.custom, name


def test_the_client_of_the_api_reads_every_recorded_answer(read: Read) -> None:
    """The official client has the message that the official Python client has, by events and by lines."""
    for stream in recorded():
        if not complete(recorded_events(stream.whole)):
            continue
        for client in ("anthropic", "json-lines"):
            answer = read["whole", stream.name, client]
            assert "error" not in answer, (stream.name, answer["error"])
            message = answer["message"]
            assert [block["type"] for block in message["content"]] == [
                block["type"] for block in stream.message["content"]
            ]
            text = "".join(block.get("text", "") for block in stream.message["content"])
            assert "".join(block.get("text", "") for block in message["content"]) == text
            assert "".join(answer["texts"]) == text
            assert message["stop_reason"] == stream.message["stop_reason"]


def test_a_page_that_comes_late_has_the_same_message(read: Read) -> None:
    """The clients make equal messages of the whole answer and of a snapshot with what followed."""
    late = [key for key in read if key[0] == "late"]
    assert len(late) > 80
    for key in late:
        _, name, client, cut = key
        whole = read["whole", name, client]
        field = "message" if client == "ai-sdk" else "messages"
        assert read[key][field] == whole[field], (name, client, cut)


@pytest.mark.parametrize("way", WAYS)
def test_use_chat_at_an_end_that_is_none(read: Read, way: str) -> None:
    """The text stays; a failure is the state ``error``; a stop is not; the cut call never runs."""
    answer = read[way, "ai-sdk"]
    status = "ready" if way in ("abort", "early end") else "error"
    assert answer["status"] == status
    if way == "refusal":
        assert answer["error"] == OVERLOADED.message
        return
    parts = {part.get("toolCallId", part["type"]): part for part in answer["message"]["parts"]}
    assert parts["text"]["text"] == "I look."
    assert [one["id"] for one in answer["ran"]] == ["a"]
    assert parts["b"]["state"] == ("input-streaming" if way == "cut" else "output-error")
    if way == "error":
        assert answer["error"] == OVERLOADED.message
        assert answer["message"]["metadata"]["usage"]["inputTokens"] == 17
    assert answer["finish"]["isDisconnect"] == (way == "cut")
    assert answer["finish"].get("finishReason") == ("interrupted" if status == "ready" else None)
    errors = read[way, "ai-sdk-reader"]["errors"]
    assert errors == {"error": [OVERLOADED.message], "cut": ["network error"]}.get(way, [])


@pytest.mark.parametrize("way", WAYS)
def test_an_http_agent_at_an_end_that_is_none(read: Read, way: str) -> None:
    """The text stays; a failure is an error of the run; a stop is the outcome ``cancelled``."""
    answer = read[way, "ag-ui"]
    if way == "refusal":
        assert OVERLOADED.message in answer["error"]
        return
    assert messages_of_client(answer)[0]["content"] == "I look."
    if way == "error":
        usage = {"inputTokens": 17, "outputTokens": 7, "cachedInputTokens": 5, "cacheWriteInputTokens": 2}
        assert answer["runError"]["message"] == OVERLOADED.message
        assert answer["runError"]["code"] == OVERLOADED.type
        assert answer["runError"]["usage"][0].items() >= usage.items()
    elif way == "cut":
        assert answer["error"] == "network error"
    else:
        assert answer["finish"]["outcome"] == "cancelled"
    if way in ("error", "cut"):
        assert "finish" not in answer


@pytest.mark.parametrize("client", ["anthropic", "json-lines"])
@pytest.mark.parametrize("way", WAYS)
def test_the_client_of_the_api_at_an_end_that_is_none(read: Read, way: str, client: str) -> None:
    """Every end but ``message_stop`` is an error, and the text came before it."""
    answer = read[way, client]
    assert "message" not in answer
    assert "".join(answer["texts"]) == ("" if way == "refusal" else "I look.")
    if client == "anthropic":
        kinds = {"error": OVERLOADED.type, "refusal": OVERLOADED.type, "cut": None}
        assert answer.get("type") == kinds.get(way, "interrupted")
        assert answer.get("status") == (503 if way == "refusal" else None)
