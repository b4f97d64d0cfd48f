"""What is measured: how many streams, how many events, how fast they come.

What belongs here: the loads, as data that server, clients and report share. What does not: running them.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

CONTENDERS = ("floor", "bare", "ours", "httpx_sse_msgspec", "sdk")
"""The clients that the report has a column for; each is a module in `clients`."""

WAYS = ("ours", "ours_until_done", "ours_text_stream")
"""This library, read in three ways: all events, to the end, the texts. Where bytes are waited for, they hardly differ."""

_TURNS = ("floor", "bare", *WAYS, "httpx_sse_msgspec", "sdk", "sdk_few_idle")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of load.

    Args:
      name: What it is called in the report.
      streams: Streams open at once, each on a connection of its own.
      deltas: Deltas of each stream's one block.
      every: Seconds between two events of a stream; 0: as fast as they are taken.
      kind: What the deltas hold: ``"text"``; ``"records"`` (a tool's input, a list of small objects); ``"file"`` (a
        tool's input, one long string); ``"clock"`` (text: the time at which the delta was sent).
      events_per_chunk: HTTP chunks hold that many events.
      together: No stream goes on beyond its first event before all of them have it.
      tls: Over TLS.
      task: What the client does: ``"read"`` all events and the final message; ``"keep"`` all events, too; measure
        the ``"latency"`` of events that hold the clock; read beside a task that ticks (``"tick"``); cancel itself in
        the middle of a burst (``"cancel"``).
      repeats: How often all of it is read in one turn, if the task is to read; the median counts. More than once where
        reading takes the fastest clients so little time that a single interrupt would show.
      beside: Clients that read this load although the report has no column for them.
      most_rounds: It is not measured more often than that; for loads of which a turn is long, and hardly varies.
    """

    name: str
    streams: int
    deltas: int
    every: float = 0.0
    kind: str = "text"
    events_per_chunk: int = 1
    together: bool = False
    tls: bool = False
    task: str = "read"
    repeats: int = 1
    beside: tuple[str, ...] = ()
    most_rounds: int = 1_000

    @property
    def events(self) -> int:
        """Wire events of the whole scenario, ``ping`` excluded."""
        return self.streams * (self.deltas + 5)


SCENARIOS = (
    Scenario(name="paced", streams=200, deltas=150, every=0.02),
    Scenario(name="paced-tls", streams=200, deltas=150, every=0.02, tls=True),
    Scenario(name="burst", streams=10, deltas=2_000, repeats=5, beside=WAYS),
    Scenario(name="burst-packed", streams=10, deltas=2_000, events_per_chunk=40),
    Scenario(name="wide", streams=1_500, deltas=15, every=0.1, beside=("sdk_few_idle",)),
    Scenario(name="tool", streams=1, deltas=8_000, kind="records"),
    Scenario(name="tool-file", streams=1, deltas=8_000, kind="file"),
    Scenario(name="tool-twice", streams=1, deltas=16_000, kind="records"),
    Scenario(name="text", streams=1, deltas=50_000),
    Scenario(name="text-twice", streams=1, deltas=100_000),
    Scenario(name="scale", streams=10_000, deltas=5, every=1.0, together=True, most_rounds=3),
    Scenario(name="keep", streams=1, deltas=10_000, task="keep"),
    Scenario(name="tick", streams=1, deltas=20_000, events_per_chunk=1_000, task="tick"),
    Scenario(name="cancel", streams=1, deltas=20_000, events_per_chunk=1_000, task="cancel"),
    Scenario(name="latency", streams=20, deltas=150, every=0.02, kind="clock", task="latency", most_rounds=3),
)

QUICK = (
    Scenario(name="paced", streams=100, deltas=50, every=0.02),
    Scenario(name="paced-tls", streams=100, deltas=50, every=0.02, tls=True),
    Scenario(name="burst", streams=10, deltas=500, repeats=5, beside=WAYS),
    Scenario(name="wide", streams=500, deltas=15, every=0.05),
    Scenario(name="tool", streams=1, deltas=2_000, kind="records"),
    Scenario(name="tool-twice", streams=1, deltas=4_000, kind="records"),
    Scenario(name="tick", streams=1, deltas=5_000, events_per_chunk=1_000, task="tick"),
    Scenario(name="latency", streams=20, deltas=30, every=0.02, kind="clock", task="latency"),
)
"""The same in small: it shows what is badly wrong, and its ratios are not those of the report."""

_NOT_MEANT_FOR = {
    # Counting ends of events is the same work whatever is in them.
    "floor": {"keep", "cancel"},
    # It delivers nothing, and lets nothing run beside it.
    "bare": {"keep", "tick", "cancel", "latency"},
    # Its cost per event grows with the number of streams: minutes, with nothing to learn.
    "httpx_sse_msgspec": {"scale"},
    "sdk": {"scale"},
}


def turns(scenario: Scenario) -> tuple[str, ...]:
    """The clients that read a load, in the order of their turns."""
    return tuple(
        client
        for client in _TURNS
        if client in (*CONTENDERS, *scenario.beside) and scenario.name not in _NOT_MEANT_FOR.get(client, ())
    )


SWEEPS = {
    "streams": tuple(
        Scenario(name=f"streams-{n}", streams=n, deltas=15, every=0.1) for n in (1, 10, 100, 300, 1_000, 3_000)
    ),
    "text": tuple(Scenario(name=f"text-{n}", streams=1, deltas=n) for n in (500, 2_000, 8_000, 32_000)),
    "tool input": tuple(
        Scenario(name=f"tool-{n}", streams=1, deltas=n, kind="records") for n in (500, 2_000, 8_000, 16_000)
    ),
}
"""What the picture is drawn from."""


def render(scenario: Scenario) -> list[bytes]:
    """The events of one stream, as the API writes them."""
    block: dict[str, Any] = {"type": "text", "text": ""}
    if scenario.kind in ("records", "file"):
        block = {"type": "tool_use", "id": "toolu_01", "name": "write", "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _tool_input(scenario)]
    else:
        deltas = [{"type": "text_delta", "text": f" word{n % 10} of"} for n in range(scenario.deltas)]
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }
    stop_reason = "end_turn" if block["type"] == "text" else "tool_use"
    return [
        render_event("message_start", message=message),
        render_event("content_block_start", index=0, content_block=block),
        *(render_event("content_block_delta", index=0, delta=delta) for delta in deltas),
        render_event("content_block_stop", index=0),
        render_event(
            "message_delta",
            delta={"stop_reason": stop_reason, "stop_sequence": None},
            usage={"output_tokens": scenario.deltas},
        ),
        render_event("message_stop"),
    ]


def render_event(kind: str, **fields: object) -> bytes:
    """One event of the wire."""
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _tool_input(scenario: Scenario) -> list[str]:
    """The JSON of a tool's input in as many pieces as there are deltas, some 16 characters each."""
    between = range(scenario.deltas - 2)
    if scenario.kind == "file":
        return ['{"text":"', *(f"word{n % 10} and more " for n in between), '"}']
    # Two pieces to a record.
    pieces = [f'"id":{1000 + n},"kind":' if n % 2 == 0 else f'"word{n % 10}"}},{{' for n in between]
    if len(pieces) % 2:
        pieces.append('"word"')
        return ['{"rows":[{', *pieces[:-2], pieces[-2] + pieces[-1], "}]}"]
    return ['{"rows":[{', *pieces[:-1], '"word"', "}]}"]
