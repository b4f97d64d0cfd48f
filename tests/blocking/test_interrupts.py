"""Interrupts of blocking programs: nothing is lost, nothing hangs, and nothing is left open.

Each program runs in a process of its own and raises its signal itself, so it is all the same how the tests were started.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from typing import Any

import pytest
import trio

from tests.blocking.interrupted import USES
from tests.forked import FORKS
from tests.processes import ROOT, environment
from tests.soak.form import LONG
from tests.wire.answers import CHUNKED_HEAD, chunked
from tests.wire.events import BEGIN, DELTAS
from tests.wire.server import Peer, serve

pytestmark = pytest.mark.timeout(3600 if LONG else 600)


async def said(*args: object) -> Any:
    """What the program says, which ends by itself, without an error."""
    with trio.fail_after(3000 if LONG else 60):
        done = await FORKS.run(["-m", "tests.blocking.interrupted", *map(str, args)], env=environment(), cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b""), done
    return json.loads(done.stdout)


@pytest.mark.parametrize(("how", "times"), [("caught", 950 if LONG else 25), ("anywhere", 150 if LONG else 10)])
async def test_interrupts_by_signals(how: str, times: int) -> None:
    """The text is exact, nothing is open, and the client goes on being used."""
    seed = random.randrange(1 << 32) if LONG else 1
    found = await said(how, times, seed)
    assert found["wrong"] == [], f"seed {seed}"
    assert found["interrupts"] >= times


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="which instructions look for signals is Python 3.11's")
@pytest.mark.parametrize("use", USES)
async def test_interrupts_anywhere(use: str) -> None:
    """At each place of the library where Python looks for signals, in the long form; else at a sample of them."""
    found = await said("everywhere", use, 0, 1 if LONG else 211)
    assert found["wrong"] == []
    assert found["places"] >= 200


@pytest.mark.parametrize("when", ["opening", "reading"])
async def test_ctrl_c_ends_a_program(when: str) -> None:
    """A Ctrl-C in the middle of a wait leaves as itself, and closes the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if when == "reading":
            await peer.send(CHUNKED_HEAD, chunked(*BEGIN, *DELTAS))
        process.send_signal(signal.SIGINT)
        await peer.until_closed()

    async with serve(script) as server:
        args = ["-m", "tests.blocking.interrupted", "wait", server.base_url]
        async with FORKS.start(args, env=environment(), cwd=ROOT) as process:
            assert process.stderr is not None
            with trio.fail_after(30):
                errors = b"".join([data async for data in process.stderr]).decode()
                await process.wait()
        await server.closed(0)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Group" not in errors
    assert "ignored" not in errors
