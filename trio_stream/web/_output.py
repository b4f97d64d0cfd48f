"""`Output`: what a program says in one response.

What belongs here: which events of which sources are said, and in which order. What does not: encoding them (the
encoders), and sending or keeping them (`_relay`, `_hub`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias, cast, final, get_args

import trio

from trio_stream._protocol import (
    HELPER_EVENTS,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageStartEvent,
    MessageStopEvent,
    RawContentBlockStopEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
)
from trio_stream._stream import EventStream, MessageStream
from trio_stream.agent import NestedEvent, Run, RunEvent

from ._encoder import RelayedEvent

Source: TypeAlias = MessageStream[Any] | EventStream | Run
"""Whatever gives the events of an answer."""

_HELPERS: Final = frozenset(HELPER_EVENTS.values())
_RELAYED: Final = frozenset(get_args(RelayedEvent))

_MOST_IN_A_ROW: Final = 500
"""Events of which none had to be waited for, after which what they say is sent: about a millisecond."""


class Sink(Protocol):
    """Takes what an answer says: a response, or the log of a hub."""

    wants_data: bool

    def event(self, event: RelayedEvent, data: bytes | None) -> None:
        """Take an event. Never waits."""

    def data(self, value: Mapping[str, Any]) -> None:
        """Take something that the program says itself. Never waits."""

    async def flush(self) -> None:
        """Go on when what was taken is on its way. A cancellation point."""


@final
class Output:
    """What your function says in one response: ``async def answer(out: web.Output)``.

    It is made for you, by `Relay` and `Hub`. When the function returns, the response ends; when it raises an
    `APIError`, the response tells the failure; any other exception cuts it, so that nobody takes it for complete.

    Attributes:
      stream: The stream, or run, that was relayed last; None before the first.
    """

    __slots__ = ("_relayed", "_sink", "_unfinished", "stream")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._relayed: MessageStream[Any] | EventStream | None = None  # while it is being read
        self._unfinished: Source | None = None
        self.stream: Source | None = None

    async def relay(self, stream: Source) -> None:
        """Say everything that a stream says, to its end. Of a run, all its turns.

        ::

            async with client.messages.stream(...) as stream:
                await out.relay(stream)

        The stream is read as fast as the peer reads. If the peer goes away, the stream is closed at once, even where
        this call cannot be cancelled because the host is sending.

        A cancellation point.

        Args:
          stream: The stream, within its block.

        Raises:
          APIError: As `MessageStream.receive`, after everything that came before it has been said.
          trio.BusyResourceError: Another stream is being relayed. Protocols have no place for two at once.
          TypeError: It is neither a stream nor a run.
        """
        await self.relay_without_flush(stream)
        await self._sink.flush()

    async def emit(self, event: RunEvent | Mapping[str, Any]) -> None:
        """Say one event, of a run for example; or something of your own.

        ::

            async with chat.run("Compare the two.") as run:
                async for event in run:
                    if event.type != "approval":
                        await out.emit(event)

        A cancellation point.

        Args:
          event: The event. Helper events (``text``, ``thinking``...) say what the delta before them said, and are left
            out. A mapping with a ``type`` is something of your own, such as ``{"type": "data-weather", "data": ...}``.

        Raises:
          ValueError: The protocol has no way to say it.
          TypeError: It is no such event, or is not JSON.
        """
        if isinstance(event, Mapping):
            self._sink.data(event)
        else:
            self._say(event)
        await self._sink.flush()

    # For those who made it.

    async def relay_without_flush(self, stream: Source) -> None:
        """As `relay`, but what came last may still have to be flushed: the end of the response can go with it."""
        _check_source(stream)
        if self._relayed is not None:
            raise trio.BusyResourceError("another stream is being relayed: protocols have no place for two at once")
        self.stream = self._unfinished = stream
        if isinstance(stream, Run):
            await self._relay_run(stream)
            return
        if self._sink.wants_data:
            stream.keep_raw_data()
        self._relayed = stream
        try:
            await self._relay_stream(stream)
        finally:
            self._relayed = None

    def close_now(self) -> None:
        """Close the stream that is being relayed, at once."""
        if self._relayed is not None:
            self._relayed.close_now()

    @property
    def stopped(self) -> str | None:
        """Why what was relayed last was stopped before its end; None if it was not."""
        source = self._unfinished
        return source.reason if isinstance(source, Run) else None if source is None else source.cancel_reason

    async def _relay_stream(self, stream: MessageStream[Any] | EventStream) -> None:
        whole = _WholeStops(stream) if isinstance(stream, EventStream) else None
        try:
            while True:
                self._take(await stream.receive(), stream, whole)
                with contextlib.suppress(trio.WouldBlock):
                    for _ in range(_MOST_IN_A_ROW):
                        self._take(stream.receive_nowait(), stream, whole)
                await self._sink.flush()
        except trio.EndOfChannel:
            self._unfinished = None
        except trio.ClosedResourceError:
            # `close_now`, for which the task is cancelled in the same moment.
            await trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC120 - then that is what happened
            raise

    def _say(self, event: RunEvent) -> None:
        """Say an event, unless it is a helper event, or in the end nests one."""
        inner: object = event
        while isinstance(inner, NestedEvent):
            inner = inner.event
        if type(inner) in _RELAYED:
            self._sink.event(cast("RelayedEvent", event), None)
        elif type(inner) not in _HELPERS:
            raise TypeError(f"an event of a `MessageStream` or of a run can be said, or a mapping, not {event!r}")

    def _take(self, event: Any, stream: MessageStream[Any] | EventStream, whole: _WholeStops | None) -> None:
        """Take an event of a stream."""
        if type(event) not in _HELPERS:
            self._sink.event(event if whole is None else whole.made(event), stream.raw_data)

    async def _relay_run(self, run: Run) -> None:
        async for event in run:
            self._say(event)
            with contextlib.suppress(trio.WouldBlock):
                for _ in range(_MOST_IN_A_ROW):
                    self._say(run.receive_nowait())
            await self._sink.flush()
        if run.outcome not in ("interrupted", "cancelled"):
            self._unfinished = None


def _check_source(source: object) -> None:
    if not isinstance(source, (MessageStream, EventStream, Run)):
        raise TypeError(f"what is relayed is a stream or a run, within its `async with` block, not {source!r}")


@final
class _WholeStops:
    """Gives the stop events of an `EventStream` what those of a `MessageStream` have: the block, and the message."""

    __slots__ = ("_indices", "_stream")

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._indices: list[int] = []  # of the blocks, in the order in which they started

    def made(self, event: RawMessageStreamEvent) -> RelayedEvent:
        partial = self._stream.partial
        if isinstance(event, MessageStartEvent):
            self._indices = list(range(len(event.message.content)))
        elif isinstance(event, ContentBlockStartEvent):
            self._indices.append(event.index)
        elif isinstance(event, RawContentBlockStopEvent) and partial is not None and event.index in self._indices:
            place = len(self._indices) - 1 - self._indices[::-1].index(event.index)
            return ContentBlockStopEvent(event.index, partial.content[place], extra=event.extra)
        elif isinstance(event, RawMessageStopEvent) and partial is not None:
            return MessageStopEvent(partial, extra=event.extra)
        return cast("RelayedEvent", event)
