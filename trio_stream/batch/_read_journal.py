"""Reading the outcomes in a journal, which another run may be writing.

What belongs here: which record of an item counts. What does not: writing (`_journal`), and the form of a record
(`_journal_format`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from ._journal_format import JournalError, Order, check_version, is_journal, read_head, read_outcome
from ._records import Outcome

_READ = 1 << 20
"""The size of the buffer, in bytes, for reading a whole file."""

_UNFINISHED = ("start", "partial")
"""The records of items that have not ended."""


def read_journal(path: str | os.PathLike[str], *, order: Order = "index") -> Iterator[Outcome]:
    """Read the outcomes in a journal: for each item the last one that was noted.

    Items that were started and have not ended have the status ``cancelled``, and the text that had arrived where the
    journal has it. A journal may be read while it is being written.

    Args:
      path: The file.
      order: ``"index"`` for the order of the items, ``"completion"`` for the order in which they ended.

    Returns:
      An iterator over the outcomes. Each is read from the file when it is asked for.

    Raises:
      JournalError: The file is not a journal, or cannot be read.
    """
    path = Path(path)
    places: dict[str, tuple[int, int]] = {}
    answered: set[str] = set()
    try:
        file = path.open("rb", buffering=_READ)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror or error}", path=path) from error
    with file:
        offset = len(first := file.readline())
        if not is_journal(first):
            raise JournalError(f"{path} is not a journal", path=path)
        check_version(first, path)
        for line in file:
            head = read_head(line) if line.endswith(b"\n") else None
            if head is not None and (head.record == "end" or (head.record in _UNFINISHED and head.key not in answered)):
                if head.status == "ok":
                    answered.add(head.key)
                places.pop(head.key, None)
                places[head.key] = (head.index, offset)
            offset += len(line)
    found = sorted(places.values()) if order == "index" else list(places.values())
    return _outcomes(path, [offset for _, offset in found])


def _outcomes(path: Path, offsets: list[int]) -> Iterator[Outcome]:
    with path.open("rb") as file:
        for offset in offsets:
            file.seek(offset)
            yield read_outcome(cast("dict[str, Any]", msgspec.json.decode(file.readline())))
