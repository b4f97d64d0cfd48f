"""What a journal knows, found by looking at its records one after another.

What belongs here: which record of an item counts, what all of them were charged for, and which items a killed run left
under way. What does not: files (`_journal`, `_journal_overview`, `_compact`), and the form of a record
(`_journal_format`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, final

import msgspec

from trio_stream._money import ChargeSums
from trio_stream.batch._journal_batches import BATCH_RECORDS, BatchBook, StartedItem
from trio_stream.batch._journal_format import CHARGED, RecordHead, charges_in


class Kind(IntEnum):
    """How far an item has come, by the record of it that counts."""

    STARTED = 0
    PARTIAL = 1
    OK = 2
    FAILED = 3


ENDED: Final = (Kind.OK, Kind.FAILED)
_UNFINISHED: Final = {"start": Kind.STARTED, "partial": Kind.PARTIAL}

_ENDINGS: Final = frozenset({"end", "partial"})

# An index entry is the offset of a record, shifted left, with its kind in the two lowest bits: one integer an item.
_BITS: Final = 2
_KIND: Final = (1 << _BITS) - 1


def entry_of(offset: int, kind: Kind) -> int:
    """Make an index entry."""
    return offset << _BITS | kind


def kind_of(entry: int) -> Kind:
    """Return the kind of the record that an index entry stands for."""
    return Kind(entry & _KIND)


def offset_of(entry: int) -> int:
    """Return where in the file the record begins that an index entry stands for."""
    return entry >> _BITS


class JobRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that worked on the job of a journal.

    Args:
      at: When it began, in Unix time.
      items: How many items it had; None if that was not known.
    """

    at: float
    items: int | None = None


@final
class JournalIndex:
    """What a journal knows of its items.

    Attributes:
      known: The index entry of each item, by its key. Items that were given up are not in it: any request may be sent.
      charges: What all records together were charged for. `close` adds what nobody noted.
      batches: The message batches.
      runs: The runs that have noted when they began.
      killed: How many items had been started when a run died and were started again later, had an answer all the
        same, or are not known to have been. `close` adds those that were not started again.
      uncounted: How many of these are not in ``charges`` as estimates, since nothing tells what an answer costs. Known
        once it is closed.
    """

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.charges = ChargeSums()
        self.batches = BatchBook()
        self.runs: list[JobRun] = []
        self.killed = 0
        self.uncounted = 0
        self._answered_again: set[str] = set()  # started although they had an answer, and not ended
        self._in_batch: set[str] = set()  # whose last start was in a batch: what those cost tell its results

    def read(self, offset: int, head: RecordHead, line: bytes) -> None:
        """Look at one record. The order is that of the file.

        An answer gives way only to a later end: it has been paid for.

        Args:
          offset: Where it begins.
          head: Its head.
          line: All of it.
        """
        known = self.known
        if head.record == "refused":
            self._forget(self.batches.items_of(head.nonce))
        if head.record in BATCH_RECORDS or head.custom_id:
            self.batches.read(head)
        if head.record in CHARGED:
            self.charges.add(charges_in(head, line))
        if head.record == "start":
            was_started = head.key in known and kind_of(known[head.key]) is Kind.STARTED
            self.killed += was_started and head.key not in self._in_batch
            (self._in_batch.add if head.custom_id else self._in_batch.discard)(head.key)
            self._answered_again.discard(head.key)  # and so it stays counted
            if self.is_answered(head.key) and not head.custom_id:
                self._answered_again.add(head.key)
                self.killed += 1  # until it has ended
        elif head.record in _ENDINGS and head.key in self._answered_again:
            self._answered_again.remove(head.key)
            self.killed -= 1
        elif head.record == "charges":
            self.killed += head.n
        elif head.record == "run":
            self.runs.append(JobRun(at=head.at, items=head.n or None))
        if head.record == "end" and head.status == "skipped":
            if not self.is_answered(head.key):
                known.pop(head.key, None)
        elif head.record == "end":
            known[head.key] = entry_of(offset, Kind.OK if head.status == "ok" else Kind.FAILED)
        elif head.record in _UNFINISHED and not self.is_answered(head.key):
            known[head.key] = entry_of(offset, _UNFINISHED[head.record])

    def close(self) -> None:
        """All records have been looked at: take items that a killed run left to have cost what the others did."""
        self._forget(self.batches.unsent)
        self.killed += len(self.left_by_a_kill())
        self.charges.add_unknown(self.killed)
        self.uncounted = 0 if self.charges.totals() else self.killed

    def _forget(self, items: Iterable[StartedItem]) -> None:
        """Items were to be in a batch that was certainly not made, so they were not under way."""
        for item in items:
            if item.key in self._in_batch and kind_of(self.known.get(item.key, Kind.OK)) is Kind.STARTED:
                del self.known[item.key]

    def is_answered(self, key: str) -> bool:
        """Whether an item has a whole answer."""
        return key in self.known and kind_of(self.known[key]) is Kind.OK

    def left_by_a_kill(self) -> list[str]:
        """Return the keys of items whose last record says that they were started, and not in a message batch."""
        return [key for key, entry in self.known.items() if entry & _KIND == Kind.STARTED and key not in self._in_batch]
