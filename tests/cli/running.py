"""What the command-line tests share: real processes, with and without a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import trio

from tests import processes
from tests.processes import PYTHON

SECRET = "sk-ant-secret-key"
SECONDS = 60
"""Nothing a test waits for takes so long, on the busiest machine."""

# It sets itself up in the new process, because what would run between fork and exec is not safe with threads.
_TAKE_TERMINAL = "import fcntl, os, sys, termios; os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
_RUN = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
IN_TERMINAL = [PYTHON, "-I", "-S", "-c", f"{_TAKE_TERMINAL}; {_RUN}"]
"""The beginning of a command line that takes its input for its terminal and then becomes another Python program."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a command, which counts for the coverage."""
    return processes.environment(measured=True, **more)


def program(*args: str) -> list[str]:
    return ["-W", "error", "-m", "trio_stream.cli", *args]


class Finished:
    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def __repr__(self) -> str:
        return f"<exit {self.code}\nout: {self.out}\nerr: {self.err}>"


async def run_cli(*args: str, stdin: bytes = b"", base_url: str | None = None, **env: str) -> Finished:
    """Run a command to its end, its output to pipes."""
    if base_url is not None:
        env = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": SECRET} | env
    with trio.fail_after(SECONDS):
        done = await trio.run_process(
            [PYTHON, *program(*args)],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(**env),
        )
    return Finished(done)


class Running:
    """A Python program that runs: its output so far, and Ctrl-C.

    With ``terminal`` its input, output and errors are a terminal of that many columns and rows, which it controls.
    """

    def __init__(self, args: Sequence[str], *, terminal: tuple[int, int] | None = None, **env: str) -> None:
        self._args = list(args)
        self._env = environment(**env)
        self._size = terminal
        self._read_bytes = b""
        self.err = ""

    @property
    def out(self) -> str:
        return self._read_bytes.decode(errors="replace")

    async def __aenter__(self) -> Self:
        if self._size is None:
            command = [PYTHON]
            options: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
            }
        else:
            import fcntl
            import termios

            ours, theirs = pty.openpty()
            columns, rows = self._size
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            command = IN_TERMINAL
            options = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        self.process = await trio.lowlevel.open_process([*command, *self._args], env=self._env, **options)
        if self._size is None:
            assert self.process.stdout is not None
            self._stdout: Any = self.process.stdout
        else:
            os.close(theirs)
            self._stdout = trio.lowlevel.FdStream(ours)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.process.kill()
        with trio.CancelScope(deadline=trio.current_time() + SECONDS, shield=True):
            await self.process.wait()
        await self._stdout.aclose()
        if self.process.stderr is not None:
            await self.process.stderr.aclose()

    async def read_on(self) -> None:
        """Read its output, until cancelled: a pipe does not hold much."""
        while await self._read():
            pass

    async def read_until(self, wanted: str) -> str:
        """Read until the output has a text, and return all of it."""
        with trio.fail_after(SECONDS):
            while wanted not in self.out:
                assert await self._read(), f"ended without {wanted!r}: {self.out}"
        return self.out

    async def close_stdout(self) -> None:
        await self._stdout.aclose()

    async def type(self, text: bytes) -> None:
        """Type something at its terminal."""
        await self._stdout.send_all(text)

    async def finish(self) -> int:
        """Read to the end, and return the exit code."""
        with trio.fail_after(SECONDS):
            while await self._read():
                pass
            if self.process.stderr is not None:
                self.err = b"".join([data async for data in self.process.stderr]).decode()
            return await self.process.wait()

    async def _read(self) -> bool:
        try:
            data = await self._stdout.receive_some()
        except trio.BrokenResourceError:  # how a terminal says that nobody has it open any more
            return False
        self._read_bytes += data
        return bool(data)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


def without_styles(text: str) -> str:
    """Terminal output without escape sequences and carriage returns."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")
