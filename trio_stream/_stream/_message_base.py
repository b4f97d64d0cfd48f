"""What `MessageStream` and `EventStream` share: the message as far as it has arrived.

What belongs here: what users see of the message itself. What does not: receiving and ending (`_base`), and putting the
message together (`_protocol`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

from trio_stream._errors import IncompleteStreamError
from trio_stream._protocol import Message, MessageStopReason, Usage

from ._base import StreamBase
from ._lifecycle import StreamState
from ._reader import EventReader

EventT_co = TypeVar("EventT_co", covariant=True)


class MessageBase(StreamBase[EventT_co, EventReader], Generic[EventT_co]):
    """A message on its way."""

    __slots__ = ()

    async def until_done(self) -> None:
        """Read the stream to its end.

        A checkpoint. If it is cancelled nothing is lost.

        Raises:
          APIError: As `receive`.
        """
        await self._stream.read_to_end()

    def keep_raw_data(self) -> None:
        """Keep the data of each event as the API sent it, until the next one is read: see `raw_data`.

        It begins with the next event that is read. The first one has been read when the block is entered:
        `MessageStreamManager.keep_raw_data`, and this method on an `EventStream` before its block, include it.
        """
        if self._stream.reader is not None:
            self._stream.reader.keep_data()

    # What can be read at any time, also after the block.

    @property
    def raw_data(self) -> bytes | None:
        """The data of the event that was read last, as the API sent it.

        It is JSON with whatever spaces the API has put into it. A helper event has the data of the delta before it.
        None if data is not kept (`keep_raw_data`), and for an event that the API did not send.
        """
        opened = self._stream.opened
        return None if opened is None else opened.reader.data

    @property
    def message(self) -> Message:
        """The whole message, once ``message_stop`` came.

        Raises:
          APIError: The error this stream ended with; `IncompleteStreamError` where it was left or closed early,
            or is not at its end yet (see `partial`).
        """
        stream, partial = self._stream, self.partial
        if stream.state is StreamState.COMPLETE and partial is not None:
            return partial
        if stream.error is not None:
            raise stream.error
        if self._block.left or stream.state is StreamState.CLOSED:
            sentence = "the stream was left before message_stop: see .partial"
        else:
            sentence = "the message is not complete yet: read on, or see .partial"
        raise IncompleteStreamError(sentence, partial=partial, request_id=self.request_id)

    @property
    def partial(self) -> Message | None:
        """The message as far as it has been read; None before ``message_start``."""
        return self._stream.partial

    @property
    def text(self) -> str:
        """The text of the message as far as it has been read, all text blocks joined."""
        opened = self._stream.opened
        return "" if opened is None else opened.reader.accumulator.text

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before ``message_start``. Final with ``message_stop``."""
        return self._stream.usage

    @property
    def stop_reason(self) -> MessageStopReason | None:
        """Why the model stopped; None until it did."""
        opened = self._stream.opened
        return None if opened is None else opened.reader.accumulator.stop_reason
