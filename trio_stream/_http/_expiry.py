"""The task that closes idle connections when their time is over.

What belongs here: that one task of a pool, its beginning and its end. What does not: which connections are idle, and
since when (`_pool`).

It is a system task of Trio's. A client may be entered in one task and closed in another, at any time, so there is no
nursery of the program's in which the task would be sure to end with the client. `Expiry.stopped` gives what a nursery
would give: whoever closes the client waits until the task is gone, which takes one turn and no peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import trio
from trio.lowlevel import enable_ki_protection

_STOPS_WITHIN: Final = 1.0
"""Seconds. The task stops in one turn; a shield has a deadline all the same."""


@final
class Expiry:
    """Sleeps until the next idle connection is due, again and again, as long as there is one.

    Args:
      look: Closes what is due, and returns when to look again, by Trio's clock; infinity ends the task.
    """

    __slots__ = ("_ended", "_look", "_scope")

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._scope: trio.CancelScope | None = None  # while the task is there
        self._ended: trio.Event | None = None

    @enable_ki_protection
    def begin(self, moment: float) -> None:
        """Have the task, because something is idle. Does nothing where it is there already.

        Nothing wakes it when connections are taken and come back: when it wakes it finds out what is due by then.

        Args:
          moment: When to look for the first time, by Trio's clock.
        """
        if self._scope is None:
            self._scope = scope = trio.CancelScope()
            self._ended = ended = trio.Event()
            trio.lowlevel.spawn_system_task(self._run, moment, scope, ended, name="trio_stream idle connections")

    @enable_ki_protection
    def stop(self) -> None:
        """End the task in its next turn."""
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.cancel(reason="the connections are closed")

    @enable_ki_protection
    async def stopped(self) -> None:
        """Stop, and wait until the task is gone. Waits for one turn at most, cancelled or not."""
        self.stop()
        if self._ended is None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _STOPS_WITHIN):
            await self._ended.wait()

    async def _run(self, moment: float, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                while moment < math.inf:
                    await trio.sleep_until(moment)
                    moment = self._look()
        finally:
            if self._scope is scope:
                self._scope = None
            ended.set()
