"""The output of ``trio-stream batch`` while it is written: lines of JSON, one for each item.

What belongs here: a file of lines that an earlier run may have begun, and standard output. What does not: what is in
a line (`_batch_line`), tables that are made of the lines (`_batch_table`), and the journal, from which a lost line is
made again (`trio_stream.batch`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast, final

from trio_stream.batch import Journal, lock_file
from trio_stream.cli._batch_again import Again
from trio_stream.cli._batch_line import fields_of, is_output_line, tell_journal
from trio_stream.cli._batch_variants import identity

_READ = 1 << 20


class OutputError(Exception):
    """The output cannot be written, or another run is writing it."""


class TargetError(Exception):
    """A file that the command line names is not one that this command may write. The message is shown to the user."""


@final
class Output:
    """Writes the lines to a file, which may have some already, or to standard output.

    Args:
      path: The file; None for standard output.
      shown_as: What the file is called in messages; None for ``path``.
      continued: Whether a later run goes on with it.
      in_order: Whether to write the lines in the order of the input, so that a line waits for those before it.

    Attributes:
      path: As given.
      written: How many lines this run has written.
      damaged: How many whole lines of an earlier run could not be read.
      answered: The ids of items of earlier runs that have answers, by the `identity` of their requests.
      limits: The values of ``max_tokens`` that earlier runs asked with.

    Raises:
      OutputError: The file cannot be opened, or another run is writing it.
    """

    def __init__(
        self, path: Path | None, *, in_order: bool, shown_as: str | None = None, continued: bool = True
    ) -> None:
        self.path = path
        self._continued = continued and path is not None
        self.written = 0
        self.damaged = 0
        self.answered: dict[str, str] = {}
        self.limits: set[int] = set()
        self._name = str(path) if shown_as is None else shown_as
        self._in_order = in_order
        self._there: set[str] = set()
        self._waiting: dict[int, bytes] = {}
        self._next = 0
        self._descriptor: int | None = None
        self._size = 0
        self._is_changed = False  # whether the file has lines that are to be removed
        if path is not None:
            try:
                self._descriptor = self._open(path)
            except OSError as error:
                raise self._error("cannot be opened", error) from None

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        if not lock_file(descriptor, path):
            os.close(descriptor)
            raise OutputError(f"{self._name} is in use: another run is writing it")
        return descriptor

    def close(self) -> None:
        """Close the file. Lines that still wait for others are not written; the journal has them."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def read_earlier(self, journal: Journal | None, again: Again) -> None:
        """Find out which lines the file has, and which of them have to be written again. Nothing is changed yet.

        Lines that the journal has no record of, because it was lost, are noted in it. Lines that are damaged are
        written again as soon as the journal gives their answers.

        Raises:
          TargetError: The file is of another kind.
          OutputError: The file cannot be read.
        """
        lines = foreign = 0
        has_journal = journal is not None and len(journal) > 0
        for line in self._lines():
            lines += 1
            fields = fields_of(line)
            if fields is None:
                self.damaged += 1
                self._is_changed = True
                foreign += not is_output_line(line, has_journal=has_journal)
                continue
            key = cast("str", fields["id"])
            if fields.get("same_as") is None:
                if journal is not None and key not in journal:
                    tell_journal(journal, key, fields)
                if fields["status"] == "ok":
                    repeat = fields.get("repeat")
                    number = repeat if isinstance(repeat, int) else 1
                    self.answered.setdefault(identity(fields["hash"], number), key)
            if isinstance(limit := fields.get("max_tokens"), int):
                self.limits.add(limit)
            if key in self._there:
                self._is_changed = True
            # In order, everything after a line that will be written again has to be written again too.
            elif not again.of_row(fields) and not (self._is_changed and self._in_order):
                self._there.add(key)
                self._size += len(line)
            else:
                self._is_changed = True
        if foreign * 2 > lines:
            raise TargetError(f"{self._name} exists and is not an output of this command: name another file")

    def begin(self, *, overwrite: bool) -> None:
        """Make the file ready for more lines: remove those that will be written again.

        Args:
          overwrite: Whether to remove all.

        Raises:
          OutputError: The file cannot be written.
        """
        if self._descriptor is None:
            return
        if self._is_changed and not overwrite:
            self._replace()
        else:
            os.ftruncate(self._descriptor, 0 if overwrite else self._size)  # cuts off a torn last line

    def _lines(self) -> Iterator[bytes]:
        assert self.path is not None
        try:
            with self.path.open("rb", buffering=_READ) as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line
        except OSError as error:
            raise self._error("cannot be read", error) from None

    def _replace(self) -> None:
        assert self.path is not None
        assert self._descriptor is not None
        path = self.path.resolve()  # a link stays one
        beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        left = set(self._there)
        old = self._descriptor
        try:
            # Locked before it has the name, and while the old one still is: nobody can come in between.
            self._descriptor = self._open(beside)
            with open(self._descriptor, "wb", buffering=_READ, closefd=False) as file:
                for line in self._lines():
                    fields = fields_of(line)
                    if fields is not None and fields["id"] in left:
                        left.remove(fields["id"])
                        file.write(line)
            beside.replace(path)
        except OSError as error:
            raise self._error("cannot be written", error) from None
        finally:
            beside.unlink(missing_ok=True)
            if self._descriptor != old:
                os.close(old)

    def add(self, position: int, key: str, line: bytes | None) -> None:
        """Write the line of an item, or keep it until those before it are written.

        Args:
          position: The zero-based position of the item in this run.
          key: The item's key.
          line: The line; None if the item has not ended.

        Raises:
          OutputError: The line cannot be written. The file still ends with a whole line.
          BrokenPipeError: The reader of standard output went away.
        """
        if key in self._there:
            line = None
        if not self._in_order:
            if line is not None:
                self._write(line)
            return
        self._waiting[position] = line or b""
        for ready in self._ready():
            self._write(ready)

    def _ready(self) -> Iterator[bytes]:
        while (line := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            if line:
                yield line

    def add_waiting(self) -> None:
        """Write the lines that wait for items which will not end in this run.

        This is for what no later run goes on with, as standard output. In a file they would stand in the wrong place;
        the next run adds them.

        Raises:
          BrokenPipeError: The reader of standard output went away.
        """
        if not self._continued:
            for position in sorted(self._waiting):
                if line := self._waiting[position]:
                    self._write(line)
        self._waiting.clear()

    def _write(self, line: bytes) -> None:
        if self.path is None:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        else:
            self._append(line)
        self.written += 1

    def _append(self, line: bytes) -> None:
        assert self._descriptor is not None
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:] if written else line)
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise self._error("cannot be written", error) from None
        self._size += len(line)

    def _error(self, what: str, error: OSError) -> OutputError:
        return OutputError(f"{self._name} {what}: {error.strerror or error}")
