"""Requests that wait on the disk, so that their prompts are not in memory.

What belongs here: the files. What does not: what is written there, and when it is needed again (`_via_batch_intake`,
`_via_batch_group`).

The files have no names, so that nobody else can open them, and nothing is left of them when this process ends in
whatever way, a power cut included.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import BinaryIO, Final, cast, final

_FULL_BYTES: Final = 256_000_000
"""After so many bytes another file is begun: the disk has room again once all requests in a file are done."""


@final
class SpoolFile:
    """One file.

    Attributes:
      size: Bytes written.
      held: How many pieces of it may still be read.
    """

    __slots__ = ("_at", "_file", "held", "size")

    def __init__(self, folder: Path | None) -> None:
        self.size: int = 0
        self.held: int = 0
        self._at = 0
        self._file = _open(folder)

    def append(self, data: bytes) -> int:
        """Write to its end, and return where that begins."""
        offset = self.size
        if self._at != offset:
            self._file.seek(offset)
        self._file.write(data)
        self.size = self._at = offset + len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Read what was written at an offset."""
        if self._at != offset:
            self._file.seek(offset)
        data = self._file.read(size)
        self._at = offset + len(data)
        if len(data) < size:
            raise OSError("a temporary file is shorter than what was written to it")
        return data

    def close(self) -> None:
        """Let go of it, whatever is in it."""
        with contextlib.suppress(OSError):  # what could not be written is needed by nobody now
            self._file.close()


def _open(folder: Path | None) -> BinaryIO:
    try:
        return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))
    except OSError:
        if folder is None:
            raise
    return _open(None)  # a folder in which no file can be made may still have a journal that can be written


@final
class Spooled:
    """A request on the disk.

    Attributes:
      file: The file.
      size: Its length in bytes.
    """

    __slots__ = ("_offset", "file", "size")

    def __init__(self, file: SpoolFile, offset: int, size: int) -> None:
        self.file: SpoolFile = file
        self.size: int = size
        self._offset = offset

    def read(self) -> bytes:
        """Read it again.

        Raises:
          OSError: The disk fails.
        """
        return self.file.read(self._offset, self.size)


@final
class Spool:
    """Takes requests.

    Args:
      folder: Where the files are. None, or a folder in which no file can be made: where temporary files are.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: set[SpoolFile] = set()
        self._newest: SpoolFile | None = None

    @property
    def files(self) -> int:
        """How many files are open."""
        return len(self._files)

    def add(self, data: bytes) -> Spooled:
        """Write a request.

        Raises:
          OSError: The disk is full, or fails.
        """
        file = self._newest
        if file is None:
            file = self._newest = SpoolFile(self._folder)
            self._files.add(file)
        offset = file.append(data)
        file.held += 1
        if file.size >= _FULL_BYTES:
            self._newest = None
        return Spooled(file, offset, len(data))

    def release(self, spooled: Spooled) -> None:
        """A request is not needed any more."""
        file = spooled.file
        file.held -= 1
        if not file.held:
            if file is self._newest:
                self._newest = None
            self._files.discard(file)
            file.close()

    def close(self) -> None:
        """Close all files. What is in them is gone."""
        for file in self._files:
            file.close()
        self._files.clear()
        self._newest = None
