"""The journal: a file by which a fan-out that was killed goes on without paying twice.

What belongs here: the file: opening it, locking it, reading what is known, appending to it. What does not: the form of
a record (`_journal_format`), reading a whole journal (`_read_journal`), joining several (`_merge`), and when something
is noted (`_journal_keeper`).

Each record is one ``write`` on a descriptor that only appends: what has been written survives the death of this
process at any instant (that of the machine too, with ``fsync``). The kernel may still be stopped in the middle of a
write, which leaves a torn last line: it is cut off when the journal is opened again.

In memory there is one integer for each item (`_journal_index`). Texts stay in the file. A record is read again only
where an item has to be answered from it. What earlier runs were charged for is added up while the file is read.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeAlias, cast, final

import msgspec
import trio

from trio_stream._money import Charge
from trio_stream._protocol import Usage
from trio_stream.batch._file_lock import has_name, lock_file
from trio_stream.batch._journal_batches import BatchBook, StartedItem, raise_version
from trio_stream.batch._journal_format import (
    BATCH_VERSION,
    HEADER,
    JournalError,
    batch_record,
    charges_record,
    check_version,
    end_record,
    is_journal,
    is_of_another,
    may_be_journal,
    partial_record,
    read_head,
    read_line,
    read_outcome,
    run_record,
    start_record,
)
from trio_stream.batch._journal_index import ENDED, JournalIndex, Kind, entry_of, kind_of, offset_of
from trio_stream.batch._records import JournalConflictError, Outcome

Fsync: TypeAlias = Literal["group"] | bool
Inflight: TypeAlias = Literal["retry", "skip", "partial"]

_log = logging.getLogger("trio_stream")

_GROUP_SECONDS = 1.0
"""With ``fsync="group"``, how many seconds a record may wait before it is on the disk."""

_READ = 1 << 20
"""The size of the buffer, in bytes, for reading a whole file."""


@final
class Journal:
    """A file that remembers how items ended. Use it as a context manager, or `close` it.

    ::

        with Journal("answers.journal", retry_errors=True) as journal:
            async with fan_out(client, items, journal=journal, ...) as outcomes:
                ...

    Only one process at a time can have it open. Its methods wait for nothing but the disk.

    Args:
      path: The file. It is created if it does not exist.
      fsync: When to make sure that the records are on the disk. False leaves that to the system: they survive the end
        of this process in whatever way, but not a power cut. ``"group"`` does it once a second and at the end, True
        after each item.
      inflight: What to do with items that were under way when the last run died. ``"retry"`` starts them again,
        ``"skip"`` gives them the status ``skipped``, and ``"partial"`` gives the text that had arrived, with the status
        ``cancelled``.
      retry_errors: Whether to start items again that ended with an error or a timeout.
      overwrite: Whether to discard everything that the file contains. A file that is not a journal is left as it is.

    Attributes:
      path: The file.
      damaged: How many lines could not be read, apart from a torn last line.
      batches: The message batches of earlier runs.

    Raises:
      JournalError: The file is of another kind, or another process has it open, or it cannot be opened.
    """

    path: Path
    damaged: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: Fsync = False,
        inflight: Inflight = "retry",
        retry_errors: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.damaged = 0
        self._fsync: Fsync = fsync
        self._inflight: Inflight = inflight
        self._retry_errors = retry_errors
        self._synced_at = time.monotonic()
        self._unsynced = False
        self._index = JournalIndex()
        self._known = self._index.known
        self._running: dict[str, tuple[str, int]] = {}  # hash and position of items started in this run and not ended
        self._charges = self._index.charges
        self.batches: BatchBook = self._index.batches
        self._version = 1
        self._size = 0  # of the file, up to the last whole record: here the next one begins
        self._descriptor: int | None = self._open()
        try:
            while True:
                self._check_regular(self._descriptor)
                if not lock_file(self._descriptor, self.path):
                    raise JournalError(f"{self.path} is in use: another run is writing it", path=self.path)
                if has_name(self._descriptor, self.path):
                    break
                self._let_go()  # `compact_journal` has replaced it between the opening and the lock
                self._descriptor = self._open()
            if overwrite:
                self._discard(self._descriptor)
            self._read(self._descriptor)
        except OSError as error:
            self._let_go()
            raise self._error("cannot be read", error) from error
        except BaseException:
            self._let_go()
            raise

    def __repr__(self) -> str:
        closed = " closed" if self._descriptor is None else ""
        return f"<Journal {str(self.path)!r}{closed}: {len(self._known)} items>"

    def __len__(self) -> int:
        """How many items it has records of."""
        return len(self._known)

    def __contains__(self, key: object) -> bool:
        """Whether it knows how an item ended."""
        return isinstance(key, str) and key in self._known and kind_of(self._known[key]) in ENDED

    def is_answered(self, key: str) -> bool:
        """Whether it has the whole answer of an item."""
        return self._index.is_answered(key)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What everything in the journal was charged for, added up by model and by what else decides about prices.

        Items that were under way when a run was killed are taken to have cost what the others did, as an estimate.
        """
        return self._charges.totals()

    @property
    def uncounted(self) -> int:
        """How many items were under way when earlier runs were killed, and are not in `charges`, as there are none.

        A budget counts each as an answer of the run that goes on.
        """
        return self._index.uncounted

    @property
    def answered(self) -> int:
        """How many items have a whole answer."""
        return sum(kind_of(entry) is Kind.OK for entry in self._known.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    # What is known.

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        """Look up an item before it is started.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.

        Returns:
          The outcome to use in place of a request; None if the item is to be started.

        Raises:
          JournalConflictError: The journal has the key with another request.
          JournalError: The file cannot be read.
        """
        entry = self._known.get(key)
        if entry is None:
            return None
        running = self._running.get(key)
        kind = kind_of(entry)
        record: dict[str, Any] = {"hash": running[0]} if running is not None else self._record(offset_of(entry))
        if is_of_another(record, request_hash):
            loss = "" if self.answered else " (this one has no answers)"
            raise JournalConflictError(
                f"{self.path} has {key!r} with another request: give it another id, or start another journal{loss}",
                id=key,
            )
        if kind is Kind.OK:
            return read_outcome(record, status="cached")
        if kind is Kind.FAILED:
            return None if self._retry_errors else read_outcome(record)
        if self._inflight == "retry":
            return None
        return read_outcome(record, status="skipped" if self._inflight == "skip" else "cancelled")

    def conflicts(self, key: str, request_hash: str) -> bool:
        """Whether `lookup` would refuse an item, because the journal has its key with another request.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.

        Raises:
          JournalError: The file cannot be read.
        """
        entry = self._known.get(key)
        return entry is not None and is_of_another(self._record(offset_of(entry)), request_hash)

    def _record(self, offset: int) -> dict[str, Any]:
        descriptor = self._open_descriptor()
        try:
            return cast("dict[str, Any]", msgspec.json.decode(read_line(descriptor, offset)))
        except OSError as error:
            raise self._error("cannot be read", error) from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise JournalError(f"{self.path} was changed by someone else while it was in use", path=self.path) from None

    # What is noted.

    def note_run(self, items: int | None) -> None:
        """Note that a run begins, for `journal_overview` and reports. A fan-out does not do that by itself.

        Args:
          items: How many items it has; None if that is not known.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        self._write(run_record(items))

    def start(
        self,
        key: str,
        request_hash: str,
        *,
        index: int,
        tag: object = None,  # noqa: ARG002
        custom_id: str | None = None,
    ) -> None:
        """Note that an item is started.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.
          index: The item's zero-based position.
          tag: The item's tag. It is not written now, but with the outcome.
          custom_id: The id of its request in a message batch; None if it is streamed.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        self._append(start_record(key, request_hash, index=index, custom_id=custom_id), key, Kind.STARTED)
        self._running[key] = (request_hash, index)

    def note_batch(self, record: Mapping[str, Any]) -> None:
        """Note something about a batch, and make sure that it is on the disk, with everything before it.

        Args:
          record: The fields of the record.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        if self._version < BATCH_VERSION:
            try:
                raise_version(self.path)
            except OSError as error:
                raise self._error("cannot be written", error) from error
            self._version = BATCH_VERSION
        self._write(batch_record(record))
        self._sync_now()

    def end_started(self, item: StartedItem, outcome: Outcome) -> None:
        """Note how an item ended that an earlier run started, in a batch.

        An answer that is there already stays: it was streamed meanwhile. Then only the charges are noted.

        Args:
          item: The item.
          outcome: Its outcome.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        if not self._index.is_answered(item.key):
            self._running[item.key] = (item.request_hash, item.index)
            self.end(item.key, outcome)
        elif outcome.charges:
            self._write(charges_record(outcome.charges, 0))
            self._charges.add(outcome.charges)

    def end(self, key: str, outcome: Outcome) -> None:
        """Note how an item ended.

        Args:
          key: The item's key.
          outcome: Its outcome. The tag is written if it can be JSON. An item that was ``skipped`` is started again by
            the next run.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        request_hash, _ = self._running.get(key, ("", 0))
        kind = Kind.OK if outcome.status == "ok" else Kind.FAILED
        self._append(end_record(key, request_hash, outcome), key, kind)
        self._charges.add(outcome.charges)
        if outcome.status == "skipped":
            del self._known[key]
        self._running.pop(key, None)
        self._sync()

    def partial(
        self,
        key: str,
        text: str,
        *,
        request_id: str | None = None,
        usage: Usage | None = None,
        charges: tuple[Charge, ...] = (),
    ) -> None:
        """Note what had arrived of an item that was cancelled.

        Args:
          key: The item's key.
          text: The partial text.
          request_id: The API's ID of the request.
          usage: The tokens counted so far.
          charges: What all attempts were charged for.

        Raises:
          JournalError: The record cannot be written. Everything written before is still there.
        """
        request_hash, index = self._running.get(key, ("", 0))
        line = partial_record(
            key, request_hash, index=index, text=text, request_id=request_id, usage=usage, charges=charges
        )
        self._append(line, key, Kind.PARTIAL)
        self._charges.add(charges)
        self._running.pop(key, None)
        self._sync()

    def close(self) -> None:
        """Close the file. It may be called again.

        Raises:
          JournalError: With ``fsync``, the last records could not be written to the disk.
        """
        try:
            if self._descriptor is not None and self._unsynced:
                self._sync_now()
        finally:
            self._let_go()

    def _append(self, line: bytes, key: str, kind: Kind) -> None:
        self._known[key] = entry_of(self._write(line), kind)

    # A Ctrl-C between the write and the count of its bytes would make the next failure cut the file at the wrong place.
    @trio.lowlevel.enable_ki_protection
    def _write(self, line: bytes) -> int:
        """Append a line, and return its offset."""
        descriptor = self._open_descriptor()
        try:
            written = os.write(descriptor, line)
            while written < len(line):  # the disk is full, or a size limit is reached: the next write says which
                written += os.write(descriptor, line[written:])
        except OSError as error:
            # A record is written whole or not at all, so that the next one begins on a line of its own.
            os.ftruncate(descriptor, self._size)
            raise self._error("cannot be written", error) from error
        offset = self._size
        self._size += len(line)
        return offset

    def _sync(self) -> None:
        if not self._fsync:
            return
        self._unsynced = True
        if self._fsync is True or time.monotonic() - self._synced_at >= _GROUP_SECONDS:
            self._sync_now()

    def _sync_now(self) -> None:
        try:
            os.fsync(self._open_descriptor())
        except OSError as error:
            raise self._error("cannot be written", error) from error
        self._unsynced = False
        self._synced_at = time.monotonic()

    # The file.

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise trio.ClosedResourceError(f"the journal {self.path} is closed")
        return self._descriptor

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise self._error("cannot be opened", error) from error

    def _check_regular(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would be waited for, and a device keeps nothing
            raise JournalError(f"{self.path} is not a file: a journal has to be read again", path=self.path)

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self, descriptor: int) -> None:
        """Empty the file, unless it is of another kind: a name that was mistyped must not cost anybody a file."""
        if not may_be_journal(read_line(descriptor, 0)):
            raise self._not_a_journal()
        os.ftruncate(descriptor, 0)

    def _read(self, descriptor: int) -> None:
        """Find out what is known, and cut off a torn last line."""
        with open(descriptor, "rb", buffering=_READ, closefd=False) as file:
            for offset, line in self._lines(file):
                head = read_head(line)
                if head is None:
                    self.damaged += 1
                else:
                    self._index.read(offset, head, line)
        self._index.close()
        if self.damaged:
            _log.warning("%d lines of the journal cannot be read; their items are asked again", self.damaged)
        os.ftruncate(descriptor, self._size)
        if not self._size:
            self._write_header(descriptor)

    def _lines(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        first = file.readline()
        if not is_journal(first):
            if not may_be_journal(first):
                raise self._not_a_journal()
            return
        self._size = len(first)
        self._version = check_version(first, self.path)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield self._size, line
            self._size += len(line)

    def _write_header(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, HEADER)
        except OSError as error:
            raise self._error("cannot be written", error) from error
        if written < len(HEADER):
            raise JournalError(f"{self.path} cannot be written: the disk is full", path=self.path)
        self._size = len(HEADER)
        if self._fsync and sys.platform != "win32":
            # Otherwise a power cut could lose the name of a file whose content is safe.
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _not_a_journal(self) -> JournalError:
        return JournalError(f"{self.path} is not a journal", path=self.path)

    def _error(self, what: str, error: OSError) -> JournalError:
        return JournalError(f"{self.path} {what}: {error.strerror or error}", path=self.path)
