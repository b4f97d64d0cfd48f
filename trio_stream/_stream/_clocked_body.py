"""The clocks of a stream that has no nursery for the watchdog, because an async generator may suspend its block.

What belongs here: looking at the clocks round each wait. What does not: their arithmetic (`_clocks`), how all other
streams do it (`_watchdog`), and what becomes of a stream whose clock has run out (`_lifecycle`).

A scope round each wait costs about 13 us, which is why other streams have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from trio_stream._errors import APITimeoutError
from trio_stream._http import ResponseBody, WrappedBody

from ._clocks import Clock, Clocks


@final
class ClockedBody(WrappedBody):
    """A body whose waits end when a clock runs out.

    Args:
      body: The body.
      clocks: The clocks.
      error: Makes the error of a clock.
    """

    __slots__ = ("_clocks", "_error")

    def __init__(self, body: ResponseBody, clocks: Clocks, error: Callable[[Clock], APITimeoutError]) -> None:
        super().__init__(body)
        self._clocks = clocks
        self._error = error

    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`, unless ``total`` has run out: it runs between waits too.

        Raises:
          APITimeoutError: It has.
        """
        clock, runs_out_at = self._clocks.next_to_run_out(now := trio.current_time())
        if runs_out_at <= now:
            raise self._error(clock)
        return self._body.receive_nowait()

    async def wait(self) -> None:
        """As `ResponseBody.wait`, until the first of the clocks runs out.

        Raises:
          APITimeoutError: It has.
        """
        clock, runs_out_at = self._clocks.next_to_run_out(trio.current_time())
        with trio.CancelScope(deadline=runs_out_at):
            await self._body.wait()
            return
        raise self._error(clock)
