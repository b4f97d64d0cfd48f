"""The contract between whoever brings the bytes of an answer and the stream that reads them.

What belongs here: what reading and closing mean. What does not: how it is done; `_connection` does it for our
own sockets, `_adapter` for other httpx transports, `trio_stream.testing` in memory.
"""

from __future__ import annotations

import abc

BODY_EXTENSION = "trio_stream.body"
"""The key of `httpx.Response.extensions` under which a transport hands over a `ResponseBody`."""


class ResponseBody(abc.ABC):
    """The bytes of one answer, and the ownership of the connection they come on.

    Exactly one of `finish` and `close` decides what becomes of the connection; the first call wins and later
    ones do nothing. Both are plain calls: whoever holds the body can let go of it at any point, cancelled or not.
    """

    __slots__ = ()

    cancel_safe: bool = True
    """False where a cancelled `receive_some` breaks the body (transports that are not ours)."""

    waited: bool = False
    """Whether the last `receive_some` had to wait, and so was a schedule point."""

    @abc.abstractmethod
    async def receive_some(self) -> bytes:
        """Receive the next bytes of the body.

        Waits, unless bytes are known to have arrived. If the wait is cancelled nothing is lost: the next call returns
        the bytes this one was waiting for.

        Returns:
          The bytes, or ``b""`` at the end of the body as HTTP frames it (again at every later call).

        Raises:
          IncompleteStreamError: The connection or its framing ended before the body did.
          APIConnectionError: The connection failed (reset).
          trio.ClosedResourceError: `close` or `finish` was called, also while this call waited.
          trio.BusyResourceError: Another task is already in this call.
          trio.BrokenResourceError: An earlier call was cancelled and this body is not ``cancel_safe``.
        """

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
