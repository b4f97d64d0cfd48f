"""A host of ASGI applications in memory, with a peer that reads, does not read, or goes away when a test wants it to.

What belongs here: how a host behaves towards an application, Hypercorn's oddities included. What does not: real hosts
(`hosts`), and what an application should do (the tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from trio_stream import web
from trio_stream.web._asgi import Application

SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/",
    "headers": [],
}


class Peer:
    """One request of somebody, and what it got.

    Args:
      shielded: Whether the host shields `send` from cancellation, as Hypercorn does.
      closes_loudly: Whether `send` raises OSError once the peer is gone, as ASGI recommends.

    Attributes:
      sends: The body of each send that had one.
      sent_at: When it was taken, in seconds from the beginning.
      window: Messages that the peer still takes before it stops reading; None: any number.
      status, headers: The head; 0 before it came.
      ended: Whether the response has ended as it should.
      failed: What the application raised, if it did: the host cuts the response then.
      sending: How many calls of `send` have not returned, at most.
    """

    def __init__(self, *, shielded: bool = False, closes_loudly: bool = False) -> None:
        self.shielded = shielded
        self.closes_loudly = closes_loudly
        self.status = 0
        self.headers: dict[str, str] = {}
        self.sends: list[bytes] = []
        self.sent_at: list[float] = []
        self.began_at = trio.current_time()
        self.ended = False
        self.failed: BaseException | None = None
        self.window: int | None = None
        self.sending = self.most_sending = 0
        self._gone = trio.Event()
        self._reads = trio.Event()
        self._body_given = False
        self.came = trio.Event()  # something has arrived

    def elapsed(self, moment: float | None = None) -> float:
        """Seconds from the beginning to a moment, or to now; whole where a mock clock has added them up."""
        return round((trio.current_time() if moment is None else moment) - self.began_at, 6)

    @property
    def body(self) -> bytes:
        return b"".join(self.sends)

    def disconnect(self) -> None:
        """Go away."""
        self._gone.set()
        self.read_on()

    def read_on(self) -> None:
        """Read everything from now on."""
        self.window = None
        self._reads.set()

    async def run(self, app: Application) -> None:
        """Serve the application to this peer, until it returns."""
        try:
            await app(SCOPE, self._receive, self._send)
        except Exception as exc:  # noqa: BLE001 - as a host does
            self.failed = exc

    @property
    def was_cut(self) -> bool:
        """Whether the peer sees that the response did not end."""
        return self.status != 0 and not self.ended

    async def _receive(self) -> dict[str, Any]:
        if not self._body_given:
            self._body_given = True
            return {"type": "http.request", "body": b"{}", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        assert not self.ended, "a message after the last one"
        self.sending += 1
        self.most_sending = max(self.most_sending, self.sending)
        try:
            if self.shielded:
                with trio.CancelScope(shield=True):
                    await self._take(message)
            else:
                await self._take(message)
        finally:
            self.sending -= 1

    async def _take(self, message: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        while self.window == 0:
            self._reads = trio.Event()
            await self._reads.wait()
        if self.window is not None:
            self.window -= 1
        if self._gone.is_set():
            if self.closes_loudly:
                raise OSError("the peer is gone")
            return
        if message["type"] == "http.response.start":
            assert self.status == 0
            self.status = message["status"]
            for name, value in message["headers"]:
                assert name == name.lower()
                assert name.decode() not in self.headers
                self.headers[name.decode()] = value.decode()
            return
        assert message["type"] == "http.response.body"
        assert self.status
        if message["body"]:
            self.sends.append(message["body"])
            self.sent_at.append(self.elapsed())
            self.came.set()
        self.ended = not message.get("more_body", False)


class Starting:
    """An encoder that begins and ends every answer with a frame of its own, and does not hand on bytes."""

    def __init__(self) -> None:
        self._inner = web.Anthropic()
        self.headers = {**self._inner.headers, "x-starting": "yes"}
        self.numbered = True
        self.wants_data = False
        self.heartbeat = b": \n\n"

    def start(self) -> web.Frames:
        return (b"event: begin\ndata: {}\n\n",)

    def event(self, event: web.RelayedEvent, data: bytes | None) -> web.Frames:
        assert data is None
        return self._inner.event(event, None)

    def data(self, value: Mapping[str, Any]) -> web.Frames:
        return self._inner.data(value)

    def end(self) -> web.Frames:
        return (*self._inner.end(), b"event: over\ndata: {}\n\n")

    def error(self, failure: web.Failure) -> web.Frames:
        return self._inner.error(failure)

    def abort(self, reason: str) -> web.Frames:
        return self._inner.abort(reason)

    def refusal(self, failure: web.Failure) -> tuple[str, bytes]:
        return "text/plain", failure.message.encode()

    def renew(self) -> web.Encoder:
        return Starting()
