"""The ids of items, checked before the first request where the items are a sequence.

What belongs here: finding every item whose id is another's, or that of another request in the journal. What does not:
the same check of one item at a time, as it is taken (`_journal_keeper`), and what is wrong with a request by itself,
which is the outcome of its item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from trio_stream._schemas import ask_for_output

from ._caching import with_prefix
from ._journal import Journal
from ._options import FanOutOptions
from ._records import Item, JournalConflictError, JournalLike, Request, merge_params, request_hash

_NAMED: Final = 10
"""How many faults the error tells. A parameter that was changed for all items makes one of each."""

_AT_ONCE: Final = 64
"""How many items are looked at between two checkpoints: some milliseconds, unless requests are large."""


async def check_ids(values: Sequence[Request | Item], options: FanOutOptions, journal: JournalLike | None) -> None:
    """Compare all ids with each other and with the journal. Without a journal ids are not looked at.

    A checkpoint, and another one every 64 items.

    Raises:
      JournalConflictError: Ids are repeated, or stand in the journal with other requests. It tells of the first ten.
      JournalError: The journal cannot be read.
    """
    if journal is None:
        return
    faults: list[JournalConflictError] = []
    seen: set[str] = set()
    for number, value in enumerate(values):
        if number % _AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        if not isinstance(value, Item) or value.id is None:
            continue  # its key is made from its request
        if value.id in seen:
            faults.append(repeated_id(value.id))
        elif (conflict := _conflict(value, options, journal)) is not None:
            faults.append(conflict)
        seen.add(value.id)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        sentences = [str(fault) for fault in faults[:_NAMED]]
        more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise JournalConflictError(f"{len(faults)} items: {'; '.join(sentences)}{more}", id=faults[0].id)


def repeated_id(name: str) -> JournalConflictError:
    """Make the error for an id that two items have."""
    return JournalConflictError(
        f"two items have the id {name!r}: ids must be unique, because the journal matches items by id", id=name
    )


def _conflict(item: Item, options: FanOutOptions, journal: JournalLike) -> JournalConflictError | None:
    assert item.id is not None
    params = merge_params(item.request, options.params)
    try:
        if options.prompt_prefix is not None:
            params = with_prefix(params, options.prompt_prefix)
        if options.wanted is not None:
            params = ask_for_output(params, options.wanted)
        digest = request_hash(params)
    except (TypeError, ValueError):
        return None  # it cannot be sent, which is the outcome of this item alone
    if isinstance(journal, Journal) and not journal.conflicts(item.id, digest):
        return None
    try:
        journal.lookup(item.id, digest)
    except JournalConflictError as error:
        return error
    return None
