"""Recorded event streams, and what other programs make of them, where a checkout has them beside it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CORPORA = Path(__file__).parents[2] / "shared" / "corpora"

# Where the official SDK and the API's documentation disagree, the documentation wins.
DUPLICATE_START = "vercel-ai__duplicate-message-start.sse"
CUT_TOOL_INPUT = "anthropic-sdk-python__incomplete_partial_json_response.sse"

needs_corpora = pytest.mark.skipif(not CORPORA.exists(), reason="the recorded streams are not here")


class Recorded(NamedTuple):
    """One recorded stream, and the message and event counts that the official SDK makes of it."""

    name: str
    data: bytes
    terminated: bool  # whether its last event has its blank line
    message: dict[str, Any]
    event_types: dict[str, int]

    @property
    def whole(self) -> bytes:
        """The stream with its last event's blank line."""
        return self.data if self.terminated else self.data + b"\n\n"


def recorded() -> list[Recorded]:
    """All recorded streams."""
    if not CORPORA.exists():
        return []
    golden = json.loads((CORPORA / "golden.json").read_bytes())
    return [_recorded(name, entry) for name, entry in golden.items()]


def _recorded(name: str, entry: dict[str, Any]) -> Recorded:
    data = (CORPORA / name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    answer = entry.get("terminated", entry)["beta"]
    return Recorded(name, data, "terminated" not in entry, _wire_names(answer["final"]), answer["event_types"])


def _wire_names(value: Any) -> Any:
    # `from` is a keyword in Python: the SDK's dumps have its attribute's name.
    if isinstance(value, dict):
        return {"from" if key == "from_" else key: _wire_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wire_names(item) for item in value]
    return value


def parametrized(*, but: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Runs a test for each recorded stream; where there are none, it is skipped."""
    streams = [stream for stream in recorded() if stream.name not in but]
    params = [pytest.param(stream, id=stream.name.split("__", 1)[-1]) for stream in streams]
    if not params:
        skip = pytest.mark.skip(reason="the recorded streams are not here")
        params = [pytest.param(None, marks=skip, id="recorded-streams")]
    return pytest.mark.parametrize("stream", params)


def event_stream_vectors() -> list[Any]:
    """The Web Platform Tests' cases for event streams."""
    path = CORPORA / "wpt_eventsource.json"
    if not path.exists():
        return []
    return [case for case in json.loads(path.read_bytes()) if case["connection"] == "open"]
