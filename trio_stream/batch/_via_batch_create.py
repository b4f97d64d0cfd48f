"""Creating a message batch exactly once.

What belongs here: the protocol by which a batch is created, and found again if the answer was lost. What does not: its
records (`_journal_batches`), and what becomes of its items (`_via_batch`).

The API has nothing by which it would recognise a request that it has had before, so a request that is repeated makes
another batch, which is billed too. Hence:

1. Each request to create a batch has a nonce of its own, which the ids of its requests begin with. The journal has it
   on the disk before the request is sent, with the API's time (*intent*).
2. The answer tells the id of the batch (*created*), or that there is certainly none (*refused*).
3. Any other end is unknown: an answer that was lost, a 502 of something in between, the death of this process. Then
   the list is watched. A batch that was created since, has as many requests and is named by no record may be ours;
   whose it is tell its results, which begin with the nonce if it is ours. "Since" goes by the newest batch that the
   list had before, so by the one clock that all batches have: the date of an answer may be that of a proxy.
4. Only if a list shows no such batch that was asked for long enough after the *intent* (lists may be late), is it taken
   to be *refused*.

Counting requests would not do: the batches of others in the workspace may be as large.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, cast, final

import trio

from trio_stream._client import MessageBatchPage
from trio_stream._errors import APIError, IncompleteStreamError
from trio_stream._protocol import MessageBatch, may_have_been_done

from ._journal_batches import BatchJournal, OpenBatch, custom_id_of, read_custom_id
from ._via_batch_calls import (
    BatchAccess,
    ListState,
    Patience,
    check_workspace,
    created_at,
    next_page,
    pause_after,
    state_of,
    time_of,
)
from ._via_batch_group import BatchGroup

_CLOCKS_APART_SECONDS: Final = 600.0
"""How much earlier than the newest one before it a batch may seem to have been created: the API has many machines.
Whose a batch is, its nonce decides."""

_OTHER_CLOCK_APART_SECONDS: Final = 86_400.0
"""The same, where there is only the time of something else to compare with."""

_SECRET: Final = ("authorization", "x-api-key", "cookie", "proxy-authorization")
"""Headers that are in no journal. A run that continues has those of its own client."""

_STARTS_IN_A_ROW: Final = 500
"""How many records are written before other tasks may run."""


class NotFound(Enum):
    """What a look for a batch has shown where it has not found it."""

    YET = "there may be one: lists are late, or it cannot be told whose a batch is before it has ended"
    ABSENT = "there is certainly none"


@final
class Creation:
    """Creates batches, and finds those whose creation has an unknown end.

    Args:
      access: Makes the calls.
      journal: Where intents and their ends are noted; None without a journal.
      settle: The seconds after which the list certainly shows a batch.
    """

    def __init__(self, access: BatchAccess, journal: BatchJournal | None, *, settle: float) -> None:
        self._access = access
        self._journal = journal
        self._settle = settle
        self._ids: set[str] = set() if journal is None else journal.batches.ids

    def note(self, record: str, nonce: str, **fields: Any) -> None:
        """Note something about a batch in the journal.

        Raises:
          JournalError: The journal cannot be written.
        """
        if self._journal is not None:
            self._journal.note_batch({"record": record, "nonce": nonce, **fields})

    async def create(self, group: BatchGroup, patience: Patience) -> MessageBatch | APIError:
        """Ask once for a batch of all items of a group that wait.

        Not to be cancelled without need: the batch may exist then, and is found by the next run only.

        Args:
          group: The group.
          patience: Bears failures before anything is sent.

        Returns:
          The batch; or what the request ended with, if it is unknown whether there is one. Then call `find`.

        Raises:
          APIError: There is certainly no batch.
          TypeError: A request cannot be part of a batch.
          ValueError: The same.
          JournalError: The journal cannot be written.
        """
        group.renumber(secrets.token_hex(8), await self._look_before(group.call, patience))
        if self._journal is not None:
            for place, active in group.waiting.items():
                self._journal.start(
                    active.key,
                    active.request_hash,
                    index=active.index,
                    tag=active.item.tag,
                    custom_id=custom_id_of(group.nonce, place),
                )
                if place % _STARTS_IN_A_ROW == 0:
                    await trio.lowlevel.checkpoint()
            self._note_intent(group.intent())
        group.asked = True
        try:
            batch = await self._access.create(group.content(), group.call)
        except APIError as error:
            if may_have_been_done(error):
                return error
            self.note("refused", group.nonce)
            raise
        except (TypeError, ValueError):  # nothing was sent
            self.note("refused", group.nonce)
            raise
        self._created(group.nonce, batch)
        return batch

    async def find(self, intent: OpenBatch) -> MessageBatch | None:
        """Find the batch of an intent whose end is unknown. It may take as long as a batch does.

        Returns:
          The batch; None if there is none, which is noted.

        Raises:
          APIError: The list could not be read for too long, or the API refuses the key.
          JournalError: The journal cannot be written.
        """
        patience = Patience()
        others: set[str] = set()
        began_at = trio.current_time()
        while True:
            asked = 0.0
            try:
                found = await self.look_for(intent, others)
                patience.news()
                if not isinstance(found, NotFound):
                    return found
                if found is NotFound.ABSENT:
                    return None
            except APIError as error:
                asked = patience.bear_or_wait(error)
            await trio.sleep(max(asked, pause_after(trio.current_time() - began_at)))

    async def look_for(self, intent: OpenBatch, others: set[str]) -> MessageBatch | NotFound:
        """Look once for the batch of an intent whose end is unknown.

        Args:
          intent: The intent.
          others: The ids of batches that are somebody else's. Those that turn out to be are added.

        Returns:
          The batch, or why there is none. Both ends are noted.

        Raises:
          APIError: A request failed.
          JournalError: The journal cannot be written.
        """
        page = await self._access.list(intent.call)
        check_workspace(page, intent.workspace)
        listed_at = time_of(page) if intent.dated else None
        undecided = False
        failure: APIError | None = None
        for batch in await _since(page, _earliest(intent)):
            if not _may_have(batch, intent.requests) or batch.id in self._ids or batch.id in others:
                continue
            if batch.archived_at is not None:  # nobody can read its results any more, should they be ours
                others.add(batch.id)
                continue
            try:
                whose = await self._nonce_in(batch, intent.call) if batch.ended else None
            except APIError as error:
                failure = error  # the next one may be ours
                continue
            if whose == intent.nonce:
                self._created(intent.nonce, batch)
                return batch
            if whose is None:
                undecided = True
            else:
                others.add(batch.id)
        if failure is not None:
            raise failure
        if undecided or (time.time() if listed_at is None else listed_at) - intent.since < self._settle:
            return NotFound.YET
        self.note("refused", intent.nonce)
        return NotFound.ABSENT

    def _created(self, nonce: str, batch: MessageBatch) -> None:
        self._ids.add(batch.id)
        self.note("created", nonce, batch=batch.id)

    def _note_intent(self, intent: OpenBatch) -> None:
        undated = {} if intent.dated else {"dated": False}
        self.note(
            "intent",
            intent.nonce,
            n=intent.requests,
            since=intent.since,
            newest=intent.newest,
            workspace=intent.workspace,
            model=intent.model,
            call=_without_secrets(intent.call),
            **undated,
        )

    async def _look_before(self, call: Mapping[str, Any], patience: Patience) -> ListState:
        """What the list says before a batch is created."""
        while True:
            try:
                return state_of(await self._access.list(call, limit=1))
            except APIError as error:
                patience.bear(error)
            await trio.sleep(pause_after(0.0))

    async def _nonce_in(self, batch: MessageBatch, call: Mapping[str, Any]) -> str:
        """What stands in the first result of a batch where ours have their nonce."""
        async with self._access.results(batch, call) as lines:
            async for line in lines:
                return read_custom_id(line.custom_id)[0]
        raise IncompleteStreamError("the results of the batch have no lines")


def _may_have(batch: MessageBatch, requests: int) -> bool:
    """Whether a batch may have so many requests. None has no request, so where all counts are 0 nobody has counted."""
    return batch.request_counts.total in (requests, 0)


def _earliest(intent: OpenBatch) -> float:
    """The time before which no batch was created that may be the one of an intent."""
    if intent.newest is not None:
        return intent.newest - _CLOCKS_APART_SECONDS
    return intent.since - _OTHER_CLOCK_APART_SECONDS


async def _since(page: MessageBatchPage, since: float) -> Iterable[MessageBatch]:
    """The batches on a page and on those that follow that were created since."""
    found: list[MessageBatch] = []
    seen: set[str] = set()
    following: MessageBatchPage | None = page
    while following is not None:
        data = following.data
        found += [batch for batch in data if created_at(batch) >= since and batch.id not in seen]
        following = await next_page(following, seen) if data and created_at(data[-1]) >= since else None
    return found


def _without_secrets(call: Mapping[str, Any]) -> dict[str, Any]:
    headers: object = call.get("extra_headers")
    if not isinstance(headers, Mapping):
        return dict(call)
    given = cast("Mapping[str, object]", headers)
    return {**call, "extra_headers": {name: value for name, value in given.items() if name.lower() not in _SECRET}}
