"""Programs of this library without half a second of imports for each: forked from a process that has done them.

What belongs here: how the tests ask `tests.fork_server` for a program, and what they get, which is used as a
`trio.Process` is. What does not: programs, and what is expected of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from tests.processes import PYTHON, environment

SECONDS = 60
"""Nothing that a test waits for takes so long, on the busiest machine."""

_PROGRAM = Path(__file__).parent / "fork_server.py"
_CODE = 16  # bytes: see `fork_server.told`


class ForkedProcess:
    """A program that runs. At the end of ``async with`` it is killed, unless it has ended."""

    def __init__(self, status: int, ours: Mapping[str, int]) -> None:
        self.pid = int(os.read(status, _CODE))
        self.returncode: int | None = None
        os.set_blocking(status, False)
        self._status = status
        pipes = {name: trio.lowlevel.FdStream(fd) for name, fd in ours.items()}
        self.stdin = pipes.get("stdin")
        self.stdout = pipes.get("stdout")
        self.stderr = pipes.get("stderr")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.kill()
        with trio.CancelScope(deadline=trio.current_time() + SECONDS, shield=True):
            await self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                await pipe.aclose()

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = int(os.read(self._status, _CODE))
            except BlockingIOError:
                return None
            os.close(self._status)
        return self.returncode

    async def wait(self) -> int:
        """Wait for its end, and return what `poll` then does."""
        while (code := self.poll()) is None:
            await trio.lowlevel.wait_readable(self._status)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks, started when the first program is asked for."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def descriptors(self) -> int:
        """How many file descriptors it keeps open."""
        return 0 if self._process is None else 1

    def stop(self) -> None:
        """End it, after the programs that it has become."""
        if self._process is not None:
            self._requests.close()
            self._process.wait(SECONDS)
            self._process = None

    def start(
        self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, terminal: int | None = None
    ) -> ForkedProcess:
        """Start a program.

        Args:
          args: As after ``python``: ``-m`` and a module, or the path of a script, and its arguments.
          env: All of its environment. What Python itself reads when it starts makes no difference.
          cwd: Where it runs.
          terminal: Its end of a terminal, which it controls. Without one its input, output and errors are pipes.
        """
        pipes = {} if terminal is not None else {name: os.pipe() for name in ("stdin", "stdout", "stderr")}
        theirs = [terminal] * 3 if terminal is not None else [pipes["stdin"][0], pipes["stdout"][1], pipes["stderr"][1]]
        ours = {name: pair[name == "stdin"] for name, pair in pipes.items()}
        program = {
            "args": [str(arg) for arg in args],
            "env": dict(env),
            "cwd": str(cwd or Path.cwd()),
            "terminal": terminal is not None,
        }
        status, told = os.pipe()
        data = json.dumps(program).encode() + b"\n"
        sent = socket.send_fds(self._connect(), [data], [*theirs, told])
        self._requests.sendall(data[sent:])
        for fd in (told, *(fd for fd in theirs if fd != terminal)):
            os.close(fd)
        return ForkedProcess(status, ours)

    async def run(
        self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end, as `trio.run_process` would that captures what it writes."""
        captured: dict[str, bytes] = {}

        async def read(name: str, pipe: trio.abc.ReceiveStream) -> None:
            captured[name] = b"".join([data async for data in pipe])

        async with self.start(args, env=env, cwd=cwd) as process, trio.open_nursery() as nursery:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(read, "stdout", process.stdout)
            nursery.start_soon(read, "stderr", process.stderr)
            async with process.stdin as pipe:
                with contextlib.suppress(trio.BrokenResourceError):  # it does not read all, or has ended
                    await pipe.send_all(stdin)
            code = await process.wait()
        return subprocess.CompletedProcess(args, code, captured["stdout"], captured["stderr"])

    def _connect(self) -> socket.socket:
        if self._process is None:
            self._requests, theirs = socket.socketpair()
            with theirs:
                # Not in the path: this folder, which has names of the standard library. Not in the group of processes
                # that gets the Ctrl-C of whoever runs the tests.
                self._process = subprocess.Popen(
                    [PYTHON, "-P", "-W", "error", str(_PROGRAM)],
                    stdin=theirs.fileno(),
                    env=environment(),
                    start_new_session=True,
                )
        return self._requests


FORKS = ForkServer()
