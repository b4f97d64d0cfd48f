"""The JSON Lines parser: bytes to lines (https://jsonlines.org).

What belongs here: where a line ends, and the bound on its size. What does not: what a line says (`_batches`), and what
a body means that ends in the middle of one (`_stream`).
"""

from __future__ import annotations

from typing import Final, final

from trio_stream._errors import InvalidResponseError

_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b" \t\r"


@final
class JSONLinesParser:
    """Turns the bytes of a file of JSON lines into its lines, without their ends. Blank lines are left out.

    Only LF ends a line, and a CR before it is blank: other characters that end a line of text may stand within JSON.
    The work is linear in the number of bytes, however they are cut.

    Args:
      max_line_bytes: The largest line; also the largest stretch without one.

    Attributes:
      failure: The error to raise once a line was larger than the limit, or None. Lines before that one have been
        returned; everything after it is ignored.
    """

    __slots__ = ("_between_bytes", "_line", "_max_line_bytes", "_started", "failure")

    def __init__(self, *, max_line_bytes: int) -> None:
        self.failure: InvalidResponseError | None = None
        self._max_line_bytes = max_line_bytes
        self._line = bytearray()  # the beginning of the unfinished line
        self._between_bytes = 0  # since the last line, blank ones included, which a compressed body has for nothing
        self._started = False  # the first line has ended

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes.

        Returns:
          The lines that these bytes completed.
        """
        if self.failure is not None:
            return []
        first, *others = data.split(b"\n")
        self._line += first
        lines: list[bytes] = []
        if others:
            lines = [bytes(self._line), *others]
            self._line = bytearray(lines.pop())
            if not self._started:
                self._started = True
                lines[0] = lines[0].removeprefix(_BOM)
        for number, line in enumerate([*lines, self._line]):
            if len(line) > self._max_line_bytes:
                self.failure = InvalidResponseError(f"line too large: more than {self._max_line_bytes} bytes")
                self._line.clear()
                del lines[number:]
                break
        lines = [line for line in lines if line.strip(_BLANKS)]
        self._between_bytes = 0 if lines else self._between_bytes + len(data)
        if self._between_bytes > self._max_line_bytes and self.failure is None:
            self.failure = InvalidResponseError(f"more than {self._max_line_bytes} bytes without a line")
        return lines

    def end(self) -> bytes:
        """What came after the last line end; empty where the body ended with one."""
        line, self._line = bytes(self._line), bytearray()
        if not self._started:
            line = line.removeprefix(_BOM)
        return line.strip(_BLANKS)
