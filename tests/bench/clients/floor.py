"""The floor: a bare Trio socket loop that counts the ends of events, and nothing else."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import trio

from tests.bench.clients._run import Reader, measure, scenario_and_url

BODY = b'{"model":"claude-sonnet-5-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"Hi"}]}'
TEXT = re.compile(rb'"text":"([^"]+)"')


class Floor(Reader):
    """One connection to a stream."""

    def __init__(self, url: str, authority: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.request = (
            b"POST /v1/messages HTTP/1.1\r\nhost: %s\r\nx-api-key: test\r\nanthropic-version: 2026-10-21\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (parts.netloc.encode(), len(BODY), BODY)
        )
        self.context = ssl.create_default_context(cafile=authority) if authority else None

    async def open(self) -> trio.abc.ReceiveStream:
        """Connect, and send the request."""
        stream: trio.abc.Stream = await trio.open_tcp_stream(self.host, self.port)
        if self.context is not None:
            stream = trio.SSLStream(stream, self.context, server_hostname=self.host, https_compatible=True)
        await stream.send_all(self.request)
        return stream

    async def read(self) -> int:
        """As `Reader.read`, but that there is no message."""
        async with await self.open() as stream:
            events = 0
            end = b""
            while not end.endswith(b"0\r\n\r\n"):
                data = await stream.receive_some(65_536)
                events += data.count(b"\n\n")
                # An end of event may be cut in two, and so may the end of the answer.
                events += end.endswith(b"\n") and not end.endswith(b"\n\n") and data.startswith(b"\n")
                end = data[-5:] if len(data) >= 5 else (end + data)[-5:]
            return events

    async def read_texts(self, note: Callable[[str], None]) -> None:
        """As `Reader.read_texts`, for events that arrive whole."""
        async with await self.open() as stream:
            end = b""
            while not end.endswith(b"0\r\n\r\n"):
                data = await stream.receive_some(65_536)
                for text in TEXT.findall(data):
                    note(text.decode())
                end = (end + data)[-5:]


async def main() -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    await measure(scenario, Floor(url, authority))


if __name__ == "__main__":
    trio.run(main)
