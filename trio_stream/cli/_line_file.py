"""Files of lines, plain or compressed by gzip, which are read from the beginning several times.

What belongs here: bytes to lines. What does not: what is in a line (`_rows_json`, `_rows_csv`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, final

from trio_stream.cli._input_text import InputError, unreadable

_HEAD: Final = 1 << 16
"""How many bytes are looked at to see what a file is."""

_GZIP: Final = b"\x1f\x8b"


@final
class LineFile:
    """A file of lines.

    Args:
      file: The file, which is read from its present position, and closed with this object.
      name: Its name, for messages.
      gzipped: Whether it is compressed. It may have several members, as ``cat a.gz b.gz`` makes them.

    Attributes:
      name: As given.
    """

    def __init__(self, file: BinaryIO, name: str, *, gzipped: bool) -> None:
        self.name = name
        self._file = file
        self._start = file.tell() if file.seekable() else 0
        self._gzipped = gzipped

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def head(self) -> bytes:
        """Return the first bytes.

        Raises:
          InputError: The file cannot be read.
        """
        try:
            return self._rewound().read(_HEAD)
        except (OSError, EOFError, zlib.error) as error:
            raise self._error(error, 1) from None

    def lines(self) -> Iterator[bytes]:
        """Read the lines from the first one on, with their ends.

        Raises:
          InputError: The file cannot be read any further, or was cut.
        """
        number = 0
        try:
            for number, line in enumerate(self._rewound(), 1):  # noqa: B007 - for what is said of an error
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise self._error(error, number + 1) from None

    def _rewound(self) -> BinaryIO | gzip.GzipFile:
        self._file.seek(self._start)
        if not self._gzipped:
            return self._file
        is_gzip = self._file.read(len(_GZIP)) == _GZIP
        self._file.seek(self._start)
        if not is_gzip:
            raise InputError(f"{self.name}: this is not gzip: name it without .gz, or say --format")
        return gzip.open(self._file)

    def _error(self, error: Exception, number: int) -> InputError:
        if isinstance(error, EOFError):
            return InputError(f"{self.name}, line {number}: the gzip data end in the middle: the file was cut")
        if isinstance(error, (gzip.BadGzipFile, zlib.error)):
            return InputError(f"{self.name}, line {number}: the gzip data are damaged ({error})")
        assert isinstance(error, OSError)
        return InputError(unreadable(self.name, error))
