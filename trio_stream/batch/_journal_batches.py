"""What a journal notes of message batches, and what a run that follows learns from it.

What belongs here: the records of a batch, and which batches of earlier runs are open. What does not: the file
(`_journal`), creating batches (`_via_batch_create`), and collecting them (`_via_batch_collect`).

::

    {"record":"start","key":"q1",...,"custom_id":"5f0c9a-0"}      for each item of the batch
    {"record":"intent","nonce":"5f0c9a","n":2,"since":1795251600.0,"newest":1795248000.0,"call":{"betas":[...]}}
    {"record":"created","nonce":"5f0c9a","batch":"msgbatch_01..."}
    {"record":"collected","nonce":"5f0c9a"}

``intent`` is on the disk before the request is sent that creates the batch. Each such request has a nonce of its own,
by which the results of its batch can be told from those of any other. It is followed by ``refused``, where there is
certainly no batch, or by ``created``. An ``intent`` with neither says that there may be a batch; and a batch is open
until it is ``collected``. ``since`` is the API's own time, right before the request; with ``"dated":false`` it is that
of this machine, as the API did not say. ``newest`` is when the newest batch was created that the list had then, and
``workspace`` whose list that was: the workspace or the organization where the API names one, or else the host.
``model`` is what all its items ask for, and is empty if they differ. ``call`` has the options that hold for the batch,
without secrets. A batch that somebody has deleted is ``collected`` with ``"gone":true``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, final, runtime_checkable

import msgspec

from ._journal_format import BATCH_VERSION, VERSION_AT, RecordHead
from ._records import JournalLike, Outcome

BATCH_RECORDS: Final = frozenset({"intent", "created", "refused", "collected"})


@final
class StartedItem(msgspec.Struct, frozen=True):
    """An item that an earlier run put into a batch.

    Attributes:
      key: Its key in the journal.
      request_hash: The hash of its request.
      index: Its zero-based position.
    """

    key: str
    request_hash: str
    index: int


@final
class OpenBatch(msgspec.Struct, kw_only=True):
    """A batch of an earlier run that has not been collected, or one that there may be.

    Attributes:
      nonce: What the ids of its requests begin with.
      requests: How many there are.
      since: The API's time right before it was created, in Unix time.
      dated: Whether it is the API's time; otherwise it is that of the machine.
      newest: When the newest batch was created that the list had then, in Unix time; None if that is not known.
      workspace: The workspace or the organization that the API named then, or else the host; empty if unknown.
      model: The model that all its items ask for; empty if they differ.
      call: The options of the calls about it.
      batch_id: The id of the batch; None where it is not known whether there is one.
      items: Its items, by their place in it.
    """

    nonce: str
    requests: int
    since: float
    call: dict[str, Any]
    dated: bool = True
    newest: float | None = None
    workspace: str = ""
    model: str = ""
    batch_id: str | None = None
    items: dict[int, StartedItem] = msgspec.field(default_factory=dict[int, StartedItem])


def custom_id_of(nonce: str, place: int) -> str:
    """Make the id of a request in a batch."""
    return f"{nonce}-{place}"


def read_custom_id(custom_id: str) -> tuple[str, int]:
    """Return the nonce and the place in an id that `custom_id_of` made; the place is -1 in any other id."""
    nonce, _, place = custom_id.rpartition("-")
    return nonce, int(place) if place.isascii() and place.isdigit() else -1


def raise_version(path: Path) -> None:
    """Write into the header of a journal that there are records of batches, before the first of them.

    Raises:
      OSError: The file cannot be written.
    """
    # What is open for appending writes at the end only, wherever it is told to write.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.lseek(descriptor, VERSION_AT, os.SEEK_SET)
        os.write(descriptor, b"%d" % BATCH_VERSION)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@final
class BatchBook:
    """The open batches in a journal, found by looking at its records one after another.

    Attributes:
      open: The batches that are open, by nonce.
      ids: The ids of all batches that the journal names.
    """

    def __init__(self) -> None:
        self.open: dict[str, OpenBatch] = {}
        self.ids: set[str] = set()
        self._started: dict[str, dict[int, StartedItem]] = {}

    def items_of(self, nonce: str) -> list[StartedItem]:
        """Return the items of an open batch."""
        return list(self.open[nonce].items.values()) if nonce in self.open else []

    @property
    def unsent(self) -> list[StartedItem]:
        """The items of batches that were not asked for yet when a run ended."""
        return [item for items in self._started.values() for item in items.values()]

    def read(self, head: RecordHead) -> None:
        """Look at one record. The order is that of the file."""
        if head.record == "start":
            nonce, place = read_custom_id(head.custom_id)
            self._started.setdefault(nonce, {})[place] = StartedItem(head.key, head.hash, head.index)
        elif head.record == "intent":
            items = self._started.pop(head.nonce, {})
            self.open[head.nonce] = OpenBatch(
                nonce=head.nonce,
                requests=head.n,
                since=head.since,
                dated=head.dated,
                newest=head.newest,
                workspace=head.workspace,
                model=head.model,
                call=head.call,
                items=items,
            )
        elif head.record == "created":
            self.ids.add(head.batch)
            if head.nonce in self.open:
                self.open[head.nonce].batch_id = head.batch
        else:
            self.open.pop(head.nonce, None)


@runtime_checkable
class BatchJournal(JournalLike, Protocol):
    """A journal that also remembers batches, as `Journal` does. ``fan_out(via="batch")`` needs one, or none."""

    @property
    def batches(self) -> BatchBook:
        """The batches of earlier runs."""
        ...

    def start(self, key: str, request_hash: str, *, index: int, tag: object, custom_id: str | None = None) -> None:
        """Note that an item is started, as `JournalLike.start`.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.
          index: The item's zero-based position.
          tag: The item's tag.
          custom_id: The id of its request in a batch; None if it is streamed.
        """
        ...

    def note_batch(self, record: Mapping[str, Any]) -> None:
        """Note something about a batch. It is on the disk when this returns.

        Args:
          record: The fields of the record.
        """
        ...

    def end_started(self, item: StartedItem, outcome: Outcome) -> None:
        """Note how an item ended that an earlier run started.

        Args:
          item: The item.
          outcome: Its outcome.
        """
        ...
