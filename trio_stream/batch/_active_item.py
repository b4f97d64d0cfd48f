"""An item that is under way: what has been done for it so far.

What belongs here: the state of one item, from when it is taken to its outcome. What does not: making its requests
(`_attempts`), and the state of the whole job (`_job`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import trio

from trio_stream._errors import APIError
from trio_stream._money import Charge, Reservation
from trio_stream._protocol import Message
from trio_stream._stream import MessageStream

from ._records import Item, Outcome, Status
from ._spool import Spooled
from ._stopping import FanOutStoppedError


@final
class ActiveItem:
    """One item that has been taken and has no outcome yet.

    Attributes:
      item: The item.
      index: Its zero-based position among the items.
      params: The parameters of its requests: its own, and those that all items share.
      key: Its key in the journal; empty without one, or where its parameters cannot be sent.
      request_hash: `request_hash` of its parameters; only with a journal.
      place: Its zero-based position among the items that are sent in this run; None if it is not sent.
      cached: Whether a part of its prompt is to be found in the prompt cache.
      attempts: Requests made so far.
      failures: How many of them failed in another way; less than one each in a half-outage.
      refusals: How many of them the API refused to take (429, 529).
      unfit: How many whole answers were no value of the type that was asked for, one of an earlier run among them.
      noted: Whether the journal knows that it is streamed. It may have been in a message batch before.
      began_at: When its first request was made, by `trio.current_time`; None before.
      used: Seconds of ``item_timeout`` that are used up by attempts and back-offs that are over.
      charges: What its attempts were charged for.
      reservation: What its last request asked of the budget; None before.
      reserved: Whether the budget has had room for its first request.
      spooled: Its request on the disk, while it is in a message batch or waits for one; ``params`` has only its options
        then.
      stream: The stream of the last attempt whose answer began. It keeps the partial text.
      waiting: The scope of its wait for permission to send, or for the time to ask for that again; None while it does
        not wait. Cancelling it skips the item.
      stop: Why this item is given up and the whole job has to stop; None while it goes on.
    """

    __slots__ = (
        "attempts",
        "began_at",
        "cached",
        "charges",
        "failures",
        "index",
        "item",
        "key",
        "noted",
        "params",
        "place",
        "refusals",
        "request_hash",
        "reservation",
        "reserved",
        "spooled",
        "stop",
        "stream",
        "unfit",
        "used",
        "waiting",
    )

    def __init__(self, item: Item, index: int, params: Mapping[str, Any]) -> None:
        self.item: Item = item
        self.index: int = index
        self.params: Mapping[str, Any] = params
        self.key: str = ""
        self.request_hash: str = ""
        self.place: int | None = None
        self.cached: bool = False
        self.attempts: int = 0
        self.failures: float = 0.0
        self.refusals: int = 0
        self.unfit: int = 0
        self.noted: bool = False
        self.began_at: float | None = None
        self.used: float = 0.0
        self.charges: tuple[Charge, ...] = ()
        self.reservation: Reservation | None = None
        self.reserved: bool = False
        self.spooled: Spooled | None = None
        self.stream: MessageStream | None = None
        self.waiting: trio.CancelScope | None = None
        self.stop: FanOutStoppedError | None = None

    def outcome(self, status: Status, error: Exception | None = None, *, batched: Message | None = None) -> Outcome:
        """Make an outcome of what there is now.

        Args:
          status: How the item ended.
          error: Why, where that is an error.
          batched: The answer, where a batch has it.
        """
        stream = self.stream
        message, text = batched, ""
        if message is not None:
            text = message.text
        elif stream is not None:
            message, text = stream.partial, stream.text
        request_id = None if stream is None else stream.request_id
        if request_id is None and isinstance(error, APIError):
            request_id = error.request_id
        return Outcome(
            id=self.item.id,
            index=self.index,
            tag=self.item.tag,
            status=status,
            text=text,
            message=message,
            error=error,
            usage=None if message is None else message.usage,
            attempts=self.attempts,
            ttft=None if stream is None else stream.stats.time_to_first_text,
            seconds=0.0 if self.began_at is None else trio.current_time() - self.began_at,
            request_id=request_id,
            stop_reason=None if message is None else message.stop_reason,
            charges=self.charges,
        )
