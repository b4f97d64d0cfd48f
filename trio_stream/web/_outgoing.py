"""One response on its way out: its head, its frames, its heartbeats, and the clocks over all of them.

What belongs here: when something is sent, and noticing that nothing is taken any more. What does not: what is sent (the
encoders), and what becomes of an answer that nobody reads (`_relay`, `_hub`).

The states, and what leads from one to the next::

    WAITING ──first frame, or head_after──▶ OPEN ──end──▶ ENDING
       └───────────────────refuse, end──────────────────────▲

A send that fails or is cancelled leads to BROKEN from anywhere: how much of it has gone out is not known, so nothing
more can be sent, and the host has to cut the response.

Sends happen in the task that has something to send, because waking another task for each would cost as much as sending.
There is never more than one at a time: `_busy` is the lock. A clock that has to send, a heartbeat for example, starts a
task for it; the task that keeps the time never waits for the peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, final

import msgspec
import trio

from ._asgi import Send
from ._encoder import Encoder, Frames
from ._failure import Failure

Gone: TypeAlias = Literal["disconnected", "not_reading"]
"""Why nobody reads a response any more."""

_MOST_AT_ONCE: Final = 1 << 20
"""Bytes in one send. More of them would look like no progress to `send_timeout`, on a slow line."""

_COMMON_HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""For what stands between: do not keep it, do not compress it (which collects it), do not collect it (nginx)."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When something is sent, and how long the peer may take nothing. All in seconds; None is never.

    Args:
      heartbeat: Silence after which a heartbeat is sent.
      head_after: The longest wait for the first event: then the head is sent without it.
      send_timeout: The longest wait for the peer to take what is sent.
      max_delay: How long a frame may wait for others to be sent with it.
    """

    heartbeat: float | None = 15.0
    head_after: float | None = 5.0
    send_timeout: float | None = 30.0
    max_delay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no time.

        Raises:
          ValueError: It is not.
        """
        for name in ("heartbeat", "send_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} is a number of seconds above 0, or None for never, not {seconds!r}")
        if self.head_after is not None and not self.head_after >= 0:
            raise ValueError(f"head_after is a number of seconds, or None for never, not {self.head_after!r}")
        if not self.max_delay >= 0:
            raise ValueError(f"max_delay is a number of seconds, not {self.max_delay!r}")


def head_of(encoder: Encoder) -> dict[str, str]:
    """The headers of a response that streams."""
    return {**encoder.headers, **_COMMON_HEADERS}


class _State(Enum):
    WAITING = "nothing has been sent"
    OPEN = "the head has been sent"
    ENDING = "the last of it has been handed to `send`"
    BROKEN = "a send failed or was cancelled"


@final
class Outgoing:
    """One response on its way out.

    Args:
      send: The host's.
      encoder: Says which headers and heartbeats are the right ones.
      pace: The clocks.
      on_gone: Called when nobody reads the response any more: at once, and in any task.
      prefix: Frames that are sent with the head.
      sends_head: Whether the head is sent here. If not, the host has sent it.
    """

    def __init__(
        self,
        send: Send,
        encoder: Encoder,
        pace: Pace,
        *,
        on_gone: Callable[[Gone], None],
        prefix: Frames = (),
        sends_head: bool = True,
    ) -> None:
        self._send = send
        self._encoder = encoder
        self._pace = pace
        self._on_gone = on_gone
        self._prefix = prefix
        self._state = _State.WAITING if sends_head else _State.OPEN
        self._frames: list[bytes] = [] if sends_head else [*prefix]  # that have not been handed to `send`
        self._bytes = 0  # of them, about
        self._busy = False  # something is being sent
        self._free = trio.lowlevel.ParkingLot()  # waits until it is not
        # The clocks, by Trio's time; inf: not running.
        self._began_at = self._last_sent_at = trio.current_time()
        self._sending_since = math.inf
        self._flush_at = math.inf
        self._nap = trio.CancelScope()

    @property
    def is_ending(self) -> bool:
        """Whether the last of the response has been handed to the host.

        Whatever is heard of the peer from then on does not matter. Hypercorn says ``http.disconnect`` while it ends a
        response, and a task that is cancelled there leaves the socket open for good.
        """
        return self._state is _State.ENDING

    # Sending.

    def add(self, frames: Iterable[bytes]) -> None:
        """Add frames that `flush` will send."""
        for frame in frames:
            self._frames.append(frame)
            self._bytes += len(frame)

    def add_first(self, frames: Iterable[bytes]) -> None:
        """Add frames that are no reason to send the head: if it has not been sent, they go with it."""
        if self._state is _State.WAITING and not self._frames:
            self._prefix = [*self._prefix, *frames]
        else:
            self.add(frames)

    async def flush(self) -> None:
        """Send what was added; or see that it is sent within ``max_delay``, and wait until nothing is being sent.

        So whoever calls it goes on as fast as the peer reads. A cancellation point. If it is cancelled while it sends,
        the response is broken.

        Raises:
          trio.BrokenResourceError: The response is broken.
        """
        if not self._frames:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        pace = self._pace
        if pace.max_delay and self._state is _State.OPEN and self._bytes < _MOST_AT_ONCE:
            if self._flush_at == math.inf:
                self._flush_at = trio.current_time() + pace.max_delay
                self._wake_at(self._flush_at)
            await trio.lowlevel.checkpoint_if_cancelled()
            while self._busy:
                await self._free.park()
            return
        await self._take_turn()
        try:
            if self._frames:  # another task may have sent them meanwhile
                await self._send_frames(last=False)
        finally:
            self._give_turn()

    async def end(self, frames: Frames = ()) -> None:
        """Send what was added and these frames, and end the response.

        A cancellation point.

        Raises:
          trio.BrokenResourceError: The response is broken.
        """
        await self._take_turn()
        try:
            self.add(frames)
            await self._send_frames(last=True)
        finally:
            self._give_turn()

    async def fail(self, failure: Failure) -> None:
        """End the response with a failure: an error as the status, if nothing was said yet.

        A cancellation point.

        Raises:
          trio.BrokenResourceError: The response is broken.
        """
        if not await self.refuse(failure):
            await self.end(self._encoder.error(failure))

    async def refuse(self, failure: Failure) -> bool:
        """Make a failure the status of the response, unless it has begun. A cancellation point.

        Returns:
          Whether it was possible.
        """
        await self._take_turn()
        try:
            possible = self._state is _State.WAITING and not self._frames
            if possible:
                await self._refuse(failure)
        finally:
            self._give_turn()
        return possible

    async def _refuse(self, failure: Failure) -> None:
        content_type, body = self._encoder.refusal(failure)
        headers = {"content-type": content_type, "content-length": str(len(body)), **_COMMON_HEADERS}
        if failure.retry_after is None:
            # The API's own TypeScript client would ask again after any 5xx.
            headers["x-should-retry"] = "false"
        else:
            headers["retry-after"] = str(failure.retry_after)
        await self._send_head(failure.status, headers)
        await self._send_body(body, last=True)

    async def _take_turn(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._busy:
            await self._free.park()
        if self._state is _State.BROKEN:
            raise trio.BrokenResourceError("a send of this response failed or was cancelled, so it cannot go on")
        if self._state is _State.ENDING:
            raise RuntimeError("this response has ended: there is nothing to be sent any more")
        self._busy = True

    def _give_turn(self) -> None:
        self._busy = False
        self._free.unpark_all()

    async def _send_frames(self, *, last: bool) -> None:
        """Send everything that was added, in as few sends as can be."""
        if self._state is _State.WAITING:
            await self._send_head(200, head_of(self._encoder))
            self._frames[:0] = self._prefix
        data = b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._flush_at = math.inf
        while len(data) > _MOST_AT_ONCE:
            await self._send_body(data[:_MOST_AT_ONCE], last=False)
            data = data[_MOST_AT_ONCE:]
        await self._send_body(data, last=last)

    async def _send_head(self, status: int, headers: dict[str, str]) -> None:
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._state = _State.OPEN
        await self._hand_over({"type": "http.response.start", "status": status, "headers": fields})

    async def _send_body(self, data: bytes, *, last: bool) -> None:
        if last:
            self._state = _State.ENDING
        await self._hand_over({"type": "http.response.body", "body": data, "more_body": not last})

    async def _hand_over(self, message: dict[str, Any]) -> None:
        self._sending_since = trio.current_time()
        if self._pace.send_timeout is not None:
            self._wake_at(self._sending_since + self._pace.send_timeout)
        try:
            await self._send(message)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # ASGI: "If send is called on a closed connection the server should raise an OSError".
            if self.is_ending:
                return
            self._state = _State.BROKEN
            self._on_gone("disconnected")
            await trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC120 - then that is what happened
            raise trio.BrokenResourceError("the peer of this response is gone") from error
        except BaseException:
            if not self.is_ending:
                self._state = _State.BROKEN
            raise
        finally:
            self._sending_since = math.inf
        self._last_sent_at = trio.current_time()
        self._wake_at(self._due_at())  # the time may have been kept for the send alone

    # Keeping the time.

    async def keep_time(self, nursery: trio.Nursery) -> None:
        """Send the head, heartbeats and what has waited for ``max_delay``, and notice that the peer takes nothing.

        Runs until it is cancelled, or until nothing is to be done any more.

        Args:
          nursery: For the tasks that send.
        """
        while self._state in (_State.WAITING, _State.OPEN):
            now = trio.current_time()
            due = self._due_at()
            if now >= due:
                if self._sending_since < math.inf:
                    self._on_gone("not_reading")
                    return
                nursery.start_soon(self._send_what_is_due, name="trio_stream web send")
                due = math.inf  # until that task has run
            with trio.CancelScope(deadline=due) as self._nap:
                await trio.sleep_forever()

    def _wake_at(self, moment: float) -> None:
        """Have `keep_time` look again at a moment. Usually it finds that nothing is due any more, and sleeps on."""
        if moment < self._nap.deadline:
            self._nap.deadline = moment

    def _due_at(self) -> float:
        """The next moment at which something is to be sent, or what is being sent has taken too long."""
        pace = self._pace
        if self._sending_since < math.inf:
            return math.inf if pace.send_timeout is None else self._sending_since + pace.send_timeout
        if self._state is _State.WAITING:
            return math.inf if pace.head_after is None else self._began_at + pace.head_after
        idle = math.inf if pace.heartbeat is None else self._last_sent_at + pace.heartbeat
        return min(idle, self._flush_at)

    async def _send_what_is_due(self) -> None:
        if self._busy or self._state not in (_State.WAITING, _State.OPEN) or trio.current_time() < self._due_at():
            self._wake_at(trio.current_time())
            return
        self._busy = True
        try:
            if not self._frames:
                self.add((self._encoder.heartbeat,))
            await self._send_frames(last=False)
        finally:
            self._give_turn()
            self._wake_at(trio.current_time())
