"""One wait of a thread for the loop of its client, and what an interrupt does to it.

What belongs here: waiting, and being told that the wait is over. What does not: what is waited for (`_loop`, `_feed`).

The order matters everywhere in this room, because of `KeyboardInterrupt`: Python raises it in the main thread, between
any two steps, and nothing like `trio.lowlevel.enable_ki_protection` exists outside of Trio. Two rules keep everything
whole. What the loop gives is stored by the loop's thread, which is never interrupted, before the waiting thread learns
of it. And what the waiting thread asks for may be asked again: it is a value that the loop looks at, not a message.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import trio

INTERRUPT_SECONDS: Final = 2.0
"""How long an interrupted thread waits at most for the loop to give up what was interrupted."""

# On Windows a lock that is waited for without a timeout is not interrupted by Ctrl-C (agronholm/anyio#532).
_TICK: Final = 0.2 if sys.platform == "win32" else -1.0


class Hop:
    """A thread waits, until the loop has done what it asked for.

    Attributes:
      done: Whether the loop has done it.
      given_up: Whether the waiting thread was interrupted, so that the loop is to stop.
      scope: What the loop cancels for that, while it waits itself.
      thread: The thread that waits.
    """

    __slots__ = ("_lock", "done", "given_up", "scope", "thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.done = False
        self.given_up = False
        self.scope: trio.CancelScope | None = None
        self.thread = threading.get_ident()

    def finish(self) -> None:
        """Wake the thread. Called in the thread of the loop, once whatever the hop was for has been stored."""
        if not self.done:
            self.done = True
            self._lock.release()

    def stop(self) -> None:
        """Stop what is under way for this hop. Called in the thread of the loop."""
        if self.scope is not None:
            self.scope.cancel(reason="the thread that waits for this was interrupted")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait in the present thread.

        Args:
          seconds: How long at most; None: until it is done.

        Returns:
          Whether it is done.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.done:
            if deadline is None:
                timeout = _TICK
            else:
                timeout = min(max(deadline - time.monotonic(), 0.0), abs(_TICK) if _TICK > 0 else threading.TIMEOUT_MAX)
            if not self._lock.acquire(timeout=timeout) and deadline is not None and time.monotonic() >= deadline:
                break
        return self.done

    def wait_or_give_up(self, give_up: Callable[[], None]) -> None:
        """Wait in the present thread, and have the loop stop if that is interrupted.

        Args:
          give_up: Has the loop look at ``given_up``. It may be called again and again.

        Raises:
          BaseException: What a signal handler raised, first of all `KeyboardInterrupt`. By then the loop has stopped,
            unless it takes longer than two seconds.
        """
        try:
            self.wait()
        except BaseException:
            self.given_up = True
            give_up()
            self.wait(INTERRUPT_SECONDS)
            raise
