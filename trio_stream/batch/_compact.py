"""`compact_journal`: one record for each item, and all charges.

What belongs here: writing the smaller journal in place of the other one. What does not: which record of an item counts
(`_journal_index`), and joining several journals (`_merge`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO, Final, final

import msgspec

from trio_stream._money import ChargeSums
from trio_stream.batch._file_lock import has_name, lock_file
from trio_stream.batch._journal_format import CHARGED, HEADER, JournalError, charges_in, charges_record, read_head
from trio_stream.batch._journal_index import JournalIndex, offset_of
from trio_stream.batch._journal_overview import whole_lines

_READ: Final = 1 << 20


@final
class CompactReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a `compact_journal`.

    Args:
      items: How many items the journal has.
      records: How many records were left out.
      damaged: How many of them were lines that could not be read.
      bytes_before: The size of the file.
      bytes_after: The size of the new one.
    """

    items: int
    records: int
    damaged: int
    bytes_before: int
    bytes_after: int


def compact_journal(path: str | os.PathLike[str]) -> CompactReport:
    """Leave out of a journal what no later run needs: all but one record of each item.

    A run that goes on with it finds what it would have found: the same answers, errors and unfinished items, and what
    all runs together were charged for. Items that were given up (``skipped``), to be sent again, are left out. The new
    journal is written beside the old one, to the disk, and then takes its place: whatever ends the process, there is a
    whole journal of that name.

    Args:
      path: The journal.

    Raises:
      JournalError: The file is not a journal, cannot be read or written, or a run has it open; or it has message
        batches that are not collected.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # a link stays one
    try:
        with target.open("rb+", buffering=_READ) as file:
            if not lock_file(file.fileno(), path) or not has_name(file.fileno(), target):
                raise JournalError(f"{path} is in use: another run is writing it", path=path)
            return _Compacting(path, target, file).replace()
    except OSError as error:
        raise JournalError(f"{path} cannot be compacted: {error.strerror or error}", path=path) from error


@final
class _Compacting:
    def __init__(self, path: Path, target: Path, file: BinaryIO) -> None:
        self._target = target
        self._file = file
        self._index = JournalIndex()
        self._lines = 0
        self._damaged = 0
        for offset, line in whole_lines(path):
            self._lines += 1
            head = read_head(line)
            if head is None:
                self._damaged += 1
            else:
                self._index.read(offset, head, line)
        if self._index.batches.open:
            raise JournalError(f"{path} has message batches that are not collected: run its job again first", path=path)

    def replace(self) -> CompactReport:
        """Write the new journal, and give it the name of the old one."""
        target = self._target
        beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb", buffering=_READ) as new:
                # Locked before it has the name, and while the old one still is: nobody can come in between.
                lock_file(new.fileno(), beside)
                os.chmod(new.fileno(), os.fstat(self._file.fileno()).st_mode & 0o7777)  # noqa: PTH101 - of an open file
                written = self._write(new)
                new.flush()
                os.fsync(new.fileno())
                before, after = os.fstat(self._file.fileno()).st_size, os.fstat(new.fileno()).st_size
                beside.replace(target)
                _sync_folder(target.parent)
        finally:
            beside.unlink(missing_ok=True)
        return CompactReport(
            items=len(self._index.known),
            records=self._lines - written,
            damaged=self._damaged,
            bytes_before=before,
            bytes_after=after,
        )

    def _write(self, new: BinaryIO) -> int:
        """Write the records that count, in the order in which they were noted, and return their number."""
        kept = {offset_of(entry) for entry in self._index.known.values()}
        left_out = ChargeSums()
        new.write(HEADER)
        written = 0
        self._file.seek(0)
        offset = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # a killed run has left it
            head = read_head(line) if offset not in kept else None
            if offset in kept or (head is not None and head.record == "run"):
                new.write(line)
                written += 1
            elif head is not None and head.record in CHARGED:
                left_out.add(charges_in(head, line))
            offset += len(line)
        if left_out.totals() or self._index.killed:
            new.write(charges_record(left_out.totals(), self._index.killed))
        return written


def _sync_folder(folder: Path) -> None:
    """Make sure that the new name is on the disk too."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
