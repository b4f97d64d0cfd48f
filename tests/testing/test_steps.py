"""Steps say early, and by name, what they cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from trio_stream import testing as kit
from trio_stream.testing import ScriptedAPI, block, call, disconnect, event, pause, raw, say, stall, stop, think


@pytest.mark.parametrize(
    "make",
    [
        lambda: pause(-1),
        lambda: pause(math.nan),
        lambda: say("x", ttft=-0.1),
        lambda: say("x", tps=0),
        lambda: think("x", tps=-1),
        lambda: call("f", tps=0),
        lambda: disconnect(clean=True, reset=True),
    ],
)
def test_values_out_of_range(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"seconds|tokens|clean"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: say(say("x")),
        lambda: say("x", stop()),
        lambda: block({"text": "no type"}),
        lambda: event({}),
        lambda: ScriptedAPI(say("x")),  # type: ignore[arg-type]
        lambda: ScriptedAPI("text"),  # type: ignore[arg-type]
        lambda: ScriptedAPI(["text"]),  # type: ignore[list-item]
        lambda: ScriptedAPI(7),  # type: ignore[arg-type]
        lambda: ScriptedAPI(default=say("x")),  # type: ignore[arg-type]
    ],
)
def test_wrong_kinds(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"inside a block|type|script"):
        make()


def test_steps_are_values() -> None:
    assert say("x", tps=5) == say("x", tps=5)
    assert raw("é") == raw("é".encode())
    assert stall() == pause(math.inf)
    assert call("f", {"a": 1}) == call("f", '{"a":1}')
    assert call("f") == call("f", {})


def test_every_public_name_is_there() -> None:
    """What the documentation of the kit promises."""
    names: dict[str, Any] = vars(kit)
    for name in [
        "ScriptedAPI",
        "Script",
        "Step",
        "Server",
        "RecordedRequest",
        "RecordedHeaders",
        "scripted_model",
        "cancel_everywhere",
        "think",
        "say",
        "call",
        "pause",
        "ping",
        "fail",
        "http_error",
        "stop",
        "disconnect",
        "stall",
        "raw",
        "redacted_think",
        "server_tool",
        "block",
        "usage",
        "event",
        "headers",
    ]:
        assert name in names
