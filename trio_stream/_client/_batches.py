"""``client.messages.batches`` and ``client.beta.messages.batches``.

What belongs here: signatures, and what the calls mean. What does not: their requests (`_batch_calls`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack, final

from trio_stream._protocol import BatchRequest, BetaBatchRequest, DeletedMessageBatch, MessageBatch
from trio_stream._stream import BatchResults

from ._batch_calls import BatchCalls
from ._batch_pages import MessageBatchPages
from ._options import (
    BatchCall,
    BatchCreateCall,
    BatchListCall,
    BetaBatchCall,
    BetaBatchCreateCall,
    BetaBatchListCall,
)
from ._requests import Requests


@final
class Batches:
    """``client.messages.batches``: the Message Batches API.

    ::

        batch = await client.messages.batches.create(
            {"custom_id": f"q-{number}", "params": {"model": ..., "max_tokens": 1024, "messages": [...]}}
            for number, question in enumerate(questions)
        )
        while not batch.ended:
            await trio.sleep(60)
            batch = await client.messages.batches.retrieve(batch.id)
        async with client.messages.batches.results(batch) as lines:
            async for line in lines:
                ...

    A batch goes on when this program ends: note its id. All but `create` are tried again as other calls are.
    """

    def __init__(self, requests: Requests) -> None:
        self._calls = BatchCalls(requests)

    async def create(self, requests: Iterable[BatchRequest], **options: Unpack[BatchCreateCall]) -> MessageBatch:
        """Create a batch: many messages at half the price, within 24 hours at the most, mostly much sooner.

        ``requests`` may be any iterable, such as a generator: each request is checked and encoded as it comes, and
        other tasks run meanwhile. The body exists once in memory; the API takes up to 100,000 requests and 256 MB.
        The clock ``send`` is at least 60 s, and a second for each 250 kB.

        **A batch is created at most once**: a lost answer is not asked for again, because each such request would make
        another batch, which is billed like the first. So this call is tried again (``max_retries``) only where the API
        certainly made no batch:

        ==================================================  =======================================
        how an attempt ended                                what happens
        ==================================================  =======================================
        no connection; not sent to its last byte            tried again
        429 (also: too many requests are queued), 409, 529  tried again, after ``retry-after``
        401                                                 tried again once, where a key is renewed
        other 4xx, such as 400 and 413                      raised: there is no batch
        408, any other 5xx                                  raised: there may be a batch
        sent, then a cut, a reset, or a clock               raised: there may be a batch
        an answer that cannot be read                       raised: there may be a batch
        ==================================================  =======================================

        Where there may be a batch, ``may_have_been_accepted`` of the error is True, and `list` shows it, sooner or
        later. ``x-should-retry`` does not change this.

        A checkpoint. When it is cancelled, the connection is closed, and there may be a batch.

        Args:
          requests: The requests, each with a ``custom_id`` and ``params``.
          **options: The options that every call takes, ``workspace_id`` and ``user_profile_id``.

        Returns:
          The batch, which is ``in_progress``. What is wrong with the ``params`` of a request the API says only in the
          results, but for what is checked here.

        Raises:
          APIError: The request failed. See the table.
          TypeError: A request has another form, or something in it is not JSON. The text says where.
          ValueError: A request cannot be part of a batch: an id that is not valid or not unique, ``stream``, ``speed``,
            ``max_tokens`` 0, a parameter that belongs to the whole batch; or there are none, or too many.
        """
        return (await self._calls.create(requests, options)).value

    async def retrieve(self, message_batch_id: str, **options: Unpack[BatchCall]) -> MessageBatch:
        """Look at a batch.

        A checkpoint. A batch that was created a moment ago may not be found yet.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed; `NotFoundError` where there is no such batch.
          ValueError: The id cannot be one.
        """
        return (await self._calls.retrieve(message_batch_id, options)).value

    def list(self, **options: Unpack[BatchListCall]) -> MessageBatchPages:
        """The batches of the workspace, the newest first.

        ``async for batch in client.messages.batches.list()`` goes through all of them, page by page; ``await`` gets one
        page. Nothing is sent before that.

        Args:
          **options: ``limit`` (batches on a page), ``after_id``, ``before_id``, ``workspace_id``, and the options that
            every call takes.

        Raises:
          ValueError: ``limit`` is not from 1 to 1,000, or both ids were given.
        """
        return self._calls.list(options)

    async def cancel(self, message_batch_id: str, **options: Unpack[BatchCall]) -> MessageBatch:
        """Ask the API to end a batch early.

        What has been answered by then, or is just being answered, is billed and in the results; the rest is
        ``canceled``. The batch is ``canceling`` until it has ``ended``, which takes a while.

        A checkpoint. Cancelling twice is cancelling once.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed.
          ValueError: The id cannot be one.
        """
        return (await self._calls.cancel(message_batch_id, options)).value

    async def delete(self, message_batch_id: str, **options: Unpack[BatchCall]) -> DeletedMessageBatch:
        """Delete a batch that has ended, and its results. One that has not is to be cancelled first.

        A checkpoint. If the answer to an attempt is lost and it is tried again, the batch may be gone by then: that
        raises `NotFoundError`.

        Args:
          message_batch_id: The id of the batch.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          APIError: The request failed.
          ValueError: The id cannot be one.
        """
        return (await self._calls.delete(message_batch_id, options)).value

    def results(self, message_batch: str | MessageBatch, **options: Unpack[BatchCall]) -> BatchResults:
        """The results of a batch that has ended: ``async with client.messages.batches.results(batch) as lines``.

        Nothing is sent before the block is entered. The request goes to this client's own base URL, by the id of the
        batch: wherever ``results_url`` leads, the key is not sent there. Until the first line it is tried again as any
        call, afterwards not: there are no partial downloads, so begin anew, and skip what you have.

        Args:
          message_batch: The batch, or its id. With the batch, fewer lines than it has requests are an error too.
          **options: The options that every call takes, and ``workspace_id``.

        Raises:
          ValueError: The id cannot be one.
        """
        return self._calls.results(message_batch, options)


@final
class BetaBatches:
    """``client.beta.messages.batches``: as `Batches`, with ``betas=[...]``, which hold for the whole batch."""

    def __init__(self, requests: Requests) -> None:
        self._calls = BatchCalls(requests)

    async def create(
        self, requests: Iterable[BetaBatchRequest], **options: Unpack[BetaBatchCreateCall]
    ) -> MessageBatch:
        """As `Batches.create`.

        Args:
          requests: The requests, each with a ``custom_id`` and ``params``.
          **options: ``betas``, and what `Batches.create` takes.
        """
        return (await self._calls.create(requests, options)).value

    async def retrieve(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> MessageBatch:
        """As `Batches.retrieve`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.retrieve` takes.
        """
        return (await self._calls.retrieve(message_batch_id, options)).value

    def list(self, **options: Unpack[BetaBatchListCall]) -> MessageBatchPages:
        """As `Batches.list`.

        Args:
          **options: ``betas``, and what `Batches.list` takes.
        """
        return self._calls.list(options)

    async def cancel(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> MessageBatch:
        """As `Batches.cancel`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.cancel` takes.
        """
        return (await self._calls.cancel(message_batch_id, options)).value

    async def delete(self, message_batch_id: str, **options: Unpack[BetaBatchCall]) -> DeletedMessageBatch:
        """As `Batches.delete`.

        Args:
          message_batch_id: The id of the batch.
          **options: ``betas``, and what `Batches.delete` takes.
        """
        return (await self._calls.delete(message_batch_id, options)).value

    def results(self, message_batch: str | MessageBatch, **options: Unpack[BetaBatchCall]) -> BatchResults:
        """As `Batches.results`.

        Args:
          message_batch: The batch, or its id.
          **options: ``betas``, and what `Batches.results` takes.
        """
        return self._calls.results(message_batch, options)
