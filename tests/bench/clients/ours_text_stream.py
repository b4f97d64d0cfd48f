"""trio_stream, read by ``text_stream``.

What belongs here: that way of reading. What does not: the client (`ours`).
"""

from __future__ import annotations

import trio

from tests.bench.clients.ours import Ours, main


class TextStream(Ours):
    """Reads the texts."""

    async def read(self) -> int:
        """As `Reader.read`, but that only the texts are delivered."""
        async with self.open() as stream:
            async for _text in stream.text_stream:
                pass
            message = await stream.get_final_message()
        assert message.stop_reason is not None
        return stream.stats.events


if __name__ == "__main__":
    trio.run(main, TextStream)
