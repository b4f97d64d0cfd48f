"""Ctrl-C, for real: another program is interrupted, and looked at from outside.

What belongs here: starting and interrupting it, and the checks. What does not: the program (`interrupted`), and how
often (`test_interrupts`, and the fault matrix).
"""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio

from tests.soak.form import LONG, in_packets
from tests.wire.answers import CHUNKED_HEAD, chunked
from tests.wire.events import CUT_EVENTS, text_delta
from tests.wire.server import WireServer, on, repeat, request, send, silence

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.soak.interrupted"]

ENDS_WITHIN = 0.5 if LONG else 30.0
"""Seconds from the signal to the end of the process, interpreter's end included.

The figure is that of a machine with nothing else to do. In every run it has to end by itself, and long before any of
the library's clocks would make it.
"""

BEGIN = send(CHUNKED_HEAD, chunked(*CUT_EVENTS))
SCRIPTS = {
    "idle": on(request(), BEGIN, silence()),
    "busy": on(request(), BEGIN, repeat(chunked(text_delta("more ")) * 500)),
    "working": on(request(), BEGIN, silence()),
}


async def interrupt(how: str, *, times: int) -> None:
    """Interrupt a program while it waits, decodes without end, or does something else inside the block.

    Args:
      how: What it does.
      times: How often. Some times more if the machine was too busy every time for it to end soon enough.
    """
    seconds: list[float] = []
    while len(seconds) < times or (min(seconds) > ENDS_WITHIN and len(seconds) < times + 4):
        async with WireServer([SCRIPTS[how]]) as server:
            process = await trio.lowlevel.open_process(
                [*COMMAND, server.base_url, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
            )
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                async with process.stdout, process.stderr:
                    with trio.fail_after(2 * ENDS_WITHIN + 30):
                        assert await process.stdout.receive_some()  # it is ready
                        await trio.sleep(random.uniform(0, 0.02))
                        process.send_signal(signal.SIGINT)
                        sent_at = trio.current_time()
                        await process.wait()
                    seconds.append(trio.current_time() - sent_at)
                    said = b"".join([part async for part in process.stderr]).decode()
            finally:
                process.kill()
            await server.closed(0)
        assert said.strip().endswith("KeyboardInterrupt"), said
        assert "Group" not in said
        assert "Warning" not in said
        assert "ignored" not in said
    assert min(seconds) <= ENDS_WITHIN, seconds


async def interrupt_anywhere(
    *, runs: int, server_context: ssl.SSLContext | None = None, trusted: Path | None = None
) -> None:
    """Interrupt at random moments of connecting, sending, reading, leaving: each leaves as itself, and no socket."""
    seed = random.randrange(1 << 32)
    async with WireServer(then=in_packets(), tls=server_context) as server:
        said = await report(server, "anywhere", runs, seed, seconds=20 + runs * 0.4, trusted=trusted)
        for number in range(len(server.peers)):
            await server.closed(number)
    assert said == {"interrupted": runs, "sockets_left_in": []}, f"seed {seed}"
    assert server.requests


async def interrupt_everywhere(use: str, *, every: int) -> int:
    """Interrupt at every instruction of the library's at which Python looks for signals, or at some of them.

    Args:
      use: A name of `tests.soak.interrupted.USES`.
      every: 1 for each of them, 2 for every second...

    Returns:
      How many such places there are.
    """
    async with WireServer(then=in_packets(0)) as server:
        said = await report(server, "everywhere", use, random.randrange(every), every, seconds=20 + 400 / every)
    assert said["wrong"] == []
    places: int = said["places"]
    return places


async def report(server: WireServer, *arguments: object, seconds: float, trusted: Path | None = None) -> Any:
    """Run the program until it ends by itself; what it says, which is no error."""
    environment = os.environ | ({} if trusted is None else {"SSL_CERT_FILE": str(trusted)})
    with trio.fail_after(seconds):
        done = await trio.run_process(
            [*COMMAND, server.base_url, *map(str, arguments)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=environment,
        )
    assert done.stderr.decode() == ""
    assert done.returncode == 0
    return json.loads(done.stdout)
