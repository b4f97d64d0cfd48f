"""httpx, httpx-sse and msgspec on Trio: what one would put together by hand."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx
import httpx_sse
import msgspec
import trio

from tests.bench.clients._run import Reader, measure, scenario_and_url

BODY = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1024,
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
}
decode = msgspec.json.Decoder(dict[str, Any]).decode


class ByHand(Reader):
    """One client for all streams."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client = client
        self.url = f"{url}/v1/messages"

    async def read(self) -> int:
        """As `Reader.read`: the message is the text or the tool's input, joined at the end."""
        events = 0
        pieces: list[str] = []
        async with httpx_sse.aconnect_sse(self.client, "POST", self.url, json=BODY) as source:
            async for sse in source.aiter_sse():
                event = decode(sse.data)
                events += 1
                if event["type"] == "content_block_delta":
                    delta = event["delta"]
                    pieces.append(delta.get("text") or delta.get("partial_json") or "")
        assert "".join(pieces)
        return events

    async def read_texts(self, note: Callable[[str], None]) -> None:
        """As `Reader.read_texts`."""
        async with httpx_sse.aconnect_sse(self.client, "POST", self.url, json=BODY) as source:
            async for sse in source.aiter_sse():
                event = decode(sse.data)
                if event["type"] == "content_block_delta":
                    note(event["delta"]["text"])

    async def read_and_keep(self) -> list[Any]:
        """As `Reader.read_and_keep`."""
        async with httpx_sse.aconnect_sse(self.client, "POST", self.url, json=BODY) as source:
            return [decode(sse.data) async for sse in source.aiter_sse()]


async def main() -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    verify: Any = ssl.create_default_context(cafile=authority) if authority else True
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(verify=verify, limits=limits, timeout=600, headers={"x-api-key": "test"}) as client:
        await measure(scenario, ByHand(client, url))


if __name__ == "__main__":
    trio.run(main)
