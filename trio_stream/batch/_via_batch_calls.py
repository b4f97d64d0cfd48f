"""The calls about message batches as a fan-out makes them, and its patience when they fail.

What belongs here: which resource of the client and which options a batch needs, when a failure is no news, and when it
is asked how a batch stands. What does not: the protocol by which a batch is created (`_via_batch_create`), and reading
results (`_via_batch_collect`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, final
from urllib.parse import urlsplit

import msgspec
import trio

from trio_stream._client import Client, MessageBatchPage
from trio_stream._errors import APIError, NotFoundError
from trio_stream._protocol import MessageBatch, Verdict, judge
from trio_stream._stream import BatchResults

NO_NEWS_SECONDS: Final = 600.0
"""How long calls about a batch may fail in a row. A batch goes on meanwhile; a new one is not even found at first."""

_FIRST_LOOK_SECONDS: Final = 10.0
"""Also what the API asks to wait, in the `retry-after` of its answers about batches."""

_LONGEST_PAUSE_SECONDS: Final = 60.0

LONGEST_ASKED_SECONDS: Final = 3600.0
"""The longest pause that an answer can ask for: some gateways write nonsense into `retry-after`."""

_SINGLE_LOOKS: Final = 5
"""How many batches are asked about one by one. For more of them there is one list."""

_PAGE: Final = 100

OF_THE_BATCH: Final = ("betas", "workspace_id", "user_profile_id", "extra_headers", "extra_query")
"""Options of an item that hold for a whole batch: items that differ in one of them are in different batches."""


def pause_after(seconds: float) -> float:
    """Return the seconds until one looks at a batch again that was created so many seconds ago."""
    return max(_FIRST_LOOK_SECONDS, min(_LONGEST_PAUSE_SECONDS, seconds / 10))


@final
class BatchAccess:
    """Makes the calls about batches, with the options that each batch needs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, requests: Iterable[Any], call: Mapping[str, Any]) -> MessageBatch:
        """Create a batch, in one attempt.

        Raises:
          APIError: It failed; the batch may exist all the same.
        """
        options: dict[str, Any] = {**call, "max_retries": 0}
        if "betas" in call:
            return await self._client.beta.messages.batches.create(requests, **options)
        return await self._client.messages.batches.create(requests, **options)

    async def retrieve(self, batch_id: str, call: Mapping[str, Any]) -> MessageBatch:
        """Look at a batch.

        Raises:
          APIError: The request failed.
        """
        return await self._client.messages.batches.retrieve(batch_id, **_without_betas(call))

    async def is_gone(self, batch_id: str, call: Mapping[str, Any], workspace: str) -> bool:
        """Whether a batch that could not be found is not there any more, nor its results: somebody has deleted it.

        That takes two witnesses: it is not found by its id, and the list, read whole, does not have it.

        Args:
          batch_id: The id of the batch.
          call: The options of the calls about it.
          workspace: The workspace it is in, as `workspace_of` names it; empty if that is not known.

        Raises:
          APIError: A request failed, or the list is of another workspace than the batch, or there is no list.
        """
        try:
            return (await self.retrieve(batch_id, call)).archived_at is not None
        except NotFoundError:
            pass
        try:
            first = await self.list(call)
        except NotFoundError as error:
            raise APIError(
                f"the batch {batch_id} is not on this server, which has no message batches: "
                "with the base URL that it was created with the same run collects it"
            ) from error
        check_workspace(first, workspace)
        page: MessageBatchPage | None = first
        listed = set[str]()
        while page is not None:
            for batch in page.data:
                if batch.id == batch_id:
                    return batch.archived_at is not None
            page = await next_page(page, listed)
        return True

    async def list(self, call: Mapping[str, Any], *, limit: int | None = None) -> MessageBatchPage:
        """Get the first page of the list.

        Raises:
          APIError: The request failed.
        """
        return await self._client.messages.batches.list(limit=limit or _PAGE, **_without_betas(call))

    async def cancel(self, batch_id: str, call: Mapping[str, Any]) -> None:
        """Ask the API to end a batch early. A failure is none here: it may have ended by itself."""
        with suppress(APIError):
            await self._client.messages.batches.cancel(batch_id, **_without_betas(call))

    def results(self, batch: MessageBatch | str, call: Mapping[str, Any]) -> BatchResults:
        """The results of a batch."""
        if "betas" in call:
            return self._client.beta.messages.batches.results(batch, **_without_user(call))
        return self._client.messages.batches.results(batch, **_without_user(call))


def _without_user(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name != "user_profile_id"}


def _without_betas(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name not in ("betas", "user_profile_id")}


@final
class ListState(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of the list, the first one, says of the moment at which it was made.

    Attributes:
      since: The API's own time, in Unix time.
      dated: Whether it is that; otherwise it is ours, as the API does not say.
      newest: When the newest batch was created; 0 where there is none yet. What is created later has a later time by
        the same clock, whatever clock writes the date of the answer. None if that is not known.
      workspace: The workspace whose list it is, as `workspace_of` names it.
    """

    since: float
    dated: bool
    newest: float | None
    workspace: str


def state_of(page: MessageBatchPage) -> ListState:
    """Read what the first page of the list says of its moment."""
    asked_at = time_of(page)
    newest = max(map(created_at, page.data), default=0.0)
    return ListState(
        since=time.time() if asked_at is None else asked_at,
        dated=asked_at is not None,
        newest=newest if math.isfinite(newest) else None,
        workspace=workspace_of(page),
    )


def time_of(page: MessageBatchPage) -> float | None:
    """Return the API's own time when it made a page, in Unix time; None if the answer has no date that can be read."""
    try:
        return parsedate_to_datetime(page.response.headers.find(b"date")).timestamp()
    except (TypeError, ValueError):
        return None


def workspace_of(page: MessageBatchPage) -> str:
    """Return the workspace whose list a page is of, or else the organization, or else the host that was asked."""
    headers = page.response.headers
    named = headers.find(b"anthropic-workspace-id") or headers.find(b"anthropic-organization-id")
    return named or urlsplit(page.response.url).hostname or ""


@final
class OtherWorkspaceError(APIError):
    """A batch is looked for where it cannot be found, so that nothing is known of it."""


def check_workspace(page: MessageBatchPage, workspace: str) -> None:
    """Look whether a list is that of the workspace in which a batch is; empty if that is not known.

    Raises:
      OtherWorkspaceError: It is not.
    """
    here = workspace_of(page)
    if workspace and here and here != workspace:
        raise OtherWorkspaceError(
            f"a batch of this job is in another workspace ({workspace}) than this key ({here}): "
            "with the key and the base URL that it was created with the same run collects it"
        )


def created_at(batch: MessageBatch) -> float:
    """Return when a batch was created, in Unix time; infinity if that cannot be read, as it cannot be left out then."""
    try:
        return datetime.fromisoformat(batch.created_at or "").timestamp()
    except ValueError:
        return math.inf


async def next_page(page: MessageBatchPage, seen: set[str]) -> MessageBatchPage | None:
    """Return the page of the list that follows, where it has anything new.

    Some gateways answer the first page whatever is asked for, which would go on for ever.

    Args:
      page: A page.
      seen: The ids of the batches on the pages so far. Those of this page are added.

    Raises:
      APIError: The request failed.
    """
    before = len(seen)
    seen.update(batch.id for batch in page.data)
    return await page.get_next_page() if len(seen) > before and page.has_next_page() else None


@final
class Patience:
    """Bears failures of calls about one batch for a while."""

    def __init__(self) -> None:
        self._failing_since: float | None = None

    def news(self) -> None:
        """A call has succeeded."""
        self._failing_since = None

    def bear(self, error: APIError) -> None:
        """A call has failed.

        Raises:
          APIError: That error: calls have failed for too long, or all further ones will.
        """
        now = trio.current_time()
        if self._failing_since is None:
            self._failing_since = now
        is_lasting = isinstance(error, OtherWorkspaceError) or judge(error).reason is not None
        if is_lasting or now - self._failing_since >= NO_NEWS_SECONDS:
            raise error

    def bear_or_wait(self, error: APIError, *, until: float = math.inf) -> float:
        """A call about a batch that exists has failed. A rate limit is waited for: the API is there.

        Args:
          error: The failure.
          until: When a rate limit is borne as any other failure, by `trio.current_time`.

        Returns:
          The seconds that it asks to wait, at most until then; 0 if it does not.

        Raises:
          APIError: As `bear`.
        """
        judgement = judge(error)
        left = until - trio.current_time()
        if left <= 0 or judgement.verdict not in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
            self.bear(error)
            return 0.0
        self.news()
        return min(judgement.retry_after or 0.0, LONGEST_ASKED_SECONDS, left)


@final
class BatchWatch:
    """Watches the batches that have not ended.

    Attributes:
      seen: All batches of this run, as they were when somebody last looked, by id.
      live: The options of the calls about those that have not ended, by id.
      gone: The ids of those that somebody has deleted.
    """

    def __init__(self, access: BatchAccess) -> None:
        self.seen: dict[str, MessageBatch] = {}
        self.live: dict[str, Mapping[str, Any]] = {}
        self.gone: list[str] = []
        self._access = access
        self._unlisted = frozenset[str]()
        self._turn = trio.Lock()
        self._listed_at = -_FIRST_LOOK_SECONDS
        self._list_error: APIError | None = None  # what the last list failed with: that, too, holds for all

    def add(self, batch_id: str, call: Mapping[str, Any], batch: MessageBatch | None = None) -> None:
        """There is a batch, which has not ended as far as is known."""
        self.live[batch_id] = call
        self.seen[batch_id] = MessageBatch(id=batch_id, processing_status="in_progress") if batch is None else batch

    async def wait_ended(self, batch_id: str, *, until: float, cancelling: bool = False) -> MessageBatch | None:
        """Wait for the end of a batch.

        Args:
          batch_id: The id of a batch that was added.
          until: The time by `trio.current_time` when to give up.
          cancelling: Whether to cancel it, again and again as long as it is not seen that the API does so: a batch that
            goes on is paid.

        Returns:
          The batch; None if it had not ended by then.

        Raises:
          APIError: It could not be found out for too long, or the API refuses the key. After a `NotFoundError` ask
            `is_gone`.
        """
        patience = Patience()
        began_at = trio.current_time()
        asked = 0.0
        with trio.CancelScope(deadline=until):
            while True:
                if cancelling and self.seen[batch_id].processing_status == "in_progress":
                    await self._access.cancel(batch_id, self.live[batch_id])
                await trio.sleep(max(asked, pause_after(trio.current_time() - began_at)))
                asked = 0.0
                try:
                    batch = await self.look(batch_id)
                    patience.news()
                    if batch.ended:
                        return batch
                except APIError as error:
                    asked = patience.bear_or_wait(error)
        return None

    async def look(self, batch_id: str) -> MessageBatch:
        """Look once at a batch that was added.

        Raises:
          APIError: A request failed.
        """
        await self._look(batch_id)
        batch = self.seen[batch_id]
        if batch.ended:
            self.live.pop(batch_id, None)
        return batch

    async def is_gone(self, batch_id: str, call: Mapping[str, Any], workspace: str) -> bool:
        """Whether a batch that was not found for too long is not there any more. See `BatchAccess.is_gone`.

        Raises:
          APIError: As there.
        """
        if not await self._access.is_gone(batch_id, call, workspace):
            return False
        self.live.pop(batch_id, None)
        self.seen.pop(batch_id, None)
        self.gone.append(batch_id)
        return True

    async def cancel_all(self) -> None:
        """Ask the API to end all batches early that have not ended."""
        async with trio.open_nursery() as nursery:
            for batch_id, call in self.live.items():
                nursery.start_soon(self._access.cancel, batch_id, call)

    async def _look(self, batch_id: str) -> None:
        if len(self.live) <= _SINGLE_LOOKS:
            self.seen[batch_id] = await self._access.retrieve(batch_id, self.live[batch_id])
            return
        # The batches wake up at moments of their own, and whoever comes first makes the list for all.
        async with self._turn:
            await self._list_if_due(self.live[batch_id])
        if self._list_error is not None:
            raise self._list_error
        if batch_id in self._unlisted:  # it is in another workspace, or the list is late, or the batch was deleted
            self.seen[batch_id] = await self._access.retrieve(batch_id, self.live[batch_id])

    async def _list_if_due(self, call: Mapping[str, Any]) -> None:
        if trio.current_time() - self._listed_at < _FIRST_LOOK_SECONDS:
            return
        self._list_error = None
        try:
            await self._list(call)
        except APIError as error:
            self._list_error = error
        self._listed_at = trio.current_time()

    async def _list(self, call: Mapping[str, Any]) -> None:
        page: MessageBatchPage | None = await self._access.list(call)
        unseen, listed = set(self.live), set[str]()
        while page is not None:
            self.seen.update((batch.id, batch) for batch in page.data if batch.id in unseen)
            unseen.difference_update(batch.id for batch in page.data)
            page = await next_page(page, listed) if unseen else None
        self._unlisted = frozenset(unseen)
