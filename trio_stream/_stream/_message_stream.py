"""`MessageStream`: one message as events, as text, and as a whole; and what makes one.

What belongs here: what only an accumulated stream offers (views, final message). What does not: the life of the
stream (`_lifecycle`).
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, final, overload

import trio

from trio_stream._errors import IncompleteStreamError, OutputParseError
from trio_stream._protocol import Message, MessageStreamEvent
from trio_stream._schemas import OutputType, parse_message

from ._block import StreamBlock
from ._event_answers import ALL_EVENTS, ALL_EVENTS_WITH_DATA
from ._lifecycle import StreamLifecycle, StreamState
from ._message_base import MessageBase
from ._places import block_to_leave, note_place
from ._reader import EventReader
from ._request import StreamRequest
from ._views import PieceView, TextChunks

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    OutputT_co = TypeVarWithDefault("OutputT_co", default=Any, covariant=True)
else:
    OutputT_co = TypeVar("OutputT_co", covariant=True)

T = TypeVar("T")

_HOW_TO = "use `async with client.messages.stream(...) as stream:` and then `stream`"


def text_of(message: Message) -> str:
    """The text of a whole message.

    Raises:
      RuntimeError: It has no text block.
    """
    if not any(block.type == "text" for block in message.content):
        kinds = ", ".join(block.type for block in message.content) or "no"
        raise RuntimeError(f"there is no text in this message: it has {kinds} content blocks")
    return message.text


@final
class MessageStream(MessageBase[MessageStreamEvent], Generic[OutputT_co]):
    """A message on its way, as ``client.messages.stream`` gives it.

    Iterating yields each wire event (``message_start``, ``content_block_start``, ``content_block_delta``,
    ``content_block_stop``, ``message_delta``, ``message_stop``) and, right after a delta, the event that is easier
    to use: ``text``, ``thinking``, ``input_json``, ``citation``, ``signature``, ``compaction``.

    The plain attributes (``message``, ``text``, ``usage``, ``partial``, ``stats``...) outlive the block.

    To type checkers it is generic in the type that was asked for with ``output=``, which `parse` returns.
    """

    __slots__ = ("_output", "_text_view", "_thinking_view")

    def __init__(
        self, stream: StreamLifecycle[EventReader], block: StreamBlock, output: OutputType[OutputT_co] | None = None
    ) -> None:
        super().__init__(stream, block)
        self._output = output
        self._text_view: PieceView | None = None
        self._thinking_view: PieceView | None = None

    @property
    def text_stream(self) -> PieceView:
        """The text of the message, piece by piece; one view per stream, which goes on where it was left."""
        if self._text_view is None:
            self._text_view = self.texts()
        return self._text_view

    @property
    def thinking_stream(self) -> PieceView:
        """The thinking of the message, piece by piece; one view per stream."""
        if self._thinking_view is None:
            self._thinking_view = PieceView(self._stream, lambda message: message.thinking_parts)
        return self._thinking_view

    def texts(self) -> PieceView:
        """A new view of the text: what has arrived so far from the start, then what arrives."""
        return PieceView(self._stream, lambda message: message.text_parts)

    def text_chunks(
        self, *, min_chars: int = 1, at_punctuation: bool = False, max_delay: float | None = None
    ) -> TextChunks:
        """A new view of the text, from the start, in pieces of a size that is pleasant to display.

        A piece is given when it has ``min_chars`` characters (and, with ``at_punctuation``, the end of a clause to
        cut at), when its oldest character has waited for ``max_delay``, or at the end. No text is ever dropped.

        Args:
          min_chars: The least number of characters of a piece.
          at_punctuation: Cut only after the last ``. ! ? ; :`` or line end of what is there.
          max_delay: Seconds a character may wait for company; None: for ever. With an httpx transport that is not
            ours this is looked at only when text arrives.
        """
        opened = self._stream.opened
        cancel_safe = opened is None or opened.reader.body.cancel_safe
        return TextChunks(
            self.texts(),
            min_chars=min_chars,
            at_punctuation=at_punctuation,
            max_delay=max_delay,
            cancel_safe=cancel_safe,
        )

    async def get_final_message(self) -> Message:
        """Read to the end and return the message. After the block, return it if it was complete.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          APIError: As `receive`; `IncompleteStreamError` when the block was left early.
        """
        if self._stream.state is StreamState.CLOSED:
            await trio.lowlevel.checkpoint()
            return self.message
        await self.until_done()
        return self.message

    async def get_final_text(self) -> str:
        """Read to the end and return the text, all text blocks joined.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          APIError: As `get_final_message`.
          RuntimeError: The message has no text block, as with the official SDK; `text` is ``""`` then.
        """
        return text_of(await self.get_final_message())

    @overload
    def parse(self) -> OutputT_co: ...
    @overload
    def parse(self, output: type[T] | OutputType[T]) -> T: ...
    def parse(self, output: type[Any] | OutputType[Any] | None = None) -> Any:
        """Make a value of the whole message: of the type that was asked for with ``output=``, or of another one.

        It is no wait: read the stream to its end first, for example with `until_done`.

        Args:
          output: The type, in place of the one that was asked for.

        Raises:
          OutputParseError: The answer was cut or refused, or does not fit the type.
          APIError: As `message`: the stream failed, or is not at its end.
          TypeError: There is no type to make it of, or it is not one that JSON can be decoded into.
        """
        wanted = self._output if output is None else output
        if wanted is None:
            raise TypeError(
                "there is no type to parse into: write stream.parse(T), or ask with messages.stream(output=T)"
            )
        try:
            return parse_message(self.message, wanted)
        except OutputParseError as error:
            error.request_id = self.request_id
            raise

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
    """What ``client.messages.stream`` returns: ``async with`` it to make the request.

    Nothing happens before it is entered, and one that is never entered leaves nothing behind. Each entry is a
    request of its own.
    """

    def __init__(self, request: StreamRequest) -> None:
        self._request = request
        self._entered: list[StreamBlock] = []
        self._answer_format = ALL_EVENTS

    if not TYPE_CHECKING:  # to type checkers a manager has what it has

        def __getattr__(self, name: str) -> NoReturn:
            """Say how a stream is used, where somebody looks for its attributes on this."""
            advice = f": {_HOW_TO}" if hasattr(MessageStream, name) else ""
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{advice}", name=name, obj=self
            )

        def __aiter__(self) -> NoReturn:
            """Say how a stream is iterated over."""
            raise TypeError(f"this is not the stream yet: {_HOW_TO}")

        def __await__(self) -> NoReturn:
            """Say that there is nothing to await."""
            raise TypeError(f"this is not the stream yet: {_HOW_TO}")

        def __enter__(self) -> NoReturn:
            """Say that it is ``async with``."""
            raise TypeError(f"with needs an async before it: {_HOW_TO}")

        def __exit__(self, *_exc: object) -> None:
            """Without it Python says itself what is missing, and nothing of ``async``."""

    def keep_raw_data(self) -> None:
        """Have the streams that are entered from now on keep the data of each event: see `MessageStream.raw_data`."""
        self._answer_format = ALL_EVENTS_WITH_DATA

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> MessageStream[OutputT_co]:
        """Send the request, and return when the first event other than ``ping`` has arrived.

        A checkpoint. Retries happen only here. When it is cancelled or fails, the connection is closed.

        Raises:
          APIError: The last attempt's error.
        """
        stream = StreamLifecycle(self._request, answer_format=self._answer_format)
        block = StreamBlock(stream)
        note_place(block)
        await block.enter()
        self._entered.append(block)
        return MessageStream(stream, block, self._request.output)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        """Close the connection or hand it back, then wait for the tasks in the stream's nursery.

        Never waits on the peer. A schedule point, not a cancellation point.
        """
        block = block_to_leave(self._entered)
        try:
            return await block.leave(exc)  # noqa: ASYNC102 - waits as a nursery does
        finally:
            # Not where it was refused, out of order: it can still be left later.
            if block.left:
                self._entered.remove(block)
