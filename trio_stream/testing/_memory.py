"""A scripted answer that is handed over in memory, without threads, sockets or tasks.

What belongs here: waiting until the bytes of a timeline are due, and closing. What does not: what is due (`_timeline`),
which script answers which request (`_scripted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

import trio

from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream._http import ResponseBody, httpx
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._timeline import AnswerHead, Cut, Data, Moment, Wait

_MOST = 65_536
"""About how many bytes one read returns at most. A read of a socket is bounded too, and a script may be endless."""


class ConnectionCut(Exception):  # noqa: N818 - part of a script, not a mistake
    """The script ends the connection before the head of the answer."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset


@final
class ScriptedBody(ResponseBody):
    """The bytes of one scripted answer, each handed over when it is due.

    Times count from the arrival of the request, because a server does not wait for its reader either: a slow reader
    finds everything that has become due in the meantime.
    """

    # `_moments` is read only in `receive_nowait`, up to the first moment that is not due; `_due` is the time of that
    # one. So `wait` has nothing to undo when it is cancelled.
    # `_end` is None until the timeline is used up; then it says how: "clean", "cut", "reset", or the exception that a
    # mistake in the script raised.
    # `_closing` is set by the first `close` or `finish`, whether or not the end was reached.

    __slots__ = ("_busy", "_closing", "_done", "_due", "_end", "_moments", "_request")

    def __init__(
        self, moments: Iterator[Moment], *, due: float, request: RecordedRequest, done: Callable[[], None]
    ) -> None:
        self._moments = moments
        self._due = due
        self._request = request
        self._done = done
        self._busy = False
        self._closing = trio.Event()
        self._end: str | BaseException | None = None

    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`: everything that is due by now."""
        if self._busy:
            raise trio.BusyResourceError("another task is already receiving from this answer")
        if self._closing.is_set():
            raise trio.ClosedResourceError("this answer was closed")
        data = self._take_due(trio.current_time())
        if data:
            return data
        return None if self._end is None else self._ended(self._end)

    async def wait(self) -> None:
        """As `ResponseBody.wait`: until the next bytes are due."""
        if self._busy:
            raise trio.BusyResourceError("another task is already receiving from this answer")
        self._busy = True
        try:
            # The timeline is not touched while waiting: a cancelled wait loses nothing.
            with trio.CancelScope(deadline=self._due):
                await self._closing.wait()
        finally:
            self._busy = False
        if self._closing.is_set():
            raise trio.ClosedResourceError("this answer was closed")

    def close(self) -> None:
        """As `ResponseBody.close`. The request is recorded as closed by the client."""
        self._let_go("close")

    def finish(self) -> None:
        """As `ResponseBody.finish`. The request is recorded as finished."""
        self._let_go("finish")

    @property
    def ended(self) -> bool:
        """Whether everything has been handed over, or the answer was cut."""
        return self._end is not None

    def _take_due(self, now: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while self._end is None and self._due <= now and size < _MOST:
            try:
                moment = next(self._moments, None)
            except Exception as error:
                # A mistake in the script itself: never to be taken for a clean end.
                self._end = error
                raise
            if isinstance(moment, Data):
                parts.append(moment.data)
                size += len(moment.data)
            elif isinstance(moment, Wait):
                self._due += moment.seconds
            elif isinstance(moment, Cut):
                self._end = "reset" if moment.reset else "cut"
            else:
                self._end = "clean"
        return b"".join(parts)

    def _ended(self, end: str | BaseException) -> bytes:
        if isinstance(end, BaseException):
            raise end
        self._request.complete = True
        if end == "reset":
            raise APIConnectionError("the connection was reset", may_have_been_accepted=True)
        if end == "cut":
            raise IncompleteStreamError("the connection was closed before the answer ended")
        return b""

    def _let_go(self, how: str) -> None:
        if self._closing.is_set():
            return
        if how == "finish":
            self._request.closed_by = "finish"
            self._request.complete = True
        else:
            self._request.closed_by = "close"
        try:
            self._request.closed_at = trio.current_time()
        except RuntimeError:  # closed after trio's run
            self._request.closed_at = None
        self._closing.set()
        self._done()


@final
class BodyStream(httpx.AsyncByteStream):
    """The same body for a plain ``httpx.AsyncClient``, which knows nothing of `ResponseBody`."""

    def __init__(self, body: ScriptedBody) -> None:
        self._body = body

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._body.receive_some()
        except APIConnectionError as error:
            raise httpx.ReadError(error.message) from error
        except IncompleteStreamError as error:
            raise httpx.RemoteProtocolError(error.message) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Finish the answer if it has ended, otherwise close it. Not a checkpoint."""
        if self._body.ended:
            self._body.finish()
        else:
            self._body.close()


async def wait_for_head(moments: Iterator[Moment], since: float) -> tuple[AnswerHead, float]:
    """Wait until the head of an answer is due. A checkpoint; if it is cancelled, the answer is of no further use.

    Returns:
      The head, and the time at which it was due.

    Raises:
      ConnectionCut: The script ends the connection before the head.
    """
    due = since
    await trio.lowlevel.checkpoint()
    while True:
        moment = next(moments)
        if isinstance(moment, Wait):
            due += moment.seconds
            if due > trio.current_time():
                await trio.sleep_until(due)
        elif isinstance(moment, Cut):
            raise ConnectionCut(reset=moment.reset)
        else:
            assert isinstance(moment, AnswerHead)
            return moment, due
