"""The floor: a bare Trio socket loop that counts the ends of events, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import trio

from tests.bench.clients._plain import Target
from tests.bench.clients._run import Reader, measure, scenario_and_url

TEXT = re.compile(rb'"text":"([^"]+)"')


class Floor(Reader):
    """One connection to a stream, with the streams of Trio: `trio.SSLStream` over TLS."""

    def __init__(self, target: Target) -> None:
        self.target = target

    async def open(self) -> trio.abc.ReceiveStream:
        """Connect, and send the request."""
        target = self.target
        stream: trio.abc.Stream = await trio.open_tcp_stream(target.host, target.port)
        if target.context is not None:
            stream = trio.SSLStream(stream, target.context, server_hostname=target.host, https_compatible=True)
        await stream.send_all(target.request)
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
    await measure(scenario, Floor(Target(url, authority)))


if __name__ == "__main__":
    trio.run(main)
