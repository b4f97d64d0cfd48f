"""The pages of a list of message batches.

What belongs here: awaiting one page, and going from page to page. What does not: the request for a page
(`_batch_calls`), and what is on it (`_protocol`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any, final

from trio.lowlevel import checkpoint_if_cancelled

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol import MessageBatch, MessageBatchList
from trio_stream._response import ResponseInfo
from trio_stream._runs import current_run

from ._json_call import Answer

FetchPage = Callable[[Mapping[str, Any]], Awaitable[Answer[MessageBatchList]]]
"""Asks for the page at ``after_id`` or ``before_id``."""


@final
class MessageBatchPage:
    """One page of the batches of a workspace, the newest first.

    ``async for batch in page`` goes on to the following pages.

    Attributes:
      data: The batches on this page.
      has_more: Whether there are further ones in the direction that was asked for.
      first_id: The id of the first batch on this page, or None.
      last_id: The id of the last batch on this page, or None.
      response: The head of the HTTP answer. Its ``date`` is the API's own clock.
    """

    def __init__(self, answer: Answer[MessageBatchList], fetch: FetchPage, cursor: Mapping[str, Any]) -> None:
        found = answer.value
        self.data: tuple[MessageBatch, ...] = found.data
        self.has_more: bool = found.has_more
        self.first_id: str | None = found.first_id
        self.last_id: str | None = found.last_id
        self.response: ResponseInfo = answer.response
        self._fetch = fetch
        self._cursor = cursor

    def __repr__(self) -> str:
        return f"<MessageBatchPage: {len(self.data)} batches, has_more={self.has_more}>"

    def has_next_page(self) -> bool:
        """Whether `get_next_page` has a page to get."""
        return self.has_more and bool(self.data) and None not in self._next_cursor().values()

    async def get_next_page(self) -> MessageBatchPage:
        """Get the following page: of older batches, or of newer ones where ``before_id`` was given.

        A checkpoint. When it is cancelled nothing is lost.

        Raises:
          APIError: The request failed.
          InvalidResponseError: This page ends where it began, so that there would be no end of pages.
          RuntimeError: This is the last page.
        """
        if not self.has_next_page():
            raise RuntimeError("this is the last page: see has_next_page()")
        cursor = self._next_cursor()
        if cursor == self._cursor:
            raise InvalidResponseError("the list of batches does not go on: the same page follows itself")
        return MessageBatchPage(await self._fetch(cursor), self._fetch, cursor)

    def __aiter__(self) -> AsyncIterator[MessageBatch]:
        return _AllBatches(self._itself)

    async def _itself(self) -> MessageBatchPage:
        return self

    def _next_cursor(self) -> Mapping[str, Any]:
        return {"before_id": self.first_id} if self._cursor.get("before_id") else {"after_id": self.last_id}


@final
class MessageBatchPages:
    """The batches of a workspace, as `Batches.list` returns them. Nothing is sent before it is used.

    ::

        async for batch in client.messages.batches.list():  # all of them, page by page
            print(batch.id, batch.processing_status)
        page = await client.messages.batches.list(limit=5)  # one page

    Each ``await`` and each loop asks anew.
    """

    def __init__(self, fetch: FetchPage, cursor: Mapping[str, Any]) -> None:
        self._fetch = fetch
        self._cursor = cursor

    def __await__(self) -> Generator[Any, Any, MessageBatchPage]:
        """Get the first page."""
        return self.get_first_page().__await__()

    def __aiter__(self) -> AsyncIterator[MessageBatch]:
        """All batches. When ``anext`` is cancelled nothing is lost."""
        current_run()
        return _AllBatches(self.get_first_page)

    async def get_first_page(self) -> MessageBatchPage:
        """Get the first page, as ``await`` does.

        A checkpoint. When it is cancelled nothing is lost.

        Raises:
          APIError: The request failed.
        """
        return MessageBatchPage(await self._fetch(self._cursor), self._fetch, self._cursor)


@final
class _AllBatches(AsyncIterator[MessageBatch]):
    """The batches of a page and of all that follow it."""

    def __init__(self, first: Callable[[], Awaitable[MessageBatchPage]]) -> None:
        self._get_next = first
        self._page: MessageBatchPage | None = None
        self._given = 0  # of this page

    async def __anext__(self) -> MessageBatch:
        await checkpoint_if_cancelled()
        page = self._page
        while page is None or self._given == len(page.data):
            if page is not None and not page.has_next_page():
                raise StopAsyncIteration
            page = self._page = await self._get_next()
            self._get_next, self._given = page.get_next_page, 0
        self._given += 1
        return page.data[self._given - 1]
