"""``client.messages.batches`` of a blocking client, and the same under ``client.beta``.

What belongs here: signatures, and handing calls on to the asynchronous client in the loop; pages. What does not:
reading results (`_streams`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, final

import trio_stream as ts
from trio_stream._client import (
    BatchCall,
    BatchCreateCall,
    BatchListCall,
    BetaBatchCall,
    BetaBatchCreateCall,
    BetaBatchListCall,
)
from trio_stream._response import ResponseInfo
from trio_stream.types import BatchRequest, BetaBatchRequest, DeletedMessageBatch, MessageBatch

from ._home import Home, Source
from ._loop import Loop
from ._reading import Reading
from ._streams import BatchResults


@final
class Batches:
    """``client.messages.batches`` of a blocking client. The calls are those of `trio_stream.Client`.

    ::

        batch = client.messages.batches.create(requests)
        while not batch.ended:
            time.sleep(60)
            batch = client.messages.batches.retrieve(batch.id)
        for line in client.messages.batches.results(batch):
            ...
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def create(self, requests: Iterable[BatchRequest], **options: Unpack[BatchCreateCall]) -> MessageBatch:
        """Create a batch, at most once: see `Batches.create` of the asynchronous client, which says what that means.

        Args:
          requests: The requests, each with a ``custom_id`` and ``params``. They are iterated over in the thread of the
            client.
          **options: The options that every call takes, ``workspace_id`` and ``user_profile_id``.

        Raises:
          APIError: The request failed.
          TypeError: A request has another form, or something in it is not JSON. The text says where.
          ValueError: A request cannot be part of a batch.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).messages.batches
        return loop.call(lambda: batches.create(requests, **options))

    def retrieve(self, message_batch_id: str, **options: Unpack[BatchCall]) -> MessageBatch:
        """Look at a batch. One that was created a moment ago may not be found yet.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed; `NotFoundError` where there is no such batch.
          ValueError: The id cannot be one.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).messages.batches
        return loop.call(lambda: batches.retrieve(message_batch_id, **options))

    def list(self, **options: Unpack[BatchListCall]) -> MessageBatchPage:
        """The batches of the workspace, the newest first: the first page of them.

        ``for batch in client.messages.batches.list()`` goes through all of them, page by page.

        Args:
          **options: ``limit`` (batches on a page), ``after_id``, ``before_id``, ``workspace_id``, and the options that
            every call takes.

        Raises:
          APIError: The request failed.
          ValueError: ``limit`` is not from 1 to 1,000, or both ids were given.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        pages = self._source.client(loop).messages.batches.list(**options)
        return MessageBatchPage(self._source.home, loop, loop.call(pages.get_first_page))

    def cancel(self, message_batch_id: str, **options: Unpack[BatchCall]) -> MessageBatch:
        """Ask the API to end a batch early. What has been answered by then is billed and in the results.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed.
          ValueError: The id cannot be one.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).messages.batches
        return loop.call(lambda: batches.cancel(message_batch_id, **options))

    def delete(self, message_batch_id: str, **options: Unpack[BatchCall]) -> DeletedMessageBatch:
        """Delete a batch that has ended, and its results.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed.
          ValueError: The id cannot be one.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).messages.batches
        return loop.call(lambda: batches.delete(message_batch_id, **options))

    def results(self, message_batch: str | MessageBatch, **options: Unpack[BatchCall]) -> BatchResults:
        """The results of a batch that has ended: ``for line in client.messages.batches.results(batch)``.

        Nothing is sent before the first line is asked for, or the block entered.

        Args:
          message_batch: The batch, or its id. Given the batch, lines that are missing are noticed.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          ValueError: The id cannot be one.
        """
        loop = self._source.home.loop()
        results = self._source.client(loop).messages.batches.results(message_batch, **options)
        return BatchResults(Reading(self._source.home, loop, results, of_message=False))


@final
class BetaBatches:
    """``client.beta.messages.batches`` of a blocking client: as `Batches`, with ``betas=[...]``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def create(self, requests: Iterable[BetaBatchRequest], **options: Unpack[BetaBatchCreateCall]) -> MessageBatch:
        """As `Batches.create`.

        Args:
          requests: The requests, each with a ``custom_id`` and ``params``.
          **options: ``betas``, and what `Batches.create` takes.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).beta.messages.batches
        return loop.call(lambda: batches.create(requests, **options))

    def retrieve(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> MessageBatch:
        """As `Batches.retrieve`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.retrieve` takes.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).beta.messages.batches
        return loop.call(lambda: batches.retrieve(message_batch_id, **options))

    def list(self, **options: Unpack[BetaBatchListCall]) -> MessageBatchPage:
        """As `Batches.list`.

        Args:
          **options: ``betas``, and what `Batches.list` takes.
        """
        loop = self._source.home.loop()
        pages = self._source.client(loop).beta.messages.batches.list(**options)
        return MessageBatchPage(self._source.home, loop, loop.call(pages.get_first_page))

    def cancel(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> MessageBatch:
        """As `Batches.cancel`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.cancel` takes.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).beta.messages.batches
        return loop.call(lambda: batches.cancel(message_batch_id, **options))

    def delete(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> DeletedMessageBatch:
        """As `Batches.delete`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.delete` takes.
        """
        loop = self._source.home.loop()
        batches = self._source.client(loop).beta.messages.batches
        return loop.call(lambda: batches.delete(message_batch_id, **options))

    def results(self, message_batch: str | MessageBatch, **options: Unpack[BetaBatchCall]) -> BatchResults:
        """As `Batches.results`.

        Args:
          message_batch: The batch, or its id.
          **options: ``betas``, and what `Batches.results` takes.
        """
        loop = self._source.home.loop()
        results = self._source.client(loop).beta.messages.batches.results(message_batch, **options)
        return BatchResults(Reading(self._source.home, loop, results, of_message=False))


@final
class MessageBatchPage:
    """One page of the batches of a workspace, the newest first, as `trio_stream.MessageBatchPage`.

    ``for batch in page`` goes on to the following pages.

    Attributes:
      data: The batches on this page.
      has_more: Whether there are further ones in the direction that was asked for.
      first_id: The id of the first batch on this page, or None.
      last_id: The id of the last batch on this page, or None.
      response: The head of the HTTP answer. Its ``date`` is the API's own clock.
    """

    def __init__(self, home: Home, loop: Loop, page: ts.MessageBatchPage) -> None:
        self.data: tuple[MessageBatch, ...] = page.data
        self.has_more: bool = page.has_more
        self.first_id: str | None = page.first_id
        self.last_id: str | None = page.last_id
        self.response: ResponseInfo = page.response
        self._home = home
        self._loop = loop
        self._page = page

    def __repr__(self) -> str:
        return f"<MessageBatchPage: {len(self.data)} batches, has_more={self.has_more}>"

    def has_next_page(self) -> bool:
        """Whether `get_next_page` has a page to get."""
        return self._page.has_next_page()

    def get_next_page(self) -> MessageBatchPage:
        """Get the following page: of older batches, or of newer ones where ``before_id`` was given.

        Raises:
          APIError: The request failed.
          InvalidResponseError: This page ends where it began, so that there would be no end of pages.
          RuntimeError: This is the last page; or in a task of Trio.
        """
        return MessageBatchPage(self._home, self._loop, self._loop.call(self._page.get_next_page))

    def __iter__(self) -> Iterator[MessageBatch]:
        return _AllBatches(self)


@final
class _AllBatches(Iterator[MessageBatch]):
    """The batches of a page and of all that follow it."""

    def __init__(self, page: MessageBatchPage) -> None:
        self._page = page
        self._rest = iter(page.data)

    def __next__(self) -> MessageBatch:
        while True:
            for batch in self._rest:
                return batch
            if not self._page.has_next_page():
                raise StopIteration
            page = self._page.get_next_page()
            self._page, self._rest = page, iter(page.data)
