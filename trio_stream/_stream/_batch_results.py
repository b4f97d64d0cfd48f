"""`BatchResults`: the results of a batch, one line at a time.

What belongs here: entering and leaving it as its own context manager. What does not: everything else (`_base`,
`_block`), and reading lines (`_line_reader`).
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, final

import trio

from trio_stream._protocol import MessageBatchIndividualResponse

from ._base import StreamBase
from ._block import StreamBlock
from ._lifecycle import StreamLifecycle
from ._line_reader import LineReader, ResultLines
from ._request import StreamRequest


@final
class BatchResults(StreamBase[MessageBatchIndividualResponse, LineReader]):
    """The results of a batch: ``async with client.messages.batches.results(id) as lines``.

    ::

        async with client.messages.batches.results(batch.id) as lines:
            async for line in lines:
                print(line.custom_id, line.result.type)

    Only one line at a time is in memory, whatever the size of the batch. The request goes out when the block is
    entered, and leaving it closes the connection. Results come in any order; ``custom_id`` says which one it is.

    The end of the loop means that all results were read: a body that was cut raises `IncompleteStreamError`. What HTTP
    itself cannot tell, lines that are missing from a body that ends in order, is noticed where the `MessageBatch` was
    given in place of its id: then lines are compared with its ``request_counts``.
    """

    __slots__ = ()

    def __init__(self, request: StreamRequest, *, expected: int | None) -> None:
        stream = StreamLifecycle(request, answer_format=ResultLines(expected=expected))
        super().__init__(stream, StreamBlock(stream))

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            """Say what takes the place of the official SDK's ``async for line in await ...``."""
            raise TypeError(
                "results are not awaited: use `async with client.messages.batches.results(...) as lines:` and then "
                "`async for line in lines`"
            )

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> BatchResults:
        """Send the request, and return when the first line has arrived.

        A checkpoint. Retries happen only here. When it is cancelled or fails, the connection is closed.

        Raises:
          APIError: The last attempt's error. `NotFoundError` where there is no such batch, or no results of it.
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
        """Close the connection or hand it back, then wait for the tasks in the nursery.

        Never waits on the peer. A schedule point, not a cancellation point.
        """
        return await self._block.leave(exc)  # noqa: ASYNC102 - waits as a nursery does
