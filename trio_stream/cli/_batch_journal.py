"""The journal of ``trio-stream batch``, as its fan-out sees it.

What belongs here: the positions and the hashes under which items are noted, and which of them are asked for again.
What does not: the journal itself (`trio_stream.batch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, final

import msgspec

import trio_stream as ts
from trio_stream._protocol import Usage
from trio_stream.batch import BatchBook, Journal, Outcome, StartedItem
from trio_stream.cli._batch_again import Again
from trio_stream.cli._batch_line import Pending


@final
class JobJournal:
    """A journal in which items have their positions in the whole input, whichever part of it this run has.

    Args:
      journal: The journal.
      again: Which items are sent again although it knows how they ended.
    """

    def __init__(self, journal: Journal, again: Again) -> None:
        self._journal = journal
        self._again = again

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        """Look up an item; None if it is to be sent.

        With ``--retry-truncated`` an item that was cut may be sent with another ``max_tokens``. Its id is then known
        with another request, which the check of the input has let pass (`Entry.replaces`).
        """
        if self._again.truncated and self._journal.conflicts(key, request_hash):
            return None
        known = self._journal.lookup(key, request_hash)
        return None if known is None or self._again.of(known) else known

    def lookup_if_same(self, key: str, request_hash: str) -> Outcome | None:
        """Look up an item that may stand for another request by now; None if it does, or is to be sent."""
        return None if self._journal.conflicts(key, request_hash) else self.lookup(key, request_hash)

    def start(
        self,
        key: str,
        request_hash: str,
        *,
        index: int,  # noqa: ARG002
        tag: object,
        custom_id: str | None = None,
    ) -> None:
        """Note that an item is started."""
        self._journal.start(key, request_hash, index=cast("Pending", tag).entry.index, custom_id=custom_id)

    def note_run(self, items: int | None) -> None:
        """Note that a run begins."""
        self._journal.note_run(items)

    def end(self, key: str, outcome: Outcome) -> None:
        """Note how an item ended."""
        pending = cast("Pending", outcome.tag)
        self._journal.end(key, msgspec.structs.replace(outcome, index=pending.entry.index, tag=None))

    @property
    def path(self) -> Path:
        """The file."""
        return self._journal.path

    @property
    def charges(self) -> tuple[ts.Charge, ...]:
        """What everything in the journal was charged for."""
        return self._journal.charges

    @property
    def uncounted(self) -> int:
        """How many items that a kill left under way are not in `charges`."""
        return self._journal.uncounted

    def partial(
        self,
        key: str,
        text: str,
        *,
        request_id: str | None = None,
        usage: Usage | None = None,
        charges: tuple[ts.Charge, ...] = (),
    ) -> None:
        """Note what had arrived of an item that was cancelled."""
        self._journal.partial(key, text, request_id=request_id, usage=usage, charges=charges)

    @property
    def batches(self) -> BatchBook:
        """The message batches of earlier runs."""
        return self._journal.batches

    def note_batch(self, record: Mapping[str, Any]) -> None:
        """Note something about a batch."""
        self._journal.note_batch(record)

    def end_started(self, item: StartedItem, outcome: Outcome) -> None:
        """Note how an item ended that an earlier run started."""
        self._journal.end_started(item, outcome)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
