"""trio_stream, read to the end without looking at an event: as ``create``, ``fan_out`` and ``gather_texts`` read.

What belongs here: that way of reading. What does not: the client (`ours`).
"""

from __future__ import annotations

import trio

from tests.bench.clients.ours import Ours, main


class UntilDone(Ours):
    """Reads by ``until_done``."""

    async def read(self) -> int:
        """As `Reader.read`, but that no event is delivered."""
        async with self.open() as stream:
            await stream.until_done()
        assert stream.message.stop_reason is not None
        return stream.stats.events


if __name__ == "__main__":
    trio.run(main, UntilDone)
