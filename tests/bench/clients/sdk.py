"""The official SDK on Trio: all events through ``client.messages.stream``, the final message at the end.

Runs in an environment of its own, which has ``anthropic`` and not trio_stream.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import trio

from tests.bench.clients._run import WIRE_EVENTS, Reader, measure, scenario_and_url


class SDK(Reader):
    """One client for all streams."""

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self.client = client

    def open(self) -> Any:
        """The stream, to be entered."""
        return self.client.messages.stream(
            model="claude-sonnet-5-5", max_tokens=1024, messages=[{"role": "user", "content": "Hi"}]
        )

    async def read(self) -> int:
        """As `Reader.read`."""
        events = 0
        async with self.open() as stream:
            async for event in stream:
                events += event.type in WIRE_EVENTS
            message = await stream.get_final_message()
        assert message.stop_reason is not None
        return events

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


async def main(idle_connections: int | None = None) -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    # What the SDK would make itself, but that more than its 1,000 connections may be open at once.
    http_client = anthropic.DefaultAsyncHttpxClient(
        verify=ssl.create_default_context(cafile=authority) if authority else True,
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=idle_connections),
    )
    async with anthropic.AsyncAnthropic(api_key="test", base_url=url, max_retries=0, http_client=http_client) as client:
        await measure(scenario, SDK(client))


if __name__ == "__main__":
    trio.run(main)
