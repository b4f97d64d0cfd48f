"""The thread in which a blocking client's run of Trio goes on.

What belongs here: starting it, having it do things, ending it, and the process it belongs to. What does not: the wait
of the thread that asks (`_hop`), and what it is asked to do (`_client`, `_feed`).

There is one `Loop` for a client and its copies, in each process. Its thread is a daemon, so that a program which ends
does not wait for it; what stops it then is the finalizer of its `Home`, which Python also runs at exit.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, final

import trio

import trio_stream as ts

from ._hop import INTERRUPT_SECONDS, Hop

T = TypeVar("T")

_IN_TRIO: Final = (
    "trio_stream.blocking would stop this whole run of Trio while it waits: use trio_stream.Client in async functions"
)
_CLOSED: Final = "this client is closed"


class _Process:
    """Which process this is, counted from forks."""

    generation = 0


def _forked() -> None:
    _Process.generation += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forked)


def check_thread() -> None:
    """Refuse to wait in a task of Trio.

    Raises:
      RuntimeError: This is one, and so all others would stop.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(_IN_TRIO)


class EndsWithLoop(Protocol):
    """What waits for the loop, and has to be told when that ends."""

    def loop_ended(self, error: BaseException) -> None:
        """Let go of whoever waits: the loop will not do it any more."""


@final
class _Call(Hop):
    """An asynchronous function that the loop is to call once."""

    __slots__ = ("error", "function", "loop", "value")

    def __init__(self, loop: Loop, function: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self.loop = loop
        self.function = function
        self.value: Any = None
        self.error: BaseException | None = None

    def loop_ended(self, error: BaseException) -> None:
        if not self.done:
            self.error = error
            self.finish()

    async def run(self) -> None:
        try:
            with trio.CancelScope() as self.scope:
                if self.given_up:
                    self.stop()
                self.value = await self.function()
        except trio.Cancelled:
            # Of the client's end: nothing else cancels this task from outside.
            if not self.loop.is_failing:
                self.error = trio.ClosedResourceError(_CLOSED)
                self.finish()
            raise
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the thread that waits, as it is
            self.error = error
        if not self.loop.is_failing:
            self.finish()


@final
class Loop:
    """A run of Trio in a thread of its own, and the client that is used in it.

    Args:
      client: The client. Nobody else uses it.

    Attributes:
      client: The client.
      live: Whatever waits for the loop. A thread puts itself in before it asks for anything, so that nothing which ends
        the loop leaves it waiting.
      is_failing: Whether the loop is about to end with an error. It is not known yet what that is; so whoever waits is
        told at its end, and of nothing that it brings about until then.
    """

    def __init__(self, client: ts.Client) -> None:
        self.client = client
        self.live: set[EndsWithLoop] = set()
        self.is_failing: bool = False
        self._generation = _Process.generation
        self._claimed = threading.Lock()  # by the thread that runs it: an interrupt may have `_start` start another one
        self._started = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._stopping = False
        self._error: BaseException | None = None

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made in this process, and not in one that this was forked from."""
        return self._generation == _Process.generation

    # In the threads that ask.

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call an asynchronous function in the loop, in the context of this call, and wait for what it returns.

        Raises:
          BaseException: What it raised, the same object.
          RuntimeError: In a task of Trio.
          trio.ClosedResourceError: The loop has been stopped, or was stopped meanwhile.
        """
        check_thread()
        call = _Call(self, function)
        try:
            self.begin(call, call.run)
            call.wait_or_give_up(lambda: self.post(call.stop))
        except BaseException:
            call.given_up = True  # if it has not begun, it will not
            raise
        finally:
            self.live.discard(call)
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # or the error would hold itself, by its traceback
        value: T = call.value
        return value

    def begin(self, waiting: EndsWithLoop, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task in the loop, in the context of this call.

        Args:
          waiting: What waits for it. It is in `live` from now on.
          function: The task.

        Raises:
          trio.ClosedResourceError: The loop has been stopped.
        """
        self._start()
        context = contextvars.copy_context()
        self.live.add(waiting)
        self.post(lambda: context.run(self._spawn, function))

    def post(self, function: Callable[[], None]) -> None:
        """Have a plain function called in the thread of the loop, soon.

        Raises:
          trio.ClosedResourceError: The loop has ended.
          RuntimeError: It has ended with an error, or belongs to another process.
        """
        self.check_process()
        if self._token is None:
            raise self._why_ended() from self._error
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise self._why_ended() from self._error

    def check_process(self) -> None:
        """Refuse to go on in a process that was forked.

        Raises:
          RuntimeError: This is one.
        """
        if not self.is_of_this_process:
            raise RuntimeError(
                "this stream belongs to the process that this one was forked from: open another one here"
            )

    def _why_ended(self) -> Exception:
        if self._error is not None:
            return RuntimeError("the thread of this client has ended with an error")
        return trio.ClosedResourceError(_CLOSED)

    def _start(self) -> None:
        if self._token is None and not self._stopping:
            if self._thread is None:
                threading.Thread(target=self._run, name="trio_stream.blocking", daemon=True).start()
            self._started.wait()
        if self._stopping:
            raise self._why_ended() from self._error

    def stop(self) -> None:
        """End the loop, close its client and wait for its thread, for two seconds at most.

        Whoever waits for it gets `trio.ClosedResourceError`. Does nothing in another process, or once it has ended.
        """
        if not self.is_of_this_process:
            return
        self._stopping = True
        if not self._claimed.locked():
            return  # it was never started
        if self._thread is threading.current_thread():
            self._stop.set()  # the client was collected there, and that thread cannot wait for itself
            return
        self._started.wait(INTERRUPT_SECONDS)
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._stop.set)
        if self._ended.wait(INTERRUPT_SECONDS) and self._thread is not None:
            self._thread.join(INTERRUPT_SECONDS)

    # In the thread of the loop.

    def _run(self) -> None:
        if not self._claimed.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        try:
            if not self._stopping:
                trio.run(self._main)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - it is told to whoever waits
            self._error = error
        finally:
            self._stopping = True
            end = self._error or trio.ClosedResourceError(_CLOSED)
            for waiting in list(self.live):
                waiting.loop_ended(end)
            self._started.set()
            self._ended.set()

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            # Connections are kept whether or not the program writes `with`: this thread has an end in any case.
            async with self.client:
                self._token = trio.lowlevel.current_trio_token()
                self._started.set()
                try:
                    await self._stop.wait()
                except BaseException:
                    self.is_failing = True
                    raise
            # Whoever read a stream has been told by that. What is left waits for something else, or for nothing.
            self._nursery.cancel_scope.cancel(reason="the client was closed")

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function)
