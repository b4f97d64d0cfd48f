"""One stream in a process of its own, whose memory is its alone: for rows that give a figure.

What belongs here: the process (`python -m tests.faults.measured URL`), starting it, and what it reports. What does
not: which faults are measured, and the figures.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

import trio_stream as ts
from tests.faults.rows import PARAMS, client_for
from tests.forked import FORKS
from tests.own_time import run
from tests.processes import ROOT, environment
from tests.wire.server import WireServer

MB = 1_000_000


@dataclass(frozen=True)
class Measured:
    """What became of one stream.

    Args:
      error: The class of its error; "" when there was none.
      sentence: The error's text.
      text_length: Characters of the text of the message, or of ``.partial``.
      events: How many events the stream delivered.
      seconds: From entering the block to having left it.
      grown: Bytes by which the resident set had grown at its peak.
    """

    error: str
    sentence: str
    text_length: int
    events: int
    seconds: float
    grown: int

    def kind(self) -> type[BaseException]:
        """The class of its error."""
        found: type[BaseException] = getattr(ts, self.error)
        return found


async def measure(server: WireServer, *, seconds: float = 100.0) -> Measured:
    """Stream twice in another process and report the second time: the first pays for what is only loaded once.

    Args:
      server: Of its only connection the first request must get the standard message, and the second the fault.
      seconds: For everything, starting Python included.
    """
    with trio.fail_after(seconds):
        done = await FORKS.run(["-m", "tests.faults.measured", server.base_url], env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return Measured(**json.loads(done.stdout))


async def _stream_twice(url: str) -> Measured:
    error: ts.APIError | None = None
    events = 0
    async with client_for(None, base_url=url, timeout=ts.Timeouts()) as client:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
        gc.collect()
        _clear_peak()
        before = _resident("VmRSS")
        began = trio.current_time()
        try:
            async with client.messages.stream(**PARAMS) as stream:
                async for _ in stream:
                    events += 1
        except ts.APIError as exc:
            error = exc
        seconds = trio.current_time() - began
        grown = _resident("VmHWM") - before
    message: Any = stream.message if error is None else error.partial
    return Measured(
        error="" if error is None else type(error).__name__,
        sentence="" if error is None else str(error),
        text_length=0 if message is None else len(message.text),
        events=events,
        seconds=seconds,
        grown=grown,
    )


def _clear_peak() -> None:
    # proc(5), /proc/[pid]/clear_refs: 5: "Reset the peak resident set size".
    Path("/proc/self/clear_refs").write_text("5")


def _resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        field, _, value = line.partition(":")
        if field == name:
            return int(value.split()[0]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    print(json.dumps(vars(run(functools.partial(_stream_twice, sys.argv[1])))))
