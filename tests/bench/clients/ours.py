"""trio_stream: all events through ``client.messages.stream``, the final message at the end.

Uses nothing but public names: ``python -m tests.bench --against`` runs it with another version of the library, too.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import trio

import trio_stream as ts
from tests.bench.clients._run import Reader, measure, scenario_and_url


class Ours(Reader):
    """One client for all streams."""

    def __init__(self, client: ts.Client) -> None:
        self.client = client

    def open(self) -> ts.MessageStreamManager:
        """The stream, to be entered."""
        return self.client.messages.stream(
            model="claude-sonnet-5-5", max_tokens=1024, messages=[{"role": "user", "content": "Hi"}]
        )

    async def read(self) -> int:
        """As `Reader.read`."""
        async with self.open() as stream:
            async for _event in stream:
                pass
            message = await stream.get_final_message()
        assert message.stop_reason is not None
        return stream.stats.events

    async def read_texts(self, note: Callable[[str], None]) -> None:
        """As `Reader.read_texts`."""
        async with self.open() as stream:
            async for event in stream:
                if event.type == "text":
                    note(event.text)

    async def read_and_keep(self) -> list[Any]:
        """As `Reader.read_and_keep`."""
        async with self.open() as stream:
            return [event async for event in stream]


async def main(way: type[Ours] = Ours) -> None:
    """Do what the scenario says, reading one way or another."""
    scenario, url, authority = scenario_and_url()
    context = ssl.create_default_context(cafile=authority) if authority else None
    async with ts.Client(api_key="test", base_url=url, ssl_context=context, max_retries=0) as client:
        await measure(scenario, way(client))


if __name__ == "__main__":
    trio.run(main)
