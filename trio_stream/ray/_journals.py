"""The journals of many actors in one folder: each actor writes its own, and reads those of all.

What belongs here: looking up what any actor has finished. What does not: the journal itself (`batch`).

An actor's file has a name that no other process uses, so nothing depends on the locks of a network file system.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from pathlib import Path
from typing import Final, Literal, cast, final

import msgspec

from trio_stream.batch import (
    Journal,
    JournalConflictError,
    JournalError,
    Outcome,
    is_journal,
    read_head,
    read_line,
    read_outcome,
)

_log = logging.getLogger("trio_stream")

_SUFFIX: Final = ".journal"


@final
class Journals:
    """The journals of all actors, for reading, and this actor's own, for writing.

    `refresh` may be called from any thread; everything else belongs to the thread of the loop.

    Args:
      folder: A folder on storage that all actors reach. It is created if it does not exist.
      fsync: As for `Journal`.
      retry_errors: As for `Journal`.

    Attributes:
      own: The journal that this actor writes.

    Raises:
      JournalError: The folder or the file cannot be created.
    """

    def __init__(self, folder: Path, *, fsync: Literal["group"] | bool, retry_errors: bool) -> None:
        self._folder = folder
        self._retry_errors = retry_errors
        self._others: dict[str, _Other] = {}
        self._refreshing = threading.Lock()
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}{_SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"{folder} cannot be created: {error.strerror or error}", path=folder) from error
        self.own: Journal = Journal(folder / name, fsync=fsync, retry_errors=retry_errors)

    def refresh(self) -> None:
        """Read what the other actors have written since the last call.

        Raises:
          JournalError: A file cannot be read.
        """
        with self._refreshing:
            for name in sorted(os.listdir(self._folder)):  # noqa: PTH208 - paths are made for new files only
                if not name.endswith(_SUFFIX) or name == self.own.path.name:
                    continue
                other = self._others.get(name)
                if other is None:
                    other = _Other(self._folder / name)
                try:
                    other.refresh()
                except FileNotFoundError:
                    continue  # it was moved away in the meantime; what was read of it before stays known
                except OSError as error:
                    path = self._folder / name
                    raise JournalError(f"{path} cannot be read: {error.strerror or error}", path=path) from error
                if name not in self._others:
                    # A new dict, because another thread may be iterating over the present one in `lookup`.
                    self._others = {**self._others, name: other}

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        """Look up a row in all journals.

        Returns:
          A whole answer if there is one; else an earlier error, unless errors are to be retried; None if the row has to
          be sent.

        Raises:
          JournalConflictError: A journal has the key with another request.
          JournalError: A file cannot be read.
        """
        found = self.own.lookup(key, request_hash)
        if found is not None and found.finished:
            return found
        for other in self._others.values():
            theirs = other.lookup(key, request_hash)
            if theirs is not None and (theirs.finished or not self._retry_errors):
                found = theirs
                if found.finished:
                    return found
        return found


@final
class _Other:
    """A journal that another actor is writing, or has written. It is only read here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # By key: the offset of its last `end` record, shifted left, with the lowest bit set if that is an answer.
        self._ends: dict[str, int] = {}
        self._read = 0

    def refresh(self) -> None:
        if self.path.stat().st_size <= self._read:
            return
        with self.path.open("rb", buffering=1 << 20) as file:
            if not self._read:
                first = file.readline()
                if not is_journal(first):
                    # Its first line is still being written, or was torn; or somebody put another file here.
                    _log.debug("%s is not a journal, or not yet", self.path)
                    return
                self._read = len(first)
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # torn, or being written
                    return
                head = read_head(line)
                if head is not None and head.record == "end":
                    answered = head.status == "ok"
                    if answered or not self._ends.get(head.key, 0) & 1:
                        self._ends[head.key] = self._read << 1 | answered
                self._read += len(line)

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        end = self._ends.get(key)
        if end is None:
            return None
        descriptor = -1
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            record = cast("dict[str, object]", msgspec.json.decode(read_line(descriptor, end >> 1)))
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JournalError(f"{self.path} cannot be read: {error}", path=self.path) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        known_hash = record.get("hash")
        if known_hash and known_hash != request_hash:
            raise JournalConflictError(
                f"{self.path} has {key!r} with another request: give it another id, or another journal_dir", id=key
            )
        return read_outcome(record, status="cached" if end & 1 else None)
