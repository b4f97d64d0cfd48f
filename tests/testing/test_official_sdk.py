"""The official SDK takes the served port for the real API."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_stream.testing import Batches, ScriptedAPI, call, fail, http_error, say, stall, think

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def sdk_python() -> str | None:
    named = os.environ.get("TRIO_STREAM_SDK_PYTHON")
    if named:
        return named
    usual = ROOT / ".venv-sdk" / "bin" / "python"
    return str(usual) if usual.exists() else None


pytestmark = pytest.mark.skipif(
    sdk_python() is None, reason="no official SDK: set TRIO_STREAM_SDK_PYTHON to a Python that has anthropic"
)


async def test_official_sdk() -> None:
    """Text, thinking, tools, betas, whole messages, token counts and errors: without a complaint of either side."""
    api = ScriptedAPI(
        [say("Hello from a stream, word by word.", ttft=0.01, tps=500)],
        [think("They want the weather."), say("Let me see."), call("get_weather", {"city": "Lisbon"})],
        [think("It is sunny."), say("Sunny.")],
        [say("beta")],
        [say("whole")],
        [fail("overloaded_error")],
        [http_error(429, retry_after=1)],
        [say("in a batch")],
        [http_error(529)],
        [say("expires", stall())],
        [say("from a blocking client")],
        batches=Batches(seconds=0),
    )
    async with api.serve() as server:
        python = sdk_python()
        assert python is not None
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [python, str(HERE / "official_sdk_client.py"), server.base_url],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    assert [request.status for request in api.requests] == [200] * 5 + [200, 200, 429] + [200] * 7
    api.assert_done()

    assert report["complaints"] == []
    assert report["streamed"] == {
        "texts": ["Hello", " from", " a", " stream,", " word", " by", " word."],
        "text": "Hello from a stream, word by word.",
        "stop_reason": "end_turn",
        "output_tokens": 9,
    }
    first = report["conversation"]["first"]
    assert [block["type"] for block in first] == ["thinking", "text", "tool_use"]
    assert first[0]["signature"]
    assert first[2]["input"] == {"city": "Lisbon"}
    assert report["conversation"]["stop_reason"] == "tool_use"
    assert report["conversation"]["second"][1]["text"] == "Sunny."
    assert report["beta"] == "beta"
    assert report["created"] == [{"text": "whole", "type": "text"}]
    assert report["counted"] > 0
    assert report["errors"][0] == ["APIStatusError", 200, "overloaded_error", True]
    assert report["errors"][1] == ["RateLimitError", 429, "rate_limit_error", True]
    told = report["batches"]
    assert (told["status"], told["hour"], told["listed"], told["deleted"]) == (
        "ended",
        24,
        True,
        "message_batch_deleted",
    )
    assert told["counts"] == {"succeeded": 1, "errored": 1, "expired": 1, "canceled": 0, "processing": 0}
    assert [[custom_id, result["type"]] for custom_id, result in told["found"]] == [
        ["q-0", "succeeded"],
        ["q-1", "errored"],
        ["q-2", "expired"],
    ]
    assert told["found"][0][1]["message"]["content"][0]["text"] == "in a batch"
    assert told["found"][1][1]["error"]["error"]["type"] == "overloaded_error"
    assert report["sync"] == "from a blocking client"
    assert api.requests[3].betas == ("some-beta-2026-01-01",)
    assert api.requests[-1].headers["authorization"] == "Bearer token"
