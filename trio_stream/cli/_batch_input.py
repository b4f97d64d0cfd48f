"""The input of ``trio-stream batch``: rows of a file, or lines of a pipe.

What belongs here: going through the rows, and choosing those that belong to this run. What does not: the formats of
rows (`_rows_json` and its like; `_open_rows` opens them), what a row stands for (`_batch_recipe`), what is wrong with
it beside others (`_batch_check`), and which rows belong to a run (`_batch_part`).
"""

from __future__ import annotations

import hashlib
import heapq
import os
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Final, Self, TypeAlias, final

import trio

from trio_stream.cli._batch_check import Checker, FaultList, Rejections
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_recipe import Entry
from trio_stream.cli._batch_rejects import RejectsError
from trio_stream.cli._input_text import BOM, InputError, unreadable
from trio_stream.cli._rows import JsonLine, Reader, Row, RowError
from trio_stream.cli._rows_json import check_head

_READ = 1 << 16
_CHANGED: Final = "; the file was changed while it was in use, and the items before that are done"

Items: TypeAlias = Iterator[Entry] | AsyncIterator[Entry]


@final
class FileInput:
    """An input that can be read twice: first to check all of it, then to send it.

    Between the two it keeps no rows, only the numbers of those that are left out.

    Args:
      reader: Reads its rows.
      checker: Makes items of them.
      part: Which rows belong to this run.
      name: The name of the file, for messages.

    Attributes:
      total: How many items belong to this run; None before `check`.
      fault: The error that ended the input while it was sent, as the file was changed after it had been checked. None
        if there was none.
    """

    def __init__(self, reader: Reader, checker: Checker, part: Part, *, name: str) -> None:
        self._reader = reader
        self._name = name
        self._checker = checker
        self._part = part
        self._chosen: frozenset[int] | None = None
        self._rejected = array("Q")  # the numbers of the rows that are left out, in their order
        self.total: int | None = None
        self.fault: InputError | None = None

    @property
    def duplicates(self) -> dict[str, tuple[int, int]]:
        """The ids that occur more than once, and the numbers of their first two rows; see `Checker`."""
        return self._checker.duplicates

    @property
    def equal(self) -> int:
        """How many of the items are not sent, as their requests are those of others; see `Checker`."""
        return self._checker.equal if self._part.sample is None else 0

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def check(self, rejections: Rejections | None = None) -> None:
        """Read all of it: count the items that belong to this run, and find everything that is wrong.

        Args:
          rejections: Where rows go that cannot be used. None if there must be none.

        Raises:
          InputError: There is no row that can be used; or a row cannot be, and there are no ``rejections``.
        """
        faults = FaultList()
        digests: list[tuple[bytes, int, int]] = []
        meant = 0
        index = -1
        unit = "line"
        for index, row in self._rows():
            unit = row.unit
            ours = self._part.has(index)
            try:
                entries = self._checker.check(row, index=index, ours=ours)
            except RowError as error:
                if rejections is None:
                    faults.add(error.fault, b"")
                else:
                    self._rejected.append(row.number)
                    if ours:  # each shard has its own
                        rejections.add(error.fault, row.data)
                continue
            if self._part.sample is not None:
                digests.append((_digest(row.data, index), index, len(entries)))
            elif ours:
                meant += len(entries)
        faults.raise_any(self._name, items=index + 1, unit=unit)
        if index < 0:
            raise InputError(_no_items(self._name))
        if len(self._rejected) == index + 1:
            raise InputError(f"{self._name}: none of its {index + 1} {unit}s can be used")
        if self._part.sample is not None:
            sample = heapq.nsmallest(self._part.sample, digests)
            self._chosen = frozenset(index for _, index, _ in sample)
            meant = sum(count for _, index, count in sample if self._part.has(index))
        self.total = meant

    def entries(self) -> Iterator[Entry]:
        """Read the items that belong to this run, in their order.

        They end at whatever was not there when the file was checked, so that what is under way is finished; that is
        then the ``fault``.
        """
        left = self.total or 0
        try:
            for index, row in self._chosen_rows():
                if not left:
                    raise InputError(f"{self._name}, {row.unit} {row.number}: it was not there before")
                for entry in self._checker.read(row, index=index):
                    yield entry
                    left -= 1
            if left:
                raise InputError(f"{self._name} has become shorter")
        except RowError as error:
            self.fault = InputError(f"{self._name}, {error}{_CHANGED}")
        except InputError as error:
            self.fault = InputError(f"{error}{_CHANGED}")

    def _chosen_rows(self) -> Iterator[tuple[int, Row]]:
        rejected = iter(self._rejected)
        next_rejected = next(rejected, None)
        for index, row in self._rows():
            if row.number == next_rejected:
                next_rejected = next(rejected, None)
            elif self._part.has(index) and (self._chosen is None or index in self._chosen):
                yield index, row

    def _rows(self) -> Iterator[tuple[int, Row]]:
        for index, row in enumerate(self._reader.rows()):
            if index == self._part.limit:
                return
            yield index, row


def _no_items(name: str) -> str:
    return f"{name} has no items: it is empty, or all its lines are blank"


def _digest(line: bytes, index: int) -> bytes:
    return hashlib.blake2b(b"%d %b" % (index, line.strip()), digest_size=16).digest()


@final
class PipeInput:
    """Lines of JSON that can be read once, as they arrive: standard input that is not a file.

    A line that cannot be used is rejected, or else ends it, and `fault` is the error. The items before that line are
    finished.

    Args:
      file_number: The descriptor, which stays open.
      checker: Makes entries of its lines.
      part: Which lines belong to this run.
      rejections: Where lines go that cannot be used. None if the first of them ends the input.
      name: Its name, for messages.

    Attributes:
      total: Always None, because the number of items is not known.
      fault: The error that ended the input: of a line, of the file for rejected ones, or because there are no lines.
        None if there was none.
    """

    def __init__(
        self, file_number: int, checker: Checker, part: Part, *, rejections: Rejections | None, name: str
    ) -> None:
        if part.sample is not None:
            raise InputError("--sample needs an input that can be read twice: a file")
        self._file_number = file_number
        self._name = name
        self._checker = checker
        self._rejections = rejections
        self._part = part
        self._lines: deque[bytes] = deque()
        self._entries: deque[Entry] = deque()  # of the line that was read last
        self._torn: list[bytes] = []
        self._ended = False
        self._index = 0
        self._number = 0
        self.total: int | None = None
        self.fault: Exception | None = None

    def close(self) -> None:
        """Do nothing: a thread may still be reading from it."""

    def entries(self) -> Self:
        """Return itself, an iterator over the items that belong to this run."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        try:
            while True:
                if self._entries:
                    return self._entries.popleft()
                if self._index == self._part.limit:
                    break
                line = await self._line()
                if line is None:
                    if not self._index:
                        self.fault = InputError(_no_items(self._name))
                    break
                self._number += 1
                if line.removeprefix(BOM).strip():
                    self._take(JsonLine(self._number, line))
                    self._index += 1
        except InputError as error:
            self.fault = InputError(f"{self._name}, {error}{'; the items before it are done' * bool(self._index)}")
        except RejectsError as error:
            self.fault = error
        except OSError as error:
            self.fault = InputError(unreadable(self._name, error))
        raise StopAsyncIteration

    def _take(self, row: Row) -> None:
        """Make the items of a row, if it belongs to this run and can be used."""
        ours = self._part.has(self._index)
        try:
            entries = self._checker.check(row, index=self._index, ours=ours)
        except RowError as error:
            if self._rejections is None:
                raise
            if ours:  # each shard has its own
                self._rejections.add(error.fault, row.data)
            return
        if ours:
            self._entries.extend(entries)

    async def _line(self) -> bytes | None:
        # In a thread, because a terminal or a pipe would otherwise have to be made non-blocking, for every process that
        # has it open. If the thread is abandoned, what it reads is lost, as is the rest of the input.
        while not self._lines:
            if self._ended:
                return None
            read = partial(os.read, self._file_number, _READ)
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            if not self._number and not self._torn:
                check_head(data)
            self._torn.append(data)
            self._ended = not data
            if b"\n" in data or self._ended:
                *lines, rest = b"".join(self._torn).split(b"\n")
                self._torn = [] if self._ended else [rest]
                self._lines.extend(lines)
                if self._ended and rest:
                    self._lines.append(rest)
        return self._lines.popleft()


Input: TypeAlias = FileInput | PipeInput
