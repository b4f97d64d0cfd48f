"""One request first, so that the others find what it has written to the prompt cache.

What belongs here: who may be sent as far as the cache is concerned, without a clock and without waiting. What does not:
waiting (`_governor`), and marking what is to be cached (`_caching`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, final

from trio_stream._limiter import Permit
from trio_stream._protocol import Usage

_SECONDS_TO_SPREAD: Final = 2.0
"""Seconds from the first event of the request that writes an entry until the others are sent. An entry exists once an
answer has begun, but not everywhere at once: of requests sent right then, 40 % miss it (anthropic-sdk-python#1451)."""

_MARGIN: Final = 10.0
"""Seconds. An entry that is about to end counts as ended: a hundred requests that miss it would all write it."""


class _State(Enum):
    COLD = "nothing is in the cache: the next request goes alone"
    WARMING = "that request is under way, and has not begun to be answered"
    WARM = "the entry exists, or will when it has spread"
    USELESS = "nothing was written and nothing read: there is nothing to wait for"


@final
class _Entry:
    """The entry of one model."""

    __slots__ = ("ready_at", "state", "used_at", "writer")

    def __init__(self) -> None:
        self.state = _State.COLD
        self.writer: Permit | None = None
        self.ready_at = 0.0
        self.used_at = 0.0


@final
class Warmup:
    """Lets one request to each model go alone at the beginning, and again when its entry has ended by a pause.

    It may fail: then the next one goes alone. Where the answer has neither written nor read anything, nobody waits any
    more.

    Args:
      seconds: How long an entry lasts after it was last used.

    Attributes:
      hits: Answers that have read from the cache.
      misses: Answers that have not.
      writes: Answers that have written to it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds - _MARGIN
        self._entries: dict[str, _Entry] = {}
        self.hits: int = 0
        self.misses: int = 0
        self.writes: int = 0

    def wait(self, permit: Permit, now: float) -> float:
        """Return the seconds until a request may be sent; infinity while nobody knows.

        Args:
          permit: The request.
          now: The time in seconds, by any clock.
        """
        entry = self._entry(permit, now)
        if entry.state is _State.WARMING:
            return float("inf")
        return max(0.0, entry.ready_at - now) if entry.state is _State.WARM else 0.0

    def sent(self, permit: Permit, now: float) -> None:
        """A request is sent."""
        entry = self._entry(permit, now)
        if entry.state is _State.COLD:
            entry.state, entry.writer = _State.WARMING, permit

    def began(self, permit: Permit, usage: Usage | None, now: float) -> None:
        """The answer to a request has begun, and tells what was written and read."""
        entry = self._entries[permit.model]
        written = 0 if usage is None else usage.cache_creation_input_tokens or 0
        read = 0 if usage is None else usage.cache_read_input_tokens or 0
        self.writes += written > 0
        self.hits += read > 0
        self.misses += read == 0
        if written or read:
            entry.used_at = now
        if entry.writer is permit:
            entry.writer = None
            # An entry that was read is everywhere already.
            entry.ready_at = now if read else now + _SECONDS_TO_SPREAD
            entry.state = _State.WARM if written or read else _State.USELESS

    def ended(self, permit: Permit) -> None:
        """A request is over, however it ended."""
        entry = self._entries.get(permit.model)
        if entry is not None and entry.writer is permit:
            entry.state, entry.writer = _State.COLD, None

    def _entry(self, permit: Permit, now: float) -> _Entry:
        entry = self._entries.setdefault(permit.model, _Entry())
        if entry.state is _State.WARM and now - entry.used_at > self._seconds:
            entry.state = _State.COLD
        return entry
