"""The input of ``trio-stream batch``: lines of a file, or of a pipe.

What belongs here: reading lines, and choosing those that belong to this run. What does not: what a line stands for
(`_batch_recipe`), what is wrong with it beside others (`_batch_check`), which lines belong to a run (`_batch_part`),
and data that is no text (`_input_text`).
"""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
import sys
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Self, TextIO, TypeAlias, final

import trio

from trio_stream.cli._batch_check import Checker, FaultList, Rejections
from trio_stream.cli._batch_part import Part
from trio_stream.cli._batch_recipe import Entry, LineError
from trio_stream.cli._batch_rejects import RejectsError
from trio_stream.cli._input_json import what_it_is
from trio_stream.cli._input_text import BOM, InputError, check_is_no_directory, unreadable

_READ = 1 << 16
_CHANGED: Final = "; the file was changed while it was in use, and the items before that are done"

Items: TypeAlias = Iterator[Entry] | AsyncIterator[Entry]


@final
class FileInput:
    """An input that can be read twice: first to check all of it, then to send it.

    Between the two it keeps no lines, only the numbers of those that are left out.

    Args:
      path: The file, or the descriptor of an open one, which is read from its present position.
      checker: Makes entries of its lines.
      part: Which lines belong to this run.
      name: The name of the file, for messages; None for ``path``.

    Attributes:
      total: How many items belong to this run; None before `check`.
      fault: The error that ended the input while it was sent, as the file was changed after it had been checked. None
        if there was none.

    Raises:
      OSError: The file cannot be read.
    """

    def __init__(self, path: Path | int, checker: Checker, part: Part, *, name: str | None = None) -> None:
        self._file: BinaryIO = open(path, "rb", closefd=True)  # noqa: SIM115, PTH123 - closed by `close`
        self._start = self._file.tell()
        self._name = str(path) if name is None else name
        self._checker = checker
        self._part = part
        self._chosen: frozenset[int] | None = None
        self._rejected = array("Q")  # the numbers of the lines that are left out, in their order
        self.total: int | None = None
        self.fault: InputError | None = None

    @property
    def duplicates(self) -> dict[str, tuple[int, int]]:
        """The ids that occur more than once, and the numbers of their first two lines; see `Checker`."""
        return self._checker.duplicates

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self, rejections: Rejections | None = None) -> None:
        """Read all of it: count the items that belong to this run, and find everything that is wrong.

        Args:
          rejections: Where lines go that cannot be used. None if there must be none.

        Raises:
          InputError: There is no line that can be used; or a line cannot be, and there are no ``rejections``.
        """
        try:
            _check_head(self._file.read(_READ))
        except InputError as error:
            raise InputError(f"{self._name}, {error}") from None
        faults = FaultList()
        digests: list[tuple[bytes, int]] = []
        meant = 0
        index = -1
        for line, index, number in self._lines():
            ours = self._part.has(index)
            try:
                self._checker.check(line, index=index, number=number, ours=ours)
            except LineError as error:
                if rejections is None:
                    faults.add(error.fault, line)
                else:
                    self._rejected.append(number)
                    if ours:  # each shard has its own
                        rejections.add(error.fault, line)
                continue
            if self._part.sample is not None:
                digests.append((_digest(line, index), index))
            meant += ours
        faults.raise_any(self._name, items=index + 1)
        if index < 0:
            raise InputError(_no_items(self._name))
        if len(self._rejected) == index + 1:
            raise InputError(f"{self._name}: none of its {index + 1} lines can be used")
        if self._part.sample is not None:
            self._chosen = frozenset(index for _, index in heapq.nsmallest(self._part.sample, digests))
            meant = sum(self._part.has(index) for index in self._chosen)
        self.total = meant

    def entries(self) -> Iterator[Entry]:
        """Read the items that belong to this run, in their order.

        They end at whatever was not there when the file was checked, so that what is under way is finished; that is
        then the ``fault``.
        """
        left = self.total or 0
        try:
            for line, index, number in self._chosen_lines():
                if not left:
                    raise InputError(f"{self._name}, line {number}: it was not there before")
                yield self._checker.read(line, index=index, number=number)
                left -= 1
            if left:
                raise InputError(f"{self._name} has become shorter")
        except LineError as error:
            self.fault = InputError(f"{self._name}, {error}{_CHANGED}")
        except InputError as error:
            self.fault = InputError(f"{error}{_CHANGED}")

    def _chosen_lines(self) -> Iterator[tuple[bytes, int, int]]:
        rejected = iter(self._rejected)
        next_rejected = next(rejected, None)
        for line, index, number in self._lines():
            if number == next_rejected:
                next_rejected = next(rejected, None)
            elif self._part.has(index) and (self._chosen is None or index in self._chosen):
                yield line, index, number

    def _lines(self) -> Iterator[tuple[bytes, int, int]]:
        index = 0
        try:
            self._file.seek(self._start)
            for number, line in enumerate(self._file, 1):
                if index == self._part.limit:
                    return
                if line.removeprefix(BOM).strip():
                    yield line, index, number
                    index += 1
        except OSError as error:
            raise InputError(unreadable(self._name, error)) from None


def _check_head(data: bytes) -> None:
    """Look whether the first bytes are those of something else than JSON lines.

    Raises:
      InputError: They are.
    """
    what = what_it_is(data)
    if what is not None:
        raise InputError(f"line 1, column 1: {what}")


def _no_items(name: str) -> str:
    return f"{name} has no items: it is empty, or all its lines are blank"


def _digest(line: bytes, index: int) -> bytes:
    return hashlib.blake2b(b"%d %b" % (index, line.strip()), digest_size=16).digest()


@final
class PipeInput:
    """An input that can be read once, as it arrives: standard input that is not a file.

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
            while self._index != self._part.limit:
                line = await self._line()
                if line is None:
                    if not self._index:
                        self.fault = InputError(_no_items(self._name))
                    break
                self._number += 1
                if not line.removeprefix(BOM).strip():
                    continue
                entry = self._entry(line)
                self._index += 1
                if entry is not None and self._part.has(entry.index):
                    return entry
        except InputError as error:
            self.fault = InputError(f"{self._name}, {error}{'; the items before it are done' * bool(self._index)}")
        except RejectsError as error:
            self.fault = error
        except OSError as error:
            self.fault = InputError(unreadable(self._name, error))
        raise StopAsyncIteration

    def _entry(self, line: bytes) -> Entry | None:
        ours = self._part.has(self._index)
        try:
            return self._checker.check(line, index=self._index, number=self._number, ours=ours)
        except LineError as error:
            if self._rejections is None:
                raise
            if ours:  # each shard has its own
                self._rejections.add(error.fault, line)
            return None

    async def _line(self) -> bytes | None:
        # In a thread, because a terminal or a pipe would otherwise have to be made non-blocking, for every process that
        # has it open. If the thread is abandoned, what it reads is lost, as is the rest of the input.
        while not self._lines:
            if self._ended:
                return None
            read = partial(os.read, self._file_number, _READ)
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            if not self._number and not self._torn:
                _check_head(data)
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


def open_input(source: str, checker: Checker, part: Part, rejections: Rejections | None = None) -> Input:
    """Open the input that the command line names, and check all of it if it is a file.

    Args:
      source: The name; ``-`` is standard input.
      checker: Makes entries of its lines.
      part: Which lines belong to this run.
      rejections: Where lines go that cannot be used. None if there must be none.

    Raises:
      InputError: The input cannot be read, or lines of it cannot be used.
    """
    name = "standard input" if source == "-" else source
    try:
        number = _stdin() if source == "-" else os.open(source, os.O_RDONLY)
        mode = os.fstat(number).st_mode
        check_is_no_directory(name, mode)
        if not stat.S_ISREG(mode):
            return PipeInput(number, checker, part, rejections=rejections, name=name)
        found = FileInput(os.dup(number) if source == "-" else number, checker, part, name=name)
    except OSError as error:
        raise InputError(unreadable(name, error)) from None
    try:
        found.check(rejections)
    except BaseException:
        found.close()
        raise
    return found


def _stdin() -> int:
    stdin: TextIO | None = sys.stdin  # None if it is closed
    if stdin is None:
        raise InputError("standard input is closed: name a file, or pipe the items in")
    return stdin.fileno()
