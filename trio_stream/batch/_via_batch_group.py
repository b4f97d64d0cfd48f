"""A group of items that become one message batch.

What belongs here: its items, when it is full, and the body of the request that creates its batch. What does not: which
group an item goes to (`_via_batch_intake`), creating the batch (`_via_batch_create`), and what follows
(`_via_batch_life`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, final

import trio

from trio_stream._protocol import BatchContent

from ._active_item import ActiveItem
from ._journal_batches import OpenBatch, custom_id_of
from ._via_batch_calls import OF_THE_BATCH, ListState
from ._via_batch_options import MOST_REQUESTS

MOST_BYTES: Final = 256_000_000
"""In one batch."""

_LONGEST_ID: Final = f"{'0' * 16}-{MOST_REQUESTS}"
"""Stands for the id of a request that has none yet."""


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
      requests: How many were sent.
      model: The model that all items ask for that were sent; empty if they differ.
      before: What the list said right before it was sent; None before that.
      asked: Whether a batch may have been asked for under this nonce.
      waiting: Its items that have no result yet, by place.
      size: Their bytes.
      cached_models: The models of those items that share something.
      warms: The model for which it is to write the prompt cache, being of one item; or None.
      closed: Set when nothing more is added.
      watch: The scope of the last wait for the batch; cancelled to leave the batch to itself.
    """

    def __init__(self, call: dict[str, Any]) -> None:
        self.call: dict[str, Any] = call
        self.nonce: str = ""
        self.model: str = ""
        self.before: ListState | None = None
        self.asked: bool = False
        self.waiting: dict[int, ActiveItem] = {}
        self.size: int = 0
        self.requests: int = 0
        self.cached_models: set[str] = set()
        self.warms: str | None = None
        self.closed: trio.Event = trio.Event()
        self.watch: trio.CancelScope = trio.CancelScope()

    def begin_watch(self) -> trio.CancelScope:
        """The scope of another wait for the batch."""
        self.watch = trio.CancelScope()
        return self.watch

    def add(self, active: ActiveItem) -> None:
        """Add an item whose request is on the disk."""
        self.waiting[len(self.waiting)] = active
        self.size += _size_of(active)
        if active.cached:
            self.cached_models.add(_model_of(active))

    def has_room(self, active: ActiveItem, *, most: int) -> bool:
        """Whether an item can be added."""
        return len(self.waiting) < most and self.size + _size_of(active) <= MOST_BYTES

    def renumber(self, nonce: str, before: ListState) -> None:
        """The items are about to be sent, under new ids."""
        self.nonce, self.before, self.requests = nonce, before, len(self.waiting)
        self.asked = False
        self.waiting = dict(enumerate(self.waiting.values()))
        models = {_model_of(active) for active in self.waiting.values()}
        self.model = models.pop() if len(models) == 1 else ""

    def empty(self) -> list[ActiveItem]:
        """Take out all items."""
        items = list(self.waiting.values())
        self.waiting.clear()
        return items

    def halves(self) -> list[BatchGroup]:
        """Two groups with half of the items each, in place of this one."""
        items = self.empty()
        middle = len(items) // 2
        return [self._of(items[:middle]), self._of(items[middle:])]

    def split_one(self, model: str) -> BatchGroup | None:
        """Make a group of the first item of a model that shares something, in which it goes alone; None without one."""
        for place, active in self.waiting.items():
            if active.cached and _model_of(active) == model:
                del self.waiting[place]
                group = self._of([active])
                group.warms = model
                return group
        return None

    def _of(self, items: list[ActiveItem]) -> BatchGroup:
        group = BatchGroup(self.call)
        for active in items:
            group.add(active)
        group.closed.set()
        return group

    def content(self) -> BatchContent:
        """The body of the request that creates the batch."""
        size = 0
        for place, active in self.waiting.items():
            assert active.spooled is not None
            size += BatchContent.size_in(custom_id_of(self.nonce, place), active.spooled.size)
        return BatchContent(size, self._requests)

    def _requests(self) -> Iterator[tuple[str, bytes]]:
        for place, active in self.waiting.items():
            assert active.spooled is not None
            yield custom_id_of(self.nonce, place), active.spooled.read()

    def intent(self) -> OpenBatch:
        """What is to be found if the end of the creation is unknown."""
        assert self.before is not None
        before = self.before
        return OpenBatch(
            nonce=self.nonce,
            requests=self.requests,
            since=before.since,
            dated=before.dated,
            newest=before.newest,
            workspace=before.workspace,
            model=self.model,
            call=self.call,
        )


def _size_of(active: ActiveItem) -> int:
    assert active.spooled is not None
    return BatchContent.size_in(_LONGEST_ID, active.spooled.size)


def _model_of(active: ActiveItem) -> str:
    return str(active.params.get("model", ""))
