"""The streams of this room: what programs see of one answer.

What belongs here: names, as the asynchronous streams have them. What does not: taking events (`_reading`), the views
(`_views`), and making requests (`_messages`, `_batches`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, final, overload

import trio

import trio_stream as ts
from trio_stream._errors import APIError, IncompleteStreamError
from trio_stream._protocol import MessageStopReason, RateLimits
from trio_stream._response import ResponseInfo
from trio_stream._schemas import OutputType
from trio_stream._stats import StreamStats
from trio_stream._stream import text_of
from trio_stream.types import Message, MessageBatchIndividualResponse, MessageStreamEvent, RawMessageStreamEvent, Usage
from trio_stream.web import Describe, Encoder

from ._frames import Frames
from ._home import Home
from ._loop import Loop
from ._reading import TEXTS, THINKINGS, Reading
from ._views import PieceView, TextChunks

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    OutputT_co = TypeVarWithDefault("OutputT_co", default=Any, covariant=True)
else:
    OutputT_co = TypeVar("OutputT_co", covariant=True)

EventT_co = TypeVar("EventT_co", covariant=True)
AsyncMessageT = TypeVar("AsyncMessageT", bound=ts.MessageStream[Any] | ts.EventStream)
AsyncStreamT = TypeVar("AsyncStreamT", bound=ts.MessageStream[Any] | ts.EventStream | ts.BatchResults)
T = TypeVar("T")

_HOW_TO = "use `with client.messages.stream(...) as stream:` and then `stream`"


class _StreamBase(Iterator[EventT_co], Generic[EventT_co, AsyncStreamT]):
    """An answer on its way, for threads."""

    __slots__ = ("_reading",)

    def __init__(self, reading: Reading[AsyncStreamT]) -> None:
        self._reading = reading

    # Receiving.

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventT_co:
        """Receive the next event of this message, or the next line of these results.

        As `trio_stream.MessageStream.receive`, in a thread. If it is interrupted nothing is lost: the next call returns
        the event that this one was waiting for.

        Raises:
          StopIteration: After ``message_stop`` or the last line.
          APIError: The stream's error, with what was received before on ``.partial``.
          trio.ClosedResourceError: This stream was closed or left by this program.
          trio.BusyResourceError: Another thread is already waiting here.
          RuntimeError: In a task of Trio; or in a process that was forked since the stream was opened.
        """
        reading = self._reading
        event: EventT_co
        while True:
            for event in reading.feed.batch.ready:
                return event
            try:
                self._wait()
            except trio.EndOfChannel:
                raise StopIteration from None

    def _wait(self) -> None:
        self._reading.wait()

    def receive(self) -> EventT_co:
        """As ``next(stream)``.

        Raises:
          trio.EndOfChannel: After ``message_stop`` or the last line.
          Exception: As ``next(stream)``.
        """
        for event in self:
            return event
        raise trio.EndOfChannel

    def receive_nowait(self) -> EventT_co:
        """Receive the next event if it can be had without waiting for the API.

        Raises:
          trio.WouldBlock: Nothing has arrived.
          trio.EndOfChannel: After ``message_stop`` or the last line.
          Exception: As ``next(stream)``.
        """
        reading = self._reading
        event: EventT_co
        for event in reading.feed.batch.ready:
            return event
        reading.wait(0)
        for event in reading.feed.batch.ready:
            return event
        if reading.end is not None:
            raise reading.end
        raise trio.WouldBlock

    # Ending.

    def close(self) -> None:
        """Close this stream and its connection, from any thread.

        A thread that waits for the next event gets `trio.ClosedResourceError`. Never waits on the peer.
        """
        self._reading.close()

    # What can be read at any time, also after the block.

    @property
    def request_id(self) -> str | None:
        """The API's ``request-id`` of this answer."""
        return None if self._stream is None else self._stream.request_id

    @property
    def response(self) -> ResponseInfo:
        """The head of the HTTP answer.

        Raises:
          RuntimeError: There is none: the stream was not entered, or opening it failed.
        """
        if self._stream is None:
            raise RuntimeError("there is no response: the stream has not been opened")
        return self._stream.response

    @property
    def rate_limits(self) -> RateLimits | None:
        """What the answer's ``anthropic-ratelimit-*`` headers say; None before it arrived."""
        return None if self._stream is None else self._stream.rate_limits

    @property
    def stats(self) -> StreamStats:
        """Timings and counts up to now. They are of what has been read, a little ahead of the event in hand."""
        return StreamStats() if self._stream is None else self._stream.stats

    @property
    def _stream(self) -> AsyncStreamT | None:
        return self._reading.feed.stream


class _MessageBase(_StreamBase[EventT_co, AsyncMessageT], Generic[EventT_co, AsyncMessageT]):
    """A message on its way, for threads."""

    __slots__ = ()

    def until_done(self) -> None:
        """Read the stream to its end.

        If it is interrupted nothing is lost.

        Raises:
          APIError: As ``next(stream)``.
        """
        try:
            while True:
                self._reading.feed.batch.take_all()
                self._wait()
        except trio.EndOfChannel:
            return

    @property
    def message(self) -> Message:
        """The whole message, once ``message_stop`` came.

        Raises:
          APIError: The error this stream ended with; `IncompleteStreamError` where it was left or closed early,
            or is not at its end yet (see `partial`).
        """
        whole = self._whole()
        if whole is not None:
            return whole
        end = self._reading.end
        if isinstance(end, APIError):
            raise end
        if end is not None or self._reading.closed:
            sentence = "the stream was left before message_stop: see .partial"
        else:
            sentence = "the message is not complete yet: read on, or see .partial"
        raise IncompleteStreamError(sentence, partial=self.partial, request_id=self.request_id)

    def _whole(self) -> Message | None:
        """The message, if its last event was taken: then it is that of the asynchronous stream."""
        message, stream = self._reading.message(), self._stream
        return None if message is None or stream is None or not message.complete else stream.message

    @property
    def partial(self) -> Message | None:
        """The message as far as it has been read; None before ``message_start``."""
        message = self._reading.message()
        return self._whole() or (None if message is None else message.snapshot())

    @property
    def text(self) -> str:
        """The text of the message as far as it has been read, all text blocks joined."""
        message = self._reading.message()
        return "" if message is None else message.text

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before ``message_start``. Final with ``message_stop``."""
        message = self._reading.message()
        return None if message is None or not message.started else message.usage

    @property
    def stop_reason(self) -> MessageStopReason | None:
        """Why the model stopped; None until it did."""
        message = self._reading.message()
        return None if message is None else message.stop_reason


@final
class MessageStream(_MessageBase[MessageStreamEvent, ts.MessageStream[Any]], Generic[OutputT_co]):
    """A message on its way, as ``client.messages.stream`` of a blocking client gives it.

    It has what `trio_stream.MessageStream` has, for threads: iterating yields the same events in the same order, and
    the plain attributes are those of the event that was received last. It has no ``nursery`` and no ``cancel``, because
    both are about tasks: `close` ends it from another thread.

    One thread at a time reads; another one that waits for an event at the same time gets `trio.BusyResourceError`.
    """

    __slots__ = ("_text_view", "_thinking_view")

    def __init__(self, reading: Reading[ts.MessageStream[Any]]) -> None:
        super().__init__(reading)
        self._text_view = PieceView(reading, TEXTS)
        self._thinking_view = PieceView(reading, THINKINGS)

    @property
    def text_stream(self) -> PieceView:
        """The text of the message, piece by piece; one view per stream, which goes on where it was left."""
        return self._text_view

    @property
    def thinking_stream(self) -> PieceView:
        """The thinking of the message, piece by piece; one view per stream."""
        return self._thinking_view

    def texts(self) -> PieceView:
        """A new view of the text: what has arrived so far from the start, then what arrives."""
        return PieceView(self._reading, TEXTS)

    def text_chunks(
        self, *, min_chars: int = 1, at_punctuation: bool = False, max_delay: float | None = None
    ) -> TextChunks:
        """A new view of the text, from the start, in pieces of a size that is pleasant to display.

        As `trio_stream.MessageStream.text_chunks`.

        Args:
          min_chars: The least number of characters of a piece.
          at_punctuation: Cut only after the last ``. ! ? ; :`` or line end of what is there.
          max_delay: Seconds a character may wait for company; None: for ever.
        """
        return TextChunks(self._reading, min_chars=min_chars, at_punctuation=at_punctuation, max_delay=max_delay)

    def frames(self, encoder: Encoder, *, heartbeat: float | None = 15.0, describe: Describe | None = None) -> Frames:
        """The body of a response that shows this message in a page: an iterable of bytes for a WSGI server.

        ::

            stream = client.messages.stream(...).__enter__()  # what fails here can become the status of the response
            frames = stream.frames(web.Anthropic())
            return flask.Response(frames, headers=frames.headers)

        It leaves the block of the stream at its end, and when it is closed, which WSGI servers do at the end of each
        response; so the block may be entered by hand. A WSGI server tells of a closed tab only when it writes, so the
        connection to the model outlives the tab by two heartbeats at the most.

        Args:
          encoder: The protocol of the page: one of `trio_stream.web`, new for each answer.
          heartbeat: Seconds of silence after which a frame is given that says nothing. None: never.
          describe: Makes the sentence that the page gets about an `APIError` in the middle of the message. The usual
            one says nothing that the API has written, which may quote the prompt.

        Raises:
          ValueError: ``heartbeat`` is not a number of seconds.
        """
        return Frames(self._reading, encoder, heartbeat=heartbeat, describe=describe)

    def get_final_message(self) -> Message:
        """Read to the end and return the message. After the block, return it if it was complete.

        Raises:
          APIError: As ``next(stream)``; `IncompleteStreamError` when the block was left early.
        """
        if not self._reading.closed:
            self.until_done()
        return self.message

    def get_final_text(self) -> str:
        """Read to the end and return the text, all text blocks joined.

        Raises:
          APIError: As `get_final_message`.
          RuntimeError: The message has no text block, as with the official SDK; `text` is ``""`` then.
        """
        return text_of(self.get_final_message())

    @overload
    def parse(self) -> OutputT_co: ...
    @overload
    def parse(self, output: type[T] | OutputType[T]) -> T: ...
    def parse(self, output: type[Any] | OutputType[Any] | None = None) -> Any:
        """Make a value of the whole message, as `trio_stream.MessageStream.parse`.

        Args:
          output: The type, in place of the one that was asked for.

        Raises:
          OutputParseError: The answer was cut or refused, or does not fit the type.
          APIError: As `message`: the stream failed, or is not at its end.
          TypeError: There is no type to make it of, or it is not one that JSON can be decoded into.
        """
        stream = self._stream
        self.message  # noqa: B018 - raises unless it is complete
        assert stream is not None
        return stream.parse() if output is None else stream.parse(output)

    @property
    def current_message_snapshot(self) -> Message:
        """The message as far as it has been read.

        Raises:
          IncompleteStreamError: Nothing of it has been read yet.
        """
        partial = self.partial
        if partial is None:
            raise IncompleteStreamError("no message_start has been read yet", request_id=self.request_id)
        return partial


@final
class MessageStreamManager(Generic[OutputT_co]):
    """What ``client.messages.stream`` of a blocking client returns: ``with`` it to make the request.

    Nothing happens before it is entered, and one that is never entered leaves nothing behind. Each entry is a
    request of its own.
    """

    def __init__(self, home: Home, loop: Loop, manager: ts.MessageStreamManager[OutputT_co]) -> None:
        self._home = home
        self._loop = loop
        self._manager = manager
        self._entered: list[tuple[int, Reading[ts.MessageStream[Any]]]] = []

    if not TYPE_CHECKING:  # to type checkers a manager has what it has

        def __getattr__(self, name: str) -> NoReturn:
            """Say how a stream is used, where somebody looks for its attributes on this."""
            advice = f": {_HOW_TO}" if hasattr(MessageStream, name) else ""
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{advice}", name=name, obj=self
            )

        def __iter__(self) -> NoReturn:
            """Say how a stream is iterated over."""
            raise TypeError(f"this is not the stream yet: {_HOW_TO}")

    def __enter__(self) -> MessageStream[OutputT_co]:
        """Send the request, and return when the first event other than ``ping`` has arrived.

        Retries happen only here. When it is interrupted or fails, the connection is closed.

        Raises:
          APIError: The last attempt's error.
          RuntimeError: In a task of Trio.
          trio.ClosedResourceError: The client is closed.
        """
        reading: Reading[ts.MessageStream[Any]] = Reading(self._home, self._loop, self._manager, of_message=True)
        try:
            reading.feed.open()
            stream: MessageStream[OutputT_co] = MessageStream(reading)
            self._entered.append((threading.get_ident(), reading))
            return stream
        except BaseException:
            reading.abandon()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connection, or hand it back. Never waits on the peer."""
        if not self._entered:
            raise RuntimeError("this stream was never entered")
        thread = threading.get_ident()
        entry = next((entry for entry in reversed(self._entered) if entry[0] == thread), self._entered[-1])
        entry[1].leave(exc)
        self._entered.remove(entry)


class _OwnManager(_StreamBase[EventT_co, AsyncStreamT], Generic[EventT_co, AsyncStreamT]):
    """A stream that is its own block, and may also be read without one."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Send the request, and return when the first event other than ``ping``, or the first line, has arrived.

        Retries happen only here. When it is interrupted or fails, the connection is closed.

        Raises:
          APIError: The last attempt's error.
          RuntimeError: It has been entered before; or in a task of Trio.
        """
        self._reading.feed.open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connection, or hand it back. Never waits on the peer."""
        self._reading.leave(exc)

    def _wait(self) -> None:
        if self._reading.feed.is_new:
            self._reading.feed.open()
        self._reading.wait()


@final
class EventStream(
    _OwnManager[RawMessageStreamEvent, ts.EventStream], _MessageBase[RawMessageStreamEvent, ts.EventStream]
):
    """The raw events of a message, as ``client.messages.create(stream=True)`` of a blocking client gives them.

    The request goes out when it is entered, or at the first event where it is not: ``for event in stream`` alone does
    as well, and closes the connection when the stream is at its end or dropped. Only events the API sent are
    delivered, without ``ping``.
    """

    __slots__ = ()


@final
class BatchResults(_OwnManager[MessageBatchIndividualResponse, ts.BatchResults]):
    """The results of a batch, line by line, as `trio_stream.BatchResults`.

    ::

        for line in client.messages.batches.results(batch.id):
            print(line.custom_id, line.result.type)

    ``with`` closes the connection also where the loop is left early.
    """

    __slots__ = ()
