"""`merge_journals`: joining journals, or outputs of ``trio-stream batch``, into one.

What belongs here: which of several records of an item is kept, and writing the result whole or not at all. What does
not: the contents of a record (`_journal_format`).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, final

import msgspec

from trio_stream._money import ChargeSums
from trio_stream.batch._file_lock import lock_file
from trio_stream.batch._journal_format import (
    CHARGED,
    HEADER,
    JournalError,
    Order,
    charges_in,
    charges_record,
    check_version,
    is_journal,
    may_be_journal,
    read_head,
)
from trio_stream.batch._journal_index import JournalIndex, offset_of

_READ = 1 << 20
_KINDS: Final = ("start", "partial", "end")
"""The kinds of records; the later in this list, the better. An ``end`` with an answer is better still."""

_ANSWERED: Final = ("ok", "cached")


@final
class MergeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a `merge_journals`.

    Args:
      items: How many items the result has.
      unfinished: How many of them were started and have not ended.
      repeated: How many records were left out because another file has a better or an earlier one of the same item.
      paid_twice: How many of these were whole answers.
      conflicts: The keys that stand for different requests in different files. The first file's record was kept.
      damaged: How many lines could not be read.
    """

    items: int
    unfinished: int
    repeated: int
    paid_twice: int
    conflicts: tuple[str, ...]
    damaged: int


class _Record(msgspec.Struct, gc=False):
    """The record that is kept of an item so far: where it is, and what decides between it and others."""

    rank: int
    file: int
    offset: int
    index: int
    at: float
    hash: str


class _OutputLine(msgspec.Struct, gc=False):
    """The fields that are needed of a line of the output of ``trio-stream batch``."""

    id: str = ""
    status: str = ""
    index: int = 0
    hash: str = ""


_decode_output_line = msgspec.json.Decoder(_OutputLine).decode


class _Found(msgspec.Struct, gc=False):
    """A record as it was read, whichever kind of file it comes from."""

    key: str
    rank: int
    index: int
    at: float
    hash: str


def merge_journals(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    order: Order = "index",
    overwrite: bool = False,
) -> MergeReport:
    """Make one journal of several, or one output of several outputs of ``trio-stream batch``.

    The result has each item once: its answer rather than its error, and its error rather than a partial text; of two
    that are equally good, the one that was noted first. It is written beside ``out`` and then takes its place, so that
    ``out`` may be one of ``paths``. Fields that this version does not know are kept, and so is what the records were
    charged for that are left out: a budget of a run that goes on counts all that was spent, a copied record once.

    Args:
      paths: The files, all of one kind.
      out: The file to write.
      order: ``"index"`` for the order of the items, ``"completion"`` for the order in which they ended (for outputs,
        the order of the files).
      overwrite: Whether to replace ``out`` if it exists. A file that is neither a journal nor an output is left as it
        is, and so is one that another run is writing.

    Returns:
      How many items there are, and what was left out.

    Raises:
      JournalError: A file is of another kind than the first, or cannot be read or written; or ``out`` may not be
        replaced.
      FileExistsError: ``out`` exists.
    """
    sources = [Path(path) for path in paths]
    target = Path(out)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists")
    with contextlib.ExitStack() as stack:
        if target.exists():
            _hold(target, stack)
        files = [stack.enter_context(_open(path)) for path in sources]
        merging = _Merging(sources, files)
        for number in range(len(files)):
            merging.read(number)
        beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb", buffering=_READ) as file:
                merging.write(file, order)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except OSError as error:
            raise JournalError(f"{target} cannot be written: {error.strerror or error}", path=target) from error
        finally:
            beside.unlink(missing_ok=True)
    return merging.report()


def merge(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    order: Order = "index",
    overwrite: bool = False,
) -> MergeReport:
    """The old name of `merge_journals`.

    .. deprecated:: 0.1
       Use `merge_journals`: it has the same arguments and does the same.
    """
    warnings.warn("trio_stream.merge is now called merge_journals", DeprecationWarning, stacklevel=2)
    return merge_journals(paths, out, order=order, overwrite=overwrite)


def merge_into(paths: Iterable[str | os.PathLike[str]], file: BinaryIO, *, order: Order = "index") -> MergeReport:
    """Like `merge_journals`, but write the result to an open file.

    Raises:
      JournalError: A file is of another kind than the first, or cannot be read.
      OSError: The open file cannot be written.
    """
    sources = [Path(path) for path in paths]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_open(path)) for path in sources]
        merging = _Merging(sources, files)
        for number in range(len(files)):
            merging.read(number)
        merging.write(file, order)
    return merging.report()


def _hold(target: Path, stack: contextlib.ExitStack) -> None:
    """Look whether a file may be replaced, and keep other runs from it meanwhile.

    Raises:
      JournalError: It may not.
    """
    if not target.is_file():
        raise JournalError(f"{target} is not a file, so it cannot be replaced", path=target)
    file = stack.enter_context(_open(target))
    first = file.readline()
    if not may_be_journal(first) and _read_output_line(first) is None:
        sentence = "is neither a journal nor an output of `trio-stream batch`, so it is not replaced"
        raise JournalError(f"{target} {sentence}", path=target)
    if not lock_file(file.fileno(), target):
        raise JournalError(f"{target} is in use: another run is writing it", path=target)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=_READ)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror or error}", path=path) from error


@final
class _Merging:
    def __init__(self, paths: list[Path], files: list[BinaryIO]) -> None:
        self._paths = paths
        self._files = files
        self._journals: bool | None = None
        self._kept: dict[str, _Record] = {}
        self._conflicts: dict[str, None] = {}
        self._repeated = 0
        self._paid_twice = 0
        self._damaged = 0
        self._killed = 0  # items that were under way when a run was killed
        self._left_by_a_kill: set[int] = set()  # the hashes of the records of those that were not started again

    def read(self, number: int) -> None:
        """Read one file, and keep the best record of each item."""
        path, file = self._paths[number], self._files[number]
        first = file.readline()
        if not first:
            return
        journal = is_journal(first)
        if not journal and _read_output_line(first) is None:
            raise JournalError(f"{path} is neither a journal nor an output of `trio-stream batch`", path=path)
        if self._journals is None:
            self._journals = journal
        elif self._journals != journal:
            raise JournalError(f"{path} is another kind of file than {self._paths[0]}", path=path)
        if journal:
            check_version(first, path)
            self._look_over(number)
        file.seek(0)
        read = _read_record if journal else _read_output_line
        # Within one journal an item has several records as it goes on: they are repetitions only between files.
        of_file: dict[str, _Record] = {}
        for offset, line in _whole_lines(file):
            found = read(line)
            if found is None:
                self._damaged += 1
            elif found.rank >= 0:
                known = of_file.get(found.key)
                if known is None or found.rank >= known.rank or (known.rank < _ANSWER and journal):
                    of_file[found.key] = _Record(found.rank, number, offset, found.index, found.at, found.hash)
        for key, record in of_file.items():
            self._keep(key, record)

    def _keep(self, key: str, record: _Record) -> None:
        known = self._kept.get(key)
        if known is None:
            self._kept[key] = record
            return
        if known.hash and record.hash and known.hash != record.hash:
            self._conflicts[key] = None
            return
        self._repeated += 1
        self._paid_twice += known.rank == record.rank == _ANSWER
        if (-record.rank, record.at) < (-known.rank, known.at):
            self._kept[key] = record

    def write(self, file: BinaryIO, order: Order) -> None:
        """Write the records that are kept, as they are in their files."""
        records = list(self._kept.values())
        if order == "index":
            records.sort(key=lambda record: (record.index, record.file, record.offset))
        elif self._journals:
            records.sort(key=lambda record: (record.at, record.file, record.offset))
        else:
            records.sort(key=lambda record: (record.file, record.offset))
        if self._journals is not False:
            file.write(HEADER)
            self._write_charges(file)
        file.writelines(self._line(record.file, record.offset) for record in records)

    def _write_charges(self, file: BinaryIO) -> None:
        """Write what the records were charged for that are left out, and how many items a kill left under way."""
        kept = {(record.file, record.offset) for record in self._kept.values()}
        lines = [hash(self._line(number, offset)) for number, offset in kept]
        counted = set(
            lines
        )  # a journal may have the records of another one of these, if it was copied or merged before
        left_out = ChargeSums()
        for number, source in enumerate(self._files):
            source.seek(0)
            here: set[int] = set()
            for offset, line in _whole_lines(source):
                head = read_head(line)
                if head is None or head.record not in CHARGED or (number, offset) in kept or hash(line) in counted:
                    continue
                here.add(hash(line))
                left_out.add(charges_in(head, line))
            counted |= here
        killed = self._killed + len(self._left_by_a_kill.difference(lines))
        if left_out.totals() or killed:
            file.write(charges_record(left_out.totals(), killed))

    def _line(self, number: int, offset: int) -> bytes:
        source = self._files[number]
        source.seek(offset)
        return source.readline()

    def _look_over(self, number: int) -> None:
        """Look whether all message batches in a journal have been collected, and what a kill has left under way.

        Raises:
          JournalError: A batch has not: the merged journal has no records of them.
        """
        path, file = self._paths[number], self._files[number]
        index = JournalIndex()
        file.seek(0)
        for offset, line in _whole_lines(file):
            head = read_head(line)
            if head is not None:
                index.read(offset, head, line)
        if index.batches.open:
            raise JournalError(f"{path} has message batches that are not collected: run its job again first", path=path)
        self._killed += index.killed
        self._left_by_a_kill.update(
            hash(self._line(number, offset_of(index.known[key]))) for key in index.left_by_a_kill()
        )

    def report(self) -> MergeReport:
        return MergeReport(
            items=len(self._kept),
            unfinished=sum(record.rank < _FAILURE for record in self._kept.values()),
            repeated=self._repeated,
            paid_twice=self._paid_twice,
            conflicts=tuple(self._conflicts),
            damaged=self._damaged,
        )


_FAILURE, _ANSWER = 2, 3


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for line in file:
        if line.endswith(b"\n"):  # not a torn one, or one that is being written
            yield offset, line
        offset += len(line)


def _read_record(line: bytes) -> _Found | None:
    """Read a line of a journal. The rank is -1 where it is not a record of an item."""
    head = read_head(line)
    if head is None:
        return None
    rank = _KINDS.index(head.record) if head.record in _KINDS else -1
    if rank == _FAILURE and head.status in _ANSWERED:
        rank = _ANSWER
    if rank == _FAILURE and head.status == "skipped":
        return _Found(head.key, 0, head.index, head.at, "")  # to be sent again, and any request may be
    return _Found(head.key, rank, head.index, head.at, head.hash)


def _read_output_line(line: bytes) -> _Found | None:
    try:
        found = _decode_output_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not (found.id and found.status and found.hash):
        return None
    return _Found(found.id, _ANSWER if found.status in _ANSWERED else _FAILURE, found.index, 0.0, found.hash)
