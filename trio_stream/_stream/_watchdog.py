"""The task that notices when a clock of a stream has run out.

What belongs here: one such task for all open streams of a client, and in whose nursery it runs. What does not: the
arithmetic of one stream's clocks (`_clocks`), and what becomes of a stream whose clock has run out (`_base`).

A task for each stream would be a fifth of what it costs to open and leave one. So one of the open streams has it in
its nursery, for all of them; when that one ends, the task ends there and begins again in the nursery of another.

A cancellation of that nursery does not end the task: the body of its block may read on in a shield, after
`stream.cancel` or within a cancelled scope, and its clocks have to run then too. The task sleeps shielded therefore,
never longer than to the next clock. It is the end of a stream that ends the task, and no nursery is left without that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from ._clocks import SHORTEST_NAP, Clock, Clocks


@final
class _Watched:
    """A stream whose clocks are watched."""

    __slots__ = ("expire", "nursery")

    def __init__(self, expire: Callable[[Clock], None], nursery: trio.Nursery) -> None:
        self.expire = expire
        self.nursery = nursery


@final
class Watchdog:
    """Watches the clocks of any number of streams."""

    __slots__ = ("_host", "_scope", "_wake_at", "_watched")

    def __init__(self) -> None:
        self._watched: dict[Clocks, _Watched] = {}
        self._host: Clocks | None = None  # whose stream has the task
        self._scope: trio.CancelScope | None = None  # in which that task sleeps
        self._wake_at = math.inf

    @enable_ki_protection
    def add(self, clocks: Clocks, expire: Callable[[Clock], None], nursery: trio.Nursery) -> None:
        """Watch the clocks of a stream, until `remove` or the first of them that runs out.

        Args:
          clocks: The clocks of the stream.
          expire: Called with the name of the clock that has run out.
          nursery: The stream's own nursery.
        """
        if not self._watched:
            self._wake_at = math.inf
        self._watched[clocks] = _Watched(expire, nursery)
        self._wake_by(clocks.next_to_run_out(trio.current_time())[1])
        if self._host is None:
            self._begin(clocks, nursery)

    @enable_ki_protection
    def remove(self, clocks: Clocks) -> None:
        """Stop watching the clocks of a stream. Does nothing if they are not watched."""
        if self._watched.pop(clocks, None) is not None and self._host is clocks:
            if self._scope is not None:
                self._scope.cancel(reason="the stream that had the watchdog in its nursery has ended")
            self._move()

    def _begin(self, host: Clocks, nursery: trio.Nursery) -> None:
        self._host = host
        self._scope = None
        nursery.start_soon(self._watch, host, name="trio_stream clocks")

    def _move(self) -> None:
        """Start the task again, in the nursery of the stream that was opened last: it is likely to last longest."""
        self._host = None
        if self._watched:
            clocks = next(reversed(self._watched))
            self._begin(clocks, self._watched[clocks].nursery)

    @enable_ki_protection
    async def _watch(self, host: Clocks) -> None:
        while self._host is host:
            with trio.CancelScope(deadline=self._wake_at, shield=True) as self._scope:
                await trio.sleep_forever()
            if self._host is host:
                # After a stall of the whole program bytes and clocks are due at once: bytes go first.
                await cancel_shielded_checkpoint()
                self._look()

    def _look(self) -> None:
        now = trio.current_time()
        self._wake_at = math.inf
        for clocks, watched in list(self._watched.items()):
            # Clocks are set back while nobody looks: what was due when this was planned seldom is.
            clock, deadline = clocks.next_to_run_out(now)
            if deadline > now:
                self._wake_by(max(deadline, now + SHORTEST_NAP))
            elif clocks in self._watched:
                watched.expire(clock)

    def _wake_by(self, moment: float) -> None:
        if moment < self._wake_at:
            self._wake_at = moment
            if self._scope is not None:
                self._scope.deadline = moment
