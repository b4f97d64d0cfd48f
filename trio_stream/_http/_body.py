"""The contract between whoever brings the bytes of an answer and the stream that reads them.

What belongs here: what reading and closing mean. What does not: how it is done; `_socket_body` does it for our own
sockets, `_foreign_body` for other httpx transports, `trio_stream.testing` in memory.

The reader of a body follows one loop, once for every event, so all of it but `ResponseBody.wait` is plain calls::

    while body.drained or (data := body.receive_nowait()) is None:
        await body.wait()
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable

from trio.lowlevel import enable_ki_protection

BODY_EXTENSION = "trio_stream.body"
"""Key of `httpx.Response.extensions`: the `ResponseBody` by which a transport hands over the bytes of an answer."""


class ResponseBody(abc.ABC):
    """The bytes of one answer, and the ownership of the connection they come on.

    One task at a time reads. Any task may let go of the body at any time: `close` gives the connection up, `finish`
    gives it back for another request. The first call decides, and later calls of either do nothing. Both are plain
    functions, so whoever holds a body can let go of it cancelled or not. Afterwards `aclose` is called once.

    `trio_stream.testing.check_response_body` checks an implementation against this contract.

    Attributes:
      cancel_safe: Whether a cancelled `wait` loses nothing. False where it breaks the body, as with transports that
        read through async generators; then `receive_nowait` and `wait` raise `trio.BrokenResourceError` from then on.
      drained: Whether it is known that `receive_nowait` would return None now, so that a reader need not ask. A body
        may leave it False. It has to become False again whenever a `wait` ends, at the latest.
    """

    __slots__ = ()

    cancel_safe: bool = True
    drained: bool = False

    @abc.abstractmethod
    def receive_nowait(self) -> bytes | None:
        """Receive the next bytes of the body, if they have arrived.

        Returns:
          The bytes. ``b""`` at the end of the body as HTTP frames it, and at every later call. None when it is time
          to `wait`.

        Raises:
          IncompleteStreamError: The connection or its framing ended before the body did.
          APIConnectionError: The connection failed, for example by a reset.
          trio.ClosedResourceError: `close` or `finish` was called.
          trio.BusyResourceError: Another task is in `wait`. A body may also return what it has.
          trio.BrokenResourceError: An earlier `wait` was cancelled and this body is not ``cancel_safe``, or an
            earlier call failed.
        """

    def look_again(self) -> None:  # noqa: B027 - most bodies have nothing to do
        """Have the next `receive_nowait` ask the connection, also if it was found empty and nobody has waited since.

        For readers that poll. A body need not have it: without it, or where a body cannot ask without waiting,
        `receive_nowait` returns what it holds already. Does nothing once the body was let go of.
        """

    @abc.abstractmethod
    def wait(self) -> Awaitable[None]:
        """Wait until `receive_nowait` may have something. To be awaited at once, after that returned None.

        Always a checkpoint. If it is cancelled nothing is lost, unless ``cancel_safe`` is False. It takes no bytes,
        and may return too early: the reader asks again. Declared as a plain function that returns an awaitable,
        because it runs once per event and need not be a coroutine.

        Raises:
          APIError: As for `receive_nowait`.
          trio.ClosedResourceError: `close` or `finish` was called, before this call or while it waited.
          trio.BusyResourceError: Another task is already waiting. That one is not disturbed.
          trio.BrokenResourceError: As for `receive_nowait`.
        """

    @enable_ki_protection
    async def receive_some(self) -> bytes:
        """Receive the next bytes of the body. Waits, and so is a checkpoint, only if they have not arrived yet.

        Returns:
          The bytes, or ``b""`` at the end of the body.

        Raises:
          Exception: As for `receive_nowait` and `wait`.
        """
        while (data := self.receive_nowait()) is None:
            await self.wait()
        return data

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection now. Whoever waits on it is woken with `trio.ClosedResourceError`.

        May be called outside of a Trio run.
        """

    @abc.abstractmethod
    def finish(self) -> None:
        """Let go of a body whose message is whole, so that the connection may serve another request.

        Bytes that are still to come (the last chunk) are for the connection's next user to read; nobody waits for
        them here. Where the connection cannot be used again, this is `close`.
        """

    async def aclose(self) -> None:
        """Close, and do what is left of closing that needs ``await``. The default is `close` alone.

        Not a checkpoint, effective even when cancelled, and never waits on the peer.
        """
        self.close()
