"""Putting items into groups that become message batches.

What belongs here: checking an item, reserving money for it, writing its request to the disk, and which group it goes
to. What does not: what becomes of a group (`_via_batch_life`), and the files (`_spool`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import msgspec

from trio_stream._money import Ledger, Room
from trio_stream._protocol import encode_batch_params

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._caching import mark_shared
from ._options import FanOutOptions
from ._records import SENDING_OPTIONS, canonical_request
from ._stopping import FanOutStoppedError
from ._via_batch_calls import OF_THE_BATCH
from ._via_batch_group import BatchGroup, call_of
from ._via_batch_state import BatchState

_BESIDE_THE_BODY: Final = SENDING_OPTIONS.union(OF_THE_BATCH, {"model"})
"""What stays in memory of the parameters of an item, where its body is on the disk."""


@final
class Intake:
    """Puts items into groups.

    Args:
      state: The state of the run.
      options: The options of the fan-out.
      version: The ``anthropic-version`` of the client.
      ledger: Has the budget.
      attempts: Knows what an item may cost.
      carry: Called with each group that is opened.
    """

    def __init__(
        self,
        state: BatchState,
        options: FanOutOptions,
        *,
        version: str,
        ledger: Ledger,
        attempts: Attempts,
        carry: Callable[[BatchGroup], None],
    ) -> None:
        self._state = state
        self._options = options
        self._version = version
        self._ledger = ledger
        self._attempts = attempts
        self._carry = carry
        self._open: dict[bytes, BatchGroup] = {}
        self._kept: dict[str, Any] = {}

    def put(self, active: ActiveItem) -> None:
        """Put an item that is under way into a group, which may be a new one; or settle it, where that is impossible.

        Raises:
          JournalError: The journal cannot be written.
          OSError: The disk is full.
        """
        try:
            body = None if active.spooled is not None else self._body_of(active)
        except (TypeError, ValueError) as error:
            self._state.settle(active, active.outcome("error", error))
            return
        if not self._reserve(active):
            return
        if body is not None:
            active.spooled = self._state.spool.add(body)
            self._drop_request(active)
        call = call_of(active.params)
        kind = msgspec.json.encode(call, order="deterministic")
        group = self._open.get(kind)
        if group is not None and not group.has_room(active, most=self._state.via.max_requests):
            self.close(group)
            group = None
        if group is None:
            group = self._open[kind] = BatchGroup(call)
            self._carry(group)
        group.add(active)
        if len(group.waiting) >= self._state.via.max_requests:
            self.close(group)

    def hold(self, active: ActiveItem) -> None:
        """An item is in a batch of an earlier run that goes on: its money is spent elsewhere."""
        if self._ledger.limited:
            with contextlib.suppress(ValueError):  # its cost is not known, which its own run has said
                self._ledger.hold(self._attempts.reservation_in_batch(active.params))

    def close(self, group: BatchGroup) -> None:
        """Add no more to a group."""
        group.closed.set()
        self._open = {kind: other for kind, other in self._open.items() if other is not group}

    def flush(self) -> None:
        """There are no further items: what is open need not wait."""
        for group in list(self._open.values()):
            self.close(group)

    def take_out(self, active: ActiveItem) -> None:
        """An item is to be streamed after all: its request comes back into memory, and its money is released.

        Raises:
          OSError: The disk fails.
        """
        self._state.release(active)
        if active.spooled is None:
            active.params = self._mark(active)
            return
        extra: Mapping[str, Any] = active.params.get("extra_body") or {}
        body: dict[str, Any] = msgspec.json.decode(active.spooled.read())
        active.params = {**{name: value for name, value in body.items() if name not in extra}, **active.params}
        self._state.forget_request(active)

    def _body_of(self, active: ActiveItem) -> bytes:
        """The parameters of an item as they stand in a batch, encoded.

        Raises:
          TypeError: A parameter is missing, or is not JSON.
          ValueError: Something cannot be written as JSON, or cannot be used in a batch.
        """
        body: dict[str, Any] = msgspec.json.decode(canonical_request(self._mark(active)))
        body.pop("betas", None)
        return encode_batch_params(body, anthropic_version=self._version)

    def _mark(self, active: ActiveItem) -> Mapping[str, Any]:
        """Mark what its request shares with others for the prompt cache, for an hour: batches take their time."""
        options = self._options
        if options.cache is None:
            return active.params
        marked = mark_shared(active.params, "1h", prefixed=options.prompt_prefix is not None)
        active.cached = marked is not None
        return active.params if marked is None else marked

    def _drop_request(self, active: ActiveItem) -> None:
        """Keep of the item what is not on the disk."""
        kept = {name: value for name, value in active.params.items() if name in _BESIDE_THE_BODY}
        if kept != self._kept:
            self._kept = kept
        active.params = self._kept  # mostly all items have the same
        if self._state.job.watch is None and self._options.on_event is None:  # else somebody may look at it
            active.item = msgspec.structs.replace(active.item, request="")

    def _reserve(self, active: ActiveItem) -> bool:
        """Reserve money for an item, where that is limited. False if it is settled, as there is none.

        The feeder takes items while there is room for one more like the last, so that is not looked at again here.
        """
        if not self._ledger.limited or (active.reserved and active.reservation is not None):
            return True
        try:
            reservation = self._attempts.reservation_in_batch(active.params)
        except ValueError as unknown:  # its cost cannot be limited
            self._state.settle(active, active.outcome("error", unknown))
            return False
        if self._ledger.room_for(reservation) is Room.NEVER:
            active.stop = FanOutStoppedError(self._ledger.no_room(reservation), reason="budget")
            self._state.settle(active, active.outcome("skipped", active.stop), noted=False)
            return False
        self._ledger.reserve(reservation)
        active.reservation, active.reserved = reservation, True
        return True
