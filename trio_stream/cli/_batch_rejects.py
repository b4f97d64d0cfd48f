"""The file that ``--skip-invalid`` names: the lines of the input that cannot be used, each with the reason.

What belongs here: the form of the file, and writing it. What does not: finding out what is wrong (`_batch_check`).
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import msgspec

from trio_stream.cli._rows import Fault


class Reject(msgspec.Struct, frozen=True):
    r"""One line of the file.

    Args:
      line: The number of the rejected line in the input, counted from 1.
      column: The place of the mistake, counted from 1 in characters.
      reason: What is wrong.
      text: The rejected line itself. Bytes that are not UTF-8 are written as ``\xe9``.
    """

    line: int
    column: int
    reason: str
    text: str


_decode = msgspec.json.Decoder(Reject).decode


def is_reject(line: bytes) -> bool:
    """Whether a line is one of such a file."""
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class RejectsError(Exception):
    """The rejected lines cannot be written."""


@final
class RejectsFile:
    """Writes lines that cannot be used to a file. What the file had is replaced: it is of one run.

    Args:
      path: The file.

    Attributes:
      path: As given.
      count: How many lines have been written.

    Raises:
      RejectsError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self.path = path
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise self._error(error) from None

    def add(self, fault: Fault, line: bytes) -> None:
        """Write a line that cannot be used.

        Raises:
          RejectsError: It cannot be written.
        """
        text = line.rstrip(b"\r\n").decode(errors="backslashreplace")
        reject = Reject(line=fault.line, column=fault.column, reason=fault.reason, text=text)
        data = msgspec.json.encode(reject) + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._error(error) from None
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _error(self, error: OSError) -> RejectsError:
        return RejectsError(f"{self.path} cannot be written: {error.strerror or error}")
