"""The dealings of a fan-out with its journal: looking up items, and noting how they end.

What belongs here: the key of an item, and which endings are noted how. What does not: the file (`_journal`), and what
a journal is (`JournalLike` in `_records`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import final

import msgspec

from trio_stream._money import Charge

from ._active_item import ActiveItem
from ._id_check import repeated_id
from ._journal import Journal
from ._journal_batches import BatchJournal
from ._records import FAILED, ChargedJournal, CountingJournal, Item, JournalLike, Outcome, request_hash


@final
class JournalKeeper:
    """The journal of one fan-out. Without a journal everything here does nothing.

    An item that is sent has a ``start`` before its first request, and then either an ``end`` before anybody gets its
    outcome, or a ``partial`` if it is cancelled.

    Args:
      journal: A path, which is opened and closed here; or a journal of the caller's, which is never closed.
    """

    def __init__(self, journal: str | os.PathLike[str] | JournalLike | None) -> None:
        self._path = journal if isinstance(journal, (str, os.PathLike)) else None
        self._journal: JournalLike | None = None if isinstance(journal, (str, os.PathLike)) else journal
        self._keys: dict[str, int] = {}  # of this run: how often each has been asked for

    def open(self) -> None:
        """Open the journal, where a path was given.

        Raises:
          JournalError: It cannot be opened.
        """
        if self._path is not None:
            self._journal = Journal(self._path)

    def close(self) -> None:
        """Close what `open` opened.

        Raises:
          JournalError: The disk does not take what is left to write.
        """
        if self._path is not None and self._journal is not None:
            self._journal.close()

    @property
    def journal(self) -> JournalLike | None:
        """The journal, once it is open; None without one."""
        return self._journal

    @property
    def charges_before(self) -> Iterable[Charge]:
        """What earlier runs of the job were charged for, where the journal knows that."""
        return self._journal.charges if isinstance(self._journal, ChargedJournal) else ()

    @property
    def uncounted_before(self) -> int:
        """How many answers of earlier runs are not in `charges_before`, as nothing is known of them."""
        return self._journal.uncounted if isinstance(self._journal, CountingJournal) else 0

    @property
    def can_note_batches(self) -> bool:
        """Whether batches can be noted, or nothing is."""
        return self._journal is None or self.batch_journal is not None

    @property
    def batch_journal(self) -> BatchJournal | None:
        """The journal, where it can note batches."""
        return self._journal if isinstance(self._journal, BatchJournal) else None

    def identify(self, active: ActiveItem) -> None:
        """Compute the hash of an item's request.

        Raises:
          TypeError: A parameter is missing, or is not JSON.
          ValueError: A number or a text cannot be written as JSON.
        """
        if self._journal is not None:
            active.request_hash = request_hash(active.params)

    def lookup(self, active: ActiveItem) -> Outcome | None:
        """Give an item its key, and return what an earlier run noted for it; None if it has to be sent.

        Raises:
          JournalConflictError: The key is taken by another item, or stands in the journal with another request.
          JournalError: The journal cannot be read.
        """
        if self._journal is None:
            return None
        item = active.item
        active.key = self._new_key(item, active.request_hash)
        known = self._journal.lookup(active.key, active.request_hash)
        return None if known is None else msgspec.structs.replace(known, id=item.id, index=active.index, tag=item.tag)

    def _new_key(self, item: Item, digest: str) -> str:
        if item.id is not None:
            if item.id in self._keys:
                raise repeated_id(item.id)
            self._keys[item.id] = 1
            return item.id
        # The same request again wants another answer, so it gets another key.
        count = self._keys[digest] = self._keys.get(digest, 0) + 1
        return digest if count == 1 else f"{digest}:{count}"

    def start(self, active: ActiveItem) -> None:
        """Note that the first request of an item is about to be made."""
        if self._journal is not None:
            self._journal.start(active.key, active.request_hash, index=active.index, tag=active.item.tag)

    def end(self, active: ActiveItem, outcome: Outcome) -> None:
        """Note how an item ended, if it was sent or failed; an item that was never sent is left for the next run."""
        ended = outcome.status == "ok" or outcome.status in FAILED
        ended = ended or (outcome.status == "skipped" and active.attempts > 0)
        # An item whose parameters cannot be sent has no hash, so it has no key either.
        if self._journal is not None and active.key and ended:
            self._journal.end(active.key, outcome)

    def partial(self, active: ActiveItem, outcome: Outcome) -> None:
        """Note what had arrived of an item that was cancelled, if it was sent."""
        journal = self._journal
        if journal is None or not active.attempts:
            return
        key, text = active.key, outcome.text
        if isinstance(journal, ChargedJournal):
            journal.partial(key, text, request_id=outcome.request_id, usage=outcome.usage, charges=outcome.charges)
        else:
            journal.partial(key, text, request_id=outcome.request_id, usage=outcome.usage)
