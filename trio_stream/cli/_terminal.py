"""Writing to terminals and pipes.

What belongs here: writing safely to whatever the output is, and the exit codes. What does not: what is written.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO, cast, final

FAILED = 1
"""Exit code: the API, the network, or a file that is written failed."""

USAGE = 2
"""Exit code: the command cannot do what was asked: the command line, the environment or the input is wrong."""

INTERRUPTED = 130
"""Exit code: Ctrl-C."""

BROKEN_PIPE = 141
"""Exit code: the reader of the output went away; the code of any command that SIGPIPE ends."""

_SHOWN: dict[int, int | None] = {
    **{code: 0x2400 + code for code in range(0x20)},
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    0x7F: 0x2421,
    ord("\n"): ord("\n"),
    ord("\t"): ord("\t"),
    ord("\r"): None,
}

_MOST_IN_A_LINE = 600


def printable(text: str) -> str:
    """Make a text safe for a terminal: control characters become visible ones, carriage returns vanish."""
    return text.translate(_SHOWN)


def one_line(text: str) -> str:
    """Make a text a single line of bounded length that is safe for a terminal."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MOST_IN_A_LINE else f"{line[:_MOST_IN_A_LINE]}…"


def complain(command: str, sentence: str) -> None:
    """Write one line to standard error. A reader that went away is ignored."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"trio-stream {command}: {one_line(sentence)}\n")
        sys.stderr.flush()


def is_terminal(file: TextIO) -> bool:
    """Whether a file is a terminal that understands escape sequences."""
    return file.isatty() and os.environ.get("TERM") != "dumb"


def forget_stdout() -> None:
    """Discard what is still buffered for standard output, because its reader went away.

    Otherwise the interpreter would try to write it at its exit, and complain.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def is_broken_pipe(error: BaseException) -> bool:
    """Whether an error, or everything in a group of errors, says that the reader of the output went away."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(is_broken_pipe(inner) for inner in group.exceptions)
    return isinstance(error, BrokenPipeError)


@final
class Output:
    """Standard output, written as text arrives: every call is flushed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._at_line_start = True
        self.is_terminal = is_terminal(file)
        if isinstance(file, io.TextIOWrapper):
            # A character that the terminal's encoding lacks must not end the answer.
            file.reconfigure(errors="replace")

    def text(self, piece: str) -> None:
        """Write a piece of the answer: unchanged to a pipe, made safe to a terminal."""
        if piece:
            self._at_line_start = piece.endswith("\n")
            self._write(printable(piece) if self._file.isatty() else piece)

    def dim(self, piece: str) -> None:
        """Write something that is not the answer, dimmed, if the output is a terminal."""
        if piece and self.is_terminal:
            self._at_line_start = piece.endswith("\n")
            self._write(f"\x1b[2m{printable(piece)}\x1b[22m")

    def json(self, data: bytes) -> None:
        """Write JSON as a line, in UTF-8 whatever the locale is."""
        if self._file.isatty():
            self._write(f"{printable(data.decode())}\n")
        else:
            self._file.buffer.write(data + b"\n")
            self._file.flush()

    def end_line(self) -> None:
        """End the line, unless the output is at the start of one."""
        if not self._at_line_start:
            self.text("\n")

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
