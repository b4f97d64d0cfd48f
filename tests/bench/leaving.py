"""How long it takes to leave a fan-out in the middle: ``python -m tests.bench.leaving``.

What belongs here: a thousand live streams, cancelled at once, and every partial text in the journal. What does not: any
network; the scripted API is in memory.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from pathlib import Path

import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, say, stall

STREAMS = 1000
ROUNDS = 9


async def leave(journal: Path, *, streams: int) -> float:
    """The CPU seconds from the cancellation to the end of the block. To be run on a `MockClock` that jumps by itself.

    Everything happens in this process and nothing waits, so this is the time that it takes on a machine of one's own.
    """
    api = ScriptedAPI(default=[say("half an answer", stall())])
    client = ts.Client(api_key="test-key", transport=api)
    items = [ts.Item("q", id=str(number)) for number in range(streams)]
    with trio.CancelScope() as scope:
        async with ts.fan_out(
            client, items, limit=streams, journal=journal, model="claude-sonnet-5-5", max_tokens=9
        ) as results:
            while results.stats.live < streams:
                await trio.sleep(1)
            await trio.sleep(1)
            began = time.process_time()
            scope.cancel(reason="the program has what it wants")
            await trio.sleep_forever()
    seconds = time.process_time() - began
    left = {("cancelled", "half an answer")}
    known = list(ts.read_journal(journal))
    assert len(known) == streams
    assert {(outcome.status, outcome.text) for outcome in known} == left
    assert {(outcome.status, outcome.text) for outcome in results.unread} == left
    assert api.open_streams == 0
    return seconds


def main() -> None:
    """Do it some times."""
    seconds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            clock = trio.testing.MockClock(autojump_threshold=0)
            run = functools.partial(leave, Path(folder) / "journal", streams=STREAMS)
            seconds.append(trio.run(run, clock=clock))
    median, worst = statistics.median(seconds), max(seconds)
    print(f"{STREAMS:,} live streams left in {median:.3f} s (median of {ROUNDS}; {worst:.3f} s at worst)")


if __name__ == "__main__":
    main()
