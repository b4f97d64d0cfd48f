"""`EventStream`: the wire events of one message, without helper events.

What belongs here: entering and leaving it as its own context manager. What does not: everything else
(`_message_base`, `_block`).
"""

from __future__ import annotations

from types import TracebackType
from typing import final

import trio

from trio_stream._protocol import RawMessageStreamEvent

from ._block import StreamBlock
from ._event_answers import RAW_EVENTS, RAW_EVENTS_WITH_DATA
from ._lifecycle import StreamLifecycle
from ._message_base import MessageBase
from ._request import StreamRequest


@final
class EventStream(MessageBase[RawMessageStreamEvent]):
    """The raw events of a message, as ``client.messages.create(stream=True)`` gives them.

    The request goes out when it is entered: ``async with stream:``. Only events the API sent are delivered,
    without ``ping``; the message is accumulated all the same, for ``partial`` and ``message``.
    """

    __slots__ = ()

    def __init__(self, request: StreamRequest) -> None:
        stream = StreamLifecycle(request, answer_format=RAW_EVENTS)
        super().__init__(stream, StreamBlock(stream))

    def keep_raw_data(self) -> None:
        """As `MessageStream.keep_raw_data`; before the block, it includes the first event."""
        if self._stream.opened is None:
            self._stream.answer_format = RAW_EVENTS_WITH_DATA
        super().keep_raw_data()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> EventStream:
        """Send the request, and return when the first event other than ``ping`` has arrived.

        A checkpoint. Retries happen only here. When it is cancelled or fails, the connection is closed.

        Raises:
          APIError: The last attempt's error.
          RuntimeError: It has been entered before.
        """
        await self._block.enter()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        # Unlike other resources it owns a nursery, whose cancellation (`cancel`) ends here.
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        """Close the connection or hand it back, then wait for the tasks in the stream's nursery.

        Never waits on the peer. A schedule point, not a cancellation point.
        """
        return await self._block.leave(exc)  # noqa: ASYNC102 - waits as a nursery does
