"""Reading the results of a message batch.

What belongs here: reading until each item has its line, whatever breaks off, comes twice or is missing; and what a
line means. What does not: what becomes of the items (`_via_batch`).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar, final

import trio

from trio_stream._errors import APIError, IncompleteStreamError
from trio_stream._protocol import Message, MessageBatch, error_from_event, judge
from trio_stream.types import (
    MessageBatchCanceledResult,
    MessageBatchErroredResult,
    MessageBatchExpiredResult,
    MessageBatchResult,
    MessageBatchSucceededResult,
)

from ._journal_batches import read_custom_id
from ._via_batch_calls import BatchAccess, Patience, pause_after

_MOST_READINGS: Final = 3
"""How many times results are read that end in order and lack a line. What breaks off is read until it does not."""


class NoAnswer(Enum):
    """Why there is no answer to an item. One that is missing may have been made, and paid."""

    CANCELLED = "the batch was cancelled before it was the item's turn"
    EXPIRED = "the batch expired before it was the item's turn"
    MISSING = "the results of the batch have no line for the item"


Result: TypeAlias = Message | APIError | NoAnswer
"""What a batch has for an item."""

ItemT = TypeVar("ItemT")


def read_result(result: MessageBatchResult) -> Result:
    """Return what a line has for its item."""
    if isinstance(result, MessageBatchSucceededResult):
        return result.message
    if isinstance(result, MessageBatchErroredResult):
        return error_from_event(result.error, None)
    if isinstance(result, MessageBatchCanceledResult):
        return NoAnswer.CANCELLED
    if isinstance(result, MessageBatchExpiredResult):
        return NoAnswer.EXPIRED
    return APIError(f"the result in the batch is of a kind that this version does not know: {result.type}")


@final
class Collector:
    """Reads results.

    Args:
      access: Makes the calls.
      wait_for_room: Waits until the consumer has taken most of what was read before.
    """

    def __init__(self, access: BatchAccess, wait_for_room: Callable[[], Any]) -> None:
        self._access = access
        self._wait_for_room = wait_for_room

    async def collect(
        self,
        batch: MessageBatch,
        call: dict[str, Any],
        nonce: str,
        waiting: MutableMapping[int, ItemT],
        take: Callable[[ItemT, Result], None],
        *,
        until: float,
    ) -> None:
        """Read the results of a batch that has ended, until every item has its own.

        A line is taken as soon as it is read. What breaks off is read again from the beginning, and lines of items
        that have their result are skipped.

        Args:
          batch: The batch.
          call: The options of the calls about it.
          nonce: What the ids of its requests begin with.
          waiting: Its items without a result, by place. They are taken out one by one.
          take: Called with an item and its result.
          until: How long a rate limit is waited for, by `trio.current_time`; ten minutes at least.

        Raises:
          APIError: The results could not be read for too long, or the API refuses the key.
          Exception: Whatever ``take`` raised.
        """
        patience = Patience()
        since = trio.current_time()  # that nothing was read
        incomplete = 0
        while True:
            lines_read, asked = 0, 0.0
            waited_for = len(waiting)
            try:
                # By the id: whether a line is missing, `waiting` tells, and a body that was cut is another thing.
                async with self._access.results(batch.id, call) as lines:
                    async for line in lines:
                        lines_read += 1
                        whose, place = read_custom_id(line.custom_id)
                        item = waiting.pop(place, None) if whose == nonce else None
                        if item is not None:
                            # In one step with taking it out: a cancellation may come before or after.
                            take(item, read_result(line.result))
                            await self._wait_for_room()
                if not lines_read:
                    raise IncompleteStreamError("the results of the batch have no lines")
                incomplete += 1
            except APIError as error:
                if len(waiting) < waited_for:
                    patience.news()
                    since = trio.current_time()
                elif lines_read and not judge(error).retryable:
                    incomplete += 1  # there is a line that cannot be read
                else:
                    asked = patience.bear_or_wait(error, until=until)
            if not waiting:
                return
            if incomplete >= _MOST_READINGS:
                while waiting:
                    take(waiting.popitem()[1], NoAnswer.MISSING)
                return
            await trio.sleep(max(asked, pause_after(trio.current_time() - since)))
