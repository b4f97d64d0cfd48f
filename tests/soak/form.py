"""Long or short: what ``TRIO_STREAM_SOAK=1`` makes the tests do for minutes, every run does in a few seconds.

What belongs here: how much of everything, and the server that the tests of this folder cancel against. What does not:
the tests. A sweep of another folder that is too long for every run asks `LONG` too, and `make soak` runs it whole.
"""

from __future__ import annotations

import os
import random
from typing import Any

import trio

import trio_stream as ts
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, chunked
from tests.wire.events import BEGIN, DELTAS, END, message_events
from tests.wire.server import Peer, Script, Step, on

LONG = os.environ.get("TRIO_STREAM_SOAK") == "1"

CHURN_SECONDS = 20.0 if LONG else 0.5
INTERRUPTED_PROGRAMS = 10 if LONG else 1
INTERRUPTED_RUNS = 500 if LONG else 15
INTERRUPTED_EVERY = 1 if LONG else 300


def cuts(data: bytes, every: int = 1, *, sample: int) -> list[int]:
    """Where a sweep cuts these bytes, in order: at every place or every so many, or at a sample that is always the same.

    The first places and the last, where beginning and end are decided, are in every sample; half of the others are
    where a line ends.
    """
    places = range(len(data))
    if LONG or len(places) // every <= sample:
        return list(places[::every])
    dice = random.Random(data)
    line_ends = [place for place in places[1:] if data[place - 1 : place] == b"\n"]
    some = dice.sample(line_ends, min(len(line_ends), sample // 2)) + dice.sample(places, sample // 2)
    return sorted({*places[:3], *some, *places[-3:]})


PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hi"}],
}


def client_at(url: str, **options: Any) -> ts.Client:
    """A client that does not try again."""
    options.setdefault("max_retries", 0)
    return ts.Client(api_key="test-key", base_url=url, **options)


PACKETS = (
    (CHUNKED_HEAD, *map(chunk, message_events()), LAST_CHUNK)
    if LONG
    else (CHUNKED_HEAD, chunked(*BEGIN), chunked(*DELTAS), chunked(*END), LAST_CHUNK)
)


def answers_in_packets(seconds: float) -> Step:
    """Answer every request with the standard message, a packet at a time."""

    async def step(peer: Peer) -> None:
        while True:
            await peer.request()
            for packet in PACKETS:
                await peer.send(packet)
                await trio.sleep(seconds)

    return step


def in_packets(seconds: float = 0.0005) -> Script:
    """The same as a whole script."""
    return on(answers_in_packets(seconds))
