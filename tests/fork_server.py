"""A Python that has imported the library, and becomes the programs that it is asked for: one fork for each.

What belongs here: what a process that was forked needs to be as one that was started. What does not: how the tests ask
for programs (`tests.forked`), and what these are. It is run by its path, with the standard library and the installed
library alone, because it also runs in the environment of an installed wheel.

Half a second of imports for each command would be most of what the tests of the command line take.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import signal
import socket
import sys
import termios
from pathlib import Path
from types import FrameType
from typing import NamedTuple

# The command imports a module of `cli` when it is asked for what that does.
_IMPORTED = (
    *(
        f"trio_stream.cli.{name}"
        for name in ("_ask", "_batch", "_batch_dry_run", "_commands", "_demo", "_merge", "_serve")
    ),
    "trio_stream.testing",
    "coverage",
)


class Program(NamedTuple):
    """What to become."""

    args: list[str]
    """As after ``python``: ``-m`` and a module, or a path, and its arguments."""

    env: dict[str, str]
    cwd: str
    terminal: bool
    """Whether standard input is a terminal that the program controls."""


def main() -> None:
    """Fork for each request that arrives at standard input, a socket, until that is closed."""
    atexit.register(end_quickly)  # before all others, and so it is called after them
    for name in _IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    inspect.stack()  # coverage asks for this when it begins, and the first time it looks at the file of each module
    gc.collect()
    gc.freeze()  # a collection that looks at a shared page copies it
    with socket.socket(fileno=os.dup(0)) as requests:
        program = _serve(requests)
    if program is not None:
        _run(program)


def _serve(requests: socket.socket) -> Program | None:
    """Returns in every child, with what it has to run; here when there are no more requests."""
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, _noticed)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report(statuses)
        if requests.fileno() not in ready:
            continue
        data, fds, _, _ = socket.recv_fds(requests, 1 << 16, 4)
        if not data:
            return None
        while not data.endswith(b"\n"):
            data += requests.recv(1 << 16)
        *standard, status = fds
        pid = os.fork()
        if pid:
            statuses[pid] = status
            os.write(status, told(pid))
            for fd in standard:
                os.close(fd)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (ended, wakeup, status, *statuses.values()):
            os.close(fd)
        for target, fd in enumerate(standard):
            os.dup2(fd, target)
            os.close(fd)
        return Program(**json.loads(data))


def told(number: int) -> bytes:
    """A process id or an exit code, always as long: the two may have arrived before the first of them is read."""
    return f"{number:15}\n".encode()


def _noticed(number: int, frame: FrameType | None) -> None:
    """A signal without a handler of Python wakes nobody up."""


def _report(statuses: dict[int, int]) -> None:
    """Tell of those that have ended how they did, as `subprocess` would put it."""
    for pid, status in list(statuses.items()):
        found, how = os.waitpid(pid, os.WNOHANG)
        if found:
            del statuses[pid]
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it
                os.write(status, told(os.waitstatus_to_exitcode(how)))
            os.close(status)


def _run(program: Program) -> None:
    """Be that program, from where a fresh interpreter would begin to run it."""
    if program.terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(program.cwd)
    os.environ.clear()
    os.environ.update(program.env)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if "coverage" in sys.modules:
        sys.modules["coverage"].process_startup()  # if the environment asks for it
    module = program.args[0] == "-m"
    sys.argv = program.args[module:]
    try:
        if module:
            sys.path.insert(0, program.cwd)
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except KeyboardInterrupt:
        raise  # the interpreter ends itself with the signal
    except SystemExit as end:
        _exit_code.append(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
    except BaseException:
        _exit_code.append(1)
        raise
    _exit_code.append(0)


_exit_code: list[int] = []
"""With what the program has ended, once it has; the interpreter has told of it, and called what waits for the end."""


def end_quickly() -> None:
    """End the process in place of the interpreter, which would first take apart all modules.

    A child would copy every page on which one of them stands: five times the rest of what a short program takes. What
    the program has left behind is looked for here too.
    """
    if not _exit_code:
        return
    gc.collect()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    except OSError:
        return  # then the interpreter finds it out, and says so
    os._exit(_exit_code[0] & 0xFF)


if __name__ == "__main__":
    main()
