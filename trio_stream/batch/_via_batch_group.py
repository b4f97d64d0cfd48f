"""A group of items that become one message batch.

What belongs here: which items go together, their parameters as a batch has them, and when a group is full. What does
not: creating the batch (`_via_batch_create`), and what follows (`_via_batch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec
import trio

from trio_stream._protocol import BatchBody

from ._active_item import ActiveItem
from ._journal_batches import OpenBatch
from ._records import canonical_request
from ._via_batch_calls import OF_THE_BATCH

MOST_BYTES: Final = 256_000_000
"""In one batch."""

_FRAME_BYTES: Final = 64
"""More than the id of a request and what stands around its parameters."""

_VERSION: Final = "2023-06-01"


def body_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an item as they stand in a batch.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text cannot be written as JSON.
    """
    body: dict[str, Any] = msgspec.json.decode(canonical_request(params))
    body.pop("betas", None)
    return body


def size_in_batch(params: Mapping[str, Any]) -> int:
    """Check that an item can be part of a batch, and return its size there in bytes.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text cannot be written as JSON, or a parameter cannot be used in a batch.
    """
    body = BatchBody(anthropic_version=_VERSION)
    body.add({"custom_id": "item", "params": body_of(params)})
    return len(body.finish()) + _FRAME_BYTES


def call_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of an item that hold for its whole batch."""
    return {name: params[name] for name in OF_THE_BATCH if params.get(name)}


@final
class BatchGroup:
    """Items that go into one batch. Their places in it are numbered from 0.

    Args:
      call: The options of the calls about the batch.

    Attributes:
      call: The same.
      nonce: What the ids of its requests begin with; empty before it is sent.
      since: The API's time right before it was sent.
      waiting: Its items that have no result yet, by place.
      size: Their bytes.
      requests: How many were sent.
      closed: Set when nothing more is added.
      watch: The scope of the last wait for the batch; cancelled to leave the batch to itself.
    """

    def __init__(self, call: dict[str, Any]) -> None:
        self.call: dict[str, Any] = call
        self.nonce: str = ""
        self.since: float = 0.0
        self.waiting: dict[int, ActiveItem] = {}
        self.size: int = 0
        self.requests: int = 0
        self.closed: trio.Event = trio.Event()
        self.watch: trio.CancelScope = trio.CancelScope()

    def begin_watch(self) -> trio.CancelScope:
        """The scope of another wait for the batch."""
        self.watch = trio.CancelScope()
        return self.watch

    def add(self, active: ActiveItem, size: int) -> None:
        """Add an item."""
        self.waiting[len(self.waiting)] = active
        self.size += size

    def has_room(self, size: int, *, most: int) -> bool:
        """Whether an item of this size can be added."""
        return len(self.waiting) < most and self.size + size <= MOST_BYTES

    def renumber(self, nonce: str, since: float) -> None:
        """The items are about to be sent, under new ids."""
        self.nonce, self.since, self.requests = nonce, since, len(self.waiting)
        self.waiting = dict(enumerate(self.waiting.values()))

    def halves(self) -> list[BatchGroup]:
        """Two groups with half of the items each."""
        items = list(self.waiting.values())
        middle = len(items) // 2
        made = [BatchGroup(self.call), BatchGroup(self.call)]
        for group, part in zip(made, (items[:middle], items[middle:]), strict=True):
            for active in part:
                group.add(active, 0)
        self.waiting.clear()
        return made

    def intent(self) -> OpenBatch:
        """What is to be found if the end of the creation is unknown."""
        return OpenBatch(nonce=self.nonce, requests=self.requests, since=self.since, call=self.call)
