"""The contract between whoever brings the bytes of an answer and the stream that reads them.

What belongs here: what reading and closing mean. What does not: how it is done; `_connection` does it for our
own sockets, `_foreign_body` for other httpx transports, `trio_stream.testing` in memory.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable

from trio.lowlevel import enable_ki_protection

BODY_EXTENSION = "trio_stream.body"
"""The key of `httpx.Response.extensions` under which a transport hands over a `ResponseBody`."""


class ResponseBody(abc.ABC):
    """The bytes of one answer, and the ownership of the connection they come on.

    Exactly one of `finish` and `close` decides what becomes of the connection; the first call wins and later
    ones do nothing. Both are plain calls: whoever holds the body can let go of it at any point, cancelled or not.
    """

    __slots__ = ()

    cancel_safe: bool = True
    """False where a cancelled `wait` breaks the body (transports that are not ours)."""

    drained: bool = False
    """True where it is known that `receive_nowait` would return None: it need not be asked."""

    @abc.abstractmethod
    def receive_nowait(self) -> bytes | None:
        """Receive the next bytes of the body, if they have arrived.

        Returns:
          The bytes; ``b""`` at the end of the body as HTTP frames it (again at every later call); None when it is
          time to `wait`.

        Raises:
          IncompleteStreamError: The connection or its framing ended before the body did.
          APIConnectionError: The connection failed (reset).
          trio.ClosedResourceError: `close` or `finish` was called.
          trio.BrokenResourceError: An earlier `wait` was cancelled and this body is not ``cancel_safe``.
        """

    @abc.abstractmethod
    def wait(self) -> Awaitable[None]:
        """Wait until `receive_nowait` may have more. To be awaited at once, after that returned None.

        Always a checkpoint. If it is cancelled nothing is lost. No coroutine where one can be done without: it is on
        the path of every event.

        Raises:
          APIError: As `receive_nowait`.
          trio.ClosedResourceError: `close` or `finish` was called, also while this call waited.
          trio.BusyResourceError: Another task is already waiting.
          trio.BrokenResourceError: As `receive_nowait`.
        """

    @enable_ki_protection
    async def receive_some(self) -> bytes:
        """Receive the next bytes of the body. Waits, and so is a checkpoint, only if they have not arrived yet.

        Returns:
          The bytes, or ``b""`` at the end of the body.

        Raises:
          Exception: As `receive_nowait` and `wait`.
        """
        while (data := self.receive_nowait()) is None:
            await self.wait()
        return data

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection now, and wake whoever waits on it with `trio.ClosedResourceError`."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Let go of a body whose message is whole: the connection may serve another request.

        Bytes that are still to come (the last chunk) are the next user's to read; nobody waits for them here.
        """

    async def aclose(self) -> None:
        """Do what is left of closing that needs `await`. Never waits on the peer; not a checkpoint."""
        self.close()
