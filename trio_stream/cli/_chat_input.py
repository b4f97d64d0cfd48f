"""Reading what somebody types, or what is piped in, one line at a time.

What belongs here: lines, and the keys that end or interrupt. What does not: what a line means (`_chat`).

On a terminal prompt_toolkit edits the line: arrows, history, pasted text. It runs a loop of its own, so it gets a
thread of its own; the program goes on meanwhile, and so do its MCP sessions. A pipe is read there too, by `os.read`: a
thread that still waited in a buffered `sys.stdin` when the program ends would make the interpreter abort.
"""

from __future__ import annotations

import codecs
import contextlib
import enum
import os
import sys
from collections.abc import Generator
from functools import partial
from typing import Protocol, TextIO, final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory

from trio_stream.cli._terminal import is_terminal

_READ_SIZE = 65536


class Key(enum.Enum):
    """What may come in place of a line."""

    END = "Ctrl-D"
    INTERRUPT = "Ctrl-C"


class Lines(Protocol):
    """Where lines come from."""

    @property
    def somebody_is_there(self) -> bool:
        """Whether a person can be asked."""
        ...

    async def read(self, prompt: str) -> str | Key:
        """Read one line, without its end.

        A checkpoint. If it is cancelled, whatever had been typed is lost.

        Args:
          prompt: What to show before the line, on a terminal.
        """
        ...


@contextlib.contextmanager
def open_lines() -> Generator[Lines]:
    """Read from this process's standard input, and leave the terminal as it was."""
    stdin: TextIO | None = sys.stdin  # None where it is closed
    if stdin is None:
        yield PipedLines(None)
    elif is_terminal(stdin) and sys.stdout.isatty():
        import termios  # noqa: PLC0415 - not on Windows, and only for terminals

        before = termios.tcgetattr(stdin)
        try:
            yield TerminalLines()
        finally:
            # A thread that was abandoned while it edited a line has not given the terminal back.
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)
    else:
        yield PipedLines(stdin.fileno())


@final
class TerminalLines:
    """Lines that a person types and edits."""

    somebody_is_there = True

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(history=InMemoryHistory())

    async def read(self, prompt: str) -> str | Key:
        """Let somebody type a line. See `Lines.read`."""
        return await trio.to_thread.run_sync(partial(self._prompt, prompt), abandon_on_cancel=True)

    def _prompt(self, prompt: str) -> str | Key:
        try:
            # While a line is edited Ctrl-C is a key, not a signal.
            line = self._session.prompt(prompt, handle_sigint=False)
        except KeyboardInterrupt:
            return Key.INTERRUPT
        except EOFError:
            return Key.END
        # A byte that is no UTF-8 comes as half of a surrogate pair, which nothing can be sent with.
        return line.encode(errors="replace").decode()


@final
class PipedLines:
    """Lines of a pipe or a file. Nobody is there who could be asked.

    Args:
      fd: The file descriptor, or None for nothing at all.
    """

    somebody_is_there = False

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: list[str] = []
        self._rest = ""

    async def read(self, prompt: str) -> str | Key:  # noqa: ARG002 - nobody would see it
        """Read the next line. See `Lines.read`."""
        while not self._lines:
            if self._fd is None:
                if not self._rest:
                    return Key.END
                line, self._rest = self._rest, ""
                return line
            data = await trio.to_thread.run_sync(os.read, self._fd, _READ_SIZE, abandon_on_cancel=True)
            if not data:
                self._fd = None
            *self._lines, self._rest = (self._rest + self._decoder.decode(data, final=not data)).split("\n")
            self._lines.reverse()
        return self._lines.pop().removesuffix("\r")
