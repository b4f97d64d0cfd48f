"""A program that is forked ends as it would in an interpreter of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio

from tests.forked import FORKS
from tests.processes import PYTHON, environment

PROGRAMS = {
    "the end": "print('done')",
    "an exit": "import sys; print('done'); sys.exit()",
    "an exit code": "import sys; sys.exit(3)",
    "a large exit code": "import sys; sys.exit(-1)",
    "a sentence": "import sys; sys.exit('no such thing')",
    "an error": "print('begun'); 1 / 0",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "an interrupt": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)",
    "a callback": "import atexit; atexit.register(print, 'called'); print('done')",
    "a callback that fails": "import atexit; atexit.register(lambda: 1 / 0); print('done')",
    "a thread": "import threading, time; threading.Timer(0.1, print, ['later']).start(); print('done')",
    "a socket": "import socket; sock = socket.socket(); print('done')",
    "a socket in a circle": "import socket; here = []; here += [here, socket.socket()]; print('done')",
    "output that nobody reads": "import os, sys; os.close(1); os.open('/dev/full', os.O_WRONLY); print('done')",
    "no output": "import sys; sys.stdout.close()",
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_it_ends_as_others_do(name: str, tmp_path: Path) -> None:
    """With the same exit code, the same output, and the same said of it."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[name])
    forked = await FORKS.run([str(program)], env=environment(), cwd=tmp_path)
    fresh = await trio.run_process(
        [PYTHON, "-W", "error", str(program)],
        env=environment(),
        cwd=tmp_path,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert seen(forked) == seen(fresh)


def seen(done: subprocess.CompletedProcess[bytes]) -> tuple[int, bytes, list[bytes]]:
    """What tells one end from another: of a traceback the last line."""
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


async def test_a_program_that_has_ended_before_its_start_is_told(tmp_path: Path) -> None:
    """The process id and the exit code are two messages, however late the first is read."""
    program = tmp_path / "program.py"
    program.write_text("import os; os._exit(7)")
    codes = []
    for _ in range(20):
        async with FORKS.start([str(program)], env=environment()) as process:
            codes.append(await process.wait())
    assert codes == [7] * 20
