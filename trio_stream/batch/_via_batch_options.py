"""`ViaBatch`: how a fan-out uses message batches.

What belongs here: the options, and checking them. What does not: batches themselves (`_via_batch`).
"""

from __future__ import annotations

from typing import Final, Literal, final

import msgspec

MOST_REQUESTS: Final = 100_000
"""In one batch."""


@final
class ViaBatch(msgspec.Struct, frozen=True, kw_only=True):
    """How a fan-out sends its items as message batches: ``fan_out(via=ViaBatch(...))``.

    ``via="batch"`` stands for the defaults.

    Args:
      max_requests: The most requests in one batch.
      max_queued: The most items that are taken and have no outcome yet.
      deadline: Seconds from the beginning after which batches are cancelled and what they have not answered is
        streamed; None to wait for as long as batches take, which is up to 24 hours.
      cancel_wait: The most seconds to wait for a batch that was cancelled for the deadline. What has no result by then
        is streamed, and perhaps paid twice (``stats.paid_twice``).
      resubmit: How many more times an item is put into a batch, if a failure of the API kept it from being answered, or
        somebody has deleted the batch.
      on_expired: What becomes of an item that expired in its batch: ``"batch"`` puts it into another one (this counts
        as ``resubmit`` does), ``"stream"`` streams it, and ``"error"`` makes its outcome an error.
      settle: If the answer to the creation of a batch was lost: the seconds within which the API's list certainly shows
        the batch, should there be one.
      probe: Whether one item of each model is streamed first. Batches say only at their end what is wrong with their
        requests.
      detach: Whether the run ends once all items are in batches, as with `FanOut.detach`, which needs a journal. Of
        batches of earlier runs what has ended is collected, and the rest is left to go on; the items in it are
        ``skipped``.

    Raises:
      ValueError: An option is out of its range.
    """

    max_requests: int = 10_000
    max_queued: int = 100_000
    deadline: float | None = None
    cancel_wait: float = 600.0
    resubmit: int = 2
    on_expired: Literal["batch", "stream", "error"] = "batch"
    settle: float = 300.0
    probe: bool = True
    detach: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_requests <= MOST_REQUESTS:
            raise ValueError(f"max_requests must be from 1 to {MOST_REQUESTS:,}, not {self.max_requests!r}")
        if self.max_queued < 1:
            raise ValueError(f"max_queued must be at least 1, not {self.max_queued!r}")
        if self.deadline is not None and not self.deadline > 0:
            raise ValueError(f"deadline must be a positive number of seconds, not {self.deadline!r}")
        for name in ("cancel_wait", "resubmit", "settle"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)!r}")
        if self.on_expired not in ("batch", "stream", "error"):
            raise ValueError(f"on_expired must be 'batch', 'stream' or 'error', not {self.on_expired!r}")
