"""One item in a batch of its own first, so that those in further batches find what it has written to the prompt cache.

What belongs here: for which models that is to be done, and when it is done. What does not: making that batch
(`_via_batch_life`), and the same for streams (`_warmup`): the two share no entries of the cache.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, final

import trio

from trio_stream._protocol import Usage

_LASTS: Final = 3590.0
"""Seconds after its last use until an entry counts as ended: an hour, but for a margin."""

_MOST_FAILURES: Final = 3
"""If so many items in a row go alone and have no answer, the others go together: each may take as long as a batch."""


class _State(Enum):
    COLD = "nothing is in the cache: the next item goes alone"
    WARMING = "that item is in a batch"
    WARM = "the entry exists"
    USELESS = "nothing was written and nothing read, or nobody was answered: there is nothing to wait for"


@final
class BatchWarmup:
    """Knows the entry of each model in the prompt cache of batches.

    Attributes:
      hits: Answers that have read from the cache.
      misses: Answers that have not.
      writes: Answers that have written to it.
    """

    def __init__(self) -> None:
        self.hits: int = 0
        self.misses: int = 0
        self.writes: int = 0
        self._states: dict[str, _State] = {}
        self._failures: dict[str, int] = {}
        self._used_at: dict[str, float] = {}
        self._changed = trio.lowlevel.ParkingLot()

    def begin(self, model: str) -> bool:
        """Whether an item of a model has to go alone now. Whoever is told so sees to it, and to `end`."""
        if self._state(model) is not _State.COLD:
            return False
        self._states[model] = _State.WARMING
        return True

    def is_warming(self, model: str) -> bool:
        """Whether others have to wait."""
        return self._states.get(model) is _State.WARMING

    async def wait(self, seconds: float) -> None:
        """Wait for the end of such an item, for so many seconds at most."""
        with trio.move_on_after(seconds):
            await self._changed.park()

    def note(self, model: str, usage: Usage) -> None:
        """An answer in a batch says what was written and read."""
        written, read = usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0
        self.writes += written > 0
        self.hits += read > 0
        self.misses += read == 0
        if written or read:
            self._states[model] = _State.WARM
            self._failures[model] = 0
            self._used_at[model] = trio.current_time()
        elif self._states.get(model) is _State.WARMING:
            self._states[model] = _State.USELESS

    def end(self, model: str) -> None:
        """The item that went alone is in no batch any more."""
        if self._states.get(model) is _State.WARMING:  # it has no answer
            failures = self._failures[model] = self._failures.get(model, 0) + 1
            self._states[model] = _State.COLD if failures < _MOST_FAILURES else _State.USELESS
        self._changed.unpark_all()

    def call_off(self, model: str) -> None:
        """There is no item to go alone."""
        self._states[model] = _State.COLD
        self._changed.unpark_all()

    def _state(self, model: str) -> _State:
        state = self._states.get(model, _State.COLD)
        if state is _State.WARM and trio.current_time() - self._used_at[model] > _LASTS:
            return _State.COLD
        return state
