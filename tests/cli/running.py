"""What the command-line tests share: real processes, with and without a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import trio

from tests import processes
from tests.forked import FORKS, SECONDS
from tests.processes import PYTHON

SECRET = "sk-ant-secret-key"


def environment(**more: str) -> dict[str, str]:
    """The environment of a command, which counts for the coverage."""
    return processes.environment(measured=True, **more)


def program(*args: str) -> list[str]:
    return ["-m", "trio_stream.cli", *args]


class _Done(Protocol):
    """As `subprocess.CompletedProcess`."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Finished:
    def __init__(self, done: _Done) -> None:
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
        return Finished(await FORKS.run(program(*args), stdin=stdin, env=environment(**env)))


async def start_cli(*args: str, **env: str) -> Finished:
    """Run a command as a shell would: in a Python that is started for it, and begins with importing the library."""
    with trio.fail_after(SECONDS):
        done = await trio.run_process(
            [PYTHON, "-W", "error", *program(*args)],
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
        self._args = args
        self._env = environment(**env)
        self._size = terminal
        self._read_bytes = b""
        self.err = ""

    @property
    def out(self) -> str:
        return self._read_bytes.decode(errors="replace")

    async def __aenter__(self) -> Self:
        if self._size is None:
            self.process = FORKS.start(self._args, env=self._env)
            assert self.process.stdin is not None
            await self.process.stdin.aclose()
            assert self.process.stdout is not None
            self._stdout = self.process.stdout
        else:
            import fcntl
            import termios

            ours, theirs = pty.openpty()
            columns, rows = self._size
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            self.process = FORKS.start(self._args, env=self._env, terminal=theirs)
            os.close(theirs)
            self._stdout = trio.lowlevel.FdStream(ours)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.process.__aexit__(exc_type, exc, tb)
        await self._stdout.aclose()

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

    async def read_more(self) -> None:
        """Read what comes next."""
        assert await self._read(), f"ended: {self.out}"

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
